"""`--from-env`: an environment that works becomes requirements; its traps are told by name."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create.inputs import environment_place, installed_environment
from bundler.errors import InputError

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.model import Requirements

    from tests.support.command import Command


def install(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    requested: bool = False,
    installer: str = "pip",
    direct: Mapping[str, object] | None = None,
) -> Path:
    """Unpack a wheel as an installer does; return its .dist-info."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = make_wheel(folder.parent, name, version, requires=requires)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    wheel.unlink()
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    (info / "INSTALLER").write_text(f"{installer}\n")
    if requested:
        (info / "REQUESTED").touch()
    if direct is not None:
        (info / "direct_url.json").write_text(json.dumps(direct))
    return info


@pytest.fixture
def virtualenv(tmp_path: Path, python38: Path) -> Path:
    """A real one, without pip."""
    path = tmp_path / "venv"
    subprocess.run([python38, "-m", "venv", "--without-pip", path], check=True)
    return path


@pytest.fixture
def site(virtualenv: Path) -> Path:
    return virtualenv / "lib/python3.8/site-packages"


def read(path: Path, **environ: str) -> Requirements:
    return installed_environment.read(path, environ=environ)


def texts(found: Requirements) -> tuple[list[str], list[str]]:
    return [one.text for one in found.requirements], [one.text for one in found.constraints]


def notes(found: Requirements) -> list[str]:
    return [str(one) for one in found.told]


def test_what_was_requested_is_asked_for_and_the_rest_is_held(virtualenv: Path, site: Path) -> None:
    install(site, "app", requires=("base>=1", "other[fast]; python_version < '3.9'"), requested=True)
    install(site, "base", "2.0")
    install(site, "other", "3.0", requires=("speed; extra == 'fast'", "never; extra == 'slow'"))
    install(site, "speed", "4.0")
    install(site, "leftover", "5.0", requires=("under",))
    install(site, "under", "6.0")
    install(site, "pip", "23.0", requested=True)
    found = read(virtualenv)
    assert texts(found) == (
        ["app==1.0", "leftover==5.0"],
        ["base==2.0", "other==3.0", "pip==23.0", "speed==4.0", "under==6.0"],
    )
    assert notes(found) == []


def test_without_requested_the_roots_are_what_nothing_requires(virtualenv: Path, site: Path) -> None:
    install(site, "app", requires=("base",))
    install(site, "base")
    install(site, "one", requires=("two",))
    install(site, "two", requires=("one",))
    assert texts(read(virtualenv))[0] == ["app==1.0", "one==1.0"]


def _local(folder: Path) -> str:
    (folder / "project").mkdir()
    return (folder / "project").as_uri()


@pytest.mark.parametrize(
    ("direct", "text", "told"),
    [
        (
            lambda folder: {"url": _local(folder), "dir_info": {"editable": True}},
            "file://{folder}/project",
            "is editable",
        ),
        (
            lambda folder: {"url": _local(folder), "dir_info": {}},
            "file://{folder}/project",
            "was installed from a folder",
        ),
        (
            lambda _: {
                "url": "https://git.example/x.git",
                "subdirectory": "py",
                "vcs_info": {"vcs": "git", "commit_id": "a" * 40},
            },
            f"git+https://git.example/x.git@{'a' * 40}#subdirectory=py",
            "comes from a repository, and is taken at its commit aaaaaaaaaaaa",
        ),
        (
            lambda _: {
                "url": "https://files.example/x-1.0-py3-none-any.whl",
                "archive_info": {"hashes": {"sha256": "b" * 64}},
            },
            f"https://files.example/x-1.0-py3-none-any.whl#sha256={'b' * 64}",
            "was installed from a URL",
        ),
    ],
    ids=["editable", "folder", "vcs", "url"],
)
def test_what_is_not_from_an_index_is_taken_from_where_it_came(
    virtualenv: Path,
    site: Path,
    tmp_path: Path,
    direct: Callable[[Path], Mapping[str, object]],
    text: str,
    told: str,
) -> None:
    install(site, "x", direct=direct(tmp_path))
    found = read(virtualenv)
    assert texts(found) == ([f"x @ {text.format(folder=tmp_path)}"], [])
    (note,) = found.told
    assert note.subject == "x 1.0"
    assert note.text.startswith(told)
    assert str(tmp_path) not in str(note)  # a path of this machine stands in no bundle


