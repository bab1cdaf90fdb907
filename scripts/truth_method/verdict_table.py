"""The table of verdicts, with the evidence of each wrong one, as Markdown."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from scripts.truth_method.judging import (
    BROKEN,
    FAILURE,
    FALSE_REFUSAL,
    JUDGEMENTS,
    MISS,
    OTHER_REASON,
    RIGHT_NO,
    RIGHT_YES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scripts.truth_method.judging import Judged
    from scripts.truth_method.real_sets import RealSet

WRONG = (MISS, FALSE_REFUSAL, FAILURE, OTHER_REASON, BROKEN)
LINES = 6


def markdown(judged: Sequence[Judged], sets: Mapping[str, RealSet]) -> str:
    """Return the whole page."""
    return (
        "\n".join(
            [
                *_counts(judged),
                "",
                *_rows(judged, sets),
                "",
                *_evidence(judged),
                *_unborne(judged),
                *_warnings(judged),
            ]
        )
        + "\n"
    )


def short(judged: Sequence[Judged], sets: Mapping[str, RealSet]) -> str:
    """Return totals and one line a set without its evidence, as docs/proof.md has them."""
    named = ", ".join(f"{number} {name}" for name, number in counts(judged).items() if number)
    lines = [
        f"{len(judged)} sets: {named}.",
        "",
        "| set | Python | true | said | judged |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(judged, key=lambda one: one.id):
        if one.id in sets:
            codes = sorted({row["code"] for row in one.said.findings if row["severity"] == "error"})
            said = "yes" if one.said.code == 0 else ", ".join(codes) or f"exit {one.said.code}"
            true = "works" if one.truth.works else "fails" if one.truth.installed else "not installable"
            lines.append(f"| {one.id} | {sets[one.id].python} | {true} | {said} | {one.judgement} |")
    return "\n".join(lines) + "\n"


def counts(judged: Sequence[Judged]) -> dict[str, int]:
    """Return how many sets got each judgement; all of them are named."""
    found = Counter(one.judgement for one in judged)
    return {name: found[name] for name in JUDGEMENTS}


def _counts(judged: Sequence[Judged]) -> Iterator[str]:
    yield f"{len(judged)} sets."
    yield ""
    yield "| judgement | sets |"
    yield "|---|--:|"
    for name, number in counts(judged).items():
        yield f"| {name} | {number} |"
    warnings = sum(len(_warned(one)) for one in judged if one.judgement == RIGHT_YES)
    yield f"| warnings in right yeses | {warnings} |"


def _rows(judged: Sequence[Judged], sets: Mapping[str, RealSet]) -> Iterator[str]:
    yield "| set | source | exit | findings | true | judgement | seconds |"
    yield "|---|---|--:|---|---|---|--:|"
    for one in judged:
        codes = sorted({row["code"] for row in one.said.findings if row["severity"] == "error"})
        source = f"{sets[one.id].repository}, {sets[one.id].path}" if one.id in sets else ""
        code = "late" if one.said.code is None else one.said.code
        cells = [one.id, source, code, ", ".join(codes), _true(one), one.judgement, f"{one.said.seconds:.0f}"]
        yield f"| {' | '.join(map(str, cells))} |"


def _true(one: Judged) -> str:
    if one.truth.works:
        return f"works ({one.truth.tried} tried)"
    if not one.truth.installed:
        return "pip installs nothing"
    return f"fails: {', '.join(step.by or step.text for step in one.truth.failed)[:80]}"


def _evidence(judged: Sequence[Judged]) -> Iterator[str]:
    for name in WRONG:
        for one in judged:
            if one.judgement == name:
                yield from (f"## {name}: {one.id}", "", *_of_one(one), "")


def _of_one(one: Judged) -> Iterator[str]:
    if one.said.message:
        yield f"envbundle, exit {one.said.code}: {_line(one.said.message)}"
    for row in one.said.findings:
        if row["severity"] == "error":
            yield f"- {row['code']} {row['subject']}: {_line(row['cause'])}"
    for step in one.truth.failed:
        yield f"- {step.kind} `{step.text}`: {_line(step.error or '')}"
        yield from ("", "  ```", *(f"  {line}" for line in step.traceback[-LINES:]), "  ```", "")


def _warned(one: Judged) -> list[str]:
    return [
        f"{row['code']} {row['subject']}: {_line(row['cause'])}"
        for row in one.said.findings
        if row["severity"] == "warning"
    ]


def _warnings(judged: Sequence[Judged]) -> Iterator[str]:
    yield from ("## Warnings in right yeses", "")
    for one in judged:
        if one.judgement == RIGHT_YES:
            yield from (f"- {one.id}: {text}" for text in _warned(one))


def unborne(one: Judged) -> list[str]:
    """Return the errors of a true refusal that nothing which fails mentions: they may be false.

    Its subject, or a library or module of its cause, should stand in an error or a traceback.
    """
    failed = one.truth.failed
    shown = "\n".join(
        line for step in failed for line in (step.by, step.text, step.error or "", *step.traceback)
    )
    found = []
    for row in one.said.findings:
        words = {str(row["subject"]), *re.findall(r"lib[\w.+-]+\.so[.\d]*|'[\w.]+'", str(row["cause"]))}
        if row["severity"] == "error" and not any(word.strip("'").lower() in shown.lower() for word in words):
            found.append(f"{row['code']} {row['subject']}: {_line(str(row['cause']))}")
    return found


def _unborne(judged: Sequence[Judged]) -> Iterator[str]:
    yield from ("## Errors of right refusals that nothing which fails mentions", "")
    for one in judged:
        if one.judgement == RIGHT_NO and one.truth.installed:
            yield from (f"- {one.id}: {text}" for text in unborne(one))
    yield ""


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
