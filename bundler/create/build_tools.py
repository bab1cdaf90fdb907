"""Brings what a build needs: resolved by the resolver's rules, for the machine that builds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.create import fetch, requirements, target_pip
from bundler.errors import EnvbundleError, MachineError
from bundler.model import Requirements
from bundler.targets import target

if TYPE_CHECKING:
    from bundler.create.fetch.context import FetchContext

DEEPEST = 4
"""Builds for builds for builds."""


def wheels(context: FetchContext, wanted: Sequence[str]) -> list[Path]:
    """Return the wheels of all that a build needs, from the store or the index.

    :param wanted: requirements, as a pyproject.toml has them.
    :raises MachineError: they cannot be resolved, fetched or built.
    """
    from bundler.create import resolve  # noqa: PLC0415 - a build is rare

    if context.depth >= DEEPEST:
        raise MachineError(
            f"a build needs builds, and these need others: {', '.join(wanted)}",
            hint="the index must serve wheels of what builds need",
        )
    builder = replace(context.target, glibc=target.glibc_of(context.interpreter) or context.target.glibc)
    with tempfile.TemporaryDirectory(dir=context.scratch, prefix="tools-") as scratch:
        asked = resolve.ResolveRequest(
            requirements=_requirements(context, wanted, scratch=Path(scratch)),
            target=builder,
            interpreter=context.interpreter,
            settings=context.settings,
            variables=dict(context.pip.variables),
            scratch=Path(scratch),
            uv_cache=context.store.uv,
            exclude_newer=context.exclude_newer,
            store=context.store,
            build_timeout=context.build_timeout,
            job=context.job,
            began=context.progress.begin,
            ended=context.progress.end,
        )
        pip = replace(context.pip, glibc=builder.glibc)
        try:
            lock = resolve.resolve(asked, resolver=context.resolver, pip=pip).lock
        except EnvbundleError as error:
            raise MachineError(
                f"what the build needs cannot be had: {', '.join(wanted)}\n{error.message}", hint=error.hint
            ) from error
    deeper = replace(context, depth=context.depth + 1, target=builder, no_build=False)
    return fetch.files_of(lock, deeper)


def _requirements(context: FetchContext, wanted: Sequence[str], *, scratch: Path) -> Requirements:
    """Return what a build needs as requirements, within the constraints of builds."""
    held = target_pip.write_build_constraints(context.build_constraints, scratch)
    asked = requirements.read(files=[], constraints=[held], arguments=wanted)
    older = context.requirements is not None and context.requirements.prefer_binary
    return replace(asked, build_constraints=context.build_constraints, prefer_binary=older)
