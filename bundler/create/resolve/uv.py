"""uv as the resolver: it lists the files of every distribution, and the target's own tags choose one.

uv runs twice: first against the index, for a `pylock.toml` (files, hashes); then offline, in milliseconds,
for the annotated form (which distribution requires which, and from which index it comes). uv does not read
pip's configuration, so what the caller configured for pip is passed on.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.pylock import Package, PackageSdist, PackageWheel
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from bundler.bundle import lock
from bundler.create import git_access
from bundler.create.resolve import output_cache, resolution
from bundler.create.resolve.resolution import Resolution, ResolveRequest
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Artifact, IndexSettings, Learned, LockedDistribution, Requirement, SourceKind
from bundler.system import pep508, process, redact
from bundler.system.address import Address
from bundler.targets import target
from bundler.wheels import unpack

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[(?P<extras>[^\]]*)\])?(?:==| @ )")
_YANKED = re.compile(
    r"^warning: `(?P<name>[A-Za-z0-9._-]+)==[^`]+` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?",
    re.MULTILINE,
)
_EXTRA = re.compile(
    r"^warning: The package `(?P<name>[A-Za-z0-9._-]+)[^`]*` does not have an extra named `(?P<extra>[^`]+)`",
    re.MULTILINE,
)
_REQUESTED = re.compile(
    r"^DEBUG (?:No cache entry for|Found (?P<state>fresh|stale|modified|not-modified) response for): "
    r"(?P<url>https?://\S+)$",
    re.MULTILINE,
)
_SELECTED = re.compile(r"^DEBUG Selecting: (?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>\S+) \[")
SILENCE = 600
"""Seconds without a word after which uv is taken to hang; its own limits for servers are shorter."""
_BUILDS = "builds-v0"
"""Where uv makes the environments of builds, in its cache."""
_WANTED = re.compile(r"[Ff]ailed to (?:download and )?build `(?P<what>[^`]+)`")
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRAS = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])? @ ")
_EXTRAS_OF_PATH = re.compile(r"\[[^\]/]*\]$")
_LOGGED = re.compile(r"^(?:TRACE|DEBUG|INFO|WARN) .*\n?", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class _Annotation:
    """The comments below a pinned distribution."""

    extras: tuple[str, ...]
    required_by: tuple[str, ...]
    requested: bool
    index: str | None


def resolve(request: ResolveRequest) -> Resolution:
    """Resolve with uv, or return its output of an earlier run that still holds.

    Distributions of which no file fits the target are named in `unfit`.

    :raises InputError: nothing can satisfy the requirements, or they are wrong.
    :raises MachineError: the index is out of reach, or a build that resolution needs failed.
    """
    output, cached = output_cache.resolve(request, lambda refresh: _run(request, refresh=refresh))
    annotations = parse_annotations(output.annotated)
    packages = _packages(output.pylock)
    yanked = {
        canonicalize_name(one["name"]): one["reason"] or "" for one in _YANKED.finditer(output.messages)
    }
    # The default index is not written down; one that the caller configured is.
    configured = (request.settings.index_url, *request.settings.extra_index_urls)
    indexes = {redact.url(url) for url in configured if url}
    resolution.require_permitted(request.requirements, [package.name for package in packages])
    distributions: list[LockedDistribution] = []
    unfit: list[str] = []
    for package in packages:
        chosen = choose(package, request)
        if chosen is None or not _fits_python(chosen[0], output.excluded, request):
            unfit.append(package.name)
            continue
        annotation = annotations[package.name]
        distributions.append(
            LockedDistribution(
                name=package.name,
                version=str(package.version or ""),
                artifact=chosen[0],
                source=chosen[1],
                requested=annotation.requested,
                extras=resolution.asked_extras(request, package.name, annotation.extras),
                required_by=annotation.required_by,
                yanked=yanked.get(package.name),
                index=annotation.index if annotation.index in indexes else None,
            )
        )
    return Resolution(
        lock=resolution.make_lock(request, distributions),
        unknown_extras=tuple(
            (canonicalize_name(one["name"]), one["extra"]) for one in _EXTRA.finditer(output.messages)
        ),
        unfit=tuple(sorted(unfit)),
        cached=cached,
    )


def _packages(pylock: str) -> Sequence[Package]:
    try:
        return lock.parse_pylock(pylock, where="uv's answer").packages
    except InputError as error:
        raise MachineError(error.message, hint="try --resolver pip, and report the version of uv") from error


def _run(request: ResolveRequest, *, refresh: bool) -> output_cache.UvRun:
    """Run uv until it wants no build any more: what it wants to know of a source is learned in between."""
    _forbid_builds(request.uv_cache)
    wants: list[str] = []
    while True:
        run = _run_once(request, refresh=refresh)
        if isinstance(run, output_cache.UvRun):
            return run
        if run in wants:
            raise MachineError(f"uv wants to build {run or 'a source'} again", hint="try --resolver pip")
        wants.append(run)
        request = _informed(request, run)


def _forbid_builds(cache: Path) -> None:
    """Put a file where uv makes the environments of builds: it builds nothing, and chooses as before.

    With `--no-build` it would choose other versions.
    """
    place = cache / _BUILDS
    if not place.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        place.touch()


def _run_once(request: ResolveRequest, *, refresh: bool) -> output_cache.UvRun | str:
    """Run uv; return its answer, or what it wants to build.

    That is `NAME==VERSION`, `NAME @ URL`, or empty for a source without a name.
    """
    written = resolution.write_files(request, paths_for_extras=False)

    def heard(line: str) -> None:
        if request.on_request and (found := _REQUESTED.match(line)):
            request.on_request(found["url"])
        if request.on_selection and (found := _SELECTED.match(line)):
            request.on_selection(found["name"], found["version"])

    how = ["--format", "pylock.toml", "--verbose", *(["--refresh"] if refresh else [])]
    first = _compile(request, written, how, heard=heard)
    log, messages = first.stderr, without_log(first.stderr)
    if any(place.is_dir() for place in request.uv_cache.glob("builds-*")):
        raise MachineError(
            "this release of uv builds in spite of us", hint="install the release that we require"
        )
    if first.returncode != 0:
        complaint = _complaint(messages)
        if f"{request.uv_cache / _BUILDS}`" in complaint:
            return wanted["what"] if (wanted := _WANTED.search(complaint)) else ""
        if "was not found in the " in complaint:
            # With its strategy for several indexes uv does not say that one of them wants credentials.
            again = _compile(request, written, ["--format", "pylock.toml"], strategy="first-index")
            complaint = _complaint(again.stderr) if again.returncode != 0 else complaint
        raise resolution.failure(complaint, request=request, program="uv")
    annotated = ["--no-strip-extras", "--emit-index-annotation", "--annotation-style", "split"]
    second = _compile(request, written, [*annotated, "--offline"])
    if second.returncode != 0:
        # A server can forbid uv to keep what it sends, as servers of direct URLs often do.
        second = _compile(request, written, annotated)
    if second.returncode != 0:
        raise resolution.failure(_complaint(second.stderr), request=request, program="uv")
    requested, unasked = pages(log)
    return output_cache.UvRun(
        output=output_cache.UvOutput(pylock=first.stdout, annotated=second.stdout, messages=messages),
        pages=requested,
        names=frozenset(parse_annotations(second.stdout)),
        unasked=unasked,
    )


def _informed(request: ResolveRequest, what: str) -> ResolveRequest:
    """Return a request in which uv is told of what it wants to build.

    :param what: as `_run_once` returns it; where that is empty, every source without a name gets one.
    """
    wanted = request.requirements
    if what:
        named = _NAMED.match(what)
        name, version = canonicalize_name(named[0] if named else ""), what.partition("==")[2]
        direct = (one.text for one in (*wanted.requirements, *wanted.constraints) if one.name == name)
        text = what if version else next((_bare(one) for one in direct if " @ " in one), what)
        learned = [_learned(request, text, name=name, version=version)]
        return replace(request, requirements=replace(wanted, learned=(*wanted.learned, *learned)))
    told, texts = list(wanted.learned), []
    for one in wanted.requirements:
        url, marker = _bare(one.text), one.text.partition(" ;")[2].strip()
        meant = not marker or pep508.marker(marker).evaluate({**request.target.markers, "extra": ""})
        if one.name is None and meant and not urlsplit(url).path.endswith(".whl"):
            found = _learned(request, f"unnamed @ {url}")
            told.append(found)
            extras = f"[{','.join(one.extras)}]" if one.extras else ""
            texts.append(replace(one, text=f"{found.name}{extras} @ {url}"))
        else:
            texts.append(one)
    return replace(request, requirements=replace(wanted, requirements=tuple(texts), learned=tuple(told)))


def _bare(text: str) -> str:
    """Return a direct requirement without marker and extras: `name @ URL`, or a URL."""
    body = text.partition(" ;")[0].strip()
    return _EXTRAS.sub(r"\g<name> @ ", body) if " @ " in body else _EXTRAS_OF_PATH.sub("", body)


def _learned(request: ResolveRequest, text: str, *, name: str = "", version: str = "") -> Learned:
    """Return what the source of one requirement says of its wheel.

    uv tells which source that is, once it is told that it requires nothing.

    :raises UnsatisfiedError: uv could not read it.
    """
    folder = request.scratch / "source"
    folder.mkdir(exist_ok=True)
    called = name or "unnamed"
    silent = Learned(name=called, version=version or "0", requires=(), requires_python=None, extras=())
    alone = replace(
        request.requirements,
        requirements=(Requirement(text=text, name=called, origin="a source"),),
        constraints=(),
        learned=(silent,),
    )
    asked = replace(request, requirements=alone, scratch=folder, dependencies=False)
    done = _compile(asked, resolution.write_files(asked, paths_for_extras=False), ["--format", "pylock.toml"])
    if done.returncode != 0:
        raise resolution.failure(_complaint(done.stderr), request=request, program="uv")
    package = _packages(done.stdout)[0]
    source = package.vcs or package.directory or package.archive or package.sdist
    if source is None:
        raise MachineError(f"{text}: uv does not say what it wants to build", hint="try --resolver pip")
    artifact, kind = lock.artifact(source, where="uv's answer", folder=folder, hashed=False)
    dist = LockedDistribution(name=name, version=version, artifact=artifact, source=kind)
    learned = resolution.learn(request, dist)
    if not resolution.is_valid(learned.requires, learned.requires_python):
        raise resolution.UnsatisfiedError(
            f"the metadata of {learned.name} {learned.version} is not valid",
            hint="pin another version",
            certain=False,
        )
    return learned


def _compile(
    request: ResolveRequest,
    written: Sequence[Path],
    how: Sequence[str],
    *,
    strategy: str = "unsafe-best-match",
    heard: Callable[[str], None] | None = None,
) -> process.Completed:
    settings = request.settings
    requirements = request.requirements
    command: list[str | Path] = [
        find_uv_bin(),
        "pip",
        "compile",
        written[0].name,
        "--no-header",
        *_configuration(request),
    ]
    command += [word for path in written[1:] for word in ("--constraints", path.name)]
    command += ["--python", request.interpreter.executable]
    command += ["--python-version", request.target.python_version]
    command += ["--python-platform", target.uv_platform(request.target)]
    # pip takes the best version of all indexes; so that both resolvers agree, uv does as well.
    command += ["--index-strategy", strategy, "--color", "never", "--no-progress"]
    for flag, values in (
        ("--no-binary", requirements.no_binary),
        ("--only-binary", requirements.only_binary),
        ("--find-links", () if _secret_links(settings) else settings.find_links),
        ("--allow-insecure-host", settings.trusted_hosts),
    ):
        for value in values:
            command += [flag, value]
    for flag, wanted in (
        ("--no-index", settings.no_index),
        ("--no-build", request.no_build),
        ("--no-deps", not request.dependencies),
    ):
        if wanted:
            command.append(flag)
    if requirements.pre:
        command += ["--prerelease", "allow"]
    if request.exclude_newer:
        command += ["--exclude-newer", request.exclude_newer]
    if settings.keyring_provider in {"subprocess", "auto", "import"}:
        command += ["--keyring-provider", "subprocess"]
    env = _environment(request)
    if "SSL_CERT_FILE" not in env:
        command.append("--system-certs")
    pulse = _Pulse(request, heard)
    done = process.run(
        [*command, *how],
        env=env,
        cwd=request.scratch,
        check=False,
        on_error_line=pulse.heard,
        on_wait=pulse.require,
    )
    resolution.require_end(done, program="uv")
    return done


class _Pulse:
    """Ends uv where it says nothing for long: a pipe in its cache, for example, blocks it for ever."""

    def __init__(self, request: ResolveRequest, heard: Callable[[str], None] | None) -> None:
        self._request = request
        self._heard = heard
        self._last = time.monotonic()

    def heard(self, line: str) -> None:
        """Take a line of uv's log."""
        self._last = time.monotonic()
        if self._heard:
            self._heard(line)

    def require(self, _: float) -> None:
        """Require that uv has said something lately.

        :raises MachineError: it has not.
        """
        if time.monotonic() - self._last > SILENCE:
            raise MachineError(
                f"uv has said nothing for {SILENCE} s: it was ended",
                hint=f"look for what is no ordinary file in {self._request.uv_cache}, or remove that folder; "
                "an index may hang as well",
            )


