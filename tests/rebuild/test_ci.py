"""`envbundle matrix`: those it is for take what it prints, and it brings `rebuild` to do exactly the plan."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bundler.errors import InputError
from bundler.rebuild import ci, config, plan

if TYPE_CHECKING:
    from tests.support.command import Command

DOCS = Path(__file__).resolve().parents[2] / "docs" / "rebuild.md"
AML37 = "minimal-ubuntu18.04-py37-cpu-inference"
AML38 = "minimal-ubuntu20.04-py38-cpu-inference"
FILE = f"""
index-url = "https://${{NOBODY_SETS_THIS}}@feed.example/simple"
publish = "s3://bucket/nightly"
[defaults]
requirements = "r.txt"
python = ["3.7", "3.8"]
[[bundle]]
name = "scoring"
formats = ["zip"]
keep = 2
note = "at night"
[[bundle]]
name = "features"
image = ["{AML37}", "{AML38}"]
[[bundle]]
name = "1.odd_name"
python = "3.10"
"""
NAMES = [
    "scoring-py37",
    "scoring-py38",
    f"features-py37-{AML37}",
    f"features-py38-{AML38}",
    "1.odd_name-py310",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "envbundle.toml"
    path.write_text(FILE)
    return path


def done_by(file: Path, arguments: str) -> list[str]:
    """The jobs that `envbundle rebuild FILE ARGUMENTS` does."""
    words = iter(shlex.split(arguments))
    only, shard = [], None
    for word in words:
        if word == "--only":
            only.append(next(words))
        else:
            assert word == "--shard"
            shard = plan.parse_shard(next(words))
    environ = {"NOBODY_SETS_THIS": "x"}
    now = datetime.now(timezone.utc)
    return [
        job.name for job in plan.plan(config.read(file), only=only, shard=shard, now=now, environ=environ)
    ]


def rows(envbundle: Command, form: str, *words: str) -> dict[str, Any]:
    done = envbundle("matrix", "--for", form, *words)
    assert (done.code, done.stderr) == (0, "")
    # An output of a step and a logging command are one line.
    assert done.stdout.count("\n") == 1
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.mark.usefixtures("file")
def test_github(envbundle: Command, file: Path) -> None:
    include = rows(envbundle, "github")["include"]
    assert include[0] == {
        "name": "scoring-py37", "bundle": "scoring", "python": "3.7", "image": "", "shard": "",
        "arguments": "--only scoring-py37",
    }  # fmt: skip
    assert include[2]["image"] == AML37
    assert [row["name"] for row in include] == NAMES
    assert [done_by(file, row["arguments"]) for row in include] == [[name] for name in NAMES]


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["github", "azure"])
def test_shards_do_the_plan_once(envbundle: Command, file: Path, form: str) -> None:
    for words, expected in (((), NAMES), (("--only", "s*", "--only", "features"), NAMES[:4])):
        said = rows(envbundle, form, "--shards", "3", *words)
        entries = said["include"] if form == "github" else list(said.values())
        assert [row["shard"] for row in entries] == [row["name"][6:].replace("-of-", "/") for row in entries]
        parts = [done_by(file, row["arguments"]) for row in entries]
        # A part without a job is no entry: a machine would start for nothing.
        assert all(parts)
        assert sorted(name for part in parts for name in part) == sorted(expected)
        for row, part in zip(entries, parts, strict=True):
            assert row["python"].split() == list(dict.fromkeys(_dotted(name) for name in part))


def _dotted(name: str) -> str:
    digits = re.search(r"-py3([0-9]+)", name)
    assert digits
    return f"3.{digits[1]}"


def test_azure(envbundle: Command, file: Path) -> None:
    legs = rows(envbundle, "azure")
    assert list(legs)[:2] == ["scoring_py37", "scoring_py38"]
    assert [leg["name"] for leg in legs.values()] == NAMES
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,99}", name) for name in legs)
    assert all(isinstance(value, str) for leg in legs.values() for value in leg.values())
    assert [done_by(file, leg["arguments"]) for leg in legs.values()] == [[name] for name in NAMES]


def test_names_of_azure_are_unique_where_those_of_jobs_are() -> None:
    stems = ["a-b", "a.b", "a_b", "a..b", "b_a-b", "1", "b_1", "b-1", "-", "_", "x" * 120, "x" * 119 + "y"]
    names = [f"{stem}-py38" for stem in stems] + [f"{stem}-py38-py38" for stem in stems]
    made = [ci.azure_name(name) for name in names]
    assert len({name.lower() for name in made}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,99}", name) for name in made)


def test_github_takes_no_more_than_256(file: Path) -> None:
    bundles = "".join(f'[[bundle]]\nname = "b{number}"\npython = "3.8"\n' for number in range(257))
    file.write_text('[defaults]\nrequirements = "r.txt"\n' + bundles)
    cells = plan.cells(config.read(file))
    assert json.loads(ci.github(ci.entries(cells[:256], shards=None)))
    with pytest.raises(InputError, match="at most 256 jobs") as caught:
        ci.github(ci.entries(cells, shards=None))
    assert "--shards" in (caught.value.hint or "")
    assert len(json.loads(ci.github(ci.entries(cells, shards=20)))["include"]) == 20


@pytest.mark.thorough
def test_json(envbundle: Command, file: Path) -> None:
    done = envbundle("matrix", file.parent, "--json", "--shards", "2")
    said = done.json()
    assert {key: said[key] for key in ("ok", "file", "output", "publish")} == {
        "ok": True, "file": str(file), "output": f"{file.parent}/bundles", "publish": "s3://bucket/nightly",
    }  # fmt: skip
    assert [job["name"] for job in said["jobs"]] == NAMES
    shard = said["jobs"][0].pop("shard")
    assert "scoring-py37" in done_by(file, f"--shard {shard}")
    assert said["jobs"][0] == {
        "name": "scoring-py37", "bundle": "scoring", "python": "3.7", "image": None,
        "folder": f"{file.parent}/bundles/scoring-py37", "formats": ["dir", "zip"], "keep": 2,
        "note": "at night", "place": f"{file}:7",
    }  # fmt: skip
    assert envbundle("matrix", "--for", "json", "--shards", "2").json()["jobs"] == [
        {**job, "place": job["place"].removeprefix(f"{file.parent}/")} for job in done.json()["jobs"]
    ]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["nope.toml"], "nope.toml: there is no such file", "folder"),
        (["--only", "scorin"], "--only 'scorin': no bundle has that name", "did you mean scoring"),
        (["--shards", "0"], "--shard 1/0", "--shard 1/4"),
        (["--json", "--for", "azure"], "--json and --for azure exclude each other", "leave one"),
        (["--for", "github", "--cache-claim", "x"], "--cache-claim means nothing to github", "kubernetes"),
        (["--secret", "x"], "--secret means nothing to json", "kubernetes"),
        (["--file", "x"], "--file means nothing to json", "kubernetes"),
        (["--for", "kubernetes"], "the image for the pods is not named", "--container-image"),
        (["--for", "kubernetes", "--container-image", "a/b c"], "is no name of an image", ""),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("file")
def test_refusals(envbundle: Command, words: list[str], message: str, hint: str) -> None:
    done = envbundle("matrix", *words)
    assert (done.code, done.stdout.strip() == "" or "--json" in words) == (2, True)
    assert message in done.stderr
    assert hint in done.stderr


def script(heading: str) -> str:
    """The shell lines of the documentation that hand a matrix on."""
    text = DOCS.read_text(encoding="utf-8").partition(f"**{heading}**")[2]
    block = re.search(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    jobs = yaml.safe_load(block[1])["jobs"]
    plan_job = jobs["plan"] if isinstance(jobs, dict) else jobs[0]
    (lines,) = [text for step in plan_job["steps"] for text in step.values() if "matrix=$(" in text]
    assert isinstance(lines, str)
    return lines


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("heading", "before"),
    [
        ("GitHub Actions", "matrix="),
        ("Azure Pipelines", "##vso[task.setVariable variable=matrix;isOutput=true]"),
    ],
)
def test_the_lines_of_the_documentation(envbundle: Command, file: Path, heading: str, before: str) -> None:
    program = file.parent / "bin" / "envbundle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bundler "$@"\n')
    program.chmod(0o755)
    output = file.parent / "output"
    environ = {"PATH": f"{program.parent}:/usr/bin:/bin", "GITHUB_OUTPUT": str(output)}
    for good in (True, False):
        output.write_text("")
        done = subprocess.run(
            # GitHub runs a step's script with -e; Azure does not, and ours says `set -e`.
            ["bash", *(["-e"] if heading == "GitHub Actions" else []), "-c", script(heading)],
            cwd=file.parent, env=envbundle.environment(environ), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is good, done.stderr
        written = output.read_text() + done.stdout
        if good:
            (line,) = written.splitlines()
            assert json.loads(line.removeprefix(before))
        else:
            assert written == ""
            assert "envbundle.toml:2: jobs" in done.stderr
        file.write_text("\njobs = 0\n" + FILE)


POD = ci.Cluster(container_image="registry.example/envbundle:1")
ALL = ci.Cluster(
    container_image="registry.example/envbundle@sha256:" + "0" * 64,
    name="nightly",
    namespace="ml",
    claim="work.claim",
    mount="/data/nightly",
    file="conf/envbundle.toml",
    cache_claim="wheels",
    secrets=("feed", "store"),
    cpu="500m",
    memory="1.5Gi",
)


def kubelet(text: str) -> str:
    """What becomes of a command's word: `$$` is `$`, and `$(NAME)` of an unknown variable stays."""
    return text.replace("$$(", "$(")


