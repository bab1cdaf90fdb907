"""Reads requirements files as pip does, with errors that name file and line.

Everything becomes one flat list: nested files (`-r`, `-c`, by path or URL), continued lines, comments and
`${X}` are resolved, local paths are absolute, and `-e` is dropped (a bundle holds wheels, never a link to a
checkout). Both resolvers get the same text, so that they never differ because of parsing. What pip passes
over in silence (words behind options, options behind a requirement) is passed over too, and told.
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
from urllib.parse import unquote, urljoin, urlsplit

from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from bundler.errors import InputError
from bundler.model import Requirement, Requirements
from bundler.system import index_settings, outside, pep508, redact
from bundler.system.address import Address
from bundler.system.files import at_home, exists, is_folder, real_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)\}")
_URL = re.compile(r"^(?:[a-z]+\+)?[a-z][a-z0-9.+-]*://", re.IGNORECASE)
_EXTRAS = re.compile(r"^(?P<path>.+?)\[(?P<extras>[A-Za-z0-9._,\s-]+)\]$")
_HASH = re.compile(r"^sha256:[0-9a-f]{64}$")
_REMOTE = re.compile(r"^(?P<scheme>https?):/+", re.IGNORECASE)
_HASH_LINE = re.compile(r"(?:\s*#.*\n)*\s*--hash\b")
_OPTION = re.compile(r"(?<!\S)-")
_NAMED_URL = re.compile(r"^[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@")
_STAR = re.compile(r"(?P<operator>[<>]=?|~=)\s*(?P<version>[\w.]+?)\.\*")
_NEEDLESS_STAR = re.compile(r"((?:>=|<(?!=))\s*[\w.]+?)\.\*")
_CONDA = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)=(?P<version>[\w.]+)(?:=[\w.]+)?$")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ARCHIVES = (
    *(".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz"),
    *(".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma"),
)
_LIMIT = 8 << 20
"""Bytes of a file at a URL above which it is not read."""
COMMAND_LINE = "the command line"
NOTHING = Requirements()
"""What is asked for where a lock says it all."""


def read(
    *,
    files: Sequence[Path],
    constraints: Sequence[Path] = (),
    arguments: Sequence[str] = (),
    start: Requirements = NOTHING,
    named: Sequence[Path] = (),
    environ: Mapping[str, str] = os.environ,
) -> Requirements:
    """Read requirements files, constraints files and requirements of the command line.

    :param files: paths; `https://…` is taken as well, though a `Path` has but one slash of it.
    :param start: what other inputs ask for; it stands before the rest.
    :param named: all files that the caller has named, for the message where nothing is required.
    :param environ: where `${X}` is looked up.
    :raises InputError: a file that cannot be read, a line that is no requirement (names file and
        line), an option that pip does not know, or nothing at all that is required.
    :raises MachineError: a file at a URL is out of reach.
    """
    reader = _Reader(environ=environ, found=start)
    for argument in arguments:
        reader.add(argument, origin=COMMAND_LINE, base="", constraint=False)
    for path in files:
        reader.read_file(str(path), constraint=False)
    for path in constraints:
        reader.read_file(str(path), constraint=True)
    found = reader.found
    if not found.requirements and not any(project.dynamic for project in found.projects):
        paths = (_REMOTE.sub(r"\g<scheme>://", str(path)) for path in named or files)
        names = ", ".join(paths) or COMMAND_LINE
        raise InputError(
            f"nothing is required: {names} has no requirement",
            hint="write one requirement a line, for example: requests==2.32.4",
        )
    return replace(
        found, require_hashes=found.require_hashes or any(one.hashes for one in found.requirements)
    )


def read_lines(
    lines: Sequence[str], *, path: Path, start: Requirements, environ: Mapping[str, str]
) -> Requirements:
    """Read lines of a requirements file that stand in a file of another form.

    :param path: that file; its folder is what relative paths are relative to.
    :param start: what stands before them.
    :raises InputError: as `read`.
    """
    reader = _Reader(environ=environ, found=start)
    for line in lines:
        expanded = expand(line, origin=str(path), environ=environ)
        reader.add(expanded, origin=str(path), base=str(path), constraint=False)
    return reader.found


def read_constraints(files: Sequence[Path], *, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Read constraints files alone, and return their lines: PEP 508 text.

    :raises InputError: a file cannot be read, or a line of it is wrong.
    """
    reader = _Reader(environ=environ)
    for path in files:
        reader.read_file(str(path), constraint=True)
    return tuple(one.text for one in reader.found.constraints)


