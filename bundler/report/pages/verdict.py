"""The first thing that a report says: whether the bundle is proved, for what, and how strong the proof is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bundler.bundle.manifest.values import Manifest
from bundler.lazy_dataclass import dataclass
from bundler.report.pages.page import count

PROOFS = {
    "moved": "at another path than it was built at",
    "read-only": "from a read-only tree",
    "no-network": "without a network",
}
"""How the page calls the kinds of isolation (`evidence.proof` in docs/manifest.md)."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What stands at the top of a bundle's report."""

    state: Literal["good", "bad"]
    word: str
    aim: str
    """`for CPython 3.8.18 on x86_64 with glibc 2.31`."""
    reasons: tuple[str, ...]
    """Sentences that say what was done."""
    limits: tuple[str, ...]
    """Sentences that say what was not."""
    open: str
    """The worst findings that nobody accepted: `1 error`, `2 warnings`, `none`."""
    rest: str
    """The other findings: `2 warnings, 1 accepted`."""


def verdict(manifest: Manifest) -> Verdict:
    """Return the verdict: a bundle is proved unless it has an error that nobody accepted."""
    errors = _open(manifest, "error")
    warnings = _open(manifest, "warning")
    agreed = sum(1 for one in manifest.findings if one.accepted is not None)
    accepted = [f"{agreed:,} accepted"] if agreed else []
    target = manifest.target
    counts = [count(many, noun) for many, noun in ((errors, "error"), (warnings, "warning")) if many]
    return Verdict(
        state="bad" if errors else "good",
        word="Not proved" if errors else "Proved",
        aim=f"for CPython {target.python} on {target.machine} with glibc {target.glibc}",
        reasons=_reasons(manifest),
        limits=_limits(manifest),
        open=counts[0] if counts else "none",
        rest=", ".join([*counts[1:], *accepted]) or count(len(manifest.checks), "check"),
    )


def _open(manifest: Manifest, severity: str) -> int:
    return sum(1 for one in manifest.findings if one.severity == severity and one.accepted is None)


def _reasons(manifest: Manifest) -> tuple[str, ...]:
    sentences = []
    modules = len(manifest.evidence.modules)
    words = [words for name, words in PROOFS.items() if name in manifest.evidence.isolation.proof]
    if modules:
        where = _and(words) if words else "in place"
        sentences.append(
            f"{count(modules, 'module')} imported by CPython {manifest.interpreter.version} as the image "
            f"will do it: {where}."
        )
    checks = len(manifest.checks)
    passed = sum(1 for check in manifest.checks if check.outcome == "passed")
    if checks:
        every = "all passed" if passed == checks else f"{passed:,} passed"
        sentences.append(f"{count(checks, 'check')}, {every}.")
    return tuple(sentences)


def _limits(manifest: Manifest) -> tuple[str, ...]:
    sentences = []
    lacking = [words for name, words in PROOFS.items() if name not in manifest.evidence.isolation.proof]
    if lacking and manifest.evidence.modules:
        sentences.append(f"The machine that built it could not import the modules {_and(lacking, 'or')}.")
    if manifest.relies_on:
        left = count(len(manifest.relies_on), "distribution")
        sentences.append(
            f"{left} that it needs {'is' if len(manifest.relies_on) == 1 else 'are'} left to the image."
        )
    if manifest.assumed_libraries:
        names = _and(manifest.assumed_libraries)
        sentences.append(f"The image is said to have {names}; verify.py looks there.")
    if manifest.interpreter.version != manifest.target.python:
        sentences.append(f"It was proved with CPython {manifest.interpreter.version}.")
    return tuple(sentences)


def _and(words: Sequence[str], link: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {link} {words[-1]}"
