"""Credentials of a repository reach git, and nobody sees them."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create import git_access, requirements

if TYPE_CHECKING:
    pass


def test_credentials_of_a_repository_reach_git_in_variables() -> None:
    def asked(*lines: str) -> dict[str, str]:
        return git_access.variables(requirements.read(files=[], arguments=lines))

    a = "a @ git+https://user:to%2Fken@git.example:443/org/a.git@main"
    header = "Authorization: Basic dXNlcjp0by9rZW4="
    assert asked(a, "b @ git+https://git.example/b") == {
        **git_access.PATIENCE,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.https://git.example/.extraHeader",
        "GIT_CONFIG_VALUE_0": header,
    }
    two = asked(
        a, "b @ git+https://other@git.example/org/b.git", "c @ git+https://x:y@else.example:8443/c@v1"
    )
    assert [two[f"GIT_CONFIG_KEY_{number}"] for number in range(3)] == [
        "http.https://git.example/org/a.git.extraHeader",
        "http.https://git.example/org/b.git.extraHeader",
        "http.https://else.example:8443/.extraHeader",
    ]
    assert two["GIT_CONFIG_VALUE_0"] == header
    assert git_access.variables(None) == git_access.PATIENCE


@pytest.mark.thorough
def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        env = {**os.environ, **git_access.variables(None), "GIT_HTTP_LOW_SPEED_TIME": "1"}
        done = subprocess.run(
            ["git", "ls-remote", url], env=env, capture_output=True, timeout=60, check=False
        )
    assert b"too slow" in done.stderr


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("a @ git+https://user:token@git.example/a.git@v1", "a @ git+https://git.example/a.git@v1"),
        (
            "git+https://t@git.example/a ; python_version < '4'",
            "git+https://git.example/a ; python_version < '4'",
        ),
        ("a @ https://user:pw@files.example/a.whl", "a @ https://user:pw@files.example/a.whl"),
        ("a @ git+ssh://git@git.example/a.git", "a @ git+ssh://git@git.example/a.git"),
        ("a==1", "a==1"),
    ],
)
def test_resolver_gets_no_credentials_of_a_repository(text: str, passed: str) -> None:
    assert git_access.without_credentials(text) == passed


def test_git_gets_a_password_and_no_command_line_shows_it(tmp_path: Path) -> None:
    project = tmp_path / "project"
    bare = tmp_path / "served" / "org" / "a.git"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (
        ["init", "-q", str(project)],
        ["-C", str(project), *who, "commit", "-q", "--allow-empty", "-m", "first"],
        ["clone", "-q", "--bare", str(project), str(bare)],
        ["-C", str(bare), "update-server-info"],
    ):
        subprocess.run(["git", *words], check=True)

    class Guarded(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == "Basic dXNlcjpodW50ZXIy":
                super().do_GET()
            else:
                self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Guarded, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://user:hunter2@127.0.0.1:{server.server_address[1]}/org/a.git"
        asked = requirements.read(files=[], arguments=[f"a @ git+{url}@main"])
        bare_url = git_access.without_credentials(f"git+{url}").removeprefix("git+")
        done = subprocess.run(
            ["git", "ls-remote", bare_url],
            env={"PATH": os.environ["PATH"], "GIT_TRACE": "1", **git_access.variables(asked)},
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("HEAD\n") or "\tHEAD\n" in done.stdout
    assert "remote-http" in done.stderr
    assert "hunter2" not in done.stderr
