"""What is said of a comparison: the table of sections for text, Markdown and the page, and common words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.report.compare.difference import (
    Difference,
    Direction,
    DistributionChange,
    LinesChange,
    Movement,
    Release,
)
from bundler.system.sizes import in_units

SIGNS: dict[Direction, str] = {
    "added": "+",
    "removed": "-",
    "downgraded": "↓",
    "upgraded": "↑",
    "changed": "~",
}
"""In the order of text and Markdown: added and removed first."""
ASPECTS = {
    "needs": ("needs of the system", "what is needed of the image"),
    "findings": ("findings", "findings"),
    "chains": ("what brings what in", "who requires what"),
    "sizes": ("sizes", "sizes"),
    "licences": ("licences", "licences"),
    "native": ("native libraries", "native files"),
    "entry_points": ("entry points", "entry points"),
    "requirements": ("requirements", "requirements"),
    "target": ("target", "target"),
    "setting": ("proof, image and tool", "settings"),
    "files": ("files", "files"),
}
"""What a side may know besides its distributions: how text and Markdown call it, and how the page does."""
NO_DIFFERENCE = "no difference"
LONGEST_VALUE = 200
"""Characters; a licence may be a whole text, a cause a page."""
LONGEST_PATH = 4096
SHORT_HASH = 12
NAMES = 6
"""Names in one line."""
MINUS = "\N{MINUS SIGN}"
_STEPS = ("major", "minor", "patch", "other", "")


class Forms(NamedTuple):
    """One thing as it is written in each of the three forms."""

    text: str
    markdown: str
    page: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One change in a section."""

    way: str
    """How it changed: `added`, `removed`, `changed` …"""
    name: str = ""
    """Of what changed: a setting, an entry point, a requirement."""
    distribution: str = ""
    names: tuple[str, ...] = ()
    """Distributions that have the licence."""
    old: str | None = None
    """`None`: there was none."""
    new: str | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one section shows, and how each form writes it."""

    title: Forms
    headings: tuple[str, ...]
    """Of the table in Markdown."""
    rows: Callable[[Difference], Iterable[Row]]
    """In the order of the page."""
    templates: Mapping[str, Forms]
    """Way of a row → how it is written. Fields of the row stand in braces; `{line}` is the line of the text,
    `{old_file}` and `{new_file}` are the last parts of paths. Rows without a text are counted."""
    sorted: bool = True
    """In text and Markdown the rows stand in the order of the ways."""
    longest: int = LONGEST_VALUE
    """Characters of the old and the new value, in text and Markdown."""

    def short(self, difference: Difference) -> Iterator[Row]:
        """Yield the rows for text and Markdown: without names that the row of a change has already."""
        rows = list(self.rows(difference))
        if self.sorted:
            rows.sort(key=lambda row: list(self.templates).index(row.way))
        told = {name for row in rows if row.way == "changed" for name in row.names}
        for row in rows:
            names = tuple(name for name in row.names if row.way == "changed" or name not in told)
            if names or not row.names:
                yield replace(row, names=names)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one form shows values that somebody else wrote."""

    form: Literal["text", "markdown", "page"]
    show: Callable[[str, int], str]
    """Makes a value harmless, and cuts it to a number of characters."""
    names: Callable[[Sequence[str]], str]
    """Writes the names of distributions."""
    absent: str
    """Instead of a value that is not there."""
    unnamed: str
    """Instead of a licence that METADATA does not name."""

    def write(self, section: Section, row: Row) -> str:
        """Fill in the template of a row's way."""

        def value(text: str | None) -> str:
            return self.absent if text is None else self.show(text, section.longest) or self.unnamed

        template = section.templates[row.way]
        values = {
            "name": self.show(row.name, LONGEST_VALUE),
            "distribution": self.show(row.distribution, LONGEST_VALUE),
            "names": self.names(row.names),
            "old": value(row.old),
            "new": value(row.new),
            "old_file": value((row.old or "").rpartition("/")[2]),
            "new_file": value((row.new or "").rpartition("/")[2]),
        }
        values["line"] = template.text.format_map(values)
        filled: str = getattr(template, self.form).format_map(values)
        return filled


