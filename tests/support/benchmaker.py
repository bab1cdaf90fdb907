"""Results of a benchmark that nobody ran."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.benchmark.results import Measured, Results, Sample, Session
from scripts.benchmark.rows import Place, Tools

MIB = 1024 * 1024
HERE = {"PATH": os.environ["PATH"]}


def place(folder: Path) -> Place:
    tools = Tools(
        envbundle=folder, peers=folder, shiv=folder, pip=folder, versions={"uv": "1.2", "envbundle": "0"}
    )
    return Place(work=folder, python=Path(sys.executable), full="3.8.18", tools=tools, environ=HERE)


def row(
    name: str, *walls: float, chosen: str = "M", own: int = 50, at: str = "one", **members: Any
) -> Measured:
    samples = tuple(
        Sample(
            turn=f"{at}/{turn}",
            wall=wall,
            cpu=wall / 2,
            own=own * MIB,
            together=own * MIB,
            largest=own * MIB,
        )
        for turn, wall in enumerate(walls, 1)
    )
    made = Measured(
        chosen=chosen, python="3.8", disk="ext4", name=name, title=f"`{name}`", bytecode="yes", verifies="",
        hashes="", output="tree", samples=samples, files=10, size=2_000_000, pyc=4,
    )  # fmt: skip
    return replace(made, **members)


def held(*rows: Measured, name: str = "one", **members: Any) -> Results:
    made = Session(
        name=name, date="2026-11-21", chosen="M", python="3.8.18", runs=3, pause=2.0, distributions=55,
        machine={"kernel": "Linux 6.1"}, tools={"uv": "0.13.8"},
    )  # fmt: skip
    return Results(sessions=(replace(made, **members),), rows=rows)
