"""Which of the requested distributions are roots, and which modules a service imports of each.

This is written apart from envbundle's own rules, because it judges them.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NO_MODULES_OF_USE = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks", "scripts"}
)
SUFFIX = re.compile(r"(?:\.cpython-[0-9a-z_-]+|\.abi3)?\.(?:py|so)$")
AROUND = re.compile(r"^(?:python|py)-?|-?(?:python|py|binary|headless|cpu)$")
"""What a distribution's name has and its module's has not."""
DECLARES_NAMESPACE = re.compile(r"declare_namespace|extend_path")
MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
ENTERED = 4
"""Levels of namespace that are entered."""


def roots(
    requested: Iterable[str], installed: Mapping[str, metadata.Distribution], environment: Mapping[str, str]
) -> list[str]:
    """Return the requested distributions that no other requested one brings.

    :param requested: normalised names.
    :param installed: normalised name → distribution.
    :param environment: of the target, for markers.
    """
    names = [name for name in dict.fromkeys(requested) if name in installed]
    reach = {name: _reach(name, installed, environment) for name in names}
    return [
        name
        for name in names
        if not any(name in reach[other] and other not in reach[name] for other in names if other != name)
    ]


def installed_in(site: Path) -> dict[str, metadata.Distribution]:
    """Return what a folder has installed, by normalised name."""
    found = metadata.distributions(path=[str(site)])
    return {canonicalize_name(one.metadata["Name"]): one for one in found if one.metadata["Name"]}


def main_modules(distribution: metadata.Distribution, site: Path) -> list[str]:
    """Return the modules that a service imports of a distribution: that of its name, else all public ones."""
    packages = _packages(distribution, site)
    name = canonicalize_name(distribution.metadata["Name"])
    for wanted in (name, AROUND.sub("", name)):
        named = [one for one in packages if canonicalize_name(one) == wanted]
        if named:
            return named
    public = [one for one in packages if _is_of_use(one)]
    declared = (distribution.read_text("top_level.txt") or "").split()
    return [one for one in public if one.split(".")[0] in declared] or public


def _is_of_use(module: str) -> bool:
    first = module.split(".", maxsplit=1)[0]
    return not first.startswith("_") and first not in NO_MODULES_OF_USE and not first.endswith("tests")


def starting_module(distribution: metadata.Distribution) -> str | None:
    """Return the module where the script that bears the distribution's name starts (gunicorn, uvicorn)."""
    name = canonicalize_name(distribution.metadata["Name"])
    scripts = [entry for entry in distribution.entry_points if entry.group == "console_scripts"]
    for entry in scripts:
        if canonicalize_name(entry.name) == name and "[" not in entry.value:  # `[d]`: only with that extra
            return entry.value.partition(":")[0].strip()
    return None


def asks_for_an_extra(error: str, distribution: metadata.Distribution) -> bool:
    """Whether an error names an extra of the distribution, or a module that only one of its extras brings.

    A script that ends with it is of use with that extra alone, and nobody has asked for it.

    :param error: `ImportError: install PyLD[cli]`, `ModuleNotFoundError: No module named 'typer'`.
    """
    extras = distribution.metadata.get_all("Provides-Extra") or []
    if any(f"[{extra}]" in error for extra in extras):
        return True
    missing = MISSING.match(error)
    needs = [Requirement(text) for text in distribution.requires or ()] if missing else []
    rows = [one for one in needs if missing and canonicalize_name(one.name) == canonicalize_name(missing[1])]
    return bool(rows) and all("extra" in str(one.marker) for one in rows)


def _packages(distribution: metadata.Distribution, site: Path) -> list[str]:
    """The modules and packages of a distribution that are no mere namespace, outermost first."""
    files = sorted({file.as_posix() for file in distribution.files or () if not file.is_absolute()})
    code = [file for file in files if SUFFIX.search(file) and not file.startswith(("..", "__pycache__"))]
    found: dict[str, None] = {}
    for file in code:
        parts = SUFFIX.sub("", file).split("/")
        if not all(part.isidentifier() for part in parts):
            continue
        for depth in range(1, min(len(parts), ENTERED) + 1):
            folder = "/".join(parts[:depth])
            if depth == len(parts):
                if parts[-1] != "__init__":
                    found[".".join(parts)] = None
            elif f"{folder}/__init__.py" in files and not _is_namespace(site / folder / "__init__.py"):
                found[".".join(parts[:depth])] = None
                break
    return list(found)


def _is_namespace(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return len(text) < 4000 and DECLARES_NAMESPACE.search(text) is not None


def _reach(
    name: str, installed: Mapping[str, metadata.Distribution], environment: Mapping[str, str]
) -> set[str]:
    """All that a distribution requires, directly or through others, without extras."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        distribution = installed.get(waiting.pop())
        for text in (distribution.requires or ()) if distribution else ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            needed = canonicalize_name(requirement.name)
            applies = requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""})
            if applies and needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return seen
