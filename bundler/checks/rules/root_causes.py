"""Puts together findings of one cause: missing libraries and names, and what fails for want of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bundler.model import SEVERITIES, Finding

WITH_SETTINGS = "with settings it goes on, and ends with:"
"""Stands in an EB201 of a module that asks for Django's settings, before what it ends with."""
SO_DOES = "{}, once it has settings"
"""Stands in the EB201 of names that are gone, for such a module that ends with one of them."""
_ASSUME = re.compile(r"--assume-lib (\S+)")
_SAME_STOPS = "the same stops: "
_IF_THERE = "; if the image has it: "
_INSTALL = re.compile(r"install (?P<package>[a-z0-9][a-z0-9.+-]*) in the image")
_LIBRARY = re.compile(r"(?P<library>[\w.+-]+\.so[\w.]*): cannot open shared object file")


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in their order, those that have one cause as one.

    EB303 of one distribution and severity is one finding with all of its libraries. An error EB201 whose last
    line names such a library follows from it: the EB303 says so, and the EB201 is left out. What a module
    ends with once it has settings is told once too, where a name that is gone is its cause.
    """
    rows = _with_names_once(list(findings))
    lacking: dict[tuple[str, str], list[Finding]] = {}
    for one in rows:
        if one.code == "EB303":
            lacking.setdefault((one.subject, one.severity), []).append(one)
    joined = {key: _joined(same) for key, same in lacking.items()}
    kept: list[Finding] = []
    for one in rows:
        if one.code == "EB201" and one.severity == "error" and (key := _cause(one, joined)):
            joined[key] = replace(
                joined[key], cause=f"{joined[key].cause}\nso {one.subject} does not import: {_last(one)}"
            )
        else:
            kept.append(one)
    told: set[tuple[str, str]] = set()
    result = []
    for one in kept:
        key = (one.subject, one.severity)
        if one.code != "EB303":
            result.append(one)
        elif key not in told:
            told.add(key)
            result.append(joined[key])
    return tuple(result)


def _with_names_once(rows: list[Finding]) -> list[Finding]:
    """Of each two that tell of one gone name leave out the less severe, of equal ones the consequence."""
    echoes = [one for one in rows if one.code == "EB201" and f"\n{WITH_SETTINGS}\n" in one.cause]
    left = []
    for echo in echoes:
        said = SO_DOES.format(echo.subject)
        for cause in (one for one in rows if one.code == "EB201" and said in _stopped(one)):
            graver = SEVERITIES.index(cause.severity) <= SEVERITIES.index(echo.severity)
            left.append(echo if graver else cause)
    return [one for one in rows if not any(one is same for same in left)]


def _stopped(failure: Finding) -> list[str]:
    """What is said to fail for the same cause."""
    lines = [line for line in failure.cause.splitlines() if line.startswith(_SAME_STOPS)]
    return [one for line in lines for one in line.removeprefix(_SAME_STOPS).split("; ")]


def _cause(failure: Finding, joined: dict[tuple[str, str], Finding]) -> tuple[str, str] | None:
    """Return the key of the EB303 error that names the library for want of which an import fails."""
    wanted = _LIBRARY.search(_last(failure))
    if wanted is None:
        return None
    for key, one in joined.items():
        if one.severity == "error" and wanted["library"] in _ASSUME.findall(one.remedy):
            return key
    return None


def _last(failure: Finding) -> str:
    lines = [line for line in failure.cause.splitlines() if not line.startswith(_SAME_STOPS)]
    return lines[-1].strip() if lines else ""


def _joined(same: Sequence[Finding]) -> Finding:
    if len(same) == 1:
        return same[0]
    causes = "\n".join(one.cause for one in same)
    return replace(same[0], cause=f"{len(same)} libraries are missing:\n{causes}", remedy=_remedy(same))


def _remedy(same: Sequence[Finding]) -> str:
    """One remedy for several libraries: the same advice once, with the packages of all."""
    packages: dict[str, list[str]] = {}
    for one in same:
        advice = one.remedy.partition(_IF_THERE)[0]
        match = _INSTALL.search(advice)
        form = _INSTALL.sub("install {} in the image", advice, count=1) if match else advice
        named = packages.setdefault(form, [])
        if match and match["package"] not in named:
            named.append(match["package"])
    steps = "; ".join(form.replace("{}", " ".join(named), 1) for form, named in packages.items())
    libraries = dict.fromkeys(library for one in same for library in _ASSUME.findall(one.remedy))
    if not libraries:
        return steps
    return f"{steps}; if the image has them: {' '.join(f'--assume-lib {library}' for library in libraries)}"
