"""Judges one set: what envbundle says of it, and what is true."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bundler.errors import CommandError
from bundler.system import process

from scripts.truth_method import bare_root, installing, trial

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.model import Interpreter

    from scripts.truth_method.bare_root import BareRoot
    from scripts.truth_method.real_sets import RealSet

TIMEOUT = 1500.0
RIGHT_YES, RIGHT_NO, MISS = "right yes", "right no", "MISS"
FALSE_REFUSAL, FAILURE, BROKEN = "FALSE REFUSAL", "FALSE FAILURE", "BROKEN"
OTHER_REASON = "OTHER REASON"
JUDGEMENTS = (RIGHT_YES, RIGHT_NO, MISS, FALSE_REFUSAL, FAILURE, OTHER_REASON, BROKEN)
"""In the order of the table. Exit code 2 or 3 is a false failure where pip installs what works, and has
another reason where pip installs something that fails."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What `envbundle create` said of a set."""

    code: int | None
    """Its exit code; none when it did not end in time."""
    seconds: float
    message: str = ""
    hint: str = ""
    findings: tuple[dict[str, Any], ...] = ()
    """Those of severity error and warning: code, severity, subject, cause, remedy."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a folder of packages does in the bare root."""

    works: bool
    tree: str
    """`bundle`: what envbundle emitted; `pip`: what the target's own pip installed."""
    root: str
    """Debian's suite."""
    installed: bool = True
    pip: tuple[str, ...] = ()
    """The end of what pip said, where it failed."""
    failed: tuple[trial.Step, ...] = ()
    tried: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A set with both, and what follows."""

    id: str
    tool: str
    """A digest of the code that was judged."""
    digest: str
    """Of the set."""
    said: Said
    truth: Truth

    @property
    def judgement(self) -> str:
        """What the two make together, one of `JUDGEMENTS`."""
        return judgement(self.said.code, works=self.truth.works, installed=self.truth.installed)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "judgement": self.judgement}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where judging works, and with what."""

    work: Path
    cache: Path
    """The bare roots."""
    results: Path
    env: Mapping[str, str]
    tool: str
    fresh: bool = False
    """Try again what pip's tree does, even where that is known."""
    keep: bool = False


def judge(one: RealSet, *, interpreter: Interpreter, place: Place) -> Judged:
    """Judge a set and clean up behind it."""
    root = bare_root.obtain(interpreter, cache=place.cache)
    folder = place.work / one.id
    bundle, prefix = folder / "bundle", folder / "prefix"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        said = _ask(one, into=bundle, place=place)
        if said.code == 0:
            started = time.monotonic()
            truth = _truth(
                one, bundle, "bundle", root=root, interpreter=interpreter, place=place, started=started
            )
        else:
            truth = _truth_of_pip(one, prefix, root=root, interpreter=interpreter, place=place)
    finally:
        if not place.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return Judged(id=one.id, tool=place.tool, digest=one.digest, said=said, truth=truth)


def judgement(code: int | None, *, works: bool, installed: bool = True) -> str:
    """Compare an exit code of `envbundle create` with the truth."""
    if code == 0:
        return RIGHT_YES if works else MISS
    if code not in (1, 2, 3):
        return BROKEN
    if code == 1:
        return FALSE_REFUSAL if works else RIGHT_NO
    if works:
        return FAILURE
    return OTHER_REASON if installed else RIGHT_NO


def _ask(one: RealSet, *, into: Path, place: Place) -> Said:
    shutil.rmtree(into, ignore_errors=True)
    words: list[str | Path] = [
        *installing.tool_words(),
        "create",
        "-r",
        one.requirements,
        "--python",
        one.python,
        "-o",
        into,
        "--json",
    ]
    words += ["--cache-dir", place.work / "store"]
    started = time.monotonic()
    try:
        done = process.run(words, env=place.env, timeout=TIMEOUT, check=False, cwd=place.work)
    except CommandError as slow:
        return Said(code=None, seconds=time.monotonic() - started, message=slow.message)
    took = time.monotonic() - started
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return Said(code=done.returncode, seconds=took, message=done.stderr[-2000:])
    error = document.get("error") or {}
    kept = [
        {name: row.get(name) for name in ("code", "severity", "subject", "cause", "remedy")}
        for row in document.get("findings", ())
        if row["severity"] != "info"
    ]
    return Said(
        code=done.returncode,
        seconds=round(took, 1),
        message=error.get("message", ""),
        hint=error.get("hint") or "",
        findings=tuple(kept),
    )


def _truth(
    one: RealSet,
    tree: Path,
    kind: str,
    *,
    root: BareRoot,
    interpreter: Interpreter,
    place: Place,
    started: float,
) -> Truth:
    site = f"lib/python{interpreter.minor}/site-packages"
    (tree / site).mkdir(parents=True, exist_ok=True)
    todo = trial.steps(one.requirements, one.use, site=tree / site, environment=interpreter.markers)
    done = [trial.attempt(step, root=root, tree=tree, site=site, env=place.env) for step in todo]
    failed = tuple(step for step in done if not step.works and not trial.passed_over(step, site=tree / site))
    return Truth(
        works=not failed,
        tree=kind,
        root=root.root.name,
        failed=failed,
        tried=len(done),
        seconds=round(time.monotonic() - started, 1),
    )


def _truth_of_pip(
    one: RealSet, prefix: Path, *, root: BareRoot, interpreter: Interpreter, place: Place
) -> Truth:
    """What the target's own pip makes of the set; kept, because it does not depend on envbundle."""
    kept = place.results / "pip" / f"{one.id}.json"
    if not place.fresh and kept.exists():
        document = json.loads(kept.read_text(encoding="utf-8"))
        if document["digest"] == one.digest:
            return read_truth(document["truth"])
    started = time.monotonic()
    glibc = bare_root.GLIBC[root.root.name]
    done = installing.install(
        one.requirements, prefix, interpreter=interpreter, glibc=glibc, work=place.work, env=place.env
    )
    if done.ok:
        truth = _truth(one, prefix, "pip", root=root, interpreter=interpreter, place=place, started=started)
    else:
        took = round(time.monotonic() - started, 1)
        truth = Truth(
            works=False, tree="pip", root=root.root.name, installed=False, pip=done.said, seconds=took
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    document = {"digest": one.digest, "truth": asdict(truth)}
    kept.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return truth


def read_truth(document: dict[str, Any]) -> Truth:
    """Return a truth that was written as JSON."""
    steps = tuple(trial.Step(**{**row, "traceback": tuple(row["traceback"])}) for row in document["failed"])
    return Truth(**{**document, "failed": steps, "pip": tuple(document["pip"])})


def read(path: Path) -> Judged:
    """Return a result that was written as JSON."""
    document = json.loads(path.read_text(encoding="utf-8"))
    document.pop("judgement")
    said = Said(**{**document["said"], "findings": tuple(document["said"]["findings"])})
    return Judged(**{**document, "said": said, "truth": read_truth(document["truth"])})
