"""What is read back from a tree is what was known of its wheels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import tree
from bundler.checks import installed
from bundler.checks.rules import leaks
from bundler.create.install import install
from bundler.model import Artifact, LockedDistribution, StoredWheel
from bundler.wheels.store import Store

from tests.support.findings import brief
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


# --- the entries of site-packages ------------------------------------------------------------------


def dist_info(folder: Path, entry: str, metadata: str | None) -> None:
    (folder / entry).mkdir(parents=True)
    if metadata is not None:
        (folder / entry / "METADATA").write_text(metadata, encoding="utf-8")


def head(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not-this\n"


@pytest.mark.parametrize(
    ("entry", "metadata", "expected", "reason"),
    [
        ("Odd.Name_x-1.0.dist-info", head("Odd.Name_x", "1.0.0"), ("odd-name-x", "1.0.0"), ""),
        ("alpha-1.0+cu113.dist-info", head("alpha", "1.0+cu113"), ("alpha", "1.0+cu113"), ""),
        ("alpha-1.0_1.dist-info", head("alpha", "1.0-1"), ("alpha", "1.0-1"), ""),
        ("alpha-1.0.dist-info", "name : x\r\nNAME: alpha\r\nVERSION: 1.0\r\n", ("alpha", "1.0"), ""),
        ("badver-1.0_foo.dist-info", head("badver", "1.0-foo"), ("badver", "1.0-foo"), ""),
        ("argparse-1.4.dist-info", head("argparse", "1.4"), ("argparse", "1.4"), ""),
        ("mismatch-1.0.dist-info", head("other", "9.9"), ("other", "9.9"), "its METADATA says other 9.9"),
        ("alpha-1.0.dist-info", head("alpha", "2.0"), ("alpha", "2.0"), "its METADATA says alpha 2.0"),
        ("nometa-1.0.dist-info", None, ("nometa", "1.0"), "has no METADATA that could be read"),
        ("empty-1.0.dist-info", "", ("empty", "1.0"), "its METADATA names no distribution or no version"),
        ("nodash.dist-info", None, ("nodash", ""), "has no METADATA that could be read"),
    ],
)
def test_reader_of_dist_info(
    tmp_path: Path, entry: str, metadata: str | None, expected: tuple[str, str], reason: str
) -> None:
    dist_info(tmp_path, entry, metadata)
    found = installed.read(tmp_path)
    assert [(one.name, one.version) for one in found.distributions] == [expected]
    assert [one.reason for one in found.odd] == ([reason] if reason else [])


def test_reader_of_odd_entries(tmp_path: Path) -> None:
    dist_info(tmp_path, "twice-1.0.dist-info", head("twice", "1.0"))
    dist_info(tmp_path, "Twice-2.0.dist-info", head("Twice", "2.0"))
    for name in ("a.egg-link", "b.egg-info", "c.egg", "~roken", "d.pth", "__editable__.e-1.pth", "module.py"):
        (tmp_path / name).touch()
    (tmp_path / "linked-1.0.dist-info").symlink_to(tmp_path / "twice-1.0.dist-info")
    (tmp_path / "file-1.0.dist-info").touch()
    dist_info(tmp_path, "pipe-1.0.dist-info", None)
    (tmp_path / "pipe-1.0.dist-info/METADATA").symlink_to("/etc/passwd")
    found = installed.read(tmp_path)
    assert [(one.entry, one.kind) for one in found.odd] == [
        ("a.egg-link", "installation"),
        ("b.egg-info", "installation"),
        ("c.egg", "installation"),
        ("file-1.0.dist-info", "metadata"),
        ("linked-1.0.dist-info", "metadata"),
        ("pipe-1.0.dist-info", "metadata"),
        ("~roken", "installation"),
        ("twice-1.0.dist-info", "metadata"),
    ]
    assert brief(leaks.odd_entries(found, site_packages=SITE, owned={f"{SITE}/b.egg-info/PKG-INFO"})) == [
        ("EB106", "a.egg-link"),
        ("EB106", "c.egg"),
        ("EB107", "file-1.0.dist-info"),
        ("EB107", "linked-1.0.dist-info"),
        ("EB107", "pipe-1.0.dist-info"),
        ("EB106", "~roken"),
        ("EB107", "twice-1.0.dist-info"),
    ]
