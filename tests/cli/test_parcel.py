"""`save` and `load`, as a user runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.parcelmaker import NAME, make_key, put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command


@pytest.mark.thorough
def test_from_shelf_to_shelf(envbundle: Command, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    first, second = put(tmp_path / "here", 1, key=key), put(tmp_path / "here", 2, key=key)
    done = envbundle("save", "here", "-o", "parcel", "--part-size", "20k", "--json")
    assert done.code == 0, done.stderr
    told = done.json()
    assert [(one["build"], one["base"], one["whole"]) for one in told["builds"]] == [
        (first.build, "", True),
        (second.build, f"{NAME}/{first.build}", False),
    ]
    assert told["parts"] == len(list((tmp_path / "parcel").glob("*.part"))) > 1
    refused = envbundle("load", "parcel", "there", "--key", "ssh-ed25519 AAAA")
    assert (refused.code, "hint: " in refused.stderr) == (2, True)
    (tmp_path / "signers").write_text(f"me {key.with_name('key.pub').read_text()}")
    done = envbundle(
        "load", "parcel", "there", "--allowed-signers", "signers", "--receipt", "back.json", "--json"
    )
    assert done.code == 0, done.stderr
    assert [one["build"] for one in done.json()["loaded"]] == [first.build, second.build]
    current = f"there/{NAME}/current"
    words = ("--no-imports", "--allowed-signers", "signers", "--name", NAME, "--json")
    verified = envbundle("verify", current, *words).json()
    assert "signature" in verified["checked"]
    codes = {one["code"] for one in verified["findings"]}
    assert not {code for code in codes if code.startswith(("EB51", "EB61"))}, "whole, and signed"
    assert envbundle("diff", f"there/{NAME}/builds/{first.build}", current).code == 0
    assert envbundle("report", current, "-o", "page.html").code == 0
    put(tmp_path / "here", 3, key=key)
    assert envbundle("save", "here", "-o", "third", "--since", "back.json").code == 0
    done = envbundle("load", "third", "there", "--keep", "1", "--receipt", "back.json", "--json")
    assert (done.code, done.json()["removed"]) == (0, [{"name": NAME, "build": first.build}])
    done = envbundle("save", "here", "-o", "more", "--since", "back.json")
    assert (done.code, done.stdout) == (0, "the other side has everything: no parcel was written\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("save", "nowhere", "-o", "x"), "nowhere is no folder"),
        (("save", ".", "-o", "x"), "has no builds"),
        (("save", ".", "-o", "x", "--part-size", "1"), "is no size of at least 1000 bytes"),
        (("save", ".", "-o", "x", "--part-size", "1T"), "is no size"),
        (("save", ".", "-o", "x", "--since", "nowhere.json"), "nowhere.json: No such file"),
        (("load", "nowhere", "x"), "parcel.json: No such file"),
        (("save", "s3://key:secret@bucket", "-o", "x"), "SHELF is a URL (s3), and must be a folder"),
        (("save", ".", "-o", "abfs://builds/x"), "output is a URL (abfs), and must be a folder"),
        (("load", "https://example.org/parcel", "x"), "PARCEL is a URL (https), and must be a folder"),
        (("load", ".", "s3://bucket/x"), "SHELF is a URL (s3), and must be a folder"),
    ],
)
def test_who_must_act(envbundle: Command, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = envbundle(*words)
    assert done.code == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []
