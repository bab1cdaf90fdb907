"""`envbundle diff`: real bundles, archives, locks, pipes, exit codes, and inputs that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib.resources import files
from typing import TYPE_CHECKING

import jsonschema
import pytest
from bundler.formats import NAMES, packing
from bundler.system.progress import Progress

from tests.support.differencemaker import bundle, dist, finding, pylock, requirements, write
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

ARCHIVES = [kind for kind in NAMES if kind != "dir"]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two bundles of manifests alone."""
    old = write(tmp_path / "old", bundle(dist("alpha"), dist("gone")))
    new = write(
        tmp_path / "new",
        bundle(dist("alpha", "2.0"), dist("beta", required_by=("alpha",)), findings=(finding(),)),
    )
    return old, new


@pytest.mark.thorough
def test_real_bundles_and_their_locks(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    make_wheel(wheels, "leaf")
    make_wheel(wheels, "root-dist", "1.0", requires=["leaf"], metadata="License: MIT\n")
    make = ["create", "root-dist", "--python", str(python38), *envbundle.offline(wheels)]
    assert envbundle(*make, "-o", "old").code == 0
    make_wheel(
        wheels,
        "root-dist",
        "1.1",
        requires=["leaf", "other"],
        metadata="License: GPL-3.0\n",
        entry_points="[console_scripts]\nroot = root_dist:main\n",
    )
    make_wheel(wheels, "other")
    assert envbundle(*make, "-o", "new").code == 0
    done = envbundle("diff", "old", "new", "--exit-code")
    assert (done.code, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1 added, 1 upgraded; ")
    assert [
        line
        for line in lines
        if "brought in by root-dist → other" in line and line.startswith("  + other 1.0")
    ]
    assert any(line.startswith("  ↑ root-dist 1.0 → 1.1") for line in lines)
    assert "  ~ root-dist: MIT → GPL-3.0" in lines
    assert "  + console_scripts: root (root-dist)" in lines
    for lock in ("pylock.toml", "requirements.lock"):
        same = envbundle("diff", f"new/{lock}", "new", "--exit-code")
        assert (same.code, same.stdout.splitlines()[0]) == (0, "no difference")
        assert "not compared, since a lock does not tell it: needs of the system" in same.stdout
        other = envbundle("diff", f"old/{lock}", f"new/{lock}", "--json").json()
        assert [(one["name"], one["change"]) for one in other["distributions"]] == [
            ("other", "added"), ("root-dist", "upgraded"),
        ]  # fmt: skip


@pytest.mark.thorough
def test_archives(envbundle: Command, wheels: Path, tmp_path: Path, python38: Path) -> None:
    make_wheel(wheels, "leaf")
    made = envbundle("create", "leaf", "--python", str(python38), "-o", "env", *envbundle.offline(wheels))
    assert made.code == 0
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    packed = packing.pack(
        tmp_path / "env", kinds=ARCHIVES, output=tmp_path / "packed", scratch=scratch,
        progress=Progress(stream=sys.stderr, quiet=True),
    )  # fmt: skip
    assert [one.kind for one in packed] == ARCHIVES
    for one in packed:
        done = envbundle("diff", str(one.path), "env", "--exit-code")
        assert (done.code, done.stdout) == (0, "no difference\n"), one.kind


def test_json_is_of_the_schema(envbundle: Command, pair: tuple[Path, Path]) -> None:
    schema = json.loads(
        files("bundler.report.compare").joinpath("differences.schema.json").read_text(encoding="utf-8")
    )
    for words in ([], ["--files"]):
        found = envbundle("diff", "old", "new", "--json", *words).json()
        jsonschema.Draft202012Validator(schema).validate(found)
        assert found["ok"] is found["different"] is True
        assert (found["files"]["paths"] is None) is not bool(words)
    assert envbundle("diff", "old", "old", "--json").json()["different"] is False


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["old", "new"], 0),
        (["old", "new", "--exit-code"], 1),
        (["old", "old", "--exit-code"], 0),
        (["old", "new", "--exit-code", "--json"], 1),
        (["old", "new", "--exit-code", "--markdown"], 1),
        (["old", "new", "--json", "--markdown"], 2),
        (["old"], 2),
        (["old", "nothing"], 2),
    ],
)
def test_exit_codes(envbundle: Command, pair: tuple[Path, Path], words: list[str], code: int) -> None:
    assert envbundle("diff", *words).code == code


