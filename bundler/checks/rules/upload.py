"""EB507: what an ignore file beside the bundle keeps out of an upload.

Azure ML's client reads `.amlignore`, or else `.gitignore`, in the folder that it uploads, and no other:
https://learn.microsoft.com/azure/machine-learning/how-to-save-write-experiment-files
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model import Finding

CODES = ("EB507",)
NAMES = (".amlignore", ".gitignore")
LIMIT = 1 << 20
HIGHEST = 8
"""How many folders above the bundle can be the one that is uploaded."""


@dataclass(frozen=True, kw_only=True)
class IgnoreFile:
    """An ignore file in a folder above the bundle."""

    path: str
    """Relative to the folder that holds the bundle: `.gitignore`, `../.gitignore`."""
    text: str
    bundle: str
    """The bundle's folder relative to that of the ignore file: `myenv`, `src/myenv`."""

    @property
    def nearest(self) -> bool:
        """It stands in the folder that holds the bundle, which is the one that is uploaded as a rule."""
        return "/" not in self.bundle


def ignore_files(output: Path) -> tuple[IgnoreFile, ...]:
    """Find the ignore files that an upload could heed, the nearest first.

    One a folder, from the one that holds the bundle up to the root of its repository.

    :param output: the bundle's folder, absolute; it need not be there yet.
    """
    found = []
    for folder in output.parents[:HIGHEST]:
        for name in NAMES:
            path = folder / name
            if path.is_file():
                with path.open("rb") as file:
                    text = file.read(LIMIT).decode("utf-8", "replace")
                bundle = output.relative_to(folder).as_posix()
                shown = Path(os.path.relpath(path, output.parent)).as_posix()
                found.append(IgnoreFile(path=shown, text=text, bundle=bundle))
                break
        if (folder / ".git").exists():
            break
    return tuple(found)


def _means_something(line: str) -> bool:
    """Tell whether a line is a pattern; git passes over those that are none, such as `!` and `***`."""
    from pathspec import PathSpec  # noqa: PLC0415 - 10 ms, and most bundles stand beside no ignore file

    try:
        return PathSpec.from_lines("gitignore", [line]).patterns[0].include is not None
    except (IndexError, ValueError, re.error):
        return False


def upload(files: Sequence[str], ignores: Sequence[IgnoreFile]) -> tuple[Finding, ...]:
    """Report ignore files that drop files of the bundle (EB507).

    A warning where the file stands beside the bundle; further up it counts only if that folder is the
    one that is uploaded, which is information.

    :param files: paths below the bundle.
    """
    if not ignores:
        return ()
    from pathspec import PathSpec  # noqa: PLC0415 - as above

    findings = []
    for ignore in ignores:
        # The last pattern that matches decides. Unlike git, the client asks of each file alone, so that
        # `!lib/x` brings back what `lib/` excludes.
        lines = [line for line in ignore.text.splitlines() if _means_something(line)]
        spec = PathSpec.from_lines("gitignore", lines)
        dropped: dict[int, list[str]] = {}
        for path in files:
            result = spec.check_file(f"{ignore.bundle}/{path}")
            if result.include and result.index is not None:
                dropped.setdefault(result.index, []).append(path)
        if not dropped:
            continue
        count = sum(map(len, dropped.values()))
        worst = sorted(dropped, key=lambda index: -len(dropped[index]))
        patterns = ", ".join(lines[index].strip() for index in worst[:5])
        cause = (
            f"{ignore.path} drops {count} of {len(files)} files of {ignore.bundle} from an upload, "
            f"such as {dropped[worst[0]][0]}, by: {patterns}{' …' if worst[5:] else ''}"
        )
        findings.append(
            finding(
                "EB507",
                subject=ignore.path,
                cause=cause,
                severity="warning" if ignore.nearest else "info",
            )
        )
    return tuple(findings)
