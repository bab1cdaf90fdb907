"""Shares the wheels of a bundle with other machines, through a store at a URL: brought before, sent after.

The store at the URL is a help and no condition: where it does not answer, everything comes from the index and
is built here, as without it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from bundler.errors import MachineError, ProofError
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundler.model import Lock
    from bundler.system.progress import Progress

logger = logging.getLogger(__name__)


def tools(url: str | None, cache_dir: Path) -> None:
    """Bring the pips that drive the targets, which are needed before anything is resolved.

    :param url: of the store, as the caller gave it; `None`: there is none.
    """
    if url is None:
        return
    from bundler.rebuild.shared_store import RemoteStore  # noqa: PLC0415 - fsspec, which most runs do without

    with _not_needed():
        RemoteStore(url).pull_tools(Store(cache_dir))


@contextlib.contextmanager
def shared(url: str | None, cache_dir: Path, lock: Lock, progress: Progress) -> Iterator[None]:
    """Bring the wheels of a lock into the local store, and send what was fetched or built meanwhile.

    A bundle that is not proved has its wheels all the same: they are sent too.

    :param url: of the store, as the caller gave it; `None`: there is none.
    """
    if url is None:
        yield
        return
    from bundler.rebuild.shared_store import RemoteStore  # noqa: PLC0415 - as above

    store = Store(cache_dir)
    with _not_needed(), progress.stage("pull") as stage:
        there = RemoteStore(url)
        stage.result = f"{there.pull(lock.distributions, store)} wheels"
        logger.info("pull: %s from %s", stage.result, there.shown)
    try:
        yield
    except ProofError:
        _push(url, store, lock, progress)
        raise
    _push(url, store, lock, progress)


def _push(url: str, store: Store, lock: Lock, progress: Progress) -> None:
    from bundler.rebuild.shared_store import RemoteStore  # noqa: PLC0415 - as above

    with _not_needed(), progress.stage("push") as stage:
        there = RemoteStore(url)
        stage.result = f"{there.push(lock.distributions, store)} wheels"
        logger.info("push: %s to %s", stage.result, there.shown)


@contextlib.contextmanager
def _not_needed() -> Iterator[None]:
    try:
        yield
    except MachineError as error:
        logger.warning("the store at a URL is not used: %s", error.message)
