"""Brings what a build needs: resolved by the resolver's rules, for the machine that builds."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.create import fetch, requirements, target_pip
from bundler.errors import EnvbundleError, MachineError
from bundler.model import BuildTool, Built, Lock, Requirement, Requirements
from bundler.system import files
from bundler.targets import target

if TYPE_CHECKING:
    from bundler.create.fetch.context import FetchContext, Tools

DEEPEST = 4
"""Builds for builds for builds."""


def wheels(context: FetchContext, wanted: Sequence[str], locked: Built | None) -> Tools:
    """Return the wheels of all that a build needs, from the store or the index.

    :param wanted: requirements, as a pyproject.toml has them.
    :param locked: what a lock says of the build: it gets the same, by hash, whatever it wants.
    :raises MachineError: they cannot be resolved, fetched or built.
    """
    if context.depth >= DEEPEST:
        raise MachineError(
            f"a build needs builds, and these need others: {', '.join(wanted)}",
            hint="the index must serve wheels of what builds need",
        )
    builder = replace(context.target, glibc=target.glibc_of(context.interpreter) or context.target.glibc)
    deeper = replace(context, depth=context.depth + 1, target=builder, no_build=False)
    if locked is None:
        with _scratch(context) as scratch:
            asked = _requirements(context, wanted, scratch=scratch)
            try:
                lock = _resolve(deeper, asked, scratch=scratch)
            except EnvbundleError as error:
                raise MachineError(
                    f"what the build needs cannot be had: {', '.join(wanted)}\n{error.message}",
                    hint=error.hint,
                ) from error
        return fetch.tools_of(lock, deeper)
    return _same(locked.tools, deeper)


def _same(tools: Sequence[BuildTool], context: FetchContext) -> Tools:
    """Return the wheels of what a lock names; those of the store need no index.

    :raises MachineError: one cannot be had.
    """
    found: dict[BuildTool, Path] = {}
    lacking: list[BuildTool] = []
    for tool in tools:
        path = context.store.file(tool.sha256, tool.filename) if tool.filename.endswith(".whl") else None
        if path is not None and files.digest(path) == tool.sha256:
            found[tool] = path
        else:
            lacking.append(tool)
    if lacking:
        pinned = tuple(_pinned(tool) for tool in lacking)
        with _scratch(context) as scratch:
            asked = Requirements(requirements=pinned, require_hashes=True)
            try:
                lock = _resolve(context, asked, scratch=scratch, dependencies=False)
                found |= fetch.tools_of(lock, context)
            except EnvbundleError as error:
                names = ", ".join(f"{tool.filename} (sha256 {tool.sha256[:12]}…)" for tool in lacking)
                raise MachineError(
                    f"the lock says what the build used, and that cannot be had: {names}\n{error.message}",
                    hint="name a folder that has these files with --find-links, or make the lock anew: "
                    "envbundle lock",
                ) from error
    if found.keys() != set(tools):
        names = ", ".join(sorted(f"{tool.name} {tool.version}" for tool in set(tools) - found.keys()))
        raise MachineError(
            f"the lock says what the build used, and another file of it was found: {names}",
            hint="make the lock anew: envbundle lock",
        )
    return found


def _pinned(tool: BuildTool) -> Requirement:
    return Requirement(
        text=f"{tool.name}=={tool.version}",
        name=tool.name,
        hashes=(f"sha256:{tool.sha256}",),
        origin="the lock",
    )


@contextlib.contextmanager
def _scratch(context: FetchContext) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=context.scratch, prefix="tools-") as folder:
        yield Path(folder)


def _resolve(context: FetchContext, asked: Requirements, *, scratch: Path, dependencies: bool = True) -> Lock:
    from bundler.create import resolve  # noqa: PLC0415 - a build is rare

    request = resolve.ResolveRequest(
        requirements=asked,
        target=context.target,
        interpreter=context.interpreter,
        settings=context.settings,
        variables=dict(context.pip.variables),
        scratch=scratch,
        uv_cache=context.store.uv,
        learn=functools.partial(fetch.learn, context=context),
        exclude_newer=context.exclude_newer,
        dependencies=dependencies,
        store=context.store,
        began=context.progress.begin,
        ended=context.progress.end,
    )
    pip = replace(context.pip, glibc=context.target.glibc)
    return resolve.resolve(request, resolver=context.resolver, pip=pip).lock


def _requirements(context: FetchContext, wanted: Sequence[str], *, scratch: Path) -> Requirements:
    """Return what a build needs as requirements, within the constraints of builds."""
    held = target_pip.write_build_constraints(context.build_constraints, scratch)
    asked = requirements.read(files=[], constraints=[held], arguments=wanted)
    older = context.requirements is not None and context.requirements.prefer_binary
    return replace(asked, build_constraints=context.build_constraints, prefer_binary=older)
