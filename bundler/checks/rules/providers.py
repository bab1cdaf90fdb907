"""Which distribution or which Python brings a module: `providers.json`; where that has no row, the names.

What a machine may add to somebody's requirements is certain: a row says in which version of the distribution
the module was seen, and whose project that is. A name that is guessed may be anybody's on an index.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Annotated

from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.lazy_dataclass import dataclass
from bundler.system import json_values

TABLE = Path(__file__).with_name("providers.json")
GONE = {
    "_bootlocale": "3.10", "distutils": "3.12", "dummy_threading": "3.9", "formatter": "3.10", "imp": "3.12",
    "lib2to3": "3.13", "macpath": "3.8", "parser": "3.10", "symbol": "3.10",
}  # fmt: skip
"""Module of the standard library → the first Python without it (https://docs.python.org/3/whatsnew/), as far
as no distribution of an index gives it back on an import path. setuptools gives distutils back where its .pth
runs, or once somebody has imported setuptools: `import distutils` alone fails in a mounted folder (tried with
setuptools 80 and 84 on Python 3.12). What `standard-imghdr` and the like bring has rows in the table."""


_NEWER = (
    (re.compile(r"^TypeError: '(type|ABCMeta)' object is not subscriptable$"), "3.9", "list[str]"),
    (
        re.compile(r"^TypeError: unsupported operand type\(s\) for \|: '(type|NoneType|ABCMeta|_\w+)' and '"),
        "3.10",
        "int | None",
    ),
)
"""What an annotation ends with on an older Python, which evaluates it as its module is imported; the first
Python that has it (PEP 585, PEP 604); an example."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The distribution that brings a module."""

    module: str
    """Of a namespace that distributions share as far as one of them alone has it: `azure.identity`."""
    distribution: Annotated[str, r"[a-z0-9]+(-[a-z0-9]+)*"]
    """Normalised name."""
    source: str = ""
    """URL of the project, as the distribution's own metadata name it."""
    seen: str = ""
    """A version of it that was looked into and has the module; empty: the row is for advice alone, since
    nobody looked, there is more than one such distribution, or having it is not enough (`distutils`)."""


@functools.cache
def table() -> dict[str, Provider]:
    """Return the rows by module."""
    rows = (json_values.from_json(Provider, one) for one in json_values.load(TABLE))
    return {row.module: row for row in rows}


@functools.cache
def distributions() -> dict[str, str]:
    """Return module → distribution of every row; the rows themselves would take five times as long."""
    return {row["module"].text(): row["distribution"].text() for row in json_values.load(TABLE)}


def known(module: str) -> Provider | None:
    """Return who brings a module, or the nearest package above it; `None`: nobody looked.

    :param module: dotted, as far as it is known.
    """
    while module:
        if row := table().get(module):
            return row
        module = module.rpartition(".")[0]
    return None


def provider_of(module: str) -> str:
    """Return the normalised name of the distribution that brings a top-level module, as far as names tell."""
    row = table().get(module)
    return row.distribution if row else canonicalize_name(module)


def gone_since(module: str, python_version: str) -> str:
    """Return the Python that took a module out of its standard library; empty if it has it, or never had.

    :param module: its top-level name.
    """
    since = GONE.get(module, "")
    return since if since and Version(python_version) >= Version(since) else ""


def of_an_older_python(module: str, python_version: str, *, importer: str) -> str:
    """Say what to do where a module is missing that the standard library had; empty if it never had it.

    :param module: its top-level name.
    :param importer: the distribution that imports it; may be empty.
    """
    since = gone_since(module, python_version)
    if not since:
        return ""
    remedy = f"pin a version of {importer or 'what imports it'} that works without it, or use an older Python"
    if module == "distutils":
        remedy += (
            "; setuptools in the requirements does not help: its .pth, which brings another one, does not "
            "run in a mounted folder (a service that imports setuptools first finds it: name it with --entry)"
        )
    return f"Python has no {module} since {since}: {remedy}"


def of_a_newer_python(said: str, python_version: str, *, importer: str) -> str | None:
    """Say what to do where an annotation needs a later Python; `None` where it is not that.

    :param said: the line of the exception.
    :param importer: the distribution that has it; may be empty.
    """
    for pattern, since, example in _NEWER:
        if pattern.search(said) and Version(python_version) < Version(since):
            return f"it is written for Python {since} (`{example}`): pin an older {importer or 'release'}"
    return None


def advised(module: str) -> str:
    """Say what to add to the requirements for a module, and whether the name is certain."""
    row = known(module)
    if row is None:
        return (
            f"the distribution that brings {module} (its name is not known here; what an index has under "
            "that of the module may be another one)"
        )
    return row.distribution
