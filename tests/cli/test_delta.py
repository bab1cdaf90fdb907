"""`delta` and `apply`, as a user runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.archivemaker import pack, tree
from tests.support.deltamaker import two

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command


@pytest.mark.thorough
def test_from_archives_to_a_folder(envbundle: Command, tmp_path: Path) -> None:
    old, new = two(tmp_path / "in")
    (zipped,) = pack(old, tmp_path / "one", "zip")
    (tarred,) = pack(new, tmp_path / "two", "tar.gz")
    done = envbundle("delta", zipped, tarred, "-o", "x.delta", "--json")
    assert done.code == 0, done.stderr
    described = done.json()
    assert [base["name"] for base in described["bases"]] == ["one"]
    assert described["size"] == sum(path.stat().st_size for path in (tmp_path / "x.delta").iterdir())
    done = envbundle("apply", zipped, "x.delta", "-o", "got", "--json")
    assert done.code == 0, done.stderr
    assert tree(tmp_path / "got") == tree(new)
    assert done.json()["manifest_sha256"] == described["manifest_sha256"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.thorough
def test_who_must_act(envbundle: Command, tmp_path: Path) -> None:
    old, new = two(tmp_path)
    assert envbundle("delta", "old", "-o", "x.delta").code == 2
    assert envbundle("delta", "old", "none", "-o", "x.delta").code == 2
    assert envbundle("delta", "old", "new", "-o", "x.delta", "-q").code == 0
    wrong = envbundle("apply", "new", "x.delta", "-o", "got")
    assert wrong.code == 2
    assert "new is not what" in wrong.stderr
    assert "hint: " in wrong.stderr
    assert envbundle("apply", "old", "new", "-o", "got").code == 2
    done = envbundle("apply", "old", "x.delta", "-o", "got")
    assert (done.code, done.stdout) == (
        0,
        f"{tmp_path / 'got'}: {len(files(new))} files, each with the hash of the new manifest\n",
    )
    again = envbundle("apply", "old", "x.delta", "-o", "got")
    assert (again.code, again.stdout) == (0, f"{tmp_path / 'got'}: was there, whole\n")
    taken = envbundle("apply", "old", "x.delta", "-o", "old", "--json")
    assert (taken.code, taken.json()["ok"]) == (2, False)
    assert len(files(old)) > 5


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