def test_manifest_alone_is_a_bundle(envbundle: Command, pair: tuple[Path, Path]) -> None:
    (pair[0] / "manifest.json").rename(pair[0].parent / "kept.json")
    done = envbundle("diff", "kept.json", "new", "--markdown")
    assert done.code == 0
    assert "### new" in done.stdout
    assert "| upgraded | `alpha` | `1.0` | `2.0` |" in done.stdout


def test_files_are_listed_when_asked_for(envbundle: Command, pair: tuple[Path, Path]) -> None:
    path = "lib/python3.8/site-packages/beta.py"
    for words in ([], ["--markdown"]):
        assert path not in envbundle("diff", "old", "new", *words).stdout
        assert path in envbundle("diff", "old", "new", "--files", *words).stdout


def test_pipe_holds_a_lock(envbundle: Command, tmp_path: Path) -> None:
    """As in `envbundle diff <(git show main:pylock.toml) pylock.toml`."""
    (tmp_path / "new.txt").write_text(requirements(("alpha", "2.0")))
    for text in (pylock(("alpha", "1.0")), requirements(("alpha", "1.0"))):
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,))
        writer.start()
        done = envbundle("diff", "pipe", "new.txt")
        writer.join(10)
        assert done.stdout.splitlines()[0] == "1 upgraded"
        (tmp_path / "pipe").unlink()


def test_colours_for_a_terminal_alone(envbundle: Command, pair: tuple[Path, Path]) -> None:
    assert "\x1b" not in envbundle("diff", "old", "new").stdout
    seen = subprocess.run(
        ["script", "-qec", " ".join(envbundle.argv("diff", "old", "new")), "/dev/null"],
        env=envbundle.environment({"TERM": "xterm"}), cwd=envbundle.folder, capture_output=True, check=True,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert "\x1b[32m  + beta 1.0" in seen.stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x", b"", "x has no requirement that is pinned with its hash"),
        ("x", b"\x7fELF\0\0\0", "x is neither a bundle nor a lock"),
        ("x.tar.gz", b"\x1f\x8b\x08\0broken", "x.tar.gz"),
        ("x.zip", b"PK\x03\x04\x14\0broken", "x.zip"),
        ("x.tar.zst", b"\x28\xb5\x2f\xfdbroken", "x.tar.zst"),
        ("manifest.json", b"{}", "manifest.json: lacks 'kind'"),
        ("manifest.json", b"{" * 100_000, "manifest.json: is not sound JSON"),
        ("requirements.txt", b"alpha\n", "requirements.txt:1: not pinned by version and sha256: 'alpha'"),
        ("pylock.toml", b"x = 1", "pylock.toml is not a valid lock"),
        ("pylock.dev.toml", b"", "pylock.dev.toml is not a valid lock"),
    ],
)
def test_what_is_neither(envbundle: Command, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "other.txt").write_text(requirements(("alpha", "1.0")))
    done = envbundle("diff", "other.txt", name)
    assert done.code == 2
    assert f"error: {message}" in done.stderr or message in done.stderr.splitlines()[0]
    assert "hint: " in done.stderr
    assert done.stdout == ""


def test_folder_without_a_bundle(envbundle: Command, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = envbundle("diff", "folder", "folder")
    assert (done.code, done.stderr.splitlines()[0]) == (2, "error: folder holds no bundle")
    (tmp_path / "folder" / "manifest.json").symlink_to("/etc/passwd")
    assert envbundle("diff", "folder", "folder").code == 2


def test_file_without_end(envbundle: Command, tmp_path: Path) -> None:
    done = envbundle("diff", "/dev/zero", "/dev/zero")
    assert (done.code, "is larger than 64 MiB" in done.stderr) == (2, True)


def test_tampered_manifest(envbundle: Command, pair: tuple[Path, Path]) -> None:
    path = pair[1] / "manifest.json"
    path.write_text(path.read_text().replace('"version": "2.0"', '"version": "1.0"'))
    done = envbundle("diff", "old", "new")
    assert (done.code, "manifest_digest: does not fit the content" in done.stderr) == (2, True)


def test_no_credential_is_shown(envbundle: Command, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(requirements(("alpha", "1.0")))
    line = f"beta @ https://user:secret@x.example/beta-1.0-py3-none-any.whl --hash=sha256:{'0' * 64}\n"
    (tmp_path / "b").write_text(line)
    (tmp_path / "c").write_text(line.partition(" --hash")[0])
    for words in (["a", "b", "--files"], ["a", "b", "--json"], ["a", "b", "--markdown"], ["a", "c"]):
        done = envbundle("diff", *words)
        assert "secret" not in done.stdout + done.stderr
