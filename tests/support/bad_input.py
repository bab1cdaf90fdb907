"""Bad inputs for tests: one value for each, and a function that runs it and checks how it ends."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.create.test_pipeline import tree_digest
from tests.support.wheelmaker import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.command import Command, Outcome
    from tests.support.index import Index

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
            info + 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
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


def project(name: str, backend: str) -> dict[str, str]:
    """An sdist's files, with a backend that needs nothing from an index."""
    return {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n',
        "backend.py": backend.replace("<name>", name),
        f"{name}.py": "VALUE = 1\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An input that `create` refuses, with the exit code and the texts that it must print."""

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


def run(bad: Bad, envbundle: Command, index: Index, folder: Path, *words: str) -> Outcome:
    """Write the files of an input, run `create`, check exit code and texts, and that nothing is left."""
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
    assert not re.search("^Traceback", done.stderr, re.MULTILINE)  # a build's own stands in its message
    printed = done.json()
    assert printed["ok"] is False
    error = printed["error"]
    assert error["exit_code"] == code
    for pattern in says:
        assert re.search(pattern, error["message"]), (pattern, error["message"])
    assert re.search(hint, error["hint"] or ""), (hint, error)
    assert f"error: {error['message']}\nhint: {error['hint']}\n" in done.stderr


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
