"""What a run leaves for people and machines: summary.json and JUnit XML."""

from __future__ import annotations

import json
import pickle
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bundler
import jsonschema
import pytest
from bundler import formats
from bundler.model import Finding
from bundler.rebuild import junit, summary
from bundler.rebuild.outcome import STATES, Outcome, as_json
from bundler.rebuild.record import Archive
from bundler.rebuild.summary import Run
from bundler.report.compare.compare import compare
from bundler.report.compare.sides import of_lock

from tests.support.bundlemaker import lock, locked

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundler.report.compare.difference import Difference

SCHEMA = json.loads((Path(bundler.__file__).parent / "rebuild" / "summary.schema.json").read_text())
HOSTILE = "<&>\"' ]]> \x00\x08\x1b[31m \ud800 \ufffe ≤ 🎁"


def finding(severity: str = "error", **changes: Any) -> Finding:
    return Finding(
        code="EB204", severity=severity, subject="six", cause="it does not import", remedy="pin it",  # type: ignore[arg-type]  # of the table
        chain=("web", "six"), **changes,
    )  # fmt: skip


def difference() -> Difference:
    old, new = (of_lock(lock(locked("six", version)), name=version) for version in ("1.0", "2.0"))
    return compare(old, new)


PLAIN = Outcome(name="web-py38", bundle="web", place="envbundle.toml:7", state="unchanged", build="0" * 16)
OUTCOMES: dict[str, Outcome] = {
    "unchanged": PLAIN,
    "built": replace(
        PLAIN,
        state="built",
        previous="1" * 16,
        reason="the lock changed",
        changes=difference(),
        digest="2" * 64,
        size=10,
        files=2,
        seconds=1.25,
        findings=(finding("warning", accepted="known"),),
        not_isolated=("no-network", "moved"),
        archives=(Archive(kind="oci", name=f"{'0' * 16}.oci", sha256="3" * 64, size=7),),
        published="s3://bundles/web-py38/builds/0",
    ),
    "would-build": replace(PLAIN, state="would-build", reason="there is no current build", build=None),
    "not-proved": replace(
        PLAIN, state="not-proved", exit_code=1, error="not proved", hint="explain", findings=(finding(),)
    ),
    "failed": replace(PLAIN, state="failed", exit_code=2, error=f"no\nsix {HOSTILE}", hint="pin"),
    "skipped": replace(PLAIN, state="skipped"),
}


def run(*outcomes: Outcome, **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "file": "envbundle.toml", "mode": "rebuild", "started": "2026-01-31T02:00:00Z", "seconds": 1.5,
    }  # fmt: skip
    return Run(**{**fields, **changes}, outcomes=outcomes)


def test_every_state_has_an_example() -> None:
    assert tuple(OUTCOMES) == STATES
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("state", OUTCOMES)
def test_an_outcome_travels(state: str) -> None:
    outcome = OUTCOMES[state]
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    row = json.loads(json.dumps(as_json(outcome)))
    jsonschema.validate(row, {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/bundle"})


def test_every_archive_is_in_the_schema() -> None:
    assert SCHEMA["$defs"]["archive"]["properties"]["kind"]["enum"] == list(formats.NAMES[1:])


def test_schema() -> None:
    content = summary.document(run(*OUTCOMES.values(), shard=(2, 4), only=("web*",)))
    content = json.loads(json.dumps(content))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(content)
    assert content["counts"] == dict.fromkeys(STATES, 1)
    assert (content["ok"], content["exit_code"], content["shard"]) == (False, 1, "2/4")
    for planted in (
        {**content, "more": 1},
        {**content, "bundles": [{**content["bundles"][0], "state": "gone"}]},
        {**content, "bundles": [{**content["bundles"][0], "build": "../x"}]},
        {**content, "bundles": [{**content["bundles"][0], "isolation_warning": {"lacking": []}}]},
        {**content, "counts": {**content["counts"], "lost": 1}},
    ):
        assert not validator.is_valid(planted)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], 0),
        (["unchanged", "built", "would-build", "skipped"], 0),
        (["built", "failed"], 2),
        (["failed", "machine", "built"], 3),
        (["failed", "not-proved", "machine", "unchanged"], 1),
        (["machine", "not-proved", "bug", "failed"], 4),
    ],
)
def test_exit_code(states: list[str], code: int) -> None:
    failed = OUTCOMES["failed"]
    every = {**OUTCOMES, "machine": replace(failed, exit_code=3), "bug": replace(failed, exit_code=4)}
    assert run(*(every[state] for state in states)).exit_code == code