@pytest.mark.parametrize("names", [[], ["a-py37", "a-py38"]])
def test_each_pod_does_its_shard(tmp_path: Path, names: list[str]) -> None:
    job = yaml.safe_load(ci.kubernetes(ALL, shards=3, names=names))
    container = job["spec"]["template"]["spec"]["containers"][0]
    seen = tmp_path / "envbundle"
    seen.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    seen.chmod(0o755)
    for index in range(3):
        done = subprocess.run(
            [kubelet(word) for word in (*container["command"], *container["args"])],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": str(index)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        only = [word for name in names for word in ("--only", name)]
        expected = ["rebuild", "/data/nightly/conf/envbundle.toml", "--shard", f"{index + 1}/3", *only]
        assert json.loads(done.stdout) == expected


def test_the_job_is_careful() -> None:
    job = yaml.safe_load(ci.kubernetes(ALL, shards=3))
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert job["metadata"]["namespace"] == "ml"
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    (rule,) = [rule for rule in spec["podFailurePolicy"]["rules"] if rule["action"] == "FailIndex"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert rule["onExitCodes"]["values"] == [1, 2]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    assert mounts == {"work": "/data/nightly", "cache": "/cache", "scratch": "/tmp"}
    assert volumes == {
        "work": {"persistentVolumeClaim": {"claimName": "work.claim"}},
        "cache": {"persistentVolumeClaim": {"claimName": "wheels"}},
        "scratch": {"emptyDir": {}},
    }
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables == {"ENVBUNDLE_CACHE_DIR": mounts["cache"], "HOME": mounts["scratch"]}
    assert [one["secretRef"]["name"] for one in container["envFrom"]] == ["feed", "store"]
    least = yaml.safe_load(ci.kubernetes(POD, shards=1))["spec"]["template"]["spec"]
    assert least["volumes"][1] == {"name": "cache", "emptyDir": {}}
    assert "envFrom" not in least["containers"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"container_image": "u:p@registry/x"}, "is no name of an image"),
        ({"name": "Nightly"}, "--name 'Nightly'"),
        ({"name": "x" * 60}, "--name"),
        ({"name": "a\nkind: Pod"}, "--name"),
        ({"namespace": "a.b"}, "--namespace"),
        ({"claim": "a/b"}, "--claim"),
        ({"cache_claim": "-a"}, "--cache-claim"),
        ({"secrets": ("ok", "a b")}, "--secret 'a b'"),
        ({"mount": "relative"}, "--mount"),
        ({"mount": "/a/../b"}, "--mount"),
        ({"mount": "/$(X)"}, "--mount"),
        ({"mount": "/"}, "--mount"),
        ({"mount": "/tmp/x"}, "another volume is there"),
        ({"mount": "/cache"}, "another volume is there"),
        ({"file": "/abs"}, "--file"),
        ({"file": "../x"}, "--file"),
        ({"cpu": "much"}, "--cpu"),
        ({"memory": "2 Gi"}, "--memory"),
    ],
)
def test_what_kubernetes_would_not_take(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ci.kubernetes(ci.Cluster(**{"container_image": "e:1", **change}), shards=2)
    assert message in caught.value.message


def test_kubernetes_through_the_command(envbundle: Command, file: Path) -> None:
    words = ["--container-image", "registry.example/envbundle:1", "--claim", "work", "--file", "x.toml"]
    done = envbundle("matrix", "--for", "kubernetes", "--shards", "4", *words, "--only", "scoring")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == ci.kubernetes(
        ci.Cluster(container_image="registry.example/envbundle:1", claim="work", file="x.toml"),
        shards=4,
        names=["scoring-py37", "scoring-py38"],
    )


@pytest.mark.pypi
@pytest.mark.parametrize("version", ["1.35", "1.37"])
def test_the_schema_of_kubernetes_takes_it(tmp_path: Path, version: str) -> None:
    folder = tmp_path / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    words = [uv, "pip", "install", "-q", "--python", f"{folder}/bin/python", "kubernetes-validate"]
    subprocess.run(words, check=True)
    least, most = ci.kubernetes(POD, shards=1), ci.kubernetes(ALL, shards=1000, names=["a-py37"])
    validate = [f"{folder}/bin/kubernetes-validate", "-k", version, "--strict"]
    for name, text, good in (
        ("least.yaml", least, True),
        ("most.yaml", most, True),
        ("broken.yaml", most.replace("backoffLimitPerIndex", "backoffLimitPerIndx"), False),
    ):
        (tmp_path / name).write_text(text)
        done = subprocess.run([*validate, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is good, done.stdout + done.stderr
