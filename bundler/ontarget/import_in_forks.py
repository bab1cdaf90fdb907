"""Imports a tree's modules in processes of which none can say anything for another; the builder's proof.

Run as `python -I -S` with the path of the tree; a job is on standard input (`builder_proof`). What is run is
this file with its sibling in it: `bundler.bundle.standalone` joins them.
"""

# ruff: noqa: E402 - where the two are joined, what `MYPY` guards stands above the sibling

import json
import marshal
import os
import posix
import signal
import subprocess
import sys
import tempfile
import threading

MYPY = False
if MYPY:
    from collections.abc import Callable, Sequence  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

# <joined: imports.py>
from bundler.ontarget.imports import (
    CHILD,
    MOST_PRINTED,
    MOST_REPORTED,
    Child,
    child_json,
    child_origins,
    child_work,
    death_of,
    failure_of,
    last_lines,
    overdue,
    prove_imports,
    read_records,
    tied,
)

# </joined>

# --- the process that forks -----------------------------------------------------------------------

# A process that is forked from a clean one costs less than one that is started, and is closed to all others
# from its first moment on: none can trace it, open its descriptors or read its memory (man 2 prctl,
# PR_SET_DUMPABLE). One that is started is open, for a moment, to what an earlier module has left running.


def child_prctl():
    # type: () -> Callable[[int, int], bool] | None
    """Return what calls prctl and tells whether that worked; None on an interpreter that cannot."""
    try:
        import _ctypes  # noqa: PLC0415 - not `ctypes`, which would be there for the modules already

        program = None  # type: Any
        prctl = _ctypes.dlsym(_ctypes.dlopen(program, 2), "prctl")
        call = _ctypes.call_function
        del sys.modules["_ctypes"]
    except Exception:  # noqa: BLE001 - the caller says that nothing is guarded
        return None
    return lambda option, value: bool(call(prctl, (option, value, 0, 0, 0)) == 0)


def child_guard(prctl):
    # type: (Callable[[int, int], bool] | None) -> bool
    """Close this process and what is forked from it to others of this user, and tell whether that worked."""
    return prctl is not None and prctl(4, 0)


def child_take(size):
    # type: (int) -> bytes
    """Return so many bytes of standard input; fewer at its end."""
    found = b""
    while len(found) < size:
        data = posix.read(0, size - len(found))
        if not data:
            break
        found += data
    return found


def child_give(descriptor, most):
    # type: (int, int) -> None
    """Write the last bytes of a file to standard output, behind their number, and close it."""
    size = posix.lseek(descriptor, 0, 2)
    posix.lseek(descriptor, max(0, size - most), 0)
    data = b""
    while len(data) < most:
        more = posix.read(descriptor, most - len(data))
        if not more:
            break
        data += more
    posix.close(descriptor)
    rest = b"%016x" % len(data) + data
    while rest:
        rest = rest[posix.write(1, rest) :]


def child_file(folder):
    # type: (str) -> int
    """Open a file without a name, or with one for a moment only."""
    try:
        return posix.open(folder, posix.O_TMPFILE | posix.O_EXCL | posix.O_RDWR, 0o600)
    except OSError:
        name = "{}/.{}".format(folder, posix.urandom(16).hex())
        found = posix.open(name, posix.O_CREAT | posix.O_EXCL | posix.O_RDWR, 0o600)
        posix.unlink(name)
        return found