@dataclass(kw_only=True)
class _Reader:
    environ: Mapping[str, str]
    found: Requirements = NOTHING
    open_files: list[str] = field(default_factory=list)

    def read_file(self, name: str, *, constraint: bool, origin: str | None = None) -> None:
        """Take a file.

        :param name: its path or URL.
        :param origin: the line that names it.
        """
        where = f" (from {origin})" if origin else ""
        name = _REMOTE.sub(r"\g<scheme>://", name)
        remote = _REMOTE.match(name) is not None
        told = redact.url(name) if remote else name
        if remote:
            redact.remember(name)
            Address(name).check(where=origin or "-r")
        if "\0" in name:
            raise InputError(f"{told!r} is no path{where}", hint="it has a NUL in it")
        own = name if remote else str(real_path(Path(name)))
        if own in self.open_files:
            raise InputError(
                f"{told} includes itself{where}", hint="remove the -r line that closes the circle"
            )
        path = Path(name)
        if path.suffix in {".yml", ".yaml", ".toml"} and "lock" not in path.name:
            raise InputError(
                f"{told} is not a requirements file{where}",
                hint="give pyproject.toml and conda's files on the command line: -r FILE",
            )
        hint = "check the path of the requirements file"
        try:
            raw = self._fetch(name) if remote else outside.read(path, limit=_LIMIT, hint=hint, named=True)
            text = _decode(raw)
        except InputError as error:
            raise InputError(f"cannot read {error.message}{where}", hint=error.hint) from error
        except (UnicodeDecodeError, LookupError) as error:
            raise InputError(f"{told} is not UTF-8 text: {error}", hint="save the file as UTF-8") from error
        if "\0" in text:
            above = text.count("\n", 0, text.index("\0"))
            raise InputError(f"{told}:{above + 1}: not a requirement: a line with a NUL", hint="is it text?")
        self.open_files.append(own)
        for number, line in _logical_lines(text):
            expanded = expand(line, origin=f"{told}:{number}", environ=self.environ)
            self.add(expanded, origin=f"{told}:{number}", base=name, constraint=constraint)
        self.open_files.pop()

    def _fetch(self, url: str) -> bytes:
        from bundler.system.http import Network  # noqa: PLC0415 - it brings requests: 40 ms

        return Network(index_settings.read_settings(self.environ)).read(url, limit=_LIMIT)

    def add(self, line: str, *, origin: str, base: str, constraint: bool) -> None:
        """Take one logical line.

        :param base: path or URL of the file that it stands in; empty for the command line.
        """
        text, options = _split_options(line)
        chosen, words = _parse_options(options, origin=origin)
        folder = Path.cwd() if not base or _REMOTE.match(base) else Path(base).parent
        self._take_formats(chosen)
        nested = [(one, False) for one in chosen.requirement] + [(one, True) for one in chosen.constraint]
        if text or chosen.editable:
            hashes = _hashes(chosen, origin=origin, editable=not text)
            taken = text or chosen.editable[0]
            self._require(taken, origin=origin, folder=folder, constraint=constraint, hashes=hashes)
            used = {"hash": len(hashes), "editable": 0 if text else 1}
        elif nested:
            # Not `constraint`: to pip, what `-r` names is required, wherever the `-r` stands.
            name, limits = nested[0]
            self.read_file(_nested(name, base, origin=origin), constraint=limits, origin=origin)
            used = {"constraint" if limits else "requirement": 1}
        else:
            self._configure(chosen, origin=origin, folder=folder)
            used = dict.fromkeys(vars(chosen), len(line))
        self._pass_over([*_left(chosen, used), *words], origin=origin)

    def _take_formats(self, chosen: argparse.Namespace) -> None:
        """Take `--no-binary` and `--only-binary`, which count for pip in whichever line they stand."""
        self.found = replace(
            self.found,
            no_binary=(*self.found.no_binary, *chosen.no_binary),
            only_binary=(*self.found.only_binary, *chosen.only_binary),
        )

    def _pass_over(self, what: Sequence[str], *, origin: str) -> None:
        if what:
            note = f"{origin}: passed over, as by pip: {redact.text(' '.join(what))}"
            self.found = replace(self.found, notes=(*self.found.notes, note))

    def _configure(self, chosen: argparse.Namespace, *, origin: str, folder: Path) -> None:
        """Take a line that holds options alone."""
        if chosen.hash or chosen.config_settings:
            flag = "--hash" if chosen.hash else "--config-settings"
            raise InputError(
                f"{origin}: {flag} belongs to a requirement, and here is none",
                hint="write it behind the requirement; a backslash continues a line",
            )
        found, index = self.found, self.found.index
        self.found = replace(
            found,
            prefer_binary=found.prefer_binary or chosen.prefer_binary,
            pre=found.pre or chosen.pre,
            require_hashes=found.require_hashes or chosen.require_hashes,
            index=replace(
                index,
                index_url=chosen.index_url or index.index_url,
                extra_index_urls=(*index.extra_index_urls, *filter(None, chosen.extra_index_url)),
                find_links=(*index.find_links, *(_find_links(one, folder) for one in chosen.find_links)),
                no_index=index.no_index or chosen.no_index,
                trusted_hosts=(*index.trusted_hosts, *chosen.trusted_host),
            ),
        )

    def _require(
        self, text: str, *, origin: str, folder: Path, constraint: bool, hashes: tuple[str, ...]
    ) -> None:
        plain = _without_needless_stars(text)
        if plain != text:
            note = f"{origin}: {text!r} is read as {plain!r}, as by older versions of pip"
            self.found = replace(self.found, notes=(*self.found.notes, note))
        parsed = parse(plain, origin=origin, folder=folder)
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


