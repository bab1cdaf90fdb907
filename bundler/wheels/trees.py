"""Trees of unpacked wheels: made, their facts written and read, their files checked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bundler.model import FileFact, Interpreter, NativeFact, StartupFact, WheelFacts
from bundler.system.files import digest
from bundler.wheels import bytecode

SCHEMA = 10
_NATIVE = tuple(field.name for field in fields(NativeFact))
_MEMBERS = {field.name for field in fields(WheelFacts)}
VERSION = hashlib.sha256(json.dumps([SCHEMA, sorted(_MEMBERS), _NATIVE]).encode()).hexdigest()[:8]
"""In the name of every entry: another envbundle, older or newer, that writes other facts has entries of its
own beside these, and neither takes away what the other uses."""


def make(
    lacking: Mapping[str, Path],
    interpreter: Interpreter,
    folder: Path,
    compilers: bytecode.Compilers,
) -> Generator[tuple[str, WheelFacts | None], None, None]:
    """Unpack and compile wheels into `folder/SHA256/tree`, the largest first, and yield each when it is done.

    The chunks of all wheels share the compilers, and unpacking overlaps with compiling, so that one huge
    wheel leaves no core idle.

    :param lacking: sha256 → file.
    :return: sha256 and facts; `None` for a file that has another hash.
    """
    workers = len(os.sched_getaffinity(0))
    site_packages = f"lib/python{interpreter.minor}/site-packages"
    unpackers = ThreadPoolExecutor(workers)
    compiling: list[tuple[WheelFacts, list[Future[list[FileFact]]]]] = []
    try:
        unpacking = {
            unpackers.submit(_unpack, wheel, sha256, folder / sha256, interpreter): sha256
            for sha256, wheel in sorted(
                lacking.items(), key=lambda item: item[1].stat().st_size, reverse=True
            )
        }
        for done in as_completed(unpacking):
            facts = done.result()
            if facts is None:
                yield unpacking[done], None
                continue
            tree = folder / facts.sha256 / "tree"
            chunks = [
                compilers.begin(tree, chunk, site_packages=site_packages)
                for chunk in bytecode.chunks(facts.files, site_packages=site_packages)
            ]
            compiling.append((facts, chunks))
        for facts, chunks in compiling:
            yield facts.sha256, _with_bytecode(facts, [fact for chunk in chunks for fact in chunk.result()])
    finally:
        unpackers.shutdown(cancel_futures=True)
        begun = [chunk for _, chunks in compiling for chunk in chunks if not chunk.cancel()]
        wait(begun)  # the caller moves or removes the folder that they write to


def _unpack(wheel: Path, sha256: str, folder: Path, interpreter: Interpreter) -> WheelFacts | None:
    if digest(wheel) != sha256:
        return None
    from bundler.wheels import unpack  # noqa: PLC0415 - 20 ms, and in most runs all is unpacked

    tree = folder / "tree"
    tree.mkdir(parents=True)
    return unpack.unpack(wheel, tree, sha256=sha256, interpreter=interpreter)


def _with_bytecode(facts: WheelFacts, compiled: list[FileFact]) -> WheelFacts:
    """Add bytecode, in place of the bytecode that the wheel itself carries."""
    by_path = {fact.path: fact for fact in (*facts.files, *compiled)}
    return replace(facts, files=tuple(by_path[path] for path in sorted(by_path)))


def dump(facts: WheelFacts) -> dict[str, Any]:
    """Return facts as JSON's values; lists of facts as rows, which load several times as fast as objects."""
    values: dict[str, Any] = dict(vars(facts))
    values["files"] = [[fact.path, fact.sha256, fact.size, int(fact.executable)] for fact in facts.files]
    values["native"] = [list(vars(fact).values()) for fact in facts.native]
    values["startup"] = [[fact.path, fact.lines] for fact in facts.startup]
    return values


def load(values: dict[str, Any]) -> WheelFacts:
    """Return facts from what `dump` made.

    :raises ValueError, KeyError, TypeError: it is something else.
    """
    # A member that lacks would silently get its default.
    if values.keys() != _MEMBERS:
        raise ValueError("its facts have other members")
    files = tuple(
        FileFact(path=path, sha256=sha256, size=size, executable=bool(executable))
        for path, sha256, size, executable in values.pop("files")
    )
    native = tuple(
        NativeFact(**dict(zip(_NATIVE, map(_tuples, row), strict=True))) for row in values.pop("native")
    )
    startup = tuple(StartupFact(path=path, lines=tuple(lines)) for path, lines in values.pop("startup"))
    rest = {name: _tuples(value) for name, value in values.items()}
    return WheelFacts(**rest, files=files, native=native, startup=startup)


def _tuples(value: Any) -> Any:
    """Return JSON's arrays as tuples, those in them as well."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def check_sizes(tree: Path, facts: WheelFacts) -> None:
    """Compare the files of a tree with its facts by type and size, without reading them.

    :raises ValueError: a file is missing, has another size, or is no file.
    """
    root = f"{tree}/"
    for fact in facts.files:
        try:
            status = os.lstat(root + fact.path)
        except OSError as error:
            raise ValueError(f"{fact.path}: {error.strerror}") from error
        if status.st_size != fact.size or not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{fact.path} is not a file of {fact.size} bytes")
