"""A good bundle, spoilt: verify.py and `envbundle verify` each find it and name it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundler.bundle import manifest
from bundler.ontarget.checksums import manifest_digest, sums_text, tree_digest

from tests.support import machine
from tests.support.command import Command
from tests.support.wheelmaker import make_wheel, sha256

SITE = "lib/python3.8/site-packages"
OLD = f"{SITE}/native.cpython-38-x86_64-linux-gnu.so"
OTHER = f"{SITE}/native.cpython-37m-x86_64-linux-gnu.so"
INFO = f"{SITE}/native-1.0.dist-info"
SOURCE = """
#include <Python.h>
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};
#ifdef FUTURE
extern int future(void);
#define CALL future()
#else
#define CALL 0
#endif
PyMODINIT_FUNC PyInit_native(void) { return CALL ? NULL : PyModule_Create(&def); }
"""

Spoil = Callable[[Path, "Parts"], object]
Found = list[tuple[str, str]]


class Parts:
    """What sabotage is made of: the same extension for another Python, and for a C library to come."""

    def __init__(self, folder: Path, python37: Path, python38: Path) -> None:
        self.good = compiled(folder / "good.so", python38)
        self.other = compiled(folder / "other.so", python37)
        (folder / "future.c").write_text("int future(void) { return 0; }\n")
        (folder / "future.map").write_text("GLIBC_2.99 { global: future; };\n")
        stub = folder / "libc.so.6"
        cc(folder, "-shared", "-nostdlib", "-Wl,-soname,libc.so.6", "-Wl,--version-script=future.map",
           "-o", stub, "future.c")  # fmt: skip
        self.newer = compiled(folder / "newer.so", python38, "-DFUTURE", stub)


def cc(folder: Path, *words: str | Path) -> None:
    machine.need("cc")
    subprocess.run(["cc", *map(str, words)], cwd=folder, check=True)


def compiled(output: Path, python: Path, *words: str | Path) -> bytes:
    script = "import sysconfig; print(sysconfig.get_paths()['include'])"
    include = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout
    (output.parent / "native.c").write_text(SOURCE)
    cc(output.parent, "-shared", "-fPIC", f"-I{include.strip()}", "-o", output, "native.c", *words)
    return output.read_bytes()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, python37: Path, python38: Path) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"), python37, python38)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, pips: Path, parts: Parts) -> Path:
    folder = tmp_path_factory.mktemp("good")
    make_wheel(
        folder,
        "alpha",
        files={"alpha/__init__.py": "import native\n", "alpha/part.py": "VALUE = 1\n"},
        requires=["native"],
    )
    files = {Path(OLD).name: parts.good}
    make_wheel(
        folder, "native", files=files, tag="cp38-cp38-manylinux_2_17_x86_64", metadata="License: MIT\n"
    )
    command = Command(cache=shared_cache, pips=pips, folder=folder)
    done = command("create", "alpha", "--python", "3.8", "-o", "bundle", *command.offline(folder))
    assert done.code == 0, done.stderr
    return folder / "bundle"


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "a bundle"))


def travelling(python: Path, bundle: Path) -> tuple[int, dict[str, Any]]:
    """What the bundle's own verify.py says."""
    done = subprocess.run(
        [python, "-I", bundle / "verify.py", "--json"], capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout)


def brief(said: dict[str, Any]) -> Found:
    return [(one["code"], one["subject"]) for one in said["findings"]]


# --- sabotage -------------------------------------------------------------------------------------


def one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def swap(bundle: Path, content: bytes) -> None:
    (bundle / OLD).unlink()
    (bundle / OTHER).write_bytes(content)


def link_out(bundle: Path) -> None:
    (bundle / SITE / "alpha/part.py").unlink()
    (bundle / SITE / "alpha/part.py").symlink_to("/etc/hostname")


