"""Bad input: each ends with the right exit code, what and where, a hint, and nothing left or touched."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import Command
from tests.test_create import tree_digest
from tests.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.command import Outcome
    from tests.index import Index

CLOSED = "http://127.0.0.1:1/simple"
ZEROS = "0" * 64
WRONG = f"--hash=sha256:{ZEROS}"
BACKEND = """\
def get_requires_for_build_wheel(config_settings=None): return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    for number in range(300):
        print("compiling part", number)
    raise RuntimeError("the frobnicator is missing")
"""
WORKING_BACKEND = """\
import base64, hashlib, zipfile
def get_requires_for_build_wheel(config_settings=None): return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = '<name>-1.0.dist-info/'
    rows = ''
    with zipfile.ZipFile(folder + '/<name>-1.0-py3-none-any.whl', 'w') as wheel:
        for path, text in {
            '<name>.py': open('<name>.py').read(),
            info + 'METADATA': 'Metadata-Version: 2.1\\nName: <name>\\nVersion: 1.0\\n',
            info + 'WHEEL': 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
        }.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')
            rows += path + ',sha256=' + digest + ',\\n'
        wheel.writestr(zipfile.ZipInfo(info + 'RECORD'), rows + info + 'RECORD,,\\n')
    return '<name>-1.0-py3-none-any.whl'
