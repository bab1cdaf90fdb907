"""What an import proof cannot tell where the machine refuses a part of its isolation."""

from __future__ import annotations

from collections.abc import Iterable

from bundler.lazy_dataclass import dataclass

ISOLATION = {
    "no-network": "the proof cannot tell whether an import needs the network",
    "read-only": "the proof cannot tell whether an import writes into the bundle",
    "own-processes": "an import can see other processes, or what it starts can outlive the proof",
    "own-root": "an import can read the caller's files, and write where the caller can",
    "moved": "the proof runs at the place of the build, where a path that was built in still exists",
}
"""Part, as `ontarget/isolate.py` reports it → what its lack means."""
REMEDY = (
    "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or run the "
    "container with --security-opt seccomp=unconfined --security-opt systempaths=unconfined; the "
    "manifest tells what was in force"
)


@dataclass(frozen=True, kw_only=True)
class IsolationWarning:
    """Why a proof says less than it should."""

    lacking: tuple[str, ...]
    """Parts that were not in force, of `ISOLATION`."""
    cause: str
    """What that means."""
    remedy: str = REMEDY


def lacking(held: Iterable[str]) -> tuple[str, ...]:
    """Return the parts that were not in force.

    :param held: those that were.
    """
    given = set(held)
    return tuple(name for name in ISOLATION if name not in given)


def warning(absent: Iterable[str]) -> IsolationWarning | None:
    """Return the warning about parts that were not in force; `None`: all were.

    :param absent: what `lacking` returned, or an older envbundle: parts that are not known are left out.
    """
    known = tuple(name for name in absent if name in ISOLATION)
    return (
        IsolationWarning(lacking=known, cause="; ".join(ISOLATION[name] for name in known)) if known else None
    )
