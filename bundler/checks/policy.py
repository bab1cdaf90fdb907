"""Applies what the caller decides about findings: which are accepted, and which stop the emission."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from packaging.utils import canonicalize_name

from bundler.errors import InputError
from bundler.model import Finding, Ignore, Policy
from bundler.ontarget.verify import SONAME

EVERYTHING = "*"
FORM = "say --ignore CODE, CODE:subject or 'CODE:subject=reason', such as 'EB501:coloredlogs=not used'"
# A subject can be `name==1.0`; the reason begins at the first `=` that stands alone.
_IGNORE = re.compile(r"(?P<code>[^:=]+)(:(?P<subject>.*?))?((?<!=)=(?!=)(?P<reason>.*))?", re.DOTALL)


def parse_ignore(text: str, *, known: Collection[str]) -> Ignore:
    """Read `CODE[:subject][=reason]`.

    :param known: every check code.
    :raises InputError: not of that form, or the code is none; names the nearest.
    """
    match = _IGNORE.fullmatch(text.strip())
    subject = EVERYTHING if match is None or match["subject"] is None else match["subject"].strip()
    if match is None or not subject:
        raise InputError(f"--ignore {text!r}: it names no subject after its colon", hint=FORM)
    code = match["code"].strip().upper()
    if code not in known:
        raise unknown_code(match["code"].strip(), known=known)
    return Ignore(code=code, subject=subject, reason=(match["reason"] or "").strip())


def spelled(ignore: Ignore) -> str:
    """Return an ignore as the caller wrote it, without the reason."""
    return ignore.code if ignore.subject == EVERYTHING else f"{ignore.code}:{ignore.subject}"


def parse_library(text: str) -> str:
    """Check the name of a library that the image is said to have, as the loader asks for it.

    :raises InputError: it is no SONAME.
    """
    name = text.strip()
    if not SONAME.fullmatch(name):
        raise InputError(
            f"--assume-lib {text!r}: is no name of a shared library",
            hint="give its SONAME as findings name it, such as libgomp.so.1",
        )
    return name


def unknown_code(code: str, *, known: Collection[str]) -> InputError:
    """Return the error for a check code that does not exist."""
    turned = [one for one in sorted(known) if sorted(one) == sorted(code.upper())]
    near = turned or difflib.get_close_matches(code.upper(), sorted(known), n=3, cutoff=0.6)
    advice = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(
        f"{code!r} is no check code", hint=f"{advice}`envbundle explain --list` shows all of them"
    )


def apply(policy: Policy, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Mark what the policy accepts, and under `strict` make errors of the other warnings.

    What is accepted keeps its severity and stops nothing.
    """
    return tuple(_applied(policy, finding) for finding in findings)


def _applied(policy: Policy, finding: Finding) -> Finding:
    reason = next((one.reason for one in policy.ignores if matches(one, finding)), None)
    if reason is not None:
        return replace(finding, accepted=reason)
    if policy.strict and finding.severity == "warning" and finding.accepted is None:
        return replace(finding, severity="error")
    return finding


def matches(ignore: Ignore, finding: Finding) -> bool:
    """Tell whether an ignore is for this finding: by its subject, or by its distribution."""
    if ignore.code != finding.code:
        return False
    subjects = {finding.subject, *finding.chain[-1:]}
    names = {canonicalize_name(subject) for subject in subjects}
    return ignore.subject in {EVERYTHING, *subjects} or canonicalize_name(ignore.subject) in names


def stops(policy: Policy, findings: Iterable[Finding]) -> bool:
    """Tell whether findings stop the emission, of what `apply` returned."""
    stopping = ("error", "warning") if policy.strict else ("error",)
    return any(finding.accepted is None and finding.severity in stopping for finding in findings)


def unused(policy: Policy, findings: Sequence[Finding]) -> tuple[Ignore, ...]:
    """Return the ignores that match no finding."""
    return tuple(
        ignore for ignore in policy.ignores if not any(matches(ignore, finding) for finding in findings)
    )