def _needs(difference: Difference, *movements: Movement) -> Iterator[Row]:
    for one in difference.needs.symbols:
        if one.movement in movements:
            yield Row(way=one.movement, old=one.old, new=one.new)


def _alarms(difference: Difference) -> Iterator[Row]:
    yield from _needs(difference, "rose", "new")
    yield from (Row(way="library", new=one) for one in difference.needs.libraries_added)


def _reliefs(difference: Difference) -> Iterator[Row]:
    yield from _needs(difference, "fell", "gone")
    yield from (Row(way="library", old=one) for one in difference.needs.libraries_removed)


def _licences(difference: Difference) -> Iterator[Row]:
    licences = difference.licences
    yield from (Row(way="new", new=one.licence, names=one.names) for one in licences.new)
    yield from (Row(way="gone", old=one.licence, names=one.names) for one in licences.gone)
    yield from (Row(way="changed", old=one.old, new=one.new, names=(one.name,)) for one in licences.changed)


def _lines(change: LinesChange) -> Iterator[Row]:
    yield from (Row(way="added", name=line) for line in change.added)
    yield from (Row(way="removed", name=line) for line in change.removed)


def _changed(old: str | None, new: str | None, name: str, distribution: str = "") -> Row:
    way = "added" if old is None else "removed" if new is None else "changed"
    return Row(way=way, name=name, distribution=distribution, old=old or None, new=new or None)


def _settings(difference: Difference) -> Iterator[Row]:
    return (_changed(one.old, one.new, one.name) for one in difference.settings)


def _entry_points(difference: Difference) -> Iterator[Row]:
    return (_changed(one.old, one.new, one.entry, one.distribution) for one in difference.entry_points)


def _native(difference: Difference) -> Iterator[Row]:
    return (_changed(one.old, one.new, "", one.distribution) for one in difference.native)


