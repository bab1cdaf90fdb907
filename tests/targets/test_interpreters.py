"""Interpreters are found where builders keep them, described truthfully, and refused with a reason."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.errors import InputError, MachineError
from bundler.targets import interpreters

from tests.support.machine import need_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.model import Interpreter

    Find = Callable[..., Interpreter]

OWN_WORDS = """
import json, platform, sys, sysconfig
from importlib import machinery, util
from pip._vendor.packaging.markers import default_environment
from pip._vendor.packaging.tags import cpython_tags
print(json.dumps({
    "version": platform.python_version(), "cache_tag": sys.implementation.cache_tag,
    "magic": util.MAGIC_NUMBER.hex(), "abi": next(cpython_tags()).abi, "machine": platform.machine(),
    "suffixes": machinery.EXTENSION_SUFFIXES, "prefix": sys.prefix, "markers": default_environment(),
    "stdlib": [sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")],
}))
"""
UNIMPORTABLE = """
import importlib.util, json, sys
names = set(json.load(sys.stdin)) - set(sys.builtin_module_names)
# Since 3.10 it tells the names of all platforms, and Debian has parts of it in packages of their own.
names -= getattr(sys, "stdlib_module_names", set())
print([name for name in names if importlib.util.find_spec(name) is None])
"""
LISTED = """
import json, pkgutil, sys
paths = [path for path in sys.path if path.startswith(sys.prefix)]
names = [module.name for module in pkgutil.iter_modules(paths)] + list(sys.builtin_module_names)
told = getattr(sys, "stdlib_module_names", names)  # without those of its own tests
print(json.dumps(sorted(set(names) & set(told))))
"""


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """`interpreters.find` with folders of the test's own and a caller who has nothing."""

    def with_defaults(request: str, **options: object) -> Interpreter:
        environ = {"HOME": str(tmp_path / "home"), "PATH": "/nonexistent"}
        environ.update(options.pop("environ", {}))  # type: ignore[call-overload]  # it is a mapping
        defaults: dict[str, object] = {
            "cache_dir": tmp_path / "cache",
            "managed_dir": tmp_path / "managed",
            "allow_download": False,
            "announce": lambda _line: None,
        }
        return interpreters.find(request, environ=environ, **{**defaults, **options})  # type: ignore[arg-type]  # as above

    return with_defaults


def ask(python: Path, code: str, *options: str, stdin: str = "") -> str:
    argv = [str(python), "-I", *options, "-c", code]
    return subprocess.run(argv, input=stdin, text=True, capture_output=True, check=True).stdout


def make_stub(path: Path, python: Path, *changes: str, before: str = "") -> Path:
    """Write an executable that answers as `python` does, but for sed's changes; it is its own base."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f's#"executable": "[^"]*"#"executable": "{path}"#'
    edits = " ".join(f"-e '{change}'" for change in (*changes, own))
    path.write_text(f'#!/bin/sh\n{before}\n"{python}" "$@" | sed {edits}\n')
    path.chmod(0o755)
    return path


def patch(number: int) -> str:
    """Make 3.8.x of a stub's answer 3.8.`number`."""
    return rf"s/3\.8\.[0-9]*/3.8.{number}/g"


def make_prefix(prefix: Path, python: Path) -> Path:
    """Make a real interpreter with a prefix and a site-packages of its own; return its python."""
    name = python.resolve().name
    library = prefix / "lib" / name
    library.mkdir(parents=True)
    (prefix / "bin").mkdir()
    for entry in (python.resolve().parent.parent / "lib" / name).iterdir():
        if entry.name != "site-packages":
            (library / entry.name).symlink_to(entry)
    (library / "site-packages").mkdir()
    shutil.copy2(python.resolve(), prefix / "bin" / name)
    return prefix / "bin" / name


def test_an_interpreter_is_described_as_it_describes_itself(target_python: Path, find: Find) -> None:
    need_pip(target_python)
    own = json.loads(ask(target_python, OWN_WORDS))
    found = find(str(target_python))
    assert found.executable == target_python.resolve()
    assert (found.version, found.implementation, found.cache_tag) == (
        own["version"],
        "cpython",
        own["cache_tag"],
    )
    assert (found.magic, found.abi, found.machine) == (own["magic"], own["abi"], own["machine"])
    assert list(found.extension_suffixes) == own["suffixes"]
    assert str(found.base_prefix) == own["prefix"]
    assert [str(folder) for folder in found.stdlib] == own["stdlib"]
    assert found.markers == own["markers"]
    assert (found.conda, found.origin) == (False, "given")


def test_glibc_is_that_of_the_machine_and_not_of_the_executable(python37: Path, find: Find) -> None:
    told = subprocess.run(["getconf", "GNU_LIBC_VERSION"], text=True, capture_output=True, check=True).stdout
    assert find(str(python37)).glibc == told.split()[1]


def test_names_of_the_standard_library_are_complete_and_importable(target_python: Path, find: Find) -> None:
    names = find(str(target_python)).stdlib_modules
    assert ask(target_python, UNIMPORTABLE, "-S", stdin=json.dumps(sorted(names))).strip() == "[]"
    assert set(json.loads(ask(target_python, LISTED, "-S"))) <= names
    assert {"sys", "_ctypes", "xml", "_frozen_importlib"} <= names
    assert not names & {"pip", "site-packages", "__pycache__", "lib-dynload", "sitecustomize"}


@pytest.mark.parametrize("how", ["--symlinks", "--copies"])
@pytest.mark.parametrize("named", ["", "bin/python"])
def test_a_virtualenv_counts_as_its_base(
    target_python: Path, tmp_path: Path, find: Find, how: str, named: str
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([target_python, "-m", "venv", "--without-pip", how, venv], check=True)
    assert find(str(venv / named)) == find(str(target_python))


def test_what_lies_in_site_packages_has_no_say(python38: Path, tmp_path: Path, find: Find) -> None:
    python = make_prefix(tmp_path / "dirty", python38)
    site_packages = tmp_path / "dirty/lib/python3.8/site-packages"
    (site_packages / "sitecustomize.py").write_text("import os; os._exit(3)\n")
    (site_packages / "broken.pth").write_text("import sys; print('garbage'); raise SystemError\n")
    assert subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 3
    assert find(str(python)).base_prefix == tmp_path / "dirty"


def test_only_the_marked_line_counts(python38: Path, tmp_path: Path, find: Find) -> None:
    stub = make_stub(tmp_path / "bin/python3.8", python38, before="printf 'Welcome! {\"version\": 1}'")
    assert find(str(stub)).minor == "3.8"


@pytest.mark.parametrize(
    ("kept", "variable", "value", "origin"),
    [
        ("path/bin/python3.8", "PATH", "path/bin", "PATH"),
        ("path/bin/python3", "PATH", "path/bin", "PATH"),
        ("path/bin/python", "PATH", "path/bin", "PATH"),
        ("home/.pyenv/versions/3.8.99/bin/python3.8", "", "", "pyenv"),
        ("penv/versions/3.8.99/bin/python3.8", "PYENV_ROOT", "penv", "pyenv"),
        ("home/.local/share/uv/python/cpython-3.8.99-x/bin/python3.8", "", "", "uv"),
        ("xdg/uv/python/cpython-3.8.99-x/bin/python3.8", "XDG_DATA_HOME", "xdg", "uv"),
        ("own/cpython-3.8.99-x/bin/python3.8", "UV_PYTHON_INSTALL_DIR", "own", "uv"),
        ("home/.asdf/installs/python/3.8.99/bin/python3.8", "", "", "asdf"),
        ("home/.local/share/mise/installs/python/3.8.99/bin/python3.8", "", "", "mise"),
        ("managed/cpython-3.8.99-x/bin/python3.8", "", "", "managed"),
    ],
)
def test_it_is_found_where_builders_keep_it(
    python38: Path, tmp_path: Path, find: Find, kept: str, variable: str, value: str, origin: str
) -> None:
    stub = make_stub(tmp_path / kept, python38, patch(99))
    environ = {variable: str(tmp_path / value)} if variable else {}
    found = find("3.8.99", environ=environ)
    assert (found.executable, found.origin) == (stub, origin)


@pytest.mark.parametrize(
    ("kept", "origin"),
    [
        ("opt/python/cp38-cp38/bin/python", "/opt/python"),
        ("opt/python/3.8.18/bin/python", "/opt/python"),
        ("opt/python3.8/bin/python", "/opt"),
        ("opt/python3.8.18/bin/python3.8", "/opt"),
        ("usr/local/bin/python3.8", "/usr/local/bin"),
        ("usr/bin/python3.8", "/usr/bin"),
        ("opt/python/cp39-cp39/bin/python", None),
        ("home/.pyenv/versions/3.9.1/bin/python3.9", None),
        ("shims/python3.8", None),
    ],
)
def test_places_of_the_system(tmp_path: Path, kept: str, origin: str | None) -> None:
    python = tmp_path / kept
    python.parent.mkdir(parents=True)
    python.write_text("")
    environ = {"HOME": str(tmp_path / "home"), "PATH": f"{tmp_path}/shims:relative"}
    options = {"environ": environ, "managed_dir": tmp_path / "managed", "root": tmp_path}
    assert not any(one.paths for one in interpreters.all_candidates((3, 8), **options))  # type: ignore[arg-type]  # not executable yet
    python.chmod(0o755)
    found = [one for one in interpreters.all_candidates((3, 8), **options) if one.paths]  # type: ignore[arg-type]  # a mixed mapping
    assert [place.origin for place in found] == ([origin] if origin else [])


def test_path_comes_first_in_its_own_order_and_elsewhere_the_newest(
    python38: Path, tmp_path: Path, find: Find
) -> None:
    for folder, number in (("a", 97), ("b", 99), ("c", 98)):
        make_stub(tmp_path / f"home/.pyenv/versions/{folder}/bin/python3.8", python38, patch(number))
    assert find("3.8").version == "3.8.99"
    for folder, number in (("one", 5), ("two", 6)):
        make_stub(tmp_path / folder / "python3.8", python38, patch(number))
    environ = {"PATH": f"{tmp_path / 'one'}:{tmp_path / 'two'}"}
    assert find("3.8", environ=environ).version == "3.8.5"
    assert find("3.8.6", environ=environ).version == "3.8.6"
    assert find("3.8.98", environ=environ).origin == "pyenv"


def test_a_conda_interpreter_is_used_only_when_named(python38: Path, tmp_path: Path, find: Find) -> None:
    prefix = tmp_path / "home/.pyenv/versions/miniconda"
    python = make_prefix(prefix, python38)
    version = find(str(python38)).version
    before = find(version)
    assert (before.conda, before.executable) == (False, python)
    (prefix / "conda-meta").mkdir()
    shutil.rmtree(tmp_path / "cache")
    assert find(str(prefix)) == replace(before, conda=True, origin="given")
    stub = make_stub(tmp_path / "managed/other/bin/python3.8", python38)
    found = find(version)
    assert found.executable in {stub, Path("/usr/bin/python3.8"), Path("/usr/local/bin/python3.8")}


@pytest.mark.parametrize(
    ("change", "reason", "usable_by_path"),
    [
        ('s/"conda": false/"conda": true/', "comes from conda", True),
        ('s/"abi": "cp38"/"abi": "cp38t"/', "free-threaded", True),
        ('s/"abi": "cp38"/"abi": "cp38d"/', "debug build", False),
        ('s/"implementation": "cpython"/"implementation": "pypy"/', "is pypy, not CPython", False),
        ('s/"machine": "x86_64"/"machine": "i686"/', "built for i686", False),
        ('s/"glibc": "[^"]*"/"glibc": ""/', "not linked against glibc", False),
        ('s/"version": "3.8/"version": "3.6/', "is 3.6.99", False),
        (
            's/"version": "3.8.99"/"version": "..\\/..\\/x"/',
            r"makes no sense \(its description: version",
            False,
        ),
        ('s/"markers": {/"markers": 1, "x": {/', r"makes no sense \(its description: markers", False),
        ("s/ENVBUNDLE/other/", "does not answer as a Python does", False),
    ],
)
def test_an_unfit_interpreter_is_passed_over_with_its_reason(
    python38: Path, tmp_path: Path, find: Find, change: str, reason: str, *, usable_by_path: bool
) -> None:
    stub = make_stub(tmp_path / "bin/python3.8", python38, patch(99), change)
    with pytest.raises(MachineError, match=reason) as raised:
        find("3.8.99", environ={"PATH": str(tmp_path / "bin")})
    assert str(stub) in raised.value.message
    if usable_by_path:
        assert find(str(stub)).executable == stub
    else:
        with pytest.raises(InputError, match=reason):
            find(str(stub))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("banana", "neither a Python version nor a path"),
        ("", "neither"),
        ("3", "neither"),
        ("3.8.x", "neither"),
        ("٣.٨", "neither"),
        ("2.7", "CPython 3.7 and later, not for 2.7"),
        ("3.6.15", "CPython 3.7 and later, not for 3.6.15"),
        ("4.0", "CPython 3.7 and later"),
        ("/nowhere/python", "does not exist"),
        ("{}/empty", "has no bin/python"),
        ("{}/text", "is not executable"),
        ("{}/script", "did not run as a CPython 3.7 or later: my own words"),
        ("/bin/true", "does not answer as a Python does"),
    ],
)
def test_a_bad_request_is_the_callers(tmp_path: Path, find: Find, request_: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    (tmp_path / "script").write_text("#!/bin/sh\necho my own words >&2\nexit 1\n")
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(InputError, match=message) as raised:
        find(request_.format(tmp_path))
    assert raised.value.hint is not None


def test_a_description_is_kept_as_long_as_the_file_is_the_same(
    python38: Path, tmp_path: Path, find: Find
) -> None:
    runs = tmp_path / "runs"
    stub = make_stub(tmp_path / "bin/python3.8", python38, before=f"echo run >> {runs}")
    first = find(str(stub))
    assert find(str(stub)) == first
    assert len(runs.read_text().split()) == 1
    (entry,) = (tmp_path / "cache").iterdir()
    for damage in ("", "{", "[]", entry.read_text().replace("3.8", "x")):
        entry.write_text(damage)
        runs.unlink()
        assert find(str(stub)) == first
        assert find(str(stub)) == first
        assert len(runs.read_text().split()) == 1
    make_stub(stub, python38, patch(99))
    assert find(str(stub)).version == "3.8.99"


def test_what_a_launcher_leads_to_is_not_kept(
    python37: Path, python38: Path, tmp_path: Path, find: Find
) -> None:
    launcher, chosen = tmp_path / "launch", tmp_path / "chosen"
    launcher.write_text(f'#!/bin/sh\nexec "$(cat {chosen})" "$@"\n')
    launcher.chmod(0o755)
    for python in (python37, python38):
        chosen.write_text(str(python))
        assert find(str(launcher)).executable == python.resolve()


def test_none_found_says_where_and_what_to_do(python37: Path, tmp_path: Path, find: Find) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(python37)
    with pytest.raises(MachineError) as raised:
        find("3.8.99", environ={"PATH": str(tmp_path / "bin")})
    message, hint = raised.value.message, raised.value.hint or ""
    assert message.startswith("no CPython 3.8.99 on this machine, and fetching one is not allowed")
    assert f"{tmp_path}/bin/python3 is {_patch_of(python37)}" in message
    for place in ("pyenv", "uv", "/opt/python", "/usr/local/bin", "/usr/bin", "asdf", "mise", "managed"):
        assert f"\n  {place} (" in message
    assert "pyenv install 3.8.99" in hint
    assert "uv python install 3.8.99" in hint


def test_there_is_no_managed_build_of_37(tmp_path: Path, find: Find) -> None:
    lines: list[str] = []
    with pytest.raises(MachineError, match=r"no managed build of 3\.7 exists") as raised:
        find("3.7.99", allow_download=True, announce=lines.append)
    assert "uv python install" not in (raised.value.hint or "")
    assert lines == []
    assert not (tmp_path / "managed").exists()


def mirror(folder: Path, python: Path, installed: Path) -> Mapping[str, str]:
    """Make a mirror of one managed build, a stub of 3.8.99; return the variables that point uv at it."""
    stub = make_stub(folder / "python/bin/python3.8", python, patch(99), f"s#{folder}/python#{installed}#")
    library = folder / "python/lib/python3.8"
    library.mkdir(parents=True)
    (library / "_sysconfigdata__linux_x86_64-linux-gnu.py").write_text(
        "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"
    )
    stub.write_text(stub.read_text().replace(str(folder / "python"), str(installed)))
    archive = folder / "cpython-3.8.99+20990101-x86_64-unknown-linux-gnu-install_only.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "python", "python")
    listing = {
        "cpython-3.8.99-linux-x86_64-gnu": {
            "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu",
            "major": 3, "minor": 8, "patch": 99, "prerelease": "", "variant": None, "build": "20990101",
            "url": archive.as_uri(), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        }
    }  # fmt: skip
    (folder / "downloads.json").write_text(json.dumps(listing))
    return {"UV_PYTHON_DOWNLOADS_JSON_URL": str(folder / "downloads.json")}


def test_uv_fetches_a_managed_build_from_the_sites_mirror(python38: Path, tmp_path: Path, find: Find) -> None:
    installed = tmp_path / "managed/cpython-3.8.99-linux-x86_64-gnu"
    environ = mirror(tmp_path / "mirror", python38, installed)
    with pytest.raises(MachineError, match="not allowed"):
        find("3.8.99", environ=environ)
    lines: list[str] = []
    found = find("3.8.99", allow_download=True, announce=lines.append, environ=environ)
    assert (found.executable, found.version) == (installed / "bin/python3.8", "3.8.99")
    assert found.origin == "managed"
    assert lines == [f"fetching a managed CPython 3.8.99 with uv into {tmp_path}/managed"]
    assert find("3.8.99", environ=environ) == found
    assert not (tmp_path / "home").exists()


def test_a_mirror_that_fails_is_the_machines_and_its_password_is_not_told(
    python38: Path, tmp_path: Path, find: Find
) -> None:
    environ = dict(mirror(tmp_path / "mirror", python38, tmp_path))
    listing = tmp_path / "mirror/downloads.json"
    url = "http://user:secret@127.0.0.1:9/python.tar.gz"
    text = json.loads(listing.read_text())
    text["cpython-3.8.99-linux-x86_64-gnu"]["url"] = url
    listing.write_text(json.dumps(text))
    with pytest.raises(MachineError, match="uv could not fetch one: ") as raised:
        find("3.8.99", allow_download=True, environ={**environ, "UV_HTTP_RETRIES": "0"})
    assert "looked at:\n  PATH" in raised.value.message
    assert "http://127.0.0.1:9/python.tar.gz" in raised.value.message
    assert "Connection refused" in raised.value.message
    assert "secret" not in raised.value.message
    assert "UV_PYTHON_INSTALL_MIRROR" in (raised.value.hint or "")


def test_a_folder_that_cannot_be_made_is_the_machines(tmp_path: Path, find: Find) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"uv could not fetch one: .*file"):
        find("3.8.99", allow_download=True, managed_dir=tmp_path / "file/managed")


def _patch_of(python: Path) -> str:
    return ask(python, "import platform; print(platform.python_version())").strip()
