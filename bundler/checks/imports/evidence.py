"""Imports a tree's modules on the builder as the image will, and tells where all loaded code came from."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Literal

from bundler.bundle import standalone
from bundler.checks.imports.core_programs import CORE_PROGRAMS
from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import DEFAULT_LIMITS, Interpreter, Obligation, RoomLimits
from bundler.system import room
from bundler.system.files import real_path
from bundler.wheels import elf

Origin = Literal["bundle", "image", "standard library", "interpreter", "system", "elsewhere"]

PLACE = "/bundle"
"""Where a tree stands in its room."""
SYSTEM = (
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/libx32/",
    "/usr/lib/",
    "/usr/lib32/",
    "/usr/lib64/",
    "/usr/libx32/",
)
GLIBC = re.compile(
    r"(ld-linux.*|ld64|lib(c|m|pthread|dl|rt|util|resolv|nsl|crypt|anl|mvec|BrokenLocale|thread_db|nss_\w+))"
    r"(-[\d.]+)?\.so.*"
)


@dataclass(frozen=True, kw_only=True)
class ImportFailure:
    """A module that did not import."""

    module: str
    exception: str
    """Name of its type; empty where the interpreter died or did not end."""
    missing: str
    """The module that a ModuleNotFoundError names; empty otherwise."""
    detail: str
    """The last lines of the traceback, or how the interpreter died; paths are relative to the prefix, or
    to that of the interpreter."""
    behind: str = ""
    """Of one that asks for Django's settings: the import error that it ends with where it has some."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Code that came from outside of bundle, standard library and system."""

    kind: Literal["module", "shared object"]
    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What the imports of one obligation showed, in a process of their own."""

    obligation: Obligation
    failures: tuple[ImportFailure, ...] = ()
    libraries: tuple[str, ...] = ()
    """SONAMEs of the system's libraries that they mapped: without glibc's own and without those that the
    bare interpreter maps."""

    @property
    def fails(self) -> bool:
        """Whether the obligation is not met: an optional one where most of its modules fail."""
        if self.obligation.optional:
            return 2 * len(self.failures) > len(self.obligation.modules)
        return bool(self.failures)


@dataclass(frozen=True, kw_only=True)
class LibraryNeed:
    """A library of the system without which something that is reached does not import."""

    library: str
    """Its SONAME."""
    subject: str
    reason: str
    """Of the obligation that failed."""
    detail: str
    """The last line of the failure."""


@dataclass(frozen=True, kw_only=True)
class ImportEvidence:
    """What importing the modules of a tree showed."""

    modules: tuple[str, ...]
    """Imported without an error."""
    failures: tuple[ImportFailure, ...] = ()
    startup: str = ""
    """Why the interpreter does not start with the bundle on its path; empty: it does."""
    standard: tuple[ImportFailure, ...] = ()
    """Modules of the standard library that import without the bundle, and not with it."""
    elsewhere: tuple[Elsewhere, ...] = ()
    reached: tuple[Reached, ...] = ()
    """What the service reaches; of `failures` those are left out that stand here."""
    libraries: tuple[str, ...] = ()
    """SONAMEs of the system's libraries that the reached imports mapped."""
    indirect: tuple[str, ...] = ()
    """Of `libraries`: needed by another library of the system, with which they come."""
    loaded: tuple[str, ...] = ()
    """Shared objects of the bundle that were mapped, relative to the prefix."""
    used: tuple[str, ...] = ()
    """Files of code from outside of the tree that were loaded: the interpreter's, its standard library's, the
    system's."""
    isolation: tuple[str, ...] = ()
    """What was in force: see `ontarget/isolate.py`."""
    without: tuple[str, ...] = ()
    """Of `libraries`: what is reached imports without them (`library_needs`)."""
    needs: tuple[LibraryNeed, ...] = ()
    """Of `libraries`: what is reached does not import without them."""
    proved_at: str = ""
    """When the modules were imported (ISO 8601, UTC), where `kept` had the evidence; empty: just now."""


