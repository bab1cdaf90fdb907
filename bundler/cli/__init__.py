"""The command line: the only code that prints, exits or reads argv."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run `envbundle`."""
    if sys.argv[1:] == ["--version"]:
        # Scripts ask this often: load nothing else for it.
        from bundler import __version__

        print(f"envbundle {__version__}")
        return
    # A run makes some hundred thousand small values that live to its end. Searching them for cycles as often
    # as Python does by itself takes a tenth of a warm `create`.
    gc.set_threshold(100_000, 50, 50)
    from bundler.cli import streams

    streams.prepare()
    from bundler.cli.boundary import run
    from bundler.cli.commands import envbundle
    from bundler.system import scratch

    scratch.sweep()
    code = streams.finish(run(envbundle, sys.argv[1:]))
    gc.freeze()  # the interpreter would search once more at its end
    sys.exit(code)
