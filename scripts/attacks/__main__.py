"""Attacks envbundle, and counts what does not hold.

    scripts/attack fuzz [--seconds S] [--seed N] [READER ...]    changed inputs for every reader
    scripts/attack kills [--count N] [--seed N] [COMMAND ...]    kills runs of every command
    scripts/attack faults [--count N] [--seed N] [COMMAND ...]   full disks, damaged stores
    scripts/attack secrets [--count N] [--seed N] [PLACE ...]    plants tokens, and looks for them
    scripts/attack hostile [--list] [CASE ...]                   wheels and sources that attack

Each has a --help of its own. Exit code: 0 where everything held, 1 where something did not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.attacks import faults, fuzz, hostile, kills, planted_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ATTACKS: dict[str, Callable[[Sequence[str]], int]] = {
    "fuzz": fuzz.main,
    "kills": kills.main,
    "faults": faults.main,
    "secrets": planted_tokens.main,
    "hostile": hostile.main,
}


def main(words: Sequence[str]) -> int:
    """Run the attack that the first word names, and return its exit code: 2 where it names none."""
    if words and words[0] in ATTACKS:
        return ATTACKS[words[0]](words[1:])
    asked = words[:1] in (["-h"], ["--help"])
    print(__doc__, file=sys.stdout if asked else sys.stderr)
    if words and not asked:
        print(f"error: no attack {words[0]!r}; there are {', '.join(ATTACKS)}", file=sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
