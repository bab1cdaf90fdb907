"""The rows of the peers: the same distributions, as each of them is used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scripts.benchmark import local_index
from scripts.benchmark.rows import Row, Work

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.benchmark.rows import Place, Step

RECORDS = "RECORDs of the wheels"
PLAIN = Work(bytecode="no", verifies="wheels at download", hashes=RECORDS)
COMPILED = replace(PLAIN, bytecode="yes")
UNPINNED = replace(COMPILED, verifies="nothing")
KNOWN = Work(bytecode="yes", verifies="names and versions")


def rows(place: Place) -> tuple[Row, ...]:
    """Return them in the order in which a turn takes them."""
    return (*_uv(place), *_pip(place), *_pex(place), *_shiv(place))


def _peer(place: Place, program: str) -> str:
    return str(place.tools.peers / "bin" / program)


def uv_venv(place: Place, folder: Path) -> Step:
    return (_peer(place, "uv"), "venv", "-q", "--no-project", "--python", str(place.python), str(folder))


def uv_install(place: Place, folder: Path, *words: str | Path, link: str = "copy") -> Step:
    """`uv pip install` into an environment, as files of its own, or as links to those of its cache."""
    site = ("--python", str(folder))
    return (_peer(place, "uv"), "pip", "install", "-q", "--link-mode", link, *site, *map(str, words))


def uv_compile(place: Place, requirements: Path) -> Step:
    """`uv pip compile`, which looks for newer versions."""
    resolve = (_peer(place, "uv"), "pip", "compile", "-q", "--no-header", "--python", str(place.python))
    return (*resolve, str(requirements), "--upgrade", "-o", str(place.out))


def _uv(place: Place) -> tuple[Row, ...]:
    out, venv = place.out, uv_venv(place, place.out)
    compiled, again = "--compile-bytecode", "`uv pip install --link-mode copy"
    what = f"`uv venv` + {again}"
    resolve = uv_compile(place, place.requirements)
    stays, hashed = uv_environment(place), place.changed / "hashed.txt"
    return (
        Row(
            name="uv-warm",
            title=f"{what}`, locked, warm",
            peer="uv",
            steps=(venv, uv_install(place, out, "-r", place.hashed)),
            needs=("locks",),
            output="tree",
            work=PLAIN,
        ),
        Row(
            name="uv-synced-warm",
            title=f"{what}`, locked, warm, followed by `sync`",
            peer="uv",
            # of this file system alone: what else the machine writes is nobody's
            steps=(venv, uv_install(place, out, "-r", place.hashed), ("sync", "-f", str(out))),
            needs=("locks",),
            output="tree",
            work=PLAIN,
        ),
        Row(
            name="uv-linked-warm",
            title="`uv venv` + `uv pip install --link-mode hardlink`, locked, warm",
            peer="uv",
            steps=(venv, uv_install(place, out, "-r", place.hashed, link="hardlink")),
            needs=("locks",),
            output="tree",
            work=PLAIN,
        ),
        Row(
            name="uv-bytecode-warm",
            title=f"{what} {compiled}`, locked, warm",
            peer="uv",
            steps=(venv, uv_install(place, out, compiled, "-r", place.hashed)),
            needs=("locks",),
            output="tree",
            work=COMPILED,
        ),
        Row(
            name="uv-bytecode-cold",
            title=f"{what} {compiled} -r`, cold",
            peer="uv",
            steps=(venv, uv_install(place, out, compiled, "-r", place.requirements)),
            cold=True,
            output="tree",
            work=UNPINNED,
        ),
        Row(
            name="uv-compile",
            title="`uv pip compile`, warm",
            peer="uv",
            steps=(resolve,),
            output="file",
        ),
        Row(
            name="uv-compile-local",
            title=f"`uv pip compile`, warm, {local_index.WHAT}",
            peer=f"uv{local_index.ENDING}",
            steps=(resolve,),
            output="file",
        ),
        Row(
            name="uv-unchanged",
            title=f"{again}`, locked, unchanged",
            peer="uv",
            steps=(uv_install(place, stays, "-r", place.hashed),),
            needs=("locks", "uv_environment"),
            work=KNOWN,
        ),
        Row(
            name="uv-changed",
            title=f"{again} {compiled}`, one pin changed in place",
            peer="uv",
            before=(("cp", "-a", str(stays), str(out)),),
            steps=(uv_install(place, out, compiled, "-r", hashed),),
            needs=("locks", "changed", "uv_environment"),
            output="tree",
            work=COMPILED,
        ),
    )


def uv_environment(place: Place) -> Path:
    """An environment that stands while all rows are run."""
    return place.work / "environment-uv"


def pip_environment(place: Place) -> Path:
    """An environment that stands while all rows are run."""
    return place.work / "environment-pip"


def virtualenv(place: Place, folder: Path) -> Step:
    """An environment without seeds: the newest virtualenv has none for these Pythons."""
    made = ("--no-seed", "--no-periodic-update", "-p", str(place.python), str(folder))
    return (_peer(place, "virtualenv"), "-q", *made)


def pip(place: Place, python: Path, *words: str | Path) -> Step:
    """The pip of the target, from outside of the environment."""
    return (str(python), str(place.tools.pip / "pip"), "install", "-q", *map(str, words))


def _pip(place: Place) -> tuple[Row, ...]:
    out, asked = place.out, place.requirements
    inside, stays = out / "bin" / "python", pip_environment(place)

    def row(name: str, title: str, *steps: Step, cold: bool = False) -> Row:
        return Row(
            name=name,
            title=title,
            peer="pip",
            steps=steps,
            cold=cold,
            output="tree",
            work=UNPINNED,
        )

    made, target = virtualenv(place, out), pip(place, place.python, "--target", out, "-r", asked)
    locked = pip(place, inside, "--no-deps", "-r", place.hashed)
    return (
        row("pip-warm", "`virtualenv` + `pip install -r`, warm", made, pip(place, inside, "-r", asked)),
        row(
            "pip-cold",
            "`virtualenv` + `pip install -r`, cold",
            made,
            pip(place, inside, "-r", asked),
            cold=True,
        ),
        Row(
            name="pip-locked-warm",
            title="`virtualenv` + `pip install --no-deps -r`, locked, warm",
            peer="pip",
            steps=(made, locked),
            needs=("locks",),
            output="tree",
            work=COMPILED,
        ),
        Row(
            name="pip-unchanged",
            title="`pip install -r`, unchanged",
            peer="pip",
            steps=(pip(place, stays / "bin" / "python", "-r", asked),),
            needs=("pip_environment",),
            work=KNOWN,
        ),
        row("pip-target-warm", "`pip install --target -r`, warm", target),
        row("pip-target-cold", "`pip install --target -r`, cold", target, cold=True),
    )


def _pex(place: Place) -> tuple[Row, ...]:
    target = ("--python", str(place.python), "-r", str(place.requirements))
    # The parts of a namespace (opencensus) each bring an `__init__.py`, at which pex stops otherwise.
    create = (_peer(place, "pex3"), "venv", "create", "--layout", "flat", "--collisions-ok")
    flat = (*create, *target, "-d", str(place.out))
    loose = (_peer(place, "pex"), "--layout", "loose", *target, "-o", str(place.out))
    zipapp = (_peer(place, "pex"), *target, "-o", str(place.out))

    def row(
        name: str, title: str, step: Step, *, cold: bool, output: str = "tree", hashes: str = "PEX-INFO"
    ) -> Row:
        return Row(
            name=f"{name}-{'cold' if cold else 'warm'}",
            title=f"{title}, {'cold' if cold else 'warm'}",
            peer="pex",
            steps=(step,),
            cold=cold,
            output=output,
            work=Work(bytecode="no", verifies="nothing", hashes=hashes),
        )

    return tuple(
        one
        for cold in (False, True)
        for one in (
            row("pex-flat", "`pex3 venv create --layout flat -r`", flat, cold=cold, hashes="no"),
            row("pex-loose", "`pex --layout loose -r`", loose, cold=cold),
            row("pex-zipapp", "`pex -r` (zipapp)", zipapp, cold=cold, output="file"),
        )
    )


def _shiv(place: Place) -> tuple[Row, ...]:
    step = (str(place.tools.shiv / "bin" / "shiv"), "-r", str(place.requirements), "-o", str(place.out))
    return tuple(
        Row(
            name=f"shiv-{state}",
            title=f"`shiv -r` (zipapp), {state}",
            peer="shiv",
            steps=(step,),
            cold=state == "cold",
            output="file",
            work=Work(bytecode="no", verifies="nothing", hashes="no"),
        )
        for state in ("warm", "cold")
    )
