"""Reads files that anybody may have written: regular ones alone, and not more than a limit of bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bundler.errors import InputError
from bundler.ontarget.bounded import TooLargeError, read_regular

LARGEST_ARCHIVE = 16 << 30
"""Bytes of a local wheel or source."""
_PASSED = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


def read(path: Path, *, limit: int, hint: str, named: bool = False) -> bytes:
    """Return the content of a file.

    :param limit: bytes.
    :param hint: what to do where it cannot be read.
    :param named: the caller has named the file: it may be a symlink, or what the shell passes as a
        descriptor (`<(…)`). A file inside a folder from outside must be neither.
    :raises InputError: missing, unreadable, no regular file (a FIFO, a device …), or larger.
    """
    try:
        if named and str(path).startswith(_PASSED):
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
            if len(data) > limit:
                raise TooLargeError(f"is larger than {limit} bytes")
            return data
        return read_regular(path, limit, 0 if named else os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", hint=hint) from error
    except TooLargeError as error:
        raise InputError(f"{path}: {error}", hint=hint) from error
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{str(path)!r}: {error}", hint=hint) from error


def read_text(path: Path, *, limit: int, hint: str, named: bool = False) -> str:
    """Return the text of a file in UTF-8; parameters and errors as `read`.

    :raises InputError: also where it is no UTF-8.
    """
    try:
        return read(path, limit=limit, hint=hint, named=named).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error}", hint=hint) from error


def why_no_archive(path: Path) -> str:
    """Say why a resolver must not open what is at a path; empty: it may, or nothing is there.

    Of a FIFO or a device it would wait, or read, for ever.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "" if stat.S_ISDIR(status.st_mode) else "is no file"
    return "" if status.st_size <= LARGEST_ARCHIVE else f"is larger than {LARGEST_ARCHIVE >> 30} GiB"
