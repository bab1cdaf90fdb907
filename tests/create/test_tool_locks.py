"""Locks in a tool's own form: what they ask for, what they hold to, and what is wrong with them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import inputs
from bundler.create.inputs import tool_locks
from bundler.create.inputs.poetry_lock import python_marker
from bundler.create.prepare import read_requirements
from bundler.create.request import LockRequest
from bundler.create.resolve import resolution
from bundler.errors import InputError
from bundler.system import index_settings
from bundler.system.json_values import Value
from bundler.system.progress import Progress
from packaging.markers import Marker

from tests.support.wheelmaker import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bundler.model import Requirement, Requirements

    from tests.support.command import Command

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
COMMIT = "0123456789abcdef0123456789abcdef01234567"

UV_PROJECT = """
[project]
name = "app"
version = "1"
requires-python = ">=3.8"
dependencies = ["six>=1", "repo"]
[project.optional-dependencies]
fast = ["numpy"]
[dependency-groups]
dev = ["idna"]
[tool.uv.sources]
repo = {git = "https://git.example/repo"}
"""
PYPI = f'source = {{ registry = "{index_settings.default_index()}" }}'
UV = f"""
version = 1
revision = 3
requires-python = ">=3.8"
resolution-markers = ["python_full_version >= '3.9'", "python_full_version < '3.9'"]

[[package]]
name = "app"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "six" }}, {{ name = "repo" }}]
[package.optional-dependencies]
fast = [
    {{ name = "numpy", version = "1.24.4", {PYPI}, marker = "python_full_version < '3.9'" }},
    {{ name = "numpy", version = "2.0.0", {PYPI}, marker = "python_full_version >= '3.9'" }},
]
[package.dev-dependencies]
dev = [{{ name = "idna" }}]

[[package]]
name = "six"
version = "1.17.0"
source = {{ registry = "https://feed.example/simple" }}
wheels = [{{ url = "https://feed.example/six-1.17.0-py2.py3-none-any.whl", hash = "{A}", size = 1 }}]

[[package]]
name = "repo"
version = "0.1"
source = {{ git = "https://git.example/repo#{COMMIT}" }}

[[package]]
name = "idna"
version = "3.10"
{PYPI}
sdist = {{ url = "https://files.example/idna-3.10.tar.gz", hash = "{B}", size = 1 }}

[[package]]
name = "numpy"
version = "1.24.4"
{PYPI}
resolution-markers = ["python_full_version < '3.9'"]
sdist = {{ url = "https://files.example/numpy-1.24.4.tar.gz", hash = "{B}", size = 1 }}

[[package]]
name = "numpy"
version = "2.0.0"
{PYPI}
resolution-markers = ["python_full_version >= '3.9'"]
sdist = {{ url = "https://files.example/numpy-2.0.0.tar.gz", hash = "{C}", size = 1 }}
"""
POETRY_PROJECT = """
[tool.poetry]
name = "app"
[tool.poetry.dependencies]
python = "^3.8"
Six = "^1.16"
repo = {git = "https://git.example/repo"}
numpy = [{version = "1.24.4", python = "<3.9"}, {version = "^2", python = ">=3.9"}]
idna = {version = "*", optional = true, extras = ["all"]}
[tool.poetry.extras]
names = ["idna"]
[tool.poetry.group.test.dependencies]
pytest = "*"
[dependency-groups]
docs = ["sphinx"]
"""
POETRY = f"""
[[package]]
name = "six"
version = "1.17.0"
groups = ["main"]
files = [{{file = "six.whl", hash = "{A}"}}, {{file = "six.tar.gz", hash = "md5:00"}}]
[package.source]
type = "legacy"
url = "https://feed.example/simple"
reference = "feed"

[[package]]
name = "repo"
version = "0.1"
groups = ["main"]
files = []
[package.source]
type = "git"
url = "https://git.example/repo"
reference = "HEAD"
resolved_reference = "{COMMIT}"
subdirectory = "py"

[[package]]
name = "numpy"
version = "1.24.4"
groups = ["main"]
markers = "python_version < \\"3.9\\""
files = [{{file = "n.whl", hash = "{B}"}}]

