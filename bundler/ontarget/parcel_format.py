"""The format of a parcel and of a receipt (docs/parcel.md), and what both say of a shelf.

The same on the builder, which saves parcels, and in the loader that travels in each of them.
"""

import datetime
import hashlib
import os
import re

# <joined: bounded.py>
from bundler.ontarget.bounded import TooLargeError, open_regular, parse_json, read_regular

# </joined>
# <joined: checksums.py>
from bundler.ontarget.checksums import BUFFER

# </joined>
# <joined: delta_format.py>
from bundler.ontarget.delta_format import MOST_COMPRESSED, SHA256, UnusableDeltaError

# </joined>

MYPY = False
if MYPY:
    from typing import Any  # noqa: F401 - used in type comments

PARCEL_KIND = "envbundle-parcel"
RECEIPT_KIND = "envbundle-receipt"
PARCEL_SCHEMA = "1.0"
INDEX = "parcel.json"
LOADER = "load.py"
RECEIPT = "receipt.json"
SENT = "sent.json"
"""In the shelf that is saved: what the other side has, if all parcels have arrived. As a receipt lists it."""
RECORD_KIND = "envbundle-build"
MOST_INDEX = 32 << 20
MOST_RECORD = 4 << 20
MOST_PARTS = 99999
SHOWN_PARTS = 20
BUILDS = "builds"
CURRENT = "current"
DELTA_FOLDER = "delta/"
SIGNATURE_FOLDER = "signatures/"
RECORD_FILE = "json"
"""In `builds/` this is `ID.json`. Pages beside a build stay at home: nobody signs them."""
BESIDE = ("changes.json", "changes.md", "html", "signatures")
"""Endings of the files and folders beside every build, its archives apart: `ID.changes.json` ..."""
ARCHIVES = ("tar.zst", "tar.gz", "zip", "squashfs", "oci")
"""Endings of a bundle's archives, which `envbundle pack` writes beside it; the last is that of a folder."""
PART = "{:05d}.part"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_BUILD = re.compile(r"[0-9a-f]{16}")
_FILE = re.compile(
    r"json"
    r"|delta/delta\.json|delta/0\.(?:control|difference|content)\.(?:xz|zz)"
    r"|signatures/[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
)
_MADE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00")
"""One form alone, so that the order of times is that of their text."""
_LINK = re.compile(BUILDS + r"/([0-9a-f]{16})")


class UnusableParcelError(UnusableDeltaError):
    """The caller must act: the parcel is damaged, hostile, or not whole."""

    def __init__(self, message, hint="copy the parcel here again, whole, from where it was made"):
        # type: (str, str) -> None
        UnusableDeltaError.__init__(self, message, hint)


class ParcelFile:
    """A file that a parcel carries: a range of the bytes of its parts, put one behind the other."""

    __slots__ = ("offset", "path", "sha256", "size")

    def __init__(self, path, size, sha256, offset):
        # type: (str, int, str, int) -> None
        self.path, self.size, self.sha256, self.offset = path, size, sha256, offset


class Entry:
    """A build in a parcel, or what stands beside one that the other side has."""

    def __init__(self, described, offset):
        # type: (dict[str, Any], int) -> None
        self.name = described["name"]  # type: str
        self.build = described["build"]  # type: str
        self.manifest_digest = described["manifest_digest"]  # type: str
        self.manifest_sha256 = described["manifest_sha256"]  # type: str
        self.current = described["current"]  # type: bool
        self.base = described["base"]  # type: dict[str, str] | None
        self.files = []  # type: list[ParcelFile]
        for path, size, sha256 in described["files"]:
            self.files.append(ParcelFile(path, size, sha256, offset))
            offset += size
        self.end = offset

    @property
    def carried(self):
        # type: () -> bool
        """Whether the build itself is in the parcel, and not only what stands beside it."""
        return any(file.path.startswith(DELTA_FOLDER) for file in self.files)

    def __str__(self):
        # type: () -> str
        return "{}/{}".format(self.name, self.build)


