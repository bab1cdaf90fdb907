#!/usr/bin/env python3
"""Verifies an envbundle bundle at the place where it runs: files, target, imports. No dependencies.

    python verify.py [--json] [--no-imports] [--no-files] [BUNDLE]
    python verify.py --allowed-signers FILE [--revoked FILE] [--name NAME] [--not-older-than WHEN] [BUNDLE]

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
import platform
import re
import subprocess
import sysconfig

MYPY = False
if MYPY:
    from collections.abc import Collection  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

SHOWN = 50
MOST_BYTES = 64 << 20
"""Of a manifest."""
MOST_CONTENT = 256 << 30
"""Bytes of all files that a manifest may list: what it claims is hashed."""
MOST_LIBRARIES = 500
SONAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.so(\.[A-Za-z0-9_.+-]+)?")
"""What the loader looks for in its own folders alone; a name with a slash it opens wherever that leads."""

# <joined: bounded.py>
# One file travels: `bundler.bundle.standalone` puts the modules' own text in place of these imports.
from bundler.ontarget.bounded import TooLargeError, parse_json, read_regular

# </joined>
# <joined: checksums.py>
from bundler.ontarget.checksums import (
    MANIFEST,
    SUMS,
    hash_files,
    manifest_digest,
    sums_text,
    tree_digest,
    walk,
)

# </joined>
# <joined: imports.py>
from bundler.ontarget.imports import TIMEOUT, Child, prove_imports, tied

# </joined>
# <joined: public_keys.py>
from bundler.ontarget.public_keys import BadKeyError

# </joined>
# <joined: signatures.py>
from bundler.ontarget.signatures import (
    FOLDER_ENDING,
    Rules,  # noqa: F401 - used in type comments
    check_signatures,
    read_rules,
)

# </joined>

# --- the bundle's files ---------------------------------------------------------------------------


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
        "accepted": None,
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
    statuses = {}  # type: dict[str, os.stat_result]
    files, irregular = walk(bundle, statuses)
    cause = "is a symlink or no ordinary file"
    found += [finding("EB514", path, cause, COPY_AGAIN) for path in irregular]
    present = {item[0] for item in files}
    cause = "the manifest lists this file, and it is not here"
    found += [finding("EB511", path, cause, COPY_AGAIN) for path in sorted(set(expected) - present)]
    # A size that differs is enough: a file of a terabyte that has no content takes no disk, but hours.
    sizes = {item[0]: item[1] for item in files if item[0] in expected}
    same = [item for item in files if item[0] in expected and item[1] == expected[item[0]][1]]
    hashed = hash_files(bundle, same)
    for path in sorted(sizes):
        cause = _difference(hashed.get(path, ("", sizes[path])), expected[path])
        if cause:
            found.append(finding("EB512", path, cause, COPY_AGAIN))
    more = sorted(present - set(expected) - {MANIFEST, SUMS})
    found += [finding("EB513", path, "is in no list of the manifest", "remove it") for path in more]
    cause = "is a folder without a file of the bundle, and Python imports it as a package"
    for path in _empty_folders(statuses, present.union(irregular, expected)):
        found.append(finding("EB513", path, cause, "remove it"))
    sums = sums_text([(path, value[0]) for path, value in expected.items()] + [(MANIFEST, manifest_sha256)])
    if SUMS not in present:
        found.append(finding("EB511", SUMS, "is not here", COPY_AGAIN))
    elif not _holds(os.path.join(bundle, SUMS), sums.encode("utf-8", "surrogateescape")):
        cause = "does not fit manifest.json: one of the two was changed"
        found.append(finding("EB512", SUMS, cause, COPY_AGAIN))
    return found


def _empty_folders(statuses, known):
    # type: (dict[str, os.stat_result], set[str]) -> list[str]
    """Return the folders in site-packages that are above none of the paths; none that is in another one.

    Python imports such a folder as a namespace package, so that an optional import takes another way.
    """
    used = set()  # type: set[str]
    for path in known:
        parent = path.rpartition("/")[0]
        while parent and parent not in used:
            used.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(
        path
        for path in statuses
        if path.endswith("/")
        and "/site-packages/" in path[:-1]
        and path[:-1] not in used
        and path[:-1].rpartition("/")[0] in used
        and not path.endswith("/__pycache__/")
    )


def _difference(real, expected):
    # type: (tuple[str, int], tuple[str, int]) -> str
    if real[1] < 0:
        return "cannot be read: {}".format(real[0])
    if real[1] != expected[1]:
        return "has {} bytes, the manifest says {}".format(real[1], expected[1])
    return "its content differs from the manifest" if real[0] != expected[0] else ""


def _holds(path, expected):
    # type: (str, bytes) -> bool
    try:
        return read_regular(path, len(expected)) == expected
    except ValueError:
        return False


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


FOLDERS = "/lib /lib64 /usr/lib /usr/lib64 /usr/local/lib".split()
LOAD = "import ctypes, sys\nctypes.CDLL(sys.argv[1])\n"


def check_libraries(names):
    # type: (list[str]) -> list[dict[str, Any]]
    """Look for the libraries that this place is said to have: the loader itself is asked, in a child.

    `names` are SONAMEs, so that the loader runs no file of the bundle. Where this Python has no ctypes, a
    file of that name in a folder of libraries must do.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    # An empty or relative part means the folder that we stand in, which can be the bundle's own.
    folders = [one for one in environment.pop("LD_LIBRARY_PATH", "").split(":") if one.startswith("/")]
    environment.update({"LD_LIBRARY_PATH": ":".join(folders)} if folders else {})
    found = []
    for name in names:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LOAD, name],
            env=environment,
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=tied(),  # noqa: PLW1509 - see there
        )
        said = child.communicate()[1].decode("utf-8", "replace").strip().splitlines()
        lacks_ctypes = child.returncode != 0 and said and "ctypes" in said[-1]
        if child.returncode == 0 or (lacks_ctypes and _lies_about(name, folders)):
            continue
        cause = "the bundle needs it and was made on the word that it is here; {}".format(
            said[-1] if said else "it does not load"
        )
        found.append(finding("EB363", name, cause, "install the library that it is part of in the image"))
    return found


