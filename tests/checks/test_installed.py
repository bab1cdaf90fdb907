"""What is read back from a tree is what was known of its wheels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import tree
from bundler.checks import installed
from bundler.create.install import install
from bundler.model import Artifact, LockedDistribution, StoredWheel
from bundler.wheels.store import Store

from tests.support.wheelmaker import make_wheel, sha256
from tests.wheels.test_unpack import describe

if TYPE_CHECKING:
    from bundler.model import WheelFacts

SITE = "lib/python3.8/site-packages"
LIBRARY = Path("/proc/self/exe").resolve().read_bytes()

WHEELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "package": {
        "files": {"alpha/__init__.py": "", "alpha/part.py": "", "alpha/data.txt": "x"},
        "requires": ["beta>=1", "gamma; extra == 'more'"],
        "extras": ["more"],
        "requires_python": ">=3.6",
        "metadata": "License: MIT\n",
    },
    "namespace": {"files": {"space/alpha/__init__.py": "", "space/alpha/b.py": ""}},
    "native": {
        "files": {"alpha.cpython-38-x86_64-linux-gnu.so": LIBRARY, "alpha.libs/libx.so.1": b"no library"},
        "tag": "cp38-cp38-manylinux2014_x86_64.manylinux_2_17_x86_64",
    },
    "start-up": {"files": {"alpha.py": "", "alpha.pth": "# comment\nimport alpha\n"}},
    "scripts and data": {
        "files": {
            "alpha.py": "",
            "alpha-1.0.data/scripts/tool": "#!python\n",
            "alpha-1.0.data/data/share/alpha/x.conf": "x",
            "alpha-1.0.data/data/etc/y": "y",
        },
        "entry_points": "[console_scripts]\nalpha = alpha:main\n",
    },
    "built by conda": {"files": {"alpha.py": "PATH = '/home/conda/feedstock_root/build/alpha'\n"}},
    "two tags": {"tag": "py2.py3-none-any"},
}


def lay_out(folder: Path, python: Path, wheel: dict[str, Any]) -> tuple[StoredWheel, installed.Layout]:
    path = make_wheel(folder, "alpha", **wheel)
    store, interpreter = Store(folder / "store"), describe(python)
    kept = store.add_file(path, filename=path.name, sha256=sha256(path))
    known = store.ensure_tree(kept, sha256(path), interpreter)
    artifact = Artifact(kind="wheel", filename=path.name, url=None, sha256=sha256(path))
    locked = LockedDistribution(name="alpha", version="1.0", artifact=artifact)
    one = StoredWheel(locked=locked, facts=known.facts, tree=known.path)
    install([one], prefix=folder / "prefix", site_packages=SITE)
    return one, installed.Layout(
        prefix=folder / "prefix",
        site_packages=SITE,
        files={file.path: file for file in tree.scan(folder / "prefix").files},
        extension_suffixes=interpreter.extension_suffixes,
    )


def read(place: installed.Layout, locked: LockedDistribution) -> WheelFacts:
    (one,) = installed.read_wheels(place, [locked], built_from={})
    return one.facts


@pytest.mark.parametrize("wheel", WHEELS.values(), ids=WHEELS)
def test_facts_are_those_of_the_wheel(tmp_path: Path, python38: Path, wheel: dict[str, Any]) -> None:
    one, place = lay_out(tmp_path, python38, wheel)
    assert read(place, one.locked) == one.facts


@pytest.mark.parametrize(
    ("tag", "pressed"),
    [
        ("py3-none-any", "py3-none-any"),
        ("py2.py3-none-any", "py2.py3-none-any"),
        ("cp38-cp38-linux_x86_64", "cp38-cp38-linux_x86_64"),
    ],
)
def test_what_was_built_here_has_the_name_of_its_wheel(
    tmp_path: Path, python38: Path, tag: str, pressed: str
) -> None:
    """Of it a lock names the source."""
    one, place = lay_out(tmp_path, python38, {"tag": tag})
    source = Artifact(kind="sdist", filename="alpha-1.0.tar.gz", url=None, sha256=one.facts.sha256)
    facts = read(place, replace(one.locked, artifact=source))
    assert (facts.filename, facts.tags) == (f"alpha-1.0-{pressed}.whl", one.facts.tags)


def test_what_is_damaged_is_read_as_far_as_it_goes(tmp_path: Path, python38: Path) -> None:
    one, place = lay_out(tmp_path, python38, WHEELS["package"])
    info = place.prefix / SITE / "alpha-1.0.dist-info"
    (info / "METADATA").write_bytes(b"\xff\0nonsense")
    (info / "WHEEL").unlink()
    (info / "RECORD").write_text("../../../../etc/passwd,,\nalpha/part.py,,\n/etc/passwd,,\n\n,\n")
    place = replace(place, files={file.path: file for file in tree.scan(place.prefix).files})
    facts = read(place, one.locked)
    assert ([file.path for file in facts.files], facts.requires) == ([f"{SITE}/alpha/part.py"], ())
    (info / "METADATA").unlink()
    (info / "METADATA").symlink_to("/etc/passwd")
    place = replace(place, files={file.path: file for file in tree.scan(place.prefix).files})
    assert read(place, one.locked).name == "alpha"
    assert installed.read_wheels(place, [replace(one.locked, name="absent")], built_from={}) == ()


def test_entry_points_that_were_spoilt_are_none(tmp_path: Path, python38: Path) -> None:
    one, place = lay_out(tmp_path, python38, WHEELS["scripts and data"])
    assert read(place, one.locked).entry_points == ("console_scripts: alpha = alpha:main",)
    for spoilt in (b"alpha = alpha:main\n", b"[console_scripts\n", b"\xff\xfe\0"):
        (place.prefix / SITE / "alpha-1.0.dist-info" / "entry_points.txt").write_bytes(spoilt)
        assert read(place, one.locked).entry_points == ()
