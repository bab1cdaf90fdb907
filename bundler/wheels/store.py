"""The content-addressed store: wheels as files, and unpacked, compiled and described for each Python.

Every entry is made in a private folder and renamed into place: a killed run leaves no half of an entry, and
of two runs that make the same one the first wins. Entries are checked all the same: the sizes of a tree when
it is looked up, its hashes when it is copied.
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
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import platformdirs

from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Built, Interpreter, WheelFacts
from bundler.ontarget.bounded import read_regular
from bundler.system import files, json_values
from bundler.system.json_values import SHA256
from bundler.wheels import trees
from bundler.wheels.bytecode import Compilers

logger = logging.getLogger(__name__)

LAYOUT = "v1"
"""Version of the layout; the folders of other versions are left alone."""
BLOCK = 4 << 20
DAY = 86400
PUBLISHING = 100
"""Attempts to put a tree where another run puts the same one and a third takes it away."""
FACTS = "facts.json"
"""Beside each tree: the sha256 of the facts, a line break, and the facts."""
NOTE = ".note"
"""Ending of what is noted of a build."""
LARGEST = 512 << 20
"""Bytes of facts or of a text; more is damage."""
LOGS = "logs"
"""Folder of what builds from source printed before they failed."""
UNREADABLE = (ValueError, KeyError, TypeError, OSError)
"""What a damaged tree raises."""
_OWNER = ".owner"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_KEY = re.compile(r"[A-Za-z0-9_.+-]{1,200}")


class DamagedEntryError(EnvbundleError):
    """A store entry has changed since it was made. It is removed, so the next run makes it again."""

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
    """A store below `root`, which the processes of one user may share."""

    def __init__(self, root: Path) -> None:
        try:
            str(root).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"the cache {str(root)!r} has a name that is not UTF-8", hint="choose another --cache-dir"
            ) from None
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
        self._care_note = self.root / ".care"
        self._swept = False
        self._sweeping = threading.Lock()

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """Make a private empty folder on the store's filesystem, and remove it afterwards.

        The owner holds a lock on a file in it; `sweep` removes the folders without a lock. The guard keeps
        `sweep` away until the lock is held.

        :raises MachineError: the filesystem is full or read-only, now or for what is written to the folder.
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
        with self._sweeping:  # no thread of this run holds the lock that a sweep needs
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
            files.remove(outer)
            owner.close()

    def sweep(self) -> None:
        """Remove the private folders that killed runs left."""
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
        """Return a stored wheel or source distribution, or `None`; its hash is not checked."""
        path = self._file_path(sha256, filename)
        seen = inode(path)
        if seen is None:
            return None
        if not is_regular(path):
            self.discard(path, "it is no file", seen=seen)
            return None
        _touch(path)
        return path

    def add_file(self, source: Path | IO[bytes], *, filename: str, sha256: str) -> Path:
        """Copy a file into the store under its hash, and return its path there.

        :raises InputError: the content has another hash.
        :raises MachineError: the store cannot be written.
        """
        path = self._file_path(sha256, filename)
        if self.file(sha256, filename):
            return path
        with self._writing(), self.incoming() as folder:
            fresh = folder / "file"
            with contextlib.ExitStack() as stack:
                stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
                fact = files.write_new(
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

    def take_file(self, fresh: Path, *, filename: str, sha256: str) -> Path:
        """Move a file into the store, and return its path there.

        :param fresh: in a folder of `incoming`, written by the caller, who has hashed what was written.
        :raises MachineError: the store cannot be written.
        """
        path = self._file_path(sha256, filename)
        if self.file(sha256, filename):
            return path
        with self._writing():
            fresh.chmod(0o644)  # as `write_new` has it, whatever the umask
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
        return self.trees / sha256[:2] / f"{sha256}-{cache_tag}.{trees.VERSION}"

    def has_tree(self, sha256: str, cache_tag: str) -> bool:
        """Tell whether a wheel has a tree, without checking it."""
        return (self._entry(sha256, cache_tag) / FACTS).is_file()

    def tree(self, sha256: str, cache_tag: str, *, sizes: bool = True) -> StoredTree | None:
        """Return a wheel's tree, or `None` where there is none; a damaged one is removed.

        :param sizes: check the size of every file. Copying the tree checks the hashes anyway.
        """
        entry = self._entry(sha256, cache_tag)
        seen = inode(entry)
        if seen is None:
            return None
        try:
            found = read_tree(entry, sizes=sizes)
        except UNREADABLE as error:
            self.discard(entry, str(error), seen=seen)
            return None
        _touch(entry / FACTS)
        return found

    def discard(self, entry: Path, reason: str, *, seen: int) -> None:
        """Remove a damaged file or tree, and say so: the next that needs it makes it again.

        :param seen: its inode before it was looked at: what another run has placed or taken since is not
            damaged.
        """
        if inode(entry) == seen:
            logger.warning("store entry %s is damaged and will be made again: %s", entry.name, reason)
            self.drop(entry, seen=seen)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Hold off those that look after the whole store (`taking_away`), until the body has ended."""
        with self._care(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def taking_away(self) -> Iterator[None]:
        """Wait until nobody is `keeping` the store, and note that sound entries may go (`losses`)."""
        with self._care(fcntl.LOCK_EX) as note:
            note.write(f"{time.time_ns():020}")
            note.flush()
            yield

    def losses(self) -> str:
        """Return what changes each time that an entry is taken away, for no fault of it."""
        try:
            return self._care_note.read_text()
        except OSError:
            return ""

    @contextlib.contextmanager
    def _care(self, kind: int) -> Iterator[IO[str]]:
        self.root.mkdir(parents=True, exist_ok=True)
        self._care_note.touch()
        with self._care_note.open("r+") as note:
            fcntl.flock(note, kind)
            yield note

    def drop(self, entry: Path, *, seen: int | None = None) -> None:
        """Remove a file or tree of the store in one step.

        :param seen: the inode of what is meant; what another run has put in its place meanwhile stays.
        """
        with self.incoming() as folder, contextlib.suppress(FileNotFoundError):
            dropped = entry.rename(folder / "dropped")
            if seen is not None and inode(dropped) != seen:
                with contextlib.suppress(OSError):
                    dropped.rename(entry)

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
        """Return the trees of wheels by sha256; missing ones are made, several at a time.

        :param items: wheel file under its own name, and its sha256.
        :param progress: called with 1 for each tree that is ready, on the calling thread.
        :param compilers: of this interpreter, where several calls share them.
        :param sizes: see `tree`.
        :raises InputError: a wheel is malformed (`wheels.unpack`).
        :raises MachineError: the store cannot be written.
        :raises DamagedEntryError: a wheel file is gone or has another hash; a stored one is removed.
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
        (made / FACTS).write_bytes(_sealed(json.dumps(trees.dump(facts), separators=(",", ":"))))
        entry = self._entry(facts.sha256, cache_tag)
        entry.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(PUBLISHING):
            if _renamed(made, entry):
                return StoredTree(path=entry / "tree", facts=facts)
            # Another run made it first: the bytes are the same, unless somebody takes it away meanwhile.
            winner = self.tree(facts.sha256, cache_tag)
            if winner is not None:
                return winner
        raise DamagedEntryError(entry, "it is made and taken away all the time")

    def built(self, key: str) -> tuple[Path, Built] | None:
        """Return the stored wheel that was built for a key (source, interpreter, pose, tools), and how."""
        path = self._built_path(key)
        try:
            note = _read_note(path)
            wheel = self.file(note["sha256"].sha256(), note["filename"].text())
            return (wheel, json_values.from_json(Built, note)) if wheel else None
        except (InputError, *UNREADABLE):
            return None

    def ever_built(self, key: str) -> Built | None:
        """Return how a wheel was built for a key, even where the wheel is gone."""
        path = self._built_path(key)
        try:
            return json_values.from_json(Built, _read_note(path))
        except (InputError, *UNREADABLE):
            return None

    def remember_built(self, key: str, wheel: Path, built: Built) -> None:
        """Note the stored wheel that was built for a key, and how.

        :raises MachineError: the store cannot be written.
        """
        note = json.dumps({"filename": wheel.name, **json_values.as_json(built)})
        self._write(self._built_path(key), _sealed(note))

    def _built_path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        return self.built_notes / f"{key}{NOTE}"

    def text(self, key: str) -> str | None:
        """Return the text under a key, or `None` where there is none or it is damaged.

        :param key: sha256 of everything that decides the text.
        """
        path = self._text_path(key)
        seen = inode(path)
        if seen is None:
            return None
        try:
            text = read_text(path)
        except FileNotFoundError:
            return None
        except UNREADABLE as error:
            self.discard(path, str(error), seen=seen)
            return None
        _touch(path)
        return text

    def keep_text(self, key: str, text: str) -> None:
        """Keep a text under a key.

        :raises MachineError: the store cannot be written.
        """
        self._write(self._text_path(key), _sealed(text))

    def _text_path(self, key: str) -> Path:
        if not SHA256.fullmatch(key):
            raise ValueError(f"not a sha256: {key!r}")
        return self.texts / key

    def _write(self, path: Path, data: bytes) -> None:
        with self._writing(), self.incoming() as folder:
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / "file").write_bytes(data)
            try:
                (folder / "file").replace(path)
            except IsADirectoryError:  # somebody made one there: it goes with the private folder
                files.place(folder / "file", path)


