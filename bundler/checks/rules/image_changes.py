"""EB4xx: what the bundle, standing before the image's own distributions, does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bundler.model import Finding, Lock, Target

CODES = ("EB404", "EB405")
KNOWN = (("flask", "<2.2.4", "werkzeug", ">=3", "cannot import name 'url_quote' from 'werkzeug.urls'"),)
"""(of the image, its versions, of the bundle, its versions, what happens): what no requirement states."""


def changes(
    lock: Lock,
    target: Target,
    *,
    distributions: Mapping[str, str],
    requires: Mapping[str, Sequence[str]],
) -> tuple[Finding, ...]:
    """Compare the bundle with what an image has installed (EB404, EB405).

    What the bundle brings comes first, so the image's distributions run with the bundle's versions. A
    requirement of the image that was met and is not any more is an error. Another major version, or an
    older one, than a distribution of the image was installed with is a warning; any other change is
    what the bundle was made for.

    :param distributions: of the image: normalised name → version.
    :param requires: of the image: normalised name → its Requires-Dist lines.
    """
    brought = {dist.name: dist.version for dist in lock.distributions}
    users: dict[str, list[str]] = {}  # who of the image requires what the bundle brings
    findings = []
    for owner in sorted(set(distributions) - set(brought)):
        for text in requires.get(owner, ()):
            requirement = _applying(text, target)
            if requirement is None:
                continue
            name = canonicalize_name(requirement.name)
            if name not in brought or brought[name] == distributions.get(name):
                continue
            users.setdefault(name, []).append(owner)
            if _met(requirement.specifier, brought[name]):
                continue
            had = distributions.get(name)
            if had is not None and not _met(requirement.specifier, had):
                continue  # it was not met before, and the image runs
            cause = (
                f"the image's {owner} {distributions[owner]} requires {name}{requirement.specifier}, "
                f"and the bundle puts {name} {brought[name]} before the image's {had or 'none'}"
            )
            remedy = f"pin {name}{requirement.specifier}, or bring an own {owner} that fits"
            findings.append(finding("EB404", subject=name, cause=cause, remedy=remedy, lock=lock))
    broken = {one.subject for one in findings}
    for changed in sorted(set(brought) & set(distributions) - broken):
        one = _changed(lock, changed, brought[changed], users.get(changed, []), distributions)
        findings += [one] if one else []
    return tuple(findings)


def _changed(
    lock: Lock, name: str, version: str, users: Sequence[str], distributions: Mapping[str, str]
) -> Finding | None:
    had = distributions[name]
    if version == had:
        return None
    cause = f"the image has {name} {had}, the bundle puts {version} before it"
    for owner, owners, subject, versions, effect in KNOWN:
        known = subject == name and owner in users and _met(SpecifierSet(versions), version)
        if known and _met(SpecifierSet(owners), distributions[owner]):
            cause += f"; the image's {owner} {distributions[owner]} then fails: {effect}"
            remedy = f"pin {name}=={had}, or bring a {owner} that fits"
            return finding("EB404", subject=name, cause=cause, remedy=remedy, lock=lock)
    if users and _grave(had, version):
        cause += f"; the image's {', '.join(users)} was installed with the former"
        return finding("EB405", subject=name, cause=cause, lock=lock)
    return finding("EB405", subject=name, cause=cause, remedy="Nothing.", lock=lock, severity="info")


def _grave(had: str, version: str) -> bool:
    try:
        before, after = Version(had), Version(version)
    except InvalidVersion:
        return True
    return after < before or after.release[:1] != before.release[:1]


def _applying(text: str, target: Target) -> Requirement | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if requirement.marker and not requirement.marker.evaluate({**target.markers, "extra": ""}):
        return None
    return requirement


def _met(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True
