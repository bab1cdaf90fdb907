"""Which imports the service would make: what of a bundle must import, and for whose sake.

An import that fails is an error where the service reaches it. Reached are the main modules of the requested
distributions, the targets of their scripts, what the service's own code imports, and all that these import.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from packaging.utils import canonicalize_name

from bundler.checks.imports import service_code
from bundler.checks.imports.service_code import CodeImport
from bundler.model import Lock, LockedDistribution, Obligation, WheelFacts
from bundler.wheels.facts import NAMESPACE_SIZE

TESTS = frozenset({"test", "tests", "testing", "conftest"})
NOT_PARTS = frozenset({"__main__", "setup", "contrib", "plugins"})
"""Names below a package that are for others' sake, or that a tool runs."""
SHIM = 0.1
"""A top-level module with less than this share of the code of the largest one is no main module: wheels ship
aliases (`tritonhttpclient`), plug-ins of other tools (`pylint_plugins`) and helpers beside their own."""
ENTERED = 3
"""Levels of empty packages that are entered below an empty main package."""
GIVEN_BACK = {"distutils": "setuptools"}
"""Module that Python no longer has → module that brings it once somebody has imported that one."""
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
_DEVELOPMENT = frozenset(
    {"babel", "distutils", "flake8", "hatch", "hypothesis", "lingua", "mkdocs", "mypy", "nbconvert", "nose"}
    | {"pip", "pylint", "pytest", "setuptools", "sphinx", "tox", "virtualenv"}
)
"""First words of the groups of entry points that tools of developers load, and no service."""
_ENTRY_POINT = re.compile(
    r"(?P<group>[^:]+): (?P<name>.+?) *= *(?P<module>[\w.]+) *(?:: *(?P<object>\w*)[^\[]*)?"
    r"(?P<extras>\[[^\]]*\])?"
)


