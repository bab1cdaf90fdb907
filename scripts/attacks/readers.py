"""Every reader of files from outside, with a good input: for `scripts/attack fuzz` and the property tests."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bundler.bundle import lock, manifest
from bundler.checks import installed
from bundler.create import index_pages, requirements
from bundler.create.fetch import sdist_file
from bundler.formats import checking, delta, reading
from bundler.ontarget import bounded, parcel_format, signatures
from bundler.ontarget.public_keys import BadKeyError
from bundler.rebuild import config, record
from bundler.system import redact
from bundler.targets import profile_file
from bundler.wheels import launchers, unpack
from packaging.markers import default_environment
from tests.support import deltamaker, parcelmaker, wheelmaker
from tests.support.archivemaker import make_archived, pack
from tests.support.bundlemaker import interpreter, make_bundle, target
from tests.support.bundlemaker import unpack as unpacked_tree

Reader = Callable[[Path], object]
"""It returns a value, or raises an error of envbundle's."""


def seeds(folder: Path) -> dict[str, tuple[bytes, str, Reader]]:
    """Return reader → a good input, the name of its file, and the function that reads it."""
    entry_points = "[console_scripts]\nrun = alpha:main [x]\n"
    wheel = wheelmaker.make_wheel(folder, "alpha", entry_points=entry_points)
    bundle = make_bundle(folder / "bundle", wheel)
    builder = interpreter(Path(sys.executable))
    markers = {**default_environment(), "python_version": "3.8", "python_full_version": "3.8.18"}
    aim = replace(target(), markers={key: str(value) for key, value in markers.items()})
    pylock = (
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "alpha"\nversion = "1.0"\n'
        f'[[packages.wheels]]\nname = "{wheel.name}"\nurl = "https://u:p@h.test/{wheel.name}?sig=1"\n'
        f'hashes = {{sha256 = "{"0" * 64}"}}\n'
    ).encode()
    page = json.dumps(
        {"files": [{"filename": wheel.name, "url": "a.whl", "hashes": {"sha256": "0" * 64}}]}
    ).encode()
    html = f'<!DOCTYPE html><a href="../{wheel.name}#sha256={"0" * 64}" data-yanked="x">a</a>'.encode()

    def unpacked(path: Path) -> object:
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            return unpack.unpack(path, place, sha256="0" * 64, interpreter=builder)
        finally:
            shutil.rmtree(place)

    def listed(kind: str) -> Reader:
        return lambda path: list(
            index_pages.files(
                index_pages.Page(url="https://h.test/", sha256="", kind=kind, content=path.read_bytes())
            )
        )

    def archive(path: Path) -> object:
        kind = reading.kind_of(path)
        return kind and checking.check(path, kind=kind)

    wanted = (
        b"alpha[x]==1.0 ; python_version < '3.9' --hash=sha256:"
        + b"0" * 64
        + b"\nb @ git+https://u:p@h/x.git@v1\n"
    )
    profile = next(Path(profile_file.__file__).parent.joinpath("images").glob("**/*.json")).read_bytes()
    found: dict[str, tuple[bytes, str, Reader]] = {
        "manifest": ((bundle / manifest.NAME).read_bytes(), "manifest.json", manifest.read),
        "json": (
            (bundle / manifest.NAME).read_bytes(),
            "x.json",
            lambda path: _value(bounded.parse_json, path),
        ),
        "requirements": (
            wanted,
            "requirements.txt",
            lambda path: requirements.read(files=[path], arguments=[]),
        ),
        "lock": (pylock, "pylock.toml", lambda path: lock.read_lock(path, aim)),
        "profile": (profile, "profile.json", profile_file.read),
        "entry points": (entry_points.encode(), "entry_points.txt", _entry_points),
        "wheel": (wheel.read_bytes(), wheel.name, unpacked),
        "page-json": (page, "page.json", listed("application/vnd.pypi.simple.v1+json")),
        "page-html": (html, "page.html", listed("text/html")),
        "redact": (pylock, "text", lambda path: redact.text(path.read_bytes().decode("utf-8", "replace"))),
    }
    bundle = make_archived(folder / "packed")
    kinds = ["tar.gz", "tar.zst", "zip", "oci", *(["squashfs"] if shutil.which("mksquashfs") else [])]
    for kind, path in zip(kinds, pack(bundle, folder / "archive", *kinds), strict=True):
        if kind != "oci":
            found[kind] = (path.read_bytes(), f"x.{kind}", archive)
    layout = folder / "archive.oci"
    blob = min(layout.glob("blobs/sha256/*"), key=lambda one: one.stat().st_size)
    for name, path in (("oci index", layout / "index.json"), ("oci blob", blob)):
        found[name] = (path.read_bytes(), path.name, _within(layout, path, archive))
    return {**found, **more_seeds(folder), **crossing_seeds(folder)}


def _within(layout: Path, place: Path, read: Reader) -> Reader:
    """Return what reads a folder with a changed file in it, and puts the good one back."""
    good = place.read_bytes()

    def reading_it(path: Path) -> object:
        shutil.copyfile(path, place)
        try:
            return read(layout)
        finally:
            place.write_bytes(good)

    return reading_it


