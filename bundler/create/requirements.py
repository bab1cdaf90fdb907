"""Reads requirements files as pip does, and says file and line where pip and uv would not.

Everything is flattened into one list: nested `-r` and `-c`, continued lines, comments and `${X}` are
gone, local paths are absolute, `-e` is dropped (a bundle holds wheels, never a link to a checkout).
Both resolvers are then given the same text, so a difference between them is never one of parsing.
Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import argparse
import codecs
import os
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from bundler.errors import InputError
from bundler.model import IndexSettings, Requirement, Requirements
from bundler.system import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)\}")
_URL = re.compile(r"^(?:[a-z]+\+)?[a-z][a-z0-9.+-]*://", re.IGNORECASE)
_EXTRAS = re.compile(r"^(?P<path>.+?)\[(?P<extras>[A-Za-z0-9._,\s-]+)\]$")
_HASH = re.compile(r"^sha256:[0-9a-f]{64}$")
_HASH_LINE = re.compile(r"(?:\s*#.*\n)*\s*--hash\b")
_OPTION = re.compile(r"(?<!\S)-")
_NAMED_URL = re.compile(r"^[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
COMMAND_LINE = "the command line"
NOTHING = Requirements(requirements=())
"""What is asked for where a lock says it all."""


def read(
    *,
    files: Sequence[Path],
    constraints: Sequence[Path] = (),
    arguments: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Requirements:
    """Read requirements files, constraints files and requirements of the command line.

    :param environ: where `${X}` is looked up.
    :raises InputError: a file that cannot be read, a line that is no requirement (names file and
        line), an option that pip does not know, or nothing at all that is required.
    """
    reader = _Reader(environ=environ)
    for argument in arguments:
        reader.add(argument, origin=COMMAND_LINE, folder=Path.cwd(), constraint=False)
    for path in files:
        reader.read_file(path, constraint=False)
    for path in constraints:
        reader.read_file(path, constraint=True)
    if not reader.requirements:
        names = ", ".join(str(path) for path in files) or COMMAND_LINE
        raise InputError(
            f"nothing is required: {names} has no requirement",
            hint="write one requirement a line, for example: requests==2.32.4",
        )
    return reader.result()


@dataclass(kw_only=True)
class _Reader:
    environ: Mapping[str, str]
    requirements: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    no_binary: list[str] = field(default_factory=list)
    only_binary: list[str] = field(default_factory=list)
    prefer_binary: bool = False
    pre: bool = False
    require_hashes: bool = False
    index: IndexSettings = field(default_factory=IndexSettings)
    open_files: list[Path] = field(default_factory=list)

    def result(self) -> Requirements:
        return Requirements(
            requirements=tuple(self.requirements),
            constraints=tuple(self.constraints),
            no_binary=tuple(self.no_binary),
            only_binary=tuple(self.only_binary),
            prefer_binary=self.prefer_binary,
            pre=self.pre,
            require_hashes=self.require_hashes or any(req.hashes for req in self.requirements),
            index=self.index,
        )

    def read_file(self, path: Path, *, constraint: bool, origin: str | None = None) -> None:
        where = f" (from {origin})" if origin else ""
        if path.resolve() in self.open_files:
            raise InputError(
                f"{path} includes itself{where}", hint="remove the -r line that closes the circle"
            )
        if path.suffix in {".yml", ".yaml", ".toml"} and "lock" not in path.name:
            raise InputError(
                f"{path} is not a requirements file{where}",
                hint="give a requirements.txt; for a conda environment, its `pip:` list",
            )
        try:
            text = _decode(path.read_bytes())
        except OSError as error:
            raise InputError(
                f"cannot read {path}{where}: {error.strerror}", hint="check the path of the requirements file"
            ) from error
        except (UnicodeDecodeError, LookupError) as error:
            raise InputError(f"{path} is not UTF-8 text: {error}", hint="save the file as UTF-8") from error
        self.open_files.append(path.resolve())
        for number, line in _logical_lines(text):
            expanded = expand(line, origin=f"{path}:{number}", environ=self.environ)
            self.add(expanded, origin=f"{path}:{number}", folder=path.parent, constraint=constraint)
        self.open_files.pop()

    def add(self, line: str, *, origin: str, folder: Path, constraint: bool) -> None:
        """Take one logical line."""
        text, options = _split_options(line)
        if text:
            hashes = _hashes(options, origin=origin)
            self._require(text, origin=origin, folder=folder, constraint=constraint, hashes=hashes)
            return
        chosen = _parse_options(options, origin=origin)
        for nested in chosen.requirement:
            # Not `constraint`: to pip, what `-r` names is required, wherever the `-r` stands.
            self.read_file(_beside(nested, folder), constraint=False, origin=origin)
        for nested in chosen.constraint:
            self.read_file(_beside(nested, folder), constraint=True, origin=origin)
        for project in chosen.editable:
            self._require(project, origin=origin, folder=folder, constraint=constraint, hashes=())
        self.no_binary += chosen.no_binary
        self.only_binary += chosen.only_binary
        self.prefer_binary |= chosen.prefer_binary
        self.pre |= chosen.pre
        self.require_hashes |= chosen.require_hashes
        self.index = replace(
            self.index,
            index_url=chosen.index_url or self.index.index_url,
            extra_index_urls=(*self.index.extra_index_urls, *chosen.extra_index_url),
            find_links=(*self.index.find_links, *(_find_links(one, folder) for one in chosen.find_links)),
            no_index=self.index.no_index or chosen.no_index,
            trusted_hosts=(*self.index.trusted_hosts, *chosen.trusted_host),
        )

    def _require(
        self, text: str, *, origin: str, folder: Path, constraint: bool, hashes: tuple[str, ...]
    ) -> None:
        requirement = _parse(text, origin=origin, folder=folder)
        requirement = replace(requirement, hashes=hashes, constraint=constraint)
        (self.constraints if constraint else self.requirements).append(requirement)


def expand(text: str, *, origin: str, environ: Mapping[str, str]) -> str:
    """Put the caller's variables in place of `${X}`.

    :param origin: where the text stands, for the message.
    :raises InputError: one of them is not set, or empty.
    """

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if not environ.get(name):
            raise InputError(f"{origin}: the environment variable {name} is not set", hint=f"export {name}=…")
        return environ[name]

    return _VARIABLE.sub(value, text)


def _decode(data: bytes) -> str:
    """Decode a file as pip does: byte order mark (PowerShell writes UTF-16), PEP 263, else UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    for line in data.split(b"\n")[:2]:
        if line.startswith(b"#") and (declared := _CODING.search(line)):
            return data.decode(declared[1].decode("ascii"))
    return data.decode("utf-8")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of its first line, line): continuations joined, then comments removed, as pip does.

    A comment line ends a continued line; but pip then drops the hashes that follow it, and here they count.
    """
    lines = text.splitlines()
    held, start = "", 0
    for number, line in enumerate(lines, start=1):
        comment = line.lstrip().startswith("#")
        if not held:
            start = number
        if held and comment and _HASH_LINE.match("\n".join(lines[number:])):
            continue
        if line.endswith("\\") and not comment:
            held += line.strip("\\")
            continue
        joined = _COMMENT.sub("", f"{held} {line}" if comment else held + line).strip()
        held = ""
        if joined:
            yield start, joined
    rest = _COMMENT.sub("", held).strip()
    if rest:
        yield start, rest


def _split_options(line: str) -> tuple[str, str]:
    """Divide `requests==2 --hash=…` into the requirement and its options, as pip does."""
    match = _OPTION.search(line)
    return (line[: match.start()].strip(), line[match.start() :]) if match else (line.strip(), "")


class _OptionError(Exception):
    pass


class _OptionParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _OptionError(message)


def _option_parser() -> _OptionParser:
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-r", "--requirement", action="append", default=[])
    parser.add_argument("-c", "--constraint", action="append", default=[])
    parser.add_argument("-e", "--editable", action="append", default=[])
    parser.add_argument("-i", "--index-url", "--pypi-url")
    parser.add_argument("--extra-index-url", action="append", default=[])
    parser.add_argument("-f", "--find-links", action="append", default=[])
    parser.add_argument("--no-index", action="store_true")
    parser.add_argument("--trusted-host", action="append", default=[])
    parser.add_argument("--no-binary", action="append", default=[])
    parser.add_argument("--only-binary", action="append", default=[])
    parser.add_argument("--prefer-binary", action="store_true")
    parser.add_argument("--require-hashes", action="store_true")
    parser.add_argument("--pre", action="store_true")
    parser.add_argument("--use-feature", action="append", default=[])
    return parser


def _parse_options(options: str, *, origin: str) -> argparse.Namespace:
    try:
        return _option_parser().parse_args(shlex.split(options))
    except (_OptionError, ValueError) as error:
        raise InputError(
            f"{origin}: {error}", hint="options of a requirements file are those of pip, one set a line"
        ) from None


def _hashes(options: str, *, origin: str) -> tuple[str, ...]:
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hash", action="append", default=[])
    try:
        values: list[str] = parser.parse_args(shlex.split(options)).hash
    except (_OptionError, ValueError) as error:
        raise InputError(
            f"{origin}: {error}", hint="behind a requirement only --hash=sha256:… may stand"
        ) from None
    for value in values:
        if not _HASH.match(value):
            raise InputError(
                f"{origin}: {value!r} is not a sha256 hash",
                hint="write --hash=sha256: and 64 hexadecimal digits in lower case; `envbundle lock` does",
            )
    return tuple(values)


def _parse(text: str, *, origin: str, folder: Path) -> Requirement:
    """Understand one requirement: a URL, a local path or PEP 508 text."""
    body, marker = _split_marker(text, origin=origin)
    if _URL.match(body) or body.startswith("file:"):
        return _parse_url(body, marker=marker, origin=origin)
    local = _local_path(body, folder)
    if local is not None:
        path, extras = local
        if not path.exists():
            raise InputError(
                f"{origin}: no such file or project: {path}", hint="check the path, or name a distribution"
            )
        suffix = f"[{','.join(extras)}]" if extras else ""
        return Requirement(text=f"{path.as_uri()}{suffix}{marker}", name=None, extras=extras, origin=origin)
    try:
        parsed = Pep508(f"{body}{marker}")
    except InvalidRequirement as error:
        raise InputError(
            f"{origin}: not a requirement: {text!r} ({str(error).splitlines()[0]})",
            hint="write NAME, NAME==VERSION or NAME @ URL, one a line",
        ) from None
    if parsed.url and parsed.url.startswith("file:"):
        _check_file_url(parsed.url, origin=origin)
    return Requirement(
        text=f"{body}{marker}" if parsed.url else text,
        name=canonicalize_name(parsed.name),
        extras=tuple(sorted(parsed.extras)),
        origin=origin,
    )


def _split_marker(text: str, *, origin: str) -> tuple[str, str]:
    """Divide `./x ; python_version < "3.8"` as pip does; the marker keeps its semicolon."""
    body, separator, marker = text.partition("; " if _URL.match(text) else ";")
    if not separator or not marker.strip():
        return body.strip(), ""
    try:
        Marker(marker)
    except InvalidMarker as error:
        raise InputError(
            f"{origin}: not a marker: {marker.strip()!r} ({str(error).splitlines()[0]})",
            hint="write it as in: NAME ; python_version < '3.8'",
        ) from None
    return body.strip(), f" ; {marker.strip()}"


def _parse_url(body: str, *, marker: str, origin: str) -> Requirement:
    if body.startswith("file:"):
        _check_file_url(body, origin=origin)
    fragment = urlsplit(body).fragment
    egg = next((part[4:] for part in fragment.split("&") if part.startswith("egg=")), "")
    name = egg
    extras: tuple[str, ...] = ()
    if match := _EXTRAS.match(egg):
        name = match["path"]
        extras = tuple(sorted(one.strip() for one in match["extras"].split(",")))
    if not name:
        return Requirement(text=f"{body}{marker}", name=None, origin=origin)
    # `#egg=NAME` is pip's old way to name a URL; PEP 508 says it in front, and both resolvers read that.
    kept = "&".join(part for part in fragment.split("&") if not part.startswith("egg="))
    url = body.partition("#")[0] + (f"#{kept}" if kept else "")
    suffix = f"[{','.join(extras)}]" if extras else ""
    return Requirement(
        text=f"{name}{suffix} @ {url}{marker}", name=canonicalize_name(name), extras=extras, origin=origin
    )


def _check_file_url(url: str, *, origin: str) -> None:
    path = Path(unquote(urlsplit(url).path))
    if not path.exists():
        raise InputError(
            f"{origin}: no such file: {path}",
            hint="lines with file:// come from a `pip freeze` on another machine or in conda; "
            "`pip list --format=freeze` writes NAME==VERSION instead",
        )


def _local_path(body: str, folder: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return (absolute path, extras) where pip would see a path: a separator, a dot in front, an archive."""
    extras: tuple[str, ...] = ()
    if match := _EXTRAS.match(body):
        body = match["path"]
        extras = tuple(sorted(one.strip() for one in match["extras"].split(",")))
    if _NAMED_URL.match(body) or not (body.startswith(".") or "/" in body or body.lower().endswith(ARCHIVES)):
        return None
    return _beside(body, folder, prefer_current=True).resolve(), extras


def _beside(name: str, folder: Path, *, prefer_current: bool = False) -> Path:
    """Resolve a relative path: nested files beside the including file; projects as pip does, then so."""
    path = Path(name).expanduser()
    if prefer_current and path.exists():
        return path
    return path if path.is_absolute() else folder / path


def _find_links(value: str, folder: Path) -> str:
    """Make a local `--find-links` absolute; pip reads it relative to the requirements file."""
    if _URL.match(value):
        return value
    path = _beside(value, folder)
    return str(path.resolve()) if path.exists() else str(Path(value).absolute())


def public(requirement: Requirement) -> str:
    """What may be told of a requirement: its text without credentials, a local path as its name alone."""
    text = requirement.text
    if "file:" not in text:
        return redact.text(text)
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    path = text.partition("file:")[2].partition("#")[0].partition("[")[0].partition(" ")[0]
    return f"{requirement.name or unquote(path.rstrip('/').rpartition('/')[2])}{extras} (local)"
