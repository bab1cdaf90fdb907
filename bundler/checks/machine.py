"""What on this machine would spoil a build or a mount: every question one function that returns rows."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bundler import __version__
from bundler.errors import EnvbundleError, MachineError
from bundler.ontarget import isolate
from bundler.system import index_settings, process
from bundler.targets import interpreters, target
from bundler.targets.managed import MANAGED_SINCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bundler.model import Interpreter
    from bundler.wheels.store import Store

State = Literal["ok", "note", "problem"]

KNOWN = ("3.7", "3.8")
"""The versions that are looked for where none is asked for: those of the images that others gave up."""
TOOLS = ("pip", "uv", "virtualenv", "wheel", "packaging")
LITTLE = 2_000_000_000
"""Bytes of free space below which a large set (with its wheels, its trees and its bundle) may not fit."""
TOO_LITTLE = 200_000_000
COMPILERS = ("cc", "gcc", "clang")
EXPECTED_PTH = ("distutils-precedence.pth", "_virtualenv.pth")
"""Start-up files that setuptools and virtualenv put everywhere, and that change no import of others."""
ISOLATION = {
    "no-network": "the proof cannot tell whether an import needs the network",
    "read-only": "the proof cannot tell whether an import writes into the bundle",
    "moved": "the proof runs at the place of the build, where a path that was built in still exists",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer."""

    topic: str
    state: State
    """`problem`: no bundle can be made; `note`: worth knowing."""
    says: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON's values."""
        return asdict(self)


def check(
    *, pythons: Sequence[str], store: Store, output: Path, environ: Mapping[str, str]
) -> tuple[Row, ...]:
    """Ask everything.

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


def processor() -> tuple[Row, ...]:
    """Whether interpreters of the images can run here."""
    try:
        target.require_supported_machine()
    except MachineError as error:
        return (Row(topic="machine", state="problem", says=error.message, remedy=error.hint or ""),)
    libc = " ".join(platform.libc_ver())
    return (Row(topic="machine", state="ok", says=f"Linux on {platform.machine()}, {libc}"),)


def targets(
    pythons: Sequence[str], *, store: Store, environ: Mapping[str, str]
) -> tuple[tuple[Row, ...], tuple[Interpreter, ...]]:
    """Which interpreters of the targets there are, and what is to be done about those that are not.

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
        return Row(topic=topic, state="note", says=error.message, remedy=remedy)
    return Row(topic=topic, state="problem" if asked else "note", says=error.message, remedy=error.hint or "")


def startup_code(interpreter: Interpreter) -> tuple[Row, ...]:
    """Code that the base interpreter runs whenever it starts: the proof leaves it out, other tools do not."""
    found: list[str] = []
    libraries = interpreter.base_prefix / "lib" / f"python{interpreter.minor}"
    for folder in (libraries / "site-packages", libraries / "dist-packages"):
        found += [str(path) for path in _listed(folder, "*.pth") if _runs_code(path)]
    for folder in dict.fromkeys((*interpreter.stdlib, libraries / "site-packages")):
        found += [str(path) for path in _listed(folder, "*customize.py") if path.stem in _CUSTOMIZE]
    topic = f"start-up of {interpreter.version}"
    if not found:
        return (Row(topic=topic, state="ok", says="no code of its own"),)
    return (
        Row(
            topic=topic,
            state="note",
            says=f"runs {', '.join(found)}",
            remedy="no bundle gets it and the proof does not run it, but whoever uses this interpreter does: "
            "remove it, or use an interpreter that is nobody's",
        ),
    )


_CUSTOMIZE = ("sitecustomize", "usercustomize")


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


def user_sites(minors: Iterable[str], environ: Mapping[str, str]) -> tuple[Row, ...]:
    """Packages in the user's own site-packages."""
    home = Path(environ.get("HOME") or Path.home())
    base = Path(environ.get("PYTHONUSERBASE") or home / ".local")
    rows = []
    for minor in minors:
        folder = base / "lib" / f"python{minor}" / "site-packages"
        count = len(_listed(folder, "*.dist-info/METADATA")) + len(_listed(folder, "*.pth"))
        if count:
            says = f"{folder} holds {count} distributions or start-up files"
            remedy = "no bundle sees them; what runs on this machine only may do so by their luck"
            rows.append(Row(topic=f"user site of {minor}", state="note", says=says, remedy=remedy))
    return tuple(rows) or (Row(topic="user site", state="ok", says="empty"),)


def conda(environ: Mapping[str, str], *, prefix: Path) -> tuple[Row, ...]:
    """An active conda environment, or a host Python that is conda's.

    :param prefix: of the Python that runs envbundle.
    """
    active = environ.get("CONDA_PREFIX")
    rows = []
    if active:
        remedy = (
            "nothing of it reaches a bundle; its interpreter is used only where --python names it by path"
        )
        rows.append(Row(topic="conda", state="note", says=f"{active} is active", remedy=remedy))
    if (prefix / "conda-meta").is_dir():
        remedy = "install envbundle into a virtualenv of another Python if anything odd is seen"
        rows.append(
            Row(
                topic="conda",
                state="note",
                says=f"envbundle runs on conda's Python ({prefix})",
                remedy=remedy,
            )
        )
    return tuple(rows) or (Row(topic="conda", state="ok", says="not active"),)


