"""What a manifest says of each distribution and of the image's part, and manifests from before it did."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from bundler.bundle import manifest, needs
from bundler.bundle.manifest.values import Content, Needs
from bundler.errors import InputError
from bundler.model import CheckResult, Evidence, Isolation, NativeFact, StoredWheel, WheelFacts
from bundler.ontarget.checksums import manifest_digest
from bundler.wheels import launchers
from bundler.wheels.facts import licence
from bundler.wheels.store import Store
from packaging.metadata import parse_email

from tests.support.bundlemaker import facts, interpreter, lock, locked, make_bundle, stored_wheel, target
from tests.support.nativemaker import compile_c, extension
from tests.support.wheelmaker import make_wheel, sha256
from tests.wheels.test_unpack import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Command

SITE = "lib/python3.8/site-packages"
EXTENSION = "_fast.cpython-38-x86_64-linux-gnu.so"


def build(known: WheelFacts) -> manifest.Manifest:
    """The manifest of one distribution, without a tree."""
    return manifest.build(
        target=target(),
        interpreter=interpreter(Path("/usr/bin/python3")),
        lock=lock(locked("pack")),
        wheels=[stored_wheel(locked("pack"), known)],
        files=[],
        checks=[CheckResult(code="EB101", outcome="passed")],
        findings=[],
        evidence=Evidence(
            baseline_freeze=(), freeze=(), expected=(), modules=(), libraries=(), isolation=Isolation()
        ),
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with something of every kind."""
    folder = tmp_path_factory.mktemp("wheel")
    code = "int getpid(void); int foo_answer(void) { return getpid(); }\n"
    foo = compile_c(folder / "built/libfoo.so.1", code, "-Wl,-soname,libfoo.so.1")
    fast = extension(folder / "built" / EXTENSION, "_fast", needs=foo)
    return make_wheel(
        folder,
        "pack",
        files={
            "pack/__init__.py": "def main(): pass\n",
            "pack/deep/data.txt": "text",
            "single.py": "X = 1\n",
            f"pack/{EXTENSION}": fast.read_bytes(),
            "pack.libs/libfoo.so.1": foo.read_bytes(),
            "pack/weird.so": "no library",
            "pack-1.0.data/data/share/pack/x.txt": "x",
            "pack-1.0.data/data/top.txt": "top",
        },
        entry_points="[console_scripts]\npack = pack:main\n[pack.plugins]\nZed=pack.zed\n",
        metadata="License-Expression: MIT\n",
        tag="cp38-cp38-linux_x86_64",
        root_is_purelib=False,
    )


@pytest.fixture
def stored(wheel: Path, tmp_path: Path, python38: Path) -> StoredWheel:
    tree = Store(tmp_path / "store").ensure_tree(wheel, sha256(wheel), describe(python38))
    return StoredWheel(locked=locked("pack"), facts=tree.facts, tree=tree.path)


def test_members_of_a_distribution(stored: StoredWheel) -> None:
    made = build(stored.facts)
    (one,) = made.distributions
    assert one.licence == "MIT"
    assert one.entry_points == ("console_scripts: pack = pack:main", "pack.plugins: Zed = pack.zed")
    assert one.native == (f"{SITE}/pack.libs/libfoo.so.1", f"{SITE}/pack/{EXTENSION}")
    counted = {row.name: row.files for row in one.contents}
    assert counted == {
        "./": 1, "bin/": 1, "pack": 5, "pack-1.0.dist-info": 3, "pack.libs": 1, "share/": 1, "single.py": 2,
    }  # fmt: skip
    assert [row.name for row in one.contents] == sorted(counted)
    assert (sum(counted.values()), sum(row.bytes for row in one.contents)) == (one.files, one.bytes)
    assert made.needs.libraries == ("libc.so.6",)
    assert made.needs.symbols == ("GLIBC_2.2.5",)


