"""pip's one home: what of the caller's configuration counts, and the pip that drives the target and poses."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import target_pip
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.model import IndexSettings
from bundler.system import index_settings, process
from bundler.targets import interpreters
from bundler.wheels.store import Store

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.create.target_pip import Pip
    from bundler.model import Interpreter

    from tests.support.index import Index


def caller(folder: Path, files: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """An environment whose global and user configurations of pip lie below `folder`."""
    for name, text in files.items():
        path = folder / name / "pip" / "pip.conf"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "XDG_CONFIG_DIRS": str(folder / "global"),
        "XDG_CONFIG_HOME": str(folder / "user"),
        **variables,
    }


SETTINGS: dict[str, tuple[dict[str, str], dict[str, str], dict[str, Any]]] = {
    "nothing": ({}, {}, {}),
    "global": (
        {"global": "[global]\nindex-url = https://g.test/simple\ntimeout = 9\n"},
        {},
        {"index_url": "https://g.test/simple", "timeout": 9},
    ),
    "user over global": (
        {
            "global": "[global]\nindex-url = https://g.test\ntrusted-host = g.test\n",
            "user": "[global]\nindex-url = https://u.test\n",
        },
        {},
        {"index_url": "https://u.test", "trusted_hosts": ("g.test",)},
    ),
    "install over global": (
        {"user": "[install]\nindex-url = https://i.test\n[global]\nindex-url = https://u.test\n"},
        {},
        {"index_url": "https://i.test"},
    ),
    "environment over all": (
        {"user": "[install]\nindex-url = https://i.test\n[global]\ntimeout = 5\nretries = 1\n"},
        {"PIP_INDEX_URL": "https://e.test", "PIP_DEFAULT_TIMEOUT": "7.5", "PIP_RETRIES": "0"},
        {"index_url": "https://e.test", "timeout": 7.5, "retries": 0},
    ),
    "another command's section": (
        {"user": "[list]\nindex-url = https://l.test\nformat = json\n[download]\nno-index = true\n"},
        {},
        {},
    ),
    "many values": (
        {
            "user": "[global]\nextra-index-url =\n    https://a.test/simple\n    https://b.test/simple\n"
            "find-links = /srv/one https://h.test/page\ntrusted_host = a.test\n    b.test:8080\n"
        },
        {},
        {
            "extra_index_urls": ("https://a.test/simple", "https://b.test/simple"),
            "find_links": ("/srv/one", "https://h.test/page"),
            "trusted_hosts": ("a.test", "b.test:8080"),
        },
    ),
    "many values of a variable": (
        {},
        {"PIP_EXTRA_INDEX_URL": "https://a.test  https://b.test", "PIP_FIND_LINKS": "/x /y"},
        {"extra_index_urls": ("https://a.test", "https://b.test"), "find_links": ("/x", "/y")},
    ),
    "odd characters": (
        {"user": "[global]\nindex-url = https://user%%40corp:it's\"100%%\\=#1@h.test/simple\n"},
        {},
        {"index_url": "https://user%%40corp:it's\"100%%\\=#1@h.test/simple"},
    ),
    "yes and no": (
        {"user": "[global]\nno-index = Yes\n"},
        {"PIP_NO_INPUT": "1"},
        {"no_index": True},
    ),
    "no": ({"user": "[global]\nno-index = true\n"}, {"PIP_NO_INDEX": "0"}, {}),
    "the way there": (
        {"user": "[global]\ncert = /c.pem\nclient-cert = /k.pem\nproxy = http://p:1\n"},
        {"PIP_KEYRING_PROVIDER": "subprocess"},
        {"cert": "/c.pem", "client_cert": "/k.pem", "proxy": "http://p:1", "keyring_provider": "subprocess"},
    ),
    "what redirects is named and not passed on": (
        {"global": "[install]\ntarget = /x\nno-deps = true\n", "user": "[global]\nuser = true\nquiet = 1\n"},
        {
            "PIP_PREFIX": "/y",
            "PIP_PYTHON": "/gone",
            "PIP_CONSTRAINT": "c.txt",
            "PIP_NO_COLOR": "1",
            "PIP_REQUIRE_VIRTUALENV": "1",
        },
        {"ignored": ("constraint", "no-deps", "prefix", "require-virtualenv", "target", "user")},
    ),
    "the old name of a user's file": (
        {},
        {"PIP_CONFIG_FILE": "FOLDER/own.conf"},
        {"index_url": "https://own.test"},
    ),
    "no files at all": (
        {"user": "[global]\nindex-url = https://u.test\n"},
        {"PIP_CONFIG_FILE": os.devnull},
        {},
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_callers_settings(tmp_path: Path, name: str) -> None:
    files, variables, expected = SETTINGS[name]
    (tmp_path / "own.conf").write_text("[global]\nindex-url = https://own.test\n")
    given = {key: value.replace("FOLDER", str(tmp_path)) for key, value in variables.items()}
    # A machine may have an /etc/pip.conf of its own.
    base = IndexSettings()
    if "PIP_CONFIG_FILE" not in given or given["PIP_CONFIG_FILE"] != os.devnull:
        base = index_settings.read_settings(caller(tmp_path / "nobody", {}, {}))
    ignored = tuple(sorted({*base.ignored, *expected.get("ignored", ())}))
    found = index_settings.read_settings(caller(tmp_path, files, given))
    assert found == replace(base, **{**expected, "ignored": ignored})


def test_relative_places_are_those_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = index_settings.parse_settings(
        "global.find-links='wheels ./more https://h.test/x'\n:env:.cert='ca.pem'\n"
    )
    assert found.find_links == (str(tmp_path / "wheels"), str(tmp_path / "more"), "https://h.test/x")
    assert found.cert == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("[global]\ntimeout = soon\n", EnvbundleError, "'soon'"),
        ("[global]\nretries = many\n", EnvbundleError, "'many'"),
        ("index-url = https://no.section\n", MachineError, "pip cannot read its configuration"),
        ("[global\n", MachineError, "pip cannot read its configuration"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, text: str, error: type[Exception], word: str) -> None:
    with pytest.raises(error) as caught:
        index_settings.read_settings(caller(tmp_path, {"user": text}, {}))
    assert word in str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "retries"])
def test_an_older_pip_leaves_wrong_numbers_to_us(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} = 'x'"):
        index_settings.parse_settings(f"global.{name}='x'\n")


def test_given_options_stand_over_the_callers() -> None:
    mine = IndexSettings(
        index_url="https://c.test", extra_index_urls=("https://x.test",), find_links=("/a",), timeout=3,
        ignored=("user",),
    )  # fmt: skip
    given = IndexSettings(index_url="https://g.test", find_links=("/b",), no_index=True)
    assert index_settings.merge(mine, given) == IndexSettings(
        index_url="https://g.test", extra_index_urls=("https://x.test",), find_links=("/a", "/b"),
        no_index=True, timeout=3, ignored=("user",),
    )  # fmt: skip
    assert index_settings.merge(mine, IndexSettings()) == mine


def test_no_credential_is_a_word_of_a_command() -> None:
    """Other users of the machine see the words of a command, but not its variables."""
    secret = IndexSettings(
        index_url="https://u:secret@a.test/simple",
        extra_index_urls=("https://u:secret@b.test/simple", "https://c.test"),
        find_links=("/srv/wheels", "https://u:secret@d.test/page"),
        proxy="http://u:secret@proxy:3128",
    )
    flags, variables = index_settings.index_flags(secret), index_settings.index_variables(secret)
    assert flags == ["--find-links", "/srv/wheels"]
    assert variables == {
        "PIP_INDEX_URL": "https://u:secret@a.test/simple",
        "PIP_EXTRA_INDEX_URL": "https://u:secret@b.test/simple https://c.test",
        "PIP_FIND_LINKS": "https://u:secret@d.test/page",
        "PIP_PROXY": "http://u:secret@proxy:3128",
    }


def test_every_setting_is_a_flag_that_pip_knows(
    tmp_path: Path, tools: Mapping[str, Pip], python38: Path
) -> None:
    settings = IndexSettings(
        find_links=("/x",), no_index=True, trusted_hosts=("h.test:1",), cert="/c", client_cert="/k",
        timeout=2.5, retries=0, keyring_provider="disabled",
    )  # fmt: skip
    flags = index_settings.index_flags(settings)
    assert len([flag for flag in flags if flag.startswith("--")]) == 8
    done = tools["3.8"].run(python38, ["download", *flags, "--help"], scratch=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


VARIABLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "proxies": (
        {"https_proxy": "http://p:1", "HTTP_PROXY": "http://q", "NO_PROXY": "x", "no_proxy": ""},
        {"https_proxy": "http://p:1", "HTTP_PROXY": "http://q", "NO_PROXY": "x"},
    ),
    "certificates": (
        {"SSL_CERT_FILE": "/c.pem", "REQUESTS_CA_BUNDLE": "/r.pem", "PIP_CERT": "/p.pem"},
        {"SSL_CERT_FILE": "/c.pem", "REQUESTS_CA_BUNDLE": "/r.pem"},
    ),
    "netrc at home": ({"HOME": "HERE"}, {"NETRC": "HERE/.netrc"}),
    "netrc elsewhere": ({"HOME": "HERE", "NETRC": "HERE/other"}, {"NETRC": "HERE/other"}),
    "no netrc": ({"HOME": "HERE/none", "NETRC": ""}, {}),
    "nothing else": (
        {"PYTHONPATH": "/x", "PIP_TARGET": "/y", "UV_INDEX": "z", "LD_PRELOAD": "w", "CFLAGS": "-O0"},
        {},
    ),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_network_needs_passes(tmp_path: Path, name: str) -> None:
    given, expected = (
        {key: value.replace("HERE", str(tmp_path)) for key, value in table.items()}
        for table in VARIABLES[name]
    )
    for file in (".netrc", "other"):
        (tmp_path / file).write_text("")
    found = index_settings.network_variables(IndexSettings(), scratch=tmp_path, environ=given)
    assert found.pop("PATH").startswith(process.SYSTEM_PATH)
    assert found == expected


def test_git_is_found_where_the_caller_has_it(tmp_path: Path) -> None:
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\n")
    git.chmod(0o755)
    found = index_settings.network_variables(
        IndexSettings(), scratch=tmp_path, environ={"PATH": str(git.parent)}
    )
    assert found["PATH"].split(":")[-1] == str(git.parent)


@pytest.mark.parametrize("provider", ["subprocess", "auto", None, "disabled"])
def test_keyring_and_it_alone_has_its_home(tmp_path: Path, provider: str | None) -> None:
    keyring = tmp_path / "bin" / "keyring"
    keyring.parent.mkdir()
    keyring.write_text('#!/bin/sh\necho "$HOME|$DBUS_SESSION_BUS_ADDRESS|$SECRET|$*"\n')
    keyring.chmod(0o755)
    home = tmp_path / 'the user\'s "home"'
    environ = {
        "PATH": str(keyring.parent),
        "HOME": str(home),
        "DBUS_SESSION_BUS_ADDRESS": "unix:x",
        "SECRET": "no",
    }
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    variables = index_settings.network_variables(
        IndexSettings(keyring_provider=provider), scratch=scratch, environ=environ
    )
    env = process.clean_environment(home=scratch, **variables)
    assert env["HOME"] == str(scratch)
    assert "DBUS_SESSION_BUS_ADDRESS" not in env
    if provider not in {"subprocess", "auto"}:
        assert shutil.which("keyring", path=env["PATH"]) is None
        return
    # As pip and uv call it: by name, with the PATH that they were given.
    said = process.run(["/usr/bin/env", "keyring", "get", "https://h.test/x y", "me"], env=env).stdout
    assert said == f"{home}|unix:x||get https://h.test/x y me\n"


@pytest.fixture(scope="module")
def tools(
    tmp_path_factory: pytest.TempPathFactory, pips: Path, python37: Path, python38: Path
) -> dict[str, Pip]:
    """The posing pips of both targets, fetched from a folder."""
    folder = tmp_path_factory.mktemp("tools")
    store = Store(folder / "store")
    made = {}
    for version, python in (("3.7", python37), ("3.8", python38)):
        scratch = folder / version
        scratch.mkdir()
        interpreter = interpreters.probe(python, cache_dir=store.probes, origin="given")
        made[version] = target_pip.obtain(
            interpreter,
            store=store,
            settings=IndexSettings(no_index=True, find_links=(str(pips),)),
            glibc=(2, 27) if version == "3.7" else (2, 31),
            scratch=scratch,
            environ={},
        )
    return made


def tags(tool: Pip, python: Path, scratch: Path, *, pose: bool) -> set[str]:
    listing = tool.run(python, ["debug", "--verbose"], scratch=scratch, pose=pose).stdout
    lines = listing.partition("Compatible tags")[2].splitlines()[1:]
    return {line.strip() for line in lines if line.startswith("  ")}


@pytest.mark.parametrize(("version", "abi", "newest"), [("3.7", "cp37m", 27), ("3.8", "cp38", 31)])
def test_pip_poses_as_the_image(
    request: pytest.FixtureRequest, tools: Mapping[str, Pip], tmp_path: Path, version: str, abi: str,
    newest: int,
) -> None:  # fmt: skip
    python: Path = request.getfixturevalue(f"python{version.replace('.', '')}")
    name = f"cp{version.replace('.', '')}"
    posing = tags(tools[version], python, tmp_path, pose=True)
    assert f"{name}-{abi}-manylinux_2_{newest}_x86_64" in posing
    assert f"{name}-{abi}-manylinux2014_x86_64" in posing
    assert f"{name}-{abi}-manylinux_2_{newest + 1}_x86_64" not in posing
    builder = tags(tools[version], python, tmp_path, pose=False)
    glibc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    assert f"{name}-{abi}-manylinux_{glibc.split()[1].replace('.', '_')}_x86_64" in builder
    assert posing < builder


def test_pip_sees_nothing_of_the_caller(
    tools: Mapping[str, Pip], tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = tmp_path / "leak"
    (leak / "leaked-9.dist-info").mkdir(parents=True)
    (leak / "leaked-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: leaked\nVersion: 9\n")
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://leaked.test\n")
    for variable, value in {"PYTHONPATH": leak, "PIP_CONFIG_FILE": config, "PIP_TARGET": leak}.items():
        monkeypatch.setenv(variable, str(value))
    listing = tools["3.8"].run(python38, ["list"], scratch=tmp_path).stdout
    assert "leaked" not in listing
    settings = index_settings.parse_settings(
        tools["3.8"].run(python38, ["config", "list"], scratch=tmp_path).stdout
    )
    assert (settings.index_url, settings.ignored) == (None, ())


@pytest.fixture
def interpreter(python38: Path, tmp_path: Path) -> Interpreter:
    return interpreters.probe(python38, cache_dir=tmp_path / "probes", origin="given")


@pytest.fixture
def with_pip(index: Index, wheels: Path, pips: Path) -> Index:
    """An index that has the pip of 3.8."""
    shutil.copy(pips / "pip-25.0.1-py3-none-any.whl", wheels)
    return index


def obtain(interpreter: Interpreter, settings: IndexSettings, folder: Path) -> Pip:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return target_pip.obtain(
        interpreter,
        store=Store(folder / "store"),
        settings=settings,
        glibc=(2, 31),
        scratch=scratch,
        environ={"PATH": os.environ["PATH"]},
    )


def test_pip_is_fetched_once(with_pip: Index, interpreter: Interpreter, tmp_path: Path) -> None:
    settings = IndexSettings(index_url=with_pip.url)
    first = obtain(interpreter, settings, tmp_path)
    assert (first.version, first.folder.name) == ("25.0.1", "pip-25.0.1")
    assert [path for path in with_pip.requests if path.startswith("/files/")] == [
        "/files/pip-25.0.1-py3-none-any.whl"
    ]
    with_pip.requests.clear()
    assert obtain(interpreter, settings, tmp_path) == first
    # A damaged copy is made again, from the wheel that the store has kept.
    (first.folder / "complete").unlink()
    obtain(interpreter, settings, tmp_path)
    assert (first.folder / "pip" / "__main__.py").is_file()
    assert with_pip.requests == []
    version = first.run(interpreter.executable, ["--version"], scratch=tmp_path / "scratch").stdout
    assert version.startswith(f"pip 25.0.1 from {first.folder}")


def test_a_pip_that_is_another_is_refused(with_pip: Index, interpreter: Interpreter, tmp_path: Path) -> None:
    with_pip.corrupt = {"pip-25.0.1-py3-none-any.whl"}
    with pytest.raises(MachineError, match=r"pip 25\.0\.1.* could not be fetched"):
        obtain(interpreter, IndexSettings(index_url=with_pip.url), tmp_path)
    assert not list((tmp_path / "store").rglob("pip-25*"))


def test_an_index_without_pip(index: Index, wheels: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    make_wheel(wheels, "pip", "99.0")
    with pytest.raises(MachineError, match=r"pip 25\.0\.1.* could not be fetched") as caught:
        obtain(interpreter, IndexSettings(index_url=index.url), tmp_path)
    assert "--find-links" in (caught.value.hint or "")


def test_credentials_are_in_no_command_and_no_log(
    with_pip: Index, interpreter: Interpreter, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The index wants a password, so it must have reached pip; yet neither a word nor the log has it."""
    with_pip.password = ("user", "hunter2")
    words: list[str] = []
    start = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[str], argv: list[str], **options: object) -> None:
        words.extend(argv)
        start(self, argv, **options)  # type: ignore[call-overload]  # whatever the caller gave

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    caplog.set_level(logging.DEBUG)
    settings = IndexSettings(index_url=with_pip.url.replace("://", "://user:hunter2@"))
    tool = obtain(interpreter, settings, tmp_path)
    make_wheel(with_pip.folder, "six")
    tool.run(
        interpreter.executable,
        ["download", "six", "-d", tmp_path, *index_settings.index_flags(settings)],
        scratch=tmp_path / "scratch",
    )
    assert "/files/six-1.0-py3-none-any.whl" in with_pip.requests
    assert words
    assert "hunter2" not in " ".join(words)
    assert "run: " in caplog.text
    assert "hunter2" not in caplog.text