def import_modules(
    prefix: Path,
    *,
    site_packages: str,
    modules: Mapping[str, Sequence[str]],
    obligations: Sequence[Obligation] = (),
    interpreter: Interpreter,
    scratch: Path,
    beside: Path | None = None,
    hidden: Sequence[str] = (),
    cover: Sequence[Path] = (),
    limits: RoomLimits = DEFAULT_LIMITS,
    started: Callable[[str], room.RoomRun] | None = None,
) -> ImportEvidence:
    """Import what is reached and every module from the tree in mount mode, with the base interpreter alone.

    They run in a room of their own (`system/room.py`), where the tree stands read-only at another path, with
    the programs of every image, as far as the machine allows namespaces; `isolation` tells.

    :param site_packages: relative to the prefix.
    :param modules: normalised name → modules that the distribution brings.
    :param scratch: as of `run_isolated`.
    :param beside: a folder used as the image's own site-packages; by default the image has none.
    :param hidden: SONAMEs of system libraries that it must not find; `hidden` in the isolation: that worked.
    :param cover: folders that the modules must not see, wherever they are: the store.
    :param started: what `starting` gave for the same; it has nothing beside or hidden.
    :raises MachineError: the interpreter cannot be started, or the importing program failed.
    """
    folders = [os.path.realpath(beside)] if beside else []
    job = {
        "site_packages": site_packages,
        "modules": {name: list(brought) for name, brought in modules.items()},
        "obligations": [(one.subject * (one.kind != "service"), one.modules) for one in obligations],
        "timeout": limits.import_seconds,
        "beside": folders,
    }
    ask = started or functools.partial(
        _run,
        prefix,
        interpreter=interpreter,
        scratch=scratch,
        show=[*map(Path, folders)],
        cover=cover,
        hidden=hidden,
        limits=limits,
    )
    run = ask(json.dumps(job))
    try:
        result = json.loads(run.stdout)
    except ValueError as error:
        raise MachineError("the import proof gave no result", hint=run.stderr[-400:] or None) from error
    origins = CodeOrigins(
        bundle=result["root"],
        image="".join(folders),
        stdlib=(*result["stdlib"], *(os.path.realpath(folder) for folder in interpreter.stdlib)),
        own=frozenset(result["own"]),
        executable=os.path.realpath(interpreter.executable),
    )
    held = tuple(name for name in run.isolation if result["guarded"] or name != "own-processes")
    return _evidence(result, origins, obligations, isolation=held, interpreter=interpreter)


@contextlib.contextmanager
def starting(
    prefix: Path,
    *,
    interpreter: Interpreter,
    scratch: Path,
    cover: Sequence[Path] = (),
    limits: RoomLimits = DEFAULT_LIMITS,
) -> Iterator[Callable[[str], room.RoomRun]]:
    """Start the program that imports while its tree is still made, and end it afterwards.

    Until it has its job it starts interpreters, and imports what most distributions need of the standard
    library: half of the time that a small set takes. Yields a function that gives it the job, once, and
    returns what it says; the tree must be whole then.

    :param prefix: is there, and will not be replaced.
    """
    reading, writing = os.pipe()
    with ThreadPoolExecutor(max_workers=1) as pool, os.fdopen(writing, "wb") as job:
        running = pool.submit(
            _run,
            prefix,
            os.fdopen(reading, "rb"),
            interpreter=interpreter,
            scratch=scratch,
            cover=cover,
            limits=limits,
        )

        def ask(text: str) -> room.RoomRun:
            with contextlib.suppress(BrokenPipeError), job:  # it has ended: the result says why
                job.write(text.encode())
            return running.result()

        yield ask


