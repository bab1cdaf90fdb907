"""Makes the new bundle of an old one and a delta, and the workplace beside it in which that is done.

The same on the builder, in the applier that travels in each delta, and in the loader of a parcel.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading

# <joined: bounded.py>
from bundler.ontarget.bounded import TooLargeError, open_regular, read_regular

# </joined>
# <joined: checksums.py>
from bundler.ontarget.checksums import BUFFER, MANIFEST, SUMS, hash_files, sums_text, walk

# </joined>
# <joined: delta_format.py>
from bundler.ontarget.delta_format import (
    ADDED,
    BLOCK,
    COPIED,
    ENDINGS,
    MOST_MANIFEST,
    PLAIN,
    STREAMS,
    Delta,  # noqa: F401 - used in type comments
    LackingError,
    Row,
    Stream,
    UnusableDeltaError,
    add,
    base_order,
    folders_of,
    read_rows,
    split,
)

# </joined>

MYPY = False
if MYPY:
    from collections.abc import Callable, Iterator, Sequence  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments


class Making:
    """A new bundle in the making: `old` and `delta` are read, `folder` is written."""

    def __init__(self, old, delta, base, folder):
        # type: (str, Delta, dict[str, Any], str) -> None
        self._old = os.fsencode(old)
        self._folder = os.fsencode(folder)
        self._delta = delta
        self._base = base
        self._streams = {}  # type: dict[str, Stream]
        self._failures = []  # type: list[BaseException]

    def __enter__(self):
        # type: () -> Making
        for name in STREAMS:
            file = "{}.{}.{}".format(
                self._delta.bases.index(self._base), name, ENDINGS[self._delta.compression]
            )
            path = os.path.join(self._delta.folder, file)
            try:
                stream = self._streams[name] = Stream(path, self._delta.compression)
                stream.check(self._base["streams"][name]["size"], self._base["streams"][name]["sha256"])
            except OSError as error:
                self.__exit__()
                raise UnusableDeltaError("{}: {}".format(path, error.strerror or error))  # noqa: B904 - Python 2 parses this
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_):
        # type: (object) -> None
        for stream in self._streams.values():
            stream.close()

    def make(self, manifest, admit):
        # type: (bytes, Callable[[bytes], object]) -> int
        """Write all files; return how many. `manifest` is the base's, empty where there is none."""
        old = read_rows(manifest, os.path.join(os.fsdecode(self._old), MANIFEST)) if manifest else {}
        result = self._delta.result
        described = Row(MANIFEST, result["manifest_sha256"], result["manifest_size"], "0644")
        self._change(described, old)
        with open(self._path(self._folder, MANIFEST), "rb") as file:
            data = file.read()
        new = read_rows(data, "the new {}".format(MANIFEST))
        admit(data)
        size = sum(row.size for row in new.values())
        free = shutil.disk_usage(self._folder).free
        if size > free:
            message = "the new bundle has {:,} bytes, and there is room for {:,}".format(size, free)
            raise LackingError(message)
        for path in folders_of(new):
            place = self._path(self._folder, path)
            os.mkdir(place)
            # The umask of the caller must not decide who may read the bundle.
            os.chmod(place, 0o755)  # noqa: S103 - as in every bundle
        same, changed = split(old, new)
        work = iter(sorted(same, key=lambda one: one[0].size, reverse=True))
        worker = threading.Thread(target=self._copy_some, args=(work,))
        worker.start()
        try:
            for row in changed:
                self._change(row, old)
            for stream in self._streams.values():
                stream.end()
        except BaseException as error:
            self._failures.append(error)
            raise
        finally:
            self._copy_some(work)
            worker.join()
        if self._failures:
            raise self._failures[0]
        sums = sums_text((row.path, row.sha256) for row in new.values()).encode("utf-8", "surrogateescape")
        self._write(Row(SUMS, hashlib.sha256(sums).hexdigest(), len(sums), "0644"), iter((sums,)))
        return len(new) + 1

    def _path(self, folder, path):
        # type: (bytes, str) -> bytes
        return folder + b"/" + path.encode("utf-8", "surrogateescape")

    def _copy_some(self, work):
        # type: (Iterator[tuple[Row, str]]) -> None
        """Copy files of the base until there are none left, or something went wrong anywhere."""
        buffer = bytearray(BUFFER)
        for row, place in work:
            if self._failures:
                return
            try:
                reader = self._open(place)
                try:
                    sound = self._write(row, _blocks(reader, memoryview(buffer), row.size))
                finally:
                    os.close(reader)
                if not sound:
                    raise self._damaged(place)
            except BaseException as error:  # noqa: BLE001 - raised by `make`, in its own thread
                self._failures.append(error)

    def _open(self, place):
        # type: (str) -> int
        """Open a file of the base."""
        try:
            return open_regular(self._path(self._old, place))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EIO):
                raise
            raise self._damaged(place)  # noqa: B904 - Python 2 parses this

    def _damaged(self, place):
        # type: (str) -> UnusableDeltaError
        message = "{}/{} is not as its manifest says".format(os.fsdecode(self._old), place)
        return UnusableDeltaError(message, "`verify.py` says what else is wrong; copy that bundle here again")

    def _write(self, row, blocks):
        # type: (Row, Iterator[bytes | memoryview]) -> bool
        """Write a file of the new bundle; tell whether it has the content that its manifest says."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = int(row.mode, 8)
        writer = os.open(self._path(self._folder, row.path), flags, mode)
        digest = hashlib.sha256()
        size = 0
        try:
            os.fchmod(writer, mode)
            for block in blocks:
                digest.update(block)
                size += len(block)
                done = os.write(writer, block)
                while done < len(block):
                    done += os.write(writer, memoryview(block)[done:])
        finally:
            os.close(writer)
        return size == row.size and digest.hexdigest() == row.sha256

    def _change(self, row, old):
        # type: (Row, dict[str, Row]) -> None
        """Write the next file that is in the delta."""
        control = self._streams["control"]
        method, number = control.number(), control.number()
        if method == PLAIN and number == 0:
            sound = self._write(row, self._content(row.size))
        elif method in (COPIED, ADDED) and number <= len(old):
            place = row.path if number == 0 else base_order(old)[number - 1]
            if place not in old:
                raise UnusableDeltaError("the delta makes {!r} of a file that is not there".format(row.path))
            reader = self._open(place)
            try:
                blocks = self._patched(row, reader, old[place], method == ADDED)
                sound = self._write(row, blocks)
            finally:
                os.close(reader)
            if not sound:
                found = hash_files(os.fsdecode(self._old), [(place, old[place].size, 0)], 1)[place]
                if found != (old[place].sha256, old[place].size):
                    raise self._damaged(place)
        else:
            raise UnusableDeltaError("the delta makes {!r} in a way that is unknown".format(row.path))
        if not sound:
            raise UnusableDeltaError("the delta gives {!r} another content than it says".format(row.path))

    def _content(self, size):
        # type: (int) -> Iterator[bytes]
        while size > 0:
            count = min(size, BLOCK)
            yield self._streams["content"].read(count)
            size -= count

    def _patched(self, row, reader, base, adds):
        # type: (Row, int, Row, bool) -> Iterator[bytes]
        """Yield the bytes of a file that is made of parts of a base, and content between them."""
        control, difference = self._streams["control"], self._streams["difference"]
        at, left = 0, row.size
        while left:
            at += control.signed()
            copied, inserted = control.number(), control.number()
            if not 0 < copied + inserted <= left:
                problem = "has no end" if copied + inserted == 0 else "is longer than it says"
                raise UnusableDeltaError("the delta: {!r} {}".format(row.path, problem))
            if copied and not 0 <= at <= base.size - copied:
                raise UnusableDeltaError("the delta: {!r} reads beyond its base".format(row.path))
            left -= copied + inserted
            while copied:
                block = os.pread(reader, min(copied, BLOCK), at)
                if not block:
                    raise self._damaged(base.path)
                at += len(block)
                copied -= len(block)
                yield add(block, difference.read(len(block))) if adds else block
            for block in self._content(inserted):
                yield block


def _blocks(reader, view, size):
    # type: (int, memoryview, int) -> Iterator[memoryview]
    """Yield the first bytes of a file, all in the same buffer; one more than `size` is not read."""
    while size > 0:
        count = os.readv(reader, [view[: min(size, len(view))]])
        if not count:
            return
        size -= count
        yield view[:count]


def make(old, delta, folder, admit=lambda _: None):
    # type: (str, Delta, str, Callable[[bytes], object]) -> int
    """Write the bundle that a delta makes of an old one into an empty folder; return the number of its files.

    `old` is empty where the delta carries a whole bundle. `admit` is called with the new manifest.json before
    another file is written. Raises UnusableDeltaError, LackingError, OSError, and what `admit` raises; what
    is in the folder then is nothing whole.
    """
    try:
        manifest = read_regular(os.path.join(old, MANIFEST), MOST_MANIFEST) if old else b""
    except (OSError, TooLargeError) as error:
        said = getattr(error, "strerror", "") or error
        raise UnusableDeltaError(  # noqa: B904 - Python 2 parses this
            "{}: {}".format(os.path.join(old, MANIFEST), said), "name the folder of the old bundle"
        )
    sha256 = hashlib.sha256(manifest).hexdigest()
    for base in delta.bases:
        if base["manifest_sha256"] == sha256:
            with Making(old, delta, base, folder) as making:
                return making.make(manifest, admit)
    names = ", ".join("{} ({})".format(one["name"], one["manifest_sha256"][:16]) for one in delta.bases)
    raise UnusableDeltaError(
        "{} is not what {} was made for: its manifest.json has the sha256 {}, wanted is {}".format(
            old, delta.folder, sha256[:16], names
        ),
        "apply it to that bundle, or get a delta for this one",
    )


def make_all(old, deltas, folder, scratch):
    # type: (str, Sequence[Delta], str, str) -> int
    """Apply deltas one after another; as `make`, with an empty folder for what lies between them."""
    count = 0
    for number, delta in enumerate(deltas):
        last = number == len(deltas) - 1
        target = folder if last else os.path.join(scratch, str(number))
        if not last:
            os.mkdir(target)
        count = make(old, delta, target)
        if number:
            shutil.rmtree(old)
        old = target
    return count


def is_there(output, manifest_sha256):
    # type: (str, str) -> bool
    """Tell whether the bundle whose manifest.json has a sha256 is at a path already, whole."""
    try:
        data = read_regular(os.path.join(output, MANIFEST), MOST_MANIFEST)
        if hashlib.sha256(data).hexdigest() != manifest_sha256:
            return False
        rows = read_rows(data, output)
        sums = sums_text((row.path, row.sha256) for row in rows.values()).encode("utf-8", "surrogateescape")
        rows[SUMS] = Row(SUMS, hashlib.sha256(sums).hexdigest(), len(sums), "0644")
        files, irregular = walk(output)
    except (OSError, ValueError, UnusableDeltaError):
        return False
    wanted = {row.path: (row.sha256, row.size) for row in rows.values()}
    if irregular or {one[0]: one[1] for one in files} != {row.path: row.size for row in rows.values()}:
        return False
    return hash_files(output, files) == wanted


def flush(folder):
    # type: (str) -> None
    """Write the file system that holds a folder to the disk; all of them, if this Python has no ctypes.

    Other programs may have much to write elsewhere, which would be waited for.
    """
    done = False
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes  # noqa: PLC0415 - some images have a Python without it

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            done = ctypes.CDLL(None).syncfs(descriptor) == 0
        finally:
            os.close(descriptor)
    if not done:
        os.sync()


def flush_folder(folder):
    # type: (str) -> None
    """Write the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(one, other):
    # type: (str, str) -> bool
    """Swap two files or folders in one step (renameat2(2)); False where C library or file system cannot."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes  # noqa: PLC0415 - some images have a Python without it

        here = -100  # AT_FDCWD; 2 is RENAME_EXCHANGE
        names = os.fsencode(one), os.fsencode(other)
        return bool(ctypes.CDLL(None).renameat2(here, names[0], here, names[1], 2) == 0)
    return False


@contextlib.contextmanager
def workplace(output):
    # type: (str) -> Iterator[str]
    """Give a folder beside the output to this run alone, empty, and remove it afterwards.

    Name and lock are those of envbundle on the builder (`bundler.system.workspace`): what one leaves
    when it is killed, the next run of either removes.
    """
    parent, name = os.path.split(output)
    folder = os.path.join(parent, ".{}.envbundle".format(name))
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise UnusableDeltaError("{} belongs to another user".format(folder), "choose another place")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), os.lstat(folder)):
                raise OSError
        except OSError:
            raise UnusableDeltaError(  # noqa: B904 - Python 2 parses this
                "another run is making {}".format(output), "wait for it to end"
            )
        os.fchmod(descriptor, 0o700)
        retired = os.path.join(folder, "retired")
        if os.path.isdir(retired) and not os.path.lexists(output):
            os.rename(retired, output)  # a killed run of envbundle had moved it aside
        try:
            for entry in os.listdir(folder):
                _remove(os.path.join(folder, entry))
            yield folder
        finally:
            try:
                shutil.rmtree(folder, ignore_errors=True)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)  # a signal came meanwhile
                raise
    finally:
        os.close(descriptor)


def _remove(path):
    # type: (str) -> None
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
