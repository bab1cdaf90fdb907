"""EB201 for modules that nothing reached: what they import at their top, and nothing brings."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from bundler.checks.rules.codes import finding
from bundler.checks.rules.incomplete import TEST_TOOLS
from bundler.checks.rules.providers import known as known_provider
from bundler.model import Finding, Lock, WheelFacts

SHOWN = 5
"""Modules that a finding names."""
ELSEWHERE = frozenset(
    {"__main__", "_winapi", "_winreg", "msvcrt", "nt", "ntsecuritycon", "winreg", "winsound"}
)
"""Modules of the interpreter, or of another system's: who imports them there does not fail."""


def unmet(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    *,
    site_packages: str,
    known: Collection[str],
    read: Callable[[str, str], bytes],
) -> Iterator[Finding]:
    """Report modules that import at their top, whatever happens, what nothing brings: one a distribution.

    Whatever a reached import loads has been imported; these are modules that none of them loads.

    :param facts: normalised name → facts of its wheel.
    :param site_packages: relative to the prefix.
    :param known: top-level names that others bring (standard library, image) or that are told already.
    :param read: returns a file of a distribution: normalised name, path relative to the prefix.
    """
    inside = f"{site_packages}/"
    brought = {
        file.path.removeprefix(inside).partition("/")[0].partition(".")[0]
        for one in facts.values()
        for file in one.files
    }
    passed_over = brought | ELSEWHERE | TEST_TOOLS | set(known)
    for name in sorted(facts):
        lacking = [(top, path) for top, path in facts[name].imports if top not in passed_over]
        certain = [(top, path) for top, path in lacking if imports_at_its_top(read(name, path), top)]
        if not certain:
            continue
        shown = [f"{_module(path, inside)} imports {top!r}" for top, path in certain[:SHOWN]]
        more = f" and {len(certain) - SHOWN} more" if len(certain) > SHOWN else ""
        wanted = sorted({_provider(top) for top, _ in certain})
        yield finding(
            "EB201",
            subject=name,
            cause="nothing that was asked for imports these modules, and by their source they fail, since "
            f"nothing brings what they need: {', '.join(shown)}{more}",
            remedy=f"nothing, unless the service imports one of them: then add {', '.join(wanted)}",
            lock=lock,
            severity="info",
        )


def imports_at_its_top(source: bytes, top: str) -> bool:
    """Tell whether a module imports a top-level name in a statement that always runs.

    Only what stands before such a line is parsed: within a text or brackets, that is incomplete.
    """
    name = re.escape(top.encode())
    line = rb"^(?:from[ \t]+%s[. \t]|import[ \t]+(?:[\w., \t]+,[ \t]*)?%s(?![\w]))" % (name, name)
    return any(_is_whole(source[: match.start()]) for match in re.finditer(line, source, re.MULTILINE))


def _is_whole(source: bytes) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _module(path: str, inside: str) -> str:
    return path.removeprefix(inside).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _provider(top: str) -> str:
    row = known_provider(top)
    return row.distribution if row else f"what brings {top}"