def _run(
    prefix: Path,
    job: str | IO[bytes],
    *,
    interpreter: Interpreter,
    scratch: Path,
    show: Sequence[Path] = (),
    cover: Sequence[Path] = (),
    hidden: Sequence[str] = (),
    limits: RoomLimits,
) -> room.RoomRun:
    """Run the program that imports."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="proof-") as folder:
        program = Path(folder, "imports.py")
        program.write_text(standalone.import_proof(), encoding="utf-8")
        program.chmod(0o644)  # it may run as another user
        return run_isolated(
            [interpreter.executable, "-I", "-S", program],
            prefix=prefix,
            scratch=scratch,
            interpreter=interpreter,
            show=[program, *show],
            cover=cover,
            stdin=job,
            hidden=hidden,
            programs=CORE_PROGRAMS,
            limits=limits,
        )


def run_isolated(
    program: Sequence[str | Path],
    *,
    prefix: Path,
    scratch: Path,
    interpreter: Interpreter | None = None,
    show: Sequence[Path] = (),
    cover: Sequence[Path] = (),
    stdin: str | IO[bytes] | None = None,
    hidden: Sequence[str] = (),
    programs: Sequence[str] | None = None,
    limits: RoomLimits = DEFAULT_LIMITS,
    check: bool = True,
) -> room.RoomRun:
    """Run a program on a tree, in a room where the tree stands at another path.

    :param program: gets the path of the tree as one more argument.
    :param scratch: a folder outside of the tree; left empty.
    :param interpreter: shown at its own place, if the program needs one.
    :param show: what else the program sees, at its own place.
    :param cover: what it must not see, where something above it is shown.
    :param stdin: as of `process.run`.
    :param hidden: SONAMEs of libraries of the system that it must not find.
    :param programs: names of the system's programs that PATH leads to; by default all.
    :raises CommandError: it cannot be started, or failed (with `check`).
    """
    if real_path(scratch).is_relative_to(real_path(prefix)):
        raise MachineError(f"{scratch}: lies inside of the tree that is on trial")
    at_home = {str(path): path for path in show}
    place = room.Room(
        show={PLACE: prefix, **at_home, **(room.interpreter_at_home(interpreter) if interpreter else {})},
        cover=(prefix, *cover),
        hide=hidden,
        programs=programs,
        limits=limits,
    )
    return room.run(
        place,
        [*program, PLACE],
        in_place=[*program, prefix],
        scratch=scratch,
        stdin=stdin,
        check=check,
    )


def _evidence(
    result: Mapping[str, Any],
    origins: CodeOrigins,
    obligations: Sequence[Obligation],
    *,
    isolation: tuple[str, ...],
    interpreter: Interpreter,
) -> ImportEvidence:
    root, own = origins.bundle, origins.own
    local = (root, os.path.realpath(interpreter.base_prefix), str(interpreter.base_prefix))
    # A standard library may be made of symlinks (Debian, Nix): their targets belong to it.
    linked = {
        real for real, path in result["written"].items() if origins.of_module(path) == "standard library"
    }
    elsewhere = [
        Elsewhere(kind="module", name=module, path=path)
        for path, module in sorted(result["places"].items())
        if origins.of_module(path) == "elsewhere" and path not in linked
    ]
    mapped = {path: origins.of_shared_object(path) for path in result["mapped"]}
    seen = {one.path for one in elsewhere}
    elsewhere += [
        Elsewhere(kind="shared object", name=_name(path), path=path)
        for path, origin in mapped.items()
        if origin == "elsewhere" and path not in seen | linked
    ]
    system = {path: elf.read(path, path=path) for path, origin in mapped.items() if origin == "system"}
    names = {path: (fact.soname if fact else "") or _name(path) for path, fact in system.items()}
    reached = [
        Reached(
            obligation=obligation,
            failures=tuple(_failure(one, local) for one in said["failures"]),
            libraries=_foreign({names[path] for path in said["mapped"] if path in names and path not in own}),
        )
        for obligation, said in zip(obligations, result["obligations"], strict=True)
    ]
    libraries = {name for one in reached for name in one.libraries}
    needed = {name for fact in system.values() if fact for name in fact.needed}
    told = {one.module for said in reached for one in said.failures}
    return ImportEvidence(
        modules=tuple(result["imported"]),
        failures=tuple(_failure(one, local) for one in result["failures"] if one["module"] not in told),
        reached=tuple(reached),
        startup=_relative(result["startup"], local),
        standard=tuple(_failure(one, local) for one in result["standard"]),
        elsewhere=tuple(elsewhere),
        libraries=tuple(sorted(libraries)),
        indirect=tuple(sorted(libraries & needed)),
        used=_used(result, origins),
        loaded=tuple(path[len(root) + 1 :] for path, origin in mapped.items() if origin == "bundle"),
        isolation=isolation,
    )


def _used(result: Mapping[str, Any], origins: CodeOrigins) -> tuple[str, ...]:
    """Return the files outside of the tree that decide what its imports show, bytecode included."""
    sources = [Path(path) for path in result["places"] if origins.of_module(path) != "bundle"]
    mapped = [Path(path) for path in result["mapped"] if origins.of_shared_object(path) != "bundle"]
    stems: dict[Path, set[str]] = {}
    for path in sources:
        stems.setdefault(path.parent / "__pycache__", set()).add(path.name.partition(".")[0])
    compiled = [
        path
        for folder, names in stems.items()
        for path in folder.glob("*.pyc")
        if path.name.partition(".")[0] in names
    ]
    return tuple(sorted(str(path) for path in {*sources, *mapped, *compiled} if path.is_file()))


def _relative(text: str, folders: Iterable[str]) -> str:
    """Remove the builder's paths from a traceback, which can end up in a manifest."""
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    return text


