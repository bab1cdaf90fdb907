#!/usr/bin/env python3
"""Verifies an envbundle bundle at the place where it runs: files, target, imports. No dependencies.

    python verify.py [--json] [--no-imports] [BUNDLE]

Exit codes: 0 the bundle is sound and works here; 1 findings; 2 wrong usage, a wrong Python or an
unreadable bundle; 3 the machine got in the way.

It runs on Python 3.7 and later, and parses on every Python since 2.7 (type comments, no f-strings),
so that a wrong one is refused with a sentence and not with a SyntaxError.
"""

# ruff: noqa: E402 - two things must happen before the imports; the comments below say which

from __future__ import print_function

import os
import sys

if sys.version_info < (3, 7):
    sys.stderr.write(
        "error: verify.py needs Python 3.7 or later, this is {}.{}\n"
        "hint: run it with the Python that will use the bundle (manifest.json names it)\n".format(
            *sys.version_info[:2]
        )
    )
    sys.exit(2)

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    # A bundle may hide the standard library, whether PYTHONPATH names it already or a stray file
    # lies beside this one. The judge must not import what it judges.
    sys.path[:] = [
        path for path in sys.path if path and not (os.path.abspath(path) + os.sep).startswith(HERE + os.sep)
    ]

import argparse
import hashlib
import json
import linecache
import marshal
import platform
import posix
import re
import signal
import subprocess
import sysconfig
import tempfile
import threading

MYPY = False
if MYPY:
    from collections.abc import Iterable, Iterator  # noqa: F401 - used in type comments
    from typing import Any, BinaryIO  # noqa: F401 - used in type comments

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
TIMEOUT = 300.0  # seconds for a child that imports
BUFFER = 1 << 20
THREADS = 2
SHOWN = 50

# --- files ----------------------------------------------------------------------------------------


def walk(root):
    # type: (str) -> tuple[list[tuple[str, int, int]], list[str]]
    """List the regular files below a folder as (path, size, mode), and what is neither file nor folder.

    Paths are POSIX strings relative to `root`, sorted. No symlink is followed. Names are read as
    bytes and decoded as UTF-8 here, since the locale of the target is not ours to choose.
    """
    files = []  # type: list[tuple[str, int, int]]
    irregular = []  # type: list[str]
    folders = [(os.fsencode(root), "")]
    while folders:
        folder, prefix = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name.decode("utf-8", "surrogateescape")
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, path + "/"))
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    files.append((path, status.st_size, status.st_mode))
                else:
                    irregular.append(path)
    files.sort()
    irregular.sort()
    return files, irregular


def hash_files(root, files, threads=THREADS):
    # type: (str, Iterable[tuple[str, int, int]], int) -> dict[str, tuple[str, int]]
    """Return path: (sha256, size read) of the files that `walk` listed.

    Where a file could not be read, the error's text stands for the sha256, and the size is -1.

    hashlib releases the GIL, so threads are as good as processes and share one list of work.
    """
    results = {}  # type: dict[str, tuple[str, int]]
    # The large ones first: a large file at the end would leave the other thread idle.
    work = iter(sorted(files, key=lambda item: item[1], reverse=True))
    base = os.fsencode(root) + b"/"
    workers = [threading.Thread(target=_hash_some, args=(base, work, results)) for _ in range(threads - 1)]
    for worker in workers:
        worker.start()
    _hash_some(base, work, results)
    for worker in workers:
        worker.join()
    return results


def _hash_some(base, work, results):
    # type: (bytes, Iterator[tuple[str, int, int]], dict[str, tuple[str, int]]) -> None
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    for path, size, _ in work:
        digest = hashlib.sha256()
        total = 0
        try:
            descriptor = os.open(base + path.encode("utf-8", "surrogateescape"), flags)
            try:
                # A network file system may give less than it was asked for before the end.
                while total < size:
                    count = os.readv(descriptor, [buffer])
                    if not count:
                        break
                    digest.update(view[:count])
                    total += count
            finally:
                os.close(descriptor)
        except OSError as error:
            results[path] = (error.strerror or "cannot be read", -1)
        else:
            results[path] = (digest.hexdigest(), total)


def sums_text(rows):
    # type: (Iterable[tuple[str, str]]) -> str
    """Return what `sha256sum -c` reads, from (path, sha256), sorted by path.

    A name with a backslash or a line end is escaped and its line begins with a backslash (GNU
    coreutils manual, "md5sum invocation").
    """
    lines = []
    for path, sha256 in sorted(rows):
        plain = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append("{}{}  {}\n".format("\\" if plain != path else "", sha256, plain))
    return "".join(lines)


