#!/usr/bin/env python3
"""Loads a parcel (docs/parcel.md) into a shelf: verified, to the byte, in one step a build. No dependencies.

    python load.py [--allowed-signers FILE] [--allow-rollback] [--keep N] [--json] [PARCEL] SHELF

Exit codes: 0 all that the parcel carries is on the shelf; 1 a build was refused: its signature does not hold,
or it is older than the current one; 2 wrong usage, or a parcel that is damaged or not whole; 3 the machine
got in the way.

It runs on Python 3.7 and later, and parses on every Python since 2.7 (type comments, no f-strings),
so that a wrong one is refused with a sentence and not with a SyntaxError.
"""

# ruff: noqa: E402 - two things must happen before the imports; the comments below say which

from __future__ import print_function

import os
import sys

if sys.version_info < (3, 7):
    sys.stderr.write("error: load.py needs Python 3.7 or later\nhint: run it with the image's Python\n")
    sys.exit(2)

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    # What lies beside this file must not hide the standard library.
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != HERE]

import argparse
import contextlib
import hashlib
import json
import shutil

MYPY = False
if MYPY:
    from collections.abc import Callable  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

# <joined: bounded.py>
# One file travels: `bundler.bundle.standalone` puts the modules' own text in place of these imports.
from bundler.ontarget.bounded import TooLargeError, parse_json, read_regular

# </joined>
# <joined: checksums.py>
from bundler.ontarget.checksums import MANIFEST, SUMS, manifest_digest, walk

# </joined>
# <joined: delta_format.py>
from bundler.ontarget.delta_format import (
    MOST_MANIFEST,
    NOTHING,
    LackingError,
    UnusableDeltaError,
    read_delta,
    read_rows,
)

# </joined>
# <joined: new_bundle.py>
from bundler.ontarget.new_bundle import exchange, flush, flush_folder, is_there, make, workplace

# </joined>
# <joined: parcel_format.py>
from bundler.ontarget.parcel_format import (
    ARCHIVES,
    BESIDE,
    BUILDS,
    CURRENT,
    DELTA_FOLDER,
    RECEIPT,
    RECORD_FILE,
    SIGNATURE_FOLDER,
    Entry,  # noqa: F401 - used in type comments
    Parcel,  # noqa: F401 - used in type comments
    UnusableParcelError,
    as_receipt,
    beside_build,
    beside_digest,
    check_parts,
    current_build,
    job_rows,
    read_parcel,
    read_receipt,
    read_record,
    shelf_rows,
    take_out,
)

# </joined>
# <joined: public_keys.py>
from bundler.ontarget.public_keys import BadKeyError

# </joined>
# <joined: script_end.py>
from bundler.ontarget.script_end import fail, say_plainly, stop_on_signals

# </joined>
# <joined: signatures.py>
from bundler.ontarget.signatures import (
    FOLDER_ENDING,
    STATEMENT,
    Rules,
    Signer,
    check_signatures,
    counter_beside,
    counter_signed,
    read_rules,
    unsigned_statement,
)

# </joined>

ASIDE = ".old"
"""Ends the name of signatures that another folder is about to replace, where no file system swaps the two."""
UNCHECKED = "note: no signature was checked: see --allowed-signers"

# --- one build ------------------------------------------------------------------------------------


class RefusedBuildError(Exception):
    """A build that is whole and must not be placed: (code, cause)."""

    def __init__(self, code, cause):
        # type: (str, str) -> None
        Exception.__init__(self, "{} {}".format(code, cause))
        self.code, self.cause = code, cause


