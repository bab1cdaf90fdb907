"""Imports modules with `-X importtime` and returns what the interpreter wrote.

The target's Python runs it on the builder as `python -I -S time_imports.py ROOT`; a job is on standard input.
"""

import json
import os
import subprocess
import sys
import tempfile

MYPY = False
if MYPY:
    from typing import Any  # noqa: F401 - used in type comments

TIMEOUT = 300.0  # seconds a run
MOST = 8 * 1024 * 1024  # bytes of standard error that are read
# It imports built-in modules and the part of `site` that runs in mount mode (`child_site` in imports.py), so
# that the bundle imports all else. A module that does not import is a finding of the proof, not of this.
CHILD = """\
import sys
if sys.path and not sys.path[0]:
    del sys.path[0]
import site
site.getusersitepackages()
for step in ("setquit", "setcopyright", "sethelper", "execsitecustomize", "execusercustomize"):
    getattr(site, step)()
for name in MODULES:
    try:
        __import__(name)
    except BaseException:
        pass
try:
    sys.__stderr__.flush()
except BaseException:
    pass
import posix
posix._exit(0)
"""


def measure(root, job):
    # type: (str, dict[str, Any]) -> dict[str, Any]
    """Run the imports of a job (`site_packages`, `modules`, `runs`).

    :returns: `runs`, the standard error of each, and `death`: how the interpreter died, or empty.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    environment["PYTHONPATH"] = os.path.join(root, *job["site_packages"].split("/"))
    code = CHILD.replace("MODULES", repr([str(module) for module in job["modules"]]))
    command = [sys.executable, "-s", "-S", "-B", "-X", "importtime", "-c", code]
    texts = []
    for _ in range(job["runs"]):
        with tempfile.TemporaryFile() as noise:
            child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=noise,
            )
            try:
                status = child.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return {"runs": [], "death": "did not end within {:g} seconds".format(TIMEOUT)}
            if status:
                return {"runs": [], "death": "ended with exit code {}".format(status)}
            noise.seek(0)
            texts.append(noise.read(MOST).decode("utf-8", "replace"))
    return {"runs": texts, "death": ""}


if __name__ == "__main__":
    json.dump(measure(os.path.abspath(sys.argv[1]), json.load(sys.stdin)), sys.stdout)
