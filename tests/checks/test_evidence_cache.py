"""The import proof is worth its time once: for the same tree, interpreter and machine, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import tree
from bundler.checks.imports import evidence_cache
from bundler.checks.imports.evidence_cache import Importer
from bundler.model import FileFact, RoomLimits
from bundler.wheels.store import Store

from tests.support import machine
from tests.support.bundlemaker import interpreter, unpack
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Command

SITE = "lib/python3.8/site-packages"


@pytest.fixture
def importer(tmp_path: Path, python38: Path) -> Callable[[dict[str, str]], Importer]:
    """Makes the importer of a tree of these files."""

    def make(files: dict[str, str]) -> Importer:
        prefix, scratch = tmp_path / "prefix", tmp_path / "scratch"
        unpack(prefix, make_wheel(tmp_path, "alpha", files=files), minor="3.8")
        scratch.mkdir()
        return Importer(
            prefix=prefix,
            site_packages=SITE,
            interpreter=interpreter(python38, "3.8"),
            scratch=scratch,
            tree=evidence_cache.digest(tree.scan(prefix)),
            store=Store(tmp_path / "cache"),
        )

    return make


def require_namespaces(importer: Importer) -> None:
    """Without them no evidence is whole, and none is kept."""
    if not set(importer.import_modules({"a": ["json"]}).isolation) >= evidence_cache.WHOLE:
        machine.lacking("no namespaces")


@pytest.mark.thorough
def test_same_tree_is_imported_once(importer: Callable[[dict[str, str]], Importer]) -> None:
    one = importer({"alpha.py": "import json, sqlite3\n"})
    require_namespaces(one)
    first = one.import_modules({"a": ["alpha"]})
    second = one.import_modules({"a": ["alpha"]})
    assert first.proved_at == ""
    assert second.proved_at.endswith("+00:00")
    assert replace(second, proved_at="") == first
    assert replace(one, afresh=True).import_modules({"a": ["alpha"]}).proved_at == ""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        lambda one, _: replace(one, tree="0" * 64),
        lambda one, _: replace(one, tree=""),
        lambda one, _: replace(one, store=None),
        lambda one, folder: replace(one, beside=folder),
        lambda one, _: replace(one, interpreter=replace(one.interpreter, version="3.8.17")),
        lambda one, folder: replace(one, interpreter=replace(one.interpreter, stdlib=(folder,))),
    ],
    ids=["tree", "irregular tree", "no store", "image beside", "version", "standard library"],
)
def test_other_cases_are_imported(
    importer: Callable[[dict[str, str]], Importer],
    tmp_path: Path,
    change: Callable[[Importer, Path], Importer],
) -> None:
    one = importer({"alpha.py": ""})
    one.import_modules({"a": ["alpha"]})
    assert change(one, tmp_path).import_modules({"a": ["alpha"]}).proved_at == ""


@pytest.mark.thorough
def test_other_questions_are_imported(importer: Callable[[dict[str, str]], Importer]) -> None:
    one = importer({"alpha.py": "", "beta.py": ""})
    one.import_modules({"a": ["alpha"]})
    assert one.import_modules({"a": ["alpha", "beta"]}).proved_at == ""
    assert one.import_modules({"a": ["alpha"]}, hidden=["libz.so.1"]).proved_at == ""
    assert replace(one, limits=RoomLimits(processes=4000)).import_modules({"a": ["alpha"]}).proved_at == ""


@pytest.mark.thorough
def test_changed_machine_is_another(
    importer: Callable[[dict[str, str]], Importer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = importer({"alpha.py": ""})
    require_namespaces(one)
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    monkeypatch.setattr(evidence_cache, "LOADER", (str(libraries),))
    one.import_modules({"a": ["alpha"]})
    assert one.import_modules({"a": ["alpha"]}).proved_at
    (libraries / "libgomp.so.1").touch()
    assert one.import_modules({"a": ["alpha"]}).proved_at == ""


def test_the_folders_of_the_system_libraries_count() -> None:
    """Also where a library is copied there and nobody runs ldconfig."""
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    folders = {os.path.realpath(Path(path).parent) for path in mapped if "/libc.so" in path}
    assert folders
    assert folders <= {os.path.realpath(path) for path in evidence_cache.LOADER}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [
        "json/decoder.py",
        "json/__pycache__/decoder.cpython-38.pyc",
        "lib-dynload/_json.cpython-38-x86_64-linux-gnu.so",
    ],
)
def test_changed_files_of_the_interpreter_are_seen(
    importer: Callable[[dict[str, str]], Importer], tmp_path: Path, python38: Path, path: str
) -> None:
    """The time that a file says can be set to what it was; the folder is as before."""
    base = python38.resolve().parent.parent
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "share", "include", "config-*")
    shutil.copytree(base, tmp_path / "python", ignore=left_out, symlinks=True)
    own = interpreter(tmp_path / "python/bin" / python38.resolve().name, "3.8")
    own = replace(own, stdlib=(base / "lib",))  # its libpython
    one = replace(importer({"alpha.py": "import json\n"}), interpreter=own)
    require_namespaces(one)
    first = one.import_modules({"a": ["alpha"]})
    assert (first.modules, first.elsewhere) == (("alpha",), ())
    assert one.import_modules({"a": ["alpha"]}).proved_at
    changed = tmp_path / "python/lib/python3.8" / path
    before = changed.stat()
    with changed.open("r+b") as stream:
        stream.write(stream.read(1))
        stream.seek(0)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert one.import_modules({"a": ["alpha"]}).proved_at == ""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("import nowhere\n", True),  # an optional extra, say: it misses it every day
        ("raise ValueError('every day')\n", True),
        ("import os; os._exit(3)\n", False),
        ("import sys; sys.exit()\n", True),
    ],
)
def test_failures(importer: Callable[[dict[str, str]], Importer], source: str, *, kept: bool) -> None:
    one = importer({"alpha.py": source})
    require_namespaces(one)
    first, second = one.import_modules({"a": ["alpha"]}), one.import_modules({"a": ["alpha"]})
    assert first.failures
    assert first.failures == second.failures
    assert bool(second.proved_at) == kept


@pytest.mark.thorough
@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"proved_at": "yesterday"}', '{"proved_at": "2026-01-01", "failures": [1]}']
)
def test_damaged_evidence_is_none(importer: Callable[[dict[str, str]], Importer], text: str) -> None:
    one = importer({"alpha.py": ""})
    require_namespaces(one)
    one.import_modules({"a": ["alpha"]})
    assert one.store
    for entry in one.store.texts.iterdir():
        one.store.keep_text(entry.name, text)
    assert one.import_modules({"a": ["alpha"]}).proved_at == ""


@pytest.mark.thorough
def test_create_says_when(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, "alpha", "7.7", files={"alpha.py": "x = 77\n"})
    words = ["create", "alpha", "--python", "3.8", "--json", "--force", *envbundle.offline(wheels)]
    first = envbundle(*words, "-o", "a")
    if "no-network" not in first.json()["isolation"]["proof"]:
        machine.lacking("no namespaces")
    assert first.json()["proved_at"] is None
    second = envbundle(*words, "-o", "b")
    assert second.json()["proved_at"]
    assert second.json()["proved_at"] in second.stderr
    assert envbundle(*words, "-o", "c", "--prove").json()["proved_at"] is None
    for name in ("manifest.json", "SHA256SUMS"):
        assert len({(tmp_path / folder / name).read_bytes() for folder in "abc"}) == 1
    people = envbundle(*[word for word in words if word != "--json"], "-o", "d")
    assert "--prove" in people.stderr


def test_written_files_are_read_again_once_they_are_touched(tmp_path: Path) -> None:
    names = ["same", "edited", "sneaky", "exchanged", "mode"]
    for name in names:
        (tmp_path / name).write_bytes(b"before")
    seen = {
        name: tree.HashedFile(
            FileFact(path=name, sha256="given", size=6), tree.stamp((tmp_path / name).stat())
        )
        for name in names
    }
    time.sleep(0.02)  # a kernel's clock ticks each 4 ms
    (tmp_path / "edited").write_bytes(b"after!")
    before = (tmp_path / "sneaky").stat()
    (tmp_path / "sneaky").write_bytes(b"after!")
    os.utime(tmp_path / "sneaky", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").write_bytes(b"before")
    (tmp_path / "new").replace(tmp_path / "exchanged")
    (tmp_path / "mode").chmod(0o755)
    scanned = tree.scan(tmp_path, seen=seen)
    assert {file.path for file in scanned.files if file.sha256 == "given"} == {"same"}
    assert json.dumps([file.size for file in scanned.files]) == "[6, 6, 6, 6, 6]"
