"""Compiles an unpacked wheel: the bytecode depends on the wheel and the interpreter alone.

The bytecode of a file depends on what its process compiled before (see `ontarget/compile.py`), so the files
of a wheel are divided into chunks by a fixed rule, and each chunk is compiled by a fresh process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import queue
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from bundler import ontarget
from bundler.model import FileFact, Interpreter
from bundler.system import process

logger = logging.getLogger(__name__)

SCRIPT = Path(ontarget.__path__[0]) / "compile.py"
CHUNK_BYTES = 600_000
CHUNK_FILES = 150
"""A chunk ends at either limit. A change of one changes the bytes of every bundle."""
NOWHERE = Path("/nonexistent")
"""HOME of the compilers, which write nothing there."""
_OF_SYSTEM = re.compile(r"OSError: \[Errno (\d{1,4})\]")
_OF_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""Errors of writing that no file of a wheel causes."""


def chunks(files: Iterable[FileFact], *, site_packages: str) -> Iterator[tuple[str, ...]]:
    """Divide a wheel's sources in site-packages into chunks of paths relative to it.

    :param files: all that the wheel installs; what is outside site-packages is never imported.
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


def _require_machine(reason: str, source: Path) -> None:
    """Require that a file lacks bytecode by its own fault: else a tree without it would be kept.

    :param reason: of `ontarget/compile.py`, which begins with the name of the exception.
    :raises OSError: the disk is full, read-only or broken.
    """
    told = _OF_SYSTEM.match(reason)
    if told and int(told[1]) in _OF_MACHINE:
        raise OSError(int(told[1]), os.strerror(int(told[1])), str(source))


class Compilers:
    """One running `ontarget/compile.py` a core, each of which forks a process for every chunk.

    Starting an interpreter takes as long as compiling a tenth of a chunk; forking it takes no time.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        """Start no process yet; the first chunks do."""
        count = len(os.sched_getaffinity(0))
        self._interpreter = interpreter
        self._running = contextlib.ExitStack()
        self._free: queue.LifoQueue[process.Conversation | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)
        # Twice as many: while one thread reads the bytecode of a chunk, another has the next compiled.
        self._threads = ThreadPoolExecutor(2 * count)
        self._begun: set[Future[list[FileFact]]] = set()

    def __enter__(self) -> Compilers:  # noqa: PYI034 - `Self` is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the chunks that are being compiled, cancel the others, and end the processes."""
        begun = tuple(self._begun)
        for chunk in begun:
            chunk.cancel()
        wait(begun)
        # A process does not outlive the thread that has started it, and other threads use it too.
        self._running.close()
        self._threads.shutdown()

    def begin(self, tree: Path, chunk: Sequence[str], *, site_packages: str) -> Future[list[FileFact]]:
        """Compile a chunk in a process of its own.

        :return: the facts of the bytecode files; a source that does not compile has none. The future raises
            `CommandError` where the interpreter does not run.
        """
        begun = self._threads.submit(self._compile, tree, chunk, site_packages)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return begun

    def _compile(self, tree: Path, chunk: Sequence[str], site_packages: str) -> list[FileFact]:
        root = tree / site_packages
        failed = self._ask(root, chunk)
        for path, reason in failed.items():
            _require_machine(reason, root / path)
            logger.info("no bytecode for %s: %s", path, reason)
        facts = []
        for path in chunk:
            if path in failed:
                continue
            folder, _, name = path.rpartition("/")
            stem = name.removesuffix(".py")
            relative = f"{folder}/" if folder else ""
            compiled = f"{relative}__pycache__/{stem}.{self._interpreter.cache_tag}.pyc"
            file = root / compiled
            content = file.read_bytes()
            file.chmod(0o644)
            facts.append(
                FileFact(
                    path=f"{site_packages}/{compiled}",
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                )
            )
        return facts

    def _ask(self, root: Path, chunk: Sequence[str]) -> dict[str, str]:
        """Compile a chunk; return path → reason for each file that did not compile."""
        with self._compiler() as compiler:
            answer = compiler.ask(json.dumps({"root": str(root), "chunks": [chunk]}))
        (result,) = json.loads(answer)
        if not isinstance(result, int):
            return dict(result)
        if len(chunk) == 1:
            return {chunk[0]: f"the compiler died of signal {result}"}
        # A source that kills the compiler (a deeply nested one overflows the C stack) must not cost the
        # others their bytecode.
        half = len(chunk) // 2
        return {**self._ask(root, chunk[:half]), **self._ask(root, chunk[half:])}

    @contextlib.contextmanager
    def _compiler(self) -> Iterator[process.Conversation]:
        """Lend a free process; one that has failed is replaced by a new one."""
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
