"""Keeps uv's output, and returns it again as long as no index page has changed that uv read.

Most of the time of a resolution goes into asking an index for one page after the other, as one requirement
leads to the next. Once the pages are known, all of them can be asked for at the same time.

Kept output is what uv would print now, because

- it is kept under everything that decides it (requirements, target, settings, uv itself);
- the pages kept with it were fetched before uv began, and were the same after it ended; and uv took none of
  them from its own cache without asking the server;
- the pages name files by their hash, so what uv read in the files does not change.

Many bundles of one run ask an equal question once: pages that were compared since the run began are not asked
for again.

So the first run learns which pages there are, the second keeps the output, the third returns it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from uv import find_uv_bin

from bundler.create.resolve.resolution import ResolveRequest
from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Requirement
from bundler.system import redact

if TYPE_CHECKING:
    from bundler.create.index_pages import Page

MAX_AGE = 7 * 24 * 3600
"""Seconds; if servers of one index disagree for a moment, what came of it does not stay for ever."""
_PARALLEL = 16
_PARTS = re.compile(r'["/]')


@dataclass(frozen=True, kw_only=True)
class UvOutput:
    """What uv printed, word for word."""

    pylock: str
    annotated: str
    messages: str
    """Warnings."""
    excluded: tuple[str, ...] = ()
    """Names of files in it that their page says are for other Pythons, which uv can overlook."""


@dataclass(frozen=True, kw_only=True)
class UvRun:
    """A run of uv: its output, and what it read."""

    output: UvOutput
    pages: Collection[str]
    """URLs of the index pages, without credentials."""
    names: Collection[str]
    """Canonical names of the distributions in the output."""
    unasked: bool
    """uv took pages from its cache without asking whether they have changed."""


@dataclass(frozen=True, kw_only=True)
class _Record:
    at: float = 0.0
    """When uv ran; seconds since the epoch."""
    compared: float = 0.0
    """Since when the pages are known to have been the same, at the last look; seconds since the epoch."""
    answer: UvOutput | None = None
    """`None`: only the pages are known."""
    pages: Mapping[str, Page | None] = field(default_factory=dict)


def resolve(request: ResolveRequest, run: Callable[[bool], UvRun]) -> tuple[UvOutput, bool]:
    """Return the output that is kept for a request if it still holds, else run uv and keep what it prints.

    :param run: runs uv; whatever it raises is passed on, and nothing is kept. Given `True`, uv asks the index
        again for all that it has in its cache: else it takes a page for
        fresh that a server dates and says nothing of caching (RFC 9111, 4.2.2).
    :returns: the output, and whether it was a kept one.
    """
    store = request.store
    if store is None or not may_be_kept(request):
        return _with_excluded(request, run(request.refresh), {}), False
    kept_under = key(request)
    known = _read(store.text(kept_under))
    began = time.time()
    fresh = 0 <= began - known.at < MAX_AGE and not request.refresh
    if known.answer and fresh and _was_asked(known, request, began):
        return known.answer, True
    now = _fetch_pages(request, known.pages)
    if known.answer and fresh and _same(known.pages, now):
        if request.asked_since is not None:
            _keep(request, kept_under, replace(known, compared=began))
        return known.answer, True
    changed = bool(known.pages) and not _same(known.pages, now)
    ran = run(request.refresh or changed)
    output = _with_excluded(request, ran, now)
    now = {url: _with_hashes_seen(now.get(url)) for url in sorted(ran.pages)}
    certain = _is_certain(ran, now) and _same(now, _fetch_pages(request, now))
    record = _Record(at=time.time(), compared=began, answer=output if certain else None, pages=now)
    _keep(request, kept_under, record)
    return output, False


def _was_asked(known: _Record, request: ResolveRequest, now: float) -> bool:
    """Tell whether the pages have been compared since the run began; a time to come is believed of nobody."""
    return request.asked_since is not None and request.asked_since <= known.compared <= now


def _keep(request: ResolveRequest, name: str, record: _Record) -> None:
    # The output is right even where the store cannot be written.
    with contextlib.suppress(MachineError):
        if request.store is not None:
            request.store.keep_text(name, json.dumps(asdict(record, dict_factory=_without_content)))


def _with_excluded(request: ResolveRequest, ran: UvRun, known: Mapping[str, Page | None]) -> UvOutput:
    """Complete uv's output by what the pages say of Requires-Python.

    :param known: pages that have been fetched; those that nobody has are fetched now.
    """
    urls = [url for url in ran.pages if _project(url) in ran.names]
    if not urls:
        return ran.output
    filenames = set(_PARTS.split(ran.output.pylock))
    names = {
        name for found in _others(request, urls, known, filenames) for name in filenames.intersection(found)
    }
    return replace(ran.output, excluded=tuple(sorted(names)))


def _others(
    request: ResolveRequest, urls: Iterable[str], known: Mapping[str, Page | None], filenames: Collection[str]
) -> Iterator[Iterable[str]]:
    """Yield which of some files each page says are for other Pythons, as somebody knows or `known` has it.

    One page after the other: they are large. Those that nobody has are fetched.
    """
    from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms

    read = functools.partial(
        index_pages.for_other_pythons, filenames=filenames, python_version=request.target.python_version
    )
    missing = []
    for url in urls:
        page = known.get(url)
        if (found := request.for_other_pythons(url)) is not None:
            yield found
        elif page and page.content:
            yield read(page)
        else:
            missing.append(url)
    yield from map(read, filter(None, _fetch_pages(request, dict.fromkeys(missing)).values()))


def _project(url: str) -> str:
    """Return the project whose page it is (PEP 503)."""
    return canonicalize_name(url.rstrip("/").rpartition("/")[2])


def may_be_kept(request: ResolveRequest) -> bool:
    """Tell whether index pages, hashes and what `key` holds are all that decides the output."""
    settings = request.settings
    elsewhere = (
        settings.no_index or settings.find_links or settings.keyring_provider or settings.trusted_hosts
    )
    requirements = (*request.requirements.requirements, *request.requirements.constraints)
    direct = any(one.name is None or "@" in one.text.partition(";")[0] for one in requirements)
    local = any(
        url and not url.startswith(("https:", "http:"))
        for url in (settings.index_url, *settings.extra_index_urls)
    )
    # With `exclude-newer "7 days"` no two days ask the same.
    return not (elsewhere or direct or local or request.exclude_newer)


def key(request: ResolveRequest) -> str:
    """Return the name under which the output for a request is kept: a digest of all that decides it."""
    settings, requirements, aim = request.settings, request.requirements, request.target
    uv = Path(find_uv_bin()).stat()
    decides = {
        "by": [3, uv.st_size, uv.st_mtime_ns],
        "requirements": [_texts(requirements.requirements), _texts(requirements.constraints)],
        "choice": [requirements.pre, sorted(requirements.no_binary), sorted(requirements.only_binary)],
        "builds": list(requirements.build_constraints),
        "options": [request.no_build, request.dependencies],
        "target": [aim.python_version, aim.machine, list(aim.glibc), dict(aim.markers)],
        "interpreter": [request.interpreter.version, str(request.interpreter.executable)],
        "indexes": [redact.url(url) for url in (settings.index_url or "", *settings.extra_index_urls)],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _fetch_pages(request: ResolveRequest, known: Mapping[str, Page | None]) -> dict[str, Page | None]:
    """Fetch pages, all at once; `None` for one that did not come."""
    if not known:
        return {}
    from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms
    from bundler.system.http import Network  # noqa: PLC0415 - as above

    # uv tries again, and says what is wrong.
    network = Network(request.settings, retries=0)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        asked = {url: pool.submit(index_pages.fetch, network, url, known=page) for url, page in known.items()}
        return {url: future.result() for url, future in asked.items()}


def _with_hashes_seen(page: Page | None) -> Page | None:
    from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms

    return index_pages.with_hashes_seen(page) if page else None


def _same(before: Mapping[str, Page | None], now: Mapping[str, Page | None]) -> bool:
    pairs = ((page, now.get(url)) for url, page in before.items())
    return bool(before) and all(old and new and old.sha256 == new.sha256 for old, new in pairs)


def _is_certain(ran: UvRun, before: Mapping[str, Page | None]) -> bool:
    """Tell whether every page was fetched before uv looked at it, none is missing, and all name hashes."""
    told = set(map(_project, ran.pages))
    said = f"{ran.output.pylock}{ran.output.annotated}{ran.output.messages}"
    if redact.text(said) != said:
        return False  # a password must not be kept
    return (
        not ran.unasked
        and set(ran.names) <= told
        and all(page and page.hashes for page in map(before.get, ran.pages))
    )


def _texts(requirements: Collection[Requirement]) -> list[list[str]]:
    return [[one.text, *sorted(one.hashes)] for one in requirements]


def _read(text: str | None) -> _Record:
    """Return what was kept; an empty record where there is nothing, or not what was written."""
    if text is None:
        return _Record()
    from bundler.create.index_pages import Page  # noqa: PLC0415 - it brings requests: 40 ms

    try:
        found = json.loads(text)
        answer = UvOutput(**found["answer"]) if found["answer"] else None
        if answer:
            answer = replace(answer, excluded=tuple(answer.excluded))
        pages = {url: Page(**page) if page else None for url, page in found["pages"].items()}
        return _Record(at=float(found["at"]), compared=float(found["compared"]), answer=answer, pages=pages)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Record()


def _without_content(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {name: value for name, value in pairs if name != "content"}
