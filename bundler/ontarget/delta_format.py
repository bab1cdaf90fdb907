"""The format of a delta (docs/delta.md): its description, its streams, and the order of the files in it.

The same on the builder, which writes deltas, and in the applier that travels in each of them.
"""

import hashlib
import os
import re
import zlib

# <joined: bounded.py>
from bundler.ontarget.bounded import TooLargeError, open_regular, parse_json, read_regular

# </joined>
# <joined: checksums.py>
from bundler.ontarget.checksums import (
    BUFFER,
    LONGEST_PATH,
    MANIFEST,
    SUMS,
    manifest_digest,
    tree_digest,
)

# </joined>

MYPY = False
if MYPY:
    from collections.abc import Iterable  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

KIND = "envbundle-delta"
SCHEMA_VERSION = "1.0"
DESCRIPTION = "delta.json"
STREAMS = ("control", "difference", "content")
ENDINGS = {"xz": "xz", "zlib": "zz"}
PLAIN = 0
"""A changed file is made of content alone."""
COPIED = 1
"""It is made of parts of a file of the base, and content between them."""
ADDED = 2
"""As `COPIED`, with a difference added to these parts, byte by byte."""
MOST_DESCRIPTION = 1 << 20
MOST_MANIFEST = 64 << 20
MOST_COMPRESSED = 4 << 30
"""Bytes of a stream on disk."""
MOST_MEMORY = 48 << 20
"""Bytes that decompressing one stream may take: a dictionary of 32 MiB fits."""
MOST_BITS = 63
"""Of a number in the control stream."""
BLOCK = 1 << 16
"""Bytes that are decompressed, added and written at a time."""
NOTHING = hashlib.sha256(b"").hexdigest()
"""Stands for the manifest of a base where a delta needs none: it carries the whole bundle."""
LONGEST_NAME = 255
"""Bytes of a file's name, in every usual file system."""
SHA256 = re.compile(r"[0-9a-f]{64}")
AGAIN = "get the delta again, whole, from where it was made"


class UnusableDeltaError(Exception):
    """The caller must act: the delta is damaged or hostile, or does not fit the bundle."""

    def __init__(self, message, hint=AGAIN):
        # type: (str, str) -> None
        Exception.__init__(self, message)
        self.hint = hint


class LackingError(Exception):
    """This Python or this disk cannot do it."""


class Delta:
    """A delta's folder and its description, which is sound where `read_delta` returned it."""

    def __init__(self, folder, described):
        # type: (str, dict[str, Any]) -> None
        self.folder = folder
        self.compression = described["compression"]  # type: str
        self.result = described["result"]  # type: dict[str, Any]
        self.bases = described["bases"]  # type: list[dict[str, Any]]


def read_delta(folder):
    # type: (str) -> Delta
    """Read and check a delta's description; raises UnusableDeltaError."""
    path = os.path.join(folder, DESCRIPTION)
    try:
        described = parse_json(read_regular(path, MOST_DESCRIPTION))
        if described["kind"] != KIND:
            raise UnusableDeltaError("{}: is not the description of a delta".format(path))
        if described["schema_version"].split(".")[0] != "1":
            raise UnusableDeltaError(
                "{}: has a schema version that this program does not know".format(path),
                "use the apply.py that is in the delta",
            )
        delta = Delta(folder, described)
        sums = [delta.result["manifest_sha256"]]
        sizes = [(delta.result["manifest_size"], MOST_MANIFEST)]
        for base in delta.bases:
            rows = [base["streams"][name] for name in STREAMS]
            sums += [base["manifest_sha256"]] + [row["sha256"] for row in rows]
            sizes += [(row["size"], MOST_COMPRESSED) for row in rows]
        sound = (
            delta.compression in ENDINGS
            and isinstance(delta.bases, list)
            and delta.bases
            and all(isinstance(one["name"], str) for one in delta.bases + [delta.result])
            and all(SHA256.fullmatch(one) for one in sums)
            and all(type(one) is int and 0 <= one <= most for one, most in sizes)
        )
    except OSError as error:
        raise UnusableDeltaError(  # noqa: B904 - Python 2 parses this
            "{}: {}".format(path, error.strerror or error), "name the folder that `envbundle delta` made"
        )
    except TooLargeError as error:
        raise UnusableDeltaError("{}: {}".format(path, error))  # noqa: B904 - Python 2 parses this
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise UnusableDeltaError("{}: is damaged".format(path))
    return delta