def test_members_stay_through_the_file(stored: StoredWheel, tmp_path: Path) -> None:
    made = build(stored.facts)
    text = manifest.render(made)
    (tmp_path / manifest.NAME).write_text(text, encoding="ascii")
    assert manifest.read(tmp_path) == made
    assert manifest.parse(text.encode(), source="env.tar.zst") == made
    assert json.loads(text)["distributions"][0]["contents"][0] == ["./", 1, 3]
    with pytest.raises(InputError, match=r"^env\.tar\.zst: is not sound JSON"):
        manifest.parse(text[:-9].encode(), source="env.tar.zst")


def native(path: str, *needed: str, versions: tuple[str, ...] = (), **values: Any) -> NativeFact:
    return NativeFact(path=path, needed=needed, versions=versions, **{"machine": "x86_64", **values})


@pytest.mark.parametrize(
    ("found", "libraries", "symbols"),
    [
        pytest.param([], (), (), id="pure"),
        pytest.param([native("a.so", "libm.so.6", "libc.so.6")], ("libc.so.6", "libm.so.6"), (), id="sorted"),
        pytest.param(
            [native("a.so", "libfoo.so.1"), native("p.libs/libfoo-77.so", soname="libfoo.so.1")],
            (), (), id="by SONAME",
        ),
        pytest.param([native("a.so", "libfoo.so.1"), native("q/libfoo.so.1")], (), (), id="by name"),
        pytest.param(
            [native("a.so", "libfoo.so.1"), native("q/libfoo.so.1", machine="aarch64")],
            ("libfoo.so.1",), (), id="for another processor",
        ),
        pytest.param([native("a.so", "libfoo.so.1", machine="aarch64")], (), (), id="of another processor"),
        pytest.param([native("a.so", "libfoo.so.1", problem="cut off")], (), (), id="not loadable"),
        pytest.param(
            [native("a.so", "$ORIGIN/../libb.so", "/opt/libc.so"), native("libb.so"), native("libc.so")],
            ("/opt/libc.so",), (), id="paths",
        ),
        pytest.param(
            [
                native("a.so", versions=("libc.so.6:GLIBC_2.4", "libm.so.6:GLIBC_2.17", "libz.so.1:Z_1.2")),
                native("b.so", versions=("libc.so.6:GLIBC_2.14", "libstdc++.so.6:GLIBCXX_3.4.9",
                                         "libstdc++.so.6:CXXABI_1.3", "libgcc_s.so.1:GCC_3.0")),
            ],
            (), ("CXXABI_1.3", "GCC_3.0", "GLIBCXX_3.4.9", "GLIBC_2.17"), id="the highest, as numbers",
        ),
        pytest.param(
            [
                native("a.so", "libstdc++.so.6", versions=("libstdc++.so.6:GLIBCXX_3.4.30",)),
                native("p.libs/libstdc++.so.6", "libc.so.6", versions=("libc.so.6:GLIBC_2.17",)),
            ],
            ("libc.so.6",), ("GLIBC_2.17",), id="an own libstdc++",
        ),
        pytest.param(
            [native("a.so", versions=("libc.so.6:GLIBC_ABI_DT_RELR", "libc.so.6:GLIBC_2.17"))],
            (), ("GLIBC_2.36",), id="a feature",
        ),
        pytest.param(
            [native("a.so", versions=("libc.so.6:GLIBC_ABI_OF_TOMORROW", "libc.so.6:GLIBC_PRIVATE"))],
            (), (), id="no number",
        ),
    ],
)  # fmt: skip
def test_needs(found: list[NativeFact], libraries: tuple[str, ...], symbols: tuple[str, ...]) -> None:
    assert needs.of(found, target()) == Needs(libraries=libraries, symbols=symbols)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{SITE}/six.py", "six.py"),
        (f"{SITE}/__pycache__/six.cpython-38.pyc", "six.py"),
        (f"{SITE}/a/__pycache__/b.cpython-38.pyc", "a"),
        (f"{SITE}/__pycache__/deep/x.pyc", "__pycache__"),
        ("bin/six", "bin/"),
        ("lib/libtbb.so", "lib/"),
        ("lib/python3.7/site-packages/x.py", "lib/"),
        ("README", "./"),
    ],
)
def test_place_of_a_file(path: str, name: str) -> None:
    known = facts("pack", files={path: "aa"})
    assert build(known).distributions[0].contents == (Content(name=name, files=1, bytes=1),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("[gui_scripts]\nb = m:f\na = m : f [x]\n", ("gui_scripts: a = m : f [x]", "gui_scripts: b = m:f")),
        ("[z]\nK=v\n[a]\nk=v\n", ("a: k = v", "z: K = v")),
        ("[DEFAULT]\nx=1\n[a]\n", ("DEFAULT: x = 1",)),
        ("[a]\nk = one\n  two\n", ("a: k = one\ntwo",)),
    ],
)  # fmt: skip
def test_entry_points(text: str, found: tuple[str, ...]) -> None:
    assert launchers.declared(text) == found


