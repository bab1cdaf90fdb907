"""Imports modules in an interpreter of their own and tells for each whether it works, and what it brought."""

import json
import marshal
import os
import posix
import signal
import stat
import subprocess
import sys
import tempfile

MYPY = False
if MYPY:
    from collections.abc import Callable, Sequence  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

TIMEOUT = 300.0  # seconds for a child that imports
MOST_REPORTED = 64 << 20  # bytes that a child may report, and of a file of source
MOST_PRINTED = 4000  # bytes of what it prints, the last ones

# --- imports: the child ---------------------------------------------------------------------------
# These functions run in the child, sent there as code. They use built-in modules only: a bundle that
# hides `re` or `json` must break what it would break anyway, and the report must arrive all the same.


def child_work(job):
    # type: (dict[str, Any]) -> None
    """Import every module of the job and report each."""
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
        child_tell(job, ("end", name, failure, child_origins(seen, job.get("known", {})), mapped))
    # No exit handlers or threads of the bundle: the proof is over.
    posix._exit(0)  # noqa: SLF001 - `os` may be the bundle's


def child_site():
    # type: () -> None
    """Do what `site` does for a directory on PYTHONPATH, and nothing of what it does for the machine.

    The child runs under -S because the base interpreter has a site-packages of its own (pip and
    setuptools, often): `import pkg_resources` must not work by that luck, and an optional
    `try: import setuptools` must not look like a leak. What remains of `site` in mount mode are its
    built-in names, the two start-up modules, which Python does take from PYTHONPATH, and `USER_SITE`, which
    is a path whether there is such a folder or not: TensorFlow 1.15 joins it with a name.
    """
    import site  # noqa: PLC0415 - in the child only, where the interpreter itself imports it

    site.getusersitepackages()
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
    """Write one record, a line of JSON."""
    posix.write(job["report"], (child_json(record) + "\n").encode("utf-8"))


def child_json(value):
    # type: (Any) -> str
    """Return None, texts, numbers, tuples and lists as JSON: `json` may be the bundle's."""
    if value is None:
        return "null"
    if isinstance(value, str):
        if value.isprintable() and '"' not in value and "\\" not in value:
            return '"' + value + '"'
        units = value.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(["\\u" + units[at : at + 4] for at in range(0, len(units), 4)]) + '"'
    if isinstance(value, int):
        return "%d" % value
    return "[" + ",".join([child_json(one) for one in value]) + "]"


def child_describe(error):
    # type: (BaseException) -> tuple[str, str, str, list[tuple[str, int, str]]]
    """Return type, message, missing module and frames of an exception.

    Of an exit because an import has failed (`except ImportError: sys.exit(1)`) those of the import.
    """
    said = ""
    if isinstance(error, SystemExit) and isinstance(error.__context__, ImportError):
        said = ": " + error.code if isinstance(error.code, str) else ""
        error = error.__context__
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
        message = str(error) + said
    except BaseException:  # noqa: BLE001 - a message that cannot be made must not end the proof
        message = ""
    missing = error.name if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str) else ""
    return type(error).__name__, message[:4000], missing, frames[-3:]


def child_origins(seen, known):
    # type: (set[str], dict[str, Any]) -> list[tuple[str, list[str]]]
    """Return where the modules that are new since the last call came from; those of `known` are told already.

    The namespace of a module is read past its own `__getattr__`: lazy modules must stay asleep.
    """
    found = []
    for name, module in list(sys.modules.items()):
        if not isinstance(name, str) or name in seen or known.get(name) is module:
            continue
        seen.add(name)
        try:
            space = object.__getattribute__(module, "__dict__")
            spec = space.get("__spec__")
            places = [space.get("__file__")]
            if getattr(spec, "has_location", False) and spec.origin != places[0]:
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
    child_json,
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


def tied():
    # type: () -> Callable[[], None] | None
    """Return what a child calls before its program begins, so that it is killed when this process is.

    None where this Python has no ctypes, or the system no prctl (man 2 prctl, PR_SET_PDEATHSIG). It runs
    between fork and exec, where a process with threads may do little: it calls the kernel alone.
    """
    try:
        import ctypes  # noqa: PLC0415 - an interpreter may lack it

        prctl = ctypes.CDLL(None).prctl
    except Exception:  # noqa: BLE001 - SELinux can end the import of ctypes with a MemoryError
        return None
    parent = os.getpid()
    arguments = [ctypes.c_int(1), ctypes.c_ulong(signal.SIGKILL)]

    def tie():
        # type: () -> None
        prctl(*arguments)
        if os.getppid() != parent:
            os._exit(1)  # it was killed before the kernel was told

    return tie


class Child(object):
    """An interpreter that imports modules and reports into a file.

    Mode `mount` is the builder's proof (see `child_site`), `image` takes the interpreter as it is, and
    `bare` is an interpreter without a bundle.
    """

    def __init__(self, modules, path, environment, timeout, mode, beside=(), uses=None):  # noqa: PLR0917 - Python 2 parses this
        # type: (list[str], str, dict[str, str], float, str, Sequence[str], dict[str, str] | None) -> None
        self.modules = modules
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
            start_new_session=True,
            preexec_fn=tied(),  # noqa: PLW1509 - see there
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
            death = death_of(code)
        except subprocess.TimeoutExpired:
            death = overdue(self.timeout)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # with all that it has started and left
        except OSError:
            pass
        self.process.wait()
        self.report.seek(0)
        records = read_records(self.report.read(MOST_REPORTED + 1), self.modules)
        self.noise.seek(-min(self.noise.seek(0, os.SEEK_END), MOST_PRINTED), os.SEEK_END)
        printed = last_lines(self.noise.read(MOST_PRINTED))
        self.report.close()
        self.noise.close()
        return records, death, printed


