"""Every error that a user can meet, each with its exit code and its remedy.

The exit code says who must act (README): 1 the owner of the bundle, 2 the caller,
3 whoever looks after the machine or the network. 4 is a bug of ours and has no class here: it is
every exception that is not an `EnvbundleError`, and only the command line's boundary turns it into
a report.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import ClassVar

from bundler.model import Finding


class EnvbundleError(Exception):
    """An expected failure: what and where in the message, what to do in the hint."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ProofError(EnvbundleError):
    """The bundle was built but must not be used: findings of severity error."""

    exit_code = 1

    def __init__(self, findings: Sequence[Finding], *, what: str = "the bundle") -> None:
        errors = [one for one in findings if one.severity == "error" and one.accepted is None]
        count = f"{len(errors)} finding{'s' if len(errors) != 1 else ''}"
        super().__init__(
            f"{what} is not proved: {count} of severity error; nothing was emitted",
            hint=f"envbundle explain {errors[0].code} tells cause and remedy" if errors else None,
        )
        self.findings = tuple(findings)


class Terminated(KeyboardInterrupt):
    """The process was told to stop by a signal: it unwinds as after Ctrl-C, and says so in its exit code."""

    number: int = signal.SIGTERM
    heard: bool = False
    """Whether somebody has ended what it stops; `bundler.cli.stopping` raises it anew otherwise."""


class InputError(EnvbundleError):
    """The caller must act: unreadable or wrong input, or requirements that nothing can satisfy."""

    exit_code = 2


class MachineError(EnvbundleError):
    """Whoever looks after the machine or the network must act."""

    exit_code = 3


class CommandError(MachineError):
    """A program that envbundle ran ended badly, or could not be started at all."""

    def __init__(
        self,
        message: str,
        *,
        argv: Sequence[str],
        returncode: int | None,
        stdout: str = "",
        stderr: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class TimeLimitError(CommandError):
    """A program that envbundle ran took longer than it may, and was killed."""


class OutputLimitError(CommandError):
    """A program that envbundle ran printed more than it may, and was killed."""


class DiskLimitError(CommandError):
    """A build filled more of the disk than it may, and was ended."""

    def __init__(self, message: str) -> None:
        super().__init__(message, argv=(), returncode=None)