"""
LOCK = """\
lock-version = "1.0"
created-by = "another tool"
requires-python = "==3.8.*"
[[packages]]
name = "leaf"
version = "1.5"
[[packages.wheels]]
name = "leaf-1.5-py3-none-any.whl"
url = "http://127.0.0.1:1/files/leaf-1.5-py3-none-any.whl"
hashes = { sha256 = "<leaf>" }
"""


@dataclass(frozen=True, kw_only=True)
class Wrapped(Command):
    """The command, started by another program."""

    wrapper: tuple[str, ...]

    def argv(self, *words: str | Path) -> list[str]:
        return [*self.wrapper, *super().argv(*words)]


def project(name: str, backend: str) -> dict[str, str]:
    """An sdist's files, with a backend that needs nothing from an index."""
    return {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n',
        "backend.py": backend.replace("<name>", name),
        f"{name}.py": "VALUE = 1\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }


@pytest.fixture
def stock(wheels: Path) -> Path:
    """What the requirements below are about."""
    make_wheel(wheels, "root-dist", "2.0", requires=["middle"])
    make_wheel(wheels, "middle", requires=["leaf>=1"])
    make_wheel(wheels, "picky", requires=["leaf<1"])
    make_wheel(wheels, "leaf", "0.9")
    make_wheel(wheels, "leaf", "1.5")
    make_wheel(wheels, "plug", extras=["socks", "security"])
    make_wheel(wheels, "native", tag="cp310-cp310-manylinux_2_17_x86_64")
    make_wheel(wheels, "modern", "3.0")
    make_wheel(wheels, "needs-glibc", tag="cp38-cp38-manylinux_2_35_x86_64")
    make_wheel(wheels, "bent", files={"bent.py": "import nothing_brings_this\n"})
    make_sdist(wheels, "unbuildable", files=project("unbuildable", BACKEND))
    return wheels


@pytest.fixture(scope="session")
def old_bundle(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, pips: Path) -> Path:
    """A bundle that stands at the output, and must be there afterwards as it was."""
    folder = tmp_path_factory.mktemp("old")
    make_wheel(folder, "previous")
    envbundle = Command(cache=shared_cache, pips=pips, folder=folder)
    done = envbundle("create", "previous", "--python", "3.8", "-o", "out", *envbundle.offline(folder))
    assert done.code == 0, done.stderr
    return folder / "out"


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An input, and how it must end."""

    says: tuple[str, ...]
    """Regular expressions, each found in the message."""
    hint: str = "."
    """One for the hint."""
    code: int = 2
    text: str | bytes = ""
    """Of requirements.txt; `<leaf>` stands for the hash of leaf 1.5."""
    words: str = "-r requirements.txt"
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files beside it."""
    python: str | None = "3.8"
    index: bool = False
    """From the index instead of a folder."""
    environ: Mapping[str, str] = field(default_factory=dict)


REQUIREMENTS = {
    "no such file": Bad(words="-r gone.txt", says=("gone.txt", "No such file")),
    "a folder": Bad(words="-r wheels", says=("wheels", "Is a directory")),
    "nested file that is not there": Bad(
        text="leaf\n-r gone.txt\n", says=("gone.txt", r"requirements\.txt:2", "No such file")
    ),
    "constraints that are not there": Bad(text="leaf", words="-r requirements.txt -c no.txt", says=("no.txt",)),
    "empty": Bad(text="", says=(r"requirements\.txt has no requirement",), hint="requests=="),
    "comments only": Bad(text="# leaf\n\n   # more\n", says=(r"requirements\.txt has no requirement",)),
    "syntax error in line 7": Bad(
        text="# one\nleaf\n\nplug; python_version < '4'\n\n\nleaf ==\n",
        says=(r"requirements\.txt:7: not a requirement: 'leaf =='",), hint="NAME==VERSION",
    ),
    "syntax error in line 3 of a nested file": Bad(
        text="-r more/nested.txt\n", files={"more/nested.txt": "leaf\n\n==1.0\n"},
        says=(r"more/nested\.txt:3: not a requirement",),
    ),
    "a line behind a continuation counts on": Bad(
        text="leaf \\\n  >=1\n???\n", says=(r"requirements\.txt:3: not a requirement",)
    ),
    "marker that is none": Bad(text="leaf; python_versoin < '3'\n", says=(r"requirements\.txt:1",)),
    "unknown option": Bad(text="leaf\n--indx-url x\n", says=(r"requirements\.txt:2: .*--indx-url",)),
    "variable that is not set": Bad(
        text="leaf\n--index-url https://${EB_TEST_UNSET}@index.example/simple\n",
        says=(r"requirements\.txt:2: .*EB_TEST_UNSET is not set",), hint="export EB_TEST_UNSET",
    ),
    "includes itself": Bad(
        text="-r more/nested.txt\n", files={"more/nested.txt": "leaf\n-r ../requirements.txt\n"},
        says=("includes itself", r"more/nested\.txt:2"), hint="remove",
    ),
    "binary": Bad(text=bytes(range(256)), says=(r"requirements\.txt is not UTF-8",), hint="UTF-8"),
    "binary that happens to be UTF-8": Bad(text=b"\0\1\2\x7f\n\0", says=(r"requirements\.txt:1: not a req",)),
    "a conda environment": Bad(
        words="-r environment.yml", files={"environment.yml": "name: x\n"}, says=("environment.yml",),
        hint="pip:",
    ),
    "a line of conda": Bad(
        text="leaf\nplug @ file:///home/conda/feedstock_root/build_artifacts/plug_1/work\n",
        says=(r"requirements\.txt:2: no such file: /home/conda/",), hint="pip list --format=freeze",
    ),
    "project that is not there": Bad(
        text="-e ./gone\n", says=(r"requirements\.txt:1: no such file or project: .*/gone",)
    ),
    "folder that is no project": Bad(
        text="./wheels\n", says=("wheels", "pyproject.toml|setup.py|installable"),
    ),
    "wheel that is none": Bad(
        text="./junk-1.0-py3-none-any.whl\n", files={"junk-1.0-py3-none-any.whl": "junk"},
        says=("junk-1.0-py3-none-any.whl",),
    ),
    "URL scheme that nobody fetches": Bad(text="leaf @ gopher://x.invalid/l-1-py3-none-any.whl\n", says=("gopher",)),
}  # fmt: skip

UNSATISFIABLE = {
    "conflict": Bad(
        text="root-dist\n# pinned\npicky==1.0\n", says=(r"picky.* depends? on leaf<1", r"middle.* depends? on leaf>=1"), hint=r"picky==1.0 \(requirements\.txt:3\)",
    ),
    "conflict of two lines": Bad(
        text="leaf==0.9\nroot-dist\n", says=(r"middle.* depends? on leaf>=1",),
        hint=r"leaf==0.9 \(requirements\.txt:1\)",
    ),
    "conflict with a constraint": Bad(
        text="root-dist\n", words="-r requirements.txt -c limits.txt", files={"limits.txt": "\nleaf<1\n"},
        says=("leaf",), hint=r"leaf<1 \(limits\.txt:2\)",
    ),
    "no such distribution": Bad(text="nosuch\n", says=("nosuch",), hint=r"nosuch \(requirements\.txt:1\)"),
    "no such distribution of an index": Bad(
        text="nosuch\n", index=True, says=("nosuch",), hint=r"nosuch \(requirements\.txt:1\)"
    ),
    "no such version": Bad(text="\nleaf==7\n", says=("leaf==7",), hint=r"leaf==7 \(requirements\.txt:2\)"),
    "no version for this Python": Bad(
        text="modern==3.0\n", index=True, says=(">=3.9", r"3\.8"), hint=r"modern==3.0 \(requirements\.txt:1\)"
    ),
    "no wheel for this Python": Bad(
        text="native\n", says=("native.* wheels", "cp310"), hint=r"native \(requirements\.txt:1\)"
    ),
    "no wheel for this glibc": Bad(
        text="needs-glibc\n", says=("needs-glibc.*wheels", "manylinux_2_35"), hint=r"needs-glibc \(req"
    ),
    "extra that is mistyped": Bad(
        text="\nplug[sockz]\n", says=(r"requirements\.txt:2: plug 1.0 has no extra 'sockz'",), hint="socks"
    ),
    "extra of a distribution that has none": Bad(
        text="leaf[fast]==1.5\n", says=(r"requirements\.txt:1: leaf 1.5 has no extra 'fast'",), hint="no extras"
    ),
    "wrong hash": Bad(
        text=f"leaf==1.5 \\\n  {WRONG}\n",
        says=(r"requirements\.txt:1", f"expected: sha256:{ZEROS}", "<leaf>"), hint="envbundle lock",
    ),
    "hash for one of two": Bad(
        text="leaf==1.5 --hash=sha256:<leaf>\nplug==1.0\n", says=("plug", "hash"), hint="--hash",
    ),
    "hash for the root alone": Bad(
        text=f"picky==1.0 --hash=sha256:<picky>\n", says=("leaf", "hash"), hint="--hash",
    ),
    "hash that is none": Bad(text="leaf==1.5 --hash=sha256:abc\n", says=(r"requirements\.txt:1: .*sha256:abc",)),
    "hash of another kind": Bad(text="leaf==1.5 --hash=md5:abc\n", says=(r"requirements\.txt:1: .*md5:abc",)),
}  # fmt: skip


def run(bad: Bad, envbundle: Command, index: Index, folder: Path, *words: str) -> Outcome:
    """Write the files of a case, run it, and look whether it ended as it must."""
    known = {
        f"<{name}>": sha256(path) for name in ("leaf", "picky") for path in index.folder.glob(f"{name}-1*")
    }

    def filled(text: str) -> str:
        for name, digest in known.items():
            text = text.replace(name, digest)
        return text

    data = bad.text if isinstance(bad.text, bytes) else filled(bad.text).encode()
    (folder / "requirements.txt").write_bytes(data)
    for name, text in bad.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(filled(text))
    index.requires_python = {"modern-3.0-py3-none-any.whl": ">=3.9"}
    sources = envbundle.offline(index.folder)
    if bad.index:
        sources = ["--index-url", index.url, "--find-links", str(envbundle.pips)]
    python = ["--python", bad.python] if bad.python is not None else []
    before = tree_digest(folder)
    done = envbundle(
        "create", *shlex.split(bad.words), *python, "-o", "out", "--force", "--json", *sources, *words,
        environ=bad.environ,
    )  # fmt: skip
    assert tree_digest(folder) == before, "something was left or changed"
    expect_error(done, bad.code, says=[filled(one) for one in bad.says], hint=bad.hint)
    return done


def expect_error(done: Outcome, code: int, *, says: list[str], hint: str) -> None:
    """Both forms of an error: for people on stderr, for programs on stdout."""
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    printed = done.json()
    assert printed["ok"] is False
    error = printed["error"]
    assert error["exit_code"] == code
    for pattern in says:
        assert re.search(pattern, error["message"]), (pattern, error["message"])
    assert re.search(hint, error["hint"] or ""), (hint, error)
    assert f"error: {error['message']}\nhint: {error['hint']}\n" in done.stderr


@pytest.fixture
def world(stock: Path, old_bundle: Path, tmp_path: Path) -> Path:
    """The caller's folder: wheels, and the bundle of an earlier run."""
    shutil.copytree(old_bundle, tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements(envbundle: Command, index: Index, world: Path, name: str) -> None:
    run(REQUIREMENTS[name], envbundle, index, world)


@pytest.mark.parametrize("resolver", ["uv", "pip"])
@pytest.mark.parametrize("name", UNSATISFIABLE)
def test_unsatisfiable(envbundle: Command, index: Index, world: Path, name: str, resolver: str) -> None:
    done = run(UNSATISFIABLE[name], envbundle, index, world, "--resolver", resolver)
    # The lines that are named are the caller's, not those of our own files.
    assert ".envbundle" not in done.stderr


OPTIONS = {
    "nothing at all": Bad(words="", says=("nothing to install",), hint="-r requirements.txt"),
    "no Python": Bad(text="leaf\n", python=None, says=("Python",), hint="--python 3.8"),
    "unknown option": Bad(words="leaf --frobnicate", says=("--frobnicate",), hint="envbundle create --help"),
    "unknown choice": Bad(words="leaf --resolver conda", says=("--resolver", "conda"), hint="--help"),
    "requirement that is none": Bad(words="'leaf =='", says=("the command line: not a requirement: 'leaf =='",)),
    "lock and requirements": Bad(
        words="-r requirements.txt --lock pylock.toml", text="leaf\n", says=("--lock",), hint="leave one"
    ),
    "lock and requirement": Bad(words="leaf --lock pylock.toml", says=("--lock",), hint="leave one"),
    "date that is none": Bad(words="leaf --exclude-newer yesterday", says=("yesterday|--exclude-newer",)),
    "date with pip": Bad(words="leaf --exclude-newer 2024-01-01 --resolver pip", says=("--exclude-newer",)),
    "index that is no URL": Bad(words="leaf --extra-index-url nowhere", index=True, says=("nowhere",)),
    "find-links that is not there": Bad(words="nosuch --find-links gone", says=("gone|nosuch",)),
    "cache that is a file": Bad(
        words="leaf --cache-dir requirements.txt", says=("requirements.txt",), hint="path|--cache-dir", code=3
    ),
    "needs what is refused": Bad(words="unbuildable --no-build", says=("unbuildable",)),
    **{
        f"python {python}": Bad(python=python, words="leaf", says=(re.escape(python),), hint="3.8")
        for python in ("banana", "2.7", "3.6", "9.9", "3.8.x", "-1", "/etc/passwd", "/gone/python", "/bin/true", "wheels")
    },
    "python that nobody has": Bad(
        python="3.8.99", words="leaf --no-python-downloads", code=3, says=(r"3\.8\.99", "pyenv", "looked at"),
        hint="uv python install",
    ),
    **{
        f"glibc {glibc}": Bad(words=f"leaf --glibc {glibc}", says=(re.escape(glibc),), hint="ldd")
        for glibc in ("banana", "3.1", "2.4", "2.310", "2", "2.27.1")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options(envbundle: Command, index: Index, world: Path, name: str) -> None:
    run(OPTIONS[name], envbundle, index, world)


def lock(
    *changes: tuple[str, str],
    says: tuple[str, ...],
    hint: str = ".",
    python: str | None = "3.8",
    code: int = 2,
) -> Bad:
    """A lock with changes, each of which must have been made."""
    text = LOCK
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return Bad(
        words="--lock pylock.toml",
        files={"pylock.toml": text},
        says=says,
        hint=hint,
        python=python,
        code=code,
    )


URL = 'url = "http://127.0.0.1:1/files/leaf-1.5-py3-none-any.whl"'
FILE = 'name = "leaf-1.5-py3-none-any.whl"'
SHA256 = 'sha256 = "<leaf>"'
OURS = "[tool.envbundle]\n"
LOCKS = {
    "no such file": Bad(words="--lock pylock.toml", says=("pylock.toml", "No such file")),
    "a folder": Bad(words="--lock pylock.toml", files={"pylock.toml/x": ""}, says=("pylock.toml", "directory")),
    "not TOML": lock((LOCK, "{}"), says=("pylock.toml is not TOML", "line 1")),
    "nested without end": lock((LOCK, "a = " + "[" * 5000), says=("pylock.toml is not TOML",)),
    "not a lock": lock((LOCK, "[project]\nname = 'x'\n"), says=("pylock.toml is not a valid lock", "lock-version")),
    "of a later version": lock(('"1.0"', '"2.0"'), says=("pylock.toml is not a valid lock", "2.0")),
    "for another Python": lock(("3.8.*", "3.7.*"), says=("pylock.toml does not fit Python 3.8", "3.7"), hint="envbundle lock"),
    "that does not say its Python": lock(python=None, says=("pylock.toml does not say its Python",), hint="--python 3.8"),
    "whose Python is none": lock(
        (LOCK, LOCK + OURS + 'python-version = "banana"\n'), python=None, says=("banana",), hint="3.8"
    ),
    "whose Python is no text": lock((LOCK, LOCK + OURS + "python-version = 38\n"), python=None, says=("tool.envbundle",)),
    "whose glibc is none": lock((LOCK, LOCK + OURS + 'glibc = "new"\n'), says=("'new' is no version of glibc",)),
    "without a wheel that fits": lock(("py3-none-any", "cp310-cp310-win32"), says=("pylock.toml", "leaf")),
    "without sha256": lock((SHA256, 'md5 = "abc"'), says=("leaf: no sha256",)),
    "with a short sha256": lock(("<leaf>", "abc"), says=("'abc' of leaf-1.5-py3-none-any.whl is not a sha256",)),
    "with a sha256 that climbs": lock(("<leaf>", "../" * 21 + "x"), says=("is not a sha256",)),
    "fetched by ftp": lock(("http:", "ftp:"), says=("ftp://127.0.0.1:1/", "not a URL"), hint="https"),
    "name that climbs": lock(('name = "leaf"', 'name = "../../leaf"'), says=("pylock.toml", r"\.\./\.\./leaf|name")),
    "file name that climbs": lock((FILE, 'name = "../../leaf-1.5-py3-none-any.whl"'), says=("pylock.toml", "name")),
    "file name that is absolute": lock((FILE, 'name = "/etc/leaf-1.5-py3-none-any.whl"'), says=("pylock.toml", "name")),
    "another distribution's wheel": lock(
        ('name = "leaf"\n', 'name = "stem"\n'), says=("stem", "leaf"),
    ),
    "another version's wheel": lock(('version = "1.5"', 'version = "1.4"'), says=("leaf", "1.4", "1.5")),
    "path to a file that is something else": lock(
        (URL, 'path = "/etc/passwd"'), ("<leaf>", ZEROS), says=(f"/etc/passwd does not have .* sha256:{ZEROS}",)
    ),
    "a sibling's hash": lock(("<leaf>", "<picky>"), (URL, 'path = "wheels/leaf-1.5-py3-none-any.whl"'), says=("leaf-1.5", "hash")),
    "repository that is a command": lock(
        (LOCK[LOCK.index("[[packages.wheels]]") :],
         '[packages.vcs]\ntype = "git"\nurl = "ext::sh -c touch% pwned"\ncommit-id = "--upload-pack=touch pwned"\n'),
        says=("leaf: ext::sh .*no repository at a commit",),
    ),
    "repository at an option": lock(
        (LOCK[LOCK.index("[[packages.wheels]]") :],
         '[packages.vcs]\ntype = "git"\nurl = "https://x.invalid/y.git"\ncommit-id = "--upload-pack=touch pwned"\n'),
        says=("leaf: .*--upload-pack.* no repository at a commit",),
    ),
    "requirements without a hash": Bad(
        words="--lock my.lock", files={"my.lock": "leaf==1.5\n"}, says=(r"my\.lock:1: not pinned",), hint="-r"
    ),
    "requirements without a version": Bad(
        words="--lock my.lock", files={"my.lock": "leaf --hash=sha256:<leaf>\n"}, says=(r"my\.lock:1: not pinned",)
    ),
    "requirements by ftp": Bad(
        words="--lock my.lock", says=("ftp",),
        files={"my.lock": "leaf @ ftp://x.invalid/leaf-1.5-py3-none-any.whl --hash=sha256:<leaf>\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOCKS)
def test_locks(envbundle: Command, index: Index, world: Path, name: str) -> None:
    run(LOCKS[name], envbundle, index, world)


NETWORK = {
    "closed port": ("--index-url", CLOSED),
    "name that does not resolve": ("--index-url", "http://nowhere.invalid/simple"),
}


@pytest.mark.parametrize("resolver", ["uv", "pip"])
@pytest.mark.parametrize("name", NETWORK)
def test_index_out_of_reach(envbundle: Command, index: Index, world: Path, name: str, resolver: str) -> None:
    bad = Bad(
        text="leaf\n", index=True, environ={"PIP_RETRIES": "0"}, code=3,
        says=("the index is out of reach", "127.0.0.1:1/|nowhere.invalid|host='127.0.0.1', port=1"),
        hint="network, proxy",
    )  # fmt: skip
    run(bad, envbundle, index, world, *NETWORK[name], "--resolver", resolver)


def test_no_network_at_all(envbundle: Command, index: Index, world: Path) -> None:
    unshare = ("unshare", "-rn")
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no network namespace: {tried.stderr.strip()}")
    bad = Bad(
        text="leaf\n", index=True, environ={"PIP_RETRIES": "0"}, code=3, says=("the index is out of reach",),
        hint="network, proxy",
    )  # fmt: skip
    wrapped = Wrapped(cache=envbundle.cache, pips=envbundle.pips, folder=envbundle.folder, wrapper=unshare)
    run(bad, wrapped, index, world)


def test_file_out_of_reach(envbundle: Command, index: Index, world: Path) -> None:
    """The lock is there, what it names is not."""
    bad = lock(
        ("<leaf>", ZEROS), says=("leaf-1.5-py3-none-any.whl", "127.0.0.1:1/files/", "refused"),
        hint="network, proxy", code=3,
    )  # fmt: skip
    run(replace(bad, environ={"PIP_RETRIES": "0"}), envbundle, index, world)


def test_file_that_is_gone(envbundle: Command, index: Index, world: Path) -> None:
    bad = lock(
        (CLOSED.removesuffix("/simple"), index.url.removesuffix("/simple")), ("1.5", "1.6"), ("<leaf>", ZEROS),
        says=("leaf-1.6-py3-none-any.whl", "/files/leaf-1.6", "HTTP 404"), hint="lock anew", code=3,
    )  # fmt: skip
    run(bad, envbundle, index, world)


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_file_changed_on_its_way(envbundle: Command, index: Index, world: Path, resolver: str) -> None:
    wheel = make_wheel(index.folder, "fresh", files={"fresh.py": f"RESOLVER = {resolver!r}\n"})
    index.corrupt = {wheel.name}
    says = ("fresh", f"xpected:? +(sha256:)?{sha256(wheel)}")
    run(Bad(text="fresh\n", index=True, says=says), envbundle, index, world, "--resolver", resolver)
    index.corrupt = set()
    words = [
        "-o",
        "good",
        "--index-url",
        index.url,
        "--find-links",
        str(envbundle.pips),
        "--resolver",
        resolver,
    ]
    done = envbundle("create", "fresh", "--python", "3.8", *words)
    assert done.code == 0, f"what was wrong was kept: {done.stderr}"


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_index_wants_a_password(envbundle: Command, index: Index, world: Path, resolver: str) -> None:
    index.password = ("robot", "s3cret-w0rd")
    for url in (index.url, index.url.replace("//", "//robot:wr0ng-w0rd@")):
        bad = Bad(text="leaf\n", index=True, code=3, says=("index wants credentials",), hint="netrc")
        done = run(bad, envbundle, index, world, "--resolver", resolver, "--index-url", url)
        assert "wr0ng" not in done.stdout + done.stderr


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_password_is_used_and_never_told(
    envbundle: Command, index: Index, stock: Path, tmp_path: Path, resolver: str
) -> None:
    index.password = ("robot", "s3cret-w0rd")
    make_sdist(stock, "buildable", files=project("buildable", WORKING_BACKEND))
    url = index.url.replace("//", "//robot:s3cret-w0rd@")
    (tmp_path / "requirements.txt").write_text(f"--index-url {url}\nroot-dist\nbuildable\n")
    private = replace(envbundle, cache=tmp_path / "cache")
    words = ["-r", "requirements.txt", "--python", "3.8", "-o", "new", "--resolver", resolver, "--json"]
    process = subprocess.Popen(
        [*private.argv("-vv", "create"), *words, "--find-links", str(envbundle.pips)],
        env=private.environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen: set[bytes] = set()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(process.communicate)
        while not reading.done():
            seen |= command_lines()
        stdout, stderr = reading.result()
    assert process.returncode == 0, stderr
    assert any(b"requirements.in" in line for line in seen), "the watch saw no resolver"
    assert not [line for line in seen if b"s3cret" in line]
    assert "s3cret" not in stdout + stderr
    assert "run: " in stderr
    kept = [path for top in ("new", "cache") for path in (tmp_path / top).rglob("*") if path.is_file()]
    assert len(kept) > 20
    assert not [path for path in kept if b"s3cret" in path.read_bytes()]


def command_lines() -> set[bytes]:
    """The words of every process of the machine, as every user can read them."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(path.read_bytes())
    return found


def test_build_fails(envbundle: Command, index: Index, world: Path) -> None:
    says = ("unbuildable 1.0", "RuntimeError: the frobnicator is missing", "full log: ")
    bad = Bad(text="unbuildable\n", code=3, says=says, hint="pin a version")
    message = run(bad, envbundle, index, world).json()["error"]["message"]
    assert len(message.splitlines()) < 15
    log = re.search("full log: (.*)", message)
    assert log is not None
    text = Path(log[1]).read_text()
    assert "compiling part 0\n" in text
    assert "compiling part 299\n" in text


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_metadata_cannot_be_built(envbundle: Command, index: Index, world: Path, resolver: str) -> None:
    """A build that fails while requirements are resolved."""
    files = project("riddle", BACKEND)
    files["pyproject.toml"] = files["pyproject.toml"].replace('version = "1.0"', 'dynamic = ["version"]')
    files["PKG-INFO"] = files["PKG-INFO"].replace("2.1", "1.0")
    make_sdist(index.folder, "riddle", files=files)
    bad = Bad(text="riddle\n", code=3, says=("riddle", "frobnicator is missing"), hint="pin a version")
    run(bad, envbundle, index, world, "--resolver", resolver)


def test_bundle_that_cannot_be_proved(envbundle: Command, index: Index, world: Path) -> None:
    """The last stage in which a run can fail: the old bundle stays."""
    done = run(
        Bad(text="bent\n", code=1, says=("not proved", "nothing was emitted")), envbundle, index, world
    )
    (finding,) = [one for one in done.json()["findings"] if one["severity"] == "error"]
    assert "nothing_brings_this" in finding["cause"]


def test_local_project_tells_nothing_of_the_builder(envbundle: Command, stock: Path, tmp_path: Path) -> None:
    for name, text in project("mine", WORKING_BACKEND).items():
        (tmp_path / "a project").mkdir(exist_ok=True)
        (tmp_path / "a project" / name).write_text(text)
    (tmp_path / "requirements.txt").write_text("-e './a project'\nleaf\n")
    before = tree_digest(tmp_path / "a project")
    done = envbundle(
        "create", "-r", "requirements.txt", "--python", "3.8", "-o", "new", *envbundle.offline(stock)
    )
    assert done.code == 0, done.stderr
    assert tree_digest(tmp_path / "a project") == before
    assert (tmp_path / "new/lib/python3.8/site-packages/mine.py").is_file()
    for path in (tmp_path / "new").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for place in (tmp_path, envbundle.cache, Path.home(), stock):
            assert os.fsencode(place) + b"/" not in content, path


def occupy(output: Path, kind: str, old: Path) -> None:
    """Put something at the output."""
    if kind == "file":
        output.write_text("mine\n")
    elif kind == "folder of mine":
        output.mkdir()
        (output / "thesis.txt").write_text("mine\n")
    elif kind == "symlink to a bundle":
        output.symlink_to(old)
    elif kind == "symlink to nothing":
        output.symlink_to("nowhere")
    elif kind == "manifest of another tool":
        output.mkdir()
        (output / "manifest.json").write_text('{"kind": "theirs"}\n')
    else:
        shutil.copytree(old, output)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("file", "is not a folder"),
        ("folder of mine", "is not a bundle"),
        ("symlink to a bundle", "is not a folder"),
        ("symlink to nothing", "is not a folder"),
        ("manifest of another tool", "is not a bundle"),
        ("bundle", "exists"),
    ],
)
def test_output_exists(
    envbundle: Command, stock: Path, old_bundle: Path, tmp_path: Path, kind: str, says: str, *, force: bool
) -> None:
    old = tmp_path / "old"
    shutil.copytree(old_bundle, old)
    occupy(tmp_path / "out", kind, old)
    linked = (tmp_path / "out").is_symlink()
    before = tree_digest(tmp_path) if kind != "symlink to nothing" else tree_digest(old)
    words = ["create", "leaf", "--python", "3.8", "-o", "out", "--json", *envbundle.offline(stock)]
    done = envbundle(*words, *(["--force"] if force else []))
    if kind == "bundle" and force:
        assert done.code == 0, done.stderr
        installed = tmp_path / "out/lib/python3.8/site-packages"
        assert (installed / "leaf.py").is_file()
        assert not (installed / "previous.py").exists()
    else:
        expect_error(done, 2, says=[f"{re.escape(str(tmp_path))}/out.*{says}"], hint="another -o|--force")
        assert before == (tree_digest(tmp_path) if kind != "symlink to nothing" else tree_digest(old))
    assert (tmp_path / "out").is_symlink() == linked
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "out", "wheels"]


@pytest.mark.parametrize(
    ("output", "code", "says"),
    [
        ("wheels/leaf-1.5-py3-none-any.whl/out", 2, "leaf-1.5-py3-none-any.whl"),
        ("wheels/leaf-1.5-py3-none-any.whl/deep/out", 2, "leaf-1.5-py3-none-any.whl"),
        ("/proc/out", 3, "/proc/out"),
        ("/proc/deep/out", 3, "/proc/deep"),
        ("x" * 300, 3, "File name too long"),
        ("x" * 250, 3, "File name too long"),
        ("/", 2, "is not a bundle"),
        ("", 2, "is not a bundle"),
    ],
)
def test_output_that_cannot_be(
    envbundle: Command, stock: Path, tmp_path: Path, output: str, code: int, says: str
) -> None:
    before = tree_digest(tmp_path)
    words = [
        "create",
        "leaf",
        "--python",
        "3.8",
        "-o",
        output,
        "--force",
        "--json",
        *envbundle.offline(stock),
    ]
    expect_error(envbundle(*words), code, says=[says], hint="-o|path|writable")
    assert tree_digest(tmp_path) == before


def verify_itself(bundle: Path, python: Path) -> None:
    """Run the verifier that a bundle carries."""
    done = subprocess.run(
        [python, "-I", bundle / "verify.py"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("mode", ["copy", "hardlink"])
def test_output_on_another_filesystem(
    envbundle: Command,
    stock: Path,
    old_bundle: Path,
    tmp_path: Path,
    python38: Path,
    mode: str,
    *,
    force: bool,
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        if Path(memory).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is on the filesystem of the tests")
        output = Path(memory) / "bündel – ü ß"
        words = ["create", "leaf", "--python", "3.8", "-o", str(output), "--link-mode", mode, "--json"]
        if force:
            shutil.copytree(old_bundle, output)
            words.append("--force")
        before = tree_digest(Path(memory))
        done = envbundle(*words, *envbundle.offline(stock))
        if mode == "hardlink":
            expect_error(done, 3, says=["cannot install into", "cross-device"], hint="--link-mode copy")
            assert tree_digest(Path(memory)) == before
            return
        assert done.code == 0, done.stderr
        assert [path.name for path in Path(memory).iterdir()] == [output.name]
        assert (output / "lib/python3.8/site-packages/leaf.py").is_file()
        verify_itself(output, python38)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lock", "leaf ==", "--python", "3.8"], "not a requirement"),
        (["lock", "leaf"], "Python"),
        (["lock", "--python", "3.8"], "nothing to lock"),
        (["lock", "nosuch", "--python", "3.8"], "nosuch"),
        (["lock", "leaf", "--python", "3.8", "-o", "gone/pylock.toml"], "gone/pylock.toml"),
        (["lock", "leaf", "--python", "3.8", "-o", "wheels"], "wheels"),
        (["frobnicate"], "frobnicate"),
        (["inspect", "wheels"], "wheels"),
    ],
)
def test_other_commands(envbundle: Command, stock: Path, tmp_path: Path, words: list[str], says: str) -> None:
    before = tree_digest(tmp_path)
    sources = envbundle.offline(stock) if words[0] == "lock" else []
    done = envbundle(*words, "--json", *sources)
    expect_error(done, 2, says=[says], hint=".")
    assert tree_digest(tmp_path) == before
