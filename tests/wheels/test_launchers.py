"""Scripts that run from wherever a bundle is put, and the entry points that they start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.system import process
from bundler.wheels import launchers
from bundler.wheels.unpack import unpack

from tests.support import wheelmaker
from tests.wheels.test_unpack import SP, describe

if TYPE_CHECKING:
    pass


def test_versioned_scripts_are_the_targets() -> None:
    lines = (
        "pip = p:m",
        "pip3.11 = p:m",
        "easy_install = e:m",
        "easy_install-3.11 = e:m",
        "x = a.b:C.run [e]",
    )
    text = "\n".join(("[console_scripts]", *lines))
    found = launchers.entry_points(text, minor="3.8")
    assert set(found) == {"pip", "pip3", "pip3.8", "easy_install", "easy_install-3.8", "x"}
    assert found["x"] == launchers.EntryPoint(module="a.b", attribute="C.run")


SCRIPT = b"""#!python
%s
'''Usage: \xe4'''
from __future__ import division
import sys
import shown
print(ascii(__doc__), shown.WHERE, sys.argv[1:])
"""


PLAIN = SCRIPT.replace(b"%s\n", b"").replace(b" \xe4", b"")


SHOWN = """\
import sys
WHERE = __file__
class C:
    @staticmethod
    def main():
        print("main", WHERE, sys.argv[1:])
        return 7
"""


@pytest.mark.parametrize("how", ["direct", "link", "PATH"])
@pytest.mark.parametrize("script", ["entry", "plain", "sub/deep"])
def test_scripts_run_from_wherever_they_are(
    how: str, script: str, tmp_path: Path, target_python: Path
) -> None:
    wheel = wheelmaker.make_wheel(
        tmp_path,
        "shown",
        files={
            "shown.py": SHOWN,
            "shown-1.0.data/scripts/plain": PLAIN,
            "shown-1.0.data/scripts/sub/deep": PLAIN,
        },
        entry_points="[console_scripts]\nentry = shown:C.main\n",
    )
    interpreter = describe(target_python)
    first = tmp_path / "first"
    first.mkdir()
    unpack(wheel, first, sha256="0" * 64, interpreter=interpreter)
    moved = first.rename(tmp_path / "moved to a place with späces")
    path = moved / "bin" / script
    if how == "link":
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "again").symlink_to(path)
        path = tmp_path / "links" / "it"
        path.symlink_to("again")
    search = f"{path.parent}:{target_python.parent}:/usr/bin:/bin"
    env = process.clean_environment(home=tmp_path, path=search)
    done = process.run([path.name if how == "PATH" else path, "a b", "$x"], env=env, check=False)
    site = f"lib/python{interpreter.minor}/site-packages"
    said = "main" if script == "entry" else "'Usage:'"
    assert done.stdout == f"{said} {moved}/{site}/shown.py ['a b', '$x']\n", done.stderr
    assert done.returncode == (7 if script == "entry" else 0)
    assert str(tmp_path).encode() not in (moved / "bin" / script).read_bytes()


def test_script_keeps_its_encoding(tmp_path: Path, python38: Path) -> None:
    path = tmp_path / "bin" / "x"
    path.parent.mkdir()
    (tmp_path / SP).mkdir(parents=True)
    (tmp_path / SP / "shown.py").write_text("WHERE = ''\n")
    script = SCRIPT.replace(b"%s", b"# -*- coding: latin-1 -*-")
    path.write_bytes(launchers.relocatable(script, depth=1, minor="3.8"))
    path.chmod(0o755)
    env = process.clean_environment(home=tmp_path, path=f"{python38.parent}:/usr/bin:/bin")
    assert process.run([path, "ä"], env=env).stdout == "'Usage: \\xe4'  ['ä']\n"


def test_python_of_a_script_can_be_chosen(tmp_path: Path, python37: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(launchers.launcher(launchers.EntryPoint(module="os", attribute="getpid"), minor="3.8"))
    path.chmod(0o755)
    env = process.clean_environment(home=tmp_path, path="/usr/bin:/bin", ENVBUNDLE_PYTHON=str(python37))
    assert process.run([path], env=env, check=False).returncode not in {126, 127}
    env = process.clean_environment(home=tmp_path, path="/usr/bin:/bin", ENVBUNDLE_PYTHON="no-such-python")
    assert process.run([path], env=env, check=False).returncode == 127


@pytest.mark.parametrize(
    ("value", "module", "attribute"),
    [
        ("a.b:c.d", "a.b", "c.d"),
        (" a : b ", "a", "b"),
        ("a:b [extra]", "a", "b"),
        ("a:b[x,y]", "a", "b"),
        ("ä:ö", "ä", "ö"),
    ],
)
def test_entry_point(value: str, module: str, attribute: str) -> None:
    found = launchers.entry_points(f"[console_scripts]\nx = {value}\n", minor="3.8")["x"]
    assert (found.module, found.attribute) == (module, attribute)


@pytest.mark.parametrize("value", ["a", "a:", ":b", "a.:b", "a:b:c", "a b:c", "a:b]", "a:b.", "[x]", ""])
def test_entry_point_without_a_function(value: str) -> None:
    with pytest.raises(launchers.EntryPointError):
        launchers.entry_points(f"[console_scripts]\nx = {value}\n", minor="3.8")
