"""uv as the resolver: it names the files of every distribution, the target's own tags choose one.

Two runs: the first against the index writes `pylock.toml` (files, hashes); the second, offline and in
milliseconds, writes the annotated form (who requires what, which index). uv reads no pip.conf, so
what the caller configured for pip is passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.pylock import Package, Pylock, PylockValidationError
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from bundler.bundle.lock import parse_toml
from bundler.create.resolve import remembered, uvlog
from bundler.create.resolve.question import (
    ROOT,
    Question,
    Resolution,
    allowed_hashes,
    asked_extras,
    failure,
    make_lock,
    unhashed,
    write_files,
    wrong_hash,
)
from bundler.errors import MachineError
from bundler.model import Artifact, LockedDistribution
from bundler.system import process, redact
from bundler.targets import target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from bundler.model import IndexSettings

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[(?P<extras>[^\]]*)\])?(?:==| @ )")
_YANKED = re.compile(
    r"^warning: `(?P<name>[A-Za-z0-9._-]+)==[^`]+` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?",
    re.MULTILINE,
)
_EXTRA = re.compile(
    r"^warning: The package `(?P<name>[A-Za-z0-9._-]+)[^`]*` does not have an extra named `(?P<extra>[^`]+)`",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class _Annotation:
    """What the comments below a pin say."""

    extras: tuple[str, ...]
    required_by: tuple[str, ...]
    requested: bool
    index: str | None


def resolve(question: Question) -> Resolution:
    """Resolve with uv, or give its answer from memory; what has no fitting file is named in `unfit`."""
    answer = remembered.resolve(question, lambda: _ask(question))
    annotations = parse_annotations(answer.annotated)
    packages = _packages(answer.pylock)
    yanked = {
        canonicalize_name(one["name"]): one["reason"] or "" for one in _YANKED.finditer(answer.messages)
    }
    # The default index is nothing to write down; one that the caller configured is.
    configured = (question.settings.index_url, *question.settings.extra_index_urls)
    indexes = {redact.url(url) for url in configured if url}
    unhashed(question.requirements, [package.name for package in packages])
    distributions: list[LockedDistribution] = []
    unfit: list[str] = []
    for package in packages:
        artifact = choose(package, question)
        if artifact is None:
            unfit.append(package.name)
            continue
        said = annotations[package.name]
        locked = _locked(package, artifact, said, indexes=indexes)
        extras = asked_extras(question.requirements, package.name, said.extras)
        distributions.append(replace(locked, extras=extras, yanked=yanked.get(package.name)))
    return Resolution(
        lock=make_lock(question, distributions),
        unknown_extras=tuple(
            (canonicalize_name(one["name"]), one["extra"]) for one in _EXTRA.finditer(answer.messages)
        ),
        unfit=tuple(sorted(unfit)),
        remembered=answer.remembered,
    )


def _packages(pylock: str) -> Sequence[Package]:
    try:
        return Pylock.from_dict(parse_toml(pylock, where="uv's answer")).packages
    except PylockValidationError as error:
        raise MachineError(
            f"uv's answer is not a lock: {error}", hint="try --resolver pip, and report the version of uv"
        ) from error


def _ask(question: Question) -> remembered.Asked:
    written = write_files(question, paths_for_extras=False)
    first, log = _ask_index(question, written)
    if first.returncode != 0:
        complaint = _complaint(first.stderr)
        if "was not found in the " in complaint:
            # With its strategy for several indexes uv does not tell of one that wants credentials.
            again = _compile(question, written, ["--format", "pylock.toml"], strategy="first-index")
            complaint = _complaint(again.stderr) if again.returncode != 0 else complaint
        raise failure(complaint, question=question, program="uv")
    annotated = ["--no-strip-extras", "--emit-index-annotation", "--annotation-style", "split"]
    second = _compile(question, written, [*annotated, "--offline"])
    if second.returncode != 0:
        # Servers can forbid to keep what they send, as those of direct URLs often do.
        second = _compile(question, written, annotated)
    if second.returncode != 0:
        raise failure(_complaint(second.stderr), question=question, program="uv")
    return remembered.Asked(
        answer=remembered.Answer(pylock=first.stdout, annotated=second.stdout, messages=first.stderr),
        pages=uvlog.pages(log),
        names=frozenset(parse_annotations(second.stdout)),
        unasked=uvlog.took_unasked(log),
    )


def _ask_index(question: Question, written: Sequence[Path]) -> tuple[process.Completed, str]:
    """Run uv against the index; what it looks at is told to whoever watches. Returns its log too."""

    def heard(line: str) -> None:
        if question.watch and (url := uvlog.asked(line)):
            question.watch(url)

    ran = _compile(question, written, ["--format", "pylock.toml", "--verbose"], heard=heard)
    return replace(ran, stderr=uvlog.without_log(ran.stderr)), ran.stderr


def _compile(
    question: Question,
    written: Sequence[Path],
    how: Sequence[str],
    *,
    strategy: str = "unsafe-best-match",
    heard: Callable[[str], None] | None = None,
) -> process.Completed:
    settings = question.settings
    requirements = question.requirements
    command: list[str | Path] = [
        find_uv_bin(),
        "pip",
        "compile",
        written[0].name,
        "--no-header",
        "--no-config",
    ]
    for constraints in written[1:]:
        command += ["--constraints", constraints.name]
    command += ["--python", question.interpreter.executable]
    command += ["--python-version", question.target.python_version]
    command += ["--python-platform", target.uv_platform(question.target)]
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
        ("--no-build", question.no_build),
        ("--no-deps", not question.dependencies),
    ):
        if wanted:
            command.append(flag)
    if requirements.pre:
        command += ["--prerelease", "allow"]
    if question.exclude_newer:
        command += ["--exclude-newer", question.exclude_newer]
    if settings.keyring_provider in {"subprocess", "auto", "import"}:
        command += ["--keyring-provider", "subprocess"]
    env = _environment(question)
    if "SSL_CERT_FILE" not in env:
        command.append("--system-certs")
    return process.run([*command, *how], env=env, cwd=question.scratch, check=False, heard=heard)


def _environment(question: Question) -> dict[str, str]:
    """uv's variables; index URLs stand here and not in the command, since every user can read that."""
    settings = question.settings
    extra: dict[str, str] = {"UV_CACHE_DIR": str(question.uv_cache), "UV_PYTHON_DOWNLOADS": "never"}
    if settings.index_url:
        extra["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.extra_index_urls:
        extra["UV_INDEX"] = " ".join(settings.extra_index_urls)
    if _secret_links(settings):
        extra["UV_FIND_LINKS"] = ",".join(settings.find_links)
    if settings.cert and "SSL_CERT_FILE" not in question.variables:
        extra["SSL_CERT_FILE"] = settings.cert
    if settings.client_cert:
        extra["SSL_CLIENT_CERT"] = settings.client_cert
    if settings.proxy:
        extra |= {"HTTP_PROXY": settings.proxy, "HTTPS_PROXY": settings.proxy}
    if settings.timeout:
        extra["UV_HTTP_TIMEOUT"] = f"{settings.timeout:.0f}"
    if settings.retries is not None:
        extra["UV_HTTP_RETRIES"] = str(settings.retries)
    return process.clean_environment(home=question.scratch, **{**question.variables, **extra})


def _secret_links(settings: IndexSettings) -> bool:
    """Links with a password go through a variable; uv reads that only where no option stands beside it."""
    return any(redact.has_credentials(link) for link in settings.find_links)


def choose(package: Package, question: Question) -> Artifact | None:
    """Choose the one file of a distribution: the best wheel by the target's tags, else its sdist.

    :returns: `None` where nothing fits.
    :raises InputError: files there are, but none with a hash that the requirements permit.
    """
    if package.vcs is not None:
        vcs = package.vcs
        return Artifact(
            kind="vcs",
            filename="",
            url=f"{vcs.type}+{vcs.url or Path(vcs.path or '').as_uri()}",
            commit=vcs.commit_id,
            subdirectory=vcs.subdirectory,
        )
    if package.directory is not None:
        path = (question.scratch / package.directory.path).resolve()
        return Artifact(
            kind="directory",
            filename="",
            url=None,
            path=str(path),
            subdirectory=package.directory.subdirectory,
        )
    if package.archive is not None:
        archive = package.archive
        return _file(
            url=archive.url,
            path=archive.path,
            name=None,
            hashes=dict(archive.hashes),
            size=archive.size,
            subdirectory=archive.subdirectory,
            scratch=question.scratch,
        )
    return _choose_indexed(package, question)


def _choose_indexed(package: Package, question: Question) -> Artifact | None:
    files = [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]
    permitted = allowed_hashes(question.requirements).get(package.name)
    usable = [one for one in files if permitted is None or one.hashes.get("sha256") in permitted]
    if not usable and permitted is not None:
        found = [one.hashes.get("sha256", "") for one in files]
        raise wrong_hash(
            package.name,
            str(package.version),
            expected=permitted,
            found=found,
            requirements=question.requirements,
        )
    by_name = {one.filename: one for one in usable}
    wheels = [name for name in by_name if name.endswith(".whl")]
    best = target.best_wheel(question.target, wheels)
    chosen = by_name[best] if best else next((one for one in usable if one is package.sdist), None)
    if chosen is None:
        return None
    return _file(
        url=chosen.url,
        path=chosen.path,
        name=chosen.filename,
        hashes=dict(chosen.hashes),
        size=chosen.size,
        subdirectory=None,
        scratch=question.scratch,
    )


def _file(
    *,
    url: str | None,
    path: str | None,
    name: str | None,
    hashes: dict[str, str],
    size: int | None,
    subdirectory: str | None,
    scratch: Path,
) -> Artifact:
    if url and url.startswith("file:"):
        path, url = unquote(urlsplit(url).path), None
    filename = name or Path(unquote(urlsplit(url).path) if url else path or "").name
    return Artifact(
        kind="wheel" if filename.endswith(".whl") else "sdist",
        filename=filename,
        url=redact.url(url) if url else None,
        path=str((scratch / path).resolve()) if path else None,
        sha256=hashes.get("sha256"),
        size=size,
        subdirectory=subdirectory,
    )


def _locked(
    package: Package,
    artifact: Artifact,
    annotation: _Annotation,
    *,
    indexes: Collection[str],
) -> LockedDistribution:
    direct = package.archive is not None
    local = package.directory is not None or (direct and artifact.url is None)
    return LockedDistribution(
        name=package.name,
        version=str(package.version or ""),
        artifact=artifact,
        source="vcs" if package.vcs is not None else "local" if local else "url" if direct else "index",
        requested=annotation.requested,
        required_by=annotation.required_by,
        index=annotation.index if annotation.index in indexes else None,
    )


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
            requested=f"-r {ROOT}" in via,
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
    """uv's error without its progress and warnings."""
    lines = stderr.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("error:")), 0)
    kept = [line.removeprefix("error: ") for line in lines[start:] if not line.startswith("Resolved ")]
    return "\n".join(kept)