KNOWN: dict[str, tuple[list[Outcome], dict[str, Any], bool]] = {
    "the same": ([PLAIN], {}, True),
    "built": ([OUTCOMES["built"]], {}, False),
    "failed": ([OUTCOMES["failed"]], {}, False),
    "another build": ([replace(PLAIN, build="9" * 16)], {}, False),
    "published since": ([replace(PLAIN, published="s3://x")], {}, False),
    "another bundle": ([replace(PLAIN, name="more-py38")], {}, False),
    "one bundle less": ([], {}, False),
    "one bundle of several": ([PLAIN], {"only": ("web",)}, True),
    "a look": ([OUTCOMES["failed"]], {"mode": "locked"}, True),
    "a dry run": ([OUTCOMES["would-build"]], {"mode": "dry-run"}, True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_is_written_where_all_is_known(tmp_path: Path, name: str) -> None:
    outcomes, changes, known = KNOWN[name]
    summary.write(run(PLAIN), output=tmp_path, wanted={})
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert before.keys() == {"summary.json", "report.html", "junit.xml"}
    summary.write(run(*outcomes, **changes), output=tmp_path, wanted={})
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert (after == before) is known


def test_what_a_killed_run_began_to_write_goes(tmp_path: Path) -> None:
    (tmp_path / ".summary.json-ab12cd34.envbundle").touch()
    (tmp_path / ".notes-ab12cd34").touch()
    summary.write(run(PLAIN), output=tmp_path, wanted={})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"summary.json", "report.html", "junit.xml", ".notes-ab12cd34"}


def test_a_failure_is_not_known(tmp_path: Path) -> None:
    """What was broken and is whole again must not be told as broken for ever."""
    summary.write(run(OUTCOMES["failed"]), output=tmp_path, wanted={})
    summary.write(run(PLAIN), output=tmp_path, wanted={})
    assert json.loads((tmp_path / "summary.json").read_text())["ok"]


@pytest.mark.parametrize("content", ["", "[]", '{"bundles": [1]}', '{"bundles": [{"name": "web-py38"}]}'])
def test_a_summary_of_anybody(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    summary.write(run(PLAIN), output=tmp_path, wanted={})
    assert json.loads((tmp_path / "summary.json").read_text())["ok"]


# What junit-10.xsd of Jenkins' xunit plugin allows, of the elements that are written.
SHAPE: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name"}, {"time", "tests", "failures", "errors", "disabled", "skipped"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package"},
        {"testcase", "properties", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "classname"},
        {"time", "status", "file"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def check_shape(element: ET.Element) -> None:
    needed, allowed, children = SHAPE[element.tag]
    assert needed <= set(element.keys()) <= needed | allowed, element.attrib
    assert {child.tag for child in element} <= children
    for child in element:
        check_shape(child)


def test_junit() -> None:
    text = junit.render(list(OUTCOMES.values()), seconds=2.5, started="2026-01-31T02:00:00Z")
    top = ET.fromstring(text)
    check_shape(top)
    [suite] = top
    assert suite.attrib["timestamp"] == "2026-01-31T02:00:00"
    counts = {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "1", "errors": "1", "skipped": "1"}
    assert [[child.tag for child in case] for case in suite] == [
        ["system-out"], ["system-out"], ["system-out"], ["failure", "system-out"],
        ["error", "system-out"], ["skipped", "system-out"],
    ]  # fmt: skip
    built, failure, error = suite[1], suite[3][0], suite[4][0]
    assert built.attrib == {"classname": "web", "name": "web-py38", "time": "1.250"}
    assert "six 1.0 → 2.0" in (built[0].text or "")
    assert "error EB204 six: it does not import\n  remedy: pin it" in (failure.text or "")
    assert failure.attrib["message"] == "not proved"
    assert error.attrib["message"] == "no"


@pytest.mark.parametrize(
    ("character", "kept"), [("\x00", False), ("\x1b", False), ("\ud800", False), ("\ufffe", False),
                            ("<", True), ("&", True), ("🎁", True), ("\t", True)],
)  # fmt: skip
def test_junit_of_hostile_characters(character: str, *, kept: bool) -> None:
    hostile = replace(
        OUTCOMES["failed"], name=f"a{character}b", error=f"a{character}b", hint=character,
        findings=(replace(finding(), cause=f"a{character}b"),),
    )  # fmt: skip
    text = junit.render([hostile], seconds=0, started="2026-01-31T02:00:00Z")
    case = ET.fromstring(text.encode("utf-8"))[0][0]
    seen = f"a{character}b" if kept else "a\ufffdb"
    assert seen in (case[0].text or "")
    if character != "\t":  # an attribute's tab is a space to every reader
        assert case.attrib["name"] == case[0].attrib["message"] == seen


def test_report_links_to_those_of_the_bundles(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "web-py38"
    page = folder / "builds" / f"{'0' * 16}.html"
    page.parent.mkdir(parents=True)
    made = run(PLAIN, folders={"web-py38": folder})
    links: list[tuple[Callable[[], object], bool]] = [(page.touch, True), (page.unlink, False)]
    for change, linked in links:
        change()
        summary.write(made, output=tmp_path, wanted={"report": tmp_path / "r.html"})
        text = (tmp_path / "r.html").read_text()
        assert (f'href="out/web-py38/builds/{"0" * 16}.html"' in text) is linked
