"""Projects of which only their build says what they require (`dynamic` of PEP 621, or no `[project]`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create.inputs import asked_build, pyproject
from bundler.errors import InputError, MachineError

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import Requirements

    from tests.support.command import Command
    from tests.support.fetching import Contexts

SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
ALL = '[project]\nname = "app"\nversion = "1"\ndynamic = ["dependencies", "optional-dependencies"]\n'
METADATA = """\
Metadata-Version: 2.1
Name: app
Version: 1
Requires-Python: >=3.9
Requires-Dist: six>=1
Requires-Dist: new; python_version >= "3.9"
Requires-Dist: old<2; python_version < "3.9"
Requires-Dist: fast[c]>=2; extra == "Speed"
Requires-Dist: newer; extra == "speed" and python_version >= "3.9"
Requires-Dist: app[speed]; extra == "all"
Requires-Dist: docs; extra == "all"
Provides-Extra: speed
Provides-Extra: all
"""
BASE, SPEED = ["six>=1", "old<2"], ["fast[c]>=2"]
TOLD = "app: requires Python >=3.9, and the bundle is for 3.8."
HOOK = """
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    import os, sys
    os.makedirs(os.path.join(folder, "app-1.dist-info"))
    assert sys.version_info[:2] == (3, 8) and not os.path.exists(CACHE)
    with open(os.path.join(folder, "app-1.dist-info", "METADATA"), "w") as stream:
        stream.write(METADATA)
    return "app-1.dist-info"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise RuntimeError("only the metadata is wanted")
"""
WHEEL = """
def build_wheel(folder, config_settings=None, metadata_directory=None):
    import os, zipfile
    with zipfile.ZipFile(os.path.join(folder, "app-1-py3-none-any.whl"), "w") as archive:
        archive.writestr("app-1.dist-info/METADATA", METADATA)
        archive.writestr("app-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("app-1.dist-info/RECORD", "")
    return "app-1-py3-none-any.whl"
"""


def project(folder: Path, contexts: Contexts, *, text: str = ALL, hooks: str = HOOK) -> Path:
    """A project with a backend of its own, which sees nothing of the store."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(text + SYSTEM)
    said = f"METADATA = {METADATA!r}\nCACHE = {str(contexts.store.root)!r}\n"
    (folder / "backend.py").write_text(said + hooks)
    return folder / "pyproject.toml"


def ask(path: Path, contexts: Contexts, *extras: str, **options: Any) -> Requirements:
    return asked_build.complete(pyproject.read(path, extras=extras), contexts.make(**options))


def texts(found: Requirements) -> list[str]:
    return [one.text for one in found.requirements]


@pytest.mark.thorough
def test_the_build_is_asked(tmp_path: Path, contexts: Contexts) -> None:
    path = project(tmp_path / "app", contexts)
    found = ask(path, contexts, "All")
    assert texts(found) == [*BASE, "docs", *SPEED]
    assert found.requirements[0].origin == f"{path}: its build"
    assert str(found.told[-1]).startswith(TOLD)
    assert found.projects == ()
    assert not contexts.stored()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "extras", "wanted"),
    [
        (ALL, (), BASE),
        ("[tool.black]\n", ("speed",), [*BASE, *SPEED]),
        (ALL.replace(', "optional-dependencies"', "") + "optional-dependencies = {x = ['static']}\n", ("x",),
         ["static", *BASE]),
        (ALL.replace('"dependencies", ', "") + "dependencies = ['static']\n", ("speed",), ["static", *SPEED]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("hooks", [HOOK, WHEEL])
def test_only_what_is_dynamic(
    tmp_path: Path, contexts: Contexts, text: str, extras: tuple[str, ...], wanted: list[str], hooks: str
) -> None:
    path = project(tmp_path / "app", contexts, text=text, hooks=hooks)
    found = ask(path, contexts, *extras)
    assert texts(found) == wanted
    assert [str(note)[:26] for note in found.told] == ["app: what it requires is i", TOLD[:26]]


def test_what_stands_in_the_file_is_not_asked(tmp_path: Path, contexts: Contexts) -> None:
    text = "[project]\nname = 'app'\nrequires-python = '>=3.10'\ndependencies = ['six']\n"
    text += "dynamic = ['version', 'optional-dependencies']\n"
    path = project(tmp_path / "app", contexts, text=text, hooks="raise RuntimeError")
    found = ask(path, contexts, no_build=True)
    assert texts(found) == ["six"]
    assert [str(one)[:27] for one in found.told[1:]] == ["app: requires Python >=3.10"]
    assert len(ask(path, contexts, version="3.8", no_build=True).told) == 2


@pytest.mark.thorough
def test_refused(tmp_path: Path, contexts: Contexts) -> None:
    path = project(tmp_path / "app", contexts)
    with pytest.raises(InputError, match=r"its dependencies are dynamic: .* --no-build refuses") as caught:
        ask(path, contexts, no_build=True)
    assert (caught.value.hint or "").startswith("leave --no-build out")
    with pytest.raises(InputError, match="has no extra 'slow'") as caught:
        ask(path, contexts, "slow")
    assert caught.value.hint == "it has all, speed"
    path = project(tmp_path / "app", contexts, hooks=HOOK.replace("(METADATA)", "(METADATA.split('Req')[0])"))
    with pytest.raises(InputError, match="nothing is required: the build of"):
        ask(path, contexts)
    path = project(tmp_path / "app", contexts, hooks="raise RuntimeError('a broken backend')")
    failure = r"(?s)^app leaves to its build what it requires, and asking that failed:.*a broken backend"
    with pytest.raises(MachineError, match=failure):
        ask(path, contexts)


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        (("setup.py",), True),
        (("setup.cfg:[options]\n",), True),
        (("setup.cfg:[flake8]\n",), False),
        (("setup.cfg:not configuration",), False),
        ((), False),
    ],
)
def test_a_project_of_setuptools_alone(tmp_path: Path, files: tuple[str, ...], *, asked: bool) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.black]\n")
    for name, _, text in (one.partition(":") for one in files):
        (tmp_path / name).write_text(text)
    named = [tmp_path / "pyproject.toml", *(tmp_path / one.partition(":")[0] for one in files)]
    for path in named:
        if asked:
            (one,) = pyproject.read(path).projects
            assert (one.name, one.folder, one.dynamic) == ("", tmp_path, ("dependencies",))
        else:
            with pytest.raises(InputError, match=r"has no \[project\] table"):
                pyproject.read(path)


@pytest.mark.thorough
def test_a_bundle_of_such_a_project(
    envbundle: Command, wheels: Path, tmp_path: Path, contexts: Contexts
) -> None:
    for name in ("six", "old"):
        make_wheel(wheels, name, "1.2.3")
    project(tmp_path / "app", contexts)
    words = ["-r", "app/pyproject.toml", "--python", "3.8", *envbundle.offline(wheels)]
    done = envbundle("create", *words, "--json", "-o", "bundle")
    assert done.code == 0, done.stderr
    described = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert described["inputs"]["requirements"] == ["six>=1", "old<2"]
    assert described["inputs"]["notes"][-1].startswith(TOLD)
    assert done.json()["notes"][-1]["text"].startswith("requires Python")
    done = envbundle("lock", *words, "--no-build", "-o", "pylock.toml")
    assert (done.code, "are dynamic" in done.stderr) == (2, True)