[[package]]
name = "numpy"
version = "2.0.0"
groups = ["main"]
markers = {{main = "python_version >= \\"3.9\\"", test = "python_version >= \\"3.10\\""}}
files = [{{file = "n.whl", hash = "{C}"}}]

[[package]]
name = "idna"
version = "3.10"
optional = true
groups = ["main"]
markers = "extra == \\"names\\""
files = [{{file = "i.whl", hash = "{B}"}}]

[[package]]
name = "pytest"
version = "8.0"
groups = ["test"]
files = []

[[package]]
name = "sphinx"
version = "7.0"
groups = ["docs"]
files = [{{file = "s.whl", hash = "{B}"}}]

[metadata]
lock-version = "2.1"
python-versions = "^3.8"
content-hash = "00"
"""
OLD_POETRY = f"""
[[package]]
name = "six"
version = "1.17.0"
category = "main"
optional = false
python-versions = "*"
[[package]]
name = "numpy"
version = "2.0.0"
category = "main"
optional = false
python-versions = ">=3.9"
[[package]]
name = "numpy"
version = "1.24.4"
category = "main"
optional = false
python-versions = ">=3.8"
[[package]]
name = "pytest"
version = "8.0"
category = "dev"
optional = false
python-versions = "*"
[metadata]
lock-version = "1.1"
[metadata.files]
six = [{{file = "six.whl", hash = "{A}"}}]
numpy = [{{file = "n1.whl", hash = "{B}"}}, {{file = "n2.whl", hash = "{C}"}}]
pytest = []
"""
PDM_PROJECT = """
[project]
name = "app"
dependencies = ["six", "coverage[toml]"]
[project.optional-dependencies]
fast = ["numpy"]
[tool.pdm.dev-dependencies]
test = ["pytest"]
[[tool.pdm.source]]
name = "feed"
url = "https://feed.example/simple"
"""
PDM = f"""
[metadata]
groups = ["default", "fast", "test"]
lock_version = "4.5.0"
[[package]]
name = "six"
version = "1.17.0"
groups = ["default"]
files = [{{file = "six.whl", hash = "{A}"}}]
[[package]]
name = "coverage"
version = "7.4.4"
groups = ["default"]
files = [{{file = "c.whl", hash = "{B}"}}]
[[package]]
name = "coverage"
version = "7.4.4"
extras = ["toml"]
groups = ["default"]
files = [{{file = "c.whl", hash = "{B}"}}]
[[package]]
name = "numpy"
version = "2.0.0"
marker = "python_version >= \\"3.9\\""
groups = ["fast"]
files = [{{file = "n.whl", hash = "{C}"}}]
[[package]]
name = "pytest"
version = "8.0"
groups = ["test"]
git = "https://git.example/pytest"
revision = "{COMMIT}"
"""
PIPFILE = """
[packages]
Six = "*"
uvicorn = {extras = ["standard"], version = ">=0.1"}
winpy = {version = "*", sys_platform = "== 'win32'"}
[dev-packages]
pytest = "*"
"""
PIPENV: dict[str, Any] = {
    "_meta": {
        "hash": {"sha256": "00"},
        "pipfile-spec": 6,
        "requires": {"python_version": "3.8"},
        "sources": [
            {"name": "pypi", "url": index_settings.default_index(), "verify_ssl": True},
            {"name": "old", "url": "https://pypi.python.org/simple", "verify_ssl": True},
            {"name": "feed", "url": "https://${FEED}@feed.example/simple", "verify_ssl": True},
        ],
    },
    "default": {
        "six": {"hashes": [A], "version": "==1.17.0", "index": "feed", "markers": "python_version >= '3.3'"},
        "uvicorn": {"extras": ["standard"], "hashes": [B], "version": "==0.33.0"},
        "repo": {"git": "https://git.example/repo", "ref": COMMIT},
    },
    "develop": {"pytest": {"hashes": [C], "version": "==8.0"}},
}


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def read(path: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = ()) -> Requirements:
    return tool_locks.read(path, extras=extras, groups=groups, environ={"FEED": "u:p"})


def lines(found: Sequence[Requirement]) -> list[str]:
    return [" ".join([one.text, *(digest[7:8] for digest in one.hashes)]) for one in found]


GIT = f"git+https://git.example/repo@{COMMIT}"


@pytest.mark.parametrize(
    ("extras", "groups", "more"),
    [((), (), []), (("fast",), ("dev",), ["numpy", "idna"])],
)
def test_uv(tmp_path: Path, extras: Sequence[str], groups: Sequence[str], more: list[str]) -> None:
    write(tmp_path, pyproject_toml=UV_PROJECT, uv_lock=UV)
    found = read(tmp_path / "uv.lock", extras=extras, groups=groups)
    assert lines(found.requirements) == ["six>=1", f"repo @ {GIT}", *more]
    assert found.closed_by == "uv.lock"
    assert found.index.extra_index_urls == ("https://feed.example/simple",)
    numpy = [
        'numpy==1.24.4 ; python_full_version < "3.9" b',
        'numpy==2.0.0 ; python_full_version >= "3.9" c',
    ]
    both = ["idna==3.10 b", *numpy] if more else []
    assert sorted(lines(found.constraints)) == [*both, f"repo @ {GIT}", "six==1.17.0 a"]
    assert [note.subject for note in found.told] == ["app"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pyproject.toml", "uv.lock"]


def test_poetry(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml=POETRY_PROJECT, poetry_lock=POETRY)
    path = tmp_path / "poetry.lock"
    found = read(path)
    assert lines(found.requirements) == [
        "Six",
        "numpy ; python_full_version < '3.9'",
        "numpy ; python_full_version >= '3.9'",
        f"repo @ {GIT}#subdirectory=py",
    ]
    assert "six==1.17.0 a" in lines(found.constraints)
    assert 'numpy==1.24.4 ; python_version < "3.9" b' in lines(found.constraints)
    assert found.index.extra_index_urls == ("https://feed.example/simple",)
    assert [str(note) for note in found.told if note.subject == "poetry.lock"] == [
        "poetry.lock: has no sha256 of pytest: their versions alone are held to"
    ]
    more = read(path, extras=["Names"], groups=["test", "docs"])
    new = [one for one in lines(more.requirements) if one not in lines(found.requirements)]
    assert new == ["idna[all]", "pytest", "sphinx"]


def test_an_old_lock_of_poetry_without_its_project(tmp_path: Path) -> None:
    write(tmp_path, poetry_lock=OLD_POETRY)
    found = read(tmp_path / "poetry.lock")
    assert lines(found.requirements) == ["six==1.17.0 a", "numpy>=1.24.4,<=2.0.0 b c"]
    assert found.constraints == ()
    assert lines(read(tmp_path / "poetry.lock", groups=["dev"]).requirements)[1] == "pytest==8.0"


def test_pdm(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml=PDM_PROJECT, pdm_lock=PDM)
    path = tmp_path / "pdm.lock"
    found = read(path)
    assert lines(found.requirements) == ["six", "coverage[toml]"]
    assert lines(found.constraints)[:3] == ["six==1.17.0 a", "coverage==7.4.4 b", "numpy==2.0.0 c"]
    assert found.index.extra_index_urls == ("https://feed.example/simple",)
    more = read(path, extras=["fast"], groups=["test"])
    git = f"git+https://git.example/pytest@{COMMIT}"
    assert lines(more.requirements) == ["six", "coverage[toml]", "numpy", f"pytest @ {git}"]
    (tmp_path / "pyproject.toml").unlink()
    alone = read(path, groups=["fast"])
    assert lines(alone.requirements)[2] == 'numpy==2.0.0 ; python_version >= "3.9" c'
    assert alone.constraints == ()


def test_pipenv(tmp_path: Path) -> None:
    write(tmp_path, Pipfile=PIPFILE, Pipfile_lock=json.dumps(PIPENV))
    path = tmp_path / "Pipfile.lock"
    found = read(path)
    assert lines(found.requirements) == ["Six", "uvicorn[standard]", "winpy ; sys_platform == 'win32'"]
    assert lines(found.constraints) == [f"repo @ {GIT}", "six==1.17.0 a", "uvicorn==0.33.0 b"]
    assert found.index.extra_index_urls == ("https://u:p@feed.example/simple",)
    assert lines(read(path, groups=["dev"]).requirements)[-1] == "pytest"
    (tmp_path / "Pipfile").unlink()
    assert lines(read(path).requirements)[1] == "six==1.17.0 ; python_version >= '3.3' a"
    assert inputs.python_of(environment=None, files=[path], environ={}) == "3.8"


def test_which_groups_poetry_has(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(POETRY_PROJECT)
    (tmp_path / "poetry.lock").write_text(POETRY)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "poetry.lock", groups=["tests"])
    assert caught.value.hint == "it has docs, test"


PIPFILE_LOCK = json.dumps(PIPENV)


@pytest.mark.parametrize(
    ("name", "text", "project", "wanted", "message"),
    [
        ("uv.lock", UV, None, {}, "no pyproject.toml is beside it"),
        ("uv.lock", "[", UV_PROJECT, {}, "uv cannot read it"),
        ("uv.lock", UV, UV_PROJECT, {"extras": ["slow"]}, "has no extra 'slow'"),
        ("uv.lock", UV, UV_PROJECT, {"groups": ["x"]}, "has no group 'x'"),
        ("uv.lock", UV, UV_PROJECT.replace('"six>=1"', '"six>=1", "rich"'), {}, "does not have rich"),
        ("uv.lock", UV.replace(COMMIT, "--upload-pack=x"), UV_PROJECT, {}, "uv cannot read it"),
        ("poetry.lock", "[", None, {}, "is not TOML"),
        ("poetry.lock", "package = 1", None, {}, "package: must be an array"),
        ("poetry.lock", "[[package]]\nname = 'six'", None, {}, "lacks 'version'"),
        ("poetry.lock", "[[package]]\nname = 'six'\nversion = 'x y'", None, {}, "not a requirement"),
        ("poetry.lock", '[[package]]\nname = "a"\nversion = "1\\n-i url"', None, {}, "not a req"),
        ("poetry.lock", POETRY.replace(COMMIT, "HEAD"), None, {}, "is not of the form"),
        ("poetry.lock", POETRY.replace("legacy", "svn"), None, {}, "is none that is read here"),
        ("poetry.lock", POETRY, POETRY_PROJECT, {"extras": ["x"]}, "has no extra 'x'"),
        ("poetry.lock", POETRY, POETRY_PROJECT, {"groups": ["x"]}, "has no group 'x'"),
        ("poetry.lock", POETRY, None, {"extras": ["names"]}, "no pyproject.toml is beside"),
        ("poetry.lock", POETRY, POETRY_PROJECT.replace("<3.9", "old"), {}, "names no Pythons"),
        ("pdm.lock", PDM, None, {"groups": ["x"]}, "has no group 'x'"),
        ("pdm.lock", PDM.replace("7.4.4\"\nextras", "7.4.3\"\nextras"), PDM_PROJECT, {}, None),
        ("pdm.lock", PDM.replace("revision", "ref"), None, {"groups": ["test"]}, "lacks 'revision'"),
        ("Pipfile.lock", "{", None, {}, "is not sound JSON"),
        ("Pipfile.lock", "[]", None, {}, "must be an object"),
        ("Pipfile.lock", PIPFILE_LOCK, None, {"extras": ["x"]}, "has no extras"),
        ("Pipfile.lock", PIPFILE_LOCK, None, {"groups": ["x"]}, "has no category 'x'"),
        ("Pipfile.lock", PIPFILE_LOCK.replace("==1.17.0", ">=1"), None, {}, "is not of the form"),
        ("Pipfile.lock", PIPFILE_LOCK.replace("FEED", "LACKING"), None, {}, "LACKING is not set"),
    ],
)  # fmt: skip
def test_what_is_wrong(
    tmp_path: Path, name: str, text: str, project: str | None, wanted: dict[str, Any], message: str | None
) -> None:
    write(tmp_path, **{name.replace(".", "_"): text})
    if project:
        write(tmp_path, pyproject_toml=project)
    if message is None:
        assert "coverage>=7.4.3,<=7.4.4 b" in lines(read(tmp_path / name, **wanted).constraints)
        return
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name, **wanted)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("said", "inside", "outside"),
    [
        ("^3.8", ["3.8", "3.13.1"], ["3.7.9", "4.0"]),
        ("~3.8", ["3.8.1"], ["3.9"]),
        ("3.8", ["3.8.18"], ["3.9"]),
        (">=3.8,<3.10 || 3.12.*", ["3.9", "3.12.4"], ["3.10", "3.11"]),
        ("*", ["3.8"], []),
    ],
)
def test_pythons_as_poetry_names_them(said: str, inside: list[str], outside: list[str]) -> None:
    marker = python_marker(Value(raw=said, source="x"))
    for version in (*inside, *outside):
        holds = not marker or Marker(marker).evaluate({"python_full_version": version})
        assert holds == (version in inside), version


def test_what_is_not_in_the_lock_is_refused(tmp_path: Path) -> None:
    write(tmp_path, Pipfile=PIPFILE, Pipfile_lock=PIPFILE_LOCK)
    files = (tmp_path / "Pipfile.lock",)
    request = LockRequest(requirement_files=files, python="3.8", cache_dir=tmp_path)
    found = inputs.read(request, {"FEED": "u:p"})
    resolution.require_permitted(found, ["six", "uvicorn", "setuptools"])
    with pytest.raises(InputError, match=r"Pipfile.lock does not have click, h11, which this target needs"):
        resolution.require_permitted(found, ["six", "h11", "click"])
    more = LockRequest(requirement_files=files, arguments=("click",), python="3.8", cache_dir=tmp_path)
    resolution.require_permitted(inputs.read(more, {"FEED": "u:p"}), ["six", "click"])


@pytest.mark.parametrize("name", tool_locks.NAMES)
def test_as_the_lock_of_a_target_it_is_refused(tmp_path: Path, name: str) -> None:
    request = LockRequest(lock_file=tmp_path / name, python="3.8", cache_dir=tmp_path)
    with pytest.raises(InputError, match="for more than one target") as caught:
        read_requirements(request, {}, Progress(stream=io.StringIO()))
    assert caught.value.hint == f"give it as what is asked for: -r {tmp_path / name}"
    tool_locks.refuse(tmp_path / "pylock.toml")
    tool_locks.refuse(tmp_path / "requirements.lock")


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_a_lock_holds_what_it_pins(envbundle: Command, wheels: Path, tmp_path: Path, resolver: str) -> None:
    for version in ("1.0", "1.1"):
        make_wheel(wheels, "lib", version)
    wheel = make_wheel(wheels, "app", "2.0", requires=["lib"])
    pins = {"app": ("2.0", sha256(wheel)), "lib": ("1.0", sha256(wheels / "lib-1.0-py3-none-any.whl"))}

    def lock(**changed: tuple[str, str]) -> None:
        packages = {
            name: {"version": f"=={version}", "hashes": [f"sha256:{digest}"]}
            for name, (version, digest) in {**pins, **changed}.items()
        }
        write(tmp_path, Pipfile="[packages]\napp = '*'", Pipfile_lock=json.dumps({"default": packages}))

    words = ["-r", "Pipfile.lock", "--python", "3.8", "--resolver", resolver, *envbundle.offline(wheels)]
    lock()
    assert (done := envbundle("create", *words, "-o", "bundle")).code == 0, done.stderr
    described = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert described["inputs"]["requirements"] == ["app"]
    assert [(one["name"], one["version"]) for one in described["distributions"]] == [
        ("app", "2.0"),
        ("lib", "1.0"),
    ]
    lock(lib=("1.1", "0" * 64))
    done = envbundle("lock", *words)
    assert (done.code, "lib" in done.stderr) == (2, True), done.stderr
