"""The command line: the only code that prints, exits or reads argv."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `envbundle`."""
    if sys.argv[1:] == ["--version"]:
        # Asked by scripts, often; nothing else need be loaded for it.
        from bundler import __version__

        print(f"envbundle {__version__}")
        return
    from bundler.cli.boundary import run
    from bundler.cli.commands import envbundle

    sys.exit(run(envbundle, sys.argv[1:]))
