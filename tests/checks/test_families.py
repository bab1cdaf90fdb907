"""The checks through `create`: all have their say, real instances are found, ordinary sets are silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import machine
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command, Outcome

Said = set[tuple[str, str, str]]


def said(done: Outcome) -> Said:
    return {(one["code"], one["severity"], one["subject"]) for one in done.json()["findings"]}


@pytest.mark.thorough
def test_every_family_has_its_say(
    envbundle: Command, wheels: Path, tmp_path: Path, target_python: Path
) -> None:
    minor = target_python.name.removeprefix("python")
    make_wheel(
        wheels,
        "alpha",
        files={
            "alpha.py": "",
            "statistics.py": "",
            "sitecustomize.py": "",
            "hook.pth": "import alpha.hook",
            "out.pth": "/opt/elsewhere",
            "Beta/__init__.py": "",
            "beta/__init__.py": "",
            "alpha_data/12:30.txt": "/croot/alpha/work",
            "alpha-1.0.data/data/share/alpha/table": "",
        },
        entry_points="[console_scripts]\nrun = alpha:run\n",
        metadata="License: AGPLv3\n",
    )
    make_wheel(wheels, "setuptools", "56.0.0")
    (tmp_path / ".gitignore").write_text("*.so\nlib/\n")
    offline = envbundle.offline(wheels)
    done = envbundle(
        "create", "alpha", "setuptools==56.0.0", "--python", minor, "-o", "out", "--json", *offline
    )
    assert done.code == 1
    site = f"lib/python{minor}/site-packages"
    assert said(done) == {
        ("EB108", "error", f"{site}/out.pth"),
        ("EB109", "info", "alpha"),
        ("EB402", "error", "alpha"),
        ("EB403", "warning", "alpha"),
        ("EB406", "info", "setuptools"),
        ("EB407", "error", "alpha"),
        ("EB501", "warning", "hook.pth"),
        ("EB502", "warning", "alpha"),
        ("EB503", "info", "bin"),
        ("EB507", "warning", ".gitignore"),
        ("EB508", "info", f"{site}/alpha_data/12:30.txt"),
        ("EB603", "info", "alpha"),
        ("EB606", "info", "setuptools"),
    }
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_what_lies_beside_the_bundle_is_not_in_its_manifest(
    envbundle: Command, wheels: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "alpha")
    words = ["create", "alpha==1.0", "--python", "3.8", "--json", *envbundle.offline(wheels)]
    (tmp_path / ".gitignore").write_text("lib/\n")
    plain = envbundle(*words, "-o", "out")
    assert (plain.code, ("EB507", "warning", ".gitignore") in said(plain)) == (0, True)
    assert "EB507" not in (tmp_path / "out/manifest.json").read_text()
    assert envbundle(*words, "-o", "strict", "--strict").code == 1
    (tmp_path / ".amlignore").write_text("*.log\n")
    assert envbundle(*words, "-o", "strict", "--strict").code == 0


def of_families(found: Said, *families: str) -> Said:
    return {one for one in found if one[0].startswith(families) and one[1] != "info"}


INSTANCES = [
    (["enum34==1.1.10"], "EB4", {("EB402", "error", "enum34")}),
    (["typing==3.7.4.3"], "EB4", {("EB402", "error", "typing")}),
    (["futures==3.0.5"], "EB4", {("EB402", "error", "futures")}),
    (["argparse==1.4.0"], "EB4", {("EB402", "warning", "argparse")}),
    (["dataclasses==0.6"], "EB4", {("EB402", "error", "dataclasses")}),
    (["future-fstrings==1.2.0"], "EB5", {("EB501", "warning", "aaaaa_future_fstrings.pth")}),
    (["coloredlogs==15.0.1"], "EB5", {("EB501", "warning", "coloredlogs.pth")}),
    (
        ["opencv-python==4.5.5.64", "opencv-python-headless==4.5.5.64"],
        "EB4",
        {("EB401", "error", "opencv-python-headless")},
    ),
    (["jupyter==1.0.0", "jupyter_core==4.12.0"], "EB4", set()),
    (["PyYAML==5.3.1"], "EB6", {("EB602", "warning", "pyyaml")}),
    (["urllib3==1.25"], "EB6", {("EB601", "warning", "urllib3")}),
]  # fmt: skip


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("wanted", "family", "expected", "python"),
    machine.in_turn(INSTANCES),
    ids=lambda value: str(value)[:30],
)
def test_real_instances(
    envbundle: Command, wanted: list[str], family: str, expected: Said, python: str
) -> None:
    done = envbundle("create", *wanted, "--python", python, "-o", "out", "--json")
    assert of_families(said(done), family) == expected


ORDINARY = [
    ["flask", "requests"],
    ["fastapi", "uvicorn"],
    ["boto3"],
    ["sqlalchemy", "psycopg2-binary"],
    ["matplotlib"],
    ["protobuf==3.20.1", "google-auth==1.35.0"],
    ["zope.interface==5.4.0"],
    ["azure-identity", "azure-storage-blob"],
    ["jupyterlab-widgets"],
    ["configparser==5.3.0", "pathlib2==2.3.7.post1", "importlib-resources", "typing-extensions"],
    ["setuptools==56.0.0", "pip==21.0", "docopt==0.6.2"],
]


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("wanted", "python"), machine.in_turn((one,) for one in ORDINARY), ids=lambda value: str(value)[:30]
)
def test_ordinary_sets_pass_in_silence(envbundle: Command, wanted: list[str], python: str) -> None:
    done = envbundle("create", *wanted, "--python", python, "-o", "out", "--json")
    assert (done.code, of_families(said(done), "EB")) == (0, set()), done.stderr
