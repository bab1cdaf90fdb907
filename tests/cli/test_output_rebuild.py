"""What `rebuild` shows of a run: each note once, and once what the proofs of its bundles cannot tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bundler.cli.output_rebuild import Display
from bundler.rebuild.outcome import Message, Outcome
from bundler.rebuild.summary import Run

DONE = Outcome(name="web-py38", bundle="web", place="envbundle.toml:7", state="unchanged", seconds=1.0)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_note_is_shown_once(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> None:
    display = Display(total=2, quiet=quiet, arguments=["rebuild"])
    for name in ("web-py37", "web-py38"):
        display.show(Message(name=name, text="", begins=True))
        # The stages that resolve and that build read the same input.
        for text in ("a.txt:1: passed over: --pre", "a.txt:1: passed over: --pre", f"of {name} alone"):
            display.show(Message(name=name, text=text))
        display.show(Message(name=name, text="fetch          0.31 s   5 wheels"))
    display.show(DONE)
    said = capsys.readouterr().err.splitlines()
    shown = [
        "web-py37: a.txt:1: passed over: --pre",
        "web-py37: of web-py37 alone",
        "web-py38: of web-py38 alone",
        "unchanged    web-py38                    1.0 s",
    ]
    assert said == ([] if quiet else shown)


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_not_isolated_is_told_once(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> None:
    weak = [replace(DONE, name=f"b{number}", not_isolated=("no-network",)) for number in range(6)]
    outcomes = (DONE, *weak, replace(DONE, name="old", not_isolated=("of another release",)))
    started = "2026-01-31T02:00:00Z"
    run = Run(file="envbundle.toml", mode="rebuild", started=started, seconds=1.5, outcomes=outcomes)
    Display(total=8, quiet=quiet, arguments=["rebuild"]).close(run)
    said = capsys.readouterr().err.splitlines()[:-1]
    if quiet:
        assert not said
        return
    assert said[0] == (
        "warning: the proof of b0, b1, b2, b3 and 2 more was not isolated: the proof cannot tell whether an "
        "import needs the network"
    )
    assert said[1].startswith("  remedy: allow user namespaces")
    assert len(said) == 2
