"""Both resolvers: repositories, folders, URLs, credentials, and sources that do not tell or cannot be had."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import pytest
from bundler.create.resolve import reference_pip
from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings, Requirements

from tests.support.index import Index
from tests.support.resolving import (
    PURE,
    RESOLVERS,
    Resolvers,
    World,
    by_name,
    project,
    write_project,
)
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from bundler.create.resolve import ResolveRequest
    from bundler.model import Resolver


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=t", "-c", "user.email=t@h.test", "-c", "init.defaultBranch=main", *words]
    return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    """A repository with a project at its tag v1 and in a subdirectory; returns it and the tag's commit."""
    folder = write_project(tmp_path / "repo", project("mine", requires=("lib<2",)))
    write_project(folder / "sub", project("deep-mine"))
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    commit = git(folder, "rev-parse", "HEAD")
    (folder / "later.txt").write_text("")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "two")
    return folder, commit


@pytest.mark.thorough
def test_a_repository(resolvers: Resolvers, world: World, repository: tuple[Path, str]) -> None:
    folder, commit = repository
    lock = resolvers.both(
        f"git+file://{folder}@v1#egg=mine\ndeep-mine @ git+file://{folder}@{commit}#subdirectory=sub\n",
        settings=IndexSettings(index_url=world.index.url),
    )
    found = by_name(lock)
    assert set(found) == {"mine", "deep-mine", "lib"}
    mine, deep = found["mine"], found["deep-mine"]
    assert (mine.source, mine.artifact.kind, mine.version) == ("vcs", "vcs", "1.0")
    assert (mine.artifact.commit, mine.artifact.url) == (commit, f"git+file://{folder}")
    assert (deep.artifact.commit, deep.artifact.subdirectory) == (commit, "sub")
    assert found["lib"].required_by == ("mine",)


@pytest.mark.thorough
def test_local_projects_and_files(resolvers: Resolvers, world: World, tmp_path: Path) -> None:
    write_project(tmp_path / "my proj", project("mine", requires=("lib<2",)))
    make_wheel(tmp_path, "beside", requires=["fast-dep"])
    make_sdist(tmp_path, "tarred", files=project("tarred"))
    lock = resolvers.both(
        f"./my proj\n./beside-1.0-{PURE}\ntarred @ {(tmp_path / 'tarred-1.0.tar.gz').as_uri()}\n",
        settings=IndexSettings(index_url=world.index.url),
    )
    found = by_name(lock)
    assert set(found) == {"mine", "lib", "beside", "fast-dep", "tarred"}
    assert {name for name, dist in found.items() if dist.source == "local"} == {"mine", "beside", "tarred"}
    assert {name for name, dist in found.items() if dist.requested} == {"mine", "beside", "tarred"}
    assert found["mine"].artifact.kind == "directory"
    assert found["mine"].artifact.path == str(tmp_path / "my proj")
    assert found["beside"].artifact.path == str(tmp_path / f"beside-1.0-{PURE}")
    assert not any(str(tmp_path) in line for line in lock.requirements)


@pytest.mark.thorough
def test_direct_urls(resolvers: Resolvers, world: World) -> None:
    files = world.index.url.replace("/simple", "/files")
    lock = resolvers.both(
        f"app @ {files}/app-1.0-{PURE}\n{files}/source-1.0.tar.gz#egg=source\n",
        settings=IndexSettings(index_url=world.index.url),
    )
    found = by_name(lock)
    assert {name: dist.source for name, dist in found.items()} == {
        "app": "url", "source": "url", "lib": "index",
    }  # fmt: skip
    assert found["app"].artifact.url == f"{files}/app-1.0-{PURE}"
    assert found["source"].artifact.kind == "sdist"