def _parse_options(options: str, *, origin: str) -> tuple[argparse.Namespace, list[str]]:
    """Parse the options of a line; also returned are the words in between, which pip passes over."""
    # pip takes unambiguous beginnings of its options as well.
    parser = _OptionParser(add_help=False, allow_abbrev=True)
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
        ("--hash",),
        ("-C", "--config-settings", "--config-setting", "--global-option", "--install-option"),
    ):
        parser.add_argument(*flags, action="append", default=[])
    for flag in ("--no-index", "--prefer-binary", "--require-hashes", "--pre"):
        parser.add_argument(flag, action="store_true")
    hint = "options of a requirements file are those of pip, one set a line"
    try:
        chosen, words = parser.parse_known_args(shlex.split(options))
    except (_OptionError, ValueError) as error:
        raise InputError(f"{origin}: {error}", hint=hint) from None
    if unknown := [word for word in words if word.startswith("-")]:
        raise InputError(f"{origin}: not an option of a requirements file: {' '.join(unknown)}", hint=hint)
    return chosen, words


def _left(chosen: argparse.Namespace, used: Mapping[str, int]) -> list[str]:
    """Return the options of a line that have no effect, as words.

    :param used: name → how many of its values have one.
    """
    words: list[str] = []
    for name, value in vars(chosen).items():
        if name in {"no_binary", "only_binary", "use_feature"} or not value:
            continue
        values = (value if isinstance(value, list) else [value])[used.get(name, 0) :]
        words += [f"--{name.replace('_', '-')}" + ("" if one is True else f" {one}") for one in values]
    return words


def _nested(name: str, base: str, *, origin: str) -> str:
    """Return path or URL of a file that a line names.

    :param base: path or URL of the file with that line.
    :raises InputError: a file from elsewhere names one of this machine.
    """
    if base and _REMOTE.match(base):
        url = urljoin(base, name)
        if _REMOTE.match(url):
            return url
        raise InputError(f"{origin}: names a file of this machine: {name}", hint="save both files here")
    if _REMOTE.match(name):
        return name
    if name.startswith("file:"):
        return unquote(urlsplit(name).path)
    return str(_beside(name, Path(base).parent))


def _hashes(chosen: argparse.Namespace, *, origin: str, editable: bool) -> tuple[str, ...]:
    """Check the options behind a requirement, and return its hashes."""
    if chosen.config_settings:
        raise InputError(
            f"{origin}: settings for a build are not passed on: {' '.join(chosen.config_settings)}",
            hint="build that wheel with `pip wheel`, and name its folder with --find-links",
        )
    if chosen.hash and editable:
        raise InputError(
            f"{origin}: --hash says nothing of a local project or repository", hint="leave --hash out"
        )
    for value in chosen.hash:
        if not _HASH.match(value):
            raise InputError(
                f"{origin}: {value!r} is not a sha256 hash",
                hint="write --hash=sha256: and 64 hexadecimal digits in lower case; `envbundle lock` does",
            )
    return tuple(chosen.hash)


