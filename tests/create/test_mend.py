"""`create --mend` from end to end: what it pins, what it leaves alone, and when it gives up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.checks.rules import providers
from bundler.create.mend import pins
from bundler.create.mend.cures import Situation, cures
from bundler.create.mend.failure import Defect, of_finding
from bundler.create.mend.observed import Observed
from bundler.model import Finding, Requirements

from tests.support.bundlemaker import facts, lock, locked
from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from tests.support.command import Command, Outcome
    from tests.support.index import Index

GONE = {"leaf.py": "NEW = 1\n"}
HERE = {"leaf.py": "NEW = 1\nOLD = 1\n"}


@pytest.fixture
def broken(wheels: Path) -> Path:
    """A root that imports what the newest of its dependency no longer has."""
    make_wheel(wheels, "root-dist", "2.0", {"root_dist.py": "from leaf import OLD\n"}, requires=["leaf"])
    for version in ("1.0", "1.5", "2.0"):
        make_wheel(wheels, "leaf", version, HERE)
    for version in ("2.5", "3.0", "3.1"):
        make_wheel(wheels, "leaf", version, GONE)
    return wheels


def create(envbundle: Command, wheels: Path, *words: str) -> Outcome:
    return envbundle("create", "--python", "3.8", "-o", "b", *words, *envbundle.offline(wheels))


@pytest.mark.thorough
def test_older_versions_of_the_culprit(envbundle: Command, broken: Path, tmp_path: Path) -> None:
    done = create(envbundle, broken, "root-dist", "--mend", "--json")
    assert done.code == 0, done.stderr
    # 3.0 is tried first, then the last of the major version before, then the minor before that.
    assert "leaf<=3.0" in done.stderr
    (pin,) = done.json()["mended"]
    assert pin["name"] == "leaf"
    assert pin["specifier"] == "<=3.0,<=2.5,<=2.0" or pin["specifier"] == "<=2.0"
    assert "cannot import name 'OLD' from 'leaf'" in pin["reason"]
    text = (tmp_path / "b" / "constraints.txt").read_text()
    assert pins.documents([pins.Pin(**pin)]) == {"constraints.txt": text}
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert "constraints.txt" in [row[0] for row in manifest["documents"]]
    assert manifest["inputs"]["constraints"] == [f"leaf{pin['specifier']}"]
    assert envbundle("verify", "b").code == 0
    # With the file, the bundle is made at once, and is the same tree.
    (tmp_path / "c.txt").write_text(text)
    again = envbundle(
        "create", "root-dist", "-c", "c.txt", "--python", "3.8", "-o", "again", *envbundle.offline(broken)
    )
    assert again.code == 0, again.stderr
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["digest"] == manifest["digest"]
    assert not (tmp_path / "again" / "constraints.txt").exists()


@pytest.mark.thorough
def test_without_mend_the_hint_tells_of_it(envbundle: Command, broken: Path, tmp_path: Path) -> None:
    done = create(envbundle, broken, "root-dist")
    assert done.code == 1
    assert "--mend looks for versions" in done.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.thorough
def test_no_offer_where_versions_are_not_the_cause(envbundle: Command, wheels: Path) -> None:
    make_wheel(wheels, "lone", "1.0", {"re.py": "raise RuntimeError('shadow')\n", "lone.py": ""})
    done = create(envbundle, wheels, "lone")
    assert done.code == 1
    assert "--mend" not in done.stderr


@pytest.mark.thorough
def test_a_pin_of_the_caller_stays(envbundle: Command, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("root-dist==2.0\nleaf==3.1\n")
    done = create(envbundle, broken, "-r", "r.txt", "--mend")
    assert done.code == 1
    assert "leaf==3.1" in done.stderr
    assert "is yours" in done.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.thorough
def test_what_versions_do_not_cause_stays_and_the_rest_is_mended(
    envbundle: Command, broken: Path, tmp_path: Path
) -> None:
    make_wheel(broken, "lone", "1.0", {"re.py": "raise RuntimeError('shadow')\n", "lone.py": ""})
    without = create(envbundle, broken, "root-dist", "lone")
    assert without.code == 1
    assert "--mend" not in without.stderr
    done = create(envbundle, broken, "root-dist", "lone", "--mend")
    assert done.code == 1
    findings = done.stderr[done.stderr.rindex("modules imported") :]
    assert "error EB402 lone" in findings
    assert "error EB201 root_dist" not in findings
    assert "--mend has mended what versions cause, not this: with leaf<=" in findings
    assert "cannot import name 'OLD' from 'leaf'" in findings
    assert not (tmp_path / "b").exists()


@pytest.mark.thorough
def test_limits(envbundle: Command, broken: Path) -> None:
    done = create(envbundle, broken, "root-dist", "--mend", "--mend-tries", "1")
    assert done.code == 1
    assert "--mend tried 1 sets of versions" in done.stderr
    assert "try 2" not in done.stderr


@pytest.mark.thorough
def test_what_there_was_when_the_root_was_released(
    envbundle: Command, broken: Path, index: Index, tmp_path: Path
) -> None:
    index.upload_time = {path.name: "2024-01-01T00:00:00Z" for path in broken.iterdir()}
    index.upload_time |= {
        "root_dist-2.0-py3-none-any.whl": "2020-01-01T00:00:00Z",
        "leaf-1.0-py3-none-any.whl": "2019-01-01T00:00:00Z",
        "leaf-1.5-py3-none-any.whl": "2020-01-10T00:00:00Z",
    }
    done = envbundle(
        *("create", "root-dist", "--python", "3.8", "-o", "b", "--mend", "--json"),
        *("--index-url", index.url, "--find-links", str(envbundle.pips)),
    )
    assert done.code == 0, done.stderr
    (pin,) = done.json()["mended"]
    assert pin["specifier"] == "<=1.5"  # ten days after it: whoever installed the root then had it
    assert "released on 2020-01-01" in pin["reason"]
    assert "try 2" not in done.stderr


@pytest.mark.thorough
def test_a_known_breakage_is_cured_at_once(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, "root-dist", "1.0", {"root_dist.py": "import pkg_resources\n"})
    make_wheel(wheels, "setuptools", "80.1", {"pkg_resources.py": "", "setuptools.py": ""})
    make_wheel(wheels, "setuptools", "82.0", {"setuptools.py": ""})
    done = create(envbundle, wheels, "root-dist", "--mend", "--json")
    assert done.code == 0, done.stderr
    (pin,) = done.json()["mended"]
    assert (pin["name"], pin["specifier"], pin["added"]) == ("setuptools", "<81", True)
    assert (tmp_path / "b" / "added-requirements.txt").read_text().endswith("\nsetuptools<81\n")
    assert not (tmp_path / "b" / "constraints.txt").exists()


@pytest.fixture
def undeclared(wheels: Path) -> Path:
    """A root that imports what a known distribution brings, and does not require it."""
    make_wheel(wheels, "root-dist", "2.0", {"root_dist.py": "from six.moves import urllib\n"})
    for version in ("1.10", "1.11", "1.17"):
        files = {"six/__init__.py": "", "six/moves/__init__.py": "", "six/moves/urllib.py": ""}
        make_wheel(wheels, "six", version, files)
    return wheels


@pytest.mark.thorough
def test_what_nobody_declares_is_added(envbundle: Command, undeclared: Path, tmp_path: Path) -> None:
    without = create(envbundle, undeclared, "root-dist")
    assert without.code == 1
    assert "add six to the requirements (root-dist uses it and does not require it)" in without.stderr
    assert "--mend adds what is missing" in without.stderr
    done = create(envbundle, undeclared, "root-dist", "--mend", "--json")
    assert done.code == 0, done.stderr
    (pin,) = done.json()["mended"]
    assert (pin["name"], pin["specifier"], pin["added"]) == ("six", "", True)
    assert "root-dist imports six" in pin["reason"]
    text = (tmp_path / "b" / "added-requirements.txt").read_text()
    assert text.splitlines()[-1] == "six"
    assert pin["source"] in text
    assert not (tmp_path / "b" / "constraints.txt").exists()
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["inputs"]["requirements"] == ["root-dist", "six"]
    # With the file, the bundle is made at once, and is the same tree.
    (tmp_path / "added.txt").write_text(text)
    again = envbundle(
        *("create", "root-dist", "-r", "added.txt", "--python", "3.8", "-o", "again"),
        *envbundle.offline(undeclared),
    )
    assert again.code == 0, again.stderr
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["digest"] == manifest["digest"]


@pytest.mark.thorough
def test_what_is_added_keeps_to_the_callers_constraints(
    envbundle: Command, undeclared: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.txt").write_text("six==1.11\n")
    done = create(envbundle, undeclared, "root-dist", "-c", "c.txt", "--mend", "--json")
    assert done.code == 0, done.stderr
    assert "\nsix==1.11 " in (tmp_path / "b" / "requirements.lock").read_text()


@pytest.mark.thorough
def test_an_extra_says_which_versions_are_added(envbundle: Command, undeclared: Path) -> None:
    files = {"root_dist.py": "import six\n"}
    make_wheel(undeclared, "root-dist", "3.0", files, requires=['six<1.11; extra == "old"'])
    done = create(envbundle, undeclared, "root-dist", "--mend", "--json")
    assert done.code == 0, done.stderr
    assert [(pin["name"], pin["specifier"]) for pin in done.json()["mended"]] == [("six", "<1.11")]


@pytest.mark.thorough
def test_a_name_that_is_not_known_is_never_added(envbundle: Command, wheels: Path) -> None:
    make_wheel(wheels, "root-dist", "2.0", {"root_dist.py": "import sixth\n"})
    make_wheel(wheels, "sixth", "1.0")
    done = create(envbundle, wheels, "root-dist", "--mend")
    assert done.code == 1
    assert "what an index has under that of the module may be another one" in done.stderr
    assert "--mend knows no other versions to try" in done.stderr


@pytest.mark.thorough
def test_what_the_service_imports_is_added(envbundle: Command, undeclared: Path, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("import lone\n\n\ndef run():\n    import six\n")
    make_wheel(undeclared, "lone", "1.0")
    without = create(envbundle, undeclared, "lone", "--entry", "score.py")
    assert (without.code, "EB206" in without.stderr) == (1, True)
    assert "--mend adds what is missing" in without.stderr
    done = create(envbundle, undeclared, "lone", "--entry", "score.py", "--mend", "--json")
    assert done.code == 0, done.stderr
    assert [(pin["name"], pin["reason"]) for pin in done.json()["mended"]] == [
        ("six", "the service imports six, and nothing that was asked for brings it")
    ]


@pytest.mark.parametrize(
    ("lines", "had", "expected"),
    [
        (["  import six.moves", "ModuleNotFoundError: No module named 'six'"], "lone", "six"),
        (["  import six.moves", "ModuleNotFoundError: No module named 'six'"], "six", ""),
        (["  import attr", "ModuleNotFoundError: No module named 'attr'"], "lone", "attrs"),
        # The lock has another distribution with a module of the name: what it lacks, attrs does not cure.
        (["  import attr.x", "ModuleNotFoundError: No module named 'attr.x'"], "attr", ""),
        (["  import sixth", "ModuleNotFoundError: No module named 'sixth'"], "lone", ""),
        (["  import distutils", "ModuleNotFoundError: No module named 'distutils'"], "lone", ""),
        # Of a shared namespace the statement, or the part that is missing, tells whose it is.
        (["  from google.protobuf import descriptor", "ModuleNotFoundError: No module named 'google'"],
         "lone", "protobuf"),
        (["  import google.auth.transport", "ModuleNotFoundError: No module named 'google.auth'"],
         "google.protobuf", "google-auth"),
        (["  import google", "ModuleNotFoundError: No module named 'google'"], "lone", ""),
        (["ImportError: cannot import name 'auth' from 'google' (unknown location)"],
         "google.protobuf", "google-auth"),
        (["ImportError: cannot import name 'auth' from 'google' (lib/x.py)"], "google.protobuf", ""),
        (["ImportError: cannot import name 'auth' from 'google' (unknown location)"],
         "google.auth.more", ""),
        (["ModuleNotFoundError: No module named 'six'"], "lone", "six"),
    ],
)  # fmt: skip
def test_who_brings_what_is_missing(lines: list[str], had: str, expected: str) -> None:
    observed = Observed(
        lock=lock(locked("lone")),
        facts={"lone": facts("lone", modules=["lone"]), "other": facts("other", modules=[had])},
    )
    cause = "\n".join(['lone is asked for:\nFile "lib/python3.8/site-packages/lone.py", line 1', *lines])
    failed = Finding(code="EB201", severity="error", subject="lone", cause=cause, remedy="", chain=("lone",))
    defect = of_finding(failed, observed)
    assert defect is not None
    assert (defect.lacks.distribution if defect.lacks else "") == expected


def test_the_lock_of_another_tool_is_closed() -> None:
    """Nothing is added to what it pins; the hint says what to add there."""
    row = providers.known("six")
    situation = Situation(
        defects=(Defect(kind="import", text="No module named 'six'", importer="root-dist", lacks=row),),
        observed=Observed(),
        releases=None,  # type: ignore[arg-type] # nobody is asked
        wanted=Requirements(closed_by="Pipfile.lock"),
    )
    assert list(cures(situation)) == []
    assert situation.blocked == ["root-dist imports six: add six to what Pipfile.lock pins"]


def test_joined_with_any_version() -> None:
    added = pins.Pin(name="a", specifier="", reason="first", added=True)
    older = pins.Pin(name="a", specifier="<2", reason="second")
    assert [(one.specifier, one.added) for one in pins.joined([added, older])] == [("<2", True)]
    assert [one.text for one in pins.joined([added, added])] == ["a"]


def test_joined() -> None:
    one = pins.Pin(name="a", specifier="<3", reason="first")
    two = pins.Pin(name="a", specifier="<=2.1", reason="second", added=True)
    assert pins.joined([one, two]) == (pins.Pin(name="a", specifier="<3,<=2.1", reason="second", added=True),)


@pytest.mark.thorough
def test_remedies_name_what_works(envbundle: Command, wheels: Path, index: Index) -> None:
    make_wheel(wheels, "flask", "1.1.2", {"flask.py": "from jinja2 import escape\n"}, requires=["jinja2"])
    make_wheel(wheels, "jinja2", "3.1.6")
    done = create(envbundle, wheels, "flask")
    assert done.code == 1
    assert "remedy: pin jinja2<3.1: Flask 1 imports" in done.stderr
    assert "https://flask.palletsprojects.com/" in done.stderr


@pytest.mark.thorough
def test_what_does_not_build_names_the_last_wheel(envbundle: Command, wheels: Path) -> None:
    make_wheel(wheels, "compiled", "1.4")
    make_wheel(wheels, "compiled", "2.0", tag="cp312-cp312-manylinux_2_17_x86_64")
    metadata = "Metadata-Version: 2.2\nName: compiled\nVersion: 2.0\n"
    make_sdist(
        wheels, "compiled", "2.0", {"PKG-INFO": metadata, "pyproject.toml": "[build-system]\nrequires=[]\n"}
    )
    done = create(envbundle, wheels, "compiled==2.0")
    assert done.code == 3, done.stderr
    assert "pin compiled==1.4, the last version with a wheel for the target" in done.stderr
    assert "compiled 2.0 has a wheel for Python 3.12" in done.stderr
    mended = create(envbundle, wheels, "compiled", "--mend", "--json")
    assert mended.code == 0, mended.stderr
    assert [pin["specifier"] for pin in mended.json()["mended"]] == ["<=1.4"]


@pytest.mark.thorough
def test_pinned_setuptools_without_pkg_resources(envbundle: Command, wheels: Path) -> None:
    make_wheel(wheels, "root-dist", "1.0", {"root_dist.py": "import pkg_resources\n"})
    done = create(envbundle, wheels, "root-dist")
    assert done.code == 1
    assert "add setuptools<81" in done.stderr


@pytest.mark.pypi
def test_flask_1_of_a_public_service(envbundle: Command, tmp_path: Path) -> None:
    """gcp-firenotes of tests/real: its Flask 1.1.2 imports what the newest Jinja2 no longer has."""
    files = Path(__file__).parent.parent / "real" / "requirements" / "gcp-firenotes.txt"
    words = ("create", "-r", files, "--python", "3.8", "-o", "b")
    refused = envbundle(*words)
    assert refused.code == 1
    assert "jinja2<3.1" in refused.stderr
    done = envbundle(*words, "--mend", "--json")
    assert done.code == 0, done.stderr
    assert "jinja2" in [pin["name"] for pin in done.json()["mended"]]


@pytest.mark.pypi
def test_six_of_paramiko(envbundle: Command, tmp_path: Path) -> None:
    """Its 2.8 got six by way of an old bcrypt, and does not require it."""
    done = envbundle("create", "paramiko==2.8.1", "--python", "3.8", "-o", "b", "--mend", "--json")
    assert done.code == 0, done.stderr
    assert [(pin["name"], pin["added"]) for pin in done.json()["mended"]] == [("six", True)]


SETUP = """
def get_requires_for_build_wheel(config_settings=None):
    return ["setuptools"]
