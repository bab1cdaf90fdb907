"""JUnit XML, which every CI server shows: a test case for each bundle.

There is no standard. Jenkins, GitLab, Azure Pipelines and GitHub Actions all read this part of
https://github.com/jenkinsci/xunit-plugin (junit-10.xsd). A bundle that failed its proof is a failure, and one
that could not be made is an error.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from bundler.rebuild.outcome import Outcome
from bundler.report.pages.changes import versions

SUITE = "envbundle rebuild"
# XML 1.0 has no way to write these characters (https://www.w3.org/TR/xml/#charsets).
_NO_CHARACTER = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(outcomes: Sequence[Outcome], *, seconds: float, started: str) -> str:
    """Return the text of a JUnit XML file.

    :param seconds: of the whole run.
    :param started: when it began, ISO 8601.
    """
    counts = {
        "tests": len(outcomes),
        "failures": sum(1 for one in outcomes if one.state == "not-proved"),
        "errors": sum(1 for one in outcomes if one.state == "failed"),
        "skipped": sum(1 for one in outcomes if one.state == "skipped"),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    top = ET.Element("testsuites", {"name": SUITE, **numbers, "time": f"{seconds:.3f}"})
    moment = started.removesuffix("Z").removesuffix("+00:00")
    suite = ET.SubElement(
        top, "testsuite", {"name": SUITE, **numbers, "time": f"{seconds:.3f}", "timestamp": moment}
    )
    for one in outcomes:
        _case(suite, one)
    ET.indent(top)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(top, encoding="unicode")}\n'


def _case(suite: ET.Element, outcome: Outcome) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": _text(outcome.bundle),
            "name": _text(outcome.name),
            "time": f"{outcome.seconds:.3f}",
        },
    )
    if outcome.state == "skipped":
        ET.SubElement(case, "skipped", {"message": _text(outcome.reason or "not done")})
    elif not outcome.ok:
        lines = [outcome.error or "", *([f"hint: {outcome.hint}"] if outcome.hint else [])]
        for finding in outcome.findings:
            if finding.accepted is None and finding.severity != "info":
                lines.append(f"{finding.severity} {finding.code} {finding.subject}: {finding.cause}")
                lines.append(f"  remedy: {finding.remedy}")
        kind = "failure" if outcome.state == "not-proved" else "error"
        message = (outcome.error or "").splitlines()
        problem = ET.SubElement(
            case, kind, {"type": outcome.state, "message": _text(message[0] if message else "")}
        )
        problem.text = _text("\n".join([*lines, f"at {outcome.place}"]))
    words = f"{outcome.state}: {outcome.reason}" if outcome.reason else outcome.state
    changed = versions(outcome.changes) if outcome.changes else ()
    ET.SubElement(case, "system-out").text = _text("\n".join([words, *changed]))


def _text(value: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", value)