def parse(text: str, *, origin: str, folder: Path) -> Requirement:
    """Parse one requirement: a URL, a local path or PEP 508 text.

    :param origin: where it stands, for messages.
    :param folder: what a relative path is relative to.
    :raises InputError: it is no requirement, or names a path that does not exist.
    """
    if "://" in text:
        redact.remember(text)  # also of one that is refused
    if not text.replace("\t", " ").isprintable():
        raise InputError(f"{origin}: not a requirement: {text!r}", hint="it has a control character in it")
    body, marker = _split_marker(text, origin=origin)
    if _URL.match(body) or body.startswith("file:"):
        return _parse_url(body, marker=marker, origin=origin)
    local = _local_path(body, folder)
    if local is not None:
        path, extras = local
        if not exists(path):
            raise InputError(
                f"{origin}: no such file or project: {path}", hint="check the path, or name a distribution"
            )
        if is_folder(path) and not any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise InputError(
                f"{origin}: {path} is not installable: it has neither pyproject.toml nor setup.py",
                hint=f"name a project's folder; if it holds wheels, --find-links {path}",
            )
        _require_archive(path, origin=origin)
        text = f"{path.as_uri()}{_bracketed(extras)}{marker}"
        return Requirement(text=text, name=None, extras=extras, origin=origin)
    try:
        parsed = pep508.requirement(f"{body}{marker}")
    except InvalidRequirement as error:
        raise InputError(
            f"{origin}: not a requirement: {text!r} ({str(error).splitlines()[0]})",
            hint=_spelling(body),
        ) from None
    if parsed.url:
        _check_url(parsed.url, origin=origin)
    return Requirement(
        text=f"{body}{marker}",
        name=canonicalize_name(parsed.name),
        extras=tuple(sorted(parsed.extras)),
        origin=origin,
    )


def _without_needless_stars(text: str) -> str:
    """Return `a>=1.2` for `a>=1.2.*`, which pip took until 24.1 and uv takes; anything else as it is."""
    body, semicolon, marker = text.partition(";")
    plain = _NEEDLESS_STAR.sub(r"\1", body) + semicolon + marker
    return plain if _is_valid(plain) and not _is_valid(text) else text


def _is_valid(text: str) -> bool:
    try:
        pep508.requirement(text)
    except InvalidRequirement:
        return False
    return True


def _spelling(body: str) -> str:
    """Say how to write what is no requirement."""
    if match := _STAR.search(body):
        return f"`.*` may stand behind == and != alone: write {match['operator']}{match['version']}"
    if match := _CONDA.match(body):
        return f"that is conda's way to write it: {match['name']}=={match['version']}"
    return "write NAME, NAME==VERSION or NAME @ URL, one a line"


def _split_marker(text: str, *, origin: str) -> tuple[str, str]:
    """Divide `./x ; python_version < "3.8"` as pip does; the marker keeps its semicolon."""
    body, separator, marker = text.partition("; " if _URL.match(text) else ";")
    if not separator or not marker.strip():
        return body.strip(), ""
    try:
        pep508.marker(marker)
    except InvalidMarker as error:
        raise InputError(
            f"{origin}: not a marker: {marker.strip()!r} ({str(error).splitlines()[0]})",
            hint="write it as in: NAME ; python_version < '3.8'",
        ) from None
    return body.strip(), f" ; {marker.strip()}"


def _parse_url(body: str, *, marker: str, origin: str) -> Requirement:
    _check_url(body, origin=origin)
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


def _check_url(url: str, *, origin: str) -> None:
    Address(url).check(where=origin)
    redact.remember(url)
    if not url.startswith("file:"):
        return
    path = Path(unquote(urlsplit(url).path))
    if not exists(path):
        raise InputError(
            f"{origin}: no such file: {path}",
            hint="put it there; where a `pip freeze` of another machine or of conda wrote file://, "
            "`pip list --format=freeze` writes NAME==VERSION instead",
        )
    _require_archive(path, origin=origin)


def _require_archive(path: Path, *, origin: str) -> None:
    if wrong := outside.why_no_archive(path):
        raise InputError(f"{origin}: {path} {wrong}", hint="name a wheel, an sdist or a folder")


def _local_path(body: str, folder: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return (absolute path, extras) where pip would see a path: a separator, a dot in front, an archive."""
    body, extras = _split_extras(body)
    if _NAMED_URL.match(body) or not (
        body.startswith(".") or "/" in body or body.lower().endswith(_ARCHIVES)
    ):
        return None
    return real_path(_beside(body, folder, prefer_current=True)), extras


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
    path = at_home(name)
    if prefer_current and exists(path):
        return path
    return path if path.is_absolute() else folder / path


def _find_links(value: str, folder: Path) -> str:
    """Make a local `--find-links` absolute; pip reads it relative to the requirements file."""
    if _URL.match(value):
        return value
    path = _beside(value, folder)
    return str(real_path(path)) if exists(path) else str(Path(value).absolute())


def public(requirement: Requirement) -> str:
    """Return a requirement as it may be written down: without credentials, a local path as its name alone."""
    text = requirement.text
    if "file:" not in text:
        return redact.text(text)
    path = text.partition("file:")[2].partition("#")[0].partition("[")[0].partition(" ")[0]
    name = requirement.name or unquote(path.rstrip("/").rpartition("/")[2])
    return f"{name}{_bracketed(requirement.extras)} (local)"
