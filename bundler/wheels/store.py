"""The content-addressed store: each wheel as a file, and once per Python unpacked, compiled, described.

Everything is made in a private folder and renamed into place, so a killed run leaves nothing that
the next one takes for good, and of two runs at once the first to finish wins. What is there is
still not believed: sizes are compared when a tree is looked up, hashes while it is copied.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import platformdirs

from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.system.json_values import SHA256
from bundler.wheels import trees, unpack
from bundler.wheels.bytecode import Compilers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bundler.model import Interpreter, WheelFacts

logger = logging.getLogger(__name__)

LAYOUT = "v1"
"""Changes when the layout or the meaning of what is stored does; old versions are left alone."""
BLOCK = 4 << 20
DAY = 86400
FACTS = "facts.json"
"""Beside each tree."""
_OWNER = ".owner"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_KEY = re.compile(r"[A-Za-z0-9_.+-]{1,200}")


class DamagedEntryError(EnvbundleError):
    """A store entry is not what it was; it has been dropped, so making it again will help."""

    exit_code = 3

    def __init__(self, entry: Path, reason: str) -> None:
        super().__init__(
            f"the store entry {entry} is damaged: {reason}",
            hint="run the command again; `envbundle cache verify` checks the whole store",
        )
        self.entry = entry


@dataclass(frozen=True, kw_only=True)
class StoredTree:
    """A wheel unpacked for one Python: read-only by convention."""

    path: Path
    facts: WheelFacts


def default_root(environ: Mapping[str, str]) -> Path:
    """Return the caller's cache folder: `ENVBUNDLE_CACHE_DIR`, else the platform's."""
    given = environ.get("ENVBUNDLE_CACHE_DIR")
    return Path(given).absolute() if given else platformdirs.user_cache_path("envbundle")


class Store:
    """A store below `root`; safe to share between processes of one user."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute() / LAYOUT
        self.files = self.root / "files"
        self.trees = self.root / "trees"
        self.built_notes = self.root / "built"
        self.texts = self.root / "texts"
        self.tools = self.root / "tools"
        self.probes = self.root / "probes"
        self.python = self.root / "python"
        self.servers = self.root / "servers"
        self.uv = self.root / "uv"
        self.tmp = self.root / "tmp"
        self._swept = False

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a private empty folder on the store's filesystem, removed afterwards.

        A lock inside tells other processes that its owner lives; `sweep` takes the folders of
        those that do not. The guard makes folder and lock one step for a sweeper.

        :raises MachineError: its filesystem is full or read-only, there or for what is put into it.
        """
        try:
            with self._private() as folder:
                yield folder
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def _private(self) -> Iterator[Path]:
        if not self._swept:
            self._swept = True
            self.sweep()
        self.tmp.mkdir(parents=True, exist_ok=True)
        with self._guard(fcntl.LOCK_SH):
            outer = Path(tempfile.mkdtemp(dir=self.tmp))
            owner = (outer / _OWNER).open("w")
            fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            inner = outer / "work"
            inner.mkdir()
            yield inner
        finally:
            shutil.rmtree(outer, ignore_errors=True)
            owner.close()

    def sweep(self) -> None:
        """Remove what killed runs left in `tmp/`."""
        if not self.tmp.is_dir():
            return
        with contextlib.suppress(BlockingIOError), self._guard(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for folder in self.tmp.iterdir():
                if folder.is_dir() and not _owned(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> MachineError:
        where = f": {error.filename}" if error.filename else ""
        return MachineError(
            f"the store {self.root} cannot be written: {error.strerror}{where}",
            hint="its filesystem must have room (bytes and inodes) and be writable; "
            "`envbundle cache prune` makes room, --cache-dir chooses another place",
        )

    @contextlib.contextmanager
    def _guard(self, kind: int) -> Iterator[None]:
        with (self.tmp / ".lock").open("w") as guard:
            fcntl.flock(guard, kind)
            yield

    def file(self, sha256: str, filename: str) -> Path | None:
        """Return a stored wheel or source distribution, or `None`. Its hash is not read again here."""
        path = self._file_path(sha256, filename)
        if not path.is_file():
            return None
        _touch(path)
        return path

    def add_file(self, source: Path | IO[bytes], *, filename: str, sha256: str) -> Path:
        """Keep a file under its hash and return where; a `source` path is copied, not moved.

        :raises InputError: the content has another hash.
        :raises MachineError: the store cannot be written.
        """
        path = self._file_path(sha256, filename)
        if path.is_file():
            return path
        with self._writing(), self.incoming() as folder:
            fresh = folder / "file"
            with contextlib.ExitStack() as stack:
                stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
                fact = unpack.write_file(
                    fresh, filename, iter(lambda: stream.read(BLOCK), b""), executable=False
                )
            if fact.sha256 != sha256:
                raise InputError(
                    f"{filename} has sha256 {fact.sha256}, not {sha256} as expected",
                    hint="the file was changed or damaged on its way, or the hash is of another file",
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(path)
        return path

    def _file_path(self, sha256: str, filename: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise InputError(f"{sha256!r} of {filename} is not a sha256", hint="it has 64 hexadecimal digits")
        if not filename or filename in {".", ".."} or set(filename) & set("/\\\0"):
            raise InputError(f"{filename!r} is not a filename")
        return self.files / sha256[:2] / sha256 / filename

    def _entry(self, sha256: str, cache_tag: str) -> Path:
        return self.trees / sha256[:2] / f"{sha256}-{cache_tag}"

    def has_tree(self, sha256: str, cache_tag: str) -> bool:
        """Tell whether a wheel has a tree, without looking into it."""
        return (self._entry(sha256, cache_tag) / FACTS).is_file()

    def tree(self, sha256: str, cache_tag: str, *, sizes: bool = True) -> StoredTree | None:
        """Return a wheel's tree, or `None` where it is not there or is damaged (and then dropped).

        :param sizes: look at every file; whoever copies them all compares them anyway.
        """
        entry = self._entry(sha256, cache_tag)
        try:
            facts = trees.load(json.loads((entry / FACTS).read_bytes()))
            if sizes:
                trees.check_sizes(entry / "tree", facts)
        except FileNotFoundError as error:
            if not entry.exists():
                return None
            self._damaged(entry, str(error))
            return None
        except trees.OutdatedError:
            self.drop(entry)
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            self._damaged(entry, str(error))
            return None
        _touch(entry / FACTS)
        return StoredTree(path=entry / "tree", facts=facts)

    def _damaged(self, entry: Path, reason: str) -> None:
        logger.warning("store entry %s is damaged and will be made again: %s", entry.name, reason)
        self.drop(entry)

    def drop(self, entry: Path) -> None:
        """Remove a file or tree of the store in one step."""
        with self.incoming() as folder, contextlib.suppress(FileNotFoundError):
            entry.rename(folder / "dropped")

    def ensure_tree(
        self, wheel: Path, sha256: str, interpreter: Interpreter, compilers: Compilers | None = None
    ) -> StoredTree:
        """Return a wheel's tree, made from its file where the store lacks it; see `ensure_trees`."""
        return self.ensure_trees([(wheel, sha256)], interpreter, compilers=compilers)[sha256]

    def ensure_trees(
        self,
        items: Iterable[tuple[Path, str]],
        interpreter: Interpreter,
        progress: Callable[[int], None] = lambda _: None,
        compilers: Compilers | None = None,
        *,
        sizes: bool = True,
    ) -> dict[str, StoredTree]:
        """Return the trees of many wheels by sha256; what is lacking is made, several at a time.

        :param items: wheel file under its own name, and its sha256.
        :param progress: called with 1 for each wheel that is ready, on the calling thread.
        :param compilers: of this interpreter, where several calls share them.
        :raises InputError: a wheel is not what it says (`wheels.unpack`).
        :raises MachineError: the store cannot be written.
        :raises DamagedEntryError: a wheel file is gone or has another hash; the store's own is dropped.
        """
        ready: dict[str, StoredTree] = {}
        lacking: dict[str, Path] = {}
        for wheel, sha256 in items:
            found = self.tree(sha256, interpreter.cache_tag, sizes=sizes)
            if found is None:
                if not wheel.is_file():
                    raise DamagedEntryError(wheel, "it is gone")
                lacking[sha256] = wheel
            else:
                ready[sha256] = found
                progress(1)
        if lacking:
            with (
                self._writing(),
                self.incoming() as folder,
                contextlib.nullcontext(compilers) if compilers else Compilers(interpreter) as ours,
                contextlib.closing(trees.make(lacking, interpreter, folder, ours)) as making,
            ):
                for sha256, facts in making:
                    if facts is None:
                        if lacking[sha256].is_relative_to(self.files):
                            self.drop(lacking[sha256])
                        raise DamagedEntryError(lacking[sha256], f"its sha256 is not {sha256}")
                    ready[sha256] = self._publish(folder / sha256, facts, interpreter.cache_tag)
                    progress(1)
        return ready

    def _publish(self, made: Path, facts: WheelFacts, cache_tag: str) -> StoredTree:
        (made / FACTS).write_text(json.dumps(trees.dump(facts), separators=(",", ":")))
        entry = self._entry(facts.sha256, cache_tag)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            made.rename(entry)
        except OSError:
            # Another run made it first: the bytes are the same.
            winner = self.tree(facts.sha256, cache_tag)
            if winner is not None:
                return winner
            made.rename(entry)
        return StoredTree(path=entry / "tree", facts=facts)

    def built(self, key: str) -> Path | None:
        """Return the stored wheel that was built for a key (source, interpreter, pose), if it is there."""
        path = self._built_path(key)
        try:
            note = json.loads(path.read_bytes())
            return self.file(note["sha256"], note["filename"])
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return None

    def remember_built(self, key: str, wheel: Path) -> None:
        """Write down which stored wheel a key was built into.

        :raises MachineError: the store cannot be written.
        """
        note = json.dumps({"sha256": wheel.parent.name, "filename": wheel.name})
        self._write(self._built_path(key), note.encode())

    def _built_path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        return self.built_notes / f"{key}.json"

    def text(self, key: str) -> str | None:
        """Return a text that was kept under a key, or `None` where it is not there or is damaged.

        :param key: sha256 over all that the text is made of.
        """
        path = self._text_path(key)
        try:
            digest, _, data = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if digest.decode("ascii", "replace") != hashlib.sha256(data).hexdigest():
            self._damaged(path, "its content has another sha256")
            return None
        _touch(path)
        return data.decode()

    def keep_text(self, key: str, text: str) -> None:
        """Keep a text under a key, so that it need not be made again.

        :raises MachineError: the store cannot be written.
        """
        data = text.encode()
        self._write(self._text_path(key), hashlib.sha256(data).hexdigest().encode() + b"\n" + data)

    def _text_path(self, key: str) -> Path:
        if not SHA256.fullmatch(key):
            raise ValueError(f"not a sha256: {key!r}")
        return self.texts / key

    def _write(self, path: Path, data: bytes) -> None:
        with self._writing(), self.incoming() as folder:
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / "file").write_bytes(data)
            (folder / "file").replace(path)


def _owned(folder: Path) -> bool:
    try:
        with (folder / _OWNER).open("r+") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _touch(path: Path) -> None:
    """Note that an entry is in use, at most once a day; `prune` reads it."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY:
            os.utime(path)