def test_entry_points_cannot_speak_to_a_terminal(tmp_path: Path, python38: Path) -> None:
    wheel = make_wheel(tmp_path, "pack", entry_points="[x]\na = \x1b[31mred\n   more\n")
    made = Store(tmp_path / "store").ensure_tree(wheel, sha256(wheel), describe(python38))
    assert made.facts.entry_points == ("x: a = \ufffd[31mred more",)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", "MIT OR Apache-2.0"),
        ("License: BSD 3-Clause License\n  \n  Copyright (c) 2008", "BSD 3-Clause License"),
        ("License: Copyright 2001 Me\nClassifier: License :: OSI Approved :: BSD License", "BSD License"),
        ("License: (c) 2001 Somebody", "(c) 2001 Somebody"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: A B",
         "A B"),
        ("License: UNKNOWN", ""),
        ("License: red \x1b[31m", "red \ufffd[31m"),
        ("Name: x", ""),
    ],
)  # fmt: skip
def test_licence(metadata: str, found: str) -> None:
    assert licence(parse_email(metadata)[0]) == found


# --- what anybody may have written ----------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"), modules=["alpha"])


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Change a manifest, and make its digests and checksums fit again."""
    path = bundle / manifest.NAME
    before = path.read_bytes()
    content: dict[str, Any] = json.loads(before)
    change(content)
    content["manifest_digest"] = manifest_digest(content)
    path.write_text(json.dumps(content))
    sums = bundle / manifest.SUMS
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {manifest.NAME}")]
    sums.write_text(
        "\n".join(sorted([*lines, f"{sha256(path)}  {manifest.NAME}"], key=lambda line: line[66:])) + "\n"
    )
    return content


def first(**members: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["distributions"][0].update(members)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (first(licence=None), "distributions[0].licence"),
        (first(licence=["MIT"]), "distributions[0].licence"),
        (first(entry_points="x"), "distributions[0].entry_points"),
        (first(entry_points=[1]), "distributions[0].entry_points[0]"),
        (first(native=["../x.so"]), "distributions[0].native[0]"),
        (first(native=["/x.so"]), "distributions[0].native[0]"),
        (first(native={}), "distributions[0].native"),
        (first(contents={}), "distributions[0].contents"),
        (first(contents=[["a", 1]]), "distributions[0].contents[0]"),
        (first(contents=[["a", 1, 1, 1]]), "distributions[0].contents[0]"),
        (first(contents=["abc"]), "distributions[0].contents[0]"),
        (first(contents=[["a", -1, 1]]), "distributions[0].contents[0][1]"),
        (first(contents=[["a", 1, 1.5]]), "distributions[0].contents[0][2]"),
        (first(contents=[["../x", 1, 1]]), "distributions[0].contents[0][0]"),
        (first(contents=[["a/b", 1, 1]]), "distributions[0].contents[0][0]"),
        (first(contents=[["..", 1, 1]]), "distributions[0].contents[0][0]"),
        (first(contents=[["../", 1, 1]]), "distributions[0].contents[0][0]"),
        (first(contents=[["/", 1, 1]]), "distributions[0].contents[0][0]"),
        (first(contents=[["", 1, 1]]), "distributions[0].contents[0][0]"),
        (lambda content: content.update(needs=[]), "needs"),
        (lambda content: content.update(needs={"libraries": []}), "lacks 'symbols'"),
        (lambda content: content["needs"].update(symbols="GLIBC_2.17"), "needs.symbols"),
        (lambda content: content["needs"].update(libraries=[None]), "needs.libraries[0]"),
    ],
)
def test_wrong_member_is_refused_at_its_place(
    bundle: Path, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    content = rewrite(bundle, change)
    with pytest.raises(InputError) as raised:
        manifest.read(bundle)
    assert place in raised.value.message
    assert not schema().is_valid(content)


@pytest.mark.parametrize("name", ["./", "bin/", "six.py", "...", ".hidden", "ünï", "a b"])
def test_names_that_stand(bundle: Path, name: str) -> None:
    content = rewrite(bundle, first(contents=[[name, 1, 2]]))
    schema().validate(content)
    assert manifest.read(bundle).distributions[0].contents == (Content(name=name, files=1, bytes=2),)


def schema() -> jsonschema.Draft202012Validator:
    text = files("bundler.bundle.manifest").joinpath("manifest.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def test_inspect_shows_them(envbundle: Command, bundle: Path) -> None:
    rewrite(bundle, lambda content: content.update(
        needs={"libraries": ["libGL.so.1", "libc.so.6"], "symbols": ["GLIBC_2.17"]}
    ))  # fmt: skip
    rewrite(bundle, first(licence="MIT"))
    shown = envbundle("inspect", "bundle").stdout.splitlines()
    at = next(number for number, line in enumerate(shown) if line.startswith("needs"))
    assert [line.split(maxsplit=1)[-1] for line in shown[at : at + 2]] == ["GLIBC_2.17", "libc.so.6"]
    printed = envbundle("inspect", "bundle", "--json").json()
    assert printed["needs"] == {"libraries": ["libGL.so.1", "libc.so.6"], "symbols": ["GLIBC_2.17"]}
    assert printed["distributions"][0]["licence"] == "MIT"


# --- bundles of schema 1.0 ------------------------------------------------------------------------


def as_before(content: dict[str, Any]) -> None:
    """Take away what schema 1.0 did not have."""
    content["schema_version"] = "1.0"
    del content["needs"]
    for one in content["distributions"]:
        for member in ("licence", "entry_points", "native", "contents"):
            del one[member]


def test_older_manifest_is_read(bundle: Path) -> None:
    now = manifest.read(bundle)
    content = rewrite(bundle, as_before)
    schema().validate(content)
    assert '"schema_version": "1.0"' in (bundle / manifest.NAME).read_text()
    old = manifest.read(bundle)
    (one,) = old.distributions
    assert (one.licence, one.entry_points, one.native, one.contents) == ("", (), (), ())
    assert old.needs == Needs()
    assert (old.digest, one.bytes, old.files) == (now.digest, now.distributions[0].bytes, now.files)


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "bundle"],
        ["inspect", "bundle", "--json"],
        ["verify", "bundle", "--json"],
        ["deploy", "bundle", "--to", "docker", "--base", "python:3.8", "-o", "deploy"],
    ],
    ids=" ".join,
)
def test_older_bundle_is_used(envbundle: Command, bundle: Path, words: list[str]) -> None:
    rewrite(bundle, as_before)
    done = envbundle(*words)
    assert done.code == 0, done.stderr
    assert done.stdout


def test_older_bundle_verifies_itself(bundle: Path, python38: Path) -> None:
    rewrite(bundle, as_before)
    done = subprocess.run([python38, bundle / "verify.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