class Parcel:
    """A parcel's folder and its index, which is sound where `read_parcel` returned it."""

    def __init__(self, folder, described):
        # type: (str, dict[str, Any]) -> None
        self.folder = folder
        self.part_size = described["part_size"]  # type: int
        self.parts = described["parts"]  # type: list[dict[str, Any]]
        self.entries = []  # type: list[Entry]
        end = 0
        for one in described["builds"]:
            entry = Entry(one, end)
            self.entries.append(entry)
            end = entry.end
        self.size = end


def read_parcel(folder):
    # type: (str) -> Parcel
    """Read and check a parcel's index; raises UnusableParcelError."""
    path = os.path.join(folder, INDEX)
    described = _read_described(path, PARCEL_KIND, "name the folder that `envbundle save` made")
    try:
        parcel = Parcel(folder, described)
        for entry in parcel.entries:
            _check_entry(entry, path)
        wrong = _wrong_builds(parcel) or _wrong_parts(parcel)
    except (ValueError, KeyError, TypeError, AttributeError):
        wrong = "is damaged"
    if wrong:
        raise UnusableParcelError("{}: {}".format(path, wrong))
    return parcel


def _read_described(path, kind, hint):
    # type: (str, str, str) -> dict[str, Any]
    try:
        described = parse_json(read_regular(path, MOST_INDEX))
        if described["kind"] != kind:
            raise UnusableParcelError("{}: is no {}".format(path, kind.replace("envbundle-", "")), hint)
        if described["schema_version"].split(".")[0] != "1":
            raise UnusableParcelError("{}: has a schema version that this program does not know".format(path))
    except OSError as error:
        raise UnusableParcelError("{}: {}".format(path, error.strerror or error), hint)  # noqa: B904 - Python 2 parses this
    except TooLargeError as error:
        raise UnusableParcelError("{}: {}".format(path, error), hint)  # noqa: B904 - Python 2 parses this
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnusableParcelError("{}: is damaged".format(path), hint)  # noqa: B904 - Python 2 parses this
    return dict(described)


def _check_entry(entry, path):
    # type: (Entry, str) -> None
    """Require that an entry can be looked at further: names that stay in their folders, and sizes."""
    base = entry.base
    for name in [entry.name] + ([base["name"]] if base else []):
        if not _NAME.fullmatch(name) or name in (RECEIPT, SENT):
            raise UnusableParcelError("{}: {!r} is no name of a bundle".format(path, name[:200]))
    for build in [entry.build] + ([base["build"]] if base else []):
        if not _BUILD.fullmatch(build):
            raise UnusableParcelError("{}: {!r} is no ID of a build".format(path, build[:200]))
    _check_files(entry, path)
    digests = (entry.manifest_digest, entry.manifest_sha256)
    if not all(SHA256.fullmatch(one) for one in digests) or type(entry.current) is not bool:
        raise ValueError(entry.name)
    if not entry.manifest_digest.startswith(entry.build):
        raise UnusableParcelError("{}: {} is not the ID of its manifest".format(path, entry))


def _check_files(entry, path):
    # type: (Entry, str) -> None
    seen = set()  # type: set[str]
    for file in entry.files:
        if not _FILE.fullmatch(file.path):
            raise UnusableParcelError("{}: {!r} is no file of a parcel".format(path, file.path[:200]))
        if file.path in seen:
            raise UnusableParcelError("{}: {} has {!r} twice".format(path, entry, file.path))
        seen.add(file.path)
        if not SHA256.fullmatch(file.sha256) or type(file.size) is not int:
            raise ValueError(file.path)
        if not 0 <= file.size <= MOST_COMPRESSED:
            raise UnusableParcelError("{}: {!r} has an impossible size".format(path, file.path))
    if RECORD_FILE not in seen:
        raise UnusableParcelError("{}: {} has no record".format(path, entry))


