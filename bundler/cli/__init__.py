"""The command line: the only code that prints, exits or reads argv."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run `envbundle`."""
    if sys.argv[1:] == ["--version"]:
        # Asked by scripts, often; nothing else need be loaded for it.
        from bundler import __version__

        print(f"envbundle {__version__}")
        return
    # A run makes some hundred thousand small values that live to its end: to look through them for cycles
    # time and again is a tenth of a warm `create`.
    gc.set_threshold(100_000, 50, 50)
    from bundler.cli.boundary import run
    from bundler.cli.commands import envbundle

    code = run(envbundle, sys.argv[1:])
    gc.freeze()  # the interpreter looks through everything once more before it ends
    sys.exit(code)
