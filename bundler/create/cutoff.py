"""Reads the moment after which uploaded files are ignored (`--exclude-newer`): `2024-06-30`, `7 days`, `P7D`.

A length of time keeps fresh releases out: most malicious ones are found and taken down within days.
The forms are those of uv (https://docs.astral.sh/uv/reference/settings/#exclude-newer), but they are turned
into one moment before a resolver runs: all that one run resolves is resolved as of the same moment.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

from bundler.errors import InputError

FORMS = (
    'write a length of time ("7 days", "2 weeks", "36 hours", "P7D") '
    'or a date ("2024-06-30", "2024-06-30T12:00:00Z")'
)
EARLIEST = 1990
"""No package is older; an earlier year is a mistake."""

LONGEST = 100
"""Characters of a length of time."""

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
_PART = re.compile(r"([0-9]{1,5}) ?(weeks?|w|days?|d|hours?|hrs?|h|minutes?|mins?)")
_LENGTH = re.compile(rf"{_PART.pattern}(?:,? {_PART.pattern})*")
_ISO_PART = re.compile(r"([0-9]{1,5})([WDHM])")
_ISO_LENGTH = re.compile(
    r"P(?=[0-9T])(?:[0-9]{1,5}W)?(?:[0-9]{1,5}D)?(?:T(?=[0-9])(?:[0-9]{1,5}H)?(?:[0-9]{1,5}M)?)?"
)
_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<clock>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]+)?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)


def parse(text: str) -> timedelta | datetime:
    """Read a length of time, or a date with or without a time.

    A date alone is the end of that day. Where no zone is given it is UTC: the same on every machine.

    :raises InputError: it is neither, no time at all, or longer ago than there are packages.
    """
    for whole, part in ((_LENGTH, _PART), (_ISO_LENGTH, _ISO_PART)):
        if len(text) <= LONGEST and whole.fullmatch(text):
            return _length(part.findall(text), text)
    moment = _DATE.fullmatch(text)
    if moment is None:
        raise InputError(f"{text[:80]!r} is neither a length of time nor a date", hint=FORMS)
    return _moment(moment, text)


def cutoff(text: str, *, now: datetime) -> str:
    """Return the moment that a text means, in UTC: `2024-07-01T00:00:00Z`.

    A moment that is counted back from now is rounded down to the full hour, so that another machine of the
    same run, or this one a little later, gets the same; releases are kept out for longer by that, never for
    a shorter time.

    :param now: with its zone.
    :raises InputError: as `parse` does.
    """
    meant = parse(text)
    if isinstance(meant, timedelta):
        meant = (now.astimezone(timezone.utc) - meant).replace(minute=0, second=0, microsecond=0)
    return meant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _length(parts: list[tuple[str, str]], text: str) -> timedelta:
    length = sum((timedelta(**{_UNITS[unit[0].lower()]: int(number)}) for number, unit in parts), timedelta())
    if not length:
        raise InputError(f"{text[:80]!r} is no length of time", hint=FORMS)
    if length > timedelta(weeks=52 * 30):
        raise InputError(f"{text[:80]!r} is longer ago than there are packages", hint=FORMS)
    return length


def _moment(match: re.Match[str], text: str) -> datetime:
    zone = (match["zone"] or "Z").upper().replace("Z", "+00:00")
    try:
        if match["clock"]:
            moment = datetime.fromisoformat(f"{match['day']}T{match['clock']}{zone}").astimezone(timezone.utc)
        else:
            end = date.fromisoformat(match["day"]) + timedelta(days=1)
            moment = datetime.combine(end, time(), tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        raise InputError(f"{text[:80]!r} is no day or time of the calendar", hint=FORMS) from None
    if moment.year < EARLIEST:
        raise InputError(f"{text[:80]!r} is longer ago than there are packages", hint=FORMS)
    return moment
