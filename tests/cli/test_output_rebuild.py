"""What `rebuild` shows of a run: each note once, whichever bundles it came with."""

from __future__ import annotations

import pytest
from bundler.cli.output_rebuild import Display
from bundler.rebuild.outcome import Message, Outcome

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
