"""Compiles some files of an unpacked wheel; run by the target's base interpreter.

Standard input: {"root": site-packages, "files": [paths relative to it]}.
Standard output: [[path, reason], ...] of those that do not compile, which is no failure: old wheels
carry files of Python 2, and templates with the suffix .py.

What marshal writes depends on the hash seed and on how often each interned string is referenced in
the process. So the caller sets PYTHONHASHSEED (-I and -E would ignore it), passes -S and -s, and
gives a process the same files in the same order every time.
"""

import importlib.util
import json
import os
import py_compile
import sys
import warnings


def main() -> None:
    """Do the job on standard input."""
    warnings.simplefilter("ignore")
    job = json.load(sys.stdin)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # mounts and uploads lose mtimes
    failed = []
    for path in job["files"]:
        source = os.path.join(job["root"], path)
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
    json.dump(failed, sys.stdout)


if __name__ == "__main__":
    main()