def _wrong_parts(parcel):
    # type: (Parcel) -> str
    """Say what is wrong with the list of parts: each but the last has `part_size` bytes."""
    if type(parcel.part_size) is not int or parcel.part_size < 1 or len(parcel.parts) > MOST_PARTS:
        return "has an impossible size or number of parts"
    left = parcel.size
    for number, part in enumerate(parcel.parts, 1):
        if part["name"] != PART.format(number):
            return "the part number {} has the name {!r}".format(number, str(part["name"])[:200])
        if part["size"] != min(left, parcel.part_size) or not SHA256.fullmatch(part["sha256"]):
            return "{} does not fit what the parcel carries".format(part["name"])
        left -= part["size"]
    return "its parts have {} bytes less than it carries".format(left) if left else ""


def _wrong_builds(parcel):
    # type: (Parcel) -> str
    seen = set()  # type: set[str]
    current = set()  # type: set[str]
    for entry in parcel.entries:
        if str(entry) in seen:
            return "{} is in it twice".format(entry)
        if entry.current and entry.name in current:
            return "{} has two current builds".format(entry.name)
        seen.add(str(entry))
        current.update([entry.name] if entry.current else [])
    return ""


def check_parts(parcel):
    # type: (Parcel) -> None
    """Require all parts as the index says; raises UnusableParcelError, which names those that are not."""
    wrong = []
    for part in parcel.parts:
        try:
            problem = _wrong_part(os.path.join(parcel.folder, part["name"]), part)
        except FileNotFoundError:
            problem = "is missing"
        except OSError as error:
            problem = error.strerror or "cannot be read"
        if problem:
            wrong.append("{} {}".format(part["name"], problem))
    if wrong:
        more = len(wrong) - SHOWN_PARTS
        told = "; ".join(wrong[:SHOWN_PARTS]) + ("; and {} more".format(more) if more > 0 else "")
        hint = "copy these parts here again; their order does not matter"
        raise UnusableParcelError("{}: {}".format(parcel.folder, told), hint)


def _wrong_part(path, part):
    # type: (str, dict[str, Any]) -> str
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != part["size"]:
            how = "is cut" if size < part["size"] else "is too long"
            return "{}: it has {} bytes of {}".format(how, size, part["size"])
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(BUFFER), b""):
            digest.update(block)
    return "" if digest.hexdigest() == part["sha256"] else "is altered: it has another sha256"


def take_out(parcel, entry, file, target):
    # type: (Parcel, Entry, ParcelFile, str) -> None
    """Write a file that a parcel carries to a new path; raises UnusableParcelError if it has another hash."""
    digest = hashlib.sha256()
    at, left = file.offset, file.size
    with open(target, "xb") as output:
        while left:
            number, place = divmod(at, parcel.part_size)
            path = os.path.join(parcel.folder, parcel.parts[number]["name"])
            with os.fdopen(open_regular(path), "rb") as part:
                part.seek(place)
                block = part.read(min(left, parcel.part_size - place, BUFFER))
            if not block:
                raise UnusableParcelError("{} is cut".format(path))
            digest.update(block)
            output.write(block)
            at += len(block)
            left -= len(block)
    if digest.hexdigest() != file.sha256:
        raise UnusableParcelError(
            "{}: {!r} of {} is not in the parts as the index says".format(parcel.folder, file.path, entry)
        )


