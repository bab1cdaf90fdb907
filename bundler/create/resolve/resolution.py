"""What both resolvers share: what they are asked, what they return, and what their messages mean."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Collection, Iterable
from dataclasses import field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from bundler.create import git_access
from bundler.create.inputs.misspelt import meant
from bundler.create.requirements import public
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    IndexSettings,
    Interpreter,
    Learned,
    Lock,
    LockedDistribution,
    Requirement,
    Requirements,
    Target,
)
from bundler.system import pep508, redact
from bundler.system.process import Completed
from bundler.wheels.store import Store

ROOT = "requirements.in"
CONSTRAINTS = "constraints.in"

HASH_ALL = "pin every distribution with --hash (`envbundle lock` writes such a file), or none"

# Whole words and phrases: there are distributions called forbiddenfruit, and versions such as 1.401.
_MACHINE_FAILURES = (
    (
        re.compile(
            r"\b40[13] (?:client error|error|unauthorized|forbidden)\b|\bhttp error 40[13]\b"
            r"|authentication credentials"
        ),
        "the index wants credentials",
        "put them into ~/.netrc, into keyring, or into the index URL of pip's configuration",
    ),
    (
        re.compile(r"\bgit (?:clone|fetch|ls-remote|checkout|rev-parse)\b.*did not run|git operation failed"),
        "a repository could not be read",
        "check its URL, its branch or tag, and that this machine may read it",
    ),
    (
        re.compile(
            r"error sending request|dns error|failed to lookup address|connection refused|connection reset"
            r"|network is unreachable|name or service not known|temporary failure in name resolution"
            r"|timed out|certificate verify failed|invalid peer certificate|unknownissuer|tunnel error"
            r"|failed to fetch|failed to establish a new connection|max retries exceeded"
            r"|network connectivity is disabled|the network was disabled"
        ),
        "the index is out of reach",
        "check network, proxy and certificate; behind a closed network, configure pip's index-url",
    ),
    (
        re.compile(r"received some unexpected (?:json|html)|unsupported .content-type. "),
        "the index answers with what is no page of an index",
        "look at its address: a proxy, or a page to log in, may answer in its place",
    ),
    (
        re.compile(r"no space left on device|disk quota exceeded|read-only file system"),
        "{program} cannot write",
        "the filesystems of the output and of --cache-dir must have room and be writable",
    ),
)
"""What a message in lower case holds, what went wrong, and what to do; the first that matches counts."""
_CRASH = re.compile(r"^ERROR: Exception:$|^thread '.*' panicked at ", re.MULTILINE)
_ABSENT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? was not found in the "
    r"(?:package registry|provided package)"
)
"""What uv says of a name that no index has."""
_NEVER_LOCKED = frozenset({"pip", "setuptools", "wheel"})
"""What older releases of poetry and pipenv lock nowhere, though distributions require it."""


class UnsatisfiedError(InputError):
    """A resolver found nothing that satisfies the requirements."""

    def __init__(self, message: str, *, hint: str, certain: bool) -> None:
        """Take the message.

        :param certain: another resolver would say the same: a distribution that is asked for by name is on no
            index.
        """
        super().__init__(message, hint=hint)
        self.certain = certain


@dataclass(frozen=True, kw_only=True)
class ResolveRequest:
    """What a resolver is asked."""

    requirements: Requirements
    target: Target
    interpreter: Interpreter
    settings: IndexSettings
    variables: dict[str, str]
    """For the network (`bundler.system.index_settings.network_variables`)."""
    scratch: Path
    uv_cache: Path
    learn: Callable[[LockedDistribution, Path | None], Learned]
    """Returns what a source says of its wheel, from a build in a room: no resolver runs one. Name and version
    are empty where nobody knows them; the path is that of an sdist or repository that is here already."""
    exclude_newer: str | None = None
    patience: float | None = None
    """Seconds that pip may take, where it is the resolver; `None`: all the time it wants."""
    no_build: bool = False
    dependencies: bool = True
    """Whether dependencies are resolved; false where the requirements are a complete lock."""
    store: Store | None = None
    """Where uv's output is kept for later runs; `None`: nowhere."""
    refresh: bool = False
    """Run uv even where the output of an earlier run still holds."""
    asked_since: float | None = None
    """As of a `LockRequest`."""
    announce: Callable[[str], None] = field(default=lambda _: None)
    """Called with a sentence for the user, where a resolver is asked that takes long."""
    began: Callable[[str], None] = field(default=lambda _: None)
    """Called with what is done and may take long; `ended` gets the same words."""
    ended: Callable[[str], None] = field(default=lambda _: None)
    on_request: Callable[[str], None] | None = None
    """Called with the URL of each page and file that the resolver asks for, as soon as it does, on another
    thread; it must neither fail nor wait. A resolver need not call it."""
    on_selection: Callable[[str, str], None] | None = None
    """The same with name and version of each distribution that the resolver selects, perhaps not for good."""
    for_other_pythons: Callable[[str], Collection[str] | None] = field(default=lambda _: None)
    """Returns the names of files that a page says are for other Pythons, where it was asked for because of
    these calls, once it is there; `None`: it was not."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """A lock, and what the resolver noticed on the way."""

    lock: Lock
    unknown_extras: tuple[tuple[str, str], ...] = ()
    """(distribution, extra) pairs that the resolver could not find."""
    unfit: tuple[str, ...] = ()
    """Distributions of which no file fits the target: its platform, or its full Python version."""
    cached: bool = False
    """It was made from the output of an earlier run, and no index page has changed since."""


def is_valid(requires: Iterable[str], requires_python: str | None) -> bool:
    """Tell whether every resolver can read what a distribution requires."""
    try:
        SpecifierSet(requires_python or "")
        for line in requires:
            pep508.requirement(line)
    except (InvalidSpecifier, InvalidRequirement):
        return False
    return True


def learn(request: ResolveRequest, dist: LockedDistribution, source: Path | None = None) -> Learned:
    """Return what a source says of its wheel, and say that this is being found out."""
    what = f"building {f'{dist.name} {dist.version}'.strip() or 'a source'} to learn its requirements"
    request.began(what)
    try:
        return request.learn(dist, source)
    finally:
        request.ended(what)


def write_files(request: ResolveRequest, *, paths_for_extras: bool) -> list[Path]:
    """Write the requirements, and the constraints where there are any, as files for the resolver.

    :param paths_for_extras: write an unnamed local project as a path, the only form in which pip
        accepts extras behind it; uv wants the URL.
    :returns: the requirements file, then the constraints file if there is one.
    """
    constraints = request.requirements.constraints
    if request.requirements.closed_by:
        # pip would demand hashes of what is asked for as well, which the lock has as constraints: both
        # resolvers' answers are compared with them instead.
        constraints = tuple(replace(one, hashes=()) for one in constraints)
    files = [(ROOT, request.requirements.requirements), (CONSTRAINTS, constraints)]
    written: list[Path] = []
    for name, requirements in files:
        if not requirements and name == CONSTRAINTS:
            continue
        path = request.scratch / name
        path.touch(mode=0o600)
        lines = [_line(requirement, paths_for_extras=paths_for_extras) for requirement in requirements]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        written.append(path)
    return written


def _line(requirement: Requirement, *, paths_for_extras: bool) -> str:
    text = git_access.without_credentials(requirement.text)
    if paths_for_extras and requirement.name is None and requirement.extras:
        text = unquote(urlsplit(text).path) if text.startswith("file:") else text
    return " ".join([text, *(f"--hash={one}" for one in requirement.hashes)])


def allowed_hashes(requirements: Requirements) -> dict[str, frozenset[str]]:
    """Return name → hexadecimal sha256 that `--hash` permits; names without `--hash` are absent."""
    found: dict[str, set[str]] = {}
    for requirement in (*requirements.requirements, *requirements.constraints):
        if requirement.name and requirement.hashes:
            digests = {value.partition(":")[2] for value in requirement.hashes}
            found.setdefault(requirement.name, set()).update(digests)
    return {name: frozenset(digests) for name, digests in found.items()}


def wrong_hash(
    name: str, version: str, *, expected: Iterable[str], found: Iterable[str], requirements: Requirements
) -> InputError:
    """Return the error for a pinned hash that no file of the index has."""
    origin = next(
        (
            req.origin
            for req in (*requirements.requirements, *requirements.constraints)
            if req.name == name and req.hashes
        ),
        "a lock",
    )
    had = ", ".join(f"sha256:{one}" for one in sorted(found)) or "nothing for this target"
    return InputError(
        f"{origin}: no file of {name}=={version} has an expected hash\n"
        f"  expected: {', '.join(f'sha256:{one}' for one in sorted(expected))}\n"
        f"  the index has: {had}",
        hint="if you trust the index, pin the hash anew with `envbundle lock`",
    )


def require_permitted(requirements: Requirements, names: Iterable[str]) -> None:
    """Check that all is in the lock that was given, and that all have a hash where one has: pip's rule.

    :raises InputError: names what is not.
    """
    found = set(names)
    if requirements.closed_by:
        known = {one.name for one in (*requirements.requirements, *requirements.constraints)}
        if more := sorted(found - known - _NEVER_LOCKED):
            raise InputError(
                f"{requirements.closed_by} does not have {', '.join(more)}, which this target needs",
                hint="lock again with its tool, for this Python on Linux; or name it besides",
            )
    if not requirements.require_hashes:
        return
    hashed = allowed_hashes(requirements)
    if missing := sorted(found - hashed.keys()):
        raise InputError(
            f"hashes are required, and these have none: {', '.join(missing)}",
            hint=HASH_ALL,
        )


def asked_extras(request: ResolveRequest, name: str, resolved: Iterable[str]) -> tuple[str, ...]:
    """Return the extras that the caller asks for on the target; resolvers differ in what they add to them.

    :param resolved: the extras that the resolver reports; they count for a project that was named only by
        its path.
    """
    wanted = [one for one in request.requirements.requirements if _is_meant(one, request)]
    asked = {extra for one in wanted if one.name == name for extra in one.extras}
    named = any(one.name == name for one in wanted)
    if named or all(one.name is not None or not one.extras for one in wanted):
        return tuple(sorted(asked))
    return tuple(sorted(resolved))


def _is_meant(one: Requirement, request: ResolveRequest) -> bool:
    """Tell whether a line applies to the target: crossbar asks for `twisted[windows_platform]` on Windows."""
    try:
        marker = pep508.requirement(one.text).marker
    except InvalidRequirement:
        return True  # a path or a URL
    return marker is None or marker.evaluate({**request.target.markers, "extra": ""})


def make_lock(request: ResolveRequest, distributions: Iterable[LockedDistribution]) -> Lock:
    """Return the lock of what was resolved, sorted by name."""
    return Lock(
        python_version=request.target.python_version,
        machine=request.target.machine,
        glibc=request.target.glibc,
        distributions=tuple(sorted(distributions, key=lambda dist: dist.name)),
        requirements=tuple(public(one) for one in request.requirements.requirements),
        constraints=tuple(public(one) for one in request.requirements.constraints),
    )


def _way_out(said: str, request: ResolveRequest) -> str:
    """Say what to do where nothing satisfies the requirements."""
    asked = _asked_for(said, request.requirements)
    absent = sorted({canonicalize_name(one["name"]) for one in _ABSENT.finditer(said)})
    if guesses := [f"{guess} instead of {name}" for name in absent if (guess := meant(name))]:
        return f"did you mean {' and '.join(guesses)}?" + (f" ({asked})" if asked else "")
    if lock := request.requirements.closed_by:
        # The project asks for something else by now, or was locked for another Python.
        return f"lock the project again, for Python {request.target.minor}: {asked or lock}"
    return f"change what is asked for: {asked}" if asked else "change one of the requirements named above"


def failure(text: str, *, request: ResolveRequest, program: str) -> EnvbundleError:
    """Return the error for the output of a resolver that failed: who must act, and what to do.

    :param text: what it printed.
    :param program: its name, for the message.
    """
    said = redact.text(text).strip() or f"{program} failed without a word"
    lowered = said.lower()
    for pattern, problem, hint in _MACHINE_FAILURES:
        if pattern.search(lowered):
            return MachineError(f"{problem.format(program=program)}:\n{_indent(said)}", hint=hint)
    return UnsatisfiedError(
        f"nothing satisfies these requirements on Python {request.target.python_version}:\n{_indent(said)}",
        hint=_way_out(said, request),
        certain=_is_certain(said, request.requirements),
    )


def require_end(done: Completed, *, program: str) -> None:
    """Refuse what a resolver said that did not end by itself.

    :raises MachineError: it was killed, or crashed.
    """
    if done.returncode < 0:
        raise MachineError(
            f"{program} was killed ({signal.Signals(-done.returncode).name})",
            hint="run it again; if the machine ran out of memory, give it more",
        )
    if done.returncode > 2 or _CRASH.search(done.stderr):
        last = (redact.text(done.stderr).strip().splitlines() or ["without a word"])[-1]
        raise MachineError(
            f"{program} crashed (exit code {done.returncode}): {last}",
            hint=f"try --resolver {'pip' if program == 'uv' else 'uv'}",
        )


def _is_certain(said: str, requirements: Requirements) -> bool:
    absent = {canonicalize_name(one["name"]) for one in _ABSENT.finditer(said)}
    return any(one.name in absent and ";" not in one.text for one in requirements.requirements)


def _asked_for(said: str, requirements: Requirements) -> str:
    """Return the caller's own lines that a message is about."""
    words = {word.strip("'\"`") for word in said.replace(",", " ").replace("(", " ").lower().split()}
    named = [
        f"{redact.text(requirement.text)} ({requirement.origin})"
        for requirement in (*requirements.requirements, *requirements.constraints)
        if requirement.name and any(word.partition("[")[0].startswith(requirement.name) for word in words)
    ]
    return "; ".join(named[:6])


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