SABOTAGE: dict[str, tuple[Spoil, Found, Found]] = {
    "a module deleted": (
        lambda b, _: (b / SITE / "alpha/part.py").unlink(),
        [("EB511", f"{SITE}/alpha/part.py")],
        [],
    ),
    "a byte of a library": (lambda b, _: one_byte(b / OLD), [("EB512", OLD)], []),
    "a byte of bytecode": (
        lambda b, _: one_byte(b / SITE / "alpha/__pycache__/part.cpython-38.pyc"),
        [("EB512", f"{SITE}/alpha/__pycache__/part.cpython-38.pyc")],
        [],
    ),
    "a file added": (
        lambda b, _: (b / SITE / "extra.py").touch(),
        [("EB513", f"{SITE}/extra.py")],
        [],
    ),
    "a distribution added": (
        lambda b, _: shutil.copytree(b / INFO, b / SITE / "other-2.0.dist-info"),
        [("EB513", f"{SITE}/other-2.0.dist-info/METADATA")],
        [("EB107", "other-2.0.dist-info")],
    ),
    "a dist-info removed": (
        lambda b, _: shutil.rmtree(b / INFO),
        [("EB511", f"{INFO}/METADATA"), ("EB511", f"{INFO}/RECORD")],
        [("EB101", "native")],
    ),
    "a library of another Python": (
        lambda b, p: swap(b, p.other),
        [("EB511", OLD), ("EB513", OTHER), ("EB201", "native")],
        [],
    ),
    "a newer symbol of glibc": (
        lambda b, p: (b / OLD).write_bytes(p.newer),
        [("EB512", OLD), ("EB201", "native")],
        [],
    ),
    "a RECORD emptied": (
        lambda b, _: (b / INFO / "RECORD").write_text(""),
        [("EB512", f"{INFO}/RECORD")],
        [],
    ),
    "a symlink out of the tree": (lambda b, _: link_out(b), [("EB514", f"{SITE}/alpha/part.py")], []),
    "a folder that is a symlink": (
        lambda b, _: (b / SITE / "outside").symlink_to("/usr/lib"),
        [("EB514", f"{SITE}/outside")],
        [],
    ),
    "the manifest edited": (
        lambda b, _: edit(b / "manifest.json", '"glibc": "2.31"', '"glibc": "2.17"'),
        [("EB515", "manifest.json")],
        [],
    ),
    "the lock edited": (
        lambda b, _: edit(b / "pylock.toml", 'version = "1.0"', 'version = "1.1"'),
        [("EB512", "pylock.toml")],
        [],
    ),
    "the checksums gone": (lambda b, _: (b / "SHA256SUMS").unlink(), [("EB511", "SHA256SUMS")], []),
}


@pytest.mark.parametrize(("spoil", "by_both", "by_us"), SABOTAGE.values(), ids=SABOTAGE)
def test_sabotage_is_found_and_named(
    bundle: Path,
    parts: Parts,
    python38: Path,
    envbundle: Command,
    spoil: Spoil,
    by_both: Found,
    by_us: Found,
) -> None:
    spoil(bundle, parts)
    code, said = travelling(python38, bundle)
    assert (code, set(by_both) - set(brief(said))) == (1, set())
    done = envbundle("verify", bundle, "--json")
    assert (done.code, {*by_both, *by_us} - set(brief(done.json()))) == (1, set()), done.stderr
    assert all(one[1] in done.stderr for one in by_both)


@pytest.mark.thorough
def test_good_bundle_is_silent(bundle: Path, python38: Path, envbundle: Command) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in bundle.rglob("*"))
    assert travelling(python38, bundle)[1]["findings"] == []
    done = envbundle("verify", bundle, "--json")
    said = done.json()
    assert (done.code, [one for one in said["findings"] if one["severity"] != "info"]) == (0, [])
    assert said["checked"] == ["files", "target", "imports", "static"]
    plain = envbundle("verify", bundle, "--no-imports", "-q")
    assert (plain.code, plain.stdout, plain.stderr) == (0, "", "")
    assert sorted((path, path.stat().st_mtime_ns) for path in bundle.rglob("*")) == before


@pytest.mark.thorough
def test_wrong_python(bundle: Path, python37: Path, envbundle: Command) -> None:
    reason = "the bundle is for cpython 3.8 (cp38), this is cpython 3.7 (cp37m)"
    code, said = travelling(python37, bundle)
    assert (code, reason in said["error"]["message"]) == (2, True)
    done = envbundle("verify", bundle, "--python", python37)
    assert (done.code, reason in done.stderr) == (2, True)
    files_alone = envbundle("verify", bundle, "--python", python37, "--no-imports", "--json")
    assert (files_alone.code, files_alone.json()["checked"]) == (0, ["files"])


