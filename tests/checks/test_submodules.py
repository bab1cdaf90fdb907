"""Modules that nothing reached and that import what nothing brings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bundler.checks.rules import submodules
from bundler.model import FileFact, WheelFacts

from tests.support.bundlemaker import facts, lock, locked

SITE = "lib/python3.8/site-packages"
ALPHA = replace(
    facts("alpha"),
    files=(FileFact(path=f"{SITE}/alpha/cache.py", sha256="", size=1),),
    imports=(("redis", f"{SITE}/alpha/cache.py"),),
)
REDIS = replace(facts("redis"), files=(FileFact(path=f"{SITE}/redis/__init__.py", sha256="", size=1),))


@pytest.mark.parametrize(
    ("source", "others", "known", "told"),
    [
        ("import redis\n", {}, (), True),
        ("from redis.client import Redis\n", {}, (), True),
        ("import redis\n", {"redis": REDIS}, (), False),
        ("import redis\n", {}, ("redis",), False),  # of the image, say
        ('"""\nimport redis\n"""\n', {}, (), False),
        ("from .redis import x\n", {}, (), False),
        ("def f():\n    import redis\n", {}, (), False),
        ("import os, redis\n", {}, (), True),
        ("import redis_like\nfrom redislite import x\n", {}, (), False),
        ("x = [\nfrom redis import x\n]\n", {}, (), False),
        ("print 'Python 2'\nimport redis\n", {}, (), False),
    ],
)
def test_unmet(source: str, others: dict[str, WheelFacts], known: tuple[str, ...], *, told: bool) -> None:
    found = list(
        submodules.unmet(
            lock(locked("alpha")),
            {"alpha": ALPHA, **others},
            site_packages=SITE,
            known=known,
            read=lambda *_: source.encode(),
        )
    )
    expected = [("EB201", "info", "alpha", ("alpha",))] if told else []
    assert [(one.code, one.severity, one.subject, one.chain) for one in found] == expected
    for one in found:
        assert "alpha.cache imports 'redis'" in one.cause
        assert one.remedy.endswith("then add redis")
