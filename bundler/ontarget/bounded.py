"""Reads files and JSON that anybody may have written: bounded in bytes, depth, members and digits.

The same on the builder, where everything from outside is read with it, and in the verifier that travels.
"""

import errno
import json
import os
import stat

MYPY = False
if MYPY:
    from typing import Any  # noqa: F401 - used in type comments

MOST_DEPTH = 64
"""Arrays and objects in one another; a manifest has 5."""
MOST_VALUES = 2000000
"""Values of one document; a manifest has 5 for each of its files."""
MOST_DIGITS = 40
"""Of a number: without a limit Python reads long ones in quadratic time."""


class TooLargeError(ValueError):
    """A file has more bytes than are read."""


def open_regular(path, links=os.O_NOFOLLOW):
    # type: (str | bytes | os.PathLike[str], int) -> int
    """Open a regular file for reading and return the descriptor; nothing can make this wait.

    `links`: 0 where the last part of the path may be a symlink, because the caller has named the file.
    Raises OSError: missing, unreadable, a symlink, or a folder, FIFO, socket or device.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | links
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and links:
            raise OSError(errno.ELOOP, "is a symlink", os.fspath(path))  # noqa: B904 - Python 2 parses this
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path, limit, links=os.O_NOFOLLOW):
    # type: (str | bytes | os.PathLike[str], int, int) -> bytes
    """Return the content of a regular file of at most `limit` bytes; `links` as in `open_regular`.

    Raises OSError as `open_regular`, and TooLargeError before anything of a larger file is read.
    """
    with os.fdopen(open_regular(path, links), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        # Files of /proc have a size of 0 and yet a content.
        data = stream.read(limit + 1) if size <= limit else b""
    if size > limit or len(data) > limit:
        raise TooLargeError("is larger than {} bytes".format(limit))
    return data


def parse_json(data):
    # type: (bytes) -> Any
    """Parse JSON in UTF-8.

    Raises ValueError: it is none, has a member twice, a number that JSON does not know or with too many
    digits, or is larger than our limits. Memory: at most some 100 bytes a value.
    """
    if at_most_values(data) > MOST_VALUES:
        raise ValueError("has more than {} values".format(MOST_VALUES))
    try:
        found = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_whole
        )
    except RecursionError:
        raise ValueError("is nested too deeply")  # noqa: B904 - Python 2 parses this
    level = [found]
    for _ in range(MOST_DEPTH):
        inside = (
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))
        )
        level = [one for values in inside for one in values if isinstance(one, (dict, list))]
        if not level:
            return found
    raise ValueError("is nested too deeply")


def at_most_values(data):
    # type: (bytes) -> int
    """Return a number that the values of a document in JSON do not exceed, without parsing it."""
    return 1 + data.count(b",") + data.count(b"[") + data.count(b"{")


def _once(pairs):
    # type: (list[tuple[str, Any]]) -> dict[str, Any]
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same member twice")
    return result


def _no_constant(name):
    # type: (str) -> None
    raise ValueError("{} is no JSON".format(name))


def _whole(digits):
    # type: (str) -> int
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number has more than {} digits".format(MOST_DIGITS))
    return int(digits)