def tree_digest(rows):
    # type: (Iterable[tuple[str, str, int, str]]) -> str
    """Return the one digest of (path, sha256, size, mode) rows: see docs/manifest.md."""
    digest = hashlib.sha256()
    for path, sha256, size, mode in sorted(rows):
        line = "{}\0{}\0{}\0{}\n".format(path, mode, size, sha256)
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def manifest_digest(manifest):
    # type: (dict[str, Any]) -> str
    """Return sha256 of a manifest's canonical JSON without its `manifest_digest`: see docs/manifest.md."""
    rest = {key: value for key, value in manifest.items() if key != "manifest_digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def finding(code, subject, cause, remedy):
    # type: (str, str, str, str) -> dict[str, Any]
    """Return a finding in the form in which `envbundle --json` prints it."""
    return {
        "code": code,
        "severity": "error",
        "subject": subject,
        "cause": cause,
        "remedy": remedy,
        "chain": [],
    }


COPY_AGAIN = "copy the bundle here again, whole, from where it was made"


def check_files(bundle, manifest, manifest_sha256):
    # type: (str, dict[str, Any], str) -> list[dict[str, Any]]
    """Compare every file of a bundle with its manifest.

    Mode bits are not compared: file shares give every file the same ones, and the imports show
    whether what they need can be read.
    """
    rows = [(row[0], row[1], row[2], row[3]) for row in manifest["files"]]
    documents = [(row[0], row[1], row[2], row[3]) for row in manifest["documents"]]
    expected = {row[0]: (row[1], row[2]) for row in rows + documents}
    found = []
    if manifest_digest(manifest) != manifest["manifest_digest"]:
        found.append(finding("EB515", MANIFEST, "its content does not fit its own digest", COPY_AGAIN))
    if tree_digest(rows) != manifest["digest"]:
        found.append(finding("EB515", MANIFEST, "its list of files does not fit its digest", COPY_AGAIN))
    files, irregular = walk(bundle)
    cause = "is a symlink or no ordinary file"
    found += [finding("EB514", path, cause, COPY_AGAIN) for path in irregular]
    present = {item[0] for item in files}
    cause = "the manifest lists this file, and it is not here"
    found += [finding("EB511", path, cause, COPY_AGAIN) for path in sorted(set(expected) - present)]
    hashed = hash_files(bundle, [item for item in files if item[0] in expected])
    for path in sorted(hashed):
        cause = _difference(hashed[path], expected[path])
        if cause:
            found.append(finding("EB512", path, cause, COPY_AGAIN))
    more = sorted(present - set(expected) - {MANIFEST, SUMS})
    found += [finding("EB513", path, "is in no list of the manifest", "remove it") for path in more]
    sums = sums_text([(path, value[0]) for path, value in expected.items()] + [(MANIFEST, manifest_sha256)])
    if SUMS not in present:
        found.append(finding("EB511", SUMS, "is not here", COPY_AGAIN))
    elif _read(os.path.join(bundle, SUMS)) != sums.encode("utf-8", "surrogateescape"):
        cause = "does not fit manifest.json: one of the two was changed"
        found.append(finding("EB512", SUMS, cause, COPY_AGAIN))
    return found


def _difference(real, expected):
    # type: (tuple[str, int], tuple[str, int]) -> str
    if real[1] < 0:
        return "cannot be read: {}".format(real[0])
    if real[1] != expected[1]:
        return "has {} bytes, the manifest says {}".format(real[1], expected[1])
    return "its content differs from the manifest" if real[0] != expected[0] else ""


def _read(path):
    # type: (str) -> bytes
    with open(path, "rb") as stream:
        return stream.read()


# --- target ---------------------------------------------------------------------------------------


def this_python():
    # type: () -> tuple[str, str, str]
    """Return implementation, `3.8` and ABI tag of the running interpreter."""
    soabi = str(sysconfig.get_config_var("SOABI") or "")
    parts = soabi.split("-")
    abi = "cp" + parts[1] if parts[0] == "cpython" and len(parts) > 1 else soabi
    return sys.implementation.name, "{}.{}".format(*sys.version_info[:2]), abi


def wrong_python(target):
    # type: (dict[str, Any]) -> str
    """Return why this interpreter cannot use the bundle; empty where it can."""
    wanted = (target["implementation"], ".".join(target["python"].split(".")[:2]), target["abi"])
    here = this_python()
    if here == wanted:
        return ""
    return "the bundle is for {} {} ({}), this is {} {} ({})".format(*(wanted + here))


def check_target(target):
    # type: (dict[str, Any]) -> list[dict[str, Any]]
    """Compare machine and glibc with the target."""
    found = []
    if platform.machine() != target["machine"]:
        cause = "the bundle is for {}, this is {}".format(target["machine"], platform.machine())
        found.append(finding("EB361", platform.machine(), cause, "make a bundle for this machine"))
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        libc = ""
    match = re.match(r"glibc (\d+)\.(\d+)", libc)
    wanted = tuple(int(part) for part in target["glibc"].split("."))
    if match is None or (int(match.group(1)), int(match.group(2))) < wanted:
        cause = "the bundle needs glibc {} or later, this is {}".format(target["glibc"], libc or "no glibc")
        remedy = "make the bundle for the glibc of this place (envbundle create --glibc)"
        found.append(finding("EB362", libc or "libc", cause, remedy))
    return found


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
    child_tell(job, ("ready",))
    seen = set()  # type: set[str]
    for name in job["modules"]:
        child_tell(job, ("begin", name))
        failure = None
        try:
            __import__(name)
        except BaseException as error:  # noqa: BLE001 - SystemExit at import is a failure to report, too
            failure = child_describe(error)
        child_tell(job, ("end", name, failure, child_origins(seen), child_mapped()))
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


CHILD = (child_work, child_site, child_tell, child_describe, child_origins, child_mapped)
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

    def __init__(self, modules, path, environment, timeout, mode):
        # type: (list[str], str, dict[str, str], float, str) -> None
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
        job = {"code": code, "modules": modules, "report": self.report.fileno(), "mode": mode}
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


def prove_imports(site_packages, modules, environment, timeout, mode):
    # type: (str, list[str], dict[str, str], float, str) -> dict[str, Any]
    """Import modules in mount mode and tell for each whether it works and where all came from.

    One child imports them all; where one kills it, a further child goes on after that one.

    :returns: `imported`, `failures` (module, exception, missing, detail), `startup` (why not even the
        interpreter starts, or empty), `origins` (module: places) and `mapped` (files of code).
    """
    pending = list(modules)
    imported = []  # type: list[str]
    failures = []  # type: list[dict[str, str]]
    origins = {}  # type: dict[str, list[str]]
    mapped = set()  # type: set[str]
    startup = ""
    while pending:
        records, death, printed = Child(pending, site_packages, environment, timeout, mode).end()
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


# Extension modules of the standard library that bring further shared objects with them.
LINKED = (
    "_bz2 _crypt _ctypes _curses _curses_panel _dbm _gdbm _hashlib _lzma _sqlite3 _ssl _tkinter _uuid "
    "pyexpat readline zlib"
).split()


def builder_proof(root, job):
    # type: (str, dict[str, Any]) -> dict[str, Any]
    """Prove the imports of the tree at `root` with the base interpreter, run as `python -I -S verify.py`.

    :param job: `site_packages` (relative to the root), `modules`, `timeout` (seconds a child).
    :returns: what `prove_imports` returns with every path resolved, `stdlib` (this interpreter's folders)
        and `own` (files of code that it maps without any bundle).
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    bare = Child(LINKED, "", environment, job["timeout"], "bare")
    path = os.path.join(root, *job["site_packages"].split("/"))
    result = prove_imports(path, job["modules"], environment, job["timeout"], "mount")
    own = set()  # type: set[str]
    for record in bare.end()[0]:
        own.update(record[4] if record[0] == "end" else [])
    places = {}  # type: dict[str, str]
    for module, found in sorted(result["origins"].items()):
        for place in found:
            # A place that does not exist is a name that somebody made up, not where code came from.
            if os.path.isabs(place) and os.path.exists(place):
                places.setdefault(os.path.realpath(place), module)
    del result["origins"]
    result["places"] = places
    result["root"] = os.path.realpath(root)
    result["own"] = sorted(own)
    result["stdlib"] = [os.path.realpath(folder) for folder in sys.path]
    return result


# --- the command ----------------------------------------------------------------------------------


class UnusableError(Exception):
    """The caller must act: not a bundle, or not for this Python."""


def read_manifest(bundle):
    # type: (str) -> tuple[dict[str, Any], str]
    """Return the manifest and the sha256 of its file."""
    path = os.path.join(bundle, MANIFEST)
    problem = ""
    data, manifest = b"", {}  # type: tuple[bytes, dict[str, Any]]
    try:
        data = _read(path)
        manifest = json.loads(data.decode("utf-8"))
        if manifest["kind"] != "envbundle-manifest":
            problem = "is not the manifest of a bundle"
        elif manifest["schema_version"].split(".")[0] != "1":
            problem = "has a schema version that this verifier does not know"
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        problem = "is damaged, or not the manifest of a bundle"
    if problem:
        raise UnusableError("{}: {}".format(path, problem))
    return manifest, hashlib.sha256(data).hexdigest()


def check_imports(bundle, manifest):
    # type: (str, dict[str, Any]) -> list[dict[str, Any]]
    """Import the manifest's modules as the image would.

    Of the caller's environment only PYTHON* is taken away: the rest, LD_LIBRARY_PATH above all, belongs
    to the place that is on trial.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    path = os.path.join(bundle, "lib", "python{}.{}".format(*sys.version_info[:2]), "site-packages")
    modules = [str(module) for module in manifest["evidence"]["modules"]]
    result = prove_imports(path, modules, environment, TIMEOUT, "image")
    if result["startup"]:
        remedy = "the bundle hides a module of the standard library: see the traceback"
        return [finding("EB201", "python", result["startup"], remedy)]
    remedy = "compare this place with the image that the bundle was made for"
    return [finding("EB201", one["module"], one["detail"], remedy) for one in result["failures"]]


def verify(bundle, imports):
    # type: (str, bool) -> dict[str, Any]
    """Check a bundle and return what `--json` prints."""
    manifest, sha256 = read_manifest(bundle)
    checked = ["files"]
    problem = ""
    found = []  # type: list[dict[str, Any]]
    count = 0
    try:
        problem = wrong_python(manifest["target"])
        if not (problem and imports):
            found = check_files(bundle, manifest, sha256)
            count = len(manifest["files"]) + len(manifest["documents"])
        if not problem:
            checked.append("target")
            found += check_target(manifest["target"])
            if imports:
                checked.append("imports")
                found += check_imports(bundle, manifest)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UnusableError("{}: is not sound: {!r}".format(MANIFEST, error))  # noqa: B904 - Python 2 parses this
    if problem and imports:
        raise UnusableError(problem)
    return {"ok": not found, "bundle": bundle, "checked": checked, "files": count, "findings": found}


def _print(text):
    # type: (str) -> None
    # The locale of an image is often C: names outside of ASCII must not end the verifier.
    sys.stdout.buffer.write((text + "\n").encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def _report(result):
    # type: (dict[str, Any]) -> None
    for one in result["findings"][:SHOWN]:
        _print("error {code} {subject}: {cause}\n  {remedy}".format(**one))
    rest = len(result["findings"]) - SHOWN
    if rest > 0:
        _print("and {} more (--json shows all)".format(rest))
    words = "{} files; checked: {}".format(result["files"], ", ".join(result["checked"]))
    _print("{}: {}".format("ok" if result["ok"] else "{} findings".format(len(result["findings"])), words))


def _fail(as_json, bundle, message, hint, exit_code):
    # type: (bool, str, str, str, int) -> int
    if as_json:
        error = {"message": message, "hint": hint, "exit_code": exit_code}
        _print(json.dumps({"ok": False, "bundle": bundle, "error": error}, sort_keys=True))
    else:
        sys.stderr.write("error: {}\nhint: {}\n".format(message, hint))
    return exit_code


def main(argv):
    # type: (list[str]) -> int
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Verify an envbundle bundle where it runs."
    )
    parser.add_argument(
        "bundle", nargs="?", default=HERE, metavar="BUNDLE", help="default: the folder of this file"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--no-imports",
        action="store_true",
        help="import nothing; then any Python 3.7 or later can compare the files",
    )
    parser.add_argument("--prove-imports", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    bundle = os.path.abspath(options.bundle)
    hint = "run it with the Python of the image, on the folder that has manifest.json in it"
    try:
        if options.prove_imports:
            _print(json.dumps(builder_proof(bundle, json.load(sys.stdin))))
            return 0
        result = verify(bundle, not options.no_imports)
    except UnusableError as error:
        return _fail(options.json, bundle, str(error), hint, 2)
    except OSError as error:
        return _fail(options.json, bundle, str(error), "see to the machine, then run it again", 3)
    if options.json:
        _print(json.dumps(result, sort_keys=True))
    else:
        _report(result)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