def child_fork(job):
    # type: (dict[str, Any]) -> None
    """Fork a child for each job that comes on standard input; tell its number, and in the end how it was.

    This process imports nothing of the bundle, so that each child starts as an interpreter does that has
    imported some modules of the standard library (`PRELOADED`).
    """
    if sys.path and not sys.path[0]:
        del sys.path[0]
    for name in job["preloaded"]:
        __import__(name)
        if name == "platform":
            sys.modules[name].uname()  # up to 3.8 this starts a program, for each process that imports uuid
    known = dict(sys.modules)
    origins = child_json(child_origins(set(), {})).encode("utf-8")
    gc = __import__("gc")
    # An import makes much and drops little: collections find nothing, and copy the pages that forks share.
    gc.freeze()
    gc.set_threshold(200000, 50, 50)
    prctl = child_prctl()
    posix.write(1, b"%d%016x" % (child_guard(prctl), len(origins)) + origins)
    parent = posix.getpid()
    listed = [""]
    while True:
        size = child_take(16)
        if not size:
            posix._exit(0)  # noqa: SLF001 - `os` is not imported
        request = marshal.loads(child_take(int(size, 16)))  # noqa: S302 - from the process that judges
        if "importlib.machinery" in job["preloaded"] and request["path"] not in listed:
            listed.append(request["path"])  # the folder of the bundle, which each child would list
            sys.modules["importlib.machinery"].PathFinder.find_spec("-", [request["path"]])
        report, noise = child_file(job["folder"]), child_file(job["folder"])
        number = posix.fork()
        if not number:
            # It ends with this process, also if that is killed before the kernel is told.
            if prctl is not None and prctl(1, 9) and posix.getppid() != parent:
                posix._exit(1)  # noqa: SLF001 - as above
            child_begin(dict(request, known=known), report, noise)
        posix.write(1, b"%016x" % number)
        status = posix.waitpid(number, 0)[1]
        try:
            posix.killpg(number, 9)  # what it has started and left
        except OSError:
            pass
        posix.write(1, b"%016x" % status)
        child_give(report, request["most reported"])
        child_give(noise, request["most printed"])


def child_begin(request, report, noise):
    # type: (dict[str, Any], int, int) -> None
    """Be a child: with no descriptor but its own, and with the bundle on the path if there is one."""
    try:
        posix.setsid()
        null = posix.open("/dev/null", posix.O_RDWR)
        for old, new in ((null, 0), (null, 1), (noise, 2)):
            posix.dup2(old, new)
        posix.close(null)
        posix.close(noise)
        if request["path"]:
            sys.path[:0] = request["path"].split(":")
            posix.environ[b"PYTHONPATH"] = request["path"].encode("utf-8", "surrogateescape")
            posix.putenv(b"PYTHONPATH", posix.environ[b"PYTHONPATH"])
        child_work(dict(request, report=report))
    except BaseException:  # noqa: BLE001 - no child goes on as its parent
        try:
            sys.__excepthook__(*sys.exc_info())
            sys.__stderr__.flush()  # type: ignore[union-attr] # there is one
        finally:
            posix._exit(1)  # noqa: SLF001 - as above


# Seconds that the process that forks has, after a time limit, to tell how a child has ended.
GRACE = 10

FORK_BOOT = (
    "import marshal, posix, sys\n"
    "size, data = int(posix.read(0, 16), 16), b''\n"
    "while len(data) < size:\n"
    "    data += posix.read(0, size - len(data))\n"
    "job = marshal.loads(data)\n"
    "for name, code in job['code']:\n"
    "    globals()[name] = type(lambda: 0)(code, globals())\n"
    "child_fork(job)\n"
)
FORKING = (child_prctl, child_guard, child_take, child_give, child_file, child_fork, child_begin)