def more_seeds(folder: Path) -> dict[str, tuple[bytes, str, Reader]]:
    """Return what `seeds` does, of what is in an installed tree, beside a bundle and of a nightly."""
    prefix = folder / "tree"
    site_packages = unpacked_tree(prefix, wheelmaker.make_wheel(folder, "beta"))
    relative = str(site_packages.relative_to(prefix))
    file = site_packages / "beta-1.0.dist-info" / "RECORD"

    def listed(_: Path) -> object:
        return installed.read_records(prefix, relative, installed.read(site_packages))

    def signers(path: Path) -> object:
        try:
            return signatures.read_rules([], [str(path)], [], "", "")
        except BadKeyError as error:
            return error

    def recorded(path: Path) -> object:
        return record.parse(path.read_bytes(), source="a record")

    def within_folder(path: Path) -> object:
        with delta.translated():
            return parcel_format.read_parcel(str(path.parent))

    def receipts(path: Path) -> object:
        with delta.translated():
            return parcel_format.read_receipt(str(path))

    row = {"name": "a", "build": "0" * 16, "manifest_digest": "0" * 64, "current": True}
    entry = {**row, "manifest_sha256": "1" * 64, "base": None, "files": [["json", 9, "2" * 64]]}
    parts = [{"name": "00001.part", "size": 9, "sha256": "3" * 64}]
    head = {"schema_version": "1.0", "part_size": 9, "parts": parts}
    parcel = json.dumps({"kind": "envbundle-parcel", **head, "builds": [entry]}).encode()
    listed_row = {**row, "made": "2026-01-01T00:00:00.000000+00:00", "beside": "4" * 64}
    receipt = json.dumps(parcel_format.as_receipt([listed_row])).encode()
    known = record.Record(
        name="a", build="0" * 16, input="0" * 64, lock="0" * 64, tool="1", made="2026-01-01T00:00:00.000000Z",
        digest="0" * 64, manifest_digest="0" * 64, size=1, files=1,
    )  # fmt: skip
    toml = b'[defaults]\npython = "3.8"\nignore = ["EB501"]\n[[bundle]]\nname = "a"\nrequirements = "r.txt"\n'
    key = b"AAAAC3NzaC1lZDI1NTE5AAAAI" + b"A" * 43
    return {
        "envbundle.toml": (toml, "envbundle.toml", config.read),
        "record": (record.render(known).encode(), "record.json", recorded),
        "RECORD": (file.read_bytes(), "RECORD", _within(prefix, file, listed)),
        "parcel": (parcel, "parcel.json", within_folder),
        "receipt": (receipt, "receipt.json", receipts),
        "signers": (b'a@b,c namespaces="envbundle" ssh-ed25519 ' + key + b" x\n", "signers", signers),
    }


def crossing_seeds(folder: Path) -> dict[str, tuple[bytes, str, Reader]]:
    """Return what `seeds` does, of a source, of signatures and of a delta."""
    source = io.BytesIO()
    with tarfile.open(fileobj=source, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (
            ("PKG-INFO", b"Name: a\n"),
            ("pyproject.toml", b"[build-system]\nrequires = []\n"),
        ):
            info = tarfile.TarInfo(f"größe-1.0/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    old, new = deltamaker.two(folder)
    made, _ = deltamaker.write_delta(folder / "delta", old, new, compression="zlib")

    def applied(path: Path) -> object:
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            if path.name == "delta.json":
                shutil.copytree(made, place / "changed")
                shutil.copyfile(path, place / "changed" / path.name)
            else:
                deltamaker.forged(made, place / "changed", **{path.name: path.read_bytes()})
            return delta.apply(old, [place / "changed"], output=place / "new")
        finally:
            shutil.rmtree(place)

    found: dict[str, tuple[bytes, str, Reader]] = {
        "sdist": (source.getvalue(), "größe-1.0.tar.gz", sdist_file.pyproject),
        "delta": ((made / "delta.json").read_bytes(), "delta.json", applied),
        "delta control": (deltamaker.unpacked(made, "control"), "control", applied),
    }
    if shutil.which("ssh-keygen"):
        key, signed = parcelmaker.make_key(folder / "key"), folder / "signed"
        parcelmaker.sign(new, signed, key, name="a", counter=1)
        content, rules = (new / manifest.NAME).read_bytes(), parcelmaker.rules_of(key)

        def checked(_: Path) -> object:
            return signatures.check_signatures(content, str(signed), rules)

        for name in sorted(path.name for path in signed.iterdir()):
            found[name] = (
                (signed / name).read_bytes(),
                name,
                _within(signed, signed / name, checked),
            )
    return found


def _value(read: Callable[[bytes], object], path: Path) -> object:
    try:
        return read(path.read_bytes())
    except ValueError as error:
        return error


def _entry_points(path: Path) -> object:
    try:
        return launchers.entry_points(path.read_bytes().decode(), minor="3.8")
    except (launchers.EntryPointError, UnicodeDecodeError) as error:
        return error
