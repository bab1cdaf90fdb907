"""Identities for which attestations were verified (PEP 740), as locks have them (PEP 751), and pins of them.

An identity is a publisher's keys and values, its `kind` first. Whom a certificate names is told by some of
them alone: these decide whether two identities are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.utils import canonicalize_name

from bundler.errors import InputError
from bundler.model import Claims
from bundler.system import outside

LARGEST_ROOT = 1 << 20
"""Bytes of a trust root above which it is not read."""

_PROVED = {
    "GitHub": ("repository", "workflow"),
    "GitLab": ("repository", "workflow_filepath"),
    "Google": ("email",),
    "CircleCI": ("project_id", "pipeline_definition_id"),
}
"""Kind → the keys that a certificate proves: who, and by which workflow. The index alone says the others."""
FORM = (
    "write KIND:WHO, or KIND:WHO@WORKFLOW: GitHub:numpy/numpy, GitLab:group/project@.gitlab-ci.yml, "
    "Google:NAME@PROJECT.iam.gserviceaccount.com"
)


def read(tables: Iterable[Mapping[str, object]]) -> tuple[Claims, ...]:
    """Return the identities of `attestation-identities` in a lock, or of publishers; only texts count."""
    found = []
    for table in tables:
        texts = {key: value for key, value in table.items() if isinstance(value, str)}
        kind = texts.pop("kind", "")
        found.append((("kind", kind), *sorted(texts.items())))
    return tuple(sorted(set(found)))


def spelled(claims: Claims) -> str:
    """Return an identity as people read and pin it: `GitHub:numpy/numpy@wheels.yml`."""
    values = dict(claims)
    kind = values.pop("kind", "")
    proved = [values.get(key, "") for key in _PROVED.get(kind, sorted(values))]
    return f"{kind}:{'@'.join(proved)}"


def spellings(tables: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """Return `attestation-identities` as people read them, sorted."""
    return tuple(sorted({spelled(claims) for claims in read(tables)}))


def meets(claims: Claims, pin: str) -> bool:
    """Tell whether an identity is the one that is pinned, with or without its workflow."""
    values = dict(claims)
    kind = values.get("kind", "")
    who = values.get(_PROVED.get(kind, ("",))[0], "")
    return pin in {spelled(claims), f"{kind}:{who}"}


def parse_pin(name: str, text: str) -> tuple[str, str]:
    """Check a project's name and the publisher to which it is pinned.

    :raises InputError: the kind is unknown, or nothing follows it.
    """
    kind, _, who = text.strip().partition(":")
    if kind not in _PROVED or not who.strip() or not name.strip():
        raise InputError(f"{name[:80]}={text[:80]!r} pins no publisher", hint=FORM)
    return canonicalize_name(name.strip()), f"{kind}:{who.strip()}"


def read_root(path: Path) -> str:
    """Return the content of a file of trusted keys, which what verifies reads.

    :raises InputError: it cannot be read.
    """
    return outside.read_text(path, limit=LARGEST_ROOT, hint="check the path of the trust root", named=True)


def is_required(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of the patterns (`numpy`, `internal-*`) is for a distribution.

    :param name: normalised.
    """
    return any(fnmatchcase(name, canonicalize_name(pattern)) for pattern in patterns)
