"""samples/inputs: what its README says makes bundles with which the service answers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uv
from bundler.system.process import clean_environment, run

if TYPE_CHECKING:
    from tests.support.command import Command

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "inputs"
README = (SAMPLE / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"\| `envbundle (\w+ [^`]+)` \|$", README, re.MULTILINE)
PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
BESIDE = {"uv/pyproject.toml", "poetry/pyproject.toml", "pdm/pyproject.toml", "pipenv/Pipfile"}
"""What stands beside a lock."""
CODE = """import score; score.init(); print(score.run('{"markdown": "*yes*"}'))"""


def test_the_readme_shows_each_input() -> None:
    assert len(COMMANDS) == 9
    given = {word for command in COMMANDS for word in shlex.split(command) if "/" in word}
    files = {f"{one.parent.name}/{one.name}" for one in SAMPLE.glob("*/*") if one.parent.name != "build"}
    assert files - BESIDE <= given
    assert "`uv lock --directory uv`" in README
    assert files >= BESIDE


@pytest.mark.pypi
@pytest.mark.thorough
def test_each_input_makes_the_service(envbundle: Command, python38: Path, tmp_path: Path) -> None:
    here = tmp_path / "inputs"
    shutil.copytree(SAMPLE, here, ignore=shutil.ignore_patterns("build", "uv.lock"))
    env = clean_environment(
        home=tmp_path, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}
    )
    site = here / "build" / "env"
    site.parent.mkdir()
    run([str(python38), "-m", "venv", "--without-pip", str(site)], env=env)
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--no-cache"]
    run([*install, "--python", str(site / "bin" / "python"), "markdown-it-py<4"], env=env)
    run(
        [uv.find_uv_bin(), "lock", "--quiet", "--directory", "uv", "--python", str(python38)],
        env=env,
        cwd=here,
    )
    for command in COMMANDS:
        done = envbundle(*shlex.split(command), cwd=here)
        assert done.code == 0, f"{command}\n{done.stderr}"
        if not command.startswith("create"):
            continue
        packages = here / shlex.split(command)[-1] / "lib" / "python3.8" / "site-packages"
        extras = {"linkify_it"} if "--extra" in command else set()
        extras |= {"six.py"} if "--group" in command else set()
        found = {path.name for path in packages.iterdir()} & {"markdown_it", "mdurl", "linkify_it", "six.py"}
        assert found == {"markdown_it", "mdurl", *extras}, command
        words = [str(python38), "-c", CODE]
        answer = run(words, env={**env, "PYTHONPATH": str(packages)}, cwd=here).stdout
        assert answer.strip() == str({"html": "<p><em>yes</em></p>\n"}), command
    done = envbundle("rebuild", "envbundle.toml", cwd=here)
    assert done.code == 0, done.stderr
    assert len(list((here / "build" / "nightly").glob("*/current/manifest.json"))) == 4
