"""Turns values into the text of a file; every value of the caller's is quoted by the format's rules."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from bundler.errors import InputError

COMMENT = "Written by envbundle deploy; yours to change."
WIDTH = 1000
"""Of lines of YAML: long values are not folded, so that they can be searched for."""


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice in full both times: people read these files."""

    def ignore_aliases(self, data: object) -> bool:
        """Use no anchors."""
        del data
        return True


def as_yaml(*documents: Mapping[str, Any], comment: str) -> str:
    """Write documents of YAML, members in the order given.

    :param comment: the first line; it must not hold a value of the caller's.
    """
    text = yaml.dump_all(
        documents, Dumper=_Plain, sort_keys=False, default_flow_style=False, allow_unicode=True, width=WIDTH
    )
    return f"# {comment}\n{text}"


def as_json(value: Any) -> str:
    """Write JSON."""
    return json.dumps(value, indent=2) + "\n"


def dockerfile(lines: Iterable[str]) -> str:
    """Join the lines of a Dockerfile."""
    return "\n".join(lines) + "\n"


def words(instruction: str, *values: str) -> str:
    """Write an instruction in the exec form, which no shell reads: `COPY ["a", "b"]`.

    `$` is still a variable in it for some instructions, and a backslash before it makes it plain; JSON
    doubles the backslash, so such values are refused.

    :raises InputError: a value has a `$`, a backslash or a control character.
    """
    for value in values:
        if any(character in "$\\" or not character.isprintable() for character in value):
            raise InputError(
                f"{value!r} cannot stand in a Dockerfile",
                hint="use a name without $, backslash and line ends",
            )
    return f"{instruction} {json.dumps(values, ensure_ascii=False)}"


def env(name: str, value: str) -> str:
    """Write `ENV name="value"` (https://docs.docker.com/reference/dockerfile/#environment-replacement)."""
    quoted = "".join(f"\\{character}" if character in '\\"$' else character for character in value)
    return f'ENV {name}="{quoted}"'


def for_compose(value: str) -> str:
    """Keep compose from replacing `$NAME` in a value."""
    return value.replace("$", "$$")


def for_kubernetes(value: str) -> str:
    """Keep Kubernetes from replacing `$(NAME)` in the value of a variable or argument."""
    return value.replace("$(", "$$(")


def shell(argv: Sequence[str]) -> str:
    """Write a command for a POSIX shell; a word that begins with `$PWD/` keeps that part."""
    return " ".join(
        f'"$PWD"/{shlex.quote(word.removeprefix("$PWD/"))}' if word.startswith("$PWD/") else shlex.quote(word)
        for word in argv
    )
