"""Asks the indexes who has published the files of a lock (PEP 740), and has the answers verified.

What an index does not offer is not known: many mirrors leave it out, and nobody can tell that from a file
that was never attested.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from pathlib import Path
from urllib.parse import urljoin

from bundler.bundle import identities
from bundler.checks.rules.publishers import Attested, PublisherRules, Publishing
from bundler.create import attestations, index_pages
from bundler.create.attestations import Attestations
from bundler.create.index_pages import Page
from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Claims, IndexSettings, Lock, LockedDistribution
from bundler.system import index_settings, redact
from bundler.system.http import Network
from bundler.wheels.store import Store

ACCEPT = "application/vnd.pypi.integrity.v1+json, application/json;q=0.2"
PARALLEL = 16
"""Pages and objects that are fetched at once."""
LIMIT = 1 << 20
"""Bytes of a provenance object above which it is not read."""
_HINT = "without --provenance nobody asks for it; check network and index, or try again later"


def attest(
    lock: Lock,
    rules: PublisherRules,
    *,
    before: Mapping[str, tuple[Claims, ...]],
    settings: IndexSettings,
    store: Store,
    scratch: Path,
) -> tuple[Lock, Publishing]:
    """Return a lock with the identities that were verified, and all that is known of the files' publishers.

    :param before: normalised name → the identities that the last lock has.
    :raises MachineError: an index does not answer, or what verifies is not installed.
    :raises InputError: the trust root is none.
    """
    attestations.require()
    verifier = Attestations(scratch=scratch, trusted_root=rules.trusted_root)
    files = sorted((dist.artifact.filename, dist.artifact.sha256 or "") for dist in lock.distributions)
    key = hashlib.sha256(json.dumps(["provenance", *verifier.by, files]).encode()).hexdigest()
    kept = store.text(key) or ""
    memory = _Memory.read(kept)
    verifier.known.update(memory.verified)
    asked = _Asked(settings=settings, known=memory.documents)
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(asked.answer, lock.distributions))
    found = {
        dist.name: _verified(verifier, dist, answer, *asked.statuses.get(dist.name, ("", "")))
        for dist, answer in zip(lock.distributions, answers, strict=True)
    }
    text = _Memory(documents=asked.fetched, verified=verifier.known).text()
    if text != kept:
        with contextlib.suppress(MachineError):  # it can be asked and verified again
            store.keep_text(key, text)
    known = tuple(replace(dist, identities=found[dist.name].identities) for dist in lock.distributions)
    return replace(lock, distributions=known), Publishing(rules=rules, attested=found, before=before)


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """What the store keeps of the files of a lock, for the same trust root and versions of what verifies."""

    documents: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """URL of a provenance object → its entity tag and its text."""
    verified: Mapping[str, tuple[Claims, ...]] = field(default_factory=dict)
    """As of `Attestations.known`."""

    @classmethod
    def read(cls, text: str) -> _Memory:
        """Read what `text` wrote; an empty text has nothing."""
        raw = json.loads(text or "{}")
        return cls(
            documents={url: (tag, said) for url, (tag, said) in raw.get("documents", {}).items()},
            verified={key: identities.read(one) for key, one in raw.get("verified", {}).items()},
        )

    def text(self) -> str:
        verified = {key: [dict(one) for one in found] for key, found in self.verified.items()}
        return json.dumps({"documents": self.documents, "verified": verified}, sort_keys=True)


def _verified(
    verifier: Attestations, dist: LockedDistribution, answer: bytes | str, status: str, reason: str
) -> Attested:
    """Return what is known of a file: what an index offers is verified.

    :param answer: a provenance object, or why there is none.
    :param status: of the project, as the index says it; and the reason.
    """
    if isinstance(answer, str):
        return Attested(unknown=answer, status=status, reason=reason)
    artifact = dist.artifact
    found = verifier.verified(answer, filename=artifact.filename, sha256=artifact.sha256 or "")
    return replace(found, status=status, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Fetches what the indexes say, from several threads."""

    settings: IndexSettings
    known: Mapping[str, tuple[str, str]]
    """URL of an object → its entity tag and text, as they were when it was last fetched."""
    fetched: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The same, as they are now; what has no entity tag is left out."""
    statuses: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Normalised name → what the index says of the project (PEP 792), and why."""

    @functools.cached_property
    def _network(self) -> Network:
        return Network(self.settings)

    def answer(self, dist: LockedDistribution) -> bytes | str:
        """Return the provenance object of a distribution's file, or why there is none.

        :raises MachineError: the index does not answer.
        """
        artifact = dist.artifact
        if dist.source != "index" or not artifact.sha256 or not (artifact.url or "").startswith("http"):
            return "it does not come from an index"
        if self.settings.no_index:
            return "no index is asked"
        for index in self._indexes(dist):
            page = self._page(urljoin(f"{index.rstrip('/')}/", f"{dist.name}/"))
            status, reason = index_pages.project_status(page)
            if status:
                self.statuses[dist.name] = (status, reason)
            listed = index_pages.file_named(page, artifact.filename, artifact.sha256)
            if listed is not None:
                if not listed.provenance:
                    return f"{redact.url(index)} offers no provenance for it"
                return self._object(listed.provenance)
        return "no index that is asked lists this file with its hash"

    def _indexes(self, dist: LockedDistribution) -> Iterable[str]:
        """Return the index that served a file, where the lock says it, else those that may have."""
        if dist.index:
            return (dist.index,)
        return (self._default, *self.settings.extra_index_urls)

    @functools.cached_property
    def _default(self) -> str:
        return self.settings.index_url or index_settings.default_index()

    def _page(self, url: str) -> Page:
        page = index_pages.fetch(self._network, url)
        if page is None:
            raise MachineError(f"{redact.url(url)} cannot be read, to ask who published it", hint=_HINT)
        return page

    def _object(self, url: str) -> bytes:
        """Fetch a provenance object; one that has not changed is not sent again."""
        tag, text = self.known.get(url, ("", ""))
        known = Page(url=url, sha256="", etag=tag) if tag else None
        found = index_pages.fetch(self._network, url, known=known, accept=ACCEPT, limit=LIMIT)
        if found is None or not (found.content or found is known):
            raise MachineError(f"the provenance {redact.url(url)} cannot be read", hint=_HINT)
        if found is not known:
            tag, text = found.etag, found.content.decode("utf-8", "surrogateescape")
        if tag:
            self.fetched[url] = (tag, text)
        return text.encode("utf-8", "surrogateescape")
