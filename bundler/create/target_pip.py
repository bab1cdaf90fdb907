"""The pip that the target's interpreter runs: fetched once by hash, unpacked into the store, run from there.

It stands outside every environment and without its metadata, so no `pip freeze` lists it. Beside it lies a
`_manylinux.py` that reports the image's glibc (PEP 600).

It runs with `PIP_CONFIG_FILE` on the null device, since `--isolated` still reads the global configuration
(https://pip.pypa.io/en/stable/topics/configuration/).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import re
import sys
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from bundler.errors import CommandError, EnvbundleError, MachineError, TimeLimitError
from bundler.lazy_dataclass import dataclass
from bundler.model import DEFAULT_LIMITS, Artifact, RoomLimits
from bundler.ontarget import pip_freeze, pip_without_builds
from bundler.system import files, process, room
from bundler.system.address import Address
from bundler.system.index_settings import default_index, index_flags, index_variables, network_variables
from bundler.wheels.store import inode, is_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bundler.model import Environment, IndexSettings, Interpreter
    from bundler.wheels.store import Store


@dataclass(frozen=True, kw_only=True)
class _Release:
    version: str
    sha256: str
    content: str
    """What `_content` says of it unpacked."""

    @property
    def filename(self) -> str:
        return f"pip-{self.version}-py3-none-any.whl"


_RELEASES = {
    "3.7": _Release(
        version="24.0",
        sha256="ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc",
        content="e69bb6a6a83be922e3cf145ccd6028046fd95a569050a1163c222b28129d131f",
    ),
    "3.8": _Release(
        version="25.0.1",
        sha256="c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f",
        content="244e549b69618fc341bd81a1627bde9aef483be5bdef4ee6ccb10446c9b790ac",
    ),
    "3.9": _Release(
        version="26.0.1",
        sha256="bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b",
        content="2cbd65103cdcf16cc2eba84b89710b92c1ba04d22a3dc0aa967c8f4912132b68",
    ),
}
"""Python → the last pip that it can run; later Pythons run that of 3.9, earlier ones that of 3.7.

An older pip did not finish some resolutions in minutes.
"""
_REFUSED = re.compile(r"\b40[13] (?:client )?error\b|\bhttp error 40[13]\b", re.IGNORECASE)
"""What pip says of a server that wants to know who asks."""
_MANYLINUX = "_manylinux.py"
_SLACK = 60
"""Seconds that a freeze may take longer until the room itself is ended: pip is loaded before the first."""
_POSE = '''\
"""Reports the image's glibc to whoever asks for manylinux tags (PEP 600)."""

import os

_LIMIT = tuple(int(part) for part in os.environ["ENVBUNDLE_GLIBC"].split("."))

def manylinux_compatible(major, minor, arch):
    return (major, minor) <= _LIMIT
