"""Options that several commands share, by the names that pip and uv give them."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundler.model import IndexSettings

_PATH = click.Path(path_type=Path)
NO_PYTHON = "add --python 3.8 (or 3.7, or a path), or --image (`envbundle images list`)"

INDEX_OPTIONS = (
    click.option("-i", "--index-url", metavar="URL", help="Index instead of the configured one."),
    click.option("--extra-index-url", multiple=True, metavar="URL", help="A further index."),
    click.option(
        "-f", "--find-links", multiple=True, metavar="DIR|URL", help="Folder or page with files, as in pip."
    ),
    click.option("--no-index", is_flag=True, help="Use --find-links only."),
    click.option("--trusted-host", multiple=True, metavar="HOST", help="Accept this host without HTTPS."),
)  # fmt: skip
INDEX_FIELDS = ("index_url", "extra_index_url", "find_links", "no_index", "trusted_host")
"""Names of the values of `INDEX_OPTIONS`."""

REQUIREMENT_OPTIONS = (
    click.argument("requirements", nargs=-1),
    click.option(
        "-r", "--requirement", "requirement_files", multiple=True, type=_PATH, metavar="FILE",
        help="Requirements file, as pip reads it; may be given several times.",
    ),
    click.option(
        "-c", "--constraint", "constraint_files", multiple=True, type=_PATH, metavar="FILE",
        help="Constraints file: versions that hold if something is needed at all.",
    ),
    click.option(
        "--python", metavar="VERSION|PATH",
        help="Python of the image: 3.8, 3.8.18, or an interpreter. Needed unless image or lock say it.",
    ),
    click.option("--glibc", metavar="2.N", help="glibc of the image; 3.7: 2.27, 3.8: 2.31 by default."),
    click.option(
        "--image", metavar="NAME|FILE",
        help="The image where it will run (see `envbundle images`): decides Python, glibc and libraries.",
    ),
    click.option(
        "--fit/--no-fit", default=True, show_default=True,
        help="Choose versions with which the image's server can live, where the profile knows it.",
    ),
    click.option(
        "--server", metavar="VERSION",
        help="Version of the image's server.  [default: the newest that the image can have]",
    ),
    click.option(
        "--resolver", type=click.Choice(["uv", "pip"]), default="uv", show_default=True,
        help="uv is fast; pip is the reference. Both give the same lock.",
    ),
    *INDEX_OPTIONS,
    click.option("--no-binary", multiple=True, metavar="NAME", help="Build these from source (:all:)."),
    click.option("--only-binary", multiple=True, metavar="NAME", help="Never build these (:all:)."),
    click.option("--pre", is_flag=True, help="Accept pre-releases."),
    click.option(
        "--exclude-newer", metavar="DATE|LENGTH",
        help="Ignore files uploaded after 2024-06-30, or in the last '7 days'.",
    ),
    click.option(
        "--refresh", is_flag=True, help="Resolve even where no page of the index has changed since last time."
    ),
    click.option("--no-build", is_flag=True, help="Refuse what has no wheel, by name."),
    click.option(
        "--no-python-downloads", is_flag=True, help="Never fetch an interpreter; fail where none is found."
    ),
)  # fmt: skip

CACHE_DIR = click.option(
    "--cache-dir", type=_PATH, envvar="ENVBUNDLE_CACHE_DIR", metavar="DIR",
    help="Where wheels are kept between runs  [env: ENVBUNDLE_CACHE_DIR]",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and findings.")
VERBOSE = click.option(
    "-v", "--verbose", count=True, help="Say every program that is run; -vv: what it says too."
)


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply options to a command so that `--help` lists them in the order given."""

    def apply(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


def cache_dir(given: Path | None) -> Path:
    """The folder of the store."""
    from bundler.wheels.store import default_root

    return given if given is not None else default_root(os.environ)


def lock_request_fields(values: dict[str, Any]) -> dict[str, Any]:
    """Turn the values of `REQUIREMENT_OPTIONS` and `CACHE_DIR` into fields of a `LockRequest`."""
    return {
        "requirement_files": values["requirement_files"],
        "constraint_files": values["constraint_files"],
        "arguments": values["requirements"],
        "python": values["python"],
        "glibc": values["glibc"],
        "image": values["image"],
        "fit": values["fit"],
        "server": values["server"],
        "resolver": values["resolver"],
        "index": index_settings(values),
        "no_binary": values["no_binary"],
        "only_binary": values["only_binary"],
        "pre": values["pre"],
        "exclude_newer": _cutoff(values["exclude_newer"]),
        "no_build": values["no_build"],
        "refresh": values["refresh"],
        "python_downloads": not values["no_python_downloads"],
        "cache_dir": cache_dir(values["cache_dir"]),
    }


def _cutoff(given: str | None) -> str | None:
    """Turn `7 days` or `2024-06-30` into a moment.

    :raises InputError: it is neither a length of time nor a date.
    """
    if given is None:
        return None
    from bundler.create import cutoff

    try:
        return cutoff.cutoff(given, now=datetime.now(timezone.utc))
    except InputError as error:
        raise InputError(f"--exclude-newer: {error.message}", hint=error.hint) from None


def index_settings(values: dict[str, Any]) -> IndexSettings:
    """Turn the values of `INDEX_OPTIONS` into settings."""
    from bundler.model import IndexSettings

    return IndexSettings(
        index_url=values["index_url"],
        extra_index_urls=values["extra_index_url"],
        find_links=tuple(_absolute(one) for one in values["find_links"]),
        no_index=values["no_index"],
        trusted_hosts=values["trusted_host"],
    )


def _absolute(link: str) -> str:
    return link if "://" in link else str(Path(link).absolute())