_PAIR = "{name}: {old} → {new}"
_LIBRARY = "needs {new} of the system, and did not before"
_FAMILY = "needs {new}, and needed nothing of that family before"
_TWO_CELLS = "| {name} | {old} | {new} |"
_THREE_CELLS = "| {distribution} | {old} | {new} |"
_FOUR_CELLS = "| {distribution} | {name} | {old} | {new} |"
ALARMS = Section(
    title=Forms("", "", ""),
    headings=(),
    rows=_alarms,
    templates={
        "rose": Forms("needs {new}, was {old}", "- **{line}**", "{new} is needed of the image, {old} was."),
        "new": Forms(_FAMILY, "- **{line}**", "{new} is needed of the image, nothing of its kind was."),
        "library": Forms(_LIBRARY, "- **{line}**", "The library {new} is needed of the image, and was not."),
    },
)
"""What the image must have and need not have had before, the gravest first."""
LICENCES = Section(
    title=Forms("licences", "licences", "Licences"),
    headings=("", "old", "new", "distributions"),
    rows=_licences,
    longest=60,
    templates={
        "new": Forms("+ {new}: {names}", "| new | | {new} | {names} |", "new: {new} ({names})"),
        "changed": Forms(
            "~ {names}: {old} → {new}", "| changed | {old} | {new} | {names} |", "{names}: {old} → {new}"
        ),
        "gone": Forms("- {old}: {names}", "| gone | {old} | | {names} |", "gone: {old} ({names})"),
    },
)
REQUIREMENTS = Section(
    title=Forms("requirements", "requirements", "What was asked for"),
    headings=("", "as written"),
    rows=lambda difference: _lines(difference.requirements),
    templates={
        "removed": Forms("- {name}", "| removed | {name} |", f"{MINUS} {{name}}"),
        "added": Forms("+ {name}", "| added | {name} |", "+ {name}"),
    },
)
CONSTRAINTS = Section(
    title=Forms("constraints", "requirements", "Constraints"),
    headings=REQUIREMENTS.headings,
    rows=lambda difference: _lines(difference.constraints),
    templates={
        "removed": Forms("- {name}", "| constraint removed | {name} |", f"{MINUS} {{name}}"),
        "added": Forms("+ {name}", "| constraint added | {name} |", "+ {name}"),
    },
)
SETTINGS = Section(
    title=Forms("target, proof and tool", "target, proof and tool", "Settings"),
    headings=("", "old", "new"),
    rows=_settings,
    sorted=False,
    templates=dict.fromkeys(("added", "removed", "changed"), Forms(_PAIR, _TWO_CELLS, _PAIR)),
)
RELIEFS = Section(
    title=Forms("needs of the system", "no longer needed of the system", "No longer needed of the image"),
    headings=("need",),
    rows=_reliefs,
    templates={
        "fell": Forms("needs {new} only, was {old}", "| {line} |", "{old} → {new}"),
        "gone": Forms("no longer needs {old}", "| {line} |", "{old} → {new}"),
        "library": Forms("no longer needs {old}", "| {line} |", "{old}"),
    },
)
ENTRY_POINTS = Section(
    title=Forms("entry points", "entry points", "Entry points"),
    headings=("distribution", "entry point", "old", "new"),
    rows=_entry_points,
    sorted=False,
    templates={
        "added": Forms("+ {name} ({distribution})", _FOUR_CELLS, _PAIR),
        "removed": Forms("- {name} ({distribution})", _FOUR_CELLS, _PAIR),
        "changed": Forms("~ {name} ({distribution}): {old} → {new}", _FOUR_CELLS, _PAIR),
    },
)
NATIVE = Section(
    title=Forms("native libraries", "native libraries", "Native files"),
    headings=("distribution", "old", "new"),
    rows=_native,
    templates={
        "added": Forms("+ {new}", _THREE_CELLS, "+ {new_file} ({distribution})"),
        "removed": Forms("- {old}", _THREE_CELLS, f"{MINUS} {{old_file}} ({{distribution}})"),
        "changed": Forms("", _THREE_CELLS, "{old_file} → {new_file} ({distribution})"),
    },
)
SECTIONS = (LICENCES, REQUIREMENTS, CONSTRAINTS, SETTINGS, RELIEFS, ENTRY_POINTS, NATIVE)
"""What stands below findings and distributions in text and Markdown: what a reviewer needs most is first."""
PAGE_SECTIONS = (RELIEFS, REQUIREMENTS, CONSTRAINTS, LICENCES, NATIVE, ENTRY_POINTS, SETTINGS)
"""The same in the order of the page."""