class Loading:
    """One build on its way from a parcel to a shelf."""

    def __init__(self, parcel, entry, shelf, rules, allow_rollback):
        # type: (Parcel, Entry, str, Rules | None, bool) -> None
        self._parcel = parcel
        self._entry = entry
        self._shelf = shelf
        self._rules = rules
        self._allow_rollback = allow_rollback
        self._job = os.path.join(shelf, entry.name)
        self._builds = os.path.join(self._job, BUILDS)
        self._place = os.path.join(self._builds, entry.build)

    def load(self):
        # type: () -> str
        """Verify and place the build; return what was done: `loaded`, `placed`, or empty where all was there.

        Raises RefusedBuildError, UnusableDeltaError, LackingError, OSError.
        """
        for folder in (self._job, self._builds):
            if os.path.islink(folder):
                raise UnusableParcelError("{} is a symlink: it is not touched".format(folder), "move it away")
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
        try:
            return self._load()
        finally:
            for folder in (self._builds, self._job):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)  # only if nothing is in it

    def _load(self):
        # type: () -> str
        with workplace(os.path.join(self._job, CURRENT)) as work:
            _bring_back(self._builds)
            current = current_build(self._job)  # here, where no other run can change it
            scratch = os.path.join(work, "scratch")
            bundle = os.path.join(work, "bundle")
            for folder in (scratch, bundle, os.path.join(scratch, "delta")):
                os.mkdir(folder)
            os.chmod(bundle, 0o755)  # noqa: S103 - as in every bundle
            self._take_out(scratch)
            record = self._record(os.path.join(scratch, RECORD_FILE))
            there = os.path.lexists(self._place)

            def admit(manifest):
                # type: (bytes) -> None
                self._require_same(manifest, record)
                self._admit(manifest, scratch, record, current)

            if there:
                self._require_whole()
                admit(read_regular(os.path.join(self._place, MANIFEST), MOST_MANIFEST))
            else:
                self._make(os.path.join(scratch, "delta"), bundle, admit)
            if there and self._is_placed(scratch, current):
                return ""
            flush(self._shelf)
            self._bring(scratch, bundle, there)
            if self._entry.current:
                link = os.path.join(scratch, "link")
                os.symlink("{}/{}".format(BUILDS, self._entry.build), link)
                os.rename(link, os.path.join(self._job, CURRENT))
            for folder in (self._builds, self._job):
                flush_folder(folder)
            return "placed" if there else "loaded"

    def _take_out(self, scratch):
        # type: (str) -> None
        """Write what the parcel carries to the folder; what there is no need of, it need not be asked for."""
        for file in self._entry.files:
            path = os.path.join(scratch, file.path)
            if file.path.startswith(DELTA_FOLDER) and os.path.lexists(self._place):
                continue
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(path))
            take_out(self._parcel, self._entry, file, path)
            os.chmod(path, 0o644)

    def _record(self, path):
        # type: (str) -> dict[str, Any]
        try:
            record = read_record(path, self._entry.name, self._entry.build)
            if record["manifest_digest"] != self._entry.manifest_digest or record["archives"] != []:
                raise ValueError("does not fit the index")
        except (ValueError, KeyError) as error:
            raise UnusableParcelError("the record of {}: {}".format(self._entry, error))  # noqa: B904 - Python 2 parses this
        return record

    def _require_whole(self):
        # type: () -> None
        if not is_there(self._place, self._entry.manifest_sha256):
            raise UnusableParcelError(
                "{} is there, and is not the build that the parcel has, or not whole".format(self._place),
                "its verify.py says what is wrong; move it away, and load the parcel again",
            )

    def _make(self, delta, bundle, admit):
        # type: (str, str, Callable[[bytes], object]) -> None
        """Make the bundle in an empty folder, if its manifest is admitted."""
        if not self._entry.carried:
            raise UnusableParcelError(
                "{} is not on the shelf, and the parcel does not carry it".format(self._entry),
                "send {} to where parcels are made: `envbundle save --since`".format(RECEIPT),
            )
        base = self._entry.base
        old = os.path.join(self._shelf, base["name"], BUILDS, base["build"]) if base else ""
        if base and not os.path.isdir(old):
            raise UnusableParcelError(
                "{} was made from {}/{}, which is not on the shelf".format(
                    self._entry, base["name"], base["build"]
                ),
                "load the parcel that has it first, or send {} to where parcels are made".format(RECEIPT),
            )
        described = read_delta(delta)
        wanted = self._entry.manifest_sha256
        whole = [one["manifest_sha256"] for one in described.bases] == [NOTHING]
        if described.result["manifest_sha256"] != wanted or whole != (base is None):
            raise UnusableParcelError("the delta of {} does not fit the index".format(self._entry))
        make(old, described, bundle, admit)

    def _require_same(self, manifest, record):
        # type: (bytes, dict[str, Any]) -> None
        """Compare the manifest with index and record."""
        described = parse_json(manifest)
        if (
            hashlib.sha256(manifest).hexdigest() != self._entry.manifest_sha256
            or manifest_digest(described) != self._entry.manifest_digest
            or record["digest"] != described["digest"]
        ):
            raise UnusableParcelError("the manifest of {} is not as its record says".format(self._entry))

    def _admit(self, manifest, scratch, record, current):
        # type: (bytes, str, dict[str, Any], str) -> None
        """Require signatures that hold, and that neither they nor the current build become older."""
        entry, rules = self._entry, self._rules
        folder = self._place + FOLDER_ENDING  # where the parcel carries none, those stay
        if self._carried_beside(scratch):
            folder = os.path.join(scratch, SIGNATURE_FOLDER)
        if rules:
            rules = Rules(rules.signers, rules.revoked, entry.name, rules.not_older_than)
            if not entry.current:
                rules.not_older_than = ""
            _require_signed(manifest, folder, rules)
        if self._allow_rollback:
            return
        counter = counter_signed(manifest, folder, rules) if rules else counter_beside(folder)
        known = {
            build: self._counter_there(build)
            for build in (entry.build, current if entry.current else "")
            if build
        }
        for build, least in known.items():
            if counter < least:
                cause = "its counter is {}, that of {}, which is on the shelf, is {}"
                raise RefusedBuildError("EB614", cause.format(counter, build, least))
        if current not in known:
            return
        if rules and known[current] >= 0 and (counter > known[current] or current == entry.build):
            return  # nobody signs the record: what is signed decides
        self._require_made(record, current)

    def _counter_there(self, build):
        # type: (str) -> int
        """Return the counter of a build on the shelf; with rules, what is signed alone counts; -1: none."""
        place = os.path.join(self._builds, build)
        if not self._rules:
            return counter_beside(place + FOLDER_ENDING)
        try:
            manifest = read_regular(os.path.join(place, MANIFEST), MOST_MANIFEST)
        except (OSError, TooLargeError):
            return -1
        # The key may have expired since: then too it says how old the build is.
        signers = [
            Signer(one.key, {name: one.options[name] for name in one.options if name == "namespaces"})
            for one in self._rules.signers
        ]
        rules = Rules(signers, self._rules.revoked, self._entry.name, "")
        return counter_signed(manifest, place + FOLDER_ENDING, rules)

    def _require_made(self, record, current):
        # type: (dict[str, Any], str) -> None
        """Require a record that is not older than that of the current build."""
        path = os.path.join(self._builds, current + ".json")
        try:
            made = read_record(path, self._entry.name, current)["made"]
        except (OSError, ValueError):
            return  # there is nothing that says how old the current one is
        if record["made"] < made:
            cause = "it was current at {}, and {}, which is current here, at {}"
            raise RefusedBuildError("EB614", cause.format(record["made"], current, made))

    def _is_placed(self, scratch, current):
        # type: (str, str) -> bool
        """Tell whether there is nothing left to do."""
        try:
            old = read_regular(self._place + ".json", MOST_MANIFEST)
            new = read_regular(os.path.join(scratch, RECORD_FILE), MOST_MANIFEST)
            carried = self._carried_beside(scratch)
            beside = beside_build(self._builds, self._entry.build) if carried else {}
            same = beside_digest(beside) == beside_digest(carried)
        except (OSError, TooLargeError):
            return False
        return old == new and same and (not self._entry.current or current == self._entry.build)

    def _carried_beside(self, scratch):
        # type: (str) -> dict[str, str]
        names = [file.path for file in self._entry.files]
        return {
            name: os.path.join(scratch, name)
            for name in names
            if name != RECORD_FILE and not name.startswith(DELTA_FOLDER)
        }

    def _bring(self, scratch, bundle, there):
        # type: (str, str, bool) -> None
        """Rename everything into its place: what stands beside the build, its record, the build."""
        for name in (SIGNATURE_FOLDER.rstrip("/"), RECORD_FILE):
            path, place = os.path.join(scratch, name), "{}.{}".format(self._place, name)
            if not os.path.lexists(path):
                continue
            if not os.path.isdir(place) or os.path.islink(place):
                os.rename(path, place)
            elif not exchange(path, place):
                try:
                    os.rename(place, place + ASIDE)
                    os.rename(path, place)
                finally:
                    _bring_back(self._builds)
        if not there:
            os.rename(bundle, self._place)