class _Inflate:
    """zlib's decompressor, as those of bz2 and lzma are called."""

    def __init__(self):
        # type: () -> None
        self._machine = zlib.decompressobj()

    def decompress(self, data, most):
        # type: (bytes, int) -> bytes
        return self._machine.decompress(self._machine.unconsumed_tail + data, most)

    @property
    def needs_input(self):
        # type: () -> bool
        return not self._machine.unconsumed_tail

    @property
    def eof(self):
        # type: () -> bool
        return self._machine.eof

    @property
    def unused_data(self):
        # type: () -> bytes
        return self._machine.unused_data


def _decompressor(compression):
    # type: (str) -> tuple[Any, tuple[type[Exception], ...]]
    """Return a decompressor and the errors that it raises."""
    if compression == "zlib":
        return _Inflate(), (zlib.error,)
    try:
        import lzma  # noqa: PLC0415 - some images have a Python without it
    except ImportError:
        message = (
            "this Python has no lzma, which the delta is compressed with: see `delta --compression zlib`"
        )
        raise LackingError(message)  # noqa: B904 - Python 2 parses this
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY), (lzma.LZMAError,)


class Stream:
    """The bytes of one compressed file of a delta, one after another."""

    def __init__(self, path, compression):
        # type: (str, str) -> None
        self._path = path
        self._machine, self._errors = _decompressor(compression)
        self._file = os.fdopen(open_regular(path), "rb")
        self._buffer = b""
        self._at = 0

    def close(self):
        # type: () -> None
        """Close the file."""
        self._file.close()

    def check(self, size, sha256):
        # type: (int, str) -> None
        """Compare the file with what the description says of it."""
        found = os.fstat(self._file.fileno()).st_size
        if found != size:
            message = "{} has {} bytes, and {} says {}".format(self._path, found, DESCRIPTION, size)
            raise UnusableDeltaError(message)
        digest = hashlib.sha256()
        for block in iter(lambda: self._file.read(BUFFER), b""):
            digest.update(block)
        if digest.hexdigest() != sha256:
            raise UnusableDeltaError("{} is not as {} says".format(self._path, DESCRIPTION))
        self._file.seek(0)

    def _fill(self):
        # type: () -> None
        """Append some bytes to the buffer."""
        data = self._file.read(BLOCK) if self._machine.needs_input else b""
        try:
            if self._machine.eof:
                raise UnusableDeltaError("{} ends too early".format(self._path))
            more = self._machine.decompress(data, BLOCK)
        except self._errors as error:
            raise UnusableDeltaError(  # noqa: B904 - Python 2 parses this
                "{} cannot be decompressed: {}".format(self._path, error)
            )
        if not more and not data and not self._machine.eof:
            raise UnusableDeltaError("{} ends too early".format(self._path))
        self._buffer = self._buffer[self._at :] + more
        self._at = 0

    def read(self, count):
        # type: (int) -> bytes
        """Return the next bytes; at most `BLOCK` are asked for."""
        while len(self._buffer) - self._at < count:
            self._fill()
        self._at += count
        return self._buffer[self._at - count : self._at]

    def number(self):
        # type: () -> int
        """Return the next number: seven bits a byte, the lowest first (LEB128)."""
        value = 0
        for shift in range(0, MOST_BITS, 7):
            if self._at == len(self._buffer):
                self.read(1)
                self._at -= 1
            byte = self._buffer[self._at]
            self._at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise UnusableDeltaError("{} has a number of more than {} bits".format(self._path, MOST_BITS))

    def signed(self):
        # type: () -> int
        """Return the next number with a sign, which is its lowest bit."""
        value = self.number()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def end(self):
        # type: () -> None
        """Refuse what stands behind the last byte that was asked for."""
        while not self._machine.eof and self._at == len(self._buffer):
            self._fill()
        if self._at < len(self._buffer) or self._machine.unused_data or self._file.read(1):
            raise UnusableDeltaError("{} goes on where it must end".format(self._path))


