"""`--exclude-newer "7 days"`: which words are understood, and which moment they mean."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from bundler.create import cutoff
from bundler.errors import InputError

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.index import Index

NOW = datetime(2026, 11, 21, 5, 33, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7 days", "2026-11-14T05:00:00Z"),
        ("1 day", "2026-11-20T05:00:00Z"),
        ("7days", "2026-11-14T05:00:00Z"),
        ("7d", "2026-11-14T05:00:00Z"),
        ("2 weeks", "2026-11-07T05:00:00Z"),
        ("1w", "2026-11-14T05:00:00Z"),
        ("36 hours", "2026-11-19T17:00:00Z"),
        ("36 hrs", "2026-11-19T17:00:00Z"),
        ("90 minutes", "2026-11-21T04:00:00Z"),
        ("1 week 2 days", "2026-11-12T05:00:00Z"),
        ("1 week, 2 days, 1 h", "2026-11-12T04:00:00Z"),
        ("P7D", "2026-11-14T05:00:00Z"),
        ("P1W", "2026-11-14T05:00:00Z"),
        ("PT36H", "2026-11-19T17:00:00Z"),
        ("P1DT2H30M", "2026-11-20T03:00:00Z"),
        ("2024-06-30", "2024-07-01T00:00:00Z"),
        ("2024-06-30T12:34:56Z", "2024-06-30T12:34:56Z"),
        ("2024-06-30T12:34:56.789z", "2024-06-30T12:34:56Z"),
        ("2024-06-30 12:34", "2024-06-30T12:34:00Z"),
        ("2024-06-30T12:34:56+09:00", "2024-06-30T03:34:56Z"),
    ],
)
def test_words_and_moments(text: str, moment: str) -> None:
    assert cutoff.cutoff(text, now=NOW) == moment
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9, minutes=45)))
    assert cutoff.cutoff(text, now=elsewhere) == moment


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "neither"),
        ("7", "neither"),
        ("days", "neither"),
        ("-7 days", "neither"),
        ("7 days ago", "neither"),
        ("1.5 days", "neither"),
        (" 7 days", "neither"),
        ("7 days\n", "neither"),
        ("\N{ARABIC-INDIC DIGIT SEVEN} days", "neither"),
        ("7 Days", "neither"),
        ("1 month", "neither"),
        ("5 m", "neither"),
        ("P", "neither"),
        ("P1DT", "neither"),
        ("P1M", "neither"),
        ("p7d", "neither"),
        ("yesterday", "neither"),
        ("2024-6-30", "neither"),
        ("2024-06-30T12", "neither"),
        ("1 day " * 40, "neither"),
        ("0 days", "no length"),
        ("PT0H", "no length"),
        ("99999 weeks", "longer ago"),
        ("2024-02-30", "of the calendar"),
        ("2024-06-30T25:00", "of the calendar"),
        ("9999-12-31", "of the calendar"),
        ("0001-01-01", "longer ago"),
    ],
)
def test_what_is_not_understood(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        cutoff.cutoff(text, now=NOW)
    assert "7 days" in (caught.value.hint or "")


def test_one_answer_within_the_hour_and_never_a_shorter_quarantine() -> None:
    said = {cutoff.cutoff("7 days", now=NOW.replace(minute=minute)) for minute in range(60)}
    assert said == {"2026-11-14T05:00:00Z"}
    later = cutoff.cutoff("7 days", now=NOW + timedelta(hours=1))
    assert later == "2026-11-14T06:00:00Z"


@pytest.mark.thorough
def test_lock_takes_the_words(
    envbundle: Command, wheels: Path, index: Index, pips: Path, python38: Path
) -> None:
    """From the option to the resolver: a release of two days ago is too fresh for a week, not for a day."""
    today = datetime.now(timezone.utc)
    for version, age in (("1.0", 30), ("2.0", 2)):
        path = make_wheel(wheels, "aged", version)
        index.upload_time[path.name] = (today - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked: list[str | Path] = [
        "lock",
        "aged",
        "--python",
        python38,
        "--index-url",
        index.url,
        "--find-links",
        pips,
        "--json",
    ]
    for words, version in (("7 days", "1.0"), ("PT24H", "2.0")):
        done = envbundle(*asked, "--exclude-newer", words)
        assert done.code == 0, done.stderr
        assert done.json()["distributions"] == [{"name": "aged", "version": version}]
    done = envbundle(*asked, "--exclude-newer", "a week")
    assert done.code == 2
    assert "--exclude-newer: 'a week' is neither a length of time nor a date" in done.stderr
    assert '"2 weeks"' in done.stderr
