"""EB6xx: where the content comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundler.checks.codes.code import Code

CODES: tuple[Code, ...] = ()
