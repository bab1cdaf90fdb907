"""EB62x: who published the files."""

from __future__ import annotations

import pytest
from bundler.bundle import identities
from bundler.checks.rules import publishers
from bundler.checks.rules.publishers import Attested, PublisherRules, Publishing
from bundler.errors import InputError
from bundler.model import Claims

from tests.support.bundlemaker import lock, locked
from tests.support.findings import brief

OURS = identities.read([{"kind": "GitHub", "repository": "alpha/alpha", "workflow": "release.yml"}])
STAGED = identities.read(
    [{"kind": "GitHub", "repository": "alpha/alpha", "workflow": "release.yml", "environment": "pypi"}]
)
THEIRS = identities.read([{"kind": "GitHub", "repository": "evil/alpha", "workflow": "release.yml"}])
GOOGLE = identities.read([{"kind": "Google", "email": "release@alpha.example"}])
NOTHING = Attested(unknown="the index offers no provenance for it")


def rules(*require: str, **pins: str) -> PublisherRules:
    return PublisherRules(require=require, publishers=tuple(pins.items()))


@pytest.mark.parametrize(
    ("known", "before", "demanded", "codes"),
    [
        (NOTHING, (), rules(), []),
        (NOTHING, (), rules("beta", "internal-*"), []),
        (NOTHING, (), rules("al*"), ["EB625"]),
        (NOTHING, (), rules("Alpha"), ["EB625"]),
        (NOTHING, (), rules(alpha="GitHub:alpha/alpha"), ["EB625"]),
        (NOTHING, OURS, rules(), ["EB624"]),
        (NOTHING, OURS, rules("alpha"), ["EB624", "EB625"]),
        (Attested(identities=OURS), (), rules("alpha", alpha="GitHub:alpha/alpha"), []),
        (Attested(identities=OURS), (), rules(alpha="GitHub:alpha/alpha@release.yml"), []),
        (Attested(identities=OURS), (), rules(alpha="GitHub:alpha/alpha@other.yml"), ["EB622"]),
        (Attested(identities=OURS), (), rules(alpha="GitHub:alpha"), ["EB622"]),
        (Attested(identities=OURS), (), rules(alpha="GitLab:alpha/alpha"), ["EB622"]),
        (Attested(identities=GOOGLE), (), rules(alpha="Google:release@alpha.example"), []),
        (Attested(identities=GOOGLE), (), rules(alpha="Google:release"), ["EB622"]),
        (Attested(identities=THEIRS), OURS, rules(), ["EB623"]),
        (Attested(identities=THEIRS), OURS, rules(alpha="GitHub:alpha/alpha"), ["EB622"]),
        (Attested(identities=OURS), OURS, rules(), []),
        # Only the index says the environment; one publisher more takes nothing away.
        (Attested(identities=STAGED), OURS, rules(), []),
        (Attested(identities=OURS + THEIRS), OURS, rules(alpha="GitHub:alpha/alpha"), []),
        (Attested(problem="bad"), OURS, rules("alpha", alpha="GitHub:alpha/alpha"), ["EB621"]),
    ],
)
def test_publishers(
    known: Attested, before: tuple[Claims, ...], demanded: PublisherRules, codes: list[str]
) -> None:
    publishing = Publishing(rules=demanded, attested={"alpha": known}, before={"alpha": before})
    found = list(publishers.check(lock(locked("alpha")), publishing))
    assert brief(found) == [(code, "alpha") for code in codes]
    assert [one.severity for one in found] == ["warning" if code == "EB624" else "error" for code in codes]


def test_what_is_not_offered_is_not_known() -> None:
    publishing = Publishing(rules=rules("alpha"), attested={"alpha": NOTHING}, before={"alpha": OURS})
    lost, required = publishers.check(lock(locked("alpha")), publishing)
    assert "published by GitHub:alpha/alpha@release.yml; of" in lost.cause
    assert "is not known: the index offers no provenance" in required.cause
    assert "not attested" not in lost.cause + required.cause


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alpha", ""),
        ("alpha", "alpha/alpha"),
        ("alpha", "Github:x/y"),
        ("alpha", "GitHub:"),
        ("", "GitHub:x/y"),
    ],
)
def test_no_pin(name: str, text: str) -> None:
    with pytest.raises(InputError, match="pins no publisher"):
        identities.parse_pin(name, text)


def test_pin() -> None:
    assert identities.parse_pin("My_Package ", " GitHub:x/y@z.yml") == ("my-package", "GitHub:x/y@z.yml")