def read_record(path, name, build):
    # type: (str, str, str) -> dict[str, Any]
    """Read the record of a build as far as a loader needs it; raises ValueError where it is none."""
    record = parse_json(read_regular(path, MOST_RECORD))
    try:
        sound = (
            record["kind"] == RECORD_KIND
            and record["schema_version"].split(".")[0] == "1"
            and (record["name"], record["build"]) == (name, build)
            and SHA256.fullmatch(record["manifest_digest"])
            and record["manifest_digest"].startswith(build)
            and all(SHA256.fullmatch(record[key]) for key in ("input", "lock", "digest"))
            and _MADE.fullmatch(record["made"])
            and datetime.datetime.fromisoformat(record["made"])  # there is such a day
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise ValueError("is no record of this build")
    return dict(record)


def current_build(job):
    # type: (str) -> str
    """Return the ID of the build that `current` in the folder of a job points at; empty: there is no link.

    Raises UnusableParcelError where something else is in its place.
    """
    path = os.path.join(job, CURRENT)
    if not os.path.lexists(path):
        return ""
    match = _LINK.fullmatch(os.readlink(path)) if os.path.islink(path) else None
    if match is None:
        raise UnusableParcelError(
            "{} is there and is no link to a build: it is not touched".format(path), "move it away"
        )
    return match.group(1)


def beside_build(builds, build):
    # type: (str, str) -> dict[str, str]
    """Return the signatures beside a build: name in a parcel → path. What no parcel can carry is left out."""
    folder = os.path.join(builds, build + "." + SIGNATURE_FOLDER.rstrip("/"))
    if not os.path.isdir(folder) or os.path.islink(folder):
        return {}
    names = [name for name in os.listdir(folder) if _FILE.fullmatch(SIGNATURE_FOLDER + name)]
    return {SIGNATURE_FOLDER + name: os.path.join(folder, name) for name in names}


def beside_digest(files):
    # type: (dict[str, str]) -> str
    """Return one sha256 of files and their names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        one = hashlib.sha256()
        with os.fdopen(open_regular(files[name]), "rb") as file:
            for block in iter(lambda: file.read(BUFFER), b""):  # noqa: B023 - called in this turn
                one.update(block)
        digest.update("{}\0{}\n".format(name, one.hexdigest()).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def shelf_rows(shelf):
    # type: (str) -> list[dict[str, Any]]
    """Return what a shelf has, as a receipt lists it: every build that has a record, the oldest first."""
    names = sorted(os.listdir(shelf)) if os.path.isdir(shelf) else []
    return [row for name in names for row in job_rows(shelf, name)]


def job_rows(shelf, name):
    # type: (str, str) -> list[dict[str, Any]]
    """Return the rows of one name of a shelf."""
    job = os.path.join(shelf, name)
    builds = os.path.join(job, BUILDS)
    if not _NAME.fullmatch(name) or not os.path.isdir(builds) or os.path.islink(builds):
        return []
    current = current_build(job)
    rows = []
    for entry in os.listdir(builds):
        build, ending = os.path.splitext(entry)
        folder = os.path.join(builds, build)
        if ending != ".json" or not _BUILD.fullmatch(build) or not os.path.isdir(folder):
            continue
        try:
            record = read_record(os.path.join(builds, entry), name, build)
            beside = beside_digest(beside_build(builds, build))
        except (OSError, ValueError):
            continue
        row = {"name": name, "build": build, "manifest_digest": record["manifest_digest"]}
        row.update({"made": record["made"], "current": build == current, "beside": beside})
        rows.append(row)
    return sorted(rows, key=lambda row: (row["made"], row["build"]))


def as_receipt(rows):
    # type: (list[dict[str, Any]]) -> dict[str, Any]
    """Return the receipt that lists builds."""
    return {"kind": RECEIPT_KIND, "schema_version": PARCEL_SCHEMA, "builds": rows}


def read_receipt(path):
    # type: (str) -> list[dict[str, Any]]
    """Return the builds that a receipt lists; raises UnusableParcelError."""
    described = _read_described(path, RECEIPT_KIND, "name the receipt.json that `load` has written")
    wanted = ("name", "build", "manifest_digest", "made", "beside")
    try:
        rows = [dict(row, current=bool(row["current"])) for row in described["builds"]]
        if all(isinstance(row[key], str) for row in rows for key in wanted):
            return rows
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UnusableParcelError("{}: is damaged".format(path), "copy the receipt here again")
