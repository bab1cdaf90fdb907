"""Compiles some files of an unpacked wheel; run by the target's base interpreter.

Each line of standard input: {"root": site-packages, "chunks": [[paths relative to it]]}.
Its line of standard output: for each chunk [[path, reason], ...] of those that do not compile, which is no
failure: old wheels carry files of Python 2, and templates with the suffix .py. Or the signal that the
compiler died of.

What marshal writes depends on the hash seed and on how often each interned string is referenced in
the process. So the caller sets PYTHONHASHSEED (-I and -E would ignore it), passes -S and -s, and each chunk
is compiled in a process of its own, forked from this one, which compiles nothing itself. Every name in this
file counts: one that no module of the standard library here has as well would change what is written.
"""

import importlib.util
import json
import os
import py_compile
import sys
import warnings


def main():
    # type: () -> None
    """Do the jobs on standard input, as they come."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        job = json.loads(line)
        results = [in_a_fork(job["root"], chunk) for chunk in job["chunks"]]
        sys.stdout.write("[" + ", ".join(results) + "]\n")
        sys.stdout.flush()


def in_a_fork(root, chunk):
    # type: (str, list[str]) -> str
    """Compile a chunk in a child; return what it says, as JSON, or the number of the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as report:
            json.dump(compile_files(root, chunk), report)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        said = report.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return str(os.WTERMSIG(status))
    if status:
        raise SystemExit("a compiler ended with status {}".format(status))
    return said


def compile_files(root, chunk):
    # type: (str, list[str]) -> list[list[str]]
    """Compile files and return those that do not compile, each with the reason."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # mounts and uploads lose mtimes
    failed = []
    for path in chunk:
        source = os.path.join(root, path)
        try:
            py_compile.compile(
                source,
                cfile=importlib.util.cache_from_source(source),
                dfile=path,  # the builder's path must not be in a traceback
                doraise=True,
                invalidation_mode=mode,
            )
        # A source can fail in any way: SyntaxError, UnicodeDecodeError, RecursionError, MemoryError.
        except Exception as error:  # noqa: BLE001  # see above
            failed.append([path, "{}: {}".format(type(error).__name__, error).split("\n")[-1]])
    return failed


if __name__ == "__main__":
    main()
