"""What is known of a run when it fails: every run writes it down, and only mending reads it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from bundler.model import IndexSettings, Learned, Lock, Requirements, Target, WheelFacts


@dataclass(kw_only=True)
class Observed:
    """How far a run came: what is known of it when it fails."""

    target: Target | None = None
    settings: IndexSettings | None = None
    requirements: Requirements | None = None
    """With what was asked of builds."""
    lock: Lock | None = None
    facts: Mapping[str, WheelFacts] = field(default_factory=dict)
    """Normalised name → facts of its wheel."""

    @property
    def versions(self) -> dict[str, str]:
        """Normalised name → version of the lock."""
        return {dist.name: dist.version for dist in self.lock.distributions} if self.lock else {}

    @property
    def learned(self) -> tuple[Learned, ...]:
        """What was built from source says, as far as its lines are valid."""
        from bundler.create.resolve.resolution import is_valid  # noqa: PLC0415 - a run that succeeds asks no resolver

        sources = (
            [one for one in self.lock.distributions if one.artifact.kind == "sdist"] if self.lock else []
        )
        return tuple(
            Learned(
                name=dist.name,
                version=dist.version,
                requires=facts.requires,
                requires_python=facts.requires_python,
                extras=facts.extras,
            )
            for dist in sources
            if (facts := self.facts.get(dist.name)) and is_valid(facts.requires, facts.requires_python)
        )

    @functools.cached_property
    def _owners(self) -> dict[str, str]:
        return {file.path: name for name, one in self.facts.items() for file in one.files}

    def owner_of_file(self, path: str) -> str:
        """The distribution that a file belongs to; empty for none."""
        return self._owners.get(path, "")

    def owner_of_module(self, module: str) -> str:
        """The distribution that brings a module, or a package above it; empty for none."""
        owners = {one: name for name, facts in self.facts.items() for one in facts.modules}
        while module and module not in owners:
            module = module.rpartition(".")[0]
        return owners.get(module, "")

    def brings(self, module: str) -> bool:
        """Tell whether a distribution has a module, or something below it."""
        return any(
            one == module or one.startswith(f"{module}.")
            for facts in self.facts.values()
            for one in facts.modules
        )
