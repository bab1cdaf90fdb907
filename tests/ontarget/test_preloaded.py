"""What is imported once for all processes of the import proof changes nothing that they show."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import standalone
from bundler.ontarget import import_in_forks

if TYPE_CHECKING:
    from pathlib import Path

SHOW = """
import sys
before = set(sys.modules)
for name in {names}: __import__(name)
import json
maps = [line.split() for line in open("/proc/self/maps")]
print(json.dumps([sorted(set(sys.modules) - before), [row[5] for row in maps if "x" in row[1] and row[5:]]]))
"""


def test_it_brings_no_submodule_that_others_could_use_unasked(target_python: Path) -> None:
    names = import_in_forks.PRELOADED
    code = SHOW.format(names=names)
    done = subprocess.run([target_python, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    brought, mapped = json.loads(done.stdout)
    parts = {name for name in brought if "." in name and name.partition(".")[0] not in names}
    assert parts <= {"importlib._bootstrap", "importlib._bootstrap_external", "importlib.machinery"}
    own = {name for name in brought if "." in name} - parts
    assert {name.partition(".")[0] for name in own} <= {"os", "json", "typing", "re", "collections"}
    assert {name for name in own if name.startswith("collections.")} == {"collections.abc"}
    assert not {"ssl", "ctypes", "hashlib", "uuid", "zlib", "urllib"} & set(brought)
    bare = subprocess.run(
        [target_python, "-I", "-S", "-c", SHOW.format(names=[])], capture_output=True, text=True, check=True
    )
    libraries = {path for path in mapped if "/lib-dynload/" not in path}
    assert libraries == {path for path in json.loads(bare.stdout)[1] if "/lib-dynload/" not in path}


ASK = """
import os, sys
sys.argv = ["imports.py", "/nowhere"]
space = {{"__name__": "asked"}}
exec(compile({source!r}, "imports.py", "exec"), space)
begun = space["begin_forks"](dict(os.environ), space["PRELOADED"])
ready = space["ready_forks"](begun, dict(os.environ), 100, {path!r})
print(ready is begun, all("enum" in dict(fork.origins) for fork in ready), ready[0].guarded)
for fork in ready:
    fork.end()
"""


@pytest.mark.parametrize(
    ("name", "all_of_them"),
    [("enum.py", False), ("sre_parse.py", False), ("typing", False), ("enumerate.py", True), ("yaml", True)],
)
def test_nothing_is_preloaded_that_the_bundle_replaces(
    tmp_path: Path, python38: Path, name: str, *, all_of_them: bool
) -> None:
    (tmp_path / name).touch()
    code = ASK.format(source=standalone.import_proof(), path=str(tmp_path))
    done = subprocess.run([python38, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{all_of_them} {all_of_them} True\n"


def test_a_real_path_is_that_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "a.py").touch()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real" / "b.py").symlink_to(tmp_path / "folder" / "a.py")
    folders: dict[str, str] = {}
    for path in (
        "real/a.py",
        "folder/a.py",
        "folder/b.py",
        "folder/inner/..",
        "folder/",
        "folder",
        "a//b",
        ".",
    ):
        whole = f"{tmp_path}/{path}"
        assert import_in_forks._real_path(whole, folders) == os.path.realpath(whole), path