'''


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """What `pip freeze --all` printed, and how it was isolated: its start runs .pth files."""

    lines: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()
    """What was in force: see `ontarget/isolate.py`."""


@dataclass(frozen=True, kw_only=True)
class Pip:
    """The pip that the target interpreter runs from outside its environment."""

    folder: Path
    version: str
    settings: IndexSettings
    variables: Mapping[str, str]
    """What `network_variables` gave."""
    glibc: tuple[int, int]
    ready: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Waits until it is unpacked; raises `MachineError` where it cannot be had."""

    def run(
        self,
        python: Path,
        command: Sequence[str | Path],
        *,
        scratch: Path,
        pose: bool = True,
        check: bool = True,
        extra: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_wait: Callable[[float], None] | None = None,
        exchange: Path | None = None,
    ) -> process.Completed:
        """Run `pip COMMAND` with `python`; it builds nothing.

        :param scratch: stands for HOME and TMPDIR.
        :param pose: report the image's glibc; a build's own tools run on the builder and need not.
        :param timeout: seconds.
        :param on_wait: as of `process.run`.
        :param exchange: a folder for questions about sources (`ontarget/pip_without_builds.py`); `None`: what
            they require does not count.
        :raises TimeLimitError: it took too long.
        :raises CommandError: pip failed (with `check`).
        """
        env = self.environment(scratch, pose=pose, extra=extra)
        program = (pip_without_builds.__file__, self.folder, exchange or "")
        words = [python, "-I", *program, *command]
        return process.run(words, env=env, cwd=scratch, check=check, timeout=timeout, on_wait=on_wait)

    def environment(
        self, scratch: Path, *, pose: bool = True, extra: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the variables for a run of this pip, once it is there; the parameters are those of `run`."""
        self.ready()
        env = process.clean_environment(
            home=scratch,
            **{
                **self.variables,
                **index_variables(self.settings),
                **self.variables_without_index(pose=pose),
                **(extra or {}),
            },
        )
        # pip itself lies outside the bundle: let it keep its own bytecode, 0.3 s instead of 0.8 s a run.
        del env["PYTHONDONTWRITEBYTECODE"]
        return env

    def variables_without_index(self, *, pose: bool = True) -> dict[str, str]:
        """Return what pip needs where it asks no index: no address, no credentials, no proxy."""
        return {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "ENVBUNDLE_GLIBC": ".".join(map(str, self.glibc)) if pose else "99.99",
        }


@contextlib.contextmanager
def freezing(
    pip: Pip,
    environment: Callable[[], Environment],
    *,
    interpreter: Interpreter,
    show: Sequence[Path],
    cover: Sequence[Path],
    scratch: Path,
    limits: RoomLimits = DEFAULT_LIMITS,
) -> Iterator[Callable[[], Freeze]]:
    """Yield a function that runs `pip freeze --all` in the environment, in a room without index and network.

    Its first call loads pip, which takes four fifths of the time of a freeze; the others use it again.

    :param environment: called by the first freeze.
    :param show: folders that the environment reaches, now or later.
    :param cover: folders that start-up files must not see, wherever they are: the store.
    :param scratch: for temporary files.
    :param limits: of memory, processes and time.
    :raises TimeLimitError: what runs it has been stopped.
    :raises CommandError: pip failed, or took too long.
    """
    with contextlib.ExitStack() as ended:

        @functools.cache
        def program() -> tuple[process.Conversation, Callable[[], tuple[str, ...]]]:
            made = environment()
            pip.ready()
            seen = (made.prefix, *show, pip.folder, Path(pip_freeze.__file__))
            place = room.Room(
                show={**{str(path): path for path in seen}, **room.interpreter_at_home(interpreter)},
                cover=cover,
                limits=limits,
            )
            words = (made.python, "-I", pip_freeze.__file__, pip.folder, str(limits.import_seconds))
            variables = pip.variables_without_index()
            begun = ended.enter_context(room.converse(place, words, scratch=scratch, extra=variables))
            _keep_bytecode(begun[0].ask, pip.folder, interpreter, limits)
            return begun

        def freeze() -> Freeze:
            try:
                conversation, isolation = program()
                # Without a room of its own, a start-up file can stop the process that keeps the limit.
                answer = json.loads(conversation.ask("freeze", timeout=limits.import_seconds + _SLACK))
            except TimeLimitError as error:
                error.hint = room.limit_hit(f"did not end within {limits.import_seconds} seconds")
                raise
            if isinstance(answer, dict):
                raise CommandError(
                    f"pip freeze ended with status {answer['status']}",
                    argv=("pip", "freeze", "--all"),
                    returncode=answer["status"],
                    stderr=answer["stderr"],
                    hint=room.limit_hit(answer["stderr"]),
                )
            lines = tuple(line for line in answer.splitlines() if line.strip())
            return Freeze(lines=lines, isolation=isolation())

        yield freeze


def _keep_bytecode(
    ask: Callable[..., str], folder: Path, interpreter: Interpreter, limits: RoomLimits
) -> None:
    """Keep the bytecode of an unpacked pip beside it, which its room may not: it starts in half the time.

    :param ask: asks `pip_freeze.py`, before its first freeze: no start-up file of a bundle has run beside it
        yet. Of what it answers all is left out that is no bytecode of a file there.
    """
    end = f".{interpreter.cache_tag}.pyc"
    if (folder / f"pip/_internal/operations/__pycache__/freeze{end}").exists():
        return
    for name, text in json.loads(ask("bytecode", timeout=limits.import_seconds + _SLACK)).items():
        place = Path(name)
        source = place.parent.parent / f"{place.name.removesuffix(end)}.py"
        leaves = place.is_absolute() or ".." in place.parts
        if leaves or place.parent.name != "__pycache__" or not is_regular(folder / source):
            continue
        with contextlib.suppress(OSError):  # a store that cannot be written
            (folder / place.parent).mkdir(mode=0o755, exist_ok=True)
            # As Python does it: whole or not at all, and not flushed.
            part = folder / f"{place}.{os.getpid()}"
            part.write_bytes(base64.b64decode(text))
            part.chmod(0o644)
            part.replace(folder / place)


def write_build_constraints(constraints: Sequence[str], folder: Path) -> Path:
    """Write what builds from source may use as a constraints file."""
    path = folder / "build-constraints.in"
    # Several builds write it at the same time.
    files.write(path, "".join(f"{line}\n" for line in constraints))
    return path


def obtain(
    interpreter: Interpreter,
    *,
    store: Store,
    settings: IndexSettings,
    glibc: tuple[int, int],
    scratch: Path,
    environ: Mapping[str, str] = os.environ,
    begin: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
) -> Pip:
    """Return the last pip that the target can run: from the store, else fetched once, by hash.

    :param begin: calls a function on another thread, and returns one that waits for its end. With it, `Pip`
        is returned at once, and whoever uses it waits, and gets the error of what went wrong.
    :raises MachineError: the index does not have it.
    """
    release = _release_for(interpreter.version)
    folder = _folder(release, store)
    variables = network_variables(settings, scratch=scratch, environ=environ)
    pip = Pip(folder=folder, version=release.version, settings=settings, variables=variables, glibc=glibc)

    def bring() -> None:
        if _is_whole(release, folder):
            return
        wheel = (
            _stored_wheel(release, store)
            or _fetch(release, store=store, settings=settings)
            or _download(release, store=store, settings=settings, variables=variables, scratch=scratch)
        )
        _unpack(release, wheel, folder, store=store)

    if begin:
        return replace(pip, ready=begin(bring))
    bring()
    return pip


def wheels() -> tuple[tuple[str, str], ...]:
    """Return sha256 and filename of every pip that drives a target."""
    return tuple((one.sha256, one.filename) for one in _RELEASES.values())


def version(interpreter: Interpreter) -> str:
    """Return the version of the pip that a target runs."""
    return _release_for(interpreter.version).version


def is_stored(interpreter: Interpreter, *, store: Store) -> bool:
    """Tell whether `obtain` needs no index."""
    release = _release_for(interpreter.version)
    return _stored_wheel(release, store) is not None or _is_whole(release, _folder(release, store))


def verify(store: Store) -> tuple[str, ...]:
    """Remove the unpacked pips that are not what their wheels give, and return their names with the reason.

    The bytecode that a sound one keeps of itself goes as well: nothing tells what it was made of.
    """
    damaged = []
    for release in _RELEASES.values():
        folder = _folder(release, store)
        seen = inode(folder)
        if seen is not None and not _is_whole(release, folder) and inode(folder) == seen:
            damaged.append(f"{folder.name}: it is not what its wheel gives")
            store.drop(folder, seen=seen)
        for kept in folder.rglob("__pycache__"):
            store.drop(kept)
    return tuple(damaged)


def _folder(release: _Release, store: Store) -> Path:
    return store.tools / f"pip-{release.version}"


def _stored_wheel(release: _Release, store: Store) -> Path | None:
    # Another run may take it between two looks (`cache prune`).
    with contextlib.suppress(FileNotFoundError):
        wheel = store.file(release.sha256, release.filename)
        if wheel is not None:
            seen = inode(wheel)
            if files.digest(wheel) == release.sha256:
                return wheel
            store.drop(wheel, seen=seen)
    return None


def _is_whole(release: _Release, folder: Path) -> bool:
    """Tell whether a folder has what the wheel gives, and nothing else that Python would find there."""
    try:
        pose = (folder / _MANYLINUX).read_text(encoding="utf-8")
        return pose == _POSE and _content(folder) == release.content
    except (OSError, ValueError):
        return False


def _content(folder: Path) -> str:
    """Return the sha256 of the names and hashes of an unpacked pip's files, its own bytecode apart.

    :raises ValueError: something in it is no file.
    """
    rows = []
    for entry in _entries(folder):
        name = entry.path[len(str(folder)) + 1 :]
        if name != _MANYLINUX:
            rows.append(f"{name}\0{hashlib.sha256(Path(entry).read_bytes()).hexdigest()}\n")
    return hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder, bytecode apart.

    :raises ValueError: something in it is neither file nor folder.
    """
    with os.scandir(str(folder)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _entries(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry
            else:
                raise ValueError(f"{entry.path} is no file")


def _unpack(release: _Release, wheel: Path, folder: Path, *, store: Store) -> None:
    """Unpack pip without its .dist-info, so that no `freeze` lists it; `_manylinux.py` goes beside it."""
    with store.incoming() as made:
        import zipfile  # noqa: PLC0415 - pip is unpacked once

        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith("pip/")]
            archive.extractall(made, members)
        (made / _MANYLINUX).write_text(_POSE, encoding="utf-8")
        folder.parent.mkdir(parents=True, exist_ok=True)
        seen = inode(folder)
        if seen is not None and not _is_whole(release, folder):
            store.drop(folder, seen=seen)
        # Another run may have been first; its copy is the same, by hash.
        with contextlib.suppress(OSError):
            made.rename(folder)


def _release_for(python_version: str) -> _Release:
    fitting = (python for python in _RELEASES if Version(python) <= Version(python_version))
    return _RELEASES[max(fitting, key=Version, default="3.7")]


def _fetch(release: _Release, *, store: Store, settings: IndexSettings) -> Path | None:
    """Take pip's wheel from a folder of `--find-links`, or fetch it; `None`: pip itself has to.

    That takes longer, but pip knows more ways to an index, and says best what is wrong.
    """
    for link in settings.find_links:
        local = Path(link) / release.filename
        if "://" not in link and local.is_file() and files.digest(local) == release.sha256:
            return store.add_file(local, filename=release.filename, sha256=release.sha256)
    if settings.no_index:
        return None
    from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms
    from bundler.create.fetch.download import Downloader  # noqa: PLC0415 - as above
    from bundler.system.http import Network  # noqa: PLC0415 - as above

    network = Network(settings, retries=0)
    downloader = Downloader(store=store, settings=settings, requirements=None)
    for index in (settings.index_url or default_index(), *settings.extra_index_urls):
        page = index_pages.fetch(network, f"{index.rstrip('/')}/pip/")
        for one in index_pages.files(page, release.filename.__eq__) if page else ():
            if one.sha256 == release.sha256:
                url = Address(one.url).without_user
                artifact = Artifact(kind="wheel", filename=one.filename, url=url, sha256=one.sha256)
                with contextlib.suppress(EnvbundleError):
                    return downloader.fetch(artifact, lambda _: None)
    return None


def _download(
    release: _Release,
    *,
    store: Store,
    settings: IndexSettings,
    variables: Mapping[str, str],
    scratch: Path,
) -> Path:
    requirement = scratch / "pip.txt"
    requirement.write_text(f"pip=={release.version} --hash=sha256:{release.sha256}\n", encoding="utf-8")
    folder = scratch / "pip-wheel"
    env = process.clean_environment(
        home=scratch,
        **{
            **variables,
            **index_variables(settings),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
    )
    command = ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir"]
    # Only at its second level does it say that a page was refused.
    command += ["--dest", str(folder), "--requirement", str(requirement), "--no-input", "-vv"]
    try:
        process.run([sys.executable, "-I", "-m", "pip", *command, *index_flags(settings)], env=env)
    except CommandError as error:
        last = (error.stderr.strip().splitlines() or [error.message])[-1]
        way = "make the index reachable"
        if _REFUSED.search(f"{error.stdout}\n{error.stderr}"):
            last = "the index wants credentials"
            way = "put them into ~/.netrc, into keyring, or into the index URL of pip's configuration"
        raise MachineError(
            f"pip {release.version}, which drives the target's Python, could not be fetched: {last}",
            hint=f"{way}, or put that wheel into a folder and name it with --find-links",
        ) from error
    return store.add_file(folder / release.filename, filename=release.filename, sha256=release.sha256)
