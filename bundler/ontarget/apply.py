#!/usr/bin/env python3
"""Makes the new bundle of an old one and a delta (docs/delta.md), to the byte. No dependencies.

    python apply.py [--json] [--verify] OLD [DELTA ...] -o NEW

Exit codes: 0 NEW is there, and every file of it has the hash of its manifest; 1 `--verify` found that NEW
does not work here, and it is not there; 2 wrong usage, a wrong base or Python, or a delta that is damaged;
3 the machine got in the way.

It runs on Python 3.7 and later, and parses on every Python since 2.7 (type comments, no f-strings),
so that a wrong one is refused with a sentence and not with a SyntaxError.
"""

# ruff: noqa: E402 - two things must happen before the imports; the comments below say which

from __future__ import print_function

import os
import sys

if sys.version_info < (3, 7):
    sys.stderr.write("error: apply.py needs Python 3.7 or later\nhint: run it with the image's Python\n")
    sys.exit(2)

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    # What lies beside this file must not hide the standard library.
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != HERE]

import argparse
import json

MYPY = False
if MYPY:
    from collections.abc import Callable, Sequence  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

# <joined: bounded.py>
# One file travels: `bundler.bundle.standalone` puts the modules' own text in place of these imports.
# </joined>
# <joined: checksums.py>
# </joined>
# <joined: delta_format.py>
from bundler.ontarget.delta_format import (
    Delta,  # noqa: F401 - used in type comments
    LackingError,
    UnusableDeltaError,
    read_delta,
)

# </joined>
# <joined: new_bundle.py>
from bundler.ontarget.new_bundle import flush, flush_folder, is_there, make_all, workplace

# </joined>
# <joined: script_end.py>
from bundler.ontarget.script_end import fail, stop_on_signals

# </joined>

VERIFIER = "verify.py"
SHOWN = 20


class NotWorkingError(Exception):
    """The new bundle is as its manifest says, and its own verifier refuses it here."""

    def __init__(self, message, exit_code):
        # type: (str, int) -> None
        Exception.__init__(self, "the new bundle does not work here: {}".format(message))
        self.exit_code = exit_code


# --- the command ----------------------------------------------------------------------------------


def apply(old, deltas, output, check=lambda _: None):
    # type: (str, Sequence[Delta], str, Callable[[str], object]) -> int
    """Make the new bundle, and bring it into its place in one step.

    Returns the number of files; 0 if it was there already, whole. `check` is called with the folder of the
    new bundle before it is brought there.

    Raises what `make` and `check` raise, and UnusableDeltaError where something else is in the way.
    """
    with workplace(output) as work:
        if os.path.lexists(output):
            if is_there(output, deltas[-1].result["manifest_sha256"]):
                check(output)
                return 0
            raise UnusableDeltaError("{} exists".format(output), "choose another -o, or move it away")
        folder, scratch = os.path.join(work, "bundle"), os.path.join(work, "scratch")
        os.mkdir(folder)
        os.chmod(folder, 0o755)  # noqa: S103 - as in every bundle
        os.mkdir(scratch, 0o700)
        count = make_all(old, deltas, folder, scratch)
        check(folder)
        flush(folder)
        os.rename(folder, output)
        flush_folder(os.path.dirname(output))
        return count


def require_working(bundle):
    # type: (str) -> None
    """Let a bundle's own verifier check target and imports here; raises NotWorkingError.

    Every file has been compared with the manifest as it was written, and so was the verifier. None is read
    again, unless it is a verifier of before, which knows no `--no-files`.
    """
    path = os.path.join(bundle, VERIFIER)
    verifier = {"__name__": "verifier", "__file__": path}  # type: dict[str, Any]
    with open(path, "rb") as file:
        # In this process: another one would start Python and import the same modules once more.
        exec(compile(file.read(), path, "exec"), verifier)  # noqa: S102 - it is a file of the bundle
    verify = verifier["verify"]
    known = verify.__code__.co_varnames[: verify.__code__.co_argcount]
    try:
        result = verify(bundle, **({"skipped": ["files"]} if "skipped" in known else {"imports": True}))
    except verifier["UnusableError"] as error:
        raise NotWorkingError(str(error), 2)  # noqa: B904 - Python 2 parses this
    found = ["{code} {subject}: {cause}".format(**one) for one in result["findings"]]
    if found:
        more = "; and {} more".format(len(found) - SHOWN) if len(found) > SHOWN else ""
        raise NotWorkingError("; ".join(found[:SHOWN]) + more, 1)


def main(argv):
    # type: (list[str]) -> int
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="apply.py", description="Make the new bundle of an old one and a delta."
    )
    parser.add_argument("old", metavar="OLD", help="folder of the bundle that the (first) delta was made for")
    parser.add_argument(
        "deltas", metavar="DELTA", nargs="*", help="in order; default: the folder of this file"
    )
    parser.add_argument("-o", "--output", metavar="NEW", required=True, help="where the new bundle goes")
    text = "let NEW's verify.py check target and imports before NEW is there; the files are compared anyway"
    parser.add_argument("--verify", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    stop_on_signals()
    output = os.path.abspath(options.output)
    try:
        # A link can be moved to another bundle meanwhile: what is read is one of the two.
        old = os.path.realpath(options.old)
        deltas = [read_delta(os.path.realpath(path)) for path in options.deltas or [HERE]]
        count = apply(old, deltas, output, require_working if options.verify else lambda _: None)
    except NotWorkingError as error:
        hint = "run this in the image that the bundle was made for, with its Python"
        return fail(options.json, str(error), hint, error.exit_code)
    except UnusableDeltaError as error:
        return fail(options.json, str(error), error.hint, 2)
    except (OSError, LackingError) as error:
        return fail(options.json, str(error), "see to the machine, then run it again", 3)
    if options.json:
        sha256 = deltas[-1].result["manifest_sha256"]
        result = {"ok": True, "bundle": output, "files": count, "manifest_sha256": sha256}
        print(json.dumps(result, sort_keys=True))
    else:
        done = "{} files, each with the hash of the new manifest".format(count)
        works = "; target and imports verified" if options.verify else ""
        print("ok: {}{}".format(done if count else "was there already, whole", works))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
