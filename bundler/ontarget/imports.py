"""Imports modules in an interpreter of their own and tells for each whether it works, and what it brought.

On the builder, run as `python -I -S imports.py ROOT` with a job on standard input: see `builder_proof`.
"""

import json
import linecache
import marshal
import os
import posix
import signal
import subprocess
import sys
import tempfile

MYPY = False
if MYPY:
    from collections.abc import Iterator, Sequence  # noqa: F401 - used in type comments
    from typing import Any, BinaryIO  # noqa: F401 - used in type comments

TIMEOUT = 300.0  # seconds for a child that imports

# --- imports: the child ---------------------------------------------------------------------------
# These functions run in the child, sent there as code. They use built-in modules only: a bundle that
# hides `re` or `json` must break what it would break anyway, and the report must arrive all the same.


def child_work(job):
    # type: (dict[str, Any]) -> None
    """Import every module of the job and report each to a descriptor that no module knows of."""
    if sys.path and not sys.path[0]:
        del sys.path[0]  # the current directory, which -c puts there
    if job["mode"] == "mount":
        child_site()
    sys.path += job["beside"]
    if hasattr(sys, "set_lazy_imports_filter"):  # PEP 810: a lazy import of a broken module would succeed
        sys.set_lazy_imports_filter(child_is_lazy)
    child_tell(job, ("ready",))
    import time  # noqa: PLC0415 - built in

    seen = set()  # type: set[str]
    read = 0.0
    for name in job["modules"]:
        child_tell(job, ("begin", name))
        failure = None
        try:
            child_import(name)
            exec(job["uses"].get(name, ""), {})  # noqa: S102 - our own statements
        except BaseException as error:  # noqa: BLE001 - SystemExit at import is a failure to report, too
            failure = child_describe(error)
        mapped = []  # type: list[str]
        # What is mapped stays so, and asking after each of many small modules takes as long as they do.
        if name == job["modules"][-1] or time.monotonic() - read > 0.05:
            mapped = child_mapped()
            read = time.monotonic()
        child_tell(job, ("end", name, failure, child_origins(seen), mapped))
    # No exit handlers or threads of the bundle: the proof is over.
    posix._exit(0)  # noqa: SLF001 - `os` may be the bundle's


def child_site():
    # type: () -> None
    """Do what `site` does for a directory on PYTHONPATH, and nothing of what it does for the machine.

    The child runs under -S because the base interpreter has a site-packages of its own (pip and
    setuptools, often): `import pkg_resources` must not work by that luck, and an optional
    `try: import setuptools` must not look like a leak. What remains of `site` in mount mode are its
    built-in names and the two start-up modules, which Python does take from PYTHONPATH.
    """
    import site  # noqa: PLC0415 - in the child only, where the interpreter itself imports it

    for step in ("setquit", "setcopyright", "sethelper", "execsitecustomize", "execusercustomize"):
        getattr(site, step)()


def child_import(name):
    # type: (str) -> None
    """Import a module; of `a.b:c` also `c`, an attribute of `a.b` or a module below it, as `from` does."""
    module, _, attribute = name.partition(":")
    found = __import__(module, None, None, [attribute] if attribute else ["__name__"])
    if attribute and not hasattr(found, attribute):
        raise ImportError("cannot import name {!r} from {!r}".format(attribute, module))


def child_is_lazy(importer, name, names):  # noqa: ARG001 - the signature is PEP 810's
    # type: (str, str, Any) -> bool
    """Tell whether an import statement may be lazy: none may, every import must show what it does."""
    return False


def child_tell(job, record):
    # type: (dict[str, Any], tuple[Any, ...]) -> None
    """Write one record."""
    posix.write(job["report"], marshal.dumps(record))