def build_wheel(folder, config_settings=None, metadata_directory=None):
    import importlib, sys
    import setuptools
    if not setuptools.OLD:
        raise SystemExit("error in built setup command: use_2to3 is invalid.")
    import backend_of_wheel
    return backend_of_wheel.build(folder)
"""
WHEEL = """
import base64, hashlib, os, zipfile
def build(folder):
    members = {
        "built.py": "",
        "built-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n",
        "built-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = ""
    with zipfile.ZipFile(os.path.join(folder, "built-1.0-py3-none-any.whl"), "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows += "%s,sha256=%s,\\n" % (path, digest)
        record = "built-1.0.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), rows + record + ",,\\n")
    return "built-1.0-py3-none-any.whl"
"""


@pytest.fixture
def unbuildable(wheels: Path) -> Path:
    """A source distribution that builds with a setuptools before 58 alone."""
    toml = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    toml += '[project]\nname = "built"\nversion = "1.0"\n'
    files = {"pyproject.toml": toml, "backend.py": SETUP, "backend_of_wheel.py": WHEEL}
    metadata = "Metadata-Version: 2.2\nName: built\nVersion: 1.0\n"
    make_sdist(wheels, "built", files={**files, "PKG-INFO": metadata})
    make_wheel(wheels, "setuptools", "57.5", {"setuptools.py": "OLD = True\n"})
    make_wheel(wheels, "setuptools", "80.0", {"setuptools.py": "OLD = False\n"})
    return wheels


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_what_builds_with_an_older_setuptools_alone(
    envbundle: Command, unbuildable: Path, tmp_path: Path, resolver: str
) -> None:
    fails = create(envbundle, unbuildable, "built", "--resolver", resolver)
    assert fails.code == 3
    assert "--mend looks for versions" in fails.stderr
    done = create(envbundle, unbuildable, "built", "--resolver", resolver, "--mend", "--json")
    assert done.code == 0, done.stderr
    (pin,) = done.json()["mended"]
    assert (pin["name"], pin["specifier"], pin["build"]) == ("setuptools", "<58", True)
    told = (tmp_path / "b" / "build-constraints.txt").read_text()
    assert told.splitlines()[-1] == "setuptools<58"
    assert not (tmp_path / "b" / "constraints.txt").exists()
    # The file does the same, and a lock of it too; the bundle has no setuptools.
    (tmp_path / "bc.txt").write_text(told)
    again = envbundle(
        *("create", "built", "--build-constraint", "bc.txt", "--python", "3.8", "-o", "again", "--json"),
        *("--resolver", resolver, "--cache-dir", "elsewhere", *envbundle.offline(unbuildable)),
    )
    assert again.code == 0, again.stderr
    assert again.json()["digest"] == done.json()["digest"]
    assert not list((tmp_path / "again").rglob("setuptools*"))