def test_verifier_that_says_yes_to_everything_is_not_believed(
    bundle: Path, python38: Path, envbundle: Command
) -> None:
    (bundle / "verify.py").write_text("print('{\"findings\": []}')\n")
    one_byte(bundle / OLD)
    assert travelling(python38, bundle) == (0, {"findings": []})
    found = brief(envbundle("verify", bundle, "--json").json())
    assert {("EB512", "verify.py"), ("EB512", OLD)} <= set(found)


# --- sabotage by somebody who makes the sums fit ---------------------------------------------------


def seal(bundle: Path) -> None:
    """Make manifest and checksums fit the tree as it is, as a builder without checks would."""
    path = bundle / manifest.NAME
    content = json.loads(path.read_text())
    beside = {row[0] for row in content["documents"]} | {manifest.NAME, manifest.SUMS}
    present = sorted(str(one.relative_to(bundle)) for one in bundle.rglob("*") if one.is_file())
    content["files"] = [
        [name, sha256(bundle / name), (bundle / name).stat().st_size, "0644"]
        for name in present
        if name not in beside
    ]
    content["digest"] = tree_digest([tuple(row) for row in content["files"]])
    content["manifest_digest"] = manifest_digest(content)
    path.write_text(json.dumps(content))
    rows = [(row[0], row[1]) for row in content["files"] + content["documents"]]
    (bundle / manifest.SUMS).write_text(sums_text([*rows, (manifest.NAME, sha256(path))]))


def record(bundle: Path, name: str, content: bytes) -> None:
    """Put a library in the place of the old one, and into its RECORD."""
    (bundle / OLD).unlink()
    (bundle / name).write_bytes(content)
    lines = (bundle / INFO / "RECORD").read_text().splitlines(keepends=True)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    kept = [line for line in lines if not line.startswith(Path(OLD).name)]
    (bundle / INFO / "RECORD").write_text(
        "".join(kept) + f"{Path(name).name},sha256={digest},{len(content)}\n"
    )


SEALED: dict[str, tuple[Spoil, Found, Found]] = {
    "a library of another Python": (
        lambda b, p: record(b, OTHER, p.other),
        [("EB201", "native")],
        [("EB305", "native")],
    ),
    "a newer symbol of glibc": (
        lambda b, p: record(b, OLD, p.newer),
        [("EB201", "native")],
        [("EB301", "native")],
    ),
    "a RECORD emptied": (lambda b, _: (b / INFO / "RECORD").write_text(""), [], [("EB105", OLD)]),
    "a dist-info removed": (lambda b, _: shutil.rmtree(b / INFO), [], [("EB101", "native")]),
    "a requirement that nothing meets": (
        lambda b, _: edit(
            b / SITE / "alpha-1.0.dist-info/METADATA", "Requires-Dist: native", "Requires-Dist: absent"
        ),
        [],
        [("EB204", "alpha")],
    ),
}


@pytest.mark.parametrize(("spoil", "by_both", "by_us"), SEALED.values(), ids=SEALED)
def test_sums_that_fit_do_not_help(
    bundle: Path,
    parts: Parts,
    python38: Path,
    envbundle: Command,
    spoil: Spoil,
    by_both: Found,
    by_us: Found,
) -> None:
    spoil(bundle, parts)
    seal(bundle)
    code, said = travelling(python38, bundle)
    assert (code, set(by_both) - set(brief(said))) == (1 if by_both else 0, set())
    assert not [one for one in brief(said) if one[0].startswith("EB5")]
    done = envbundle("verify", bundle, "--json")
    assert (done.code, {*by_both, *by_us} - set(brief(done.json()))) == (1, set()), done.stderr


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_no_bundle(tmp_path: Path, envbundle: Command, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = envbundle("verify", tmp_path / name, "--json")
    assert (done.code, done.json()["ok"]) == (2, False)
    assert "hint:" in done.stderr