def child_describe(error):
    # type: (BaseException) -> tuple[str, str, str, list[tuple[str, int, str]]]
    """Return type, message, missing module and frames of an exception."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if (
            not code.co_filename.startswith(("<frozen importlib", "<string>"))
            and code.co_name[:6] != "child_"
        ):
            frames.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - a message that cannot be made must not end the proof
        message = ""
    missing = error.name if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str) else ""
    return type(error).__name__, message[:4000], missing, frames[-3:]


def child_origins(seen):
    # type: (set[str]) -> list[tuple[str, list[str]]]
    """Return where the modules that are new since the last call came from.

    The namespace of a module is read past its own `__getattr__`: lazy modules must stay asleep.
    """
    found = []
    for name, module in list(sys.modules.items()):
        if not isinstance(name, str) or name in seen:
            continue
        seen.add(name)
        try:
            space = object.__getattribute__(module, "__dict__")
            spec = space.get("__spec__")
            places = [space.get("__file__")]
            if getattr(spec, "has_location", False):
                places.append(spec.origin)
            if places == [None]:
                places = list(space.get("__path__") or ())
            found.append((name, [str(place) for place in places if isinstance(place, str)]))
        except Exception:  # noqa: BLE001, S112, PERF203 - not a module: somebody's object in sys.modules
            continue
    return found


def child_mapped():
    # type: () -> list[str]
    """Return the files whose code is mapped into this process."""
    found = set()
    with open("/proc/self/maps", "rb") as stream:
        for line in stream:
            fields = line.split(None, 5)
            if len(fields) == 6 and b"x" in fields[1] and fields[5].startswith(b"/"):
                found.add(fields[5].rstrip(b"\n").decode("utf-8", "replace"))
    return sorted(found)


CHILD = (
    child_work,
    child_import,
    child_site,
    child_is_lazy,
    child_tell,
    child_describe,
    child_origins,
    child_mapped,
)
BOOT = (
    "import marshal, posix, sys\n"
    "job = marshal.load(sys.stdin.buffer)\n"
    "for name, code in job['code']:\n"
    "    globals()[name] = type(lambda: 0)(code, globals())\n"
    "child_work(job)\n"
)

# --- imports: the parent --------------------------------------------------------------------------


class Child(object):
    """An interpreter that imports modules and reports into a file.

    Mode `mount` is the builder's proof (see `child_site`), `image` takes the interpreter as it is, and
    `bare` is an interpreter without a bundle.
    """

    def __init__(self, modules, path, environment, timeout, mode, beside=(), uses=None):  # noqa: PLR0917 - Python 2 parses this
        # type: (list[str], str, dict[str, str], float, str, Sequence[str], dict[str, str] | None) -> None
        self.timeout = timeout
        self.report = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self.noise = tempfile.TemporaryFile()  # noqa: SIM115 - what the modules print
        variables = dict(environment, PYTHONDONTWRITEBYTECODE="1")
        if path:
            variables["PYTHONPATH"] = path
        self.process = subprocess.Popen(
            [sys.executable, "-s"] + ([] if mode == "image" else ["-S"]) + ["-c", BOOT],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.noise,
            pass_fds=[self.report.fileno()],
        )
        code = [(function.__name__, function.__code__) for function in CHILD]
        job = {
            "code": code,
            "modules": modules,
            "report": self.report.fileno(),
            "mode": mode,
            "beside": list(beside),
            "uses": uses or {},
        }
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(marshal.dumps(job))
            self.process.stdin.close()
        except OSError:
            pass  # it died at its start; `end` tells how

    def end(self):
        # type: () -> tuple[list[tuple[Any, ...]], str, str]
        """Wait and return the records, how it died (empty: it did not) and the end of what it printed."""
        try:
            code = self.process.wait(self.timeout)
            death = _death(code)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            death = "did not end within {:g} seconds".format(self.timeout)
        records = list(_records(self.report))
        self.noise.seek(0)
        printed = self.noise.read()[-4000:].decode("utf-8", "replace").strip().splitlines()[-6:]
        self.report.close()
        self.noise.close()
        return records, death, "\n".join(printed)


def _death(code):
    # type: (int) -> str
    if code == 0:
        return ""
    if code > 0:
        return "ended the interpreter with exit code {}".format(code)
    try:
        return "killed the interpreter: {}".format(signal.Signals(-code).name)
    except ValueError:
        return "killed the interpreter: signal {}".format(-code)


def _records(stream):
    # type: (BinaryIO) -> Iterator[tuple[Any, ...]]
    stream.seek(0)
    while True:
        try:
            record = marshal.load(stream)  # noqa: S302 - same interpreter; the child is trusted no more than its code
        except (EOFError, ValueError, TypeError):
            return
        yield record


def prove_imports(site_packages, modules, environment, timeout, mode, beside=()):  # noqa: PLR0917 - Python 2 parses this
    # type: (str, list[str], dict[str, str], float, str, Sequence[str]) -> dict[str, Any]
    """Import modules in mount mode and tell for each whether it works and where all came from.

    One child imports them all; where one kills it, a further child goes on after that one. What fails there
    is tried alone as well: it may fail only beside others, as two do that register the same name.

    :param beside: folders that stand behind all others on the path.
    :returns: `imported`, `failures` (module, exception, missing, detail), `startup` (why not even the
        interpreter starts, or empty), `origins` (module: places) and `mapped` (files of code).
    """
    result = _import_in_turn(site_packages, modules, environment, timeout, mode, beside)
    if len(modules) == 1:
        return result
    for failure in [one for one in result["failures"] if not one["missing"]]:
        alone = _import_in_turn(site_packages, [failure["module"]], environment, timeout, mode, beside)
        if alone["imported"]:
            result["failures"].remove(failure)
            result["imported"] = sorted(result["imported"] + alone["imported"])
            result["origins"].update(alone["origins"])
            result["mapped"] = sorted(set(result["mapped"]).union(alone["mapped"]))
    return result


def _import_in_turn(site_packages, modules, environment, timeout, mode, beside):  # noqa: PLR0917 - as above
    # type: (str, list[str], dict[str, str], float, str, Sequence[str]) -> dict[str, Any]
    pending = list(modules)
    imported = []  # type: list[str]
    failures = []  # type: list[dict[str, str]]
    origins = {}  # type: dict[str, list[str]]
    mapped = set()  # type: set[str]
    startup = ""
    while pending:
        records, death, printed = Child(pending, site_packages, environment, timeout, mode, beside).end()
        if not records:
            startup = "\n".join(part for part in (printed, death) if part)
            break
        current = ""
        for record in records[1:]:
            if record[0] == "begin":
                current = record[1]
                continue
            current = ""
            pending.remove(record[1])
            origins.update(record[3])
            mapped.update(record[4])
            if record[2] is None:
                imported.append(record[1])
            else:
                failures.append(_failure(record[1], record[2]))
        if pending:
            culprit = current or pending[0]
            pending.remove(culprit)
            detail = "\n".join(part for part in (printed, death or "ended the interpreter") if part)
            failures.append({"module": culprit, "exception": "", "missing": "", "detail": detail})
    return {
        "imported": sorted(imported),
        "failures": sorted(failures, key=lambda failure: failure["module"]),
        "startup": startup,
        "origins": origins,
        "mapped": sorted(mapped),
    }


def _failure(module, described):
    # type: (str, tuple[str, str, str, list[tuple[str, int, str]]]) -> dict[str, str]
    exception, message, missing, frames = described
    lines = []
    for filename, number, name in frames:
        lines.append('File "{}", line {}, in {}'.format(filename, number, name))
        source = linecache.getline(filename, number).strip()
        if source:
            lines.append("  " + source)
    lines.append("{}: {}".format(exception, message) if message else exception)
    return {"module": module, "exception": exception, "missing": missing, "detail": "\n".join(lines)}


# <builder only>: `bundler.bundle.standalone` leaves out what follows.

# Extension modules of the standard library that bring further shared objects with them.
LINKED = (
    "_bz2 _crypt _ctypes _curses _curses_panel _dbm _gdbm _hashlib _lzma _sqlite3 _ssl _tkinter _uuid "
    "pyexpat readline zlib"
).split()
# What programs use of the standard library: with a bundle before it, all of it must still import.
STANDARD = (
    "abc argparse asyncio base64 collections concurrent.futures configparser contextlib contextvars "
    "ctypes dataclasses datetime decimal enum functools hashlib hmac http.client importlib.util inspect "
    "io ipaddress json logging.config multiprocessing numbers os pathlib pickle platform queue random "
    "re secrets select selectors shutil signal socket ssl statistics string struct subprocess tempfile "
    "threading traceback types typing unittest urllib.request uuid warnings weakref "
    "xml.etree.ElementTree"
).split()
# What a program does first with a module of which there are backports: dataclasses 0.6 imports on 3.8, and
# no class can be made with it.
USES = {
    "argparse": "import argparse; argparse.ArgumentParser().parse_args([])",
    "concurrent.futures": "import concurrent.futures as c; c.ThreadPoolExecutor(1).submit(int).result()",
    "contextvars": "import contextvars; contextvars.copy_context().run(int)",
    "dataclasses": "import dataclasses; dataclasses.make_dataclass('A', [('b', int)])(1)",
    "enum": "import enum; enum.IntFlag('A', 'b c')",
    "hmac": "import hmac; hmac.new(b'k', b'm', 'sha256').hexdigest()",
    "ipaddress": "import ipaddress; ipaddress.ip_network('::/64')",
    "pathlib": "import os, pathlib; open(pathlib.Path(os.devnull)).close()",
    "selectors": "import selectors; selectors.DefaultSelector().close()",
    "statistics": "import statistics; statistics.mean([1, 2])",
    "typing": "import typing; typing.Dict[str, typing.Optional[int]]",
    "uuid": "import uuid; uuid.uuid4()",
}


def builder_proof(root, job):
    # type: (str, dict[str, Any]) -> dict[str, Any]
    """Prove the imports of the tree at `root` with the base interpreter, run as `python -I -S imports.py`.

    :param job: `site_packages` (relative to the root), `obligations` (lists of modules; each list is
        imported in a process of its own), `modules` (what else is tried, in one process after them),
        `timeout` (seconds a child), `beside` (folders that stand for the image's own site-packages).
    :returns: what `prove_imports` returns of all together with every path resolved, `stdlib` (this
        interpreter's folders) and `own` (files of code that it maps without any bundle); `standard`:
        failures, as above, of modules of the standard library that import without the bundle; `obligations`:
        for each list `imported`, `failures`, `mapped`, and `loaded` (names of all modules that it brought).
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    path = os.path.join(root, *job["site_packages"].split("/"))
    bare = Child(LINKED + STANDARD, "", environment, job["timeout"], "bare", uses=USES)
    standard = Child(STANDARD, path, environment, job["timeout"], "mount", uses=USES)
    obliged = _fulfil(job, path, environment)
    loaded = set()  # type: set[str]
    for one in obliged:
        loaded.update(one["origins"])
    rest = [module for module in job["modules"] if module not in loaded]
    result = prove_imports(path, rest, environment, job["timeout"], "mount", job["beside"])
    result["imported"] = sorted(set(result["imported"]).union(set(job["modules"]) & loaded))
    result["mapped"] = sorted(set(result["mapped"]).union(*(one["mapped"] for one in obliged)))
    for one in obliged:
        result["startup"] = result["startup"] or one.pop("startup")
        result["origins"].update(one["origins"])
        one["loaded"] = sorted(one.pop("origins"))
    result["obligations"] = obliged
    own = set()  # type: set[str]
    sound = set()  # type: set[str]
    for record in bare.end()[0]:
        if record[0] == "end":
            own.update(record[4])
            if record[2] is None:
                sound.add(record[1])
    result["standard"] = [
        _failure(record[1], record[2])
        for record in standard.end()[0]
        if record[0] == "end" and record[2] is not None and record[1] in sound
    ]
    places = {}  # type: dict[str, str]
    written = {}  # type: dict[str, str]
    for module, found in sorted(result["origins"].items()):
        for place in found:
            # A place that does not exist is a name that somebody made up, not where code came from.
            if os.path.isabs(place) and os.path.exists(place):
                places.setdefault(os.path.realpath(place), module)
                written.setdefault(os.path.realpath(place), os.path.abspath(place))
    del result["origins"]
    result["places"] = places
    result["written"] = written
    result["root"] = os.path.realpath(root)
    result["own"] = sorted(own)
    result["stdlib"] = [os.path.realpath(folder) for folder in sys.path]
    return result


def _fulfil(job, path, environment):
    # type: (dict[str, Any], str, dict[str, str]) -> list[dict[str, Any]]
    """Import every list of modules in a process of its own, so many at a time as there are processors."""
    import threading  # noqa: PLC0415 - the verifier that travels needs none

    waiting = list(enumerate(job["obligations"]))[::-1]
    done = {}  # type: dict[int, dict[str, Any]]

    def work():
        # type: () -> None
        while True:
            try:
                index, modules = waiting.pop()
            except IndexError:
                return
            done[index] = prove_imports(path, modules, environment, job["timeout"], "mount", job["beside"])

    workers = [threading.Thread(target=work) for _ in range(len(os.sched_getaffinity(0)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [done[index] for index in sorted(done)]


if __name__ == "__main__":
    json.dump(builder_proof(os.path.abspath(sys.argv[1]), json.load(sys.stdin)), sys.stdout)
