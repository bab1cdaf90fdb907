"""Turns errors into messages and exit codes, which say who must act (README, "Exit codes")."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from bundler import __version__
from bundler.cli import stopping, streams
from bundler.cli.output import finding_rows, print_findings
from bundler.errors import CommandError, EnvbundleError, InputError, MachineError, ProofError, Terminated
from bundler.model import Finding
from bundler.system import redact

BUG = 4
LONGEST_LINE = 4096
"""Characters of a line of an error."""
LAST_LINES = 6
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_THREAD = "can't start new thread"
"""What Python says then, in a RuntimeError of no class of its own."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command and return the exit code of the process."""
    as_json, output = "--json" in arguments, sys.stdout
    try:
        stopping.install()  # from here on a signal is an exception
        result: Any = command.main(args=list(arguments), prog_name="envbundle", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        # click turns every KeyboardInterrupt into its own Abort.
        cause = error.__cause__ or error
        _interrupted(cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt())
    except SystemExit:
        if sys.stdout is output:
            raise
        # click has replaced it, since its reader is gone (`| head`): no message, as with other tools.
        streams.drop(sys.stdout)
        return 0
    except Exception as error:  # noqa: BLE001 - every exception that is not ours is a bug of ours
        if stopped := stopping.stopped_by(error):  # what was begun could not be undone without an error
            _interrupted(stopped)
        return _failed(error, arguments, as_json=as_json)
    return result if isinstance(result, int) else 0


def _failed(error: Exception, arguments: Sequence[str], *, as_json: bool) -> int:
    """Report what a command ended with, and return its exit code."""
    if isinstance(error, click.ClickException):
        hint = None
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f"{error.ctx.command_path} --help"
        return _report(InputError(error.format_message(), hint=hint), as_json=as_json)
    if isinstance(error, EnvbundleError):
        return _report(error, as_json=as_json)
    if isinstance(error, OSError):
        # Where standard output itself is what is full, nothing more can be printed there.
        return streams.finish(0) or _report(_from_os(error), as_json=as_json)
    lacking = _what_the_machine_lacks(error)
    return _report(lacking, as_json=as_json) if lacking else _bug(error, arguments, as_json=as_json)


def _interrupted(cause: KeyboardInterrupt) -> NoReturn:
    """Exit; the exception's text says how far the command came."""
    number = cause.number if isinstance(cause, Terminated) else signal.SIGINT
    with contextlib.suppress(OSError):  # after SIGHUP the terminal is gone
        if number == signal.SIGINT or str(cause):
            click.echo(f"\ninterrupted: {str(cause) or 'nothing was emitted'}", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
    # A thread may still wait for a server.
    os._exit(128 + number)


def _from_os(error: OSError) -> EnvbundleError:
    where = f": {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return MachineError(
            f"the disk is full{where}", hint="make space, or put -o and --cache-dir on another filesystem"
        )
    return MachineError(f"{error.strerror or error}{where}", hint="check this path and its filesystem")


def _what_the_machine_lacks(error: Exception) -> MachineError | None:
    """Return the error for an exception that a limit of this machine has caused; `None`: it is ours."""
    if isinstance(error, MemoryError):
        return MachineError(
            "the machine has no more memory for this run",
            hint="give it more (`ulimit -v`, the limits of the container), or run fewer at once",
        )
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return MachineError(
            "the machine starts no more threads for this run",
            hint="allow more (`ulimit -u`, `pids.max` of the container), or run fewer at once",
        )
    return None


def _report(error: EnvbundleError, *, as_json: bool) -> int:
    message = redact.text(error.message)
    if isinstance(error, CommandError) and error.stderr.strip():
        message += "".join(
            f"\n  {line}" for line in redact.text(error.stderr).strip().splitlines()[-LAST_LINES:]
        )
    hint = redact.text(error.hint) if error.hint else None
    if hint is None and isinstance(error, CommandError):
        hint = "run again as `envbundle -vv …`: it says every program and what it printed"
    findings = error.findings if isinstance(error, ProofError) else ()
    return _print(message, hint, error.exit_code, findings=findings, as_json=as_json)


def _bug(error: Exception, arguments: Sequence[str], *, as_json: bool) -> int:
    """Write a report that can be sent to us, and say where it is."""
    name = write_bug_report("".join(traceback.format_exception(error)), arguments)
    message = f"this is a bug in envbundle: {type(error).__name__}: {redact.text(str(error))}"
    return _print(message, f"please report it with the file {name}", BUG, findings=(), as_json=as_json)


def _shortened(text: str) -> str:
    """Cut lines at `LONGEST_LINE`: a file from outside can be one of megabytes."""
    return "\n".join(
        line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}… ({len(line)} characters)"
        for line in text.split("\n")
    )


def _print(message: str, hint: str | None, code: int, *, findings: Iterable[Finding], as_json: bool) -> int:
    message, hint = _shortened(message), _shortened(hint) if hint else None
    # A stream that takes nothing changes no exit code: `streams.finish` tells of it where it can.
    if as_json:
        fault = {"message": message, "hint": hint, "exit_code": code}
        with contextlib.suppress(OSError):
            click.echo(
                json.dumps({"ok": False, "error": fault, "findings": finding_rows(findings)}, indent=2)
            )
    with contextlib.suppress(OSError):
        print_findings(findings)
        click.echo(f"{streams.styled('error:', fg='red', bold=True)} {message}", err=True)
        if hint:
            click.echo(f"{streams.styled('hint:', fg='cyan', bold=True)} {hint}", err=True)
    return code


def write_bug_report(trace: str, arguments: Sequence[str]) -> Path:
    """Write versions, arguments and traceback, without credentials, to a file, and return its path."""
    report = "\n".join(
        [
            f"envbundle {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"arguments: {[redact.text(argument) for argument in arguments]}",
            "",
            redact.text(trace),
        ]
    )
    descriptor, name = tempfile.mkstemp(prefix="envbundle-bug-", suffix=".txt")
    # A path in it may be no UTF-8.
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(report)
    return Path(name)
