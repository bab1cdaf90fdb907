"""The script that describes an image, run for real: by interpreters here, and in a root file system."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from bundler.bundle import standalone
from bundler.targets import catalogue

from tests.support.rootfs import make_root, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.command import Command

RUN = """#!/bin/bash
# AZUREML_EXTRA_PYTHON_LIB_PATH in a comment counts for nothing
{block}
exec azmlinfsrv
"""
BLOCK = 'if [[ -n "$AZUREML_EXTRA_PYTHON_LIB_PATH" ]]; then\n  export PYTHONPATH="$FULL:$PYTHONPATH"\nfi'


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `envbundle images probe` prints."""
    path = tmp_path_factory.mktemp("probe") / "probe.py"
    path.write_text(standalone.image_probe(), encoding="utf-8")
    return path


def probe(
    python: Path | str,
    script: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    text: str = "",
) -> dict[str, Any]:
    """Run the script as in a container: from standard input, with little around it."""
    done = subprocess.run(
        [str(python), "-", *arguments],
        input=text or script.read_text(encoding="utf-8"),
        env={"PATH": "/usr/bin:/bin", **(environ or {})},
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    described: dict[str, Any] = json.loads(done.stdout)
    return described


def load(described: Mapping[str, Any], folder: Path) -> Any:
    path = folder / "image.json"
    path.write_text(json.dumps(described), encoding="utf-8")
    return catalogue.load(str(path))


def test_the_command_prints_the_one_file(envbundle: Command, script: Path) -> None:
    printed = envbundle("images", "probe").stdout
    assert printed == script.read_text(encoding="utf-8")
    ast.parse(printed, feature_version=(3, 6))
    assert "bundler.ontarget" not in printed.replace("`bundler.", "")


def test_it_describes_the_interpreter_that_runs_it(target_python: Path, script: Path, tmp_path: Path) -> None:
    described = probe(target_python, script)
    schema = json.loads((catalogue.FOLDER / "profile.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(described)
    image = load(described, tmp_path)
    asked = "import sys, os; print('%d.%d.%d' % sys.version_info[:3], os.confstr('CS_GNU_LIBC_VERSION'))"
    version, libc, glibc = subprocess.check_output([target_python, "-c", asked], text=True).split()
    assert (image.target.python, image.target.libc) == (version, libc)
    assert catalogue.shown(image.target.glibc) == glibc
    minor = "".join(version.split(".")[:2])
    assert image.target.abi == f"cp{minor}" + ("m" if minor == "37" else "")
    assert {"libc.so.6", "libm.so.6"} <= image.libraries
    assert {"json", "sys", "typing"} <= image.stdlib_modules
    assert image.target.glibcxx >= (3, 4, 20)
    assert (image.user.uid, image.user.root) == (os.getuid(), os.getuid() == 0)
    assert image.probed
    assert image.honours_variables == "yes"
    assert image.mount.variables == ("PYTHONPATH",)


def test_it_runs_on_a_python_that_is_newer_than_us(script: Path) -> None:
    described = probe(sys.executable, script, "our-image")
    assert described["name"] == "our-image"
    assert described["distributions"]["pytest"]["version"] == pytest.__version__
    assert any(line.startswith("pluggy") for line in described["distributions"]["pytest"]["requires"])


def test_it_sees_what_is_installed_whatever_wrote_it(python38: Path, script: Path, tmp_path: Path) -> None:
    for name, text in {
        "First_One-1.0.dist-info/METADATA": "Name: First_One\nVersion: 1.0\nRequires-Dist: a>1\n"
        "Requires-Dist: b ; extra == 'x'\n\nName: no\nRequires-Dist: no\n",
        "old-2.0.egg-info/PKG-INFO": "Name: old\nVersion: 2.0\n",
        "old-2.0.egg-info/requires.txt": 'c>=1\n\n[x]\nd\n\n[:python_version < "3"]\ne\n',
        "file-3.0.egg-info": "Name: file\nVersion: 3.0\n",
        "broken-1.dist-info/METADATA": "Name: \nVersion: 1\n",
        "evil-1.dist-info/METADATA": "Name: ../evil\nVersion: 1\n",
        "empty-1.dist-info/RECORD": "",
    }.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    described = probe(python38, script, environ={"PYTHONPATH": str(tmp_path / "site")})
    found = described["distributions"]
    assert found["first-one"] == {"version": "1.0", "requires": ["a>1", "b ; extra == 'x'"]}
    assert found["old"] == {"version": "2.0", "requires": ["c>=1", 'e ; python_version < "3"']}
    assert found["file"] == {"version": "3.0", "requires": []}
    assert not {"broken", "evil", "../evil", "empty", "no"} & found.keys()
    assert load(described, tmp_path).environment["PYTHONPATH"] == str(tmp_path / "site")


def test_a_module_in_the_working_folder_is_not_imported(python38: Path, script: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken')", encoding="utf-8")
    copy = shutil.copy(script, tmp_path)
    assert probe(python38, Path(copy))["kind"] == "envbundle-image"


def test_no_secret_of_the_environment_is_told(python38: Path, script: Path) -> None:
    secrets = {"AZUREML_TOKEN": "s3cret", "PASSWORD": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    described = probe(python38, script, environ={**secrets, "LD_LIBRARY_PATH": "/opt/lib"})
    assert "s3cret" not in json.dumps(described)
    assert described["environment"]["LD_LIBRARY_PATH"] == "/opt/lib"


def test_libraries_of_the_search_path_come_first_and_must_be_loadable(
    python38: Path, script: Path, tmp_path: Path
) -> None:
    real = next(path for path in Path("/usr/lib/x86_64-linux-gnu").glob("libz.so.1*") if path.is_file())
    shutil.copy(real, tmp_path / "libours.so.7")
    (tmp_path / "libtext.so.1").write_text("INPUT(libz.so.1)", encoding="utf-8")
    other = bytearray(real.read_bytes())
    other[18:20] = b"\xb7\x00"  # EM_AARCH64
    (tmp_path / "libarm.so.1").write_bytes(other)
    (tmp_path / "libstdc++.so.6").write_bytes(
        real.read_bytes() + b"GLIBCXX_3.4.9\0GLIBCXX_3.4.10\0GLIBCXX_X\0"
    )
    described = probe(python38, script, environ={"LD_LIBRARY_PATH": str(tmp_path)})
    assert "libours.so.7" in described["libraries"]
    assert not {"libtext.so.1", "libarm.so.1"} & set(described["libraries"])
    assert described["target"]["glibcxx"] == "3.4.10"


@pytest.mark.parametrize(
    ("block", "answer", "colon"), [(BLOCK, "yes", True), ("true", "no", False)], ids=["whole", "cut out"]
)
def test_the_start_script_is_read(
    python38: Path, script: Path, tmp_path: Path, block: str, answer: str, *, colon: bool
) -> None:
    run = tmp_path / "run"
    run.write_text(RUN.format(block=block), encoding="utf-8")
    text = script.read_text(encoding="utf-8").replace("/var/runit/gunicorn/run", str(run))
    described = probe(python38, script, text=text, environ={"AML_APP_ROOT": "/var/other"})
    assert described["honours_variables"] == answer
    assert described["mount"] == {
        "variables": ["AZUREML_EXTRA_PYTHON_LIB_PATH", "PYTHONPATH"],
        "base": "/var/other",
        "order": "prepend",
        "trailing_colon": colon,
    }


def test_without_ldconfig_the_loaders_cache_is_read(python38: Path, script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    broken = text.replace('("/sbin/ldconfig", "/usr/sbin/ldconfig", "ldconfig")', '("/nowhere/ldconfig",)')
    assert broken != text
    assert probe(python38, script, text=broken)["libraries"] == probe(python38, script)["libraries"]


def test_musl_and_another_libc_are_no_glibc(python38: Path, script: Path, tmp_path: Path) -> None:
    text = script.read_text(encoding="utf-8").replace("CS_GNU_LIBC_VERSION", "CS_NOTHING")
    described = probe(python38, script, text=text)
    assert (described["target"]["libc"], described["target"]["glibc"]) == (None, None)
    (tmp_path / "ld-musl-x86_64.so.1").touch()
    described = probe(python38, script, text=text.replace("/lib/ld-musl-", f"{tmp_path}/ld-musl-"))
    assert (described["target"]["libc"], described["target"]["glibc"]) == ("musl", None)


# --- a root file system of Debian -------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, python38: Path) -> Path:
    require("unshare", "chroot")
    return make_root(tmp_path_factory.mktemp("rootfs") / "root", python38)


def in_root(
    root: Path, *words: str | Path, text: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "-m", "chroot", str(root), *map(str, words)],
        input=text,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.rootfs
@pytest.mark.pypi
def test_the_verdict_by_a_probed_profile_is_that_of_the_image(
    root: Path, python38: Path, script: Path, tmp_path: Path, envbundle: Command
) -> None:
    python = os.path.realpath(python38)
    described = in_root(root, python, "-", "minimal-debian", text=script.read_text(encoding="utf-8"))
    assert described.returncode == 0, described.stderr
    (tmp_path / "image.json").write_text(described.stdout, encoding="utf-8")
    image = catalogue.load(str(tmp_path / "image.json"))
    assert image.target.glibc == (2, 36)
    assert image.libraries is not None
    assert "libstdc++.so.6" in image.libraries
    assert "libGL.so.1" not in image.libraries
    verdicts = {}
    for name in ("opencv-python", "opencv-python-headless"):
        words = ["create", f"{name}==4.5.5.64", "--image", "image.json", "-o", name, "--json"]
        made = envbundle(*words)
        lacking = [
            library
            for one in made.json()["findings"]
            if one["code"] == "EB303" and one["severity"] == "error"
            for library in re.findall(r"--assume-lib (\S+)", one["remedy"])
        ]
        assert (made.code, bool(lacking)) in {(0, False), (1, True)}, made.stderr
        if lacking:
            # Nothing was emitted: the same bundle, on the word that the image has what it lacks.
            made = envbundle(*words, *(word for library in lacking for word in ("--assume-lib", library)))
            assert made.code == 0, made.stderr
        shutil.copytree(tmp_path / name, root / "srv" / name)
        packages = f"/srv/{name}/lib/python3.8/site-packages"
        tried = in_root(root, python, "-c", "import cv2; print(cv2.__version__)", PYTHONPATH=packages)
        verdicts[name] = ("libGL.so.1" in lacking, tried.stdout, "libGL.so.1" in tried.stderr)
    assert verdicts == {
        "opencv-python": (True, "", True),
        "opencv-python-headless": (False, "4.5.5\n", False),
    }
