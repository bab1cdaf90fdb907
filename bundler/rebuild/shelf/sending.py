"""Brings the current build of a folder here to a URL, and keeps as many builds there as here."""

from __future__ import annotations

from bundler.ontarget.parcel_format import BESIDE
from bundler.rebuild.plan import Job
from bundler.rebuild.record import Record
from bundler.rebuild.shelf import Shelf
from bundler.rebuild.shelf.local import LocalShelf
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.system.progress import Progress


def publish(job: Job, shelf: Shelf, record: Record, url: str, *, progress: Progress) -> str:
    """Have a build at URL/NAME, whole and current there; what is there already is not sent again.

    :param shelf: where the build stands; what stands at a URL is published.
    :param url: of the place for all jobs, as the caller gave it.
    :returns: the URL of the published build, without credentials.
    :raises InputError: no filesystem is known for the URL, or something there is not envbundle's.
    :raises MachineError: the URL does not answer, or does not take it; the build here is not touched.
    """
    if not isinstance(shelf, LocalShelf):
        return shelf.where(record)
    beside = [one.name for one in record.archives] + [f"{record.build}.{ending}" for ending in BESIDE]
    extras = {name: shelf.builds / name for name in beside if (shelf.builds / name).exists()}
    with progress.stage("publish") as stage, progress.bar("publish", total=None) as advance:
        sent: list[int] = []

        def count(size: int) -> None:
            sent.append(size)
            advance(size)

        there = RemoteShelf(url, job.name, progress=count)
        there.put(shelf.builds / record.build, record, extras)
        there.sweep()
        there.prune(job.keep)
        stage.result = f"{len(sent)} files, {sum(sent)} bytes sent" if sent else "all there"
    return there.where(record)
