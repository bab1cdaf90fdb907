"""Where the machine refuses to isolate, commands that import warn, with reason and remedy, or refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.nightly import BUNDLES, Nightly, stock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

pytestmark = pytest.mark.thorough  # whole creates, twice

LACKING = ["no-network", "read-only", "own-processes", "own-root", "moved"]
WARNING = "was not isolated: the proof cannot tell whether an import needs the network; "
REMEDY = "\n  remedy: allow user namespaces"
REFUSED = "this machine cannot isolate imports and builds"


@pytest.fixture
def nightly(envbundle: Command, tmp_path: Path) -> Nightly:
    """With a cache of its own: evidence that an isolated run has kept is as good here."""
    stock(tmp_path / "wheels")
    nightly = Nightly(command=replace(envbundle, cache=tmp_path / "cache"), folder=tmp_path)
    nightly.write({"web": BUNDLES["web"], "batch": "other"}, python='"3.8"')
    return nightly


@pytest.mark.parametrize("refused", [False, True])
def test_create_verify_and_audit(nightly: Nightly, *, refused: bool) -> None:
    command = nightly.command.without_namespaces() if refused else nightly.command
    made = ("leaf", "--python", "3.8", *command.offline(nightly.wheels), "-o", "made")
    for words in (("create", *made), ("verify", "made"), ("audit", "made", "--python", "3.8")):
        done = command(*words, "--json", cwd=nightly.folder)
        assert done.code == 0, done.stderr
        found = done.json()["isolation_warning"]
        assert (found["lacking"] if found else []) == (LACKING if refused else []), words
        assert (WARNING in done.stderr and REMEDY in done.stderr) is refused, done.stderr
    quiet = command("verify", "made", "--no-imports", "--json", cwd=nightly.folder)
    assert (quiet.json()["isolation_warning"], WARNING in quiet.stderr) == (None, False)
    proof = json.loads((nightly.folder / "made" / "manifest.json").read_text())["evidence"]["proof"]
    assert (proof == []) is refused
    for words in (("create", *made, "--force"), ("verify", "made")):
        done = command(*words, "--require-isolation", cwd=nightly.folder)
        assert (done.code, REFUSED in done.stderr) == ((3, True) if refused else (0, False)), done.stderr


def test_rebuild(nightly: Nightly) -> None:
    unable = Nightly(command=nightly.command.without_namespaces(), folder=nightly.folder)
    built = unable()
    assert built.code == 0, built.stderr
    # Once, for all bundles.
    assert built.stderr.count("the proof of web-py38, batch-py38 was not isolated: ") == 1
    assert REMEDY in built.stderr
    summary = json.loads((nightly.output / "summary.json").read_text())
    for row in summary["bundles"]:
        assert row["isolation_warning"]["lacking"] == LACKING
        assert row["isolation_warning"]["remedy"] in built.stderr
    assert "the proof was not isolated: no-network" in (nightly.output / "report.html").read_text()
    # A run that finds nothing to do tells it too, and one that asks for more makes the build again.
    again = unable("--json")
    assert {row["state"] for row in again.json()["bundles"]} == {"unchanged"}
    assert WARNING in again.stderr
    refused = unable("--require-isolation", "--only", "web")
    assert (refused.code, REFUSED in refused.stderr) == (3, True), refused.stderr
    rows = nightly.rows("--require-isolation", "--only", "web")
    row = rows["web-py38"]
    assert (row["state"], row["reason"]) == ("built", "the proof of the current build was not isolated")
    assert row["isolation_warning"] is None
    done = nightly("--require-isolation", "--only", "web")
    assert "unchanged" in done.stderr
    assert WARNING not in done.stderr