class Forks(object):
    """An interpreter without the bundle, from which children that import are forked, one after the other."""

    def __init__(self, environment, preloaded):
        # type: (dict[str, str], list[str]) -> None
        """Start it; see `ready`.

        :param preloaded: what it imports before the first fork.
        """
        self.timeout = 0.0  # seconds a child
        variables = dict(environment, PYTHONDONTWRITEBYTECODE="1")
        self.process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-c", FORK_BOOT],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=tied(),  # noqa: PLW1509 - see there
        )
        code = [(function.__name__, function.__code__) for function in CHILD + FORKING]
        data = marshal.dumps({"code": code, "folder": tempfile.gettempdir(), "preloaded": preloaded})
        self._send(b"%016x" % len(data) + data)

    def ready(self):
        # type: () -> None
        """Wait until it can fork; it says `guarded` (`child_guard`) and the `origins` of its own modules."""
        self.guarded = self._take(1) == b"1"
        self.origins = json.loads(self._take(self._number()).decode("utf-8"))

    def _send(self, data):
        # type: (bytes) -> None
        assert self.process.stdin is not None
        try:
            while data:
                data = data[self.process.stdin.write(data) :]
        except OSError:
            pass  # it has died; the next answer does not come

    def _take(self, size):
        # type: (int) -> bytes
        assert self.process.stdout is not None
        found = b""
        while len(found) < size:
            data = self.process.stdout.read(size - len(found))
            if not data:
                raise EOFError("the process that starts what imports has ended")
            found += data
        return found

    def _number(self):
        # type: () -> int
        return int(self._take(16), 16)

    def run(self, modules, path, mode, beside=(), uses=None):
        # type: (list[str], str, str, Sequence[str], dict[str, str] | None) -> tuple[list[Any], str, str]
        """Import modules in a child; see `prove_imports`."""
        job = {"modules": modules, "path": path, "mode": mode, "beside": list(beside)}  # type: dict[str, Any]
        job.update({"uses": uses or {}, "most reported": MOST_REPORTED + 1, "most printed": MOST_PRINTED})
        data = marshal.dumps(job)
        started = []  # type: list[int]
        late = []
        told = threading.Event()

        def watch():
            # type: () -> None
            if told.wait(self.timeout):
                return
            late.append(True)
            # A module can have stopped the process that forks, which belongs to the same user: before that
            # has told a number, or once more after it was continued.
            for _ in range(GRACE * 20):
                try:
                    os.kill(started[0], signal.SIGKILL)
                except (IndexError, OSError):
                    pass  # it has not begun, or has ended
                self.process.send_signal(signal.SIGCONT)
                if told.wait(0.05):
                    return
            self.process.kill()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()  # before anything is asked: what an earlier module has left may stop that process
        try:
            self._send(b"%016x" % len(data) + data)
            started.append(self._number())
            status = self._number()
            report, noise = self._take(self._number()), self._take(self._number())
        finally:
            told.set()
            watching.join()
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        death = overdue(self.timeout) if late else death_of(code)
        return read_records(report, modules), death, last_lines(noise)

    def end(self):
        # type: () -> None
        """End the process, which waits for the next job, or is stopped by what a module has left."""
        self.process.kill()
        self.process.wait()


