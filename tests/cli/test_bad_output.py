"""The place of the output: what is there is only replaced when that was asked for and proved."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.create.test_pipeline import tree_digest
from tests.support.bad_input import expect_error

if TYPE_CHECKING:
    from tests.support.command import Command

pytest_plugins = ["tests.support.bad_input_fixtures"]


pytestmark = pytest.mark.thorough


def occupy(output: Path, kind: str, old: Path) -> None:
    """Put something at the output."""
    if kind == "file":
        output.write_text("mine\n")
    elif kind == "folder of mine":
        output.mkdir()
        (output / "thesis.txt").write_text("mine\n")
    elif kind == "symlink to a bundle":
        output.symlink_to(old)
    elif kind == "symlink to nothing":
        output.symlink_to("nowhere")
    elif kind == "manifest of another tool":
        output.mkdir()
        (output / "manifest.json").write_text('{"kind": "theirs"}\n')
    else:
        shutil.copytree(old, output)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("file", "is not a folder"),
        ("folder of mine", "is not a bundle"),
        ("symlink to a bundle", "is not a folder"),
        ("symlink to nothing", "is not a folder"),
        ("manifest of another tool", "is not a bundle"),
        ("bundle", "exists"),
    ],
)
def test_output_exists(
    envbundle: Command, offered: Path, old_bundle: Path, tmp_path: Path, kind: str, says: str, *, force: bool
) -> None:
    old = tmp_path / "old"
    shutil.copytree(old_bundle, old)
    occupy(tmp_path / "out", kind, old)
    linked = (tmp_path / "out").is_symlink()
    before = tree_digest(tmp_path) if kind != "symlink to nothing" else tree_digest(old)
    words = ["create", "leaf", "--python", "3.8", "-o", "out", "--json", *envbundle.offline(offered)]
    done = envbundle(*words, *(["--force"] if force else []))
    if kind == "bundle" and force:
        assert done.code == 0, done.stderr
        installed = tmp_path / "out/lib/python3.8/site-packages"
        assert (installed / "leaf.py").is_file()
        assert not (installed / "previous.py").exists()
    else:
        expect_error(done, 2, says=[f"{re.escape(str(tmp_path))}/out.*{says}"], hint="another -o|--force")
        assert before == (tree_digest(tmp_path) if kind != "symlink to nothing" else tree_digest(old))
    assert (tmp_path / "out").is_symlink() == linked
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "out", "wheels"]


@pytest.mark.parametrize(
    ("output", "code", "says"),
    [
        ("wheels/leaf-1.5-py3-none-any.whl/out", 2, "leaf-1.5-py3-none-any.whl"),
        ("wheels/leaf-1.5-py3-none-any.whl/deep/out", 2, "leaf-1.5-py3-none-any.whl"),
        ("/proc/out", 3, "/proc/out"),
        ("/proc/deep/out", 3, "/proc/deep"),
        ("x" * 300, 3, "File name too long"),
        ("x" * 250, 3, "File name too long"),
        ("/", 2, "is not a bundle"),
        ("", 2, "is not a bundle"),
        ("a:b", 2, "a colon in its path"),
    ],
)
def test_output_that_cannot_be(
    envbundle: Command, offered: Path, tmp_path: Path, output: str, code: int, says: str
) -> None:
    before = tree_digest(tmp_path)
    words = [
        "create",
        "leaf",
        "--python",
        "3.8",
        "-o",
        output,
        "--force",
        "--json",
        *envbundle.offline(offered),
    ]
    expect_error(envbundle(*words), code, says=[says], hint="-o|path|writable")
    assert tree_digest(tmp_path) == before


def verify_itself(bundle: Path, python: Path) -> None:
    """Run the verifier that a bundle carries."""
    done = subprocess.run(
        [python, "-I", bundle / "verify.py"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("mode", ["copy", "hardlink"])
def test_output_on_another_filesystem(
    envbundle: Command,
    offered: Path,
    old_bundle: Path,
    tmp_path: Path,
    python38: Path,
    mode: str,
    *,
    force: bool,
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        if Path(memory).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is on the filesystem of the tests")
        output = Path(memory) / "bündel, ü ß"
        words = ["create", "leaf", "--python", "3.8", "-o", str(output), "--link-mode", mode, "--json"]
        if force:
            shutil.copytree(old_bundle, output)
            words.append("--force")
        before = tree_digest(Path(memory))
        done = envbundle(*words, *envbundle.offline(offered))
        if mode == "hardlink":
            expect_error(done, 3, says=["cannot install into", "cross-device"], hint="--link-mode copy")
            assert tree_digest(Path(memory)) == before
            return
        assert done.code == 0, done.stderr
        assert [path.name for path in Path(memory).iterdir()] == [output.name]
        assert (output / "lib/python3.8/site-packages/leaf.py").is_file()
        verify_itself(output, python38)


def test_folders_made_in_vain_are_removed(envbundle: Command, offered: Path, tmp_path: Path) -> None:
    done = envbundle("create", "no-such-dist", "--python", "3.8", "-o", "a/b/c", *envbundle.offline(offered))
    assert done.code == 2, done.stderr
    assert not (tmp_path / "a").exists()


def test_lock_makes_no_folder(envbundle: Command, offered: Path, tmp_path: Path) -> None:
    words = ["lock", "no-such-dist", "--python", "3.8", "-o", "gone/pylock.toml"]
    done = envbundle(*words, *envbundle.offline(offered))
    assert done.code == 2
    assert "gone/pylock.toml cannot be written" in done.stderr
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_line_of_megabytes_is_not_repeated_whole(
    envbundle: Command, tmp_path: Path, *, as_json: bool
) -> None:
    (tmp_path / "requirements.txt").write_text("a b" + "c" * 3_000_000)
    done = envbundle("create", "-r", "requirements.txt", "--python", "3.8", *(["--json"] if as_json else []))
    assert done.code == 2
    assert "not a requirement" in (done.stdout if as_json else done.stderr)
    assert len(done.stdout) + len(done.stderr) < 20_000
