"""EB208: versions that import, and of which one fails when the other is first used. Known ones, as data."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.checks.rules.codes import finding
from bundler.lazy_dataclass import dataclass
from bundler.model import Finding, Lock, LockedDistribution


@dataclass(frozen=True, kw_only=True)
class FirstUse:
    """What nobody can do without who uses a distribution, and with which version of another one it fails."""

    name: str
    """Normalised name of the distribution that is used."""
    versions: str
    """Those of it that fail."""
    other: str
    since: str
    """The release of the other one that took away what they use."""
    use: str
    """The call that fails, whatever its arguments are."""
    exception: str
    """What it raises."""
    source: str
    """URL of the changelog or issue that says so."""
    extra: str = ""
    """Only who asks for this extra is known to make the call."""
    python: str = ""
    """The target's versions with which it fails, where not all do."""


PROXIES = "TypeError: Client.__init__() got an unexpected keyword argument 'proxies'"
ENTRY_POINTS = "AttributeError: 'EntryPoints' object has no attribute 'get'"
HTTPX = "https://github.com/openai/openai-python/issues/1902"
KNOWN = (
    FirstUse(
        name="dash",
        versions="<2.7",
        other="flask",
        since="2.3",
        use="dash.Dash()",
        exception="AttributeError: 'Flask' object has no attribute 'before_first_request'",
        source="https://flask.palletsprojects.com/en/stable/changes/",
    ),
    FirstUse(
        name="flask-sqlalchemy",
        versions="<3",
        other="sqlalchemy",
        since="2",
        use="flask_sqlalchemy.SQLAlchemy()",
        exception="AttributeError: module 'sqlalchemy' has no attribute '__all__'",
        source="https://flask-sqlalchemy.palletsprojects.com/en/stable/changes/",
    ),
    FirstUse(
        name="openai",
        versions=">=1,<1.55.3",
        other="httpx",
        since="0.28",
        use="openai.OpenAI()",
        exception=PROXIES,
        source=HTTPX,
    ),
    FirstUse(
        name="anthropic",
        versions=">=0.8,<0.40",
        other="httpx",
        since="0.28",
        use="anthropic.Anthropic()",
        exception=PROXIES,
        source=HTTPX,
    ),
    FirstUse(
        name="groq",
        versions=">=0.4,<0.13",
        other="httpx",
        since="0.28",
        use="groq.Groq()",
        exception=PROXIES,
        source=HTTPX,
    ),
    FirstUse(
        name="passlib",
        versions="<=1.7.4",
        other="bcrypt",
        since="5",
        use="passlib.hash.bcrypt.hash()",
        exception="ValueError: password cannot be longer than 72 bytes",
        source="https://github.com/pyca/bcrypt/blob/main/README.rst",
        extra="bcrypt",
    ),
    FirstUse(
        name="black",
        versions=">=19.10b0,<22.3",
        other="click",
        since="8.1",
        use="the script black",
        exception="ImportError: cannot import name '_unicodefun' from 'click'",
        source="https://github.com/psf/black/issues/2964",
    ),
    FirstUse(
        name="celery",
        versions=">=4.4,<5.3",
        other="importlib-metadata",
        since="5",
        use="from celery import Celery",
        exception=ENTRY_POINTS,
        source="https://github.com/celery/celery/issues/7783",
        python="<3.8",
    ),
    FirstUse(
        name="flake8",
        versions=">=3.8,<4",
        other="importlib-metadata",
        since="5",
        use="the script flake8",
        exception=ENTRY_POINTS,
        source="https://github.com/PyCQA/flake8/issues/1708",
        python="<3.8",
    ),
)
"""Each was tried with real versions, though not at every edge; 1.7.4 is passlib's last release."""


def check(lock: Lock) -> Iterator[Finding]:
    """Report distributions that fail at their first use with another one of the lock (EB208).

    An error where the distribution (with the extra, where only that makes the call) is asked for, else a
    warning.
    """
    locked = {dist.name: dist for dist in lock.distributions}
    for row in KNOWN:
        own, other = locked.get(row.name), locked.get(row.other)
        if own is None or other is None or not (_within(own, row.versions) and _since(other, row.since)):
            continue
        if row.python and not SpecifierSet(row.python).contains(lock.python_version):
            continue  # a later Python has in itself what the other distribution brings to this one
        asked = own.requested or own.name in lock.roots
        certain = asked and (not row.extra or row.extra in own.extras)
        yield finding(
            "EB208",
            subject=row.name,
            cause=f"{row.name} {own.version} imports with {row.other} {other.version}, and {row.use} raises "
            f"then:\n{row.exception}",
            remedy=f"pin {row.other}<{row.since}, or take a {row.name} that is not {row.versions} "
            f"({row.source})",
            lock=lock,
            severity="error" if certain else "warning",
        )


def _within(dist: LockedDistribution, specifier: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(Version(dist.version), prereleases=True)
    except InvalidVersion:
        return False


def _since(dist: LockedDistribution, version: str) -> bool:
    return _within(dist, f">={version}")