def _renamed(made: Path, entry: Path) -> bool:
    """Rename a folder; tell whether there was none of that name."""
    try:
        made.rename(entry)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def read_tree(entry: Path, *, sizes: bool = True) -> StoredTree:
    """Return the tree of an entry.

    :raises ValueError: it is damaged, as with the others of `UNREADABLE`.
    """
    facts = trees.load(json.loads(read_text(entry / FACTS)))
    if sizes:
        trees.check_sizes(entry / "tree", facts)
    return StoredTree(path=entry / "tree", facts=facts)


def _sealed(text: str) -> bytes:
    """Return a text as it is kept: behind its sha256, so that no damage to it can pass for what was kept."""
    data = text.encode()
    return hashlib.sha256(data).hexdigest().encode() + b"\n" + data


def read_text(path: Path) -> str:
    """Return a text that was kept.

    :raises ValueError: it is damaged, as with the others of `UNREADABLE`.
    """
    digest, _, data = read_regular(path, LARGEST).partition(b"\n")
    if digest != hashlib.sha256(data).hexdigest().encode():
        raise ValueError("its content has another sha256")
    return data.decode()


def _read_note(path: Path) -> json_values.Value:
    """Return what was noted of a build.

    :raises InputError, ValueError: it is damaged, as with the others of `UNREADABLE`.
    """
    return json_values.parse(read_text(path).encode(), source=str(path))


def inode(path: Path) -> int | None:
    """Return what tells an entry from another of its name; `None`: there is none."""
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def is_regular(path: Path) -> bool:
    """Tell a file from all else that may have its name: a link, a folder, a FIFO, nothing."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


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
    """Set the time of an entry that is used, at most once a day; `prune` reads it."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY:
            os.utime(path)
