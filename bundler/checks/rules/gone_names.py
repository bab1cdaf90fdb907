"""EB201 for what is asked for and needs names that another distribution of the bundle no longer has.

`import rest_framework` of 3.9 works with Django 4: its package imports nothing, and nearly all below it needs
`django.utils.six`, which is gone. To import that takes the service's settings; its source tells it without.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from bundler.checks.rules.codes import finding
from bundler.checks.rules.root_causes import SO_DOES
from bundler.model import Finding, Lock, WheelFacts
from bundler.wheels.import_lines import is_aside

MOST_BYTES = 1 << 20
"""A larger file is a table of data."""
MOST = 0.5
"""What of a distribution's source must import, or else it is of no use."""
SHOWN = 4
"""Names that a finding lists."""
_WORD = re.compile(rb"\w+")
_UNSURE = re.compile(
    rb"\b(__getattr__|__path__|__dict__|__class__|__import__|importlib|globals|locals|vars|exec|eval|setattr"
    rb"|sys\.modules|meta_path|declare_namespace)\b|import[ \t]+\*"
)
"""What can give a module names, and a package modules, that do not stand in its source."""
_MAKES = re.compile(
    rb"\bsys\.meta_path\b|\bsys\.modules\[[^\]\n]*\][^\S\n]*=(?!=)|\bsys\.modules\.(update|setdefault)\("
)
"""What makes modules of which nobody knows the names: all of `tlz` (toolz) is made by `tlz._build_tlz`."""


@dataclass(frozen=True, kw_only=True, order=True)
class Gone:
    """An import that fails whatever the settings are: another distribution of the bundle has no such name."""

    importer: str
    """The module that imports it."""
    path: str
    """Its file, relative to site-packages."""
    line: int
    source: str
    module: str
    """The module that lacks the name."""
    name: str
    below: bool
    """It is imported as a module: `import module.name`."""
    culprit: str
    """The distribution of the module that lacks it."""

    @property
    def text(self) -> str:
        """The last line of the traceback."""
        if self.below:
            return f"ModuleNotFoundError: No module named '{self.module}.{self.name}'"
        return f"ImportError: cannot import name {self.name!r} from {self.module!r}"

    def ends(self, traceback: str) -> bool:
        """Tell whether this is the import with which a traceback ends."""
        last = traceback.rpartition("\n")[2].partition(" (")[0]
        return last == self.text and f'File "{self.path}"' in traceback


