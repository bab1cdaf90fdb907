"""Keeps uv's answer, and gives it again as long as no index page has changed that uv looked at.

Most of the time of a resolution is spent on asking an index for one page after the other, as one
requirement leads to the next. Whoever knows the pages from last time asks for all of them at once.

What makes an answer from memory the answer that uv would give:

- it is kept under everything that decides it (requirements, target, settings, uv itself);
- the pages kept with it were fetched before uv began, and were the same after it ended; and uv took none from
  its own cache unasked;
- files are named by their hash on the pages, so what uv read in them does not change.

So the first run learns which pages there are, the second keeps the answer, the third gives it from memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from uv import find_uv_bin

from bundler.errors import MachineError
from bundler.system import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bundler.create.index_pages import Page
    from bundler.create.resolve.question import Question
    from bundler.model import Requirement

KEPT = 7 * 24 * 3600
"""Seconds; if servers of one index ever disagree for a moment, what came of it does not stay."""
_PARALLEL = 16


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What uv said, word for word."""

    pylock: str
    annotated: str
    messages: str
    """Warnings."""
    remembered: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An answer of uv's, and what it looked at."""

    answer: Answer
    pages: Collection[str]
    """URLs of the index pages, without credentials."""
    names: Collection[str]
    """Canonical names of what the answer holds."""
    unasked: bool
    """uv took pages from its cache without asking whether they have changed."""


@dataclass(frozen=True, kw_only=True)
class _Record:
    at: float = 0.0
    """Seconds since the epoch."""
    answer: Answer | None = None
    """`None`: only the pages are known."""
    pages: Mapping[str, Page | None] = field(default_factory=dict)


def resolve(question: Question, ask: Callable[[], Asked]) -> Answer:
    """Answer from memory, or ask uv and keep what it says.

    :param ask: runs uv; whatever it raises is passed on, and nothing is kept.
    """
    store = question.store
    if store is None or not _may_be_kept(question):
        return ask().answer
    key = _key(question)
    known = _read(store.text(key))
    now = _look_again(question, known.pages)
    young = 0 <= time.time() - known.at < KEPT
    if known.answer and young and not question.afresh and _same(known.pages, now):
        return known.answer
    asked = ask()
    now = {url: _with_hashes_seen(now.get(url)) for url in sorted(asked.pages)}
    certain = _is_certain(asked, now) and _same(now, _look_again(question, now))
    kept = asked.answer if certain else None
    # A memory that could not be kept is no loss to this answer.
    with contextlib.suppress(MachineError):
        store.keep_text(key, _written(_Record(at=time.time(), answer=kept, pages=now)))
    return asked.answer


def _may_be_kept(question: Question) -> bool:
    """Tell whether index pages, hashes and what stands in the key are all that decides."""
    settings = question.settings
    elsewhere = (
        settings.no_index or settings.find_links or settings.keyring_provider or settings.trusted_hosts
    )
    requirements = (*question.requirements.requirements, *question.requirements.constraints)
    direct = any(one.name is None or "@" in one.text.partition(";")[0] for one in requirements)
    local = any(
        url and not url.startswith(("https:", "http:"))
        for url in (settings.index_url, *settings.extra_index_urls)
    )
    # A date that moves on every day gives another question every day.
    return not (elsewhere or direct or local or question.exclude_newer)


def _key(question: Question) -> str:
    settings, requirements, aim = question.settings, question.requirements, question.target
    uv = Path(find_uv_bin()).stat()
    decides = {
        "by": [1, uv.st_size, uv.st_mtime_ns],
        "requirements": [_texts(requirements.requirements), _texts(requirements.constraints)],
        "choice": [requirements.pre, sorted(requirements.no_binary), sorted(requirements.only_binary)],
        "options": [question.no_build, question.dependencies],
        "target": [aim.python_version, aim.machine, list(aim.glibc), dict(aim.markers)],
        "interpreter": [question.interpreter.version, str(question.interpreter.executable)],
        "indexes": [redact.url(url) for url in (settings.index_url or "", *settings.extra_index_urls)],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _look_again(question: Question, known: Mapping[str, Page | None]) -> dict[str, Page | None]:
    """Fetch pages, all at once; `None` for one that did not come."""
    if not known:
        return {}
    from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms
    from bundler.system.http import Network  # noqa: PLC0415

    # uv tries again, and says what is wrong.
    network = Network(question.settings, retries=0)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        asked = {url: pool.submit(index_pages.fetch, network, url, known=page) for url, page in known.items()}
        return {url: future.result() for url, future in asked.items()}


def _with_hashes_seen(page: Page | None) -> Page | None:
    from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms

    return index_pages.with_hashes_seen(page) if page else None


def _same(before: Mapping[str, Page | None], now: Mapping[str, Page | None]) -> bool:
    pairs = ((page, now.get(url)) for url, page in before.items())
    return bool(before) and all(old and new and old.sha256 == new.sha256 for old, new in pairs)


def _is_certain(asked: Asked, before: Mapping[str, Page | None]) -> bool:
    """Tell whether every page was fetched before uv looked at it, none is missing, and all name hashes."""
    told = {canonicalize_name(url.rstrip("/").rpartition("/")[2]) for url in asked.pages}
    said = f"{asked.answer.pylock}{asked.answer.annotated}{asked.answer.messages}"
    if redact.text(said) != said:
        return False  # a password is nothing to keep
    return (
        not asked.unasked
        and set(asked.names) <= told
        and all(page and page.hashes for page in map(before.get, asked.pages))
    )


def _texts(requirements: Collection[Requirement]) -> list[list[str]]:
    return [[one.text, *sorted(one.hashes)] for one in requirements]


def _read(text: str | None) -> _Record:
    """What was kept; nothing where it is not what was written."""
    from bundler.create.index_pages import Page  # noqa: PLC0415

    if text is None:
        return _Record()
    try:
        found = json.loads(text)
        answer = Answer(**found["answer"], remembered=True) if found["answer"] else None
        pages = {url: Page(**page) if page else None for url, page in found["pages"].items()}
        return _Record(at=float(found["at"]), answer=answer, pages=pages)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Record()


def _written(record: _Record) -> str:
    answer = asdict(record.answer) if record.answer else None
    if answer:
        del answer["remembered"]
    pages = {
        url: {name: value for name, value in asdict(page).items() if name != "content"} if page else None
        for url, page in record.pages.items()
    }
    return json.dumps({"at": record.at, "answer": answer, "pages": pages})