def _lies_about(name, own):
    # type: (str, list[str]) -> bool
    folders = own + FOLDERS
    folders += ["{}/{}-linux-gnu".format(folder, platform.machine()) for folder in FOLDERS]
    return any(os.path.exists(os.path.join(folder, name)) for folder in folders)


# Run as a child, as the image runs its programs: this process may lack the image's own site-packages.
LIST = r"""
import os, re, sys
for folder in sys.path:
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not entry.endswith((".dist-info", ".egg-info")):
            continue
        place = os.path.join(folder, entry)
        for path in (os.path.join(place, "METADATA"), os.path.join(place, "PKG-INFO"), place):
            if os.path.isfile(path):
                with open(path, "rb") as stream:
                    head = stream.read().split(b"\n\n")[0].decode("utf-8", "replace")
                found = dict(re.findall(r"^(Name|Version): *(\S+)", head, re.MULTILINE))
                if len(found) == 2:
                    sys.stdout.buffer.write("{Name}\t{Version}\n".format(**found).encode("utf-8"))
                break
"""


def installed_here():
    # type: () -> dict[str, str]
    """Return what this place has installed: normalised name and version; the first on the path counts."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    child = subprocess.Popen(
        [sys.executable, "-c", LIST],
        env=environment,
        cwd=os.sep,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=tied(),  # noqa: PLW1509 - see there
    )
    found = {}  # type: dict[str, str]
    for line in child.communicate()[0].decode("utf-8", "replace").splitlines():
        name, _, version = line.partition("\t")
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return found


def check_relied(relies_on):
    # type: (dict[str, str]) -> list[dict[str, Any]]
    """Compare what the bundle leaves to the image with what this place has."""
    here = installed_here() if relies_on else {}
    remedy = "make the bundle without --thin, or with the profile of this image"
    found = []
    for name, version in sorted(relies_on.items()):
        if here.get(name) != version:
            cause = "the bundle was made without it, because the image has {}; here is {}".format(
                version, here.get(name, "none")
            )
            found.append(finding("EB364", name, cause, remedy))
    return found


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
        data = read_regular(path, MOST_BYTES)
        manifest = parse_json(data)
        if manifest["kind"] != "envbundle-manifest":
            problem = "is not the manifest of a bundle"
        elif manifest["schema_version"].split(".")[0] != "1":
            problem = "has a schema version that this verifier does not know"
        elif sum(abs(row[2]) for row in manifest["files"] + manifest["documents"]) > MOST_CONTENT:
            problem = "lists files of more than {} GiB".format(MOST_CONTENT >> 30)
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except TooLargeError as error:
        problem = str(error)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        problem = "is damaged, or not the manifest of a bundle"
    if problem:
        raise UnusableError("{}: {}".format(path, problem))
    return manifest, hashlib.sha256(data).hexdigest()


def assumed_libraries(manifest):
    # type: (dict[str, Any]) -> list[str]
    """Return the SONAMEs that the image is said to have; raises ValueError for whatever is none."""
    names = sorted({str(name) for name in manifest["assumed_libraries"]})
    wrong = [name for name in names if not SONAME.fullmatch(name)]
    if wrong or len(names) > MOST_LIBRARIES:
        raise ValueError("{!r} is no SONAME".format(wrong[0][:80]) if wrong else "too many libraries")
    return names


def check_imports(bundle, manifest, timeout):
    # type: (str, dict[str, Any], float) -> list[dict[str, Any]]
    """Import the manifest's modules as the image would.

    Of the caller's environment only PYTHON* is taken away: the rest, LD_LIBRARY_PATH above all, belongs
    to the place that is on trial.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    path = os.path.join(bundle, "lib", "python{}.{}".format(*sys.version_info[:2]), "site-packages")
    evidence = manifest["evidence"]
    modules = [str(module) for module in evidence["modules"] + evidence.get("unproved", [])]
    result = prove_imports(lambda names: Child(names, path, environment, timeout, "image").end(), modules)
    if result["startup"]:
        remedy = "the bundle hides a module of the standard library: see the traceback"
        return [finding("EB201", "python", result["startup"], remedy)]
    remedy = "compare this place with the image that the bundle was made for"
    return [finding("EB201", one["module"], one["detail"], remedy) for one in result["failures"]]