def test_a_file_that_was_changed_is_named_without_what_its_url_hides(tmp_path: Path) -> None:
    """A hash of the index that its file does not have: pip names the URL from which it came."""
    said = (
        "    a from https://me:hunter2@h.test/a-1.0-py3-none-any.whl?sig=geheim4711#sha256=0:\n"
        f"        Expected sha256 {'0' * 64}\n             Got        {'1' * 64}\n"
    )
    asked = SimpleNamespace(requirements=Requirements(requirements=(), constraints=()), scratch=tmp_path)
    error = reference_pip._explain(said, cast("ResolveRequest", asked))
    assert isinstance(error, InputError)
    assert "a (https://h.test/a-1.0-py3-none-any.whl" in error.message
    assert "hunter2" not in error.message
    assert "geheim4711" not in error.message


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("how", ["URL", "variables", "links", "netrc", "keyring"])
def test_credentials(
    resolvers: Resolvers, wheels: Path, index: Index, tmp_path: Path, resolver: Resolver, how: str
) -> None:
    make_wheel(wheels, "private")
    index.password = ("me", "pass/w@rd")
    home = tmp_path / "home"
    home.mkdir()
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    settings, lines = IndexSettings(index_url=index.url, retries=0), "private\n"
    with_secret = index.url.replace("://", "://me:pass%2Fw%40rd@")
    if how == "URL":
        settings = replace(settings, index_url=with_secret)
    elif how == "links":
        links = (f"{with_secret}/private/", str(tmp_path))
        settings = replace(settings, index_url=None, no_index=True, find_links=links)
    elif how == "variables":
        environ |= {"WHO": "me", "SECRET": "pass%2Fw%40rd"}
        lines += "--index-url " + index.url.replace("://", "://${WHO}:${SECRET}@") + "\n"
    elif how == "netrc":
        (home / ".netrc").write_text("machine 127.0.0.1 login me password pass/w@rd\n")
    else:
        tool = tmp_path / "bin" / "keyring"
        tool.parent.mkdir()
        tool.write_text('#!/bin/sh\ncat "$HOME/secret"\n')
        tool.chmod(0o755)
        (home / "secret").write_text("pass/w@rd\n")
        environ["PATH"] = f"{tool.parent}:/usr/bin:/bin"
        settings = replace(
            settings, index_url=index.url.replace("://", "://me@"), keyring_provider="subprocess"
        )
    lock = resolvers(lines, resolver=resolver, settings=settings, environ=environ).lock
    assert lock.distributions[0].artifact.sha256 == sha256(wheels / f"private-1.0-{PURE}")
    assert "pass" not in repr(lock)


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ({"archive_info": {}}, "https://h.test/a-1.0.tar.gz?sig=x"),
        ({"vcs_info": {"vcs": "git", "commit_id": "0" * 40}}, "git+https://h.test/a-1.0.tar.gz"),
    ],
)
def test_what_pip_reports_is_believed_to_have_credentials(told: dict[str, object], url: str) -> None:
    """The releases of pip that are used take users away, not queries: an argument of git has neither."""
    info = {"url": "https://me:hunter2@h.test/a-1.0.tar.gz?sig=x", **told}
    assert reference_pip._artifact(info, direct=True)[0].url == url


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_credentials_that_lack(resolvers: Resolvers, wheels: Path, index: Index, resolver: Resolver) -> None:
    make_wheel(wheels, "private")
    index.password = ("me", "hunter2")
    wrong = index.url.replace("://", "://me:hunter3@")
    for url in (index.url, wrong):
        with pytest.raises(MachineError, match="the index wants credentials") as caught:
            resolvers("private\n", resolver=resolver, settings=IndexSettings(index_url=url, retries=0))
        assert ".netrc" in (caught.value.hint or "")
        assert "hunter3" not in caught.value.message


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_an_index_out_of_reach(resolvers: Resolvers, resolver: Resolver) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        with pytest.raises(MachineError, match="the index is out of reach"):
            resolvers("lib\n", resolver=resolver, settings=IndexSettings(index_url=url, retries=0))


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_repository_that_cannot_be_read(
    resolvers: Resolvers, world: World, tmp_path: Path, resolver: Resolver
) -> None:
    (tmp_path / "empty").mkdir()
    lines = f"gone @ git+file://{tmp_path}/empty@v1\n"
    with pytest.raises(MachineError, match="a repository could not be read"):
        resolvers(lines, resolver=resolver, settings=IndexSettings(index_url=world.index.url))


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_source_that_does_not_tell(
    resolvers: Resolvers, wheels: Path, index: Index, resolver: Resolver
) -> None:
    files = project("mute") | {"backend.py": "raise RuntimeError('no compiler here')\n", "PKG-INFO": ""}
    files["pyproject.toml"] = files["pyproject.toml"].partition("[project]")[0]
    make_sdist(wheels, "mute", files=files)
    with pytest.raises(MachineError, match="source to learn its requirements failed") as caught:
        resolvers("mute\n", resolver=resolver, settings=IndexSettings(index_url=index.url))
    assert "no compiler here" in caught.value.message


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_nothing_of_a_source_gets_out_while_it_is_asked_what_it_requires(
    resolvers: Resolvers, wheels: Path, index: Index, tmp_path: Path, resolver: Resolver
) -> None:
    """From an index, a URL, a folder and a repository; a build that finds or reaches anything fails."""
    outside, secret, store = tmp_path / "outside", tmp_path / ".netrc", resolvers.folder / "learned" / "v1"
    outside.mkdir()
    secret.write_text("machine h.test login me password s3cret")
    make_wheel(wheels, "leaf")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attack = f"""
import os, socket
found = [path for path in {list(map(str, (outside, secret, store)))!r} if os.path.exists(path)]
found += [name for name, value in os.environ.items() if {index.url!r} in value]
try:
    open({str(outside / "file")!r}, "w").close()
    found.append("written")
except OSError:
    pass
for address in ({server.getsockname()!r}, ("127.0.0.1", {urlsplit(index.url).port})):
    try:
        socket.create_connection(address, 2).close()
        found.append("reached")
    except OSError:
        pass
if found:
    raise SystemExit(f"out: {{found}}")
"""

        def bad(name: str) -> dict[str, str]:
            files = project(name, requires=("leaf",))
            files["backend.py"] = attack + files["backend.py"]
            # Nothing static: it has to be asked.
            files["pyproject.toml"] = files["pyproject.toml"].partition("[project]")[0]
            files["PKG-INFO"] = files["PKG-INFO"].replace("2.2", "2.1")
            return files

        make_sdist(wheels, "byindex", files=bad("byindex"))
        make_sdist(wheels, "byurl", files=bad("byurl"))
        write_project(tmp_path / "folder", bad("byfolder"))
        folder = write_project(tmp_path / "repository", bad("bygit"))
        for words in ("init -q", "add .", "commit -qm one"):
            git(folder, *words.split())
        at = index.url.replace("/simple", "/files")
        lines = f"byindex\n{at}/byurl-1.0.tar.gz\n{tmp_path}/folder\ngit+file://{tmp_path}/repository\n"
        lock = resolvers(lines, resolver=resolver, settings=IndexSettings(index_url=index.url)).lock
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not list(outside.iterdir())
    assert {dist.name for dist in lock.distributions} == {"byindex", "byurl", "byfolder", "bygit", "leaf"}
    asked = [line for line in resolvers.done if line.startswith("+")]
    assert len(asked) == 4, asked


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_source_speaks_for_itself_alone(
    resolvers: Resolvers, wheels: Path, index: Index, resolver: Resolver
) -> None:
    files = project("lib", "9.0", requires=("leaf",))
    files["pyproject.toml"] = files["pyproject.toml"].partition("[project]")[0]
    files["PKG-INFO"] = files["PKG-INFO"].replace("2.2", "2.1")
    make_sdist(wheels, "liar", files=files)
    make_wheel(wheels, "lib", "9.0")
    with pytest.raises(MachineError, match=r"liar.* says of itself that it is lib 9\.0"):
        resolvers("liar\nlib\n", resolver=resolver, settings=IndexSettings(index_url=index.url))
