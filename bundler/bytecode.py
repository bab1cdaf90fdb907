"""Bytecode of an unpacked wheel, the same bytes on every run: the bytes are the wheel's alone.

A file's bytecode depends on what its process compiled before (see `ontarget/compile.py`), so a
wheel's files are cut into chunks by a fixed rule and each chunk has a fresh process.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bundler import ontarget, process
from bundler.model import FileFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bundler.model import Interpreter

logger = logging.getLogger(__name__)

SCRIPT = Path(ontarget.__path__[0]) / "compile.py"
CHUNK_BYTES = 600_000
CHUNK_FILES = 150
"""A chunk ends at either limit; changing one changes the bytes of every bundle."""
BATCH = 6
"""To start an interpreter takes as long as to compile a tenth of a chunk, to fork one nothing."""


def chunks(files: Iterable[FileFact], *, site_packages: str) -> Iterator[tuple[str, ...]]:
    """Cut a wheel's sources into chunks of paths relative to site-packages.

    :param files: of one wheel; what lies outside site-packages is never imported, so not compiled.
    """
    prefix = f"{site_packages}/"
    chunk: list[str] = []
    size = 0
    for fact in sorted(files, key=lambda fact: fact.path):
        if not (fact.path.startswith(prefix) and fact.path.endswith(".py")):
            continue
        chunk.append(fact.path.removeprefix(prefix))
        size += fact.size
        if size >= CHUNK_BYTES or len(chunk) >= CHUNK_FILES:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def batches(found: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Put chunks together so that a compiler is started once for several; it changes no bytes."""
    chunks = iter(found)
    while batch := list(itertools.islice(chunks, BATCH)):
        yield batch


def compile_chunks(
    tree: Path, batch: Sequence[Sequence[str]], *, site_packages: str, interpreter: Interpreter, home: Path
) -> list[FileFact]:
    """Compile chunks, each in a process of its own, and return the facts of the bytecode files.

    Sources that do not compile have none.

    :param home: an empty folder for the child.
    :raises CommandError: the interpreter does not run.
    """
    root = tree / site_packages
    failed = _run(root, batch, interpreter=interpreter, home=home)
    for path, reason in failed.items():
        logger.info("no bytecode for %s: %s", path, reason)
    facts = []
    for path in itertools.chain(*batch):
        if path in failed:
            continue
        folder, _, name = path.rpartition("/")
        stem = name.removesuffix(".py")
        relative = f"{folder}/" if folder else ""
        compiled = f"{relative}__pycache__/{stem}.{interpreter.cache_tag}.pyc"
        content = (root / compiled).read_bytes()
        (root / compiled).chmod(0o644)
        facts.append(
            FileFact(
                path=f"{site_packages}/{compiled}",
                sha256=hashlib.sha256(content).hexdigest(),
                size=len(content),
            )
        )
    return facts


def _run(
    root: Path, batch: Sequence[Sequence[str]], *, interpreter: Interpreter, home: Path
) -> dict[str, str]:
    """Compile, and return why of each file that has no bytecode now."""
    argv: list[str | Path] = [interpreter.executable, "-S", "-s", "-B", "-W", "ignore", SCRIPT]
    done = process.run(
        argv,
        env=process.clean_environment(home=home),
        stdin=json.dumps({"root": str(root), "chunks": batch}),
    )
    failed: dict[str, str] = {}
    for chunk, result in zip(batch, json.loads(done.stdout), strict=True):
        if not isinstance(result, int):
            failed |= dict(result)
        elif len(chunk) == 1:
            failed[chunk[0]] = f"the compiler died of signal {result}"
        else:
            # A source that kills the compiler (a deeply nested one overflows the C stack) must not take
            # its neighbours with it.
            half = len(chunk) // 2
            failed |= _run(root, [chunk[:half], chunk[half:]], interpreter=interpreter, home=home)
    return failed
