"""Keeps the evidence of imports, and gives it again for the same tree, interpreter and machine.

Evidence is kept only where it is whole: everything imported, from the bundle itself, in a room that held. It
is given only for a tree with the same digest, which is taken from the files as they are now, and only while
every file outside of the tree whose code was loaded is the one that was loaded.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bundler.bundle import standalone
from bundler.bundle.tree import Tree
from bundler.checks.imports.evidence import SYSTEM, ImportEvidence, import_modules
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, Interpreter, Obligation, RoomLimits
from bundler.ontarget import import_in_forks, imports, isolate
from bundler.ontarget.checksums import tree_digest
from bundler.system import files, json_values, room
from bundler.system.room import CONFINED
from bundler.wheels import elf
from bundler.wheels.store import Store

WHOLE = frozenset({"moved", *CONFINED})
_MULTIARCH = f"{platform.machine()}-linux-gnu"
LOADER = (
    "/etc/ld.so.cache",
    *(folder.rstrip("/") for folder in SYSTEM),
    *(f"{folder}/{_MULTIARCH}" for folder in ("/lib", "/usr/lib")),
)
"""Paths whose status changes when a library of the system is added or removed, by a package or by hand."""


class NotKeptError(Exception):
    """No evidence is kept."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What is written down."""

    evidence: ImportEvidence
    stamps: str
    """Hash of the stamps of the files in `evidence.used`: a copy over a file changes it, and so does an edit
    in place, for the time of the last change of its status cannot be set."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Imports the modules of a tree as `evidence.import_modules` does, or gives the kept evidence."""

    prefix: Path
    site_packages: str
    """Relative to the prefix."""
    interpreter: Interpreter
    scratch: Path
    """A folder outside of the prefix; left empty."""
    tree: str = ""
    """Digest of the files below the prefix as they are now (`digest`); empty: nothing is kept."""
    store: Store | None = None
    """Where the evidence is kept; `None`: nowhere."""
    afresh: bool = False
    """Import even where evidence is kept."""
    beside: Path | None = None
    """See `evidence.import_modules`; with it nothing is kept."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of what is imported: a failure may be theirs, so evidence is of the same limits."""
    kept_only: bool = False
    """Import nothing: raise `NotKeptError` where evidence is not kept."""
    started: Callable[[str], room.RoomRun] | None = None
    """What `evidence.starting` gave for this tree and store: taken by the one import with nothing hidden."""

    def import_modules(
        self,
        modules: Mapping[str, Sequence[str]],
        *,
        obligations: Sequence[Obligation] = (),
        hidden: Sequence[str] = (),
    ) -> ImportEvidence:
        """Import the modules, or return the kept evidence; its `proved_at` tells when they were imported.

        :param modules: normalised name → modules that the distribution brings.
        :param obligations: what is reached: each is imported in a process of its own.
        :param hidden: SONAMEs of system libraries that the interpreter must not find.
        :raises MachineError: the importing program failed.
        """
        key = self._key(modules, obligations, hidden)
        kept = self.store.text(key) if self.store and key and not self.afresh else None
        if kept is not None and (found := _read(kept)) is not None:
            return found
        if self.kept_only:
            raise NotKeptError
        evidence = import_modules(
            self.prefix,
            site_packages=self.site_packages,
            modules=modules,
            obligations=obligations,
            interpreter=self.interpreter,
            scratch=self.scratch,
            beside=self.beside,
            hidden=hidden,
            cover=[self.store.root] if self.store else [],
            limits=self.limits,
            started=None if hidden or self.beside else self.started,
        )
        if self.store and key and _is_whole(evidence, modules):
            # Evidence that cannot be kept is good for this run.
            with contextlib.suppress(MachineError):
                self.store.keep_text(key, _written(evidence))
        return evidence

    def _key(
        self,
        modules: Mapping[str, Sequence[str]],
        obligations: Sequence[Obligation],
        hidden: Sequence[str],
    ) -> str:
        if self.beside is not None or not self.tree:
            return ""
        known = {
            "by": _judges(),
            "tree": [self.tree, self.site_packages],
            "asked": [
                sorted((name, *own) for name, own in modules.items()),
                json_values.as_json(tuple(obligations)),
                sorted(hidden),
            ],
            "interpreter": identity(self.interpreter),
            "limits": room.resources(self.limits),
            "machine": [platform.release(), *platform.libc_ver(), *map(_stamp, LOADER)],
        }
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def digest(scanned: Tree) -> str:
    """Return the digest of a tree, as the manifest has it; empty where it has symlinks or special files."""
    return "" if scanned.irregular else digest_of(scanned.files)


def digest_of(listed: Iterable[FileFact]) -> str:
    """Return the digest of a tree that has these files and nothing else."""
    return tree_digest(
        (file.path, file.sha256, file.size, "0755" if file.executable else "0644") for file in listed
    )


@functools.cache
def _judges() -> list[str]:
    """Return the hashes of all code that decides what evidence says."""
    others = [Path(str(one.__file__)) for one in (import_in_forks, imports, standalone, isolate, room, elf)]
    return sorted(files.digest(path) for path in (*Path(__file__).parent.glob("*.py"), *others))


def identity(interpreter: Interpreter) -> list[Any]:
    """Return what changes when an interpreter, its standard library or its own packages are replaced."""
    places = (interpreter.executable, interpreter.base_prefix / "lib", *interpreter.stdlib)
    packages = [folder / "site-packages" for folder in interpreter.stdlib]
    return [interpreter.version, *((str(place), _stamp(place)) for place in (*places, *packages))]


def _stamp(path: str | Path) -> list[int]:
    try:
        status = Path(path).stat()
    except OSError:
        return []
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _is_whole(evidence: ImportEvidence, modules: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether the next import would show the same.

    A module that fails with an exception does so each time; one that kills its process, or does not end, may
    end another day.
    """
    failures = [*evidence.failures, *(failure for one in evidence.reached for failure in one.failures)]
    tried = {*evidence.modules, *(one.module for one in failures)}
    odd = (
        *(one for one in failures if not one.exception),
        *evidence.standard,
        *evidence.elsewhere,
        evidence.startup,
    )
    return (
        not any(odd)
        and {module for own in modules.values() for module in own} <= tried
        and set(evidence.isolation) >= WHOLE
    )


def _read(text: str) -> ImportEvidence | None:
    """Return the evidence in a kept text; `None` where it is damaged, or what was loaded has changed."""
    try:
        kept = json_values.from_json(_Kept, json_values.parse(text.encode(), source="evidence"), exact=True)
    except InputError:
        return None
    return kept.evidence if _stamps(kept.evidence) == kept.stamps else None


def _stamps(evidence: ImportEvidence) -> str:
    return hashlib.sha256(json.dumps([_stamp(path) for path in evidence.used]).encode()).hexdigest()


def _written(evidence: ImportEvidence) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    kept = _Kept(evidence=replace(evidence, proved_at=now), stamps=_stamps(evidence))
    return json.dumps(json_values.as_json(kept))
