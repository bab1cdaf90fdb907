"""Findings that have one cause are one; those that only look alike stay apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.checks.rules import root_causes
from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from bundler.model import Finding, Severity


def lacks(library: str, package: str, name: str = "opencv-python", severity: Severity = "error") -> Finding:
    return finding(
        "EB303",
        subject=name,
        cause=f"cv2.so needs {library}, which is neither in the bundle nor in every image",
        remedy=f"use opencv-python-headless, or install {package} in the image; "
        f"if the image has it: --assume-lib {library}",
        severity=severity,
    )


def fails(module: str, last: str, severity: Severity = "error") -> Finding:
    cause = f"{module} is asked for, and does not import:\nImportError: {last}\nthe same stops: another"
    return finding("EB201", subject=module, cause=cause, severity=severity)


GL = "libGL.so.1: cannot open shared object file: No such file or directory"


def test_the_libraries_of_one_distribution_are_one_finding() -> None:
    both = [lacks("libSM.so.6", "libsm6"), lacks("libICE.so.6", "libice6"), lacks("libGL.so.1", "libgl1")]
    (one,) = root_causes.merged(both)
    assert (one.code, one.severity, one.subject) == ("EB303", "error", "opencv-python")
    assert one.cause.splitlines()[0] == "3 libraries are missing:"
    assert all(same.cause in one.cause for same in both)
    assert one.remedy == (
        "use opencv-python-headless, or install libsm6 libice6 libgl1 in the image; "
        "if the image has them: --assume-lib libSM.so.6 --assume-lib libICE.so.6 --assume-lib libGL.so.1"
    )


def test_an_import_that_fails_for_want_of_such_a_library_is_part_of_it() -> None:
    (one,) = root_causes.merged([fails("cv2", GL), lacks("libGL.so.1", "libgl1")])
    assert one.code == "EB303"
    assert one.cause.endswith(f"so cv2 does not import: ImportError: {GL}")


def test_what_has_another_cause_stays() -> None:
    apart = (
        fails("flask", "cannot import name 'escape' from 'jinja2'"),
        fails("other", "libfoo.so.1: cannot open shared object file: No such file or directory"),
        fails("quiet", GL, severity="warning"),
        lacks("libGL.so.1", "libgl1", severity="warning"),
        lacks("libSM.so.6", "libsm6"),
        lacks("libSM.so.6", "libsm6", name="other"),
    )
    assert root_causes.merged(apart) == apart
    # A warning about the library is not why an error is one.
    wrong = (fails("cv2", GL), lacks("libGL.so.1", "libgl1", severity="warning"))
    assert root_causes.merged(wrong) == wrong
