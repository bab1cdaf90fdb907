"""Reads `uv.lock` as uv itself does: `uv export` says it as a `pylock.toml`, without a network or a build.

https://docs.astral.sh/uv/concepts/projects/export/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packaging.pylock import Package, PackageSdist, PackageWheel
from uv import find_uv_bin

from bundler.bundle import lock as locks
from bundler.create.inputs import pyproject
from bundler.create.inputs.pinned import LIMIT, Pin, ToolLock, sha256_only
from bundler.errors import InputError
from bundler.model import Note, Requirement
from bundler.system import outside, process, redact, scratch
from bundler.system.files import real_path

SECONDS = 60.0
_HINT = "lock again: uv lock"


def read(path: Path, *, extras: Sequence[str], groups: Sequence[str]) -> ToolLock:
    """Read a lock of uv.

    :param extras: of the project beside it that are wanted as well.
    :param groups: dependency groups of that project that are wanted as well.
    :raises InputError: it cannot be read, no `pyproject.toml` is beside it, or that has no such extra or
        group.
    """
    project = path.with_name(pyproject.NAME)
    if not project.is_file():
        raise InputError(
            f"{path} says what a project uses, and no {pyproject.NAME} is beside it",
            hint=f"put the {pyproject.NAME} of that project into its folder",
        )
    text = outside.read(path, limit=LIMIT, hint=_HINT, named=True)
    described = outside.read(project, limit=LIMIT, hint=_HINT, named=True)
    roots: tuple[Requirement, ...] | None = None
    told: tuple[Note, ...] = ()
    if pyproject.tells_dependencies(project):
        asked = pyproject.read(project, extras=extras, groups=groups, sourced=True)
        roots, told = asked.requirements, asked.told
    pylock = locks.parse_pylock(
        _exported(path, {path.name: text, project.name: described}, extras, groups),
        where=f"{path}, as uv exports it",
        hint=_HINT,
    )
    return ToolLock(
        path=path,
        pins=tuple(_pin(one, path) for one in pylock.packages),
        roots=roots,
        indexes=tuple(dict.fromkeys(one.index for one in pylock.packages if one.index)),
        told=told,
    )


def _exported(path: Path, files: dict[str, bytes], extras: Sequence[str], groups: Sequence[str]) -> str:
    command: list[str | Path] = [find_uv_bin(), "export", "--frozen", "--offline", "--no-config"]
    command += ["--no-emit-project", "--no-default-groups", "--format", "pylock.toml", "--no-header"]
    command += ["--color", "never", "--no-progress"]
    for flag, names in (("--extra", extras), ("--group", groups)):
        for name in names:
            command += [f"{flag}={name}"]
    with scratch.folder() as folder:
        (folder / "home").mkdir()
        # A copy, so that nothing that lies around the project is read or written.
        inner = folder / "project"
        inner.mkdir()
        for name, content in files.items():
            (inner / name).write_bytes(content)
        env = process.clean_environment(
            home=folder / "home", UV_PYTHON_DOWNLOADS="never", UV_CACHE_DIR=str(folder / "cache")
        )
        done = process.run(command, env=env, cwd=inner, timeout=SECONDS, check=False)
    if done.returncode != 0:
        said = redact.text(done.stderr).strip().removeprefix("error: ") or "uv failed without a word"
        raise InputError(f"{path}: uv cannot read it: {said}", hint=_HINT)
    return done.stdout


def _pin(package: Package, path: Path) -> Pin:
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    files += [package.sdist] if package.sdist else []
    return Pin(
        name=package.name,
        version=str(package.version or ""),
        url=_url(package, path),
        marker=str(package.marker or ""),
        hashes=sha256_only(f"sha256:{one.hashes['sha256']}" for one in files if "sha256" in one.hashes),
    )


def _url(package: Package, path: Path) -> str:
    """Return where a package comes from if not from an index."""
    if package.vcs:
        source = package.vcs
        if not source.url:
            raise InputError(f"{path}: {package.name}: a repository without a URL", hint=_HINT)
        inner = f"#subdirectory={source.subdirectory}" if source.subdirectory else ""
        return f"{source.type}+{source.url}@{source.commit_id}{inner}"
    if package.directory:
        folder = path.parent / package.directory.path
        return real_path(folder / (package.directory.subdirectory or "")).as_uri()
    if package.archive:
        archive = package.archive
        url = archive.url or real_path(path.parent / (archive.path or "")).as_uri()
        marks = [f"{name}={value}" for name, value in archive.hashes.items() if name == "sha256"]
        marks += [f"subdirectory={archive.subdirectory}"] if archive.subdirectory else []
        return url + (f"#{'&'.join(marks)}" if marks else "")
    return ""
