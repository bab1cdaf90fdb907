"""`envbundle rebuild`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler.cli.options import (
    CACHE_DIR,
    JSON,
    QUIET,
    REQUIRE_ISOLATION,
    require_signing_key,
    with_options,
)
from bundler.cli.output_rebuild import Display
from bundler.errors import InputError
from bundler.rebuild import config as configs
from bundler.rebuild import plan
from bundler.rebuild.config import Config
from bundler.rebuild.outcome import Outcome, look
from bundler.rebuild.plan import Job
from bundler.rebuild.shelf.local import LocalShelf
from bundler.rebuild.shelf.run_lock import lock_folders
from bundler.rebuild.summary import FILES, Run, document, write
from bundler.system.files import at_home

if TYPE_CHECKING:
    from bundler.rebuild.job import Options

_FILE = click.Path(path_type=Path)


@click.command()
@with_options(
    click.argument("file", type=_FILE, default=Path("envbundle.toml")),
    click.option(
        "--only", multiple=True, metavar="NAME",
        help="This bundle or job alone, or those that a pattern names; may be given several times.",
    ),
    click.option("--shard", metavar="I/N", help="Do part I of N alone: every machine takes one."),
    click.option(
        "-j", "--jobs", "workers", type=click.IntRange(min=1), metavar="N",
        help="Bundles at a time, in processes beside each other.  [default: the file's, else 1]",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be built, and why; write nothing."),
    click.option(
        "--locked", is_flag=True, help="Look whether the current builds are whole; resolve and write nothing."
    ),
    click.option("--full", is_flag=True, help="Hash the current builds; names, sizes and times otherwise."),
    click.option(
        "--exclude-newer", metavar="DATE|LENGTH",
        help="Ignore files uploaded after 2024-06-30, or in the last '7 days'.  [default: the file's]",
    ),
    click.option(
        "--publish", metavar="URL", help="Send the builds there as well: abfs://, s3://, file://, a folder."
    ),
    click.option(
        "--sign", "sign_key", type=_FILE, metavar="KEY",
        help="Sign each build with this SSH key; of a key in an agent: its .pub file.  [default: the file's]",
    ),
    click.option(
        "--scheduler", type=click.Choice(["local", "dask"]), default="local", show_default=True,
        help="dask: on a cluster that is there; builds then stand at the URL of --publish, not here.",
    ),
    click.option(
        "--dask-address", metavar="ADDRESS", help="Of its scheduler.  [default: as Dask is configured]"
    ),
    click.option(
        "--store-url", metavar="URL", help="Share wheels with other machines through this place."
    ),
    click.option("--summary", type=_FILE, metavar="FILE", help="Write the summary (JSON) here as well."),
    click.option("--report", type=_FILE, metavar="FILE", help="Write the report (HTML) here as well."),
    click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML here as well."),
    REQUIRE_ISOLATION,
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(*, file: Path, as_json: bool, quiet: bool, **values: Any) -> int:
    r"""Make every bundle of envbundle.toml again of which something changed, and none else.

    A bundle is built beside the one that is in use and takes its place once it is proved; one that fails
    stays as it was, and stops no other.

    \b
    Exit code: 0 all is well, 1 a bundle failed its proof, 2 one cannot be made from what it asks for,
    3 the machine or the network failed one.

    \b
    Examples:
      envbundle rebuild
      envbundle rebuild nightly/envbundle.toml --jobs 4 --junit junit.xml
      envbundle rebuild --only scoring --dry-run
      envbundle rebuild --locked
      envbundle rebuild --exclude-newer "7 days" --publish abfs://bundles/nightly
      envbundle rebuild --shard 2/4 --summary summary.json --json
      envbundle rebuild --scheduler dask --dask-address tcp://scheduler:8786 --publish s3://bundles/nightly
    """
    _require_sense(values)
    started, begun = time.monotonic(), datetime.now(timezone.utc)
    config = configs.read(file)
    shard = plan.parse_shard(values["shard"]) if values["shard"] else None
    given = {key: values[key] for key in ("only", "cache_dir", "exclude_newer", "require_isolation")}
    jobs = plan.plan(config, shard=shard, now=begun, environ=os.environ, **given)
    if values["sign_key"]:
        key = at_home(str(values["sign_key"])).absolute()
        jobs = tuple(replace(job, sign=key) for job in jobs)
    looks = values["locked"] or values["dry_run"]
    remote = values["scheduler"] == "dask"
    if not looks:
        _require_keys(jobs, remote=remote)
    folders = {config.output} if remote else {config.output, *(job.folder.parent for job in jobs)}
    display = Display(total=len(jobs), quiet=quiet, arguments=sys.argv[1:])
    with lock_folders(folders, writing=not looks, whole=shard is None), display.working():
        outcomes = _outcomes(jobs, config, values, display)
        done = Run(
            file=str(file),
            mode="locked" if values["locked"] else "dry-run" if values["dry_run"] else "rebuild",
            shard=shard,
            only=values["only"],
            started=begun.isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=time.monotonic() - started,
            outcomes=outcomes,
            folders={} if remote else {job.name: job.folder for job in jobs},
        )
        write(done, output=config.output, wanted={result: values[result] for result in FILES})
    display.close(done)
    if as_json:
        click.echo(json.dumps(document(done), indent=2))
    return done.exit_code


def _require_sense(values: dict[str, Any]) -> None:
    """Refuse options that contradict each other, and result files that could not be written."""
    for name in FILES:
        path = values[name]
        if path and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise InputError(f"--{name} {path} cannot be written", hint="name a file in a folder that exists")
    if values["locked"]:
        for name in (
            *("dry_run", "exclude_newer", "publish", "dask_address", "store_url", "require_isolation"),
            "sign_key",
        ):
            if values[name]:
                option = name.removesuffix("_key").replace("_", "-")
                raise InputError(
                    f"--locked resolves and writes nothing, so --{option} has no meaning",
                    hint="leave one of them out",
                )
        if values["scheduler"] == "dask":
            raise InputError("--locked looks at the builds that stand here", hint="leave --scheduler out")
    if values["dry_run"] and values["publish"] and values["scheduler"] != "dask":
        raise InputError("--dry-run writes nothing, so --publish has no meaning", hint="leave one out")


def _require_keys(jobs: Sequence[Job], *, remote: bool) -> None:
    """Require that every key can sign, before the work begins."""
    for job in jobs:
        if job.sign is not None and remote:
            raise InputError(
                f"{job.place}: sign, and --scheduler dask: the key is here and not where bundles are made",
                hint="leave `sign` and --sign out, and sign what was published: envbundle sign",
            )
    for key in sorted({job.sign for job in jobs if job.sign}):
        require_signing_key(key)


def _outcomes(
    jobs: Sequence[Job], config: Config, values: dict[str, Any], display: Display
) -> tuple[Outcome, ...]:
    if values["locked"]:
        return _look(jobs, display, full=values["full"])
    # What makes bundles takes longer to load than `--locked` to look.
    from bundler.rebuild.job import Options
    from bundler.rebuild.run import run

    publish, store = values["publish"] or config.publish, values["store_url"]
    if publish or store:
        from bundler.system.urls import folder

        for url in filter(None, (publish, store)):
            folder.require_filesystem(url)
    options = Options(full=values["full"], dry_run=values["dry_run"], publish=publish, store=store)
    if values["scheduler"] == "dask":
        return _on_cluster(jobs, options, display, values["dask_address"])
    return run(
        jobs,
        options,
        workers=values["workers"] or config.jobs or 1,
        shelf=lambda job: LocalShelf(job.folder),
        environ=os.environ,
        on_event=display.show,
    )


def _look(jobs: Sequence[Job], display: Display, *, full: bool) -> tuple[Outcome, ...]:
    """Look whether the current builds are whole; start no process for it."""
    outcomes = []
    for job in jobs:
        outcomes.append(look(job, LocalShelf(job.folder), full=full))
        display.show(outcomes[-1])
    return tuple(outcomes)


def _on_cluster(
    jobs: Sequence[Job], options: Options, display: Display, address: str | None
) -> tuple[Outcome, ...]:
    """Do the jobs on a Dask cluster, whose workers share nothing with this machine but URLs."""
    if options.publish is None:
        raise InputError(
            "--scheduler dask needs a place that all workers reach, and none is named",
            hint="add --publish URL, or publish = … in the file",
        )
    try:
        from bundler.rebuild.dask import cluster
    except ImportError as error:
        raise InputError(
            f"--scheduler dask needs {error.name}", hint="from a checkout of envbundle: pip install '.[dask]'"
        ) from error
    return cluster.run(
        jobs,
        replace(options, publish=None),
        address=address,
        output=options.publish,
        environ=os.environ,
        on_event=display.show,
    )
