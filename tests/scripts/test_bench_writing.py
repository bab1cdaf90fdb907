"""`scripts/bench`: results, tables and plots."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripts.benchmark import growth, main, plots, results, session, tables
from scripts.benchmark.results import Results

from tests.support.benchmaker import held, place, row

ROOT = Path(__file__).resolve().parents[2]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    known = held(row("a", 1.0, 2.0), row("b", failed="failed with exit code 1"))
    results.write(known, tmp_path / "a.json")
    assert results.read(tmp_path / "a.json") == known
    (tmp_path / "b.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="is no 'envbundle benchmark 2'"):
        results.read(tmp_path / "b.json")


def test_merging() -> None:
    one = held(row("a", 1.0), row("b", 2.0))
    two = held(row("a", 3.0, at="two"), row("c", 4.0, at="two"), name="two")
    found = results.merge([one, two, one])
    assert [session.name for session in found.sessions] == ["one", "two"]
    walls = [(one.name, [sample.wall for sample in one.samples]) for one in found.rows]
    assert walls == [("a", [1, 3]), ("b", [2]), ("c", [4])]
    assert results.merge([found]) == found


def many() -> Results:
    known = [
        row("lock-warm", 1.234, 1.5, title="`envbundle create --lock`, warm & <proved>"),
        row("uv-bytecode-warm", 4.0, 5.0),
        row("pex-zipapp-warm", failed="failed with exit code 1"),
        row("version", 0.0123, 0.0456, output="", files=0, size=0, own=0),
    ]
    grown = [
        row(name, wall, chosen=f"growth-{count}", files=count * 100, size=count * 10**6, own=own)
        for count, wall, own in ((10, 1.0, 60), (50, 2.0, 62), (200, 5.0, 70))
        for name in growth.DISTRIBUTIONS.rows
    ]
    nights = [
        row(name, wall, chosen=f"nights-{count}", output="", files=0, size=0)
        for count, wall in ((1, 0.5), (50, 2.0))
        for name in growth.BUNDLES.rows
    ]
    return held(*known, *grown, *nights)


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_markdown() -> None:
    text = tables.markdown(many())
    assert "Measured 2026-11-21." in text
    assert "- tools: uv 0.13.8" in text
    assert "### Set M, Python 3.8, ext4 (55 distributions)" in text
    table = cells(tables.rows_table([one for one in many().rows if one.chosen == "M"]))
    assert {len(line) for line in table} == {11}
    assert [line[0] for line in table[2:]] == [
        "`version`", "`envbundle create --lock`, warm & <proved>", "`uv-bytecode-warm`", "`pex-zipapp-warm`",
    ]  # fmt: skip
    assert table[3][1:8] == ["2", "1.37", "0.683", "50", "50", "10", "2.0"]
    assert table[2][2:8] == ["0.029", "0.014", "-", "-", "", ""]
    assert table[5][1:3] == ["0", "failed with exit code 1"]
    goal_rows = cells(tables.goals_table(many(), ("M", "3.8", "ext4")))
    assert {len(line) for line in goal_rows} == {7}
    assert goal_rows[2][2:] == ["2", "0.304", "0.300-0.308", "0.2", "**not met**"]
    assert goal_rows[3][0] == "highest memory of envbundle's own process"
    assert goal_rows[3][3:] == ["50 MiB", "50-50", "160 MiB", "met"]
    assert tables.goals_table(many(), ("S", "3.8", "ext4")) == ""


def test_growth_is_judged() -> None:
    here = ("3.8", "ext4")
    text = growth.table(many(), growth.DISTRIBUTIONS, here)
    assert "the bytes grow 20.0 times and the files 20.0 times;" in text
    assert "; the time 5.0 times (met) and the memory 1.2 times (met)." in text
    slow = [replace(one, size=2 * 10**6) if one.chosen == "growth-200" else one for one in many().rows]
    small = [replace(one, size=10**6) if one.chosen == "growth-10" else one for one in slow]
    said = growth.table(held(*small), growth.DISTRIBUTIONS, here)
    assert "the bytes grow 2.0 times" in said
    assert "the time 5.0 times (**not met**)" in said
    assert "From 1 to 50 bundles the time grows 4.0 times" in growth.table(many(), growth.BUNDLES, here)


def test_file_systems_stand_apart() -> None:
    found = held(row("lock-warm", 1.0), row("lock-warm", 9.0, disk="tmpfs"), row("uv-bytecode-warm", 5.0))
    assert found.groups == [("M", "3.8", "ext4"), ("M", "3.8", "tmpfs")]
    text = tables.markdown(found)
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        "### Set M, Python 3.8, ext4 (55 distributions)", "### Set M, Python 3.8, tmpfs (55 distributions)",
    ]  # fmt: skip
    assert text.count("| 0.200 |") == 1, "no pair of different file systems"


def test_the_goal_of_a_night_is_told() -> None:
    text = tables.markdown(many()).partition("### Growth with the number of bundles")[2]
    assert [line[-1] for line in cells(text) if line[-2:-1] == ["1.2"]] == ["met"]


@pytest.mark.parametrize("draw", [plots.bars, plots.lines])
def test_plots_are_whole_and_fetch_nothing(draw: Any) -> None:
    text = draw(many())
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert text.count("http") == 1
    assert "prefers-color-scheme: dark" in text
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for shape in root.iter():
        for name, most in (("x", width), ("x2", width), ("y", height), ("y2", height)):
            assert 0 <= float(shape.get(name, 0)) <= most, ET.tostring(shape)


def test_bars_are_as_long_as_their_medians() -> None:
    root = ET.fromstring(plots.bars(many()))
    bars = [float(one.attrib["width"]) for one in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(bars) == 2
    assert bars[0] / bars[1] == pytest.approx(1.367 / 4.5, rel=1e-3)
    assert [one.get("class") for one in root.iter("{http://www.w3.org/2000/svg}rect")] == ["ours", "peer"]


def test_names_of_rows_fit() -> None:
    """A letter is a good six pixels wide."""
    drawn = [one.title.replace("`", "") for one in session.rows_of(place(Path("/x"))) if one.output]
    assert [title for title in drawn if len(title) * 6.4 > plots.LABELS] == []


def test_nothing_is_drawn_of_nothing() -> None:
    for draw in (plots.bars, plots.lines):
        ET.fromstring(draw(Results()))


def test_merge_writes_all_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.write(many(), tmp_path / "a.json")
    results.write(held(row("uv-warm", 3.0, at="two"), name="two"), tmp_path / "b.json")
    out = tmp_path / "out"
    words = ["--merge", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--results", str(out)]
    assert main.main(words) == 1, "one row has failed"
    assert sorted(path.name for path in out.iterdir()) == [
        "benchmark-growth.svg", "benchmark.svg", "results.json", "results.md",
    ]  # fmt: skip
    assert "`uv-warm`" in capsys.readouterr().out
    assert results.read(out / "results.json").rows[-1].name == "uv-warm"
    (tmp_path / "c.json").write_text("{}")
    assert main.main(["--merge", str(tmp_path / "c.json")]) == 2


def test_the_pages_keep_what_is_around_the_tables(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    page = "# Measured\n\n<!-- measured: begin -->\nold\n<!-- measured: end -->\n\nafter\n"
    for path in (docs / "benchmark.md", tmp_path / "README.md"):
        path.write_text(page)
    main.publish(many(), None, docs=docs)
    text, readme = (
        (one / name).read_text() for one, name in ((docs, "benchmark.md"), (tmp_path, "README.md"))
    )
    assert text.startswith("# Measured\n\n<!-- measured: begin -->\n\nMeasured 2026-11-21.")
    assert readme.startswith("# Measured\n\n<!-- measured: begin -->\n\n| set | work |")
    assert set(re.findall(r"!\[.+\]\((.+)\)", text)) == {"benchmark.svg", "benchmark-growth.svg"}
    for one in (text, readme):
        assert one.endswith("<!-- measured: end -->\n\nafter\n")
        assert "old" not in one
    names = {path.name for path in docs.iterdir()}
    assert names == {"benchmark.md", "benchmark.svg", "benchmark-growth.svg"}
    with pytest.raises(ValueError, match="in the page"):
        tables.into("no marks", "text")


def test_what_the_readme_quotes() -> None:
    """The goals that are quoted and measured, met or not, a column for each disk."""
    both = held(*many().rows, row("lock-warm", 0.5, disk="tmpfs"), row("uv-bytecode-warm", 4.0, disk="tmpfs"))
    rows = cells(tables.brief(both))
    assert rows[0] == ["set", "work", "against", "ext4", "tmpfs", "at most"]
    assert [(line[0], *line[3:]) for line in rows[2:]] == [
        ("M", "**0.304**", "0.125", "0.2"),
        ("nights-50", "1.000", "", "1.2"),
        ("M", "50 MiB", "50 MiB", "160 MiB"),
    ]


def test_the_page_of_the_docs_has_its_marks() -> None:
    page = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    assert page.count(tables.BEGIN) == page.count(tables.END) == 1
    for word in re.findall(r"`scripts/bench (--[a-z-]+)", page):
        assert word in main._parser().format_help()


def _tables(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]


def test_the_readme_quotes_the_page() -> None:
    """Every figure of `How fast` stands in docs/benchmark.md, for the set and the disk that it names."""
    page = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    known: set[tuple[str, ...]] = set()
    for part in page.split("\n### ")[1:]:
        heading = part.partition("\n")[0]
        known |= {(*row[:2], row[3], disk) for row in _tables(part) if len(row) == 7
                  for disk in ("ext4", "tmpfs") if disk in heading}  # fmt: skip
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## How fast\n", 1)[1].split("\n## ", 1)[0]
    header, *quoted = _tables(section)
    assert len(quoted) >= 12
    for line in quoted:
        for disk, cell in zip(header[3:-1], line[3:-1], strict=True):
            assert not cell or (*line[1:3], cell.strip("*"), disk) in known