def _failure(one: Mapping[str, str], folders: Iterable[str]) -> ImportFailure:
    return ImportFailure(
        module=one["module"],
        exception=one["exception"],
        missing=one["missing"],
        detail=_relative(one["detail"], folders),
        behind=_relative(one.get("behind", ""), folders),
    )


@dataclass(frozen=True, kw_only=True)
class CodeOrigins:
    """Tells where a file of code comes from; every path is real and absolute."""

    bundle: str
    stdlib: tuple[str, ...]
    own: frozenset[str]
    """Files that the interpreter maps without any bundle."""
    executable: str
    image: str = ""
    """The folder used as the image's own site-packages; empty: none."""

    @property
    def _loaders(self) -> tuple[str, ...]:
        """The folder of the interpreter's own loader is the system's, of a root file system elsewhere too."""
        loaders = (path.rpartition("/") for path in self.own)
        return tuple(f"{folder}/" for folder, _, name in loaders if name.startswith("ld-linux"))

    def of_module(self, path: str) -> Origin:
        """Return where a module came from."""
        if _inside(path, self.bundle):
            return "bundle"
        if self.image and _inside(path, self.image):
            return "image"
        for folder in self.stdlib:
            # The base interpreter's own site-packages lie inside the folder of its standard library.
            if _inside(path, folder) and not _packages(path[len(folder) :]):
                return "standard library"
        return "elsewhere"

    def of_shared_object(self, path: str) -> Origin:
        """Return where a mapped file of machine code came from."""
        origin = self.of_module(path)
        if origin != "elsewhere":
            return origin
        if path == self.executable or _name(path).startswith("libpython"):
            return "interpreter"
        if path.endswith(" (deleted)"):
            # Memory for generated code (libffi, JIT compilers) is such a file; its source cannot be known.
            return "interpreter"
        if path.startswith((*SYSTEM, *self._loaders)) and not _packages(path):
            return "system"
        return "interpreter" if path in self.own else "elsewhere"


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _packages(path: str) -> bool:
    return "/site-packages/" in path or "/dist-packages/" in path


def _foreign(names: Iterable[str]) -> tuple[str, ...]:
    """The names of libraries that are not glibc's own, sorted: every target has those."""
    return tuple(sorted(name for name in names if not GLIBC.fullmatch(name)))
