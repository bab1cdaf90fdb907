"""What the caller decides about findings, as a pure function and through `create`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bundler.checks import policy
from bundler.checks.rules.codes import CODES, finding, outcomes
from bundler.errors import InputError, ProofError
from bundler.model import Finding, Ignore, Policy
from bundler.system.process import clean_environment, run

from tests.support.wheelmaker import make_wheel, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import Severity

    from tests.support.command import Command

# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EB204", ("EB204", "*", "")),
        ("eb204:alpha", ("EB204", "alpha", "")),
        ("EB204:alpha=we live without", ("EB204", "alpha", "we live without")),
        ("EB204=a reason: with = and :", ("EB204", "*", "a reason: with = and :")),
        ("EB104:pip==24.0=seeded", ("EB104", "pip==24.0", "seeded")),
        ("EB105:lib/a b.py = why ", ("EB105", "lib/a b.py", "why")),
        ("EB205:requests[sockz]", ("EB205", "requests[sockz]", "")),
        (" EB204 : alpha ", ("EB204", "alpha", "")),
    ],
)
def test_ignore_is_read(text: str, expected: tuple[str, str, str]) -> None:
    code, subject, reason = expected
    assert policy.parse_ignore(text, known=CODES) == Ignore(code=code, subject=subject, reason=reason)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("EB024:alpha", "'EB024' is no check code", "EB204"),
        ("EB2O4", "'EB2O4' is no check code", "did you mean EB"),
        ("nonsense", "'nonsense' is no check code", "explain --list"),
        ("", "''", "CODE:subject"),
        ("EB204:", "no subject", "CODE:subject"),
        ("EB204:=reason", "no subject", "CODE:subject"),
        (":alpha", "':alpha'", "CODE:subject"),
    ],
)
def test_ignore_that_cannot_be_meant(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        policy.parse_ignore(text, known=CODES)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("libgomp.so.1", True),
        ("libstdc++.so.6", True),
        ("libfoo.so", True),
        ("libpython3.8.so.1.0", True),
        ("libgomp", False),
        ("/usr/lib/libgomp.so.1", False),
        ("../libgomp.so.1", False),
        ("", False),
    ],
)
def test_library_is_a_soname(text: str, *, sound: bool) -> None:
    if sound:
        assert policy.parse_library(text) == text
    else:
        with pytest.raises(InputError, match="no name of a shared library"):
            policy.parse_library(text)


# --- judging --------------------------------------------------------------------------------------


def said(
    code: str,
    subject: str,
    severity: Severity = "error",
    chain: tuple[str, ...] = (),
    *,
    by: str | None = None,
) -> Finding:
    return Finding(
        code=code, severity=severity, subject=subject, cause="c", remedy="r", chain=chain, accepted=by
    )


@pytest.mark.parametrize(
    ("ignore", "found", "matched"),
    [
        ("EB201", said("EB201", "alpha.part"), True),
        ("EB202", said("EB201", "alpha.part"), False),
        ("EB201:alpha.part", said("EB201", "alpha.part"), True),
        ("EB201:Alpha_Dist", said("EB201", "alpha.part", chain=("top", "alpha-dist")), True),
        ("EB201:top", said("EB201", "alpha.part", chain=("top", "alpha-dist")), False),
        ("EB201:alpha", said("EB201", "alpha.part"), False),
        ("EB105:lib/a.py", said("EB105", "lib/a.py"), True),
        ("EB105:lib", said("EB105", "lib/a.py"), False),
    ],
)
def test_ignore_means_a_subject_or_its_distribution(ignore: str, found: Finding, *, matched: bool) -> None:
    rule = Policy(ignores=(policy.parse_ignore(f"{ignore}=known", known=CODES),))
    (judged,) = policy.apply(rule, [found])
    assert judged.accepted == ("known" if matched else None)
    assert judged.severity == found.severity
    assert policy.stops(rule, [judged]) is not matched
    assert policy.unused(rule, [judged]) == (() if matched else rule.ignores)


@pytest.mark.parametrize(
    ("severity", "strict", "ignored", "expected"),
    [
        ("error", False, False, ("error", True)),
        ("error", False, True, ("error", False)),
        ("warning", False, False, ("warning", False)),
        ("warning", True, False, ("error", True)),
        ("warning", True, True, ("warning", False)),
        ("info", True, False, ("info", False)),
    ],
)
def test_what_stops(
    severity: Severity,
    expected: tuple[str, bool],
    *,
    strict: bool,
    ignored: bool,
) -> None:
    ignores = (Ignore(code="EB204", subject="alpha"),) if ignored else ()
    rule = Policy(strict=strict, ignores=ignores)
    judged = policy.apply(rule, [said("EB204", "alpha", severity)])
    assert (judged[0].severity, policy.stops(rule, judged)) == expected
    assert judged[0].accepted == ("" if ignored else None)


def test_accepted_error_is_a_warning_among_the_checks() -> None:
    found = [said("EB204", "alpha", by=""), said("EB201", "beta"), said("EB205", "x", "info", by="")]
    rows = {one.code: one.outcome for one in outcomes(["EB101", "EB205"], found)}
    assert rows == {"EB101": "passed", "EB201": "failed", "EB204": "warned", "EB205": "passed"}


def test_error_counts_what_stops() -> None:
    error = ProofError(
        [said("EB201", "a"), said("EB204", "b", by="known"), finding("EB105", subject="c", cause="c")]
    )
    assert "2 findings of severity error" in error.message
    assert "explain EB201" in (error.hint or "")


# --- through `create` -----------------------------------------------------------------------------


def create(envbundle: Command, wheels: Path, *words: str) -> tuple[int, dict[str, object], str]:
    done = envbundle(
        "create", "alpha", "--python", "3.8", "-o", "out", "--json", *words, *envbundle.offline(wheels)
    )
    return done.code, done.json(), done.stderr


@pytest.fixture
def broken(wheels: Path) -> Path:
    """Two distributions that do not import; alpha has another broken module, which nothing imports."""
    make_wheel(wheels, "alpha", files={"alpha.py": "import nowhere\n", "beta.py": "print(x)\n"})
    make_wheel(wheels, "gamma", files={"gamma.py": "1 / 0\n"})
    return wheels


@pytest.mark.thorough
def test_errors_come_all_at_once_and_stop(envbundle: Command, broken: Path, tmp_path: Path) -> None:
    code, result, stderr = create(envbundle, broken, "gamma")
    assert (code, result["ok"]) == (1, False)
    findings = result["findings"]
    assert isinstance(findings, list)
    assert [
        (one["code"], one["subject"], one["accepted"]) for one in findings if one["severity"] == "error"
    ] == [
        ("EB201", "alpha", None),
        ("EB201", "gamma", None),
    ]
    order = [one["severity"] for one in findings]
    assert order == sorted(order, key=["error", "warning", "info"].index)
    assert "error EB201 alpha" in stderr
    assert "error EB201 gamma" in stderr
    assert "warning EB201 beta" in stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_accepted_errors_stop_nothing_and_are_written_down(
    envbundle: Command, broken: Path, tmp_path: Path
) -> None:
    ignored = [
        "--ignore",
        "EB201:alpha=only on Windows",
        "--ignore",
        "EB201:gamma",
        "--ignore",
        "EB401:gamma",
    ]
    code, result, stderr = create(envbundle, broken, "gamma", *ignored)
    assert (code, result["ok"]) == (0, True), stderr
    assert "no finding is what --ignore says: EB401:gamma" in stderr
    assert "error EB201 alpha, accepted: only on Windows" in stderr
    written = json.loads((tmp_path / "out/manifest.json").read_text())
    found = [one for one in written["findings"] if one["code"] == "EB201"]
    accepted = [(one["severity"], one["subject"], one["accepted"]) for one in found]
    assert accepted == [
        ("error", "alpha", "only on Windows"),
        ("error", "gamma", ""),
        ("warning", "beta", "only on Windows"),
    ]
    assert {"code": "EB201", "outcome": "warned"} in written["checks"]
    again = envbundle("verify", "out", "--json")
    assert again.code == 0, again.stderr


@pytest.mark.thorough
def test_what_was_accepted_is_accepted_still_by_verify(
    envbundle: Command, wheels: Path, tmp_path: Path
) -> None:
    wheel = make_wheel(wheels, "alpha", requires=["absent"])
    (tmp_path / "alpha.lock").write_text(f"alpha==1.0 --hash=sha256:{sha256(wheel)}\n")
    words = ["create", "--lock", "alpha.lock", "--python", "3.8", "-o", "out", *envbundle.offline(wheels)]
    assert envbundle(*words).code == 1
    assert envbundle(*words, "--ignore", "EB204:alpha=never used").code == 0
    done = envbundle("verify", "out", "--json")
    errors = [one for one in done.json()["findings"] if one["severity"] == "error"]
    assert (done.code, [(one["code"], one["accepted"]) for one in errors]) == (0, [("EB204", "never used")])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "code", "stopping"),
    [
        ([], 0, []),
        (["--strict"], 1, ["EB502"]),
        (["--strict", "--ignore", "EB502:alpha"], 0, []),
        (["--deny-licence", "gpl"], 1, ["EB606"]),
        (["--deny-licence", "MIT"], 0, []),
    ],
)
def test_strict_and_denied_licences(
    envbundle: Command, wheels: Path, words: list[str], code: int, stopping: list[str]
) -> None:
    files = {"alpha.py": "", "alpha-1.0.data/data/share/alpha/alpha.conf": "x"}
    make_wheel(wheels, "alpha", files=files, metadata="License: GPLv3\n")
    done, result, stderr = create(envbundle, wheels, *words)
    findings = result["findings"]
    assert isinstance(findings, list)
    errors = [one["code"] for one in findings if one["severity"] == "error"]
    assert (done, errors) == (code, stopping), stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ignore", "EB999"], "'EB999' is no check code"),
        (["--assume-lib", "gomp"], "no name of a shared library"),
    ],
)
def test_wrong_options(envbundle: Command, wheels: Path, words: list[str], message: str) -> None:
    code, result, stderr = create(envbundle, wheels, *words)
    assert (code, result["ok"], message in stderr) == (2, False, True)


@pytest.mark.thorough
def test_assumed_library_is_looked_for_on_the_target(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    make_wheel(wheels, "alpha")
    code, _, stderr = create(envbundle, wheels, "--assume-lib", "libc.so.6", "--assume-lib", "libabsent.so.7")
    assert code == 0, stderr
    written = json.loads((tmp_path / "out/manifest.json").read_text())
    assert written["assumed_libraries"] == ["libabsent.so.7", "libc.so.6"]
    done = envbundle("verify", "out", "--json")
    found = done.json()["findings"]
    rows = [(one["code"], one["severity"], one["subject"]) for one in found if one["severity"] != "info"]
    assert (done.code, rows) == (0, [("EB363", "warning", "libabsent.so.7")]), "this is not the image"
    there = run(
        [python38, tmp_path / "out/verify.py", "--json"], env=clean_environment(home=tmp_path), check=False
    )
    found = [(one["code"], one["severity"], one["subject"]) for one in json.loads(there.stdout)["findings"]]
    assert (there.returncode, found) == (1, [("EB363", "error", "libabsent.so.7")])
