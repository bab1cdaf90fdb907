"""Keeps what the import proof saw, and gives it again for the same tree, interpreter and machine.

Importing is worth its time once. The evidence is kept only where it is whole: everything imported, from the
bundle itself, moved, read-only and without a network. It is never given for anything else than the very
tree that is on trial, by the digest of what stands there now.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.checks.imports import evidence as mounted
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure
from bundler.errors import MachineError
from bundler.ontarget import imports, isolate
from bundler.ontarget.checksums import tree_digest
from bundler.system import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.bundle.tree import Tree
    from bundler.model import Interpreter
    from bundler.wheels.store import Store

WHOLE = frozenset({"moved", "no-network", "read-only"})
LOADER = ("/etc/ld.so.cache", *(folder.rstrip("/") for folder in mounted.SYSTEM))
"""What changes when a library of the system comes or goes."""
_MEMBERS = ("modules", "libraries", "loaded", "isolation")


@dataclass(frozen=True, kw_only=True)
class Court:
    """A tree on trial: imports as `mounted.prove` does, or tells what it saw of the same before."""

    prefix: Path
    site_packages: str
    """Relative to the prefix."""
    interpreter: Interpreter
    scratch: Path
    """A folder outside of the prefix; left empty."""
    tree: str = ""
    """Digest of what stands below the prefix now (`digest`); empty: nothing is kept."""
    store: Store | None = None
    """Where the evidence is kept; `None`: nowhere."""
    afresh: bool = False
    """Import even where the evidence is there."""
    beside: Path | None = None
    """See `mounted.prove`; with it nothing is kept."""

    def prove(self, modules: Sequence[str], *, hidden: Sequence[str] = ()) -> ImportEvidence:
        """Import the modules, or give the evidence of having done so; `proved_at` tells when.

        :param hidden: SONAMEs of the system that the interpreter must not find.
        :raises MachineError: the proof itself broke.
        """
        key = self._key(modules, hidden)
        kept = self.store.text(key) if self.store and key and not self.afresh else None
        if kept is not None and (found := _read(kept)) is not None:
            return found
        evidence = mounted.prove(
            self.prefix,
            site_packages=self.site_packages,
            modules=modules,
            interpreter=self.interpreter,
            scratch=self.scratch,
            beside=self.beside,
            hidden=hidden,
        )
        if self.store and key and _is_whole(evidence, modules):
            # A proof that could not be kept is a proof all the same.
            with contextlib.suppress(MachineError):
                self.store.keep_text(key, _written(evidence))
        return evidence

    def _key(self, modules: Sequence[str], hidden: Sequence[str]) -> str:
        if self.beside is not None or not self.tree:
            return ""
        known = {
            "by": [files.digest(Path(str(one.__file__))) for one in (imports, isolate)],
            "tree": [self.tree, self.site_packages],
            "asked": [list(modules), sorted(hidden)],
            "interpreter": _identity(self.interpreter),
            "machine": [platform.release(), *platform.libc_ver(), *map(_stamp, LOADER)],
        }
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def digest(scanned: Tree) -> str:
    """Digest of a tree, as the manifest will say it."""
    rows = (
        (file.path, file.sha256, file.size, "0755" if file.executable else "0644") for file in scanned.files
    )
    return "" if scanned.irregular else tree_digest(rows)


def _identity(interpreter: Interpreter) -> list[Any]:
    """What changes when an interpreter, its standard library or its own packages are exchanged."""
    places = (interpreter.executable, interpreter.base_prefix / "lib", *interpreter.stdlib)
    packages = [folder / "site-packages" for folder in interpreter.stdlib]
    return [interpreter.version, *((str(place), _stamp(place)) for place in (*places, *packages))]


def _stamp(path: str | Path) -> list[int]:
    try:
        status = Path(path).stat()
    except OSError:
        return []
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def _is_whole(evidence: ImportEvidence, modules: Sequence[str]) -> bool:
    """Tell whether it holds nothing that a better day could change.

    A module that needs another which is not there (an optional extra's, say) misses it every day.
    """
    tried = {*evidence.modules, *(one.module for one in evidence.failures)}
    odd = (
        *(one for one in evidence.failures if not one.missing),
        *evidence.standard,
        *evidence.elsewhere,
        evidence.startup,
    )
    return not any(odd) and set(modules) == tried and set(evidence.isolation) >= WHOLE


def _read(text: str) -> ImportEvidence | None:
    """What was kept; nothing where it is not what was written."""
    try:
        found = json.loads(text)
        at = datetime.fromisoformat(found["proved_at"]).isoformat()
        modules, libraries, loaded, isolation = (tuple(map(str, found[name])) for name in _MEMBERS)
        failures = tuple(ImportFailure(**one) for one in found["failures"])
    except (ValueError, KeyError, TypeError):
        return None
    return ImportEvidence(
        modules=modules,
        failures=failures,
        libraries=libraries,
        loaded=loaded,
        isolation=isolation,
        proved_at=at,
    )


def _written(evidence: ImportEvidence) -> str:
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    failures = [asdict(one) for one in evidence.failures]
    members = {name: getattr(evidence, name) for name in _MEMBERS}
    return json.dumps({"proved_at": at, "failures": failures, **members})
