"""`--format` of several commands, and how archives look in their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bundler.formats.kinds import NAMES
from bundler.system.sizes import in_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bundler.formats.kinds import Packed


def formats_option(
    names: Sequence[str], *, help_text: str, default: str | None = None
) -> Callable[[Any], Any]:
    """An option that may be given several times, and several formats with commas in between.

    :param default: `None`: it must be given.
    """

    def split(_: click.Context, option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(word.strip() for one in given for word in one.split(",")))
        for word in chosen:
            if word not in names:
                raise click.BadParameter(f"{word!r} is none of {', '.join(names)}", param=option)
        return chosen

    return click.option(
        "--format", "kinds", multiple=True, required=default is None,
        default=(default,) if default else None, callback=split, metavar="FORMAT[,FORMAT…]", help=help_text,
    )  # fmt: skip


FORMATS = formats_option(
    NAMES,
    default="dir",
    help_text="dir, tar.zst, tar.gz, zip, squashfs, oci: DIR itself, and archives beside it. Without dir "
    "only archives are left.  [default: dir]",
)


def archive_rows(archives: Iterable[Packed]) -> list[tuple[str, str]]:
    """Archives for people."""
    return [(one.kind, f"{one.path}, {in_units(one.size)}") for one in archives]


def archives_as_json(archives: Iterable[Packed]) -> list[dict[str, Any]]:
    """Archives for `--json`."""
    return [
        {"format": one.kind, "path": str(one.path), "sha256": one.sha256, "size": one.size}
        for one in archives
    ]
