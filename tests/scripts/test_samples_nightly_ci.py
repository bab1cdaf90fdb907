"""samples/nightly: what runs on CI servers and clusters is taken by their schemas, and does the four jobs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bundler.rebuild import ci

from tests.support.nightlysamples import ARGUMENTS, AZURE, CRONJOB, GITHUB, NAMES, SAMPLE, jobs_of

if TYPE_CHECKING:
    from tests.support.command import Command

# GitHub and Azure


pytestmark = pytest.mark.thorough


def as_texts(value: Any) -> Any:
    """Azure reads every scalar as a text first, and its schema asks for `true` and `10` as such."""
    if isinstance(value, dict):
        return {key: as_texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_texts(one) for one in value]
    return value if isinstance(value, str) else str(value).lower()


def valid(schema: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check by a schema that check-jsonschema carries, in the dialect of its own hooks."""
    if schema == "azure-pipelines":
        text = json.dumps(as_texts(yaml.safe_load(text)))
    file = folder / "file.yml"
    file.write_text(text)
    words = ["--builtin-schema", f"vendor.{schema}", "--regex-variant", "nonunicode", str(file)]
    whole = [sys.executable, "-m", "check_jsonschema", *words]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def lines_with(file: Path, said: str) -> str:
    """The shell lines of the one step that runs this."""
    jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in (jobs.values() if isinstance(jobs, dict) else jobs) for step in job["steps"]]
    (lines,) = [text for step in steps for text in step.values() if said in str(text)]
    return str(lines)


