"""The reference resolver: the pip of the target, which sees the image's glibc (PEP 600, `_manylinux.py`)."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import InvalidSdistFilename, NormalizedName, canonicalize_name, parse_sdist_filename

from bundler.create import git_access
from bundler.create.resolve import resolution
from bundler.create.resolve.resolution import Resolution, ResolveRequest
from bundler.create.target_pip import Pip
from bundler.errors import InputError
from bundler.model import Artifact, LockedDistribution, SourceKind
from bundler.system import pep508, redact
from bundler.system.address import Address
from bundler.system.index_settings import index_flags
from bundler.system.process import Completed

_EXTRA = re.compile(
    r"^WARNING: (?P<name>[A-Za-z0-9._-]+) \S+ does not provide the extra '(?P<extra>[^']+)'", re.MULTILINE
)
_YANKED = re.compile(
    r"yanked version: '(?P<name>[A-Za-z0-9._-]+)' candidate .*\nReason for being yanked: (?P<reason>.*)"
)
_WRONG_HASH = re.compile(r"Expected sha256 (?P<expected>[0-9a-f]{64})\s+Got\s+(?P<found>[0-9a-f]{64})")
_NO_FILE = re.compile(r"No matching distribution found for (?P<name>[A-Za-z0-9._-]+)")
_UNFIT = re.compile(
    r"Skipping link: none of the wheel's tags \((?P<tags>[^)]+)\).*?/(?P<name>[^/#\s-]+)-[^/#\s]+\.whl"
)
_NOT_TRUSTED = re.compile(r"^WARNING: The repository located at (?P<host>\S+) is not a trusted", re.MULTILINE)
_OUT_OF_REACH = re.compile(r"^ *Could not fetch URL (?!.*: 404 ).* - skipping$", re.MULTILINE)
_CHANGED = re.compile(r"^ *(?P<name>\S+).* from (?P<url>[^\s#]+).*:\n *Expected sha256", re.MULTILINE)
_CHAIN = re.compile(r"^The conflict is caused by:\n(?:    .+\n)+", re.MULTILINE)


def resolve(request: ResolveRequest, *, pip: Pip, timeout: float | None = None) -> Resolution:
    """Resolve with `pip install --dry-run --report`, run by the target interpreter.

    :param timeout: seconds after which pip is ended; `None`: it has all the time it wants.
    :raises InputError: nothing can satisfy the requirements, or they are wrong.
    :raises MachineError: the index is out of reach, a build failed, or pip crashed or took too long.
    """
    if request.exclude_newer:
        raise InputError(
            "--exclude-newer needs the resolver uv: the target's last pip knows no upload times",
            hint="leave --resolver pip out, or pin the versions",
        )
    report = request.scratch / "report.json"
    written = resolution.write_files(request, paths_for_extras=True)
    command = ["install", "--dry-run", "--ignore-installed", "--report", str(report)]
    command += ["--no-cache-dir", *_options(request), "--requirement", str(written[0])]
    for constraints in written[1:]:
        command += ["--constraint", str(constraints)]
    command += index_flags(request.settings)
    done = _run(request, pip, [*command, "--quiet"], timeout)
    resolution.require_end(done, program="pip")
    if done.returncode != 0:
        said = done.stderr
        # With a timeout there is an explanation already.
        if timeout is None and (_NO_FILE.search(said) or "ResolutionImpossible" in said):
            said = _detailed(_run(request, pip, [*command, "-vv"], timeout)) or said
        raise _explain(said, request)
    installs: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    parents = _parents(installs, request.target.markers)
    reasons = {canonicalize_name(one["name"]): one["reason"] for one in _YANKED.finditer(done.stderr)}
    distributions = [_locked(item, parents, reasons, request) for item in installs]
    resolution.require_permitted(request.requirements, [dist.name for dist in distributions])
    _require_hashes(distributions, request)
    return Resolution(
        lock=resolution.make_lock(request, distributions),
        unknown_extras=tuple(
            (canonicalize_name(one["name"]), one["extra"]) for one in _EXTRA.finditer(done.stderr)
        ),
    )


def _require_hashes(distributions: Sequence[LockedDistribution], request: ResolveRequest) -> None:
    """Check each file against the hashes of constraints, which pip was not given."""
    permitted = resolution.allowed_hashes(request.requirements)
    for dist in distributions:
        digest = dist.artifact.sha256
        if digest and digest not in permitted.get(dist.name, {digest}):
            raise resolution.wrong_hash(
                dist.name,
                dist.version,
                expected=permitted[dist.name],
                found=[digest],
                requirements=request.requirements,
            )


def _options(request: ResolveRequest) -> list[str]:
    requirements = request.requirements
    options: list[str] = []
    formats = [("--no-binary", value) for value in requirements.no_binary]
    formats += [("--only-binary", value) for value in requirements.only_binary]
    # To pip a later `:all:` takes back the names that the other option gave before it.
    for flag, value in sorted(formats, key=lambda one: one[1] != ":all:"):
        options += [flag, value]
    if request.no_build:
        options += ["--only-binary", ":all:"]
    for flag, wanted in (
        ("--prefer-binary", requirements.prefer_binary),
        ("--pre", requirements.pre),
        ("--no-deps", not request.dependencies),
    ):
        if wanted:
            options.append(flag)
    return options


def _run(request: ResolveRequest, pip: Pip, command: Sequence[str], timeout: float | None) -> Completed:
    with tempfile.TemporaryDirectory(dir=request.scratch, prefix="sources-") as exchange:
        return pip.run(
            request.interpreter.executable,
            command,
            scratch=request.scratch,
            check=False,
            timeout=timeout,
            extra=git_access.variables(request.requirements),
            on_wait=lambda _: _answer(request, Path(exchange)),
            exchange=Path(exchange),
        )


def _answer(request: ResolveRequest, exchange: Path) -> None:
    """Tell pip what the sources say of which it wants to know it (`ontarget/pip_without_builds.py`)."""
    for question in sorted(exchange.glob("*.json")):
        asked = json.loads(question.read_text(encoding="utf-8"))
        question.unlink()
        artifact, source = _artifact(asked["info"], direct=asked["direct"])
        name = canonicalize_name(asked["name"] or "")
        here = {"sdist": asked["archive"], "vcs": asked["tree"]}.get(artifact.kind)
        version = "" if asked["direct"] else _version(artifact.filename)
        dist = LockedDistribution(name=name, version=version, artifact=artifact, source=source)
        learned = resolution.learn(request, dist, Path(here) if here else None)
        made = Path(tempfile.mkdtemp(dir=exchange))
        metadata = made / f"{learned.name.replace('-', '_')}-{learned.version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        lines = [("Metadata-Version", "2.1"), ("Name", learned.name), ("Version", learned.version)]
        lines += [("Requires-Python", learned.requires_python)] if learned.requires_python else []
        lines += [("Provides-Extra", one) for one in learned.extras]
        lines += [("Requires-Dist", one) for one in learned.requires]
        metadata.write_text("".join(f"{key}: {value}\n" for key, value in lines), encoding="utf-8")
        made.rename(question.with_suffix(""))


def _version(filename: str) -> str:
    """Return the version that the name of an sdist tells; empty where it tells none."""
    try:
        return str(parse_sdist_filename(filename)[1])
    except InvalidSdistFilename:
        return ""


def _detailed(done: Completed) -> str:
    """Return a fuller message from the output of `-vv`: the chain of a conflict, files that do not fit."""
    if unreachable := sorted(set(_OUT_OF_REACH.findall(done.stdout))):
        return "\n".join(unreachable)
    said = done.stderr
    if match := _CHAIN.search(done.stdout):
        said += f"\n{match[0]}"
    if match := _NO_FILE.search(said):
        name = canonicalize_name(match["name"])
        skipped = _UNFIT.finditer(done.stdout)
        unfit = sorted({one["tags"] for one in skipped if canonicalize_name(one["name"]) == name})
        if unfit:
            more = f" and {len(unfit) - 12} more" if len(unfit) > 12 else ""
            said += f"\n{name} has wheels, but only for: {', '.join(unfit[:12])}{more}"
    return said if done.returncode != 0 else ""


def _explain(stderr: str, request: ResolveRequest) -> Exception:
    if match := _NOT_TRUSTED.search(stderr):
        host = match["host"]
        return InputError(
            f"pip ignores the index at {host}: it is not reached by https",
            hint=f"use its https:// URL, or accept it as it is: --trusted-host {host}",
        )
    lines = [line for line in stderr.splitlines() if not line.startswith(("WARNING: ", "[notice]"))]
    text = "\n".join(line.removeprefix("ERROR: ") for line in lines)
    # Name the caller's own lines instead of those of the file that was written for pip.
    for number, requirement in enumerate(request.requirements.requirements, start=1):
        ours = f"-r {request.scratch / resolution.ROOT} (line {number})"
        text = text.replace(f"from {ours}", requirement.origin)
        text = text.replace(ours, f"{requirement.text} ({requirement.origin})")
    if "require-hashes mode" in text.lower():
        return InputError(f"hashes are required, and not all have one:\n{text}", hint=resolution.HASH_ALL)
    if match := _WRONG_HASH.search(text):
        hashed = resolution.allowed_hashes(request.requirements)
        changed = _CHANGED.search(text)
        if changed and not any(match["expected"] in digests for digests in hashed.values()):
            return InputError(
                f"{changed['name']} ({redact.url(changed['url'])}) does not have the expected hash\n"
                f"  expected: sha256:{match['expected']}\n  got:      sha256:{match['found']}",
                hint="the file was changed on the way or on the index: do not use it before you know why",
            )
        name = next((name for name, digests in hashed.items() if match["expected"] in digests), "a file")
        return resolution.wrong_hash(
            name,
            "the pinned version",
            expected=[match["expected"]],
            found=[match["found"]],
            requirements=request.requirements,
        )
    return resolution.failure(text, request=request, program="pip")


def _parents(
    installs: Sequence[Mapping[str, Any]], markers: Mapping[str, str]
) -> dict[NormalizedName, set[str]]:
    """Return name → names of the distributions that require it, by metadata and the extras in force."""
    requires = {_name(item): item["metadata"].get("requires_dist", []) for item in installs}
    extras = {_name(item): set(item.get("requested_extras", [])) for item in installs}
    parents: dict[NormalizedName, set[str]] = {name: set() for name in requires}
    pending = list(requires)
    while pending:
        parent = pending.pop()
        for text in requires[parent]:
            try:
                requirement = pep508.requirement(text)
            except InvalidRequirement:
                continue
            child = canonicalize_name(requirement.name)
            if child not in parents or not _applies(requirement, extras[parent], markers):
                continue
            if child != parent:
                parents[child].add(parent)
            if not requirement.extras <= extras[child]:
                extras[child] |= requirement.extras
                pending.append(child)
    return parents


def _applies(requirement: Pep508, extras: set[str], markers: Mapping[str, str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**markers, "extra": extra}) for extra in ("", *extras))


def _name(item: Mapping[str, Any]) -> NormalizedName:
    return canonicalize_name(item["metadata"]["name"])


def _locked(
    item: Mapping[str, Any],
    parents: Mapping[NormalizedName, set[str]],
    reasons: Mapping[NormalizedName, str],
    request: ResolveRequest,
) -> LockedDistribution:
    name = _name(item)
    artifact, source = _artifact(item["download_info"], direct=bool(item.get("is_direct")))
    if artifact.kind == "sdist" and not item["download_info"]["url"].startswith("file:"):
        # pip's report names the sdist that it built metadata from: that is the file to fetch.
        source = "url" if item.get("is_direct") else "index"
    return LockedDistribution(
        name=name,
        version=str(item["metadata"]["version"]),
        artifact=artifact,
        source=source,
        requested=bool(item.get("requested")),
        extras=resolution.asked_extras(request, name, item.get("requested_extras", [])),
        required_by=tuple(sorted(parents.get(name, ()))),
        yanked=reasons.get(name, "") if item.get("is_yanked") else None,
        index=_index(request, item["download_info"]["url"]) if source == "index" else None,
    )


def _index(request: ResolveRequest, url: str) -> str | None:
    """Return the index that served a file, where there is only one: pip does not say which it was."""
    settings = request.settings
    pages = [link for link in settings.find_links if "://" in link]
    if settings.extra_index_urls or pages or url.startswith("file:") or not settings.index_url:
        return None
    return redact.url(settings.index_url)


def _artifact(info: Mapping[str, Any], *, direct: bool) -> tuple[Artifact, SourceKind]:
    url = str(info["url"])
    subdirectory = info.get("subdirectory")
    if vcs := info.get("vcs_info"):
        return Artifact(
            kind="vcs",
            filename="",
            url=f"{vcs['vcs']}+{redact.url(url)}",
            commit=vcs["commit_id"],
            subdirectory=subdirectory,
        ), "vcs"
    path = unquote(urlsplit(url).path)
    if "dir_info" in info:
        return Artifact(
            kind="directory", filename="", url=None, path=path, subdirectory=subdirectory
        ), "local"
    filename = Path(path).name
    hashes = info.get("archive_info", {}).get("hashes", {})
    local = url.startswith("file:")
    return Artifact(
        kind="wheel" if filename.endswith(".whl") else "sdist",
        filename=filename,
        url=None if local else Address(url).without_user,
        path=path if local else None,
        sha256=hashes.get("sha256"),
        subdirectory=subdirectory,
    ), "local" if local and direct else "url" if direct else "index"
