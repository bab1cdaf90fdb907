"""Checks this machine: what would spoil a build or a mount. Each question is a function that yields rows."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from packaging.version import Version

from bundler import __version__
from bundler.checks.imports.evidence import run_isolated
from bundler.checks.isolation import ISOLATION, lacking, warning
from bundler.errors import EnvbundleError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Interpreter
from bundler.system import index_settings, process
from bundler.system import scratch as scratch_folders
from bundler.targets import interpreters, target
from bundler.targets.managed import MANAGED_SINCE
from bundler.wheels.store import Store

State = Literal["ok", "note", "problem"]

KNOWN = ("3.7", "3.8")
"""The versions that are checked where none is given: the oldest that images have."""
TOOLS = ("pip", "uv", "virtualenv", "wheel", "packaging")
LITTLE = 2_000_000_000
"""Bytes of free space below which a large set (with its wheels, its trees and its bundle) may not fit."""
TOO_LITTLE = 200_000_000
COMPILERS = ("cc", "gcc", "clang")
EXPECTED_PTH = ("distutils-precedence.pth", "_virtualenv.pth")
"""Start-up files of setuptools and virtualenv, which change no import of other distributions."""
_CUSTOMIZE = ("sitecustomize", "usercustomize")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The answer to one question about the machine."""

    topic: str
    state: State
    """`problem`: no bundle can be made; `note`: worth knowing."""
    says: str
    remedy: str = ""


def _ok(topic: str, says: str) -> Row:
    return Row(topic=topic, state="ok", says=says)


def _note(topic: str, says: str, remedy: str) -> Row:
    return Row(topic=topic, state="note", says=says, remedy=remedy)


def _problem(topic: str, error: EnvbundleError) -> Row:
    return Row(topic=topic, state="problem", says=error.message, remedy=error.hint or "")


def check(
    *, pythons: Sequence[str], store: Store, output: Path, environ: Mapping[str, str]
) -> tuple[Row, ...]:
    """Return the answers to all questions.

    :param pythons: versions that are wanted, as `--python` takes them; none: `KNOWN`.
    :param output: a folder in which bundles are made; need not exist.
    :raises InputError: a version is none.
    """
    rows, found = targets(pythons, store=store, environ=environ)
    return (
        *processor(),
        *writable(store.root),
        *rows,
        *(row for one in found for row in startup_code(one)),
        *user_sites(sorted({one.minor for one in found}), environ),
        *conda(environ, prefix=Path(sys.base_prefix)),
        *variables(environ),
        *pip_settings(environ),
        *namespaces(),
        *space(store.root, output),
        *filesystems(store.root, output),
        *programs(environ),
        *versions(),
    )


def processor() -> Iterator[Row]:
    """Whether interpreters of the images can run here."""
    try:
        target.require_supported_machine()
    except MachineError as error:
        yield _problem("machine", error)
    else:
        yield _ok("machine", f"Linux on {platform.machine()}, {' '.join(platform.libc_ver())}")


def targets(
    pythons: Sequence[str], *, store: Store, environ: Mapping[str, str]
) -> tuple[tuple[Row, ...], tuple[Interpreter, ...]]:
    """Which interpreters of the targets there are, and how to get those that are missing.

    :raises InputError: a version is none.
    """
    rows: list[Row] = []
    found: list[Interpreter] = []
    for version in pythons or KNOWN:
        topic = f"Python {version}"
        try:
            one = interpreters.find(
                version,
                cache_dir=store.probes,
                managed_dir=store.python,
                allow_download=False,
                announce=lambda _: None,
                environ=environ,
            )
        except MachineError as error:
            rows.append(_missing(topic, version, error, asked=bool(pythons)))
            continue
        found.append(one)
        state: State = "note" if one.conda else "ok"
        origin = f"{one.origin}, from conda" if one.conda else one.origin
        rows.append(Row(topic=topic, state=state, says=f"{one.version} at {one.executable} ({origin})"))
    return tuple(rows), tuple(found)