def test_what_came_from_a_path_that_is_gone_is_refused(virtualenv: Path, site: Path) -> None:
    install(site, "x", direct={"url": "file:///nowhere/x", "dir_info": {}})
    with pytest.raises(InputError, match=r"gone: x 1\.0 \(/nowhere/x\)") as caught:
        read(virtualenv)
    assert caught.value.hint == "name them yourself, and where they are: x==1.0 --find-links DIR"


def test_each_trap_is_told_by_name(virtualenv: Path, site: Path, tmp_path: Path) -> None:
    install(site, "sound", requested=True)
    install(site, "edited")
    (site / "edited.py").write_text("VALUE = 2\n")
    (install(site, "bare") / "RECORD").unlink()
    (site / "copied.py").write_text("")
    (site / "box").mkdir()
    (site / "box" / "module.py").write_text("")
    (site / "words").mkdir()
    (site / "words" / "data.txt").write_text("")  # nothing imports it
    (site / "mine.pth").write_text("# where\n/srv/shared\n")
    (site / "start.pth").write_text("import os; os.nice(0)\n")
    (tmp_path / "path" / "far").mkdir(parents=True)
    (tmp_path / "path" / "far" / "__init__.py").write_text("")
    (tmp_path / "path" / "sound.py").write_text("")  # the environment has it
    found = read(virtualenv, PYTHONPATH=f"{site}:{tmp_path / 'path'}:/nowhere")
    beginnings = [
        "bare: has no RECORD",
        "edited: edited.py was edited since",
        "box: belongs to no distribution",
        "copied.py: belongs to no distribution",
        "mine.pth: puts another folder on the path",
        "start.pth: runs code",
        "far: is found through PYTHONPATH alone",
    ]
    assert len(found.told) == len(beginnings), notes(found)
    for note, beginning in zip(found.told, beginnings, strict=True):
        assert str(note).startswith(beginning)


def test_what_stands_outside_a_virtualenv_is_told_where_it_is_needed(
    virtualenv: Path, site: Path, tmp_path: Path
) -> None:
    cfg = virtualenv / "pyvenv.cfg"
    below = tmp_path / "home/.local/lib/python3.8/site-packages"
    install(site, "app", requires=("below", "nowhere"))
    install(below, "below", "7.0")
    install(below, "unneeded")
    found = read(virtualenv, HOME=str(tmp_path / "home"))
    assert texts(found) == (["app==1.0"], [])
    assert notes(found)[0].startswith("below: app requires it, and the environment has none")
    cfg.write_text(cfg.read_text().replace("= false", "= true"))
    found = read(virtualenv, HOME=str(tmp_path / "home"))
    assert texts(found) == (["app==1.0"], ["below==7.0"])
    assert [note.partition(":")[0] for note in notes(found)] == ["nowhere", "below 7.0"]


def test_conda(tmp_path: Path) -> None:
    prefix = tmp_path / "conda"
    site = prefix / "lib/python3.9/site-packages"
    install(site, "numpy", "1.24.4", installer="conda", requested=True, direct={"url": "file:///gone"})
    install(site, "scipy", "1.10.1", installer="conda", requires=("numpy",), requested=True)
    install(site, "six", "1.16.0", requested=True)
    (site / "old").mkdir()
    meta = prefix / "conda-meta"
    meta.mkdir()
    (meta / "python-3.9.18-h955ad1f_0.json").write_text(json.dumps({"name": "python", "files": []}))
    for name, spec in (("numpy", "None"), ("scipy", "scipy=1.10")):
        listed = [
            f"lib/python3.9/site-packages/{name}-{'1.24.4' if name == 'numpy' else '1.10.1'}.dist-info/x"
        ]
        listed += ["lib/python3.9/site-packages/old/module.py"]
        document = {"name": name, "files": listed, "requested_spec": "" if spec == "None" else spec}
        (meta / f"{name}-1-0.json").write_text(json.dumps(document))
    found = read(prefix)
    assert texts(found) == (["scipy==1.10.1", "six==1.16.0"], ["numpy==1.24.4"])
    assert [note.partition(":")[0] for note in notes(found)] == ["numpy 1.24.4", "scipy 1.10.1"]
    assert environment_place.find(prefix, {}).python == "3.9.18"


