"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark import goals, growth, nights, plots, prepare, results, rows, session, tables, world
from scripts.benchmark.rows import Place, Tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.benchmark.results import Results

DOCS = world.ROOT / "docs"
PLOTS = {
    "benchmark.svg": "time of each row",
    "benchmark-growth.svg": "growth with the number of distributions, and of bundles",
}
SERIES = {
    one.prefix.rstrip("-"): [name for name in prepare.names() if name.startswith(one.prefix)]
    for one in growth.SERIES
}
UNPINNED = ("asked-cold", "uv-bytecode-cold", "pip-cold")
"""What a run from a lock would not show."""
DESCRIPTION = """\
Measures envbundle against its peers on the same work: paired runs in turn, medians, ratios pair by pair.

  scripts/bench                              set M on Python 3.8: every row, five runs after a warm-up
  scripts/bench --set S --quick              does every row work?
  scripts/bench --rows lock:uv --rows 'pex-*'  the rows of a goal, and those of a pattern
  scripts/bench --set U                      cold runs, roots not pinned
  scripts/bench --set growth --set nights    10 to 400 distributions, 1 to 200 bundles
  scripts/bench --merge a.json b.json --docs   the parts of a long measurement, as the page in docs/

It installs the peers (the newest) and a copy of this checkout into its work folder, which may be removed. It
needs a package index, CPython 3.10 or later with venv, and a CPython of the target's version.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 3, if the machine lacks something."""
    options = _parser().parse_args(words)
    try:
        if options.list:
            print(listing())
            return 0
        found = results.merge(map(results.read, options.merge)) if options.merge else _measure(options)
    except (world.UnableError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 3
    publish(found, options.results, docs=DOCS if options.docs else None)
    print(tables.markdown(found))
    return 0 if all(not row.failed for row in found.rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    sets = ["S", "M", "U", "L", *SERIES]
    add("--set", action="append", choices=sets, help="requirement set; repeatable  [M]")
    add("--python", action="append", metavar="VERSION|PATH", help="target's Python; repeatable  [3.8]")
    add(
        "--rows",
        action="append",
        metavar="NAME",
        help="a row, a goal or a pattern of rows; repeatable  [all]",
    )
    add("--runs", type=int, default=5, metavar="N", help="runs of each row after the warm-up  [5]")
    add("--quick", action="store_true", help="one run, no pause: does it work?")
    add("--pause", type=float, metavar="SECONDS", help="rest before each run  [as the file system needs]")
    add(
        "--work",
        type=Path,
        default=world.ROOT / "build" / "bench",
        metavar="DIR",
        help="where it works  [build/bench]",
    )
    add("--index-url", metavar="URL", help="index of all programs  [pip's]")
    add(
        "--peer",
        action="append",
        default=[],
        metavar="NAME==VERSION",
        help="not the newest of a peer; repeatable",
    )
    add("--merge", nargs="+", type=Path, metavar="JSON", help="measure nothing: put results together")
    add("--results", type=Path, metavar="DIR", help="where results are written  [results/ in --work]")
    add(
        "--docs",
        action="store_true",
        help="write the page and the plots of docs/, and the README's table, as well",
    )
    add("--list", action="store_true", help="say rows and goals, and end")
    return parser


def listing() -> str:
    """Return every row and every goal."""
    nowhere = Path("/")
    tools = Tools(envbundle=nowhere, peers=nowhere, shiv=nowhere, pip=nowhere, versions={})
    place = Place(work=nowhere, python=nowhere, full="3.8.0", tools=tools, environ={})
    known = {row.name: row for one in (place, replace(place, bundles=1)) for row in session.rows_of(one)}
    said = [f"{name:<18} {row.title.replace('`', '')}" for name, row in known.items()]
    for goal in goals.GOALS:
        limits = ", ".join(f"{chosen} {most:g}" for chosen, most in goal.most.items()) or "none"
        against = f"{' + '.join(goal.ours)} : {' + '.join(goal.peers)}" if goal.peers else "own memory, MiB"
        said.append(f"{goal.name:<24} {against}; at most: {limits}")
    return "\n".join(said)


def rows_wanted(wanted: Sequence[str]) -> list[str]:
    """Return names of rows, with those of goals in place of the goals' names."""
    by_name = {goal.name: goal for goal in goals.GOALS}
    return [row for name in wanted for row in (by_name[name].rows if name in by_name else (name,))]


def _measure(options: argparse.Namespace) -> Results:
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    options.results = options.results or work / "results"
    options.results.mkdir(parents=True, exist_ok=True)
    environ = world.settings(index_url=options.index_url)
    kind, needed = world.file_system(work)
    pause = 0.0 if options.quick else needed if options.pause is None else options.pause
    print(f"work folder on {kind}; {pause:g} s of rest before each run", flush=True)
    chosen = [one for name in options.set or ["M"] for one in SERIES.get(name, [name])]
    parts = []
    for request in options.python or ["3.8"]:
        python, full = world.find_python(request)
        version = full.rpartition(".")[0]
        environ = {**environ, "PATH": f"{world.SYSTEM_PATH}:{python.parent}"}
        tools = world.set_up(work, python=python, version=version, environ=environ, pins=options.peer)
        print(", ".join(f"{name} {one}" for name, one in tools.versions.items()), flush=True)
        for one in chosen:
            place = Place(
                work=work / f"{one}-{version}",
                python=python,
                full=full,
                tools=tools,
                ignored=prepare.ignored(one, version),
                bundles=int(one.removeprefix(nights.PREFIX)) if one.startswith(nights.PREFIX) else 0,
                environ=environ,
            )
            parts.append(_hold(place, one, options, pause=pause))
    return results.merge(parts)


def _hold(place: Place, chosen: str, options: argparse.Namespace, *, pause: float) -> Results:
    place.work.mkdir(parents=True, exist_ok=True)
    series = growth.series_of(chosen)
    default = series.rows if series else UNPINNED if chosen == "U" else ()
    asked, _ = prepare.requirements(chosen, place.version)
    wanted = rows.choose(session.rows_of(place), rows_wanted(options.rows or default), requirements=asked)
    moment = datetime.now(tz=timezone.utc)
    path = options.results / f"{chosen}-{place.version}-{moment:%Y%m%d-%H%M%S}.json"
    return session.hold(
        place,
        wanted,
        chosen=chosen,
        runs=1 if options.quick else options.runs,
        pause=pause,
        say=lambda line: print(line, flush=True),
        keep=lambda found: results.write(found, path),
    )


def publish(found: Results, folder: Path | None, *, docs: Path | None) -> None:
    """Write JSON, Markdown and the plots; with `docs` its page and plots, and the README's table, too."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        results.write(found, folder / "results.json")
        write(folder / "results.md", tables.markdown(found))
        write(folder / "benchmark.svg", plots.bars(found))
        write(folder / "benchmark-growth.svg", plots.lines(found))
    if docs is not None:
        plotted = {"benchmark.svg": plots.bars(found)}
        if any(growth.places(found, series) for series in growth.SERIES):
            plotted["benchmark-growth.svg"] = plots.lines(found)
        for name, text in plotted.items():
            write(docs / name, text)
        shown = "\n".join(f"![{PLOTS[name]}]({name})\n" for name in plotted)
        page = docs / "benchmark.md"
        text = f"{tables.markdown(found)}\n{shown}"
        write(page, tables.into(page.read_text(encoding="utf-8"), text))
        readme = docs.parent / "README.md"
        write(readme, tables.into(readme.read_text(encoding="utf-8"), tables.brief(found)))


def write(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