def variables(environ: Mapping[str, str]) -> tuple[Row, ...]:
    """Variables that change what Python or the loader does; names only, values may be secrets."""
    held = process.withheld(environ)
    if not held:
        return (Row(topic="variables", state="ok", says="none that changes Python, pip or the loader"),)
    remedy = "no program of envbundle's sees them; unset them where `python` is to behave as in the image"
    return (Row(topic="variables", state="note", says=f"kept out: {', '.join(held)}", remedy=remedy),)


def pip_settings(environ: Mapping[str, str]) -> tuple[Row, ...]:
    """Settings of the caller's pip that are not used."""
    try:
        ignored = index_settings.read_settings(environ).ignored
    except EnvbundleError as error:
        return (Row(topic="pip settings", state="problem", says=error.message, remedy=error.hint or ""),)
    if not ignored:
        return (Row(topic="pip settings", state="ok", says="all are used, or there are none"),)
    remedy = "only where distributions come from is taken from pip; give the rest as options of envbundle"
    return (Row(topic="pip settings", state="note", says=f"not used: {', '.join(ignored)}", remedy=remedy),)


def namespaces() -> tuple[Row, ...]:
    """Whether this machine lets the import proof have namespaces of its own, by trying."""
    with tempfile.TemporaryDirectory(prefix="envbundle-") as folder:
        tree, at, report = Path(folder, "tree"), Path(folder, "at"), Path(folder, "report")
        tree.mkdir()
        at.mkdir()
        try:
            process.run(
                [
                    *(sys.executable, "-I", "-S", isolate.__file__),
                    *("--source", tree, "--at", at, "--report", report, "--"),
                    *(sys.executable, "-I", "-S", "-c", "pass"),
                ],
                env=process.clean_environment(home=Path(folder)),
            )
            held = json.loads(report.read_bytes())
        except (EnvbundleError, OSError, ValueError):
            held = []
    return isolation_rows(held)


def isolation_rows(held: Iterable[str]) -> tuple[Row, ...]:
    """Say what the proof lacks.

    :param held: what `ontarget/isolate.py` reported.
    """
    lacking = [what for name, what in ISOLATION.items() if name not in held]
    if not lacking:
        return (Row(topic="namespaces", state="ok", says="the proof is isolated: " + ", ".join(ISOLATION)),)
    remedy = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or "
    remedy += "run the container with --security-opt seccomp=unconfined; the manifest tells what was in force"
    return (Row(topic="namespaces", state="note", says="; ".join(lacking), remedy=remedy),)


def existing(folder: Path) -> Path:
    """Return the nearest folder above (or at) a path that is there."""
    folder = folder.absolute()
    return next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))


def space(cache: Path, output: Path) -> tuple[Row, ...]:
    """How much is free where wheels and bundles go."""
    rows = []
    for topic, folder in (("cache", existing(cache)), ("output", existing(output))):
        free = shutil.disk_usage(folder).free
        rows.append(space_row(topic, folder, free))
    return tuple(rows)


def space_row(topic: str, folder: Path, free: int) -> Row:
    """Judge the free bytes of a filesystem."""
    says = f"{free / 1e9:.1f} GB free at {folder}"
    if free >= LITTLE:
        return Row(topic=f"space for the {topic}", state="ok", says=says)
    other = "--cache-dir" if topic == "cache" else "-o"
    remedy = f"make space (`envbundle cache prune`), or put {other} on another filesystem"
    state: State = "problem" if free < TOO_LITTLE else "note"
    return Row(topic=f"space for the {topic}", state=state, says=says, remedy=remedy)


def filesystems(cache: Path, output: Path) -> tuple[Row, ...]:
    """Whether bundles can share blocks or links with the cache."""
    if existing(cache).stat().st_dev == existing(output).stat().st_dev:
        return (Row(topic="filesystem", state="ok", says="cache and output are on one"),)
    return (
        Row(
            topic="filesystem",
            state="note",
            says="cache and output are on two: every file is copied, and --link-mode hardlink cannot work",
            remedy="put --cache-dir on the filesystem of the bundles",
        ),
    )


def writable(cache: Path) -> tuple[Row, ...]:
    """Whether the cache can be written, by trying."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        remedy = "name another with --cache-dir or ENVBUNDLE_CACHE_DIR"
        says = f"{cache} cannot be written: {error.strerror}"
        return (Row(topic="cache", state="problem", says=says, remedy=remedy),)
    return (Row(topic="cache", state="ok", says=str(cache)),)


def programs(environ: Mapping[str, str]) -> tuple[Row, ...]:
    """Programs that only some requirements need."""
    path = environ.get("PATH")
    compiler = next((found for name in COMPILERS if (found := shutil.which(name, path=path))), None)
    git = shutil.which("git", path=path)
    rows = (
        (
            "compiler",
            compiler,
            "only source distributions with extensions need one: install gcc, or --no-build",
        ),
        ("git", git, "only requirements of the form git+https://… need it: install git"),
    )
    return tuple(
        Row(topic=topic, state="ok", says=found)
        if found
        else Row(topic=topic, state="note", says="not found on PATH", remedy=remedy)
        for topic, found, remedy in rows
    )


def versions() -> tuple[Row, ...]:
    """Which releases do the work."""
    tools = [f"envbundle {__version__}", f"Python {platform.python_version()}"]
    tools += [f"{name} {importlib.metadata.version(name)}" for name in TOOLS]
    return (Row(topic="tools", state="ok", says=", ".join(tools)),)


def healthy(rows: Iterable[Row]) -> bool:
    """Tell whether bundles can be made here."""
    return all(row.state != "problem" for row in rows)