@pytest.mark.parametrize(
    ("schema", "file", "old", "new"),
    [
        ("github-workflows", GITHUB, "", ""),
        ("github-workflows", GITHUB, "contents: read", "contents: reads"),
        ("github-workflows", GITHUB, "runs-on", "runson"),
        ("azure-pipelines", AZURE, "", ""),
        ("azure-pipelines", AZURE, "schedules:", "schedule:"),
        ("azure-pipelines", AZURE, "include:", "includes:"),
    ],
)
def test_the_schemas_of_ci_servers(tmp_path: Path, schema: str, file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    done = valid(schema, text.replace(old, new) if old else text, tmp_path)
    assert done.returncode == (1 if old else 0), done.stdout + done.stderr
    assert ("Schema validation errors" in done.stdout + done.stderr) is bool(old)


@pytest.mark.parametrize("file", [GITHUB, AZURE])
def test_the_results_can_be_written(tmp_path: Path, file: Path) -> None:
    """`rebuild` makes no folders for what `--summary`, `--junit` and `--report` name."""
    program = tmp_path / "envbundle"
    program.write_text(
        '#!/bin/sh\nwhile [ $# -gt 1 ]; do case $1 in --[sjr]*) : >"$2" ;; esac; shift; done\n'
    )
    program.chmod(0o755)
    lines = lines_with(file, "envbundle rebuild")
    for placeholder in ARGUMENTS:
        lines = lines.replace(placeholder, "--only feeds-py37")
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", lines], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.rglob("*.*")} == {"summary.json", "junit.xml", "report.html"}


def test_the_workflow_is_careful() -> None:
    workflow = yaml.safe_load(GITHUB.read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    rebuild = workflow["jobs"]["rebuild"]
    assert rebuild["strategy"]["fail-fast"] is False
    assert rebuild["strategy"]["matrix"] == "${{ fromJSON(needs.plan.outputs.matrix) }}"
    results = rebuild["steps"][-1]
    assert results["with"]["path"].split() == ["summary.json", "junit.xml", "report.html"]
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(
        step["with"]["persist-credentials"] is False
        for step in steps
        if step.get("uses", "").startswith("actions/checkout")
    )


def test_the_pipeline_shows_its_results() -> None:
    pipeline = yaml.safe_load(AZURE.read_text(encoding="utf-8"))
    assert pipeline["schedules"][0]["always"] is True
    plan_job, rebuild = pipeline["jobs"]
    tasks = {step["task"]: step for step in rebuild["steps"] if "task" in step}
    assert tasks["PublishTestResults@2"]["inputs"]["testResultsFiles"] == "results/junit.xml"
    assert "Cache@2" in tasks
    assert rebuild["dependsOn"] == plan_job["job"]
    assert rebuild["strategy"]["matrix"] == "$[ dependencies.plan.outputs['plan.matrix'] ]"


@pytest.mark.parametrize(
    ("file", "shell", "before"),
    [
        (GITHUB, ["bash", "-e", "-c"], "matrix="),
        (AZURE, ["bash", "-c"], "##vso[task.setVariable variable=matrix;isOutput=true]"),
    ],
)
def test_the_matrix_has_the_four_jobs(
    envbundle: Command, tmp_path: Path, file: Path, shell: list[str], before: str
) -> None:
    shutil.copytree(SAMPLE, tmp_path / "nightly", ignore=shutil.ignore_patterns("bundles"))
    program = tmp_path / "bin" / "envbundle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bundler "$@"\n')
    program.chmod(0o755)
    output = tmp_path / "output"
    output.write_text("")
    environ = {"PATH": f"{program.parent}:/usr/bin:/bin", "GITHUB_OUTPUT": str(output)}
    done = subprocess.run(
        [*shell, lines_with(file, "matrix=$(")], cwd=tmp_path, env=envbundle.environment(environ),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = (output.read_text() + done.stdout).splitlines()
    found: Any = json.loads(line.removeprefix(before))
    entries = found["include"] if "include" in found else list(found.values())
    toml = tmp_path / "nightly" / "envbundle.toml"
    assert [jobs_of(toml, shlex.split(entry["arguments"])) for entry in entries] == [[name] for name in NAMES]


# Kubernetes


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(CRONJOB.read_text(encoding="utf-8")))


def test_the_cronjob_is_what_matrix_writes() -> None:
    *claims, cronjob = documents()
    assert cronjob["spec"]["concurrencyPolicy"] == "Forbid"
    job = cronjob["spec"]["jobTemplate"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    file, *options = container["args"]
    container["args"] = [file]
    around = ci.Cluster(
        container_image="registry.example/envbundle:1",
        name="envbundle-nightly",
        cache_claim="envbundle-store",
        secrets=("envbundle-publish",),
    )
    assert job == yaml.safe_load(ci.kubernetes(around, shards=job["completions"]))["spec"]
    volumes = [one["persistentVolumeClaim"]["claimName"] for one in job["template"]["spec"]["volumes"][:2]]
    assert [claim["metadata"]["name"] for claim in claims] == volumes
    assert options == ["--publish", "s3://bundles/nightly"]


def test_the_pods_share_the_four_jobs(tmp_path: Path) -> None:
    job = documents()[-1]["spec"]["jobTemplate"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    seen = tmp_path / "envbundle"
    seen.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    seen.chmod(0o755)
    done: list[str] = []
    for index in range(job["completions"]):
        words = [word.replace("$$(", "$(") for word in (*container["command"], *container["args"])]
        said = subprocess.run(
            words, env={"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": str(index)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        name, file, *options = json.loads(said)
        assert (name, file) == ("rebuild", "/srv/envbundle/envbundle.toml")
        done += jobs_of(SAMPLE / "envbundle.toml", options)
    assert sorted(done) == NAMES


@pytest.mark.pypi
@pytest.mark.parametrize("version", ["1.35", "1.37"])
def test_the_schema_of_kubernetes_takes_it(tmp_path: Path, version: str) -> None:
    folder = tmp_path / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    words = [uv, "pip", "install", "-q", "--python", f"{folder}/bin/python", "kubernetes-validate"]
    subprocess.run(words, check=True)
    validate = [f"{folder}/bin/kubernetes-validate", "-k", version, "--strict"]
    text = CRONJOB.read_text(encoding="utf-8")
    for name, change, good in (
        ("whole.yaml", ("", ""), True),
        ("policy.yaml", ("concurrencyPolicy", "concurencyPolicy"), False),
        ("claim.yaml", ("accessModes", "accessMode"), False),
    ):
        (tmp_path / name).write_text(text.replace(*change))
        done = subprocess.run([*validate, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is good, done.stdout + done.stderr