def _missing(topic: str, version: str, error: MachineError, *, asked: bool) -> Row:
    minor = tuple(int(part) for part in version.split(".")[:2])
    if minor >= MANAGED_SINCE:
        remedy = f"`create` fetches one, unless --no-python-downloads forbids it; or {error.hint}"
        return _note(topic, error.message, remedy)
    return _problem(topic, error) if asked else _note(topic, error.message, error.hint or "")


def startup_code(interpreter: Interpreter) -> Iterator[Row]:
    """Code that the base interpreter runs whenever it starts: the proof leaves it out, other tools do not."""
    packages = [
        interpreter.base_prefix / "lib" / f"python{interpreter.minor}" / name
        for name in ("site-packages", "dist-packages")
    ]
    found = [path for folder in packages for path in _listed(folder, "*.pth") if _runs_code(path)]
    if Version(interpreter.version).release >= (3, 15):  # PEP 829
        found += [path for folder in packages for path in _listed(folder, "*.start")]
    for folder in dict.fromkeys((*interpreter.stdlib, packages[0])):
        found += [path for path in _listed(folder, "*customize.py") if path.stem in _CUSTOMIZE]
    topic = f"start-up of {interpreter.version}"
    if not found:
        yield _ok(topic, "no code of its own")
        return
    remedy = "no bundle gets it and the proof does not run it, but whoever uses this interpreter does: "
    remedy += "remove it, or use an interpreter that is nobody's"
    yield _note(topic, f"runs {', '.join(map(str, found))}", remedy)


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except OSError:
        return []


def _runs_code(path: Path) -> bool:
    """Tell whether `site` executes a line of it (https://docs.python.org/3/library/site.html)."""
    if path.name in EXPECTED_PTH or path.name.endswith("-nspkg.pth"):
        return False
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith(("import ", "import\t")) for line in lines)


def user_sites(minors: Iterable[str], environ: Mapping[str, str]) -> Iterator[Row]:
    """Packages in the user's own site-packages."""
    home = Path(environ.get("HOME") or Path.home())
    base = Path(environ.get("PYTHONUSERBASE") or home / ".local")
    empty = True
    for minor in minors:
        folder = base / "lib" / f"python{minor}" / "site-packages"
        if count := len(_listed(folder, "*.dist-info/METADATA")) + len(_listed(folder, "*.pth")):
            empty = False
            says = f"{folder} holds {count} distributions or start-up files"
            remedy = "no bundle sees them; what runs on this machine only may do so by their luck"
            yield _note(f"user site of {minor}", says, remedy)
    if empty:
        yield _ok("user site", "empty")


def conda(environ: Mapping[str, str], *, prefix: Path) -> Iterator[Row]:
    """An active conda environment, or a host Python that is conda's.

    :param prefix: of the Python that runs envbundle.
    """
    active, host = environ.get("CONDA_PREFIX"), (prefix / "conda-meta").is_dir()
    if active:
        remedy = "nothing of it reaches a bundle; "
        remedy += "its interpreter is used only where --python names it by path"
        yield _note("conda", f"{active} is active", remedy)
    if host:
        remedy = "install envbundle into a virtualenv of another Python if anything odd is seen"
        yield _note("conda", f"envbundle runs on conda's Python ({prefix})", remedy)
    if not active and not host:
        yield _ok("conda", "not active")


def variables(environ: Mapping[str, str]) -> Iterator[Row]:
    """Variables that change what Python or the loader does; names only, values may be secrets."""
    if held := process.withheld(environ):
        remedy = "no program of envbundle's sees them; unset them where `python` is to behave as in the image"
        yield _note("variables", f"kept out: {', '.join(held)}", remedy)
    else:
        yield _ok("variables", "none that changes Python, pip or the loader")


