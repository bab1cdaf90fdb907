"""The report of one bundle: from its manifest, with what changed and what imports cost where that is known.

Without these two it is the bundle's own `report.html`, a function of the manifest's content: it names no day,
machine or folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bundler.bundle import identities
from bundler.bundle.manifest.values import Manifest, ManifestDistribution
from bundler.checks.import_times import ImportTimes
from bundler.lazy_dataclass import dataclass
from bundler.model import FAMILIES
from bundler.report.compare.difference import Difference
from bundler.report.pages import graph, treemap
from bundler.report.pages.changes import changed
from bundler.report.pages.page import compile_templates, render
from bundler.report.pages.verdict import verdict

TEMPLATE = "bundle.html"
SHEET = (graph.WIDEST, 1600)
"""Width and height of the largest drawing of the graph that can be read on a sheet of paper (A4)."""
DOCUMENTS = {
    "pylock.toml": "The lock: every distribution with version, file and sha256 (PEP 751); "
    "`envbundle create --lock` makes the bundle of it again.",
    "requirements.lock": "The same lock for `pip install --require-hashes`.",
    "sbom.cdx.json": "The bill of materials (CycloneDX), for scanners of licences and vulnerabilities.",
    "verify.py": "Verifies the bundle where it runs: `python verify.py` needs the standard library only.",
    "constraints.txt": "What `envbundle create --mend` pinned besides the requirements, with the reasons.",
    "added-requirements.txt": "What `envbundle create --mend` added to the requirements, with the reasons.",
    "report.html": "This report, as it stands in the bundle.",
}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_EXTENSION = re.compile(r"\.(cpython-[\w-]+|abi3|pypy[\w-]+)\.so$")
_LONGEST_LICENCE = 70


@dataclass(frozen=True, kw_only=True)
class Native:
    """The native files of a distribution."""

    name: str
    extensions: int
    libraries: tuple[str, ...]
    """File names of its native files that are no extension modules: libraries and programs."""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A licence as METADATA spells it, and who has it."""

    text: str
    """Empty: METADATA says nothing."""
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Family:
    """How many checks of one family had which outcome."""

    title: str
    passed: int
    warned: int
    failed: int


def load() -> None:
    """Compile the template."""
    compile_templates(TEMPLATE, "_base.html", "_parts.html")


def bundle_html(
    manifest: Manifest,
    *,
    changes: Difference | None = None,
    import_times: ImportTimes | None = None,
    title: str = "",
    beside: bool = False,
) -> str:
    """Return the report of a bundle, a whole HTML file.

    :param manifest: read from a bundle, or as it will be written (then without the row of the report itself).
    :param changes: against an older bundle; `None`: with nothing compared.
    :param import_times: `None`: not measured.
    :param title: how the reader calls the bundle; by default what was asked for, since a bundle
        does not depend on the folder that it was made in.
    :param beside: the report stands in the bundle's folder, and may link to the other documents.
    """
    asked = _title(manifest.roots)
    distributions = _with_roots(manifest)
    keys = _keys(distributions)
    drawing = graph.draw(distributions)
    findings = sorted(manifest.findings, key=lambda one: one.rank)
    total = sum(file.size for file in manifest.files)
    attested = {one.document for one in manifest.attestations}
    return render(
        TEMPLATE,
        title=title or asked or "An empty bundle",
        asked=asked if title else "",
        frozen=sum(1 for dist in manifest.distributions if dist.requested) - len(manifest.roots),
        manifest=manifest,
        distributions=distributions,
        verdict=verdict(manifest),
        total=total,
        findings=[one for one in findings if one.accepted is None and one.severity != "info"],
        accepted=[one for one in findings if one.accepted is not None],
        remarks=[one for one in findings if one.accepted is None and one.severity == "info"],
        families=_families(manifest),
        changes=changed(changes) if changes is not None else None,
        treemaps=_treemaps(distributions, keys),
        chains=graph.chains(distributions),
        parents=graph.parents(distributions),
        keys=keys,
        graph=drawing,
        graph_prints=drawing.width <= SHEET[0] and drawing.height <= SHEET[1],
        natives=_natives(manifest),
        licences=_licences(manifest.distributions),
        times=import_times,
        documents=[
            (file, DOCUMENTS.get(file.path, "")) for file in manifest.documents if file.path not in attested
        ],
        publishers={one.name: identities.spellings(one.identities) for one in manifest.attestations},
        beside=beside,
    )


def _keys(distributions: Sequence[ManifestDistribution]) -> dict[str, str]:
    """Return name → fragment, which has the name in it if that is a valid one."""
    return {
        dist.name: f"d-{dist.name}" if _NAME.fullmatch(dist.name) else f"d-_{number}"
        for number, dist in enumerate(distributions)
    }


def _with_roots(manifest: Manifest) -> tuple[ManifestDistribution, ...]:
    """Return the distributions; of those that a frozen list names, only the roots count as requested."""
    roots = set(manifest.roots)
    return tuple(replace(dist, requested=dist.name in roots) for dist in manifest.distributions)


def _title(names: Sequence[str]) -> str:
    """Return names, cut to one line: `pandas, scipy, six and 3 more`."""
    shown = names if len(names) <= 4 else names[:3]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _families(manifest: Manifest) -> list[Family]:
    counts = Counter((check.code[:3], check.outcome) for check in manifest.checks)
    return [
        Family(
            title=title,
            passed=counts[code, "passed"],
            warned=counts[code, "warned"],
            failed=counts[code, "failed"],
        )
        for code, title in FAMILIES.items()
        if any(family == code for family, _ in counts)
    ]


def _treemaps(
    distributions: Sequence[ManifestDistribution], keys: Mapping[str, str]
) -> dict[str, treemap.Treemap]:
    """Return the treemap for a screen or paper, and the one for a phone held upright."""
    items = [
        treemap.Item(
            label=dist.name,
            bytes=dist.bytes,
            key=keys[dist.name],
            kind="requested" if dist.requested else "needed",
            parts=tuple(treemap.Item(label=one.name, bytes=one.bytes) for one in dist.contents),
        )
        for dist in distributions
    ]
    return {
        "wide": treemap.make(items, width=1040, height=560),
        "narrow": treemap.make(items, width=343, height=480, smallest=500),
    }


def _natives(manifest: Manifest) -> list[Native]:
    found = []
    for dist in manifest.distributions:
        if not dist.native:
            continue
        others = [path for path in dist.native if not _EXTENSION.search(path)]
        found.append(
            Native(
                name=dist.name,
                extensions=len(dist.native) - len(others),
                libraries=tuple(path.rpartition("/")[2] for path in others),
            )
        )
    return found


def _licences(distributions: Sequence[ManifestDistribution]) -> list[Licence]:
    """Group distributions by licence: the unknown first, then the most frequent.

    Of a licence that is a whole text only the first line counts.
    """
    groups: dict[str, tuple[str, list[str]]] = {}
    for dist in distributions:
        first = next((line.strip() for line in dist.licence.splitlines() if line.strip()), "")
        text = first if len(first) <= _LONGEST_LICENCE else f"{first[: _LONGEST_LICENCE - 1]}…"
        text = "" if text.casefold() in {"unknown", "none"} else text
        groups.setdefault(text.casefold(), (text, []))[1].append(dist.name)
    ordered = sorted(groups.values(), key=lambda group: (bool(group[0]), -len(group[1]), group[0]))
    return [Licence(text=text, names=tuple(names)) for text, names in ordered]
