"""The wheel and the source distribution have all that envbundle needs, the pages too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import click
import pytest
import yaml
from bundler.cli import commands
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PATH")


@pytest.mark.pypi
def test_wheel_and_sdist_are_whole(tmp_path: Path) -> None:
    passed = {
        name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "PATH") if name in os.environ
    }
    copy = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [find_uv_bin(), "build", "--no-config", "--system-certs", "--out-dir", tmp_path / "dist", copy],
        env={**passed, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    with tarfile.open(sdist) as opened_sdist:
        whole = {name.partition("/")[2] for name in opened_sdist.getnames()}
    code = {
        name for name in listed.stdout.split("\0") if name.startswith("bundler/") and (ROOT / name).is_file()
    }
    pages = {name for name in files if name.startswith("docs/") and name.endswith(".md")}
    assert code - names == set()
    assert {*files} - whole == set()
    within = {name.partition(".data/data/share/doc/envbundle/")[2] for name in names}
    assert {page.removeprefix("docs/") for page in pages if page.count("/") == 1} - within == set()
    with zipfile.ZipFile(wheel) as opened:
        (metadata,) = (opened.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    shown = metadata.partition("\n\n")[2]
    # No link and no picture of an index's page leads to a file of the checkout.
    assert re.findall(r"\]\((?!https?://)[^)]*\)|<img|^\[.*\]: ", shown, re.MULTILINE) == []
    assert "# envbundle" in shown
    assert "envbundle create" in shown
    assert "share/doc/envbundle" in shown
    words = ["tool", "run", "--no-config", "--system-certs", "twine", "check", "--strict"]
    twine = subprocess.run(
        [find_uv_bin(), *words, wheel, sdist], env={**passed, "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert twine.returncode == 0, twine.stdout + twine.stderr


def test_the_hook_of_pre_commit_runs_what_there_is() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {"id", "name", "entry", "language"} <= hook.keys()
    program, name, *flags = hook["entry"].split()
    assert program == "envbundle"
    found = commands.envbundle.get_command(click.Context(commands.envbundle), name)
    assert found is not None
    assert set(flags) <= {option for one in found.params for option in one.opts}
    watched = re.compile(hook["files"])
    assert all(map(watched.search, ("requirements.txt", "a/pylock.web.toml", "pyproject.toml", "x.lock")))
    assert not watched.search("a/score.py")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("schema", "file", "old", "new"),
    [
        ("vendor.github-actions", "action.yml", "using: composite", "using: composit"),
        ("vendor.azure-pipelines", "azure-template.yml", "versionSpec:", "- versionSpec:"),
    ],
)
def test_what_other_repositories_use_fits_its_schema(
    tmp_path: Path, schema: str, file: str, old: str, new: str
) -> None:
    text = (ROOT / ".ci" / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    for content, code in ((text, 0), (text.replace(old, new), 1)):
        (tmp_path / file).write_text(content)
        # Patterns of the schemas are no regular expressions of ECMAScript's Unicode mode.
        dialect = ["--regex-variant", "nonunicode"]
        words = ["-m", "check_jsonschema", "--builtin-schema", schema, *dialect, str(tmp_path / file)]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.pypi
def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    words = ["tool", "run", "--no-config", "--system-certs", "mkdocs", "build", "--strict"]
    words += ["--config-file", str(ROOT / ".ci" / "mkdocs.yml"), "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [find_uv_bin(), *words], cwd=tmp_path, env={**passed, "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - pages == {"README"}
