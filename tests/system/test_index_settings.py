"""The index settings of the caller's pip: what is read, what is passed on, and how."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.model import IndexSettings
from bundler.system import index_settings, process, redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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


@pytest.mark.thorough
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


def test_a_users_file_counts_wherever_it_lies(tmp_path: Path) -> None:
    """pip lists its files in the order of their paths; a home may come before the machine's file."""
    for name, index in (("z", "https://machine.test"), ("a", "https://user.test/a'b\\n")):
        (tmp_path / name / "pip").mkdir(parents=True)
        (tmp_path / name / "pip" / "pip.conf").write_text(f"[global]\nindex-url = {index}\n")
    given = {"XDG_CONFIG_DIRS": str(tmp_path / "z"), "XDG_CONFIG_HOME": str(tmp_path / "a")}
    found = index_settings.read_settings({**caller(tmp_path / "nobody", {}, {}), **given})
    assert found.index_url == "https://user.test/a'b\\n"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PIP_INDEX_URL": "https://me:it's@h.test/simple", "PIP_no_input": "1", "PIP_CACHE_DIR": "/c"},
        {"PIP_FIND_LINKS": "/a\n/b  /c", "PIP_EXTRA_INDEX_URL": "", "PIP_CERT": "c.pem", "PIP_PROXY": "\\"},
        {"PIP_DEFAULT_TIMEOUT": "180", "PIP_RETRIES": "0"},
        {"PIP_TIMEOUT": "7"},
    ],
)
def test_without_files_we_know_what_pip_lists(tmp_path: Path, variables: dict[str, str]) -> None:
    environ = {**caller(tmp_path, {}, {}), **variables, "PIP_CONFIG_FILE": os.devnull}
    listed = process.run([sys.executable, "-I", "-m", "pip", "config", "list"], env=environ).stdout
    assert index_settings._without_files(environ) == listed


def test_every_file_of_pip_is_looked_for(tmp_path: Path) -> None:
    more = f"{tmp_path}/one:{tmp_path}/two"
    for given in ({}, {"XDG_CONFIG_DIRS": more, "XDG_CONFIG_HOME": str(tmp_path / "three")}):
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **given}
        told = process.run([sys.executable, "-I", "-m", "pip", "config", "debug"], env=environ).stdout
        paths = set(re.findall(r"^  (/.*), exists: ", told, re.MULTILINE))
        assert len(paths) >= 5
        assert paths <= {str(path) for path in index_settings._files(environ)}


@pytest.mark.parametrize("place", ["global", "user", "home/.config", ".pip"])
def test_a_file_is_read_by_pip(tmp_path: Path, place: str) -> None:
    environ = caller(tmp_path, {place: "[global]\ntimeout = 7\n"}, {})
    if place == ".pip":
        (tmp_path / ".pip" / "pip").rename(tmp_path / "home.pip")
        (tmp_path / "home").mkdir()
        (tmp_path / "home.pip").rename(tmp_path / "home" / ".pip")
    elif place == "home/.config":
        del environ["XDG_CONFIG_HOME"]
    assert index_settings._without_files(environ) is None
    assert index_settings.read_settings(environ).timeout == 7


@pytest.mark.parametrize(
    "variables",
    [
        {"PIP_TIMEOUT": "soon"},
        {"PIP_RETRIES": "1.5"},
        {"PIP_DEFAULT_TIMEOUT": ""},
        {"PIP_NO_INPUT": "perhaps"},
        {"PIP_TARGET": "/x"},
        {"PIP_CONFIG_FILE": "/gone/pip.conf"},
        {"PIP_PROXY": "http://a:1", "PIP_proxy": "http://b:1"},
        {"PIP_CONFIG_FILE": "", "HOME": ""},
    ],
)
def test_what_may_be_wrong_is_left_to_pip(tmp_path: Path, variables: dict[str, str]) -> None:
    environ = {**caller(tmp_path, {}, {}), "PIP_CONFIG_FILE": os.devnull}
    assert index_settings._without_files(environ) is not None
    assert index_settings._without_files({**environ, **variables}) is None


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


def test_netrc_of_the_caller_s_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children run in other folders."""
    (tmp_path / "other").write_text("")
    monkeypatch.chdir(tmp_path)
    found = index_settings.network_variables(IndexSettings(), scratch=tmp_path, environ={"NETRC": "other"})
    assert found["NETRC"] == str(tmp_path / "other")


@pytest.mark.parametrize(
    "content",
    [
        "machine index.test login my-robot password geheim4711wort\n",
        "machine index.test login my-robot password\ngeheim4711wort geheim4711wort\n",
        "machine index.test login my-robot passwd 'geheim4711wort'\n",
        "default account geheim4711wort",
    ],
)
def test_what_a_parser_says_of_a_netrc_is_without_its_password(tmp_path: Path, content: str) -> None:
    (tmp_path / ".netrc").write_text(content)
    index_settings.network_variables(IndexSettings(), scratch=tmp_path, environ={"HOME": str(tmp_path)})
    said = redact.text("bad follower token 'geheim4711wort' (line 2): my-robot, index.test, password")
    assert said == "bad follower token '****' (line 2): my-robot, index.test, password"


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


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("name", ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz", "page.html"])
def test_a_pipe_among_the_links_is_refused(tmp_path: Path, name: str, scheme: str) -> None:
    """pip and uv opened it, and waited for ever."""
    (tmp_path / "x-2.0-py3-none-any.whl").touch()
    (tmp_path / "x-3.0-py3-none-any.whl").symlink_to("x-2.0-py3-none-any.whl")
    (tmp_path / "gone-1.0.tar.gz").symlink_to("nowhere")
    os.mkfifo(tmp_path / "socket")
    index_settings.merge(IndexSettings(), IndexSettings(find_links=(f"{scheme}{tmp_path}",)))
    os.mkfifo(tmp_path / name)
    place = tmp_path / name if name == "page.html" else tmp_path
    with pytest.raises(InputError, match=f"{name} is no file"):
        index_settings.merge(IndexSettings(), IndexSettings(find_links=(f"{scheme}{place}",)))
