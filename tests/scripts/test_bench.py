"""`scripts/bench`: its arithmetic, what it writes, and how it measures; nothing is installed here."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scripts.benchmark import (
    goals,
    growth,
    main,
    measure,
    ours,
    peers,
    prepare,
    rows,
    session,
    world,
)
from scripts.benchmark.measure import StepError, Usage
from scripts.benchmark.rows import Row

from tests.support.benchmaker import HERE, MIB, place, row

if TYPE_CHECKING:
    from scripts.benchmark.results import Results


def goal(name: str) -> goals.Goal:
    (found,) = [one for one in goals.GOALS if one.name == name]
    return found


# -- arithmetic


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ([[1.0, 2.0, 9.0]], [[2.0, 4.0, 9.0]], [0.5, 0.5, 1.0]),
        ([[1.0, 2.0]], [[2.0, 4.0, 9.0]], [0.5, 0.5]),
        ([[3.0]], [[1.0], [2.0]], [1.0]),
        ([[1.0]], [[]], []),
    ],
    ids=["pairs", "turn-missing", "sum", "nothing"],
)
def test_ratios_pair_by_pair(
    mine: list[list[float]], theirs: list[list[float]], expected: list[float]
) -> None:
    ours_, theirs_ = ([row("x", *walls) for walls in side] for side in (mine, theirs))
    assert goals.pair_by_pair(ours_, theirs_) == expected


def test_the_median_is_of_the_ratios() -> None:
    """Not the ratio of the medians, which is 2 / 4 here: a slow minute slows both of a pair."""
    known = {"lock-warm": row("lock-warm", 1, 2, 3), "uv-bytecode-warm": row("uv-bytecode-warm", 4, 4, 3)}
    verdict = goals.judge(goal("lock:uv"), known, chosen="M")
    assert verdict is not None
    assert (verdict.value, verdict.lowest, verdict.highest, verdict.pairs) == (0.5, 0.25, 1.0, 3)
    known = {"lock-warm": row("lock-warm", 1, 2, 9), "uv-bytecode-warm": row("uv-bytecode-warm", 10, 4, 10)}
    verdict = goals.judge(goal("lock:uv"), known, chosen="M")
    assert verdict is not None
    assert verdict.value == 0.5 != 2 / 10


def test_other_sessions_make_no_pairs() -> None:
    known = {"lock-warm": row("lock-warm", 1.0), "uv-bytecode-warm": row("uv-bytecode-warm", 1.0, at="two")}
    assert goals.judge(goal("lock:uv"), known, chosen="M") is None


@pytest.mark.parametrize(
    ("chosen", "wall", "word"),
    [
        ("M", 0.2, "met"),
        ("M", 0.21, "**not met**"),
        ("S", 0.8, "met"),
        ("S", 0.81, "**not met**"),
        ("growth", 9.0, "-"),
    ],
)
def test_limits(chosen: str, wall: float, word: str) -> None:
    known = {"lock-warm": row("lock-warm", wall), "uv-bytecode-warm": row("uv-bytecode-warm", 1.0)}
    verdict = goals.judge(goal("lock:uv"), known, chosen=chosen)
    assert verdict is not None
    assert verdict.word == word


@pytest.mark.parametrize(("own", "word"), [(200, "met"), (201, "**not met**")])
def test_memory_is_the_highest_peak(own: int, word: str) -> None:
    known = {"lock-warm": row("lock-warm", 1, own=90), "asked-cold": row("asked-cold", 1, own=own)}
    verdict = goals.judge(goal("memory"), known, chosen="L")
    assert verdict is not None
    assert (verdict.value, verdict.lowest, verdict.word) == (own, 90, word)
    assert goals.judge(goal("memory"), {"uv-warm": row("uv-warm", 1, own=999)}, chosen="L") is None


def test_usage_adds_up_and_is_shared() -> None:
    one = Usage(wall=1, cpu=2, own=10, together=30, largest=5)
    both = one.then(Usage(wall=3, cpu=4, own=20, together=20, largest=50))
    assert both == Usage(wall=4, cpu=6, own=20, together=30, largest=50)
    assert both.shared_by(2) == Usage(wall=2, cpu=3, own=20, together=30, largest=50)


# -- rows and goals


def test_goals_name_rows() -> None:
    names = [row.name for row in session.rows_of(place(Path("/x")))]
    nights = [row.name for row in session.rows_of(replace(place(Path("/x")), bundles=7))]
    assert len(names) == len(set(names)) > 30
    assert {name for one in goals.GOALS for name in one.rows} <= {*names, *nights}
    assert len({one.name for one in goals.GOALS}) == len(goals.GOALS)
    assert {name for one in growth.SERIES for name in one.rows} <= {*names, *nights}


def test_rows_say_what_they_do() -> None:
    for one in session.rows_of(place(Path("/x"))):
        assert set(one.needs) <= prepare.MAKERS.keys(), one.name
        order = [name for name in prepare.MAKERS if name in one.needs]
        assert list(one.needs) == order, one.name
        assert one.cold == one.name.endswith("-cold"), one.name
        assert one.proved == (one.peer == "envbundle" and one.output == "tree"), one.name
        if one.output == "tree":
            assert one.work.bytecode, one.name
            assert one.work.verifies, one.name
        for step in one.steps:
            assert str(Path("/x")) in " ".join(step), one.name


@pytest.mark.parametrize("name", ["verify", "sha256sum", "pack-tar", "tar", "pack-squashfs", "mksquashfs"])
def test_what_reads_the_bundle_finds_it_in_the_page_cache(name: str) -> None:
    """The rows of imports drop it, and the first row after them paid for that."""
    (row,) = (one for one in session.rows_of(place(Path("/x"))) if one.name == name)
    assert "find /x/bundle -type f -exec cat {} + >/dev/null" in row.before[-1]


@pytest.mark.parametrize(
    ("wanted", "asked", "count"),
    [
        ([], "flask==1\nscikit-learn==1\n", None),
        (["uv-warm"], "", 1),
        (["pex-*", "uv-warm"], "", 7),
        (["import*"], "flask==1\n", 0),
        (["import*"], "scikit-learn==1\n", 2),
    ],
)
def test_choice(wanted: list[str], asked: str, count: int | None) -> None:
    known = session.rows_of(place(Path("/x")))
    assert len(rows.choose(known, wanted, requirements=asked)) == (len(known) if count is None else count)


def test_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no row is called uv-wram"):
        rows.choose(session.rows_of(place(Path("/x"))), ["uv-wram"], requirements="")


def test_goals_stand_for_their_rows() -> None:
    assert main.rows_wanted(["asked:uv", "pass"]) == ["asked-warm", "uv-compile", "uv-bytecode-warm", "pass"]


def test_listing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert "lock-warm : uv-bytecode-warm; at most: S 0.8, M 0.2, L 0.3" in said
    assert "`" not in said


# -- sets


@pytest.mark.parametrize("version", ["3.7", "3.8"])
@pytest.mark.parametrize("chosen", ["S", "M", "L"])
def test_sets_are_pins_of_which_one_changes(chosen: str, version: str) -> None:
    plain, changed = prepare.requirements(chosen, version)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in plain.splitlines())
    pairs = zip(plain.splitlines(), changed.splitlines(), strict=True)
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    assert len(differing) == 1
    assert differing[0][0].partition("==")[0] == differing[0][1].partition("==")[0]


@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_the_unpinned_set_names_the_middle_one(version: str) -> None:
    middle, unpinned = (prepare.requirements(name, version)[0].splitlines() for name in ("M", "U"))
    assert [line.partition("==")[0] for line in middle] == unpinned


@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_the_large_set_has_the_middle_one(version: str) -> None:
    middle, large = (prepare.requirements(name, version)[0].splitlines() for name in ("M", "L"))
    assert [line.partition("==")[0] for line in large if line not in middle] == ["tensorflow-cpu"]
    assert set(middle) < set(large)


def test_growing_sets_grow() -> None:
    texts = [prepare.requirements(f"growth-{count}", "3.8")[0].splitlines() for count in prepare.GROWTH]
    assert [len(lines) for lines in texts] == [10, 50, 100, 200, 400] == [len(set(lines)) for lines in texts]
    assert all(large[: len(small)] == small for small, large in itertools.pairwise(texts))


def test_sums_are_shared_out() -> None:
    sizes = {"a": 10, "b": 9, "c": 8, "d": 1}
    assert prepare.split(sorted(sizes), sizes, 2) == [["a", "d"], ["b", "c"]]


# -- measuring


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


@pytest.mark.thorough
def test_wall_and_cpu_are_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sleeping = measure.run(python("import time; time.sleep(0.3)"), environ=HERE, log=log)
    assert sleeping.wall >= 0.3 > 0.2 > sleeping.cpu
    child = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert measure.run(python(code), environ=HERE, log=log).cpu >= 0.3


@pytest.mark.thorough
def test_own_memory_is_not_the_childrens(tmp_path: Path) -> None:
    hold = "x = bytearray({} * 2**20); import time; time.sleep(0.2)"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {hold.format(150)!r}])"
    parent = measure.run(python(child), environ=HERE, log=tmp_path / "log")
    assert parent.own < 60 * MIB < 150 * MIB <= parent.together
    assert parent.largest >= 150 * MIB
    alone = measure.run(python(hold.format(150)), environ=HERE, log=tmp_path / "log")
    assert alone.own >= 150 * MIB


def test_memory_of_ours_is_not_its(tmp_path: Path) -> None:
    ballast = bytearray(os.urandom(1024) * 1024 * 100)
    slept = measure.run(python("import time; time.sleep(0.1)"), environ=HERE, log=tmp_path / "log")
    assert slept.own < 60 * MIB
    assert len(ballast) == 100 * MIB


def test_a_program_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"alas[\s\S]*exit code 3"):
        measure.run(python("import sys; print('alas'); sys.exit(3)"), environ=HERE, log=tmp_path / "log")


def test_a_program_may_take_its_own_time(tmp_path: Path) -> None:
    code = "print('noise'); print('seconds', 0.125)"
    assert measure.run(python(code), environ=HERE, log=tmp_path / "log", said=True).wall == 0.125


def test_census(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.pyc").write_bytes(b"12345")
    (tmp_path / "two.py").write_bytes(b"123")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    files, size, pyc = session.census(tmp_path)
    assert (files, pyc) == (3, 1)
    assert size == 8 + len(str(tmp_path / "nowhere"))
    assert session.census(tmp_path / "two.py") == (1, 3, 0)


def test_drop_leaves_files_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "link").symlink_to("nowhere")
    measure.run((sys.executable, str(ours.DROP), str(tmp_path)), environ=HERE, log=tmp_path / "log")
    assert (tmp_path / "file").read_bytes() == b"x" * 10_000


def test_a_read_only_mount(tmp_path: Path) -> None:
    tree = tmp_path / "a tree"
    tree.mkdir()
    (tree / "module.py").write_text("VALUE = 7\n")
    code = (
        "import module, errno, sys\nassert module.VALUE == 7\n"
        "try: open(sys.argv[1] + '/new', 'w')\nexcept OSError as error: assert error.errno == errno.EROFS\n"
        "else: sys.exit(9)\nprint('seconds', 1)"
    )
    words = ours.mounted(tree, (sys.executable, "-B", "-s", "-c", code, str(tree)), path=tree)
    allowed = ours.mounted(tree, ("true",), path=tree)
    try:
        measure.run(allowed, environ=HERE, log=tmp_path / "log")
    except StepError as error:
        pytest.skip(f"no mounts in a namespace of its own here: {error.code}")
    assert measure.run(words, environ=HERE, log=tmp_path / "log", said=True).wall == 1


# -- a session, with programs that are there


def test_rows_take_turns(tmp_path: Path) -> None:
    here = place(tmp_path)
    trace = tmp_path / "trace"

    def made(name: str, code: str, **members: Any) -> Row:
        words = python(f"import os, pathlib; open({str(trace)!r}, 'a').write({name!r}); {code}")
        return Row(name=name, title=name, peer=name, steps=(words,), **members)

    write = f"pathlib.Path({str(here.out)!r}).write_text(os.environ['UV_CACHE_DIR'])"
    chosen = (
        made("a", write, output="file"),
        made("b", f"assert not os.path.exists({str(here.out)!r}); print('as it was')", expects="as it was"),
        made("c", "import sys; sys.exit(5)"),
        made("d", "print('changed')", expects="as it was"),
        made("e", f"{write}; assert not os.listdir(os.environ['HOME']); open(os.environ['HOME'] + '/x', 'w')",
             cold=True, output="file", repeat=1),
    )  # fmt: skip
    kept: list[Results] = []
    found = session.hold(here, chosen, chosen="S", runs=2, pause=0, say=lambda _: None, keep=kept.append)
    assert trace.read_text() == "abcde" + "abe" * 2
    assert [(one.name, len(one.samples), one.failed) for one in found.rows] == [
        ("a", 2, ""),
        ("b", 2, ""),
        ("c", 0, "failed with exit code 5"),
        ("d", 0, "did something else"),
        ("e", 2, ""),
    ]
    assert len(kept) == 3
    assert kept[-1] == found
    assert [one.samples[0].turn for one in found.rows if one.samples] == [f"{found.sessions[0].name}/1"] * 3
    assert found.rows[0].files == 1
    assert not here.out.exists()
    assert not (tmp_path / "cold").exists()


@pytest.mark.parametrize(("code", "failed"), [(0, ""), (1, "failed with exit code 1")])
def test_a_bundle_is_verified_after_the_timing(tmp_path: Path, code: int, failed: str) -> None:
    here, trace = place(tmp_path), tmp_path / "trace"
    verifier = f"import sys; open({str(trace)!r}, 'a').write(str(sys.argv[1:])); sys.exit({code})"
    target = str(here.out / "verify.py")
    make = f"import os; os.mkdir({str(here.out)!r}); open({target!r}, 'w').write({verifier!r})"
    chosen = (Row(name="a", title="a", peer="a", steps=(python(make),), output="tree", proved=True),)
    found = session.hold(here, chosen, chosen="S", runs=2, pause=0, say=lambda _: None, keep=lambda _: None)
    assert found.rows[0].failed == failed
    files_only = "['--no-imports']"
    assert trace.read_text() == (files_only if failed else f"{files_only}{files_only}[]")


def test_what_cannot_be_prepared_takes_its_rows_with_it(tmp_path: Path) -> None:
    here = place(tmp_path)
    chosen = (
        Row(name="a", title="a", peer="a", steps=(python(""),), needs=("locks",)),
        Row(name="b", title="b", peer="b", steps=(python(""),)),
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "envbundle").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "envbundle").chmod(0o755)
    found = session.hold(here, chosen, chosen="S", runs=1, pause=0, say=lambda _: None, keep=lambda _: None)
    assert [one.failed for one in found.rows] == ["locks could not be prepared", ""]


def test_peers_see_neither_each_other_nor_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://elsewhere.example/simple")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    here = replace(place(tmp_path), environ=world.settings(index_url="https://index.example/simple"))
    runner = session.Runner(here, pause=0)
    worlds = [runner.environment("uv"), runner.environment("pip"), runner.environment("uv", cold=True)]
    for name in ("HOME", "TMPDIR", *session.CACHES):
        assert len({one[name] for one in worlds}) == 3, name
    for one in worlds:
        assert not {"PIP_EXTRA_INDEX_URL", "PYTHONPATH"} & one.keys()
        assert (one["PIP_CONFIG_FILE"], one["UV_NO_CONFIG"]) == (os.devnull, "1")
        assert one["PIP_INDEX_URL"] == one["UV_DEFAULT_INDEX"] == "https://index.example/simple"


# -- the machine


def test_the_machine_is_named_without_names(tmp_path: Path) -> None:
    said = world.machine(tmp_path)
    assert {"kernel", "processors", "Python of envbundle"} <= said.keys()
    text = json.dumps(said)
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text.split()


def test_python_is_found(python38: Path) -> None:
    found, full = world.find_python("3.8")
    assert full.startswith("3.8.")
    assert world.find_python(str(found)) == (found, full)
    with pytest.raises(world.UnableError, match=r"no CPython 3\.99"):
        world.find_python("3.99")


def test_uv_is_asked_for_copies_but_in_the_row_of_links() -> None:
    steps = [step for one in peers.rows(place(Path("/x"))) for step in one.steps]
    installs = [step for step in steps if step[0].endswith("/uv") and "install" in step]
    links = sorted(step[step.index("--link-mode") + 1] for step in installs)
    assert links == ["copy"] * 6 + ["hardlink"]
