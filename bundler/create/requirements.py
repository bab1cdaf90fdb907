"""Reads requirements files as pip does, with errors that name file and line.

Everything becomes one flat list: nested files (`-r`, `-c`), continued lines, comments and `${X}` are
resolved, local paths are absolute, and `-e` is dropped (a bundle holds wheels, never a link to a checkout).
Both resolvers get the same text, so that they never differ because of parsing.
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
from bundler.model import Requirement, Requirements
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
    found = reader.found
    if not found.requirements:
        names = ", ".join(str(path) for path in files) or COMMAND_LINE
        raise InputError(
            f"nothing is required: {names} has no requirement",
            hint="write one requirement a line, for example: requests==2.32.4",
        )
    return replace(
        found, require_hashes=found.require_hashes or any(one.hashes for one in found.requirements)
    )


@dataclass(kw_only=True)
class _Reader:
    environ: Mapping[str, str]
    found: Requirements = NOTHING
    open_files: list[Path] = field(default_factory=list)

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
        found, index = self.found, self.found.index
        self.found = replace(
            found,
            no_binary=(*found.no_binary, *chosen.no_binary),
            only_binary=(*found.only_binary, *chosen.only_binary),
            prefer_binary=found.prefer_binary or chosen.prefer_binary,
            pre=found.pre or chosen.pre,
            require_hashes=found.require_hashes or chosen.require_hashes,
            index=replace(
                index,
                index_url=chosen.index_url or index.index_url,
                extra_index_urls=(*index.extra_index_urls, *chosen.extra_index_url),
                find_links=(*index.find_links, *(_find_links(one, folder) for one in chosen.find_links)),
                no_index=index.no_index or chosen.no_index,
                trusted_hosts=(*index.trusted_hosts, *chosen.trusted_host),
            ),
        )

    def _require(
        self, text: str, *, origin: str, folder: Path, constraint: bool, hashes: tuple[str, ...]
    ) -> None:
        parsed = _parse(text, origin=origin, folder=folder)
        parsed = replace(parsed, hashes=hashes, constraint=constraint)
        if constraint:
            self.found = replace(self.found, constraints=(*self.found.constraints, parsed))
        else:
            self.found = replace(self.found, requirements=(*self.found.requirements, parsed))


def expand(text: str, *, origin: str, environ: Mapping[str, str]) -> str:
    """Replace each `${X}` by the caller's variable.

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


def _parse_options(options: str, *, origin: str) -> argparse.Namespace:
    """Parse a line that holds options alone."""
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--index-url", "--pypi-url")
    for flags in (
        ("-r", "--requirement"),
        ("-c", "--constraint"),
        ("-e", "--editable"),
        ("--extra-index-url",),
        ("-f", "--find-links"),
        ("--trusted-host",),
        ("--no-binary",),
        ("--only-binary",),
        ("--use-feature",),
    ):
        parser.add_argument(*flags, action="append", default=[])
    for flag in ("--no-index", "--prefer-binary", "--require-hashes", "--pre"):
        parser.add_argument(flag, action="store_true")
    return _parsed(
        parser, options, origin, hint="options of a requirements file are those of pip, one set a line"
    )


def _parsed(parser: _OptionParser, options: str, origin: str, *, hint: str) -> argparse.Namespace:
    try:
        return parser.parse_args(shlex.split(options))
    except (_OptionError, ValueError) as error:
        raise InputError(f"{origin}: {error}", hint=hint) from None


def _hashes(options: str, *, origin: str) -> tuple[str, ...]:
    """Parse the options behind a requirement."""
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hash", action="append", default=[])
    hint = "behind a requirement only --hash=sha256:… may stand"
    values: list[str] = _parsed(parser, options, origin, hint=hint).hash
    for value in values:
        if not _HASH.match(value):
            raise InputError(
                f"{origin}: {value!r} is not a sha256 hash",
                hint="write --hash=sha256: and 64 hexadecimal digits in lower case; `envbundle lock` does",
            )
    return tuple(values)


def _parse(text: str, *, origin: str, folder: Path) -> Requirement:
    """Parse one requirement: a URL, a local path or PEP 508 text."""
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
        text = f"{path.as_uri()}{_bracketed(extras)}{marker}"
        return Requirement(text=text, name=None, extras=extras, origin=origin)
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
    name, extras = _split_extras(egg)
    if not name:
        return Requirement(text=f"{body}{marker}", name=None, origin=origin)
    # `#egg=NAME` is pip's old way to name a URL; PEP 508 says it in front, and both resolvers read that.
    kept = "&".join(part for part in fragment.split("&") if not part.startswith("egg="))
    url = body.partition("#")[0] + (f"#{kept}" if kept else "")
    text = f"{name}{_bracketed(extras)} @ {url}{marker}"
    return Requirement(text=text, name=canonicalize_name(name), extras=extras, origin=origin)


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
    body, extras = _split_extras(body)
    if _NAMED_URL.match(body) or not (body.startswith(".") or "/" in body or body.lower().endswith(ARCHIVES)):
        return None
    return _beside(body, folder, prefer_current=True).resolve(), extras


def _split_extras(text: str) -> tuple[str, tuple[str, ...]]:
    """Divide `./x[a,b]` into `./x` and its extras, sorted."""
    match = _EXTRAS.match(text)
    if match is None:
        return text, ()
    return match["path"], tuple(sorted(one.strip() for one in match["extras"].split(",")))


def _bracketed(extras: Sequence[str]) -> str:
    return f"[{','.join(extras)}]" if extras else ""


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
    """Return a requirement as it may be written down: without credentials, a local path as its name alone."""
    text = requirement.text
    if "file:" not in text:
        return redact.text(text)
    path = text.partition("file:")[2].partition("#")[0].partition("[")[0].partition(" ")[0]
    name = requirement.name or unquote(path.rstrip("/").rpartition("/")[2])
    return f"{name}{_bracketed(requirement.extras)} (local)"