def _bring_back(builds):
    # type: (str) -> None
    """Put back the signatures that a run has moved aside, unless it came to put others in their place."""
    for name in os.listdir(builds):
        if name.endswith(FOLDER_ENDING + ASIDE):
            aside = os.path.join(builds, name)
            place = aside[: -len(ASIDE)]
            if os.path.lexists(place):
                shutil.rmtree(aside)
            else:
                os.rename(aside, place)


def _require_signed(manifest, folder, rules):
    # type: (bytes, str, Rules) -> None
    for code, subject, cause in check_signatures(manifest, folder, rules):
        raise RefusedBuildError(code, "{}: {}".format(subject, cause))
    cause = unsigned_statement(manifest, folder, rules)
    if cause:
        raise RefusedBuildError(
            "EB611", "{}: nothing that is allowed vouches for it: its signature {}".format(STATEMENT, cause)
        )


# --- the parcel -----------------------------------------------------------------------------------


def load_parcel(folder, shelf, rules, allow_rollback, say):
    # type: (str, str, Rules | None, bool, Callable[[str], object]) -> dict[str, Any]
    """Load a parcel and return what became of its builds; `ok` tells whether nothing was refused.

    A build that is refused stops no other one, but those that are made from it, if it is not there yet.

    Raises UnusableDeltaError, LackingError, OSError; what was loaded by then stays, whole.
    """
    parcel = read_parcel(folder)
    check_parts(parcel)
    os.makedirs(shelf, exist_ok=True)
    loaded = []
    refused = []
    lacking = {}  # type: dict[str, str]
    for entry in parcel.entries:
        try:
            if entry.base and "{name}/{build}".format(**entry.base) in lacking:
                base = "{name}/{build}".format(**entry.base)
                raise RefusedBuildError(lacking[base], "it was made from {}, which was refused".format(base))
            done = Loading(parcel, entry, shelf, rules, allow_rollback).load()
        except RefusedBuildError as error:
            refused.append(
                {"name": entry.name, "build": entry.build, "code": error.code, "cause": error.cause}
            )
            say("refused {}: {} {}".format(entry, error.code, error.cause))
            if not os.path.isdir(os.path.join(shelf, entry.name, BUILDS, entry.build)):
                lacking[str(entry)] = error.code
            continue
        if done:
            loaded.append({"name": entry.name, "build": entry.build, "current": entry.current})
            say("{} {}{}".format(done, entry, ", current" if entry.current else ""))
    return {
        "ok": not refused,
        "shelf": shelf,
        "loaded": loaded,
        "refused": refused,
        "there": len(parcel.entries) - len(loaded) - len(refused),
        "removed": [],
    }


