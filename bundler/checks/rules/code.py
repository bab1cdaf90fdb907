"""What there is to say of one thing that a check can find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundler.model import Severity

REBUILD = "Create the bundle again. If it comes back, report it with what `envbundle -v` showed."
COPY = "Copy the bundle again, whole, from where it was made."


@dataclass(frozen=True, kw_only=True)
class Code:
    """A thing that a check can find. Codes are stable: one that is given up is never used again."""

    code: str
    severity: Severity
    title: str
    cause: str
    """Why it happens and what follows from it."""
    remedy: str
    example: str = ""
    """A real case, in a sentence or two."""