def check_signed(bundle, folder, rules):
    # type: (str, str, Rules) -> list[dict[str, Any]]
    """Compare the signatures of the manifest with the rules."""
    remedy = "fetch the bundle and its signatures again from whoever makes them; use nothing of it until then"
    manifest = read_regular(os.path.join(bundle, MANIFEST), MOST_BYTES)
    wrong = check_signatures(manifest, folder or bundle + FOLDER_ENDING, rules)
    return [finding(code, subject, cause, remedy) for code, subject, cause in wrong]


def verify(bundle, skipped=(), folder="", rules=None, timeout=TIMEOUT):
    # type: (str, Collection[str], str, Rules | None, float) -> dict[str, Any]
    """Check a bundle and return what `--json` prints; `skipped` may have `files` and `imports`.

    Nothing of a bundle is imported whose signature does not fulfil the rules.
    """
    manifest, sha256 = read_manifest(bundle)
    checked = [] if "files" in skipped else ["files"]
    problem = ""
    found = []  # type: list[dict[str, Any]]
    unsigned = check_signed(bundle, folder, rules) if rules else []
    imports = "imports" not in skipped and not unsigned
    count = 0
    try:
        problem = wrong_python(manifest["target"])
        if checked and not (problem and imports):
            found = check_files(bundle, manifest, sha256)
            count = len(manifest["files"]) + len(manifest["documents"])
        if not problem:
            checked.append("target")
            found += check_target(manifest["target"])
            found += check_libraries(assumed_libraries(manifest))
            found += check_relied({str(name): str(one) for name, one in manifest["relies_on"].items()})
            if imports:
                checked.append("imports")
                found += check_imports(bundle, manifest, timeout)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UnusableError("{}: is not sound: {!r}".format(MANIFEST, error))  # noqa: B904 - Python 2 parses this
    if problem and imports:
        raise UnusableError(problem)
    if rules:
        checked.insert(0, "signature")
        found = unsigned + found
    return {"ok": not found, "bundle": bundle, "checked": checked, "files": count, "findings": found}