# Extension modules of the standard library that bring further shared objects with them; what `STANDARD` names
# brings no others, which a test holds.
LINKED = (
    "_bz2 _crypt _ctypes _curses _curses_panel _dbm _decimal _gdbm _hashlib _lzma _sqlite3 _ssl _tkinter "
    "_uuid pyexpat readline zlib"
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

# What most distributions import: done once, this saves a third of all imports. None of them is linked with a
# library or starts a thread, and gevent and the like patch them in their place; beside their own parts they
# bring no submodule but `collections.abc` and `importlib.machinery`, which others could use unimported.
PRELOADED = (
    "os re enum functools types keyword operator collections heapq itertools typing contextlib string struct "
    "warnings weakref copy copyreg datetime numbers math bisect textwrap traceback linecache tokenize "
    "ast dis inspect fnmatch importlib.machinery json time calendar stat pickle site "
    "__future__ errno locale logging platform queue select selectors signal socket subprocess threading"
).split()

# What a program does first with a module of which there are backports: dataclasses 0.6 imports on 3.8, and
# no class can be made with it.
# No thread may end: glibc loads libgcc_s for that, which then looked like the interpreter's own.
USES = {
    "argparse": "import argparse; argparse.ArgumentParser().parse_args([])",
    "concurrent.futures": (
        "import concurrent.futures as c; c.one = c.ThreadPoolExecutor(1); c.one.submit(int).result()"
    ),
    "contextvars": "import contextvars; contextvars.copy_context().run(int)",
    "dataclasses": "import typing, dataclasses; dataclasses.make_dataclass('A', [('b', int)])(1)",
    "enum": "import enum; enum.IntFlag('A', 'b c')",
    "hmac": "import hmac; hmac.new(b'k', b'm', 'sha256').hexdigest()",
    "ipaddress": "import ipaddress; ipaddress.ip_network('::/64')",
    "pathlib": "import os, pathlib; open(pathlib.Path(os.devnull)).close()",
    "selectors": "import selectors; selectors.DefaultSelector().close()",
    "statistics": "import statistics; statistics.mean([1, 2])",
    "typing": "import typing; typing.Dict[str, typing.Optional[int]]",
    "uuid": "import uuid; uuid.uuid4()",
}


# The least that Django's own modules ask for: what fails behind that is no matter of settings.
SETTINGS = (
    "import django; from django.conf import settings; settings.configure(SECRET_KEY='-', INSTALLED_APPS="
    "['django.contrib.' + name for name in ('contenttypes', 'auth', 'sessions', 'messages')]); django.setup()"
)


def builder_proof(root, job, forks, environment):
    # type: (str, dict[str, Any], list[Forks], dict[str, str]) -> dict[str, Any]
    """Prove the imports of the tree at `root` with the base interpreter, run as `python -I -S imports.py`.

    Each obligation, and what each distribution brings, is imported in a process of its own: a module decides
    what is said of it and of what imports it, and of nothing else.

    :param job: `site_packages` (relative to the root), `modules` (name of a distribution: its modules),
        `obligations` (pairs of the distribution whose own they are, or nothing, and modules), `timeout`
        (seconds a child), `beside` (folders that stand for the image's own site-packages).
    :param forks: what `begin_forks` has started.
    :returns: what `prove_imports` returns of all together with every path resolved, `stdlib` (this
        interpreter's folders) and `own` (files of code that it maps without any bundle); `standard`:
        failures, as above, of modules of the standard library that import without the bundle; `obligations`:
        for each `imported`, `failures` and `mapped`; `guarded`: whether no module could reach the process of
        another, or this one.
    """
    path = os.path.join(root, *job["site_packages"].split("/"))
    # Nothing of the bundle runs before they are closed to it.
    forks = ready_forks(forks, environment, job["timeout"], path)
    # The one that is started, not forked, has ended before a module can leave something that runs.
    started = Child(STANDARD, path, environment, job["timeout"], "mount", uses=USES)
    bare = forks[0].run(LINKED, "", "bare")[0]
    standard, death, printed = started.end()
    hidden = _broken(standard, forks[0])

    def prove(fork, modules):
        # type: (Forks, list[str]) -> dict[str, Any]
        result = prove_imports(lambda names: fork.run(names, path, "mount", job["beside"]), modules)
        for failure in result["failures"]:
            if failure["exception"] == "ImproperlyConfigured":
                names = ["django.conf", failure["module"]]
                records = fork.run(names, path, "mount", job["beside"], {"django.conf": SETTINGS})[0]
                failure["behind"] = _import_error(records, failure["module"])
        return result

    obliged, rest, known = _all_of(forks, prove, job["obligations"], job["modules"])
    for fork in forks:
        fork.end()
    imported = [module for modules in known.values() for module in modules]
    startup = "" if standard else "\n".join(part for part in (printed, death) if part) or "no start"
    result = {
        "imported": sorted(set(imported).union(*(one["imported"] for one in rest))),
        "failures": sorted(
            (failure for one in rest for failure in one["failures"]), key=lambda failure: failure["module"]
        ),
        "startup": next(filter(None, [startup, *(one["startup"] for one in obliged + rest)]), ""),
        "mapped": sorted(set().union(*(one["mapped"] for one in obliged + rest))),
        "obligations": [{key: one[key] for key in ("imported", "failures", "mapped")} for one in obliged],
        "guarded": all(fork.guarded for fork in forks),
    }  # type: dict[str, Any]
    result["standard"] = hidden
    result["own"] = sorted({path for record in bare if record[0] == "end" for path in record[4]})
    result["places"], result["written"] = _places([{"origins": forks[0].origins}, *obliged, *rest])
    result["root"] = os.path.realpath(root)
    result["stdlib"] = [os.path.realpath(folder) for folder in sys.path]
    return result


def _import_error(records, module):
    # type: (list[Any], str) -> str
    """Return the import error with which a module failed; empty for another one and for none."""
    for record in records:
        if (
            record[:2] == ["end", module]
            and record[2]
            and record[2][0] in {"ImportError", "ModuleNotFoundError"}
        ):
            return failure_of(module, record[2])["detail"]
    return ""


def begin_forks(environment, preloaded):
    # type: (dict[str, str], list[str]) -> list[Forks]
    """Start a process that forks for each processor, all at the same time."""
    return [Forks(environment, preloaded) for _ in os.sched_getaffinity(0)]


def ready_forks(forks, environment, timeout, path):
    # type: (list[Forks], dict[str, str], float, str) -> list[Forks]
    """Wait until they can fork; others are started where the bundle replaces what these have imported."""
    for fork in forks:
        fork.ready()
    brought = {name.partition(".")[0] for name, _ in forks[0].origins}
    present = {entry.partition(".")[0] for entry in os.listdir(path)} if os.path.isdir(path) else set()
    if brought & present:
        for fork in forks:
            fork.end()
        forks = begin_forks(environment, [])
        for fork in forks:
            fork.ready()
    for fork in forks:
        fork.timeout = timeout
    return forks


def _all_of(forks, prove, obligations, every):
    # type: (list[Forks], Callable[[Forks, list[str]], dict[str, Any]], list[Any], dict[str, list[str]]) -> Any
    """Import each obligation, and what they did not bring of each distribution.

    :returns: the results of the obligations and of the rest, and name of a distribution: its modules that its
        own obligations brought.
    """
    owners = {name for name, _ in obligations}
    # What nothing obliges waits for nothing: no processor is idle while a long obligation ends.
    free = [sorted(set(modules)) for name, modules in sorted(every.items()) if name not in owners]
    lists = [modules for _, modules in obligations] + [modules for modules in free if modules]
    done = _in_parallel(forks, prove, lists)
    obliged, rest = done[: len(obligations)], done[len(obligations) :]
    known = {name: set() for name in every}  # type: dict[str, set[str]]
    for index, (name, _) in enumerate(obligations):
        # Of its own distribution alone: of another one it may say what it likes.
        known.setdefault(name, set()).update(module for module, _ in obliged[index]["origins"])
    known = {name: known[name].intersection(modules) for name, modules in every.items()}
    left = [sorted(set(modules) - known[name]) for name, modules in sorted(every.items()) if name in owners]
    return obliged, rest + _in_parallel(forks, prove, [modules for modules in left if modules]), known


def _broken(standard, fork):
    # type: (list[Any], Forks) -> list[dict[str, str]]
    """Return the failures of modules of the standard library that import without the bundle.

    Without it they are imported only where one fails: nothing of the bundle runs in that process.
    """
    failed = [record for record in standard if record[0] == "end" and record[2] is not None]
    if not failed:
        return []
    bare = fork.run(STANDARD, "", "bare", uses=USES)[0]
    sound = {record[1] for record in bare if record[0] == "end" and record[2] is None}
    return [failure_of(record[1], record[2]) for record in failed if record[1] in sound]


def _places(results):
    # type: (list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]
    """Return real path: module, and real path: path as written, of all places from which anything came."""
    places = {}  # type: dict[str, str]
    written = {}  # type: dict[str, str]
    folders = {}  # type: dict[str, str]
    for module, place in sorted(
        {(name, place) for one in results for name, all_ in one["origins"] for place in all_}
    ):
        # A place that does not exist is a name that somebody made up, not where code came from.
        if os.path.isabs(place) and os.path.exists(place):
            real = _real_path(place, folders)
            places.setdefault(real, module)
            written.setdefault(real, os.path.abspath(place))
    return places, written


def _real_path(path, folders):
    # type: (str, dict[str, str]) -> str
    """Return `os.path.realpath` of a path; `folders` keeps those of folders, of which thousands share few."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    found = os.path.join(folders[folder], name)
    return os.path.realpath(found) if name in {"", ".", ".."} or os.path.islink(found) else found


def _in_parallel(forks, prove, lists):
    # type: (list[Forks], Callable[[Forks, list[str]], dict[str, Any]], list[list[str]]) -> list[dict[str, Any]]
    """Import every list of modules in a process of its own, so many at a time as there are processors."""
    waiting = list(enumerate(lists))[::-1]
    done = {}  # type: dict[int, dict[str, Any]]
    broken = []  # type: list[str]

    def work(fork):
        # type: (Forks) -> None
        while not broken:
            try:
                index, modules = waiting.pop()
            except IndexError:
                return
            try:
                done[index] = prove(fork, modules)
            except (EOFError, ValueError) as error:
                broken.append("{}, while it imported {}".format(error, ", ".join(modules)[:1000]))

    workers = [threading.Thread(target=work, args=(fork,)) for fork in forks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if broken:
        # Something that was imported has ended it: nothing that was said is believed.
        sys.exit("imports: " + "; ".join(broken))
    return [done[index] for index in sorted(done)]


def main(root):
    # type: (str) -> None
    """Do the job on standard input; what takes no job is done while nobody has one yet."""
    child_guard(child_prctl())  # `guarded` tells whether it worked
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    forks = begin_forks(environment, PRELOADED)
    said = sys.stdin.read()
    if said:
        json.dump(builder_proof(root, json.loads(said), forks, environment), sys.stdout)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