class Sources:
    """The modules of a bundle and what their source says."""

    def __init__(
        self, facts: Mapping[str, WheelFacts], *, site_packages: str, read: Callable[[str, str], bytes]
    ) -> None:
        """Begin with nothing read.

        :param facts: normalised name → facts of its wheel.
        :param site_packages: relative to the prefix.
        :param read: returns a file of a distribution: normalised name, path relative to the prefix.
        """
        self.facts = facts
        self.site_packages = site_packages
        self._read = read
        self._words: dict[str, frozenset[bytes] | None] = {}
        self._known: dict[str, dict[str, str]] = {}
        self._makers: dict[str, bool] = {}

    @functools.cached_property
    def _owners(self) -> dict[str, list[str]]:
        """Top-level name → the distributions that have something below it."""
        found: dict[str, list[str]] = {}
        for name, one in self.facts.items():
            for top in {module.partition(".")[0] for module in one.modules}:
                found.setdefault(top, []).append(name)
        return found

    def _modules(self, name: str) -> dict[str, str]:
        """The modules of a distribution → path of the source; empty: a folder, or machine code."""
        if name not in self._known:
            found: dict[str, str] = {}
            for path in self._inside(name):
                folder, _, file = path.rpartition("/")
                stem, _, suffix = file.partition(".")
                module = folder if stem == "__init__" else f"{folder}/{stem}".lstrip("/")
                if suffix == "py" and found.get(module) != "!":
                    found[module] = path
                elif file.endswith((".so", ".pyc")):
                    found[module] = "!"  # what it has cannot be read; machine code goes before a source
                while folder and folder not in found:
                    found[folder] = ""
                    folder = folder.rpartition("/")[0]
            self._known[name] = {module.replace("/", "."): path.strip("!") for module, path in found.items()}
        return self._known[name]

    def _inside(self, name: str) -> Iterator[str]:
        start = len(self.site_packages) + 1
        for file in self.facts[name].files:
            if file.path.startswith(f"{self.site_packages}/") and "/__pycache__/" not in file.path:
                yield file.path[start:]

    def owners(self, module: str) -> dict[str, str]:
        """Return who brings a module, with the path of its source; of a namespace, several do."""
        tops = self._owners.get(module.partition(".")[0], ())
        return {name: self._modules(name)[module] for name in tops if module in self._modules(name)}

    def read(self, name: str, path: str) -> bytes:
        """Return a file of a distribution; the path is relative to site-packages."""
        return self._read(name, f"{self.site_packages}/{path}")

    def code(self, name: str) -> dict[str, str]:
        """Return the modules of a distribution that a service may import, with the paths of their sources."""
        sizes = {file.path: file.size for file in self.facts[name].files}
        return {
            module: path
            for module, path in self._modules(name).items()
            if path and not is_aside(path) and sizes[f"{self.site_packages}/{path}"] <= MOST_BYTES
        }

    def lacking(self, module: str, name: str = "") -> tuple[str, str] | None:
        """Return the module that lacks what is imported, and what it lacks; `None`: that is not certain.

        :param name: what is imported from the module; empty: the module itself is.
        """
        above, lacks = module, name
        while above and not self.owners(above):
            above, _, lacks = above.rpartition(".")
        if not above or not lacks or self.owners(f"{above}.{lacks}"):
            return None
        words = self._words_of(above)
        return None if words is None or lacks.encode() in words else (above, lacks)

    def _words_of(self, module: str) -> frozenset[bytes] | None:
        """Every word of a module's source; `None`: what it has need not stand there."""
        if module not in self._words:
            owners = self.owners(module)
            source = b"\n".join(self.read(name, path) for name, path in owners.items() if path)
            sure = owners and all(owners.values()) and not _UNSURE.search(source)
            self._words[module] = frozenset(_WORD.findall(source)) if sure else None
        return self._words[module]

    def makes_modules(self, name: str) -> bool:
        """Tell whether a distribution makes modules, or replaces its own, while it is imported."""
        if name not in self._makers:
            data = (self.read(name, path) for path in self._modules(name).values() if path)
            self._makers[name] = any(_MAKES.search(one) for one in data)
        return self._makers[name]

    def given(self, names: Collection[str]) -> frozenset[str]:
        """Return which of the names any code puts into another module: `encoding.force_text = force_str`."""
        if not names:
            return frozenset()
        wanted = [name.encode() for name in sorted(names)]
        words = rb"(%s)" % b"|".join(map(re.escape, wanted))
        line = re.compile(
            rb"(?<!\bself)(?<!\bcls)\.%s[ \t]*=(?!=)|\bsetattr\([^()\n]*['\"]%s['\"]" % (words, words)
            + rb"|\bmodules\[[^\]\n]*\b%s['\"]\]" % words
        )
        found: set[bytes] = set()
        for one in self.facts:
            for path in self.code(one).values():
                data = self.read(one, path)
                if any(name in data for name in wanted):  # six times as fast as to ask the expression
                    found.update(*line.findall(data))
        return frozenset(name.decode() for name in found)


def check(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    *,
    site_packages: str,
    read: Callable[[str, str], bytes],
    told: Collection[str],
    service: Collection[str] | None,
    settled: Mapping[str, str] | None = None,
) -> Iterator[Finding]:
    """Report what is asked for and imports names that are gone: an error where most of it needs them (EB201).

    What a reached import loads has been imported; this is about what none of them loads.

    :param facts: normalised name → facts of its wheel.
    :param site_packages: relative to the prefix.
    :param read: returns a file of a distribution: normalised name, path relative to the prefix.
    :param told: normalised names of distributions whose main modules do not import, which is told already.
    :param service: what the service's own code imports, `a.b:c` for `from a.b import c`; `None`: not known.
    :param settled: module that asks for settings → the import error with which it ends once it has some.
    """
    sources = Sources(facts, site_packages=site_packages, read=read)
    seeming = {name: _gone(name, sources) for name in lock.roots if name in facts and name not in told}
    # Every source of the bundle is read for this: once for all of them.
    given = sources.given({one.name for some in seeming.values() for one in some})
    for name, some in seeming.items():
        first = [one for one in some if one.name not in given]
        if not first:
            continue
        modules = _failing(name, first, sources)
        code = sources.code(name)
        sizes = {module: len(sources.read(name, path)) for module, path in code.items()}
        share = sum(sizes[module] for module in modules) / sum(sizes.values())
        used = service is None or any(
            part in modules for one in service for part in (one.partition(":")[0], one.replace(":", "."))
        )
        told_here = _finding(name, first, share, used=used, lock=lock, sources=sources)
        same = [module for module, text in (settled or {}).items() if any(one.ends(text) for one in first)]
        also = "; ".join(SO_DOES.format(module) for module in sorted(same))
        yield replace(told_here, cause=f"{told_here.cause}\nthe same stops: {also}") if also else told_here


