"""Bad input: each ends with the right exit code, what and where, a hint, and nothing left or touched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.create.test_pipeline import tree_digest
from tests.support.bad_input import FILE, LOCK, OURS, SHA256, URL, WRONG, ZEROS, Bad, expect_error, lock, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.index import Index

pytest_plugins = ["tests.support.bad_input_fixtures"]


REQUIREMENTS = {
    "no such file": Bad(words="-r gone.txt", says=("gone.txt", "No such file")),
    "a folder": Bad(words="-r wheels", says=("wheels", "Is a directory")),
    "nested file that is not there": Bad(
        text="leaf\n-r gone.txt\n", says=("gone.txt", r"requirements\.txt:2", "No such file")
    ),
    "constraints that are not there": Bad(
        text="leaf", words="-r requirements.txt -c no.txt", says=("no.txt",)
    ),
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
        words="-r environment.yml", files={"environment.yml": "name: x\n"}, says=("not a conda environment",),
        hint="requirements.txt",
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
    "URL scheme that nobody fetches": Bad(
        text="leaf @ gopher://x.invalid/l-1-py3-none-any.whl\n", says=("gopher",)
    ),
}  # fmt: skip

UNSATISFIABLE = {
    "conflict": Bad(
        text="root-dist\n# pinned\npicky==1.0\n",
        says=(r"picky.* depends? on leaf<1", r"middle.* depends? on leaf>=1"),
        hint=r"picky==1.0 \(requirements\.txt:3\)",
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
    "wrong hash": Bad(
        text=f"leaf==1.5 \\\n  {WRONG}\n",
        says=(r"requirements\.txt:1", f"expected: sha256:{ZEROS}", "<leaf>"), hint="envbundle lock",
    ),
    "hash for one of two": Bad(
        text="leaf==1.5 --hash=sha256:<leaf>\nplug==1.0\n", says=("plug", "hash"), hint="--hash",
    ),
    "hash for the root alone": Bad(
        text="picky==1.0 --hash=sha256:<picky>\n", says=("leaf", "hash"), hint="--hash",
    ),
    "hash that is none": Bad(
        text="leaf==1.5 --hash=sha256:abc\n", says=(r"requirements\.txt:1: .*sha256:abc",)
    ),
    "hash of another kind": Bad(text="leaf==1.5 --hash=md5:abc\n", says=(r"requirements\.txt:1: .*md5:abc",)),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements(envbundle: Command, index: Index, work_folder: Path, name: str) -> None:
    run(REQUIREMENTS[name], envbundle, index, work_folder)


@pytest.mark.parametrize("resolver", ["uv", pytest.param("pip", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", UNSATISFIABLE)
def test_unsatisfiable(envbundle: Command, index: Index, work_folder: Path, name: str, resolver: str) -> None:
    done = run(UNSATISFIABLE[name], envbundle, index, work_folder, "--resolver", resolver)
    # The lines that are named are the caller's, not those of our own files.
    assert ".envbundle" not in done.stderr


OPTIONS = {
    "nothing at all": Bad(words="", says=("nothing to install",), hint="-r requirements.txt"),
    "no Python": Bad(text="leaf\n", python=None, says=("Python",), hint="--python 3.8"),
    "unknown option": Bad(words="leaf --frobnicate", says=("--frobnicate",), hint="envbundle create --help"),
    "unknown choice": Bad(words="leaf --resolver conda", says=("--resolver", "conda"), hint="--help"),
    "requirement that is none": Bad(
        words="'leaf =='", says=("the command line: not a requirement: 'leaf =='",)
    ),
    "lock and requirements": Bad(
        words="-r requirements.txt --lock pylock.toml", text="leaf\n", says=("--lock",), hint="leave one"
    ),
    "lock and a date": Bad(
        words="--lock pylock.toml --exclude-newer 2024-06-30", says=("--exclude-newer",), hint="make the lock"
    ),
    "lock and requirement": Bad(words="leaf --lock pylock.toml", says=("--lock",), hint="leave one"),
    "date that is none": Bad(words="leaf --exclude-newer yesterday", says=("yesterday|--exclude-newer",)),
    "date with pip": Bad(words="leaf --exclude-newer 2024-01-01 --resolver pip", says=("--exclude-newer",)),
    "find-links that is not there": Bad(words="nosuch --find-links gone", says=("gone|nosuch",)),
    "cache that is a file": Bad(
        words="leaf --cache-dir requirements.txt", says=("requirements.txt",), hint="path|--cache-dir", code=3
    ),
    "needs what is refused": Bad(words="unbuildable --no-build", says=("unbuildable",)),
    **{
        f"python {python}": Bad(python=python, words="leaf", says=(re.escape(python),), hint="3.8")
        for python in (
            "banana", "2.7", "3.6", "9.9", "-1", "/etc/passwd", "/gone/python", "/bin/true"
        )
    },
    "python that nobody has": Bad(
        python="3.8.99", words="leaf --no-python-downloads", code=3, says=(r"3\.8\.99", "pyenv", "looked at"),
        hint="uv python install",
    ),
    **{
        f"glibc {glibc}": Bad(words=f"leaf --glibc {glibc}", says=(re.escape(glibc),), hint="ldd")
        for glibc in ("banana", "3.1", "2.4", "2.310")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options(envbundle: Command, index: Index, work_folder: Path, name: str) -> None:
    run(OPTIONS[name], envbundle, index, work_folder)


LOCKS = {
    "no such file": Bad(words="--lock pylock.toml", says=("pylock.toml", "No such file")),
    "a folder": Bad(
        words="--lock pylock.toml", files={"pylock.toml/x": ""}, says=("pylock.toml", "directory")
    ),
    "not TOML": lock((LOCK, "{}"), says=("pylock.toml is not TOML", "line 1")),
    "nested without end": lock((LOCK, "a = " + "[" * 5000), says=("pylock.toml is not TOML",)),
    "not a lock": lock(
        (LOCK, "[project]\nname = 'x'\n"), says=("pylock.toml is not a valid lock", "lock-version")
    ),
    "of a later version": lock(('"1.0"', '"2.0"'), says=("pylock.toml is not a valid lock", "2.0")),
    "for another Python": lock(
        ("3.8.*", "3.7.*"), says=("pylock.toml does not fit Python 3.8", "3.7"), hint="envbundle lock"
    ),
    "that does not say its Python": lock(
        python=None, says=("pylock.toml does not say its Python",), hint="--python 3.8"
    ),
    "whose Python is none": lock(
        (LOCK, LOCK + OURS + 'python-version = "banana"\n'), python=None, says=("banana",), hint="3.8"
    ),
    "whose Python is no text": lock(
        (LOCK, LOCK + OURS + "python-version = 38\n"), python=None, says=("tool.envbundle",)
    ),
    "whose glibc is none": lock(
        (LOCK, LOCK + OURS + 'glibc = "new"\n'), says=("'new' is no version of glibc",)
    ),
    "without a wheel that fits": lock(("py3-none-any", "cp310-cp310-win32"), says=("pylock.toml", "leaf")),
    "without sha256": lock((SHA256, 'md5 = "abc"'), says=("leaf: no sha256",)),
    "with a short sha256": lock(("<leaf>", "abc"), says=("leaf: no sha256",)),
    "with a sha256 that climbs": lock(("<leaf>", "../" * 21 + "x"), says=("leaf: no sha256",)),
    "fetched by ftp": lock(("http:", "ftp:"), says=("ftp://127.0.0.1:1/", "not a URL"), hint="https"),
    "name that climbs": lock(
        ('name = "leaf"', 'name = "../../leaf"'), says=("pylock.toml", r"\.\./\.\./leaf|name")
    ),
    "file name that climbs": lock(
        (FILE, 'name = "../../leaf-1.5-py3-none-any.whl"'), says=("pylock.toml", "name")
    ),
    "file name that is absolute": lock(
        (FILE, 'name = "/etc/leaf-1.5-py3-none-any.whl"'), says=("pylock.toml", "name")
    ),
    "another distribution's wheel": lock(
        ('name = "leaf"\n', 'name = "stem"\n'), says=("stem", "leaf"),
    ),
    "another version's wheel": lock(('version = "1.5"', 'version = "1.4"'), says=("leaf", "1.4", "1.5")),
    "path to a file that is something else": lock(
        (URL, 'path = "/etc/passwd"'), ("<leaf>", ZEROS),
        says=(f"/etc/passwd does not have .* sha256:{ZEROS}",)
    ),
    "a sibling's hash": lock(
        ("<leaf>", "<picky>"), (URL, 'path = "wheels/leaf-1.5-py3-none-any.whl"'), says=("leaf-1.5", "hash")
    ),
    "repository that is a command": lock(
        (LOCK[LOCK.index("[[packages.wheels]]") :],
         '[packages.vcs]\ntype = "git"\nurl = "ext::sh -c touch% pwned"\ncommit-id = "abc"\n'),
        says=("leaf: ext::sh .*no repository at a commit",),
    ),
    "repository at an option": lock(
        (LOCK[LOCK.index("[[packages.wheels]]") :],
         '[packages.vcs]\ntype = "git"\nurl = "https://x.invalid/y"\ncommit-id = "--upload-pack=touch"\n'),
        says=("leaf: .*--upload-pack.* no repository at a commit",),
    ),
    "requirements without a hash": Bad(
        words="--lock my.lock", files={"my.lock": "leaf==1.5\n"}, says=(r"my\.lock:1: not pinned",), hint="-r"
    ),
    "requirements without a version": Bad(
        words="--lock my.lock", files={"my.lock": "leaf --hash=sha256:<leaf>\n"},
        says=(r"my\.lock:1: not pinned",)
    ),
    "requirements by ftp": Bad(
        words="--lock my.lock", says=("ftp",),
        files={"my.lock": "leaf @ ftp://x.invalid/leaf-1.5-py3-none-any.whl --hash=sha256:<leaf>\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOCKS)
def test_locks(envbundle: Command, index: Index, work_folder: Path, name: str) -> None:
    run(LOCKS[name], envbundle, index, work_folder)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lock", "leaf ==", "--python", "3.8"], "not a requirement"),
        (["lock", "leaf"], "Python"),
        (["lock", "--python", "3.8"], "nothing to lock"),
        (["lock", "nosuch", "--python", "3.8"], "nosuch"),
        (["lock", "leaf", "--python", "3.8", "-o", "wheels"], "wheels"),
        (["frobnicate"], "frobnicate"),
        (["inspect", "wheels"], "wheels"),
    ],
)
def test_other_commands(
    envbundle: Command, offered: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    before = tree_digest(tmp_path)
    sources = envbundle.offline(offered) if words[0] == "lock" else []
    done = envbundle(*words, "--json", *sources)
    expect_error(done, 2, says=[says], hint=".")
    assert tree_digest(tmp_path) == before
