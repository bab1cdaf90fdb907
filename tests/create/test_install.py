"""Installing from the store: the prefix, what an installer writes, and what must not happen quietly."""

from __future__ import annotations

import csv
import json
import os
import stat
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import install as installing
from bundler.create.install import InstalledTree, install
from bundler.errors import InputError, MachineError
from bundler.model import Artifact, LockedDistribution, StoredWheel
from bundler.wheels.store import DamagedEntryError, Store

from tests.support import wheelmaker
from tests.wheels.test_unpack import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.model import FileFact, LinkMode

SP = "lib/python3.8/site-packages"
WHEEL = Artifact(kind="wheel", filename="", url=None)


class Installation:
    """Makes wheels and puts them into a store."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.interpreter = describe(python)
        self.store = Store(folder / "store")

    def wheel(self, name: str, files: dict[str, str | bytes] | None = None, **locked: Any) -> StoredWheel:
        entry_points = locked.pop("entry_points", "")
        path = wheelmaker.make_wheel(self.folder, name, files=files, entry_points=entry_points)
        sha256 = wheelmaker.sha256(path)
        kept = self.store.add_file(path, filename=path.name, sha256=sha256)
        tree = self.store.ensure_tree(kept, sha256, self.interpreter)
        fields: dict[str, Any] = {"name": name, "version": "1.0", "artifact": WHEEL, **locked}
        return StoredWheel(locked=LockedDistribution(**fields), facts=tree.facts, tree=tree.path)

    def install(self, *wheels: StoredWheel, link_mode: LinkMode = "copy") -> InstalledTree:
        return install(
            wheels,
            prefix=self.folder / "prefix",
            site_packages=f"lib/python{self.interpreter.minor}/site-packages",
            link_mode=link_mode,
        )


@pytest.fixture(params=["here", "in processes"])
def installation(
    request: pytest.FixtureRequest, tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """Little is copied by the process itself, and much by others: every test looks at both."""
    if request.param == "in processes":
        monkeypatch.setattr(installing, "WORTH_A_PROCESS", 0)
    return Installation(tmp_path, python38)


def record(prefix: Path, dist_info: str, site_packages: str = SP) -> dict[str, tuple[str, str]]:
    with (prefix / site_packages / dist_info / "RECORD").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == sorted(rows)
    return {path: (digest, size) for path, digest, size in rows}


@pytest.mark.parametrize("link_mode", ["copy", "hardlink"])
def test_every_scheme_is_installed_and_recorded(
    link_mode: LinkMode, tmp_path: Path, target_python: Path
) -> None:
    installation = Installation(tmp_path, target_python)
    site = f"lib/python{installation.interpreter.minor}/site-packages"
    wheel = installation.wheel(
        "every",
        {
            "every/__init__.py": "",
            "every/tool.sh": "#!/bin/sh\n",
            "every-1.0.data/purelib/pure.py": "",
            "every-1.0.data/platlib/plat.py": "",
            "every-1.0.data/data/share/x y/data.txt": "data",
            "every-1.0.data/headers/x.h": "",
            "every-1.0.data/scripts/run": "#!python\n",
        },
        entry_points="[console_scripts]\nevery = every:main\n",
        requested=True,
    )
    wheels = (wheel, installation.wheel("another"))
    installed = installation.install(*wheels, link_mode=link_mode)
    prefix = tmp_path / "prefix"
    there = {path.relative_to(prefix).as_posix(): path for path in prefix.rglob("*") if path.is_file()}
    assert [fact.path for fact in installed.files] == sorted(there)
    for fact in installed.files:
        status = there[fact.path].lstat()
        assert wheelmaker.sha256(there[fact.path]) == fact.sha256
        assert (status.st_size, stat.S_IMODE(status.st_mode)) == (
            fact.size,
            0o755 if fact.executable else 0o644,
        )
        stored = any((one.tree / fact.path).exists() for one in wheels)
        assert (status.st_nlink > 1) == (stored and link_mode == "hardlink")
    rows = record(prefix, "every-1.0.dist-info", site)
    assert rows.pop("every-1.0.dist-info/RECORD") == ("", "")
    up = "../../../"
    assert {path for path in rows if path.startswith("..")} == {
        f"{up}bin/every",
        f"{up}bin/run",
        f"{up}include/site/python{installation.interpreter.minor}/every/x.h",
        f"{up}share/x y/data.txt",
    }
    tag = installation.interpreter.cache_tag
    assert {f"__pycache__/pure.{tag}.pyc", f"every/__pycache__/__init__.{tag}.pyc"} <= set(rows)
    facts = {fact.path: fact for fact in installed.files}
    for path, (digest, size) in rows.items():
        fact = facts[path.removeprefix(up) if path.startswith(up) else f"{site}/{path}"]
        expected = urlsafe_b64encode(bytes.fromhex(fact.sha256)).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(fact.size))
    info = prefix / site / "every-1.0.dist-info"
    assert (info / "INSTALLER").read_text() == "envbundle\n"
    assert (info / "REQUESTED").read_text() == ""
    assert not (prefix / site / "another-1.0.dist-info" / "REQUESTED").exists()


@pytest.mark.parametrize(
    ("source", "artifact", "expected"),
    [
        ("index", {"kind": "wheel", "url": "https://x.test/a.whl", "sha256": "1" * 64}, None),
        ("local", {"kind": "directory", "url": None, "path": "/home/me/a"}, None),
        ("url", {"kind": "wheel", "url": "file:///home/me/a.whl", "sha256": "1" * 64}, None),
        (
            "url",
            {"kind": "wheel", "url": "https://x.test/a.whl?sig=secret&se=2030", "sha256": "1" * 64},
            {
                "archive_info": {"hash": f"sha256={'1' * 64}", "hashes": {"sha256": "1" * 64}},
                "url": "https://x.test/a.whl",
            },
        ),
        (
            "vcs",
            {"kind": "vcs", "url": "git+https://x.test/a.git", "commit": "c" * 40, "subdirectory": "sub"},
            {
                "subdirectory": "sub",
                "url": "https://x.test/a.git",
                "vcs_info": {"commit_id": "c" * 40, "vcs": "git"},
            },
        ),
    ],
)
def test_direct_url(
    source: str,
    artifact: dict[str, Any],
    expected: dict[str, Any] | None,
    installation: Installation,
    tmp_path: Path,
) -> None:
    installation.install(installation.wheel("a", source=source, artifact=Artifact(filename="", **artifact)))
    path = tmp_path / "prefix" / SP / "a-1.0.dist-info" / "direct_url.json"
    assert (json.loads(path.read_text()) if path.exists() else None) == expected
    assert (
        "a-1.0.dist-info/direct_url.json" in record(tmp_path / "prefix", "a-1.0.dist-info")
    ) == path.exists()


def test_of_files_that_several_own_the_last_name_wins(installation: Installation, tmp_path: Path) -> None:
    first = installation.wheel("aa", {"shared.py": "X = 'aa'\n", "same.py": "", "aa.py": ""})
    second = installation.wheel("bb", {"shared.py": "X = 'bb'\n", "same.py": "", "zz.py": "import os\n"})
    for order in ((first, second), (second, first)):
        prefix = tmp_path / "prefix"
        installation.install(*order)
        assert (prefix / SP / "shared.py").read_text() == "X = 'bb'\n"
        rows = [record(prefix, f"{name}-1.0.dist-info") for name in ("aa", "bb")]
        pyc = "__pycache__/same.cpython-38.pyc"
        assert rows[0][pyc] == rows[1][pyc]
        assert rows[0]["shared.py"] != rows[1]["shared.py"]
        prefix.rename(tmp_path / f"done{order[0].locked.name}")


def test_file_and_folder_of_one_name_are_refused(installation: Installation, tmp_path: Path) -> None:
    first = installation.wheel("aa", {"thing": ""})
    second = installation.wheel("bb", {"thing/x.py": ""})
    with pytest.raises(InputError, match="is a file of aa and a folder of bb"):
        installation.install(first, second)
    assert not (tmp_path / "prefix").exists()


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def unlink(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize("link_mode", ["copy", "hardlink"])
@pytest.mark.parametrize("damage", [change, unlink, link])
def test_damage_in_the_store_is_found_and_healed(
    damage: Callable[[Path], None], link_mode: LinkMode, installation: Installation, tmp_path: Path
) -> None:
    wheel = installation.wheel("aa")
    damage(wheel.tree / SP / "aa.py")
    with pytest.raises(DamagedEntryError, match=r"aa\.py") as caught:
        installation.install(wheel, link_mode=link_mode)
    installation.store.drop(caught.value.entry)
    (tmp_path / "prefix").rename(tmp_path / "half")
    installation.install(installation.wheel("aa"), link_mode=link_mode)
    assert (tmp_path / "prefix" / SP / "aa.py").read_text() == "VALUE = 1\n"


def test_modes_do_not_follow_the_umask(installation: Installation, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        installation.install(installation.wheel("aa", {"aa/__init__.py": ""}))
    finally:
        os.umask(before)
    for path in (tmp_path / "prefix", *(tmp_path / "prefix").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_an_output_that_has_something_is_not_written_over(installation: Installation, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix" / "lib").symlink_to(target)
    with pytest.raises(MachineError, match="cannot install into"):
        installation.install(installation.wheel("aa"))
    assert list(target.iterdir()) == []


def test_same_bytes_twice(installation: Installation, tmp_path: Path) -> None:
    wheels = [installation.wheel("aa", requested=True), installation.wheel("bb")]
    first = installation.install(*wheels)
    (tmp_path / "prefix").rename(tmp_path / "first")
    assert installation.install(*reversed(wheels)) == first


def test_progress_counts_files(installation: Installation, tmp_path: Path) -> None:
    seen: list[int] = []
    done = install([installation.wheel("aa")], prefix=tmp_path / "p", site_packages=SP, progress=seen.append)
    assert sum(seen) == len(done.files)


def test_what_the_tree_will_have_is_told_while_it_is_written(
    installation: Installation, tmp_path: Path
) -> None:
    told: list[tuple[FileFact, ...]] = []
    wheels = [installation.wheel("aa", requested=True), installation.wheel("bb")]
    done = install(wheels, prefix=tmp_path / "prefix", site_packages=SP, meanwhile=told.append)
    assert told == [done.files]
    assert {file.path for file in done.files} == {
        str(path.relative_to(tmp_path / "prefix"))
        for path in (tmp_path / "prefix").rglob("*")
        if path.is_file()
    }


def test_what_fails_meanwhile_hides_no_damage(installation: Installation, tmp_path: Path) -> None:
    def fail(_: tuple[FileFact, ...]) -> None:
        raise ValueError("a file of the store cannot be read")

    wheel = installation.wheel("aa")
    with pytest.raises(ValueError, match="cannot be read"):
        install([wheel], prefix=tmp_path / "sound", site_packages=SP, meanwhile=fail)
    change(wheel.tree / SP / "aa.py")
    with pytest.raises(DamagedEntryError, match=r"aa\.py"):
        install([wheel], prefix=tmp_path / "prefix", site_packages=SP, meanwhile=fail)
