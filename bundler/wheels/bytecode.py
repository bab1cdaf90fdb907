"""Bytecode of an unpacked wheel, the same bytes on every run: the bytes are the wheel's alone.

A file's bytecode depends on what its process compiled before (see `ontarget/compile.py`), so a
wheel's files are cut into chunks by a fixed rule and each chunk has a fresh process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import queue
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bundler import ontarget
from bundler.model import FileFact
from bundler.system import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bundler.model import Interpreter

logger = logging.getLogger(__name__)

SCRIPT = Path(ontarget.__path__[0]) / "compile.py"
CHUNK_BYTES = 600_000
CHUNK_FILES = 150
"""A chunk ends at either limit; changing one changes the bytes of every bundle."""
NOWHERE = Path("/nonexistent")
"""Home of the compilers, which need none."""


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


class Compilers:
    """The target's interpreter, as many times as there are cores: started once, and given chunk after chunk.

    To start one takes as long as to compile a tenth of a chunk, to fork one nothing.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        """Start nothing yet."""
        count = len(os.sched_getaffinity(0))
        self._interpreter = interpreter
        self._running = contextlib.ExitStack()
        self._free: queue.LifoQueue[process.Conversation | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)
        # While one chunk's bytecode is read, the next is compiled.
        self._threads = ThreadPoolExecutor(2 * count)

    def __enter__(self) -> Compilers:  # noqa: PYI034 - `Self` is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let them end: what they are at, they finish."""
        self._threads.shutdown(cancel_futures=True)
        self._running.close()

    def begin(self, tree: Path, chunk: Sequence[str], *, site_packages: str) -> Future[list[FileFact]]:
        """Compile a chunk in a process of its own; the facts of the bytecode files come of it.

        Sources that do not compile have none. `CommandError`: the interpreter does not run.
        """
        return self._threads.submit(self._compile, tree, chunk, site_packages)

    def _compile(self, tree: Path, chunk: Sequence[str], site_packages: str) -> list[FileFact]:
        root = tree / site_packages
        failed = self._ask(root, chunk)
        for path, reason in failed.items():
            logger.info("no bytecode for %s: %s", path, reason)
        facts = []
        for path in chunk:
            if path in failed:
                continue
            folder, _, name = path.rpartition("/")
            stem = name.removesuffix(".py")
            relative = f"{folder}/" if folder else ""
            compiled = f"{relative}__pycache__/{stem}.{self._interpreter.cache_tag}.pyc"
            place = root / compiled
            content = place.read_bytes()
            place.chmod(0o644)
            facts.append(
                FileFact(
                    path=f"{site_packages}/{compiled}",
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                )
            )
        return facts

    def _ask(self, root: Path, chunk: Sequence[str]) -> dict[str, str]:
        """Compile, and return why of each file that has no bytecode now."""
        with self._compiler() as compiler:
            answer = compiler.ask(json.dumps({"root": str(root), "chunks": [chunk]}))
        (result,) = json.loads(answer)
        if not isinstance(result, int):
            return dict(result)
        if len(chunk) == 1:
            return {chunk[0]: f"the compiler died of signal {result}"}
        # A source that kills the compiler (a deeply nested one overflows the C stack) must not take
        # its neighbours with it.
        half = len(chunk) // 2
        return {**self._ask(root, chunk[:half]), **self._ask(root, chunk[half:])}

    @contextlib.contextmanager
    def _compiler(self) -> Iterator[process.Conversation]:
        """Give one that is free; one that has failed is not given again."""
        compiler = self._free.get()
        sound = None
        try:
            compiler = compiler or self._start()
            yield compiler
            sound = compiler
        finally:
            self._free.put(sound)

    def _start(self) -> process.Conversation:
        words: list[str | Path] = [self._interpreter.executable, "-S", "-s", "-B", "-W", "ignore", SCRIPT]
        return self._running.enter_context(
            process.converse(words, env=process.clean_environment(home=NOWHERE))
        )
