"""Locks: what is written is read again, by us and by real uv and pip; what others write is read; no lies."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import lock as locks
from bundler.create import requirements
from bundler.errors import InputError
from bundler.model import Artifact, BuildTool, Built, Lock, LockedDistribution
from bundler.system import redact
from packaging.pylock import Pylock
from uv import find_uv_bin

from tests.support.wheelmaker import make_sdist, make_wheel, sha256
from tests.targets.test_target import make_target

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import SourceKind, Target

    Argv = list[str | Path]

HASH = "a" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def aim(version: str = "3.8.18", glibc: str | None = None) -> Target:
    """A target with all the markers that a real interpreter tells."""
    markers = {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": version,
        "python_version": version.rpartition(".")[0],
        "sys_platform": "linux",
    }
    return replace(make_target(version, glibc), markers=markers)


def dist(
    name: str,
    artifact: Artifact,
    *,
    source: SourceKind = "index",
    version: str = "1.0",
    requested: bool = False,
    extras: tuple[str, ...] = (),
    required_by: tuple[str, ...] = (),
    yanked: str | None = None,
    index: str | None = None,
) -> LockedDistribution:
    return LockedDistribution(
        name=name, version=version, artifact=artifact, source=source, requested=requested, extras=extras,
        required_by=required_by, yanked=yanked, index=index,
    )  # fmt: skip


def wheel(name: str, **changes: object) -> Artifact:
    values: dict[str, object] = {
        "kind": "wheel", "filename": f"{name}-1.0-py3-none-any.whl", "sha256": HASH, "size": 7,
        "url": f"https://h.test/{name}-1.0-py3-none-any.whl", **changes,
    }  # fmt: skip
    return Artifact(**values)  # type: ignore[arg-type]  # a table of fields


def make_lock(*distributions: LockedDistribution) -> Lock:
    return Lock(
        python_version="3.8.18",
        machine="x86_64",
        glibc=(2, 31),
        distributions=tuple(sorted(distributions, key=lambda one: one.name)),
        requirements=("root[x]>=1 ; os_name == 'posix'", "proj (local)"),
        constraints=("leaf<2",),
    )


EVERY_KIND = {
    "wheel": dist("a", wheel("a"), requested=True, extras=("x", "y"), index="https://h.test/simple"),
    "required by": dist("a", wheel("a"), required_by=("b", "c")),
    "yanked": dist("a", wheel("a"), yanked="broken on \"Tuesdays\"\n[x]"),
    "yanked without a word": dist("a", wheel("a"), yanked=""),
    "no size": dist("a", wheel("a", size=None)),
    "sdist": dist("a", wheel("a", kind="sdist", filename="a-1.0.tar.gz", url="https://h.test/a-1.0.tar.gz")),
    "odd version": dist("a", wheel("a", filename="a-1!2.0.post1+cpu.1-py3-none-any.whl"),
                        version="1!2.0.post1+cpu.1"),
    "URL of a wheel": dist("a", wheel("a"), source="url", requested=True),
    "URL of an archive": dist(
        "a", wheel("a", kind="sdist", filename="v1.zip", url="https://h.test/x/v1.zip", subdirectory="sub"),
        source="url",
    ),
    "repository": dist("a", Artifact(kind="vcs", filename="", url="git+https://h.test/a.git", commit=COMMIT,
                                     subdirectory="x/y"), source="vcs"),
    "repository over ssh": dist("a", Artifact(kind="vcs", filename="", url="git+ssh://git@h.test/a.git",
                                              commit=COMMIT), source="vcs", version=""),
    "project": dist("a", Artifact(kind="directory", filename="", url=None, path="/srv/a b"), source="local",
                    version=""),
    "built with tools": replace(
        dist("a", wheel("a", kind="sdist", filename="a-1.0.tar.gz")),
        built=Built(sha256="b" * 64, tools=(BuildTool(name="flit-core", version="3.9", filename="f.whl",
                                                      sha256="c" * 64),), unlike="d" * 64),
    ),
    "built with nothing": replace(
        dist("a", Artifact(kind="vcs", filename="", url="git+https://h.test/a.git", commit=COMMIT),
             source="vcs"),
        built=Built(sha256="b" * 64, tools=()),
    ),
    "built project": dist("a", wheel("a", url=None, path="HERE/a-1.0-py3-none-any.whl"), source="local"),
    "local wheel": dist("a", wheel("a", url=None, path="HERE/a-1.0-py3-none-any.whl")),
    "local sdist": dist("a", wheel("a", kind="sdist", filename="a-1.0.tar.gz", url=None,
                                   path="HERE/a-1.0.tar.gz")),
}  # fmt: skip


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_is_written_is_read_again(tmp_path: Path, kind: str) -> None:
    one = EVERY_KIND[kind]
    if one.artifact.path:
        place = one.artifact.path.replace("HERE", str(tmp_path))
        one = replace(one, artifact=replace(one.artifact, path=place))
    parents = [dist(name, wheel(name)) for name in one.required_by]
    lock = make_lock(one, *parents)
    text = locks.to_pylock(lock)
    Pylock.from_dict(locks.parse_toml(text, where="the text"))
    path = tmp_path / "pylock.toml"
    path.write_text(text)
    assert locks.read_lock(path, aim()) == lock
    assert locks.to_pylock(locks.read_lock(path, aim())) == text
    assert locks.target_of(path) == ("3.8", "2.31")
    if kind != "project":
        assert str(tmp_path) not in text


def test_the_chain_of_a_lock_read_again(tmp_path: Path) -> None:
    lock = make_lock(
        dist("root", wheel("root"), requested=True),
        dist("mid", wheel("mid"), required_by=("root", "loop")),
        dist("loop", wheel("loop"), required_by=("mid",)),
        dist("leaf", wheel("leaf"), required_by=("loop", "mid")),
        dist("lone", wheel("lone")),
    )
    (tmp_path / "pylock.toml").write_text(locks.to_pylock(lock))
    read = locks.read_lock(tmp_path / "pylock.toml", aim())
    chains = {name: read.chain(name) for name in ("root", "leaf", "loop", "lone", "unknown")}
    assert chains == {
        "root": ("root",),
        "leaf": ("root", "mid", "leaf"),
        "loop": ("root", "mid", "loop"),
        "lone": ("lone",),
        "unknown": ("unknown",),
    }


@pytest.fixture
def stock(wheels: Path) -> Lock:
    """A lock of real files in a folder: a wheel that needs another, and an sdist with static metadata."""
    root = make_wheel(wheels, "root", requires=["leaf"])
    leaf = make_wheel(wheels, "leaf")
    built = make_sdist(wheels, "source", files={
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["."]\n'
        '[project]\nname = "source"\nversion = "1.0"\n',
        "x.py": "",
        "PKG-INFO": "Metadata-Version: 2.2\nName: source\nVersion: 1.0\n",
    })  # fmt: skip

    def local(path: Path, kind: str = "wheel") -> Artifact:
        facts = {"sha256": sha256(path), "size": path.stat().st_size}
        return wheel("x", kind=kind, filename=path.name, url=None, path=str(path), **facts)

    return make_lock(
        dist("root", local(root), requested=True),
        dist("leaf", local(leaf), required_by=("root",)),
        dist("source", local(built, "sdist"), requested=True),
    )


def test_uv_reads_ours(tmp_path: Path, wheels: Path, stock: Lock, python38: Path) -> None:
    path = wheels / "pylock.toml"
    path.write_text(locks.to_pylock(stock))
    argv: Argv = [find_uv_bin(), "pip", "sync", "--dry-run", "--offline", "--no-config", path.name,
            "--python", python38, "--target", tmp_path / "into", "--cache-dir", tmp_path / "uv"]  # fmt: skip
    done = subprocess.run(argv, cwd=wheels, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {line.strip(" +").partition("==")[0] for line in done.stderr.splitlines() if "==" in line} == {
        "root", "leaf", "source",
    }  # fmt: skip
    (wheels / "leaf-1.0-py3-none-any.whl").write_bytes(b"changed")
    assert subprocess.run([*argv, "--no-cache"], cwd=wheels, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(("version", "release"), [("3.7", "24.0"), ("3.8", "25.0.1")])
@pytest.mark.thorough
def test_the_targets_pip_takes_the_requirements_form(
    request: pytest.FixtureRequest, tmp_path: Path, wheels: Path, stock: Lock, pips: Path, version: str,
    release: str,
) -> None:  # fmt: skip
    python: Path = request.getfixturevalue(f"python{version.replace('.', '')}")
    made = make_lock(
        *(one for one in stock.distributions if one.name != "source"),
        # A project, of which the wheel was built here and lies in the folder.
        dist("mine", Artifact(kind="directory", filename="", url=None, path="/gone"), source="local"),
    )
    mine = make_wheel(wheels, "mine")
    text = locks.to_requirements(made, {"mine": sha256(mine)})
    (tmp_path / "requirements.lock").write_text(text)
    pip = pips / f"pip-{release}-py3-none-any.whl" / "pip"
    argv: Argv = [python, pip, "install", "--dry-run", "--ignore-installed", "--no-deps", "--require-hashes",
            "--no-index", "--find-links", wheels, "-r", tmp_path / "requirements.lock"]  # fmt: skip
    done = subprocess.run(
        argv, env={"PIP_CONFIG_FILE": "/dev/null"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    would = done.stdout.partition("Would install ")[2].splitlines()[0].split()
    assert set(would) == {"leaf-1.0", "mine-1.0", "root-1.0"}
    make_wheel(wheels, "leaf", files={"leaf.py": "CHANGED = 1\n"})
    failed = subprocess.run(
        argv, env={"PIP_CONFIG_FILE": "/dev/null"}, capture_output=True, text=True, check=False
    )
    assert failed.returncode != 0
    assert "HASHES" in failed.stderr


def test_the_requirements_form_is_read_as_a_lock(tmp_path: Path) -> None:
    lock = make_lock(
        dist("a", wheel("a"), extras=("x",)),
        dist("b", wheel("b", url="https://h.test/b-1.0-py3-none-any.whl"), source="url"),
        dist("c", Artifact(kind="vcs", filename="", url="git+https://h.test/c", commit=COMMIT), source="vcs"),
    )
    path = tmp_path / "requirements.lock"
    path.write_text(locks.to_requirements(lock, {"c": "c" * 64}))
    read = requirements.read(files=[path])
    locks.require_pinned(read, path=path)
    assert [(one.text, one.hashes) for one in read.requirements] == [
        ("a[x]==1.0", (f"sha256:{HASH}",)),
        ("b @ https://h.test/b-1.0-py3-none-any.whl", (f"sha256:{HASH}",)),
        ("c==1.0", (f"sha256:{'c' * 64}",)),
    ]
    assert locks.target_of(path) == ("3.8", "2.31")
    assert locks.is_whole(read, path=path, wheels_given=False)
    assert not locks.is_whole(read, path=path, wheels_given=True)
    # A list of another tool has no such comments, and says no target.
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if line[0] != "#"))
    assert not locks.is_whole(requirements.read(files=[path]), path=path, wheels_given=False)
    assert locks.target_of(path) == (None, None)


@pytest.mark.parametrize("kind", sorted(EVERY_KIND.keys() - {"project", "repository over ssh"}))
def test_the_requirements_form_says_all_that_pylock_says(tmp_path: Path, kind: str) -> None:
    one = EVERY_KIND[kind]
    if one.artifact.path:
        place = one.artifact.path.replace("HERE", str(tmp_path))
        one = replace(one, artifact=replace(one.artifact, path=place))
    lock = make_lock(one, *(dist(name, wheel(name)) for name in one.required_by))
    path = tmp_path / "requirements.lock"
    path.write_text(locks.to_requirements(lock, {"a": "b" * 64}))
    read = requirements.read(files=[path])
    locks.require_pinned(read, path=path)
    assert locks.is_whole(read, path=path, wheels_given=False)
    assert locks.read_lock(path, aim()) == lock
    assert str(tmp_path) not in path.read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a==1.0", "a==1.1"),
        (f"--hash=sha256:{HASH}", f"--hash=sha256:{'b' * 64}"),
        ("a==1.0", f"c==1.0 --hash=sha256:{HASH}\na==1.0"),
        (f"a==1.0 \\\n    --hash=sha256:{HASH}\n", ""),
        ('# pylock: {"name":"a"', '# pylock: ["name","a"'),
        ('# pylock: {"name":"a"', '# pylock: {"game":"a"'),
    ],
)
def test_comments_that_say_something_else_than_the_lines_are_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "requirements.lock"
    text = locks.to_requirements(make_lock(dist("a", wheel("a")), dist("b", wheel("b"))), {})
    assert old in text
    path.write_text(text.replace(old, new, 1))
    read = requirements.read(files=[path])
    with pytest.raises(InputError, match=r"requirements\.lock") as caught:
        locks.is_whole(read, path=path, wheels_given=False)
    assert caught.value.hint
    # Options that somebody added need the resolver.
    path.write_text(f"--pre\n{text}")
    assert not locks.is_whole(requirements.read(files=[path]), path=path, wheels_given=False)


@pytest.mark.parametrize(
    ("line", "pinned"),
    [
        (f"a==1.0 --hash=sha256:{HASH}", True),
        (f"a===1.0 --hash=sha256:{HASH}", True),
        (f"a @ https://h.test/a.zip --hash=sha256:{HASH}", True),
        ("a==1.0", False),
        (f"a>=1.0 --hash=sha256:{HASH}", False),
        (f"a --hash=sha256:{HASH}", False),
        (f"a==1.* --hash=sha256:{HASH}", False),
        (f"a>=1 ; python_version == '3.8' --hash=sha256:{HASH}", False),
    ],
)
def test_what_is_pinned(tmp_path: Path, line: str, *, pinned: bool) -> None:
    path = tmp_path / "r.txt"
    path.write_text(f"b==1 --hash=sha256:{HASH}\n{line}\n")
    read = requirements.read(files=[path])
    if pinned:
        locks.require_pinned(read, path=path)
    else:
        with pytest.raises(InputError, match=r"r\.txt:2: not pinned"):
            locks.require_pinned(read, path=path)


MANY = (
    "cp38-cp38-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp38-cp38-manylinux_2_28_x86_64",
    "cp38-cp38-manylinux_2_34_x86_64", "cp38-cp38-win_amd64", "cp38-cp38-macosx_11_0_arm64",
    "cp37-cp37m-manylinux_2_24_x86_64", "cp37-cp37m-manylinux2014_x86_64",
)  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("version", "glibc", "tag", "names"),
    [
        ("3.8.18", "2.27", MANY[0], {"root", "many"}),
        ("3.8.18", "2.31", MANY[1], {"root", "many"}),
        ("3.8.18", "2.35", MANY[2], {"root", "many"}),
        ("3.7.16", "2.27", MANY[5], {"root", "many", "backport"}),
        ("3.7.16", "2.17", MANY[6], {"root", "many", "backport"}),
    ],
)
def test_of_uvs_universal_lock_the_right_files(
    tmp_path: Path, wheels: Path, version: str, glibc: str, tag: str, names: set[str]
) -> None:
    for one in MANY:
        make_wheel(wheels, "many", tag=one)
    make_wheel(wheels, "root", requires=["many", "backport; python_version < '3.8'", "w; os_name == 'nt'"])
    make_wheel(wheels, "backport")
    make_wheel(wheels, "w")
    (tmp_path / "r.in").write_text("root\n")
    argv: Argv = [find_uv_bin(), "pip", "compile", "r.in", "--universal", "--python-version", "3.7",
            "--no-config", "--no-index", "--find-links", wheels, "-o", "pylock.toml", "-q",
            "--no-cache"]  # fmt: skip
    subprocess.run(argv, cwd=tmp_path, check=True)
    read = locks.read_lock(tmp_path / "pylock.toml", aim(version, glibc))
    assert {one.name for one in read.distributions} == names
    (many,) = (one for one in read.distributions if one.name == "many")
    assert many.artifact.filename == f"many-1.0-{tag}.whl"
    assert all(one.requested for one in read.distributions)
    # uv names files by URL; no path of this machine may reach a bundle through our lock of it.
    assert many.artifact.path == str(wheels / many.artifact.filename)
    assert str(tmp_path) not in locks.to_pylock(read)
    assert locks.target_of(tmp_path / "pylock.toml") == (None, None)


def test_pips_own_lock(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, "root", requires=["leaf"])
    make_wheel(wheels, "leaf")
    argv: Argv = [sys.executable, "-m", "pip", "lock", "-q", "--no-index", "--find-links", wheels, "root",
            "-o", tmp_path / "pylock.mine.toml"]  # fmt: skip
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = locks.read_lock(tmp_path / "pylock.mine.toml", aim())
    assert {one.name: one.artifact.sha256 for one in read.distributions} == {
        name: sha256(wheels / f"{name}-1.0-py3-none-any.whl") for name in ("root", "leaf")
    }


HEAD = 'lock-version = "1.0"\ncreated-by = "x"\n'
PACKAGE = HEAD + '[[packages]]\nname = "a"\nversion = "1.0"\n'
GOOD = f"hashes = {{sha256 = '{HASH}'}}"


def one_wheel(filename: str = "a-1.0-py3-none-any.whl", url: str = "https://h.test/a.whl") -> str:
    return f"{PACKAGE}[[packages.wheels]]\nname = '{filename}'\nurl = '{url}'\n{GOOD}\n"


REFUSED = {
    "no TOML": ("[[packages", "pylock.toml is not TOML"),
    "nothing": ("", "lock-version"),
    "another version": (HEAD.replace("1.0", "2.0") + "packages = []\n", "2.0"),
    "packages of a wrong kind": (HEAD + 'packages = "a"\n', "packages"),
    "a name that is none": (one_wheel().replace('"a"', '"../a"'), "packages[0].name"),
    "a name that is not normalised": (one_wheel().replace('"a"', '"A_a"'), "packages[0].name"),
    "a version that is none": (one_wheel().replace('"1.0"\n[', '"x y"\n['), "packages[0].version"),
    "two sources": (one_wheel() + f"[packages.archive]\nurl = 'https://h.test/a'\n{GOOD}\n", "packages[0]"),
    "no source": (PACKAGE, "packages[0]"),
    "no wheel that fits": (one_wheel("a-1.0-cp38-cp38-win_amd64.whl"), "glibc 2.31"),
    "another glibc": (one_wheel("a-1.0-cp38-cp38-manylinux_2_34_x86_64.whl"), "glibc 2.31"),
    "another Python": (one_wheel().replace(HEAD, HEAD + 'requires-python = ">=3.11"\n'), "3.8.18"),
    "another environment": (
        one_wheel().replace(HEAD, HEAD + "environments = [\"sys_platform == 'win32'\"]\n"), "environments",
    ),
    "the same name twice": (one_wheel() + one_wheel().removeprefix(HEAD), "Multiple"),
    "no sha256": (one_wheel().replace("sha256 =", "sha512 ="), "a: no sha256"),
    "a short sha256": (one_wheel().replace(HASH, "ab"), "a: "),
    "a filename with a path": (one_wheel("../../a-1.0-py3-none-any.whl"), "packages[0].wheels[0]"),
    "a URL of another kind": (one_wheel(url="ftp://h.test/a.whl"), "a: ftp://h.test/a.whl"),
    "an archive without a name": (f"{PACKAGE}[packages.archive]\nurl = 'https://h.test/'\n{GOOD}\n", "a: ''"),
    "our table is a text": (one_wheel() + "[tool]\nenvbundle = 'x'\n", "tool.envbundle"),
    "our table holds numbers": (one_wheel() + "[tool.envbundle]\npython-version = 3.8\n", "tool.envbundle"),
    "our table holds no texts": (one_wheel() + "[tool.envbundle]\nrequirements = [1]\n", "tool.envbundle"),
    "a package's table is a text": (
        one_wheel().replace("[[packages.w", "[packages.tool]\nenvbundle = 'x'\n[[packages.w"),
        "packages.a.tool.envbundle",
    ),
    "a package's extras are no list": (
        one_wheel().replace("[[packages.w", "[packages.tool.envbundle]\nextras = 'x'\n[[packages.w"),
        "packages.a.tool.envbundle",
    ),
    "a package's reason is a number": (
        one_wheel().replace("[[packages.w", "[packages.tool.envbundle]\nyanked = 7\n[[packages.w"),
        "packages.a.tool.envbundle",
    ),
    "a build is a text": (
        one_wheel().replace("[[packages.w", "[packages.tool.envbundle]\nbuilt = 'x'\n[[packages.w"),
        "packages.a.tool.envbundle.built",
    ),
    "a build used a path": (
        one_wheel().replace(
            "[[packages.w",
            f"[packages.tool.envbundle.built]\nsha256 = '{HASH}'\ntools = [{{name = 'a', version = '1', "
            f"filename = '../a.whl', sha256 = '{HASH}'}}]\n[[packages.w",
        ),
        "packages.a.tool.envbundle.built.tools[0].filename",
    ),
    "a repository by path": (
        f"{PACKAGE}[packages.vcs]\ntype='git'\npath='../x'\ncommit-id='{COMMIT}'\n",
        "a: ",
    ),
    "a repository that is a command": (
        f"{PACKAGE}[packages.vcs]\ntype='git'\nurl='ext::sh -c id'\ncommit-id='{COMMIT}'\n", "a: ext::sh",
    ),
    "a commit that is an option": (
        f"{PACKAGE}[packages.vcs]\ntype='git'\nurl='https://h.test/x'\ncommit-id='--upload-pack=id'\n",
        "--upload-pack",
    ),
    "very deep": ("a = " + "[" * 20000, "is not TOML"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_file_and_place(tmp_path: Path, name: str) -> None:
    text, place = REFUSED[name]
    (tmp_path / "pylock.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        locks.read_lock(tmp_path / "pylock.toml", aim())
    assert str(tmp_path / "pylock.toml") in caught.value.message
    assert place in caught.value.message
    assert caught.value.hint


def test_the_refused_lock_without_its_fault_is_read(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(one_wheel())
    assert [one.name for one in locks.read_lock(tmp_path / "pylock.toml", aim()).distributions] == ["a"]


@pytest.mark.parametrize("make", ["nothing", "folder", "bytes"])
def test_unreadable(tmp_path: Path, make: str) -> None:
    path = tmp_path / "pylock.toml"
    if make == "folder":
        path.mkdir()
    elif make == "bytes":
        path.write_bytes(b"\xff\x00")
    for read in (lambda: locks.read_lock(path, aim()), lambda: locks.target_of(path)):
        with pytest.raises(InputError, match=r"pylock\.toml: "):
            read()


def test_credentials_in_a_lock_go_no_further(tmp_path: Path) -> None:
    text = one_wheel(url="https://user:secret-of-a-lock@h.test/a.whl?x=1").replace(
        "[[packages.w", "index = 'https://user:secret@h.test/simple'\n[[packages.w"
    )
    (tmp_path / "pylock.toml").write_text(text)
    read = locks.read_lock(tmp_path / "pylock.toml", aim())
    assert redact.text("a program says secret-of-a-lock") == "a program says ****"
    # The query may be needed to fetch the file; it is written down nowhere.
    assert read.distributions[0].artifact.url == "https://h.test/a.whl?x=1"
    assert "x=1" not in locks.to_pylock(read)
    assert "secret" not in locks.to_pylock(read) + locks.to_requirements(read, {})


def test_credentials_of_a_repository_in_a_lock_go_no_further(tmp_path: Path) -> None:
    """Its URL becomes an argument of git, which every user of the machine can read."""
    url = "git+https://user:secret@h.test/a.git"
    locked = dist("a", Artifact(kind="vcs", filename="", url=url, commit=COMMIT), source="vcs")
    text = locks.to_pylock(make_lock(locked)).replace("https://", "https://user:secret@")
    assert "secret" in text
    (tmp_path / "pylock.toml").write_text(text)
    (read,) = locks.read_lock(tmp_path / "pylock.toml", aim()).distributions
    assert read.artifact.url == "git+https://h.test/a.git"


def test_credentials_of_a_repository_are_in_no_lock() -> None:
    url = "git+https://user:secret@h.test/a.git"
    locked = dist("a", Artifact(kind="vcs", filename="", url=url, commit=COMMIT), source="vcs")
    for text in (
        locks.to_pylock(make_lock(locked)),
        locks.to_requirements(make_lock(locked), {"a": "0" * 64}),
    ):
        assert "https://h.test/a.git" in text
        assert "secret" not in text


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("pylock.toml", True), ("pylock.prod.toml", True), ("pylock.txt", False), ("requirements.lock", False)],
)
def test_form_is_told_by_name(tmp_path: Path, name: str, *, is_one: bool) -> None:
    assert locks.is_pylock(tmp_path / name) == is_one


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("my.toml", "pylock.my.toml"),
        ("M.pylock.toml", "pylock.M.toml"),
        ("pylock.a.b.toml", "pylock.a-b.toml"),
        ("x-pylock.toml", "pylock.x-pylock.toml"),
    ],
)
def test_other_toml_files_are_told_their_name(tmp_path: Path, name: str, better: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{name} is not a name for a lock")) as caught:
        locks.is_pylock(tmp_path / name)
    assert caught.value.hint is not None
    assert f"or {better} (PEP 751)" in caught.value.hint
    assert locks.is_pylock(tmp_path / better)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("path = 'a\\u0000b.whl'", "NUL"),
        ("url = 'https://[x/a.whl'", "is not a URL"),
        ("url = 'https://h:port/a.whl'", "is not a URL"),
        ("url = 'ftp://me:pw@h.test/a.whl'", "ftp://h.test/a.whl is not a URL of a file"),
    ],
)
def test_places_that_are_none(tmp_path: Path, place: str, says: str) -> None:
    text = one_wheel(url="https://h.test/a.whl").replace('"https://h.test/a.whl"', "'https://h.test/a.whl'")
    text = text.replace("url = 'https://h.test/a.whl'", place.replace("'", '"'))
    (tmp_path / "pylock.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        locks.read_lock(tmp_path / "pylock.toml", aim())
