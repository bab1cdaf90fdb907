"""The known breakages of `breakages.json`: what a failure says, what cures it, and the source of that.

Each row is a release that took something away which older distributions use. `pins` holds for those
distributions that the lock has; `adds` names the one that is required as well if nothing brings it. A row
without `pins` only says what is wrong.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.lazy_dataclass import dataclass
from bundler.system import json_values

TABLE = Path(__file__).with_name("breakages.json")
_NAME = r"[a-z0-9]+(-[a-z0-9]+)*"


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """A row of the table."""

    id: Annotated[str, r"[a-z0-9.-]+"]
    pattern: str
    """Regular expression for the text of the failure."""
    why: str
    """In words; of a row without pins `{importer}` stands for the distribution that fails."""
    sources: tuple[str, ...]
    """URLs of changelogs, guides and issues."""
    when: Mapping[Annotated[str, _NAME], str] = field(default_factory=dict)
    """Distribution → specifier; the row holds only where the lock has all of them so."""
    pins: Mapping[Annotated[str, _NAME], str] = field(default_factory=dict)
    """Distribution → specifier with which the failure is gone."""
    builds: Mapping[Annotated[str, _NAME], str] = field(default_factory=dict)
    """Distribution → specifier with which a build from source succeeds."""
    adds: str | None = None
    """Of `pins`: what is required as well where the lock does not have it."""
    tried: str = ""
    """Python and requirements of a public instance: refused with this failure, and proved by `--mend` with
    what the row names (and others, where more was wrong); empty: compared with the releases alone."""

    def cures(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Return of `pins` those that change something.

        :param versions: of the lock, by normalised name.
        """
        return {
            name: specifier
            for name, specifier in self.pins.items()
            if (name in versions and not satisfies(versions[name], specifier))
            or (name == self.adds and name not in versions)
        }


def satisfies(version: str, specifier: str) -> bool:
    """Tell whether a version is within a specifier; one that cannot be parsed is not."""
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


@functools.cache
def table() -> tuple[Breakage, ...]:
    """Return every row."""
    value = json_values.load(TABLE)
    return tuple(json_values.from_json(Breakage, one) for one in value)


def matching(text: str, versions: Mapping[str, str]) -> tuple[Breakage, ...]:
    """Return the rows that a failure is an instance of, the most specific first.

    :param text: of the failure: the end of a traceback, or what a build printed.
    :param versions: of the lock, by normalised name.
    """
    found = [
        row
        for row in table()
        if all(name in versions and satisfies(versions[name], spec) for name, spec in row.when.items())
        and re.search(row.pattern, text)
    ]
    return tuple(sorted(found, key=lambda row: not row.when))