class Row:
    """A file as a manifest lists it."""

    __slots__ = ("mode", "path", "sha256", "size")

    def __init__(self, path, sha256, size, mode):
        # type: (str, str, int, str) -> None
        self.path, self.sha256, self.size, self.mode = path, sha256, size, mode


def read_rows(data, source):
    # type: (bytes, str) -> dict[str, Row]
    """Return path to row of all that a manifest lists, and of the manifest itself, which comes first.

    Raises UnusableDeltaError: no manifest, it does not fit its own digests, or a path leaves the bundle.
    """
    try:
        manifest = parse_json(data)
        if manifest["kind"] != "envbundle-manifest" or manifest["schema_version"].split(".")[0] != "1":
            raise UnusableDeltaError("{}: is not a manifest that this program knows".format(source))
        listed = [Row(*row) for row in manifest["files"] + manifest["documents"]]
        for row in listed:
            _check_row(row, source)
        files = [(row[0], row[1], row[2], row[3]) for row in manifest["files"]]
        sound = (
            manifest_digest(manifest) == manifest["manifest_digest"]
            and tree_digest(files) == manifest["digest"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UnusableDeltaError("{}: is damaged: it does not fit its own digest".format(source))
    rows = {MANIFEST: Row(MANIFEST, hashlib.sha256(data).hexdigest(), len(data), "0644")}
    for row in listed:
        if row.path in rows or row.path == SUMS:
            raise UnusableDeltaError("{}: lists {!r} twice".format(source, row.path))
        rows[row.path] = row
    for folder in folders_of(rows):
        if folder in rows or folder == SUMS:
            raise UnusableDeltaError("{}: {!r} is a file and a folder".format(source, folder))
    return rows


def _check_row(row, source):
    # type: (Row, str) -> None
    name = row.path.encode("utf-8", "surrogateescape")
    parts = name.split(b"/")
    if not all(parts) or b"." in parts or b".." in parts or b"\0" in name:
        raise UnusableDeltaError("{}: {!r} leaves the bundle".format(source, row.path[:200]))
    if len(name) > LONGEST_PATH or max(map(len, parts)) > LONGEST_NAME:
        raise UnusableDeltaError("{}: {!r} is too long for a path".format(source, row.path[:200]))
    if not SHA256.fullmatch(row.sha256) or type(row.size) is not int or row.size < 0:
        raise ValueError(row.path)
    if row.mode not in ("0644", "0755"):
        raise ValueError(row.path)


def folders_of(paths):
    # type: (Iterable[str]) -> list[str]
    """Return the folders above paths, each behind those that it is in."""
    found = {}  # type: dict[str, None]
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = None
            parent = parent.rpartition("/")[0]
    return sorted(found)


def split(old, new):
    # type: (dict[str, Row], dict[str, Row]) -> tuple[list[tuple[Row, str]], list[Row]]
    """Divide a new bundle's files into those of an old one too, each with its path there, and the others.

    The manifest is in neither. The others are in the order in which a delta has them: files of one kind stand
    together, since they compress better so.
    """
    places = {row.sha256: path for path, row in old.items()}
    same, changed = [], []
    for path, row in new.items():
        if path == MANIFEST:
            continue
        kept = path in old and old[path].sha256 == row.sha256
        place = path if kept else places.get(row.sha256, "")
        if place and old[place].size == row.size:
            same.append((row, place))
        else:
            changed.append(row)
    changed.sort(key=lambda row: (row.path.rpartition(".")[2], row.path))
    return same, changed


def base_order(old):
    # type: (dict[str, Row]) -> list[str]
    """Return the paths of a base in the order in which a delta counts them."""
    return sorted(old)


def add(old, difference):
    # type: (bytes, bytes) -> bytes
    """Add two strings of one length byte by byte, modulo 256.

    Two additions of long numbers, of the even and of the odd bytes, do it: no loop over bytes in Python.
    """
    size = len(old)
    if difference.count(0) == size:
        return old
    mask = int.from_bytes(b"\xff\0" * ((size + 1) // 2), "little")
    one, other = int.from_bytes(old, "little"), int.from_bytes(difference, "little")
    even = ((one & mask) + (other & mask)) & mask
    odd = (((one >> 8) & mask) + ((other >> 8) & mask)) & mask
    return (even | odd << 8).to_bytes(size + 2, "little")[:size]