def _gone(name: str, sources: Sources) -> list[Gone]:
    """Return the imports at the top of a distribution's modules of names that are nowhere, sorted."""
    seeming = False
    for row in sources.facts[name].imported_names:
        module, *names = row.split(" ")
        seeming = seeming or any(_culprit(name, module, one, sources) for one in names or [""])
    if not seeming:
        return []
    found = []
    for module, path in sources.code(name).items():
        data = sources.read(name, path)
        for node, other, one in _imports(data, module, package=path.endswith("/__init__.py")):
            lack = sources.lacking(other, one)
            culprit = _culprit(name, other, one, sources)
            if lack and culprit:
                found.append(
                    Gone(
                        importer=module,
                        path=f"{sources.site_packages}/{path}",
                        line=node.lineno,
                        source=data.splitlines()[node.lineno - 1].decode("utf-8", "replace").strip(),
                        module=lack[0],
                        name=lack[1],
                        below=lack[0] != other,
                        culprit=culprit,
                    )
                )
    return sorted(found)


def _culprit(name: str, module: str, one: str, sources: Sources) -> str:
    """Return the other distribution that lacks what a distribution imports; empty: none does for sure."""
    lack = sources.lacking(module, one)
    owners = list(sources.owners(lack[0])) if lack else []
    known = owners and name not in owners and not any(map(sources.makes_modules, owners))
    return owners[0] if known else ""


def _imports(data: bytes, module: str, *, package: bool) -> list[tuple[ast.stmt, str, str]]:
    """The imports that always run: statement, absolute module, and name (empty: the module itself)."""
    try:
        body = ast.parse(data).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[tuple[ast.stmt, str, str]] = []
    for node in body:
        if isinstance(node, ast.Import):
            found += [(node, one.name, "") for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            kept = above[: len(above) - node.level + int(package)] if node.level else []
            origin = ".".join([*kept, *([node.module] if node.module else [])])
            found += [(node, origin, one.name) for one in node.names if one.name != "*"]
            found += [(node, origin, "") for one in node.names if one.name == "*"]
    return found


def _failing(name: str, first: Collection[Gone], sources: Sources) -> frozenset[str]:
    """Return the modules that do not import: these, what is below them, and what imports them at its top."""
    needs: dict[str, set[str]] = {}
    for module, path in sources.code(name).items():
        wanted = {module.rpartition(".")[0]}
        for _, other, one in _imports(
            sources.read(name, path), module, package=path.endswith("/__init__.py")
        ):
            wanted |= {other, f"{other}.{one}" if one else other}
        needs[module] = {part for one in wanted for part in _with_parents(one)} - {module}
    failed = {one.importer for one in first}
    while more := {module for module, wanted in needs.items() if module not in failed and wanted & failed}:
        failed |= more
    return frozenset(failed)


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _finding(
    name: str, first: list[Gone], share: float, *, used: bool, lock: Lock, sources: Sources
) -> Finding:
    """What one distribution lacks of others: the name that most of its modules want is shown."""
    counted = Counter((one.module, one.name) for one in first)
    shown = next(one for one in first if (one.module, one.name) == counted.most_common(1)[0][0])
    others = [f"{lacking} of {module}" for (module, lacking), _ in counted.most_common(SHOWN + 1)[1:]]
    culprit = f"{shown.culprit} {sources.facts[shown.culprit].version}"
    own = f"{name} {sources.facts[name].version}"
    most = share > MOST
    cause = (
        f"{name} is asked for, and {share:.0%} of its source does not import, whatever the settings are, "
        f"since {culprit} has no {shown.module}.{shown.name}"
        f"{', nor ' + ', '.join(others) if others else ''}:\n"
        f'File "{shown.path}", line {shown.line}, in <module>\n  {shown.source}\n{shown.text}'
    )
    unless = f"if the service itself puts there what is missing: --ignore EB201:{shown.importer}"
    if not most:
        unless = f"nothing, unless the service imports {shown.importer}"
    remedy = f"take a release of {name} that is made for {culprit}, or an older {shown.culprit} for {own}"
    return finding(
        "EB201",
        subject=shown.importer,
        cause=cause,
        remedy=f"{remedy}; {unless}" if most else f"{unless}: then {remedy}",
        lock=lock,
        name=name,
        severity="info" if not most else "error" if used else "warning",
    )