def remove_old(folder, shelf, keep, refused):
    # type: (str, str, int, list[dict[str, Any]]) -> list[dict[str, str]]
    """Remove, of each bundle in a parcel, all builds but the `keep` youngest; return name and build of each.

    Never the current one, nor what a delta of the parcel was made from: another parcel that was made from the
    same receipt needs it. Nor what has files of somebody else, nor of a name that had a build refused.
    """
    parcel = read_parcel(folder)
    bases = [(entry.base["name"], entry.base["build"]) for entry in parcel.entries if entry.base]
    removed = []
    for name in sorted({entry.name for entry in parcel.entries} - {one["name"] for one in refused}):
        job = os.path.join(shelf, name)
        with workplace(os.path.join(job, CURRENT)) as work:
            _forget_lost(job)
            rows = [row for row in job_rows(shelf, name) if not row["current"]]
            if not current_build(job):
                continue
            for row in rows[: max(len(rows) - keep + 1, 0)]:
                place = os.path.join(job, BUILDS, row["build"])
                if (name, row["build"]) in bases or not _is_ours(place, row["manifest_digest"]):
                    continue
                # Moved away in one step first: half a build would look like a damaged one.
                os.rename(place, os.path.join(work, row["build"]))
                _forget(place)
                removed.append({"name": name, "build": row["build"]})
    return removed


def _forget(place):
    # type: (str) -> None
    """Remove what stands beside a build that is gone, its record last: it is what the next run looks for."""
    for ending in BESIDE + ARCHIVES:
        path = "{}.{}".format(place, ending)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
    os.unlink(place + ".json")


def _forget_lost(job):
    # type: (str) -> None
    """Remove what a killed run has left of builds that it had moved away."""
    builds = os.path.join(job, BUILDS)
    current = current_build(job)
    for entry in os.listdir(builds) if os.path.isdir(builds) else []:
        place = os.path.join(builds, os.path.splitext(entry)[0])
        build = os.path.basename(place)
        if not entry.endswith(".json") or build == current or os.path.lexists(place):
            continue
        with contextlib.suppress(OSError, ValueError):
            read_record(place + ".json", os.path.basename(job), build)
            _forget(place)