def plain(text):
    # type: (str) -> str
    """Return a text that a terminal only shows: whatever moves the cursor or turns the text is escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def _print(text, stream=None):
    # type: (str, Any) -> None
    stream = sys.stdout if stream is None else stream
    if stream is None:
        return  # it was closed by whoever started us
    # The locale of an image is often C: names outside of ASCII must not end the verifier.
    stream.buffer.write((plain(text) + "\n").encode("utf-8", "backslashreplace"))
    stream.buffer.flush()


def _report(result):
    # type: (dict[str, Any]) -> None
    for one in result["findings"][:SHOWN]:
        subject = plain(one["subject"]).replace("\n", "\\n")
        _print("error {} {}: {}\n  {}".format(one["code"], subject, one["cause"], one["remedy"]))
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
    elif sys.stderr is not None:
        _print("error: {}\nhint: {}".format(message, hint), sys.stderr)
    return exit_code


def main(argv):
    # type: (list[str]) -> int
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Verify an envbundle bundle where it runs."
    )
    text = "default: the folder of this file"
    parser.add_argument("bundle", nargs="?", default=HERE, metavar="BUNDLE", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    text = "import nothing; then any Python 3.7 or later can compare the files"
    parser.add_argument("--no-imports", action="store_true", help=text)
    text = "compare no file: for `apply.py --verify`, which has just compared each that it wrote"
    parser.add_argument("--no-files", action="store_true", help=text)
    text = "seconds that a process which imports may take (default: {:g})".format(TIMEOUT)
    parser.add_argument("--import-timeout", metavar="SECONDS", type=float, default=TIMEOUT, help=text)
    many = {"action": "append", "default": []}  # type: dict[str, Any]
    signed = parser.add_argument_group("signatures")
    text = "public keys that may sign, as ssh-keygen takes them"
    signed.add_argument("--allowed-signers", metavar="FILE", help=text, **many)
    signed.add_argument("--key", help="a public key that may sign: 'ssh-ed25519 AAAA...' or PEM", **many)
    signed.add_argument("--revoked", metavar="FILE", help="public keys that may not, one a line", **many)
    signed.add_argument("--signatures", metavar="DIR", default="", help="default: BUNDLE" + FOLDER_ENDING)
    signed.add_argument("--name", default="", help="the name that the bundle must be signed with")
    text = "counter, date or time (UTC) that the signature must reach"
    signed.add_argument("--not-older-than", metavar="WHEN", default="", help=text)
    options = parser.parse_args(argv)
    # A link can be moved to another bundle meanwhile: what is verified is one of the two.
    bundle = os.path.realpath(options.bundle)
    hint = "run it with the Python of the image, on the folder that has manifest.json in it"
    try:
        rules = read_rules(
            options.key, options.allowed_signers, options.revoked, options.name, options.not_older_than
        )
        skipped = ["files"] * options.no_files + ["imports"] * options.no_imports
        result = verify(bundle, skipped, options.signatures, rules, options.import_timeout)
    except BadKeyError as error:
        return _fail(options.json, bundle, str(error), "see --help, `signatures`", 2)
    except UnusableError as error:
        return _fail(options.json, bundle, str(error), hint, 2)
    except OSError as error:
        return _fail(options.json, bundle, str(error), "see to the machine, then run it again", 3)
    try:
        if options.json:
            _print(json.dumps(result, sort_keys=True))
        else:
            _report(result)
    except OSError as error:
        options.json = False
        # What is still in the buffer is not tried again at the exit, which would end with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _fail(options.json, bundle, "cannot print: {}".format(error), "see to the machine", 3)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    # A descriptor that the caller has closed would be given to the next file that is opened.
    while os.open(os.devnull, os.O_RDWR) < 3:
        pass
    sys.exit(main(sys.argv[1:]))
