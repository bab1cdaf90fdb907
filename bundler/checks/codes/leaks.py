"""EB1xx: what leaks in from the builder."""

from __future__ import annotations

from bundler.checks.codes.code import REBUILD, Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB101",
        severity="error",
        title="a distribution of the lock is not installed",
        cause="The installation took it for satisfied by something outside of the bundle, or lost it.",
        remedy=REBUILD,
    ),
    Code(
        code="EB102",
        severity="error",
        title="a distribution is installed that is not in the lock",
        cause="Something got into the environment besides what was resolved.",
        remedy=REBUILD,
    ),
    Code(
        code="EB103",
        severity="error",
        title="a distribution is installed in another version than the lock says",
        cause="It was resolved twice with two answers, or its file does not hold what its name says.",
        remedy="Create the bundle again, or pin another version of it.",
    ),
    Code(
        code="EB104",
        severity="error",
        title="the environment was not empty before the installation",
        cause="What is there already counts as installed, and is missing in the bundle.",
        remedy="Use an interpreter that creates empty environments (`envbundle doctor`).",
    ),
    Code(
        code="EB105",
        severity="error",
        title="a file belongs to no distribution",
        cause="No RECORD lists it, so nobody knows where it came from.",
        remedy=REBUILD,
    ),
    Code(
        code="EB106",
        severity="error",
        title="an installation that is not a wheel's",
        cause="Editable installs, eggs and leftovers of a broken removal lead out of it, or are half.",
        remedy="Give the project as a path or a wheel, not as an editable one.",
    ),
    Code(
        code="EB107",
        severity="error",
        title="the metadata of a distribution is missing, doubled or contradicts itself",
        cause="Tools and packages that ask for their own version get a wrong answer, or an exception.",
        remedy="Choose another release of it; this one's wheel is damaged.",
    ),
    Code(
        code="EB110",
        severity="error",
        title="code was loaded from outside of the bundle",
        cause="While everything was imported, a module or shared object came from a place that "
        "is neither the bundle, nor the standard library, nor a system library. The image lacks it.",
        remedy="Require the distribution that brings it, or one that does not reach for it.",
    ),
)
