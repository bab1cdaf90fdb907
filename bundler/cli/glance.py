"""`envbundle rebuild --locked` where all is well, which is most of the times: said before anything is loaded.

Whatever is not as it was left, or was asked for besides, is left to the command itself (`cli/rebuild.py`): it
alone knows errors. Both say the same lines.
"""

from __future__ import annotations

import os
import sys
import time

# `typing`, `json` and `pathlib` would each take longer than all that is done here without them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bundler.rebuild.memo import Place

WORD = 12
"""Columns of the word that says what became of a bundle."""
FILE = "envbundle.toml"
QUIET = ("-q", "--quiet")


def line(word: str, name: str, seconds: float, told: str = "") -> str:
    """Return the line of a bundle."""
    return f"{word:<{WORD}} {name:<24} {seconds:6.1f} s   {told}".rstrip()


def last_line(total: int, seconds: float, counts: Mapping[str, int]) -> str:
    """Return the line of a run.

    :param counts: word → bundles of which it is true.
    """
    noun = "bundle" if total == 1 else "bundles"
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{total} {noun} in {seconds:.1f} s: {told or 'nothing to do'}"


def glance(words: Sequence[str]) -> bool:
    """Say that all bundles are unchanged, where a glance tells it; otherwise nothing is said or done.

    :param words: the command line behind `rebuild`.
    :returns: whether it was said.
    """
    from bundler.rebuild import memo

    files = [word for word in words if word not in ("--locked", *QUIET)]
    if len(files) > 1 or any(word.startswith("-") for word in files):
        return False
    started = time.perf_counter()
    file = files[0] if files else FILE
    if os.path.isdir(file):  # noqa: PTH112 - no pathlib here: it takes longer than all of this
        file = f"{file}/{FILE}"
    known = memo.recall(file, environ=os.environ)
    if known is None or not known["jobs"]:
        return False
    from bundler.errors import EnvbundleError
    from bundler.rebuild.shelf.run_lock import claim

    lines = []
    try:
        with claim(known["folders"], writing=False, whole=True):
            for job in known["jobs"]:
                began = time.perf_counter()
                if not _is_whole(job):
                    return False
                lines.append(line("unchanged", job["name"], time.perf_counter() - began))
    except (EnvbundleError, OSError, ValueError, KeyError, IndexError, TypeError):
        return False
    if not any(word in QUIET for word in words):
        total = len(lines)
        lines.append(last_line(total, time.perf_counter() - started, {"unchanged": total}))
        print("\n".join(lines), file=sys.stderr)
    return True


def _is_whole(job: Place) -> bool:
    """Tell whether the current build stands as its record says: names, sizes and times.

    :raises OSError, ValueError, IndexError: it does not, or there is none.
    """
    from bundler.rebuild.shelf.fingerprint import fingerprint
    from bundler.system.process_pair import both

    folder, slash, build = os.readlink(f"{job['folder']}/current").partition("/")  # noqa: PTH115 - its text
    builds = f"{job['folder']}/builds"
    if (folder, slash) != ("builds", "/") or not build.isalnum():
        return False
    with open(f"{builds}/{build}.json", encoding="utf-8") as stream:  # noqa: PTH123 - no pathlib here
        lines = stream.read().splitlines()
    # The record as it was written, a member a line; one that somebody has changed is for the command to read.
    archives = [line.split('"')[3] for line in lines if line.startswith('      "name": "')]
    if f'  "build": "{build}",' not in lines or any(
        "/" in one or one[:17] != f"{build}." for one in archives
    ):
        return False
    seen = fingerprint(f"{builds}/{build}", [f"{builds}/{name}" for name in archives], both=both)
    return f'  "fingerprint": "{seen}",' in lines