def pip_settings(environ: Mapping[str, str]) -> Iterator[Row]:
    """Settings of the caller's pip that are not used."""
    try:
        ignored = index_settings.read_settings(environ).ignored
    except EnvbundleError as error:
        yield _problem("pip settings", error)
        return
    if ignored:
        remedy = "only where distributions come from is taken from pip; give the rest as options of envbundle"
        yield _note("pip settings", f"not used: {', '.join(ignored)}", remedy)
    else:
        yield _ok("pip settings", "all are used, or there are none")


def namespaces() -> Iterator[Row]:
    """Whether this machine lets the import proof have namespaces of its own, by trying."""
    with scratch_folders.folder() as folder:
        scratch, tree = Path(folder, "scratch"), Path(folder, "tree")
        scratch.mkdir()
        tree.mkdir()
        try:
            held = run_isolated(["/bin/sh", "-c", ":"], prefix=tree, scratch=scratch).isolation
        except EnvbundleError:
            held = ()
    yield isolation(held)


def isolation(held: Iterable[str]) -> Row:
    """Say what the isolation of the proof lacks.

    :param held: what `ontarget/isolate.py` reported.
    """
    found = warning(lacking(held))
    if found is None:
        return _ok("namespaces", "the proof is isolated: " + ", ".join(ISOLATION))
    return _note("namespaces", found.cause, found.remedy)


def existing(folder: Path) -> Path:
    """Return the nearest folder above (or at) a path that is there."""
    folder = folder.absolute()
    return next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))


def space(cache: Path, output: Path) -> Iterator[Row]:
    """How much is free where wheels and bundles go."""
    for topic, folder in (("cache", existing(cache)), ("output", existing(output))):
        yield free_space(topic, folder, shutil.disk_usage(folder).free)


def free_space(topic: str, folder: Path, free: int) -> Row:
    """Judge the free bytes of a filesystem."""
    says = f"{free / 1e9:.1f} GB free at {folder}"
    topic, option = f"space for the {topic}", "--cache-dir" if topic == "cache" else "-o"
    if free >= LITTLE:
        return _ok(topic, says)
    remedy = f"make space (`envbundle cache prune`), or put {option} on another filesystem"
    state: State = "problem" if free < TOO_LITTLE else "note"
    return Row(topic=topic, state=state, says=says, remedy=remedy)


def filesystems(cache: Path, output: Path) -> Iterator[Row]:
    """Whether bundles can share blocks or links with the cache."""
    if existing(cache).stat().st_dev == existing(output).stat().st_dev:
        yield _ok("filesystem", "cache and output are on one")
        return
    says = "cache and output are on two: every file is copied, and --link-mode hardlink cannot work"
    yield _note("filesystem", says, "put --cache-dir on the filesystem of the bundles")


def writable(cache: Path) -> Iterator[Row]:
    """Whether the cache can be written, by trying."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        remedy = "name another with --cache-dir or ENVBUNDLE_CACHE_DIR"
        yield _problem("cache", MachineError(f"{cache} cannot be written: {error.strerror}", hint=remedy))
    else:
        yield _ok("cache", str(cache))


def programs(environ: Mapping[str, str]) -> Iterator[Row]:
    """Programs that only some requirements need."""
    for topic, names, remedy in (
        (
            "compiler",
            COMPILERS,
            "only source distributions with extensions need one: install gcc, or --no-build",
        ),
        ("git", ("git",), "only requirements of the form git+https://… need it: install git"),
    ):
        found = filter(None, (shutil.which(name, path=environ.get("PATH")) for name in names))
        path = next(found, None)
        yield _ok(topic, path) if path else _note(topic, "not found on PATH", remedy)


def versions() -> Iterator[Row]:
    """Which releases do the work."""
    tools = [f"envbundle {__version__}", f"Python {platform.python_version()}"]
    tools += [f"{name} {importlib.metadata.version(name)}" for name in TOOLS]
    yield _ok("tools", ", ".join(tools))


def healthy(rows: Iterable[Row]) -> bool:
    """Tell whether bundles can be made here."""
    return all(row.state != "problem" for row in rows)