def _configuration(request: ResolveRequest) -> list[str | Path]:
    """Return the words that keep uv's configuration out; what is learned already, uv takes from a file alone.

    https://docs.astral.sh/uv/reference/settings/#dependency-metadata
    """
    if not request.requirements.learned:
        return ["--no-config"]
    rows = []
    for one in request.requirements.learned:
        row: dict[str, object] = {"name": one.name, "version": one.version, "requires-dist": one.requires}
        row |= {"requires-python": one.requires_python} if one.requires_python else {}
        row |= {"provides-extra": one.extras}
        # Texts and lists of JSON are those of TOML.
        rows.append("[[dependency-metadata]]\n")
        rows += [f"{key} = {json.dumps(value)}\n" for key, value in row.items()]
    path = request.scratch / "uv.toml"
    path.write_text("".join(rows), encoding="utf-8")
    return ["--config-file", path]


def _environment(request: ResolveRequest) -> dict[str, str]:
    """Return uv's variables; index URLs are among them, since every user can read a command line."""
    settings = request.settings
    extra: dict[str, str] = git_access.variables(request.requirements)
    extra |= {"UV_CACHE_DIR": str(request.uv_cache), "UV_PYTHON_DOWNLOADS": "never"}
    if settings.index_url:
        extra["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.extra_index_urls:
        extra["UV_INDEX"] = " ".join(settings.extra_index_urls)
    if _secret_links(settings):
        extra["UV_FIND_LINKS"] = ",".join(settings.find_links)
    if settings.cert and "SSL_CERT_FILE" not in request.variables:
        extra["SSL_CERT_FILE"] = settings.cert
    if settings.client_cert:
        extra["SSL_CLIENT_CERT"] = settings.client_cert
    if settings.proxy:
        extra |= {"HTTP_PROXY": settings.proxy, "HTTPS_PROXY": settings.proxy}
    if settings.timeout:
        extra["UV_HTTP_TIMEOUT"] = f"{settings.timeout:.0f}"
    if settings.retries is not None:
        extra["UV_HTTP_RETRIES"] = str(settings.retries)
    return process.clean_environment(home=request.scratch, **{**request.variables, **extra})


def _secret_links(settings: IndexSettings) -> bool:
    """Tell whether a link has a password: then all go through a variable, as uv reads one or the other."""
    return any(redact.has_credentials(link) for link in settings.find_links)


def choose(package: Package, request: ResolveRequest) -> tuple[Artifact, SourceKind] | None:
    """Choose the one file of a distribution: the best wheel by the target's tags, else its sdist.

    :returns: `None` where nothing fits.
    :raises InputError: there are files, but none with a hash that the requirements permit.
    """
    source = package.vcs or package.directory or package.archive or _best_file(package, request)
    if source is None:
        return None
    where = f"uv's answer: {package.name}"
    artifact, kind = lock.artifact(source, where=where, folder=request.scratch, hashed=False)
    if artifact.url and kind != "vcs":
        artifact = replace(artifact, url=Address(artifact.url).without_user)
    return artifact, kind


def _fits_python(artifact: Artifact, excluded: Collection[str], request: ResolveRequest) -> bool:
    """Tell whether Requires-Python permits the target's full version; uv reads its lower bound alone.

    :param excluded: the files that an index page says are for other Pythons.
    """
    url = urlsplit(artifact.url or "")
    path = artifact.path or (unquote(url.path) if url.scheme == "file" else "")
    if not path.endswith(".whl"):
        return artifact.filename not in excluded
    return target.permits(unpack.requires_python(Path(path)), request.target.python_version)


def _best_file(package: Package, request: ResolveRequest) -> PackageWheel | PackageSdist | None:
    files = [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]
    permitted = resolution.allowed_hashes(request.requirements).get(package.name)
    usable = [one for one in files if permitted is None or one.hashes.get("sha256") in permitted]
    if not usable and permitted is not None:
        found = [one.hashes.get("sha256", "") for one in files]
        raise resolution.wrong_hash(
            package.name,
            str(package.version),
            expected=permitted,
            found=found,
            requirements=request.requirements,
        )
    by_name = {one.filename: one for one in usable}
    best = target.best_wheel(request.target, [name for name in by_name if name.endswith(".whl")])
    return by_name[best] if best else next((one for one in usable if one is package.sdist), None)


def parse_annotations(text: str) -> dict[str, _Annotation]:
    """Read uv's annotated requirements: normalised name → extras, who requires it, which index."""
    found: dict[str, _Annotation] = {}
    for block in _blocks(text.splitlines()):
        match = _PINNED.match(block[0])
        if match is None:
            continue
        via: list[str] = []
        index = None
        for line in block[1:]:
            word = line.strip().lstrip("#").strip()
            if word.startswith("from "):
                index = redact.url(word[5:])
            elif word and word != "via":
                via.append(word.removeprefix("via "))
        name = canonicalize_name(match["name"])
        extras = {one.strip() for one in (match["extras"] or "").split(",") if one.strip()}
        parents = {canonicalize_name(one.partition("[")[0].split(" ")[0]) for one in via if one[0] != "-"}
        found[name] = _Annotation(
            extras=tuple(sorted(extras)),
            required_by=tuple(sorted(parents - {name})),
            requested=f"-r {resolution.ROOT}" in via,
            index=index,
        )
    return found


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """Group each pin with the indented comments below it."""
    blocks: list[list[str]] = []
    for line in lines:
        if line and not line[0].isspace() and not line.startswith("#"):
            blocks.append([line])
        elif blocks and line.strip().startswith("#"):
            blocks[-1].append(line)
    return blocks


def _complaint(stderr: str) -> str:
    """Return uv's error without its progress and warnings."""
    lines = stderr.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("error:")), 0)
    kept = [line.removeprefix("error: ") for line in lines[start:] if not line.startswith("Resolved ")]
    return "\n".join(kept)


def pages(log: str) -> tuple[frozenset[str], bool]:
    """Read which index pages uv needed from its log (`--verbose`).

    :returns: their URLs, without credentials, and whether uv took one of them from its cache without asking
        the server whether it has changed.
    """
    # The URL of a page ends with a slash (PEP 503), that of a file does not.
    needed = [one for one in _REQUESTED.finditer(log) if urlsplit(one["url"]).path.endswith("/")]
    unasked = any(one["state"] == "fresh" for one in needed)
    return frozenset(redact.url(one["url"]) for one in needed), unasked


def without_log(text: str) -> str:
    """Return uv's messages without its log: warnings and errors."""
    return _LOGGED.sub("", text)
