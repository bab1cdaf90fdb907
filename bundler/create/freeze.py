"""`pip freeze --all` of an environment: the evidence that people know (EB101 to EB104)."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from bundler.errors import CommandError
from bundler.ontarget import pip_freeze as script
from bundler.system import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bundler.create.target_pip import Pip
    from bundler.model import Environment


@contextlib.contextmanager
def freezing(pip: Pip, environment: Environment, *, scratch: Path) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Give what runs `pip freeze --all` in the environment, as it is at that moment, and returns its lines.

    pip is loaded once, beginning now: that takes four fifths of the time of a freeze.

    :param scratch: stands for HOME and TMPDIR.
    :raises CommandError: pip failed.
    """
    words = list(map(str, (environment.python, "-I", script.__file__, pip.folder)))
    with process.converse(words, env=pip.environment(scratch), cwd=scratch) as program:

        def freeze() -> tuple[str, ...]:
            answer = json.loads(program.ask("freeze"))
            if isinstance(answer, dict):
                raise CommandError(
                    f"pip freeze ended with status {answer['status']}",
                    argv=words,
                    returncode=answer["status"],
                    stderr=answer["stderr"],
                )
            return tuple(line for line in answer.splitlines() if line.strip())

        yield freeze