def _is_ours(place, digest):
    # type: (str, str) -> bool
    """Tell whether a folder is the build with a digest, and has nothing of anybody else but bytecode."""
    try:
        data = read_regular(os.path.join(place, MANIFEST), MOST_MANIFEST)
        if os.path.islink(place) or parse_json(data)["manifest_digest"] != digest:
            return False
        ours = set(read_rows(data, place)).union([SUMS])
        files, irregular = walk(place)
    except (OSError, ValueError, UnusableDeltaError):
        return False
    return all(
        path in ours or (path.endswith(".pyc") and "__pycache__/" in path)
        for path in [one[0] for one in files] + irregular
    )


def write_receipt(path, shelf):
    # type: (str, str) -> None
    """Write the receipt of what a shelf has, whole, where it is not there already."""
    rows = shelf_rows(shelf)
    with contextlib.suppress(UnusableParcelError):
        if read_receipt(path) == rows:
            return
    with workplace(path) as work:
        fresh = os.path.join(work, "scratch")
        with open(fresh, "w") as file:
            file.write(json.dumps(as_receipt(rows), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, path)


def told(result, receipt):
    # type: (dict[str, Any], str) -> str
    """Return the last line for people."""
    words = "{} loaded, {} there already, {} refused".format(
        len(result["loaded"]), result["there"], len(result["refused"])
    )
    if result["removed"]:
        words += ", removed {}".format(", ".join("{name}/{build}".format(**one) for one in result["removed"]))
    return "{}: {}; the receipt is {}".format("ok" if result["ok"] else "refused", words, receipt)


def _at_least_one(text):
    # type: (str) -> int
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main(argv):
    # type: (list[str]) -> int
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="load.py", description="Load a parcel into a shelf.")
    parser.add_argument(
        "parcel", metavar="PARCEL", nargs="?", default=HERE, help="default: this file's folder"
    )
    parser.add_argument("shelf", metavar="SHELF", help="folder of bundles, as `envbundle rebuild` makes it")
    parser.add_argument("--receipt", metavar="FILE", help="default: SHELF/" + RECEIPT)
    parser.add_argument("--allow-rollback", action="store_true", help="let an older build be the current one")
    text = "builds of each bundle to keep, the current one included (default: all)"
    parser.add_argument("--keep", type=_at_least_one, metavar="N", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    many = {"action": "append", "default": []}  # type: dict[str, Any]
    signed = parser.add_argument_group("signatures", "every build must be signed with its name in the shelf")
    text = "public keys that may sign, as ssh-keygen takes them"
    signed.add_argument("--allowed-signers", metavar="FILE", help=text, **many)
    signed.add_argument("--key", help="a public key that may sign: 'ssh-ed25519 AAAA...' or PEM", **many)
    signed.add_argument("--revoked", metavar="FILE", help="public keys that may not, one a line", **many)
    text = "counter, date or time (UTC) that the signature of a current build must reach"
    signed.add_argument("--not-older-than", metavar="WHEN", default="", help=text)
    options = parser.parse_args(argv)
    stop_on_signals()
    shelf = os.path.realpath(options.shelf)
    receipt = os.path.abspath(options.receipt or os.path.join(shelf, RECEIPT))
    try:
        rules = read_rules(options.key, options.allowed_signers, options.revoked, "", options.not_older_than)
        result = load_parcel(
            os.path.realpath(options.parcel),
            shelf,
            rules,
            options.allow_rollback,
            (lambda _: None) if options.json else say_plainly,
        )
        if options.keep:
            parcel = os.path.realpath(options.parcel)
            result["removed"] = remove_old(parcel, shelf, options.keep, result["refused"])
        write_receipt(receipt, shelf)
    except BadKeyError as error:
        return fail(options.json, str(error), "see --help, `signatures`", 2)
    except UnusableDeltaError as error:
        return fail(options.json, str(error), error.hint, 2)
    except (OSError, LackingError) as error:
        return fail(options.json, str(error), "see to the machine, then run it again", 3)
    if not rules and not options.json:
        say_plainly(UNCHECKED)
    if options.json:
        print(json.dumps(dict(result, receipt=receipt), sort_keys=True))
    else:
        say_plainly(told(result, receipt))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