def test_what_setup_py_develop_linked(virtualenv: Path, site: Path, tmp_path: Path) -> None:
    info = tmp_path / "project" / "old_style.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old-style\nVersion: 0.1\n")
    (site / "old-style.egg-link").write_text(f"{info.parent}\n.")
    found = read(virtualenv)
    assert texts(found)[0] == [f"old-style @ file://{tmp_path}/project"]
    assert notes(found) == ["old-style 0.1: is editable: the bundle has what its project holds now"]


@pytest.mark.parametrize("named", ["venv", "venv/bin/python", "venv/lib/python3.8/site-packages"])
def test_an_environment_by_other_names(virtualenv: Path, site: Path, tmp_path: Path, named: str) -> None:
    install(site, "x")
    place = environment_place.find(tmp_path / named, {})
    assert (place.path, place.kind, place.folders, place.minor) == (virtualenv, "virtualenv", (site,), "3.8")


def test_a_folder_of_distributions(tmp_path: Path) -> None:
    install(tmp_path / "packages", "x")
    place = environment_place.find(tmp_path / "packages", {})
    assert (place.kind, place.python) == ("folder", None)


@pytest.mark.parametrize("named", ["absent", "empty", "file"])
def test_what_is_no_environment(tmp_path: Path, named: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="environment"):
        read(tmp_path / named)


def test_an_empty_environment(virtualenv: Path) -> None:
    with pytest.raises(InputError, match="nothing is installed there"):
        read(virtualenv)


@pytest.mark.thorough
def test_the_bundle_has_the_versions_of_the_environment(
    envbundle: Command, virtualenv: Path, site: Path, wheels: Path, tmp_path: Path
) -> None:
    """What is named beside the environment is taken as it is named."""
    for version in ("1.0", "1.1", "1.2"):
        make_wheel(wheels, "app", version, requires=("base", "changed"))
        make_wheel(wheels, "base", version)
        make_wheel(wheels, "changed", version)
    install(site, "app", "1.1", requires=("base", "changed"), requested=True)
    install(site, "base", "1.0")
    install(site, "changed", "1.0")
    (site / "copied.py").touch()
    done = envbundle(
        *("create", "--from-env", "venv", "changed==1.2", "--json", *envbundle.offline(wheels)),
    )
    assert done.code == 0, done.stderr
    found = {one["name"]: one["version"] for one in done.json()["distributions"]}
    assert found == {"app": "1.1", "base": "1.0", "changed": "1.2"}
    assert "input: copied.py: belongs to no distribution" in done.stderr
    described = json.loads((tmp_path / "bundle-py38" / "manifest.json").read_text())
    assert described["inputs"]["requirements"] == ["app==1.1", "changed==1.2"]
    assert described["inputs"]["constraints"] == ["base==1.0"]
    assert described["inputs"]["notes"][0].startswith("copied.py: belongs to no distribution")
    assert str(tmp_path) not in json.dumps(described)


@pytest.mark.thorough
def test_this_very_environment() -> None:
    """A real one, with an editable project and what develops it: everything in it is asked for or held."""
    found = read(Path(sys.prefix))
    names = {one.name for one in (*found.requirements, *found.constraints)}
    assert {"packaging", "pytest", "click"} <= names