def main_modules(facts: WheelFacts, *, site_packages: str, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the modules for whose sake a distribution is asked for, sorted.

    The module that bears the distribution's name, else those that its metadata names, else the public ones
    that hold its code.

    :param site_packages: relative to the prefix.
    :param named: what Import-Name (PEP 794) or top_level.txt of the distribution says.
    """
    own = canonicalize_name(facts.name)
    bearing = tuple(module for module in facts.modules if canonicalize_name(module) == own)
    if bearing:
        return bearing
    tops = set(named)
    public = [module for module in facts.modules if _is_public(module)]
    told = [module for module in public if module in tops or module.partition(".")[0] in tops]
    code = _code_sizes(facts, told or public, site_packages)
    largest = max(code.values(), default=0)
    return tuple(sorted(module for module, size in code.items() if size >= largest * SHIM))


def _is_public(module: str) -> bool:
    parts = module.split(".")
    last = parts[-1]
    tests = last in TESTS or last.endswith("tests")  # libsass has sasstests.py at its top
    return not any(part.startswith("_") for part in parts) and not tests


def _code_sizes(facts: WheelFacts, modules: Iterable[str], site_packages: str) -> dict[str, int]:
    """Bytes of source and machine code of each module."""
    sizes = {}
    for module in modules:
        inner = f"{site_packages}/{module.replace('.', '/')}"
        sizes[module] = sum(
            file.size
            for file in facts.files
            if file.path.startswith((f"{inner}/", f"{inner}.")) and not file.path.endswith(".pyc")
        )
    return sizes


def _below(
    name: str,
    main: Iterable[str],
    facts: WheelFacts,
    *,
    site_packages: str,
    read: Callable[[str, str], bytes],
) -> tuple[str, ...]:
    """Return what is below the main modules, if all are empty packages; else nothing.

    If all of that is empty as well, it is entered in its turn (`grpc_health.v1`).
    """

    def empty(module: str) -> bool:
        init = f"{site_packages}/{module.replace('.', '/')}/__init__.py"
        small = any(file.path == init and file.size <= NAMESPACE_SIZE for file in facts.files)
        return small and is_empty(read(name, init))

    def entered(module: str, depth: int) -> tuple[str, ...]:
        everything = _all_parts(facts, module, site_packages)
        if not depth or not all(map(empty, everything)):
            return parts(facts, module, site_packages=site_packages)
        return tuple(inner for one in everything for inner in entered(one, depth - 1) or (one,))

    packages = tuple(main)
    if not all(map(empty, packages)):
        return ()
    return tuple(part for module in packages for part in entered(module, ENTERED))


def parts(facts: WheelFacts, package: str, *, site_packages: str) -> tuple[str, ...]:
    """Return the public modules right below a package that hold its code, sorted.

    :param site_packages: relative to the prefix.
    """
    found = _all_parts(facts, package, site_packages)
    sizes = _code_sizes(facts, found, site_packages)
    largest = max(sizes.values(), default=0)
    return tuple(module for module in found if sizes[module] >= largest * SHIM)


def _all_parts(facts: WheelFacts, package: str, site_packages: str) -> tuple[str, ...]:
    """Return the public modules right below a package, tiny ones too, sorted."""
    folder = f"{site_packages}/{package.replace('.', '/')}/"
    paths = {file.path.removeprefix(folder) for file in facts.files if file.path.startswith(folder)}
    code = [path for path in paths if path.endswith((".py", ".so"))]
    heads = {path.partition("/")[0] for path in code if "/" not in path or _init_of(path) in paths}
    names = {head.partition(".")[0] for head in heads}
    public = sorted(name for name in names if _is_public(name) and name not in NOT_PARTS)
    return tuple(f"{package}.{name}" for name in public)


def _init_of(path: str) -> str:
    return f"{path.partition('/')[0]}/__init__.py"


def is_empty(source: bytes) -> bool:
    """Tell whether the `__init__.py` of a package has no code: texts and names like `__version__` alone.

    They may come from a module beside it (`from .about import __version__`).
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(says_nothing(one) or _names_the_release(one) for one in body)


def _names_the_release(one: ast.stmt) -> bool:
    """Tell whether a statement imports names like `__version__` alone from a module beside it."""
    if not isinstance(one, ast.ImportFrom) or not one.level:
        return False
    return all(alias.name.startswith("__") and alias.name.endswith("__") for alias in one.names)


def says_nothing(one: ast.stmt) -> bool:
    """Tell whether a statement is a text, a name like `__version__` or a `__future__` import."""
    if isinstance(one, ast.Expr):
        return isinstance(one.value, ast.Constant)
    if isinstance(one, ast.Assign) and isinstance(one.value, (ast.Constant, ast.List, ast.Tuple)):
        return all(isinstance(name, ast.Name) and name.id.startswith("__") for name in one.targets)
    return isinstance(one, ast.ImportFrom) and one.module == "__future__"


def obligations(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    *,
    site_packages: str,
    named: Mapping[str, Sequence[str]],
    read: Callable[[str, str], bytes],
) -> tuple[Obligation, ...]:
    """Return what must import for the sake of what was asked for, one entry a process.

    Nobody imports an empty main package alone (Wand, tritonclient): what is right below it is one optional
    entry. If most of that fails, the distribution is of no use.

    :param facts: normalised name → facts of its wheel.
    :param site_packages: relative to the prefix.
    :param named: normalised name → what Import-Name or top_level.txt of the distribution says.
    :param read: returns a file of a distribution: normalised name, path relative to the prefix.
    """
    by_name = {dist.name: dist for dist in lock.distributions}
    found = []
    for name in lock.roots:
        if name not in facts:
            continue
        main = main_modules(facts[name], site_packages=site_packages, named=named.get(name, ()))
        if main:
            apps = _django_apps(name, main, facts, site_packages=site_packages, read=read)
            modules = (*main, *apps)
            found.append(
                Obligation(kind="main", subject=name, modules=modules, reason=f"{name} is asked for")
            )
        below = _below(name, main, facts[name], site_packages=site_packages, read=read)
        if below:
            reason = f"{name} is asked for, whose package is empty and of use only for what is below"
            found.append(Obligation(kind="main", subject=name, modules=below, reason=reason, optional=True))
        found += _scripts(facts[name], by_name[name])
        found += _plug_ins(facts[name], by_name[name], facts)
    return tuple(found)


def _django_apps(
    name: str,
    main: Iterable[str],
    facts: Mapping[str, WheelFacts],
    *,
    site_packages: str,
    read: Callable[[str, str], bytes],
) -> tuple[str, ...]:
    """Return the modules that `django.setup()` imports where the main packages are installed apps.

    An app's own package is mostly empty: django-mptt 0.9 imports with Django 4, and nobody can start with it.
    """
    if "django" not in facts or name == "django":
        return ()
    paths = {file.path for file in facts[name].files}
    found = {f"{module}.apps": f"{site_packages}/{module.replace('.', '/')}/apps.py" for module in main}
    return tuple(
        module for module, path in found.items() if path in paths and b"AppConfig" in read(name, path)
    )


def _scripts(facts: WheelFacts, dist: LockedDistribution) -> list[Obligation]:
    """The targets of a distribution's scripts.

    A service is started by the script that bears the distribution's name, or by its only one; others are
    helpers, and so is one whose module the distribution does not bring (yfinance's `sample`) or whose name
    adds a task to the distribution's (`dash-generate-components`). What stands behind an extra (`[d]`) counts
    where that extra is asked for.
    """
    targets: dict[str, list[str]] = {}
    for match in _entry_points(facts, dist):
        if match["group"] in _SCRIPT_GROUPS:
            targets.setdefault(match["module"], []).append(match["name"])
    own = {module.partition(".")[0] for module in facts.modules}
    single = sum(map(len, targets.values())) == 1 and all(one.partition(".")[0] in own for one in targets)
    single = single and not any(
        canonicalize_name(name).startswith(f"{dist.name}-") for names in targets.values() for name in names
    )
    return [
        Obligation(
            kind="script",
            subject=dist.name,
            modules=(module,),
            reason=f"the script {names[0]} of {dist.name} starts there",
            optional=not single and all(canonicalize_name(name) != dist.name for name in names),
        )
        for module, names in targets.items()
    ]


def _plug_ins(
    facts: WheelFacts, dist: LockedDistribution, everything: Mapping[str, WheelFacts]
) -> list[Obligation]:
    """What other distributions of the bundle load by the entry points of this one, as one obligation.

    They may be all that it is asked for: the main package of opentelemetry-exporter-otlp is empty.
    """
    others = [one for name, one in everything.items() if name != dist.name]
    known = {canonicalize_name(one.name) for one in others}
    tops = {module.partition(".")[0].lower() for one in others for module in one.modules}
    tops -= {module.lower() for module in facts.modules}  # mlflow, of which mlflow-skinny has a copy
    loaded: dict[str, str] = {}
    for match in _entry_points(facts, dist):
        words = re.split(r"[._-]", match["group"].lower())
        names = {"-".join(words[:end]) for end in range(1, len(words) + 1)}
        if match["object"] and words[0] not in _DEVELOPMENT and (names & known or words[0] in tops):
            loaded.setdefault(f"{match['module']}:{match['object']}", match["group"])
    if not loaded:
        return []
    groups = ", ".join(dict.fromkeys(loaded.values()))
    reason = f"an entry point of {dist.name} ({groups}) names it"
    modules = tuple(loaded)
    return [Obligation(kind="script", subject=dist.name, modules=modules, reason=reason, optional=True)]


def _entry_points(facts: WheelFacts, dist: LockedDistribution) -> Iterator[re.Match[str]]:
    """The entry points of a distribution whose extras are asked for."""
    asked = {canonicalize_name(extra) for extra in dist.extras}
    for entry in facts.entry_points:
        match = _ENTRY_POINT.fullmatch(entry)
        named = re.findall(r"[\w.-]+", match["extras"] or "") if match else []
        if match and {canonicalize_name(extra) for extra in named} <= asked:
            yield match


def service_obligations(
    imports: Sequence[CodeImport], facts: Mapping[str, WheelFacts], *, standard: Collection[str]
) -> tuple[tuple[Obligation, ...], tuple[CodeImport, ...]]:
    """Return what must import for the sake of the service's own code, and the imports that nothing brings.

    The service is one process: all that it imports is one obligation, in the order of its code. So the
    imports decide whether what gives a module back was imported before.

    :param facts: normalised name → facts of its wheel.
    :param standard: names of the top-level modules of the target's standard library.
    """
    brought = {module.partition(".")[0] for one in facts.values() for module in one.modules}
    brought |= {module for module, giver in GIVEN_BACK.items() if giver in brought}
    there = brought | set(standard)
    needed = [one for one in service_code.needed(imports, there) if one.top not in standard]
    places: dict[str, str] = {}
    for one in needed:
        if one.top in brought:
            for module in [f"{one.module}:{name}" for name in one.names] or [one.module]:
                places.setdefault(module, one.where)
    first = {one.top: one for one in reversed(needed) if one.top not in brought and not one.own}
    if not places:
        return (), tuple(first.values())
    obligation = Obligation(
        kind="service",
        subject=needed[0].where.rpartition(":")[0],
        modules=tuple(places),
        reason="the service's own code imports it",
        places=tuple(places.values()),
    )
    return (obligation,), tuple(first.values())