def clean(text: str, limit: int = LONGEST_VALUE) -> str:
    """Return text that a terminal shows as it is: one line, no control or invisible characters, not long.

    Names, licences and causes come from wheels: an escape sequence in one could hide lines of the output.
    """
    shown = "".join(
        one if one.isprintable() else " " if one.isspace() else f"\\u{ord(one):04x}"
        for one in text[: limit * 4]
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def growth(count: int | None) -> str:
    """Return bytes with a sign; empty for none and for not known."""
    return f"{'+' if count > 0 else '-'}{in_units(abs(count))}" if count else ""


def headline(difference: Difference) -> str:
    """Return one line: how many distributions changed in which way, the size, the files."""
    parts = [f"{len(found)} {way}" for way in SIGNS if (found := difference.of(way))]
    text = ", ".join(parts) or "no distribution changed"
    old, new = difference.old, difference.new
    if old.size is not None and new.size is not None:
        if more := growth(difference.growth):
            text += f"; {in_units(old.size)} → {in_units(new.size)} ({more})"
        else:
            text += f"; {in_units(new.size)}"
    counts = [f"{number} {way}" for way, number in difference.files.counts if number]
    return f"{text}; files: {', '.join(counts)}" if counts else text


def ordered(changes: Iterable[DistributionChange]) -> list[DistributionChange]:
    """Sort changes: added and removed first, then by how much the version changed."""
    ways = list(SIGNS)
    return sorted(changes, key=lambda one: (ways.index(one.change), _STEPS.index(one.step), one.name))


def notes(change: DistributionChange, show: Callable[[str], str], *, why: bool) -> str:
    """Return what a change of a distribution is besides its versions, in words.

    :param show: makes a value harmless for the form.
    :param why: say as well what brings it in.
    """
    found: list[tuple[str, str]] = []
    if change.step == "major":
        found.append(("major", ""))
    old, new = change.old, change.new
    if old is not None and new is not None:
        found += [_note(what, old, new) for what in change.what if what != "version"]
    elif new is not None:
        found += [_yanked(new)] if new.yanked is not None else []
        found += [("built from source", "")] if new.built_from else []
    if why:
        found.append(_reason(change))
    return ", ".join(f"{words} {show(value)}" if value else words for words, value in found if words)


def _reason(change: DistributionChange) -> tuple[str, str]:
    """Return why a distribution is there, as words and a value; empty words: nobody knows."""
    was = "was " if change.new is None else ""
    if len(change.chain) > 1:
        return f"{was}brought in by", " → ".join(change.chain)
    release = change.new or change.old
    asked = change.chain and release is not None and release.requested
    return (f"{was}asked for", "") if asked else ("", "")


def _note(what: str, old: Release, new: Release) -> tuple[str, str]:
    """Return our words for a difference between two releases, and a value that somebody else wrote."""
    match what:
        case "file":
            same = old.filename == new.filename or not (old.filename and new.filename)
            return "the same version, another file:", _hashes(old, new) if same else f"{new.filename}"
        case "source":
            return "from", f"{old.source} → {new.source}"
        case "index":
            return "index", f"{old.index} → {new.index}"
        case "commit":
            return "commit", f"{_short(old.commit)} → {_short(new.commit)}"
        case "build":
            return "built from source" if new.built_from else "no longer built from source", ""
        case "requested":
            return "asked for now" if new.requested else "no longer asked for", ""
        case "extras":
            return "extras", f"{', '.join(old.extras) or 'none'} → {', '.join(new.extras) or 'none'}"
        case "yanked":
            return _yanked(new)
        case "publisher":
            before, after = (" and ".join(one.publishers) for one in (old, new))
            return ("publisher", f"{before} → {after}") if after else ("publisher no longer known:", before)
    return "", ""


def _yanked(new: Release) -> tuple[str, str]:
    return ("no longer yanked", "") if new.yanked is None else ("yanked:", new.yanked or "no reason given")


def _hashes(old: Release, new: Release) -> str:
    if len(old.hashes) == len(new.hashes) == 1:
        return f"{_short(old.hashes[0])} → {_short(new.hashes[0])}"
    return f"{len(old.hashes)} → {len(new.hashes)} hashes"


def _short(digits: str | None) -> str:
    return (digits or "")[:SHORT_HASH]


def severity(one: Finding) -> str:
    """Return the severity of a finding, and whether it is accepted."""
    return f"{one.severity}, accepted" if one.accepted is not None else one.severity


def names(found: Sequence[str], *, most: int = NAMES) -> str:
    """Return the first names of a list, and how many more there are."""
    rest = len(found) - most
    return ", ".join(found[:most]) + (f" and {rest} more" if rest > 0 else "")


def not_compared(difference: Difference) -> str:
    """Return which aspects were not compared, and why; empty: all were."""
    what = ", ".join(ASPECTS[one][0] for one in difference.not_compared)
    who = (
        "a lock does not tell" if difference.old.kind != difference.new.kind else "only one of the two tells"
    )
    return f"not compared, since {who} it: {what}" if what else ""