def death_of(code):
    # type: (int) -> str
    """Return how a process died; empty: it did not."""
    if code == 0:
        return ""
    if code > 0:
        return "ended the interpreter with exit code {}".format(code)
    try:
        return "killed the interpreter: {}".format(signal.Signals(-code).name)
    except ValueError:
        return "killed the interpreter: signal {}".format(-code)


def overdue(timeout):
    # type: (float) -> str
    """Return how a process died that took too long."""
    return "did not end within {:g} seconds".format(timeout)


def last_lines(printed):
    # type: (bytes) -> str
    """Return the end of what a process printed."""
    return "\n".join(printed.decode("utf-8", "replace").strip().splitlines()[-6:])


def read_records(data, modules):
    # type: (bytes, list[str]) -> list[Any]
    """Return what a child says of its modules, up to what it cannot have said.

    The modules share its process: whatever they write there is read as text of a known form, and counts for
    the modules that this child was asked for, in their order, alone.
    """
    found = []  # type: list[Any]
    expected = [("ready", "")]
    for name in modules:
        expected += [("begin", name), ("end", name)]
    if len(data) > MOST_REPORTED:
        return found
    for line in data.split(b"\n")[: len(expected)]:
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            break
        if not _is_record(record, *expected[len(found)]):
            break
        found.append(record)
    return found


def _is_record(record, kind, name):
    # type: (Any, str, str) -> bool
    if kind != "end":
        return bool(record == ([kind, name] if name else [kind]))
    if not (isinstance(record, list) and len(record) == 5 and record[:2] == [kind, name]):
        return False
    failure, origins, mapped = record[2:]
    return (
        (failure is None or _is_failure(failure))
        and isinstance(origins, list)
        and all(isinstance(one, list) and len(one) == 2 and _are_texts(one[:1]) for one in origins)
        and all(_are_texts(places) for _, places in origins)
        and _are_texts(mapped)
    )


def _is_failure(value):
    # type: (Any) -> bool
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(one, str) for one in value[:3])
        and isinstance(value[3], list)
        and all(isinstance(one, list) and [type(part) for part in one] == [str, int, str] for one in value[3])
    )


def _are_texts(value):
    # type: (Any) -> bool
    """Tell whether all is text that can be a path, with no lone surrogate but those of a file's name."""
    try:
        return isinstance(value, list) and all(b"\0" not in os.fsencode(one) for one in value)
    except (TypeError, ValueError):
        return False


def prove_imports(run, modules):
    # type: (Callable[[list[str]], tuple[list[Any], str, str]], list[str]) -> dict[str, Any]
    """Import modules in mount mode and tell for each whether it works and where all came from.

    One child imports them all; where one kills it, a further child goes on after that one. What fails there
    is tried alone as well: it may fail only beside others, as two do that register the same name.

    :param run: imports modules in one child, and returns the records, how it died (empty: it did not) and
        what it printed.
    :returns: `imported`, `failures` (module, exception, missing, detail), `startup` (why not even the
        interpreter starts, or empty), `origins` (pairs of module and places) and `mapped` (files of code).
    """
    result = _import_in_turn(run, modules)
    if len(modules) == 1:
        return result
    for failure in [one for one in result["failures"] if not one["missing"]]:
        alone = _import_in_turn(run, [failure["module"]])
        if alone["imported"]:
            result["failures"].remove(failure)
            result["imported"] = sorted(result["imported"] + alone["imported"])
            result["origins"] += alone["origins"]
            result["mapped"] = sorted(set(result["mapped"]).union(alone["mapped"]))
    return result


def _import_in_turn(run, modules):
    # type: (Callable[[list[str]], tuple[list[Any], str, str]], list[str]) -> dict[str, Any]
    pending = list(modules)
    imported = []  # type: list[str]
    failures = []  # type: list[dict[str, str]]
    origins = []  # type: list[tuple[str, list[str]]]
    mapped = set()  # type: set[str]
    startup = ""
    while pending:
        records, death, printed = run(list(pending))
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
            origins += record[3]
            mapped.update(record[4])
            if record[2] is None:
                imported.append(record[1])
            else:
                failures.append(failure_of(record[1], record[2]))
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


def failure_of(module, described):
    # type: (str, tuple[str, str, str, list[tuple[str, int, str]]]) -> dict[str, str]
    """Return the failure of a module from what `child_describe` says."""
    exception, message, missing, frames = described
    lines = []
    for filename, number, name in frames:
        lines.append('File "{}", line {}, in {}'.format(filename, number, name))
        source = _source_line(filename, number)
        if source:
            lines.append("  " + source)
    lines.append("{}: {}".format(exception, message) if message else exception)
    detail = "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")
    return {"module": module, "exception": exception, "missing": missing, "detail": detail}


def _source_line(filename, number):
    # type: (str, int) -> str
    """Return a line of a regular file, or nothing: whoever was imported says which file."""
    try:
        descriptor = os.open(filename, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_REPORTED:
                return ""
            lines = stream.read(status.st_size).decode("utf-8", "replace").split("\n")
    except (OSError, ValueError):
        return ""
    return lines[number - 1].strip()[:1000] if 0 < number <= len(lines) else ""
