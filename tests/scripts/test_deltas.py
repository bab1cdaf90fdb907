"""`scripts/deltas`: what it writes; nothing is measured here."""

from __future__ import annotations

from scripts.benchmark import deltas
from scripts.benchmark.deltas import Measured


def measured(
    name: str, number: int, runs: dict[str, list[float]] | None = None, *, desync: int | None = 7000
) -> Measured:
    return Measured(
        name=name, packed=100_000, streams=1000 * number, applier=40_000, patch=5000, desync=desync,
        runs=runs or {},
    )  # fmt: skip


def test_the_tables() -> None:
    pairs = [measured(name, number) for number, (name, _, _) in enumerate(deltas.PAIRS, start=1)]
    times = {"apply.py": [3.0, 1.0, 2.0], "verify.py": [2.0, 4.0, 9.0]}
    found = [*pairs, measured(deltas.SET, 9, times)]
    text = deltas.sizes(found)
    assert "| numpy 1.24.3 → 1.24.4 | 100,000 | 7,000 | 5,000 | 1,000 | 1.00% |\n" in text
    assert "| the six pairs | 600,000 | 42,000 | 30,000 | 21,000 | 3.50% |\n" in text
    assert "| `apply.py` | 2.00 | 1.00 |\n| `verify.py` | 4.00 | 2.00 |" in deltas.times(found)
    assert "the six pairs" not in deltas.sizes(pairs[1:])
    without = [*pairs[:-1], measured(pairs[-1].name, 6, desync=None)]
    assert "| 100,000 | - | 5,000 |" in deltas.sizes(without)
    assert "| 600,000 | - | 30,000 |" in deltas.sizes(without)


def test_the_page_has_the_place_for_them() -> None:
    page = deltas.PAGE.read_text(encoding="utf-8")
    before, rest = page.split(deltas.MARKS[0])
    assert rest.count(deltas.MARKS[1]) == 1
    assert all(f"| {name} {old} → {new} |" in rest for name, old, new in deltas.PAIRS)
    assert "scripts/deltas" in before
