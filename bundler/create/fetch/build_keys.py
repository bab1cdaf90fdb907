"""The keys by which the store has wheels that were built, and how two builds of a source compare."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from bundler.create.fetch.context import FetchContext
from bundler.lazy_dataclass import dataclass
from bundler.model import Artifact, BuildTool, Built, Interpreter, LockedDistribution, Target


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of built wheels: all that decides one."""

    interpreter: Interpreter
    target: Target
    constraints: tuple[str, ...]
    """Of builds."""
    dated: bool = False
    """What builds need is resolved as of a moment: a wheel counts only once its tools are known."""

    @classmethod
    def of(cls, context: FetchContext) -> Keys:
        """Return the keys of a context."""
        return cls(
            interpreter=context.interpreter,
            target=context.target,
            constraints=context.build_constraints,
            dated=context.exclude_newer is not None,
        )

    def known(self, dist: LockedDistribution) -> str | None:
        """Return the key by which a wheel may be used without a look at what its build would need now."""
        if dist.built is not None:
            return self.by_tools(dist.artifact, dist.built.tools)
        return None if self.dated else self.latest(dist.artifact)

    def latest(self, artifact: Artifact) -> str | None:
        """Return the key of the last wheel that was built without a lock of its tools."""
        return self._key(artifact, self.constraints)

    def by_tools(self, artifact: Artifact, tools: Sequence[BuildTool]) -> str | None:
        """Return the key of the wheel that these tools made."""
        return self._key(artifact, ["tools", *(repr(one) for one in tools)])

    def metadata(self, artifact: Artifact) -> str | None:
        """Return the key of what a source says of its wheel."""
        return self._key(artifact, ["metadata", *self.constraints])

    def _key(self, artifact: Artifact, more: Sequence[str]) -> str | None:
        """Return a key; `None` for a project, which may change."""
        if artifact.kind == "directory":
            return None
        source = artifact.sha256 or (f"{artifact.url}@{artifact.commit}" if artifact.commit else None)
        if source is None:
            return None
        one = self.interpreter
        parts = ("2", source, artifact.subdirectory or "", one.version, one.abi)
        # The builder's glibc decides what the wheel needs, the target's what it was chosen for.
        libc = (one.machine, one.glibc, f"{self.target.glibc[0]}.{self.target.glibc[1]}")
        return hashlib.sha256("\n".join((*parts, *libc, *more)).encode()).hexdigest()


def compared(built: Built, *others: Built | None) -> Built:
    """Return how a wheel was built, with the other wheel that the same tools have made, if there is one.

    :param others: what is known of builds of the same source: by a lock, by an earlier run.
    """
    for one in others:
        if one is not None and built.unlike is None and one.tools == built.tools:
            built = replace(built, unlike=one.sha256 if one.sha256 != built.sha256 else one.unlike)
    return replace(built, unlike=None) if built.unlike == built.sha256 else built
