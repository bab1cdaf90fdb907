"""The command line: the only code that prints, exits or reads argv."""

from __future__ import annotations

import gc
import os
import sys

from bundler.cli import quick


def main() -> None:
    """Run `envbundle`."""
    said = quick.answer(sys.argv[1:], os.environ)
    if said is not None and quick.tell(said):
        return
    # A run makes some hundred thousand small values that live to its end. Searching them for cycles as often
    # as Python does by itself takes a tenth of a warm `create`.
    gc.set_threshold(100_000, 50, 50)
    from bundler.cli import heap, streams

    heap.share()
    streams.prepare()
    from bundler.cli.boundary import run
    from bundler.cli.commands import envbundle
    from bundler.system import scratch

    scratch.sweep()
    code = streams.finish(run(envbundle, sys.argv[1:]))
    gc.freeze()  # the interpreter would search once more at its end
    sys.exit(code)
