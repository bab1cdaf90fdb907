"""Whatever a file from outside holds, its reader returns a value or an error that says what to do."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import tomli_w
from bundler.bundle import lock
from bundler.errors import EnvbundleError
from bundler.formats import checking
from bundler.system import redact
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scripts.attacks.readers import Reader, seeds

from tests.support.bundlemaker import lock as make_lock
from tests.support.bundlemaker import locked, target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import DataObject, SearchStrategy

Known = tuple[bytes, str, Reader]
"""A good content, the name of its file, and what reads it."""
FEW = settings(max_examples=25, derandomize=True, database=None, deadline=None)
MANY = settings(FEW, max_examples=400, suppress_health_check=list(HealthCheck))
TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("", "..", "/", "../x", "a" * 5000, "\x1b[2J", "\0", "-", "1.0", "é"),
            *("http://[", "https://u:p@h/x?sig=1"),
        ]
    ),
)
SCALAR = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(), TEXT)


def _nested(values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.recursive(
        values,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    )


JSON, TOML = _nested(SCALAR | st.none() | st.just(2**70)), _nested(SCALAR)
LINE = st.one_of(
    TEXT,
    st.sampled_from(
        [
            *("alpha==1", "-r x", "-c ../x", "-e .", "--hash=sha256:", "-i https://h/", "; python_version"),
            *("\\", "[console_scripts]", "x = a:b [c]", "=", "alpha,sha256=,", "../../x,,", '"a",sha256=x,1'),
            *('namespaces="', "ssh-ed25519 AAAA", "<a href=", "<!--", "<base href=//h>", "data-yanked"),
        ]
    ),
)
NAME = st.one_of(
    TEXT.filter(lambda text: "\0" not in text),
    st.sampled_from(
        ["../x", "/etc/x", "a/../../x", "lib", "lib/", "manifest.json", ".", "a//b", "a\\b", "C:x"]
    ),
)
MEMBERS = st.lists(
    st.tuples(NAME, st.binary(max_size=50), st.sampled_from([0o644, 0o777, 0o120777, 0o104755, 0o40755, 0])),
    max_size=5,
)
KINDS = st.lists(
    st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]),
    max_size=5,
)
DOCUMENTS = (
    *("manifest", "json", "requirements", "lock", "profile", "entry points", "page-json", "page-html"),
    *("redact", "oci index", "envbundle.toml", "record", "RECORD", "signers"),
)


@pytest.fixture(scope="session")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Known]:
    """Those of `scripts/attack fuzz`, with what they read."""
    return seeds(tmp_path_factory.mktemp("readers"))


def answers(known: Known, content: bytes, folder: Path) -> None:
    """Require that a reader has an answer."""
    _, filename, read = known
    path = folder / filename
    path.write_bytes(content)
    with contextlib.suppress(EnvbundleError):
        read(path)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where values stand in a document."""
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, list | dict):
        members = enumerate(value) if isinstance(value, list) else value.items()
    return [place, *(one for key, inner in members for one in places(inner, (*place, key)))]


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Return a document with another value at a place."""
    if not place:
        return new
    key, *rest = place
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    copy[key] = replaced(value[key], tuple(rest), new)
    return copy


def changed(data: DataObject, good: Any, values: SearchStrategy[Any]) -> Any:
    """Return a document in which some values are others."""
    for _ in range(data.draw(st.integers(1, 3))):
        good = replaced(good, data.draw(st.sampled_from(places(good))), data.draw(values))
    return good


def tried(known: Known, data: DataObject) -> bytes:
    """Draw a content, by what is read."""
    good, filename, _ = known
    if good.startswith(b"{"):
        return json.dumps(changed(data, json.loads(good), JSON)).encode("utf-8", "surrogatepass")
    if filename.endswith(".toml"):
        document = changed(data, lock.parse_toml(good.decode(), where=filename), TOML)
        return tomli_w.dumps(document if isinstance(document, dict) else {}).encode("utf-8", "replace")
    lines = good.decode().splitlines()
    at = data.draw(st.integers(0, len(lines)))
    more = data.draw(st.lists(LINE, max_size=4))
    return "\n".join([*lines[:at], *more, *lines[at:]]).encode("utf-8", "replace")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_has_an_answer(readers: dict[str, Known], tmp_path: Path, name: str) -> None:
    @FEW
    @given(st.data())
    def check(data: DataObject) -> None:
        answers(readers[name], tried(readers[name], data), tmp_path)

    check()


@pytest.mark.thorough
@pytest.mark.parametrize("name", DOCUMENTS)
def test_many_of_every_document(readers: dict[str, Known], tmp_path: Path, name: str) -> None:
    @MANY
    @given(st.data())
    def check(data: DataObject) -> None:
        answers(readers[name], tried(readers[name], data), tmp_path)

    check()


def zipped(members: list[tuple[str, bytes, int]]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, content, mode in members:
            info = zipfile.ZipInfo(name or "x")
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return stream.getvalue()


def tarred(members: list[tuple[str, bytes, int]], kinds: list[bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for (name, content, mode), kind in zip(members, kinds, strict=False):
            info = tarfile.TarInfo(name or "x")
            info.size, info.mode, info.type, info.linkname = len(content), mode, kind, "../../etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_a_wheel_of_any_members(readers: dict[str, Known], tmp_path: Path) -> None:
    @settings(FEW, max_examples=60)
    @given(MEMBERS)
    @example([("../x", b"", 0o644)])
    def check(members: list[tuple[str, bytes, int]]) -> None:
        answers(readers["wheel"], zipped(members), tmp_path)

    check()
    assert [path.name for path in tmp_path.iterdir()] == [readers["wheel"][1]]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_any_members_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"

    @settings(FEW, max_examples=60)
    @given(MEMBERS, KINDS)
    def check(members: list[tuple[str, bytes, int]], kinds: list[bytes]) -> None:
        path.write_bytes(tarred(members, kinds) if kind == "tar.gz" else zipped(members))
        with pytest.raises(EnvbundleError):
            checking.check(path, kind=kind)

    check()


SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=30)


@settings(FEW, max_examples=200)
@given(
    SECRET,
    st.sampled_from(["https://me:{}@h.test/simple", "git+https://{}@h.test/x.git", "https://h/x?sig={}"]),
)
def test_no_secret_is_printed(secret: str, url: str) -> None:
    shown = redact.text(f"cannot fetch {url.format(quote(secret, safe=''))}: 403")
    assert quote(secret, safe="") not in shown
    assert "403" in shown


PART = st.from_regex(r"[a-z][a-z0-9]{0,10}(-[a-z0-9]{1,5}){0,2}", fullmatch=True)
VERSION = st.from_regex(r"[1-9][0-9]{0,3}(\.[1-9][0-9]{0,2}){0,3}((a|b|rc)[0-9])?", fullmatch=True)


@FEW
@given(st.dictionaries(PART, VERSION, min_size=1, max_size=8))
def test_a_lock_is_read_as_it_was_written(versions: dict[str, str]) -> None:
    made = []
    for name, version in versions.items():
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        one = locked(name, version, url=f"https://h.test/{file}")
        made.append(replace(one, artifact=replace(one.artifact, filename=file)))
    written = lock.to_pylock(make_lock(*made))
    folder = Path(mkdtemp())
    try:
        (folder / "pylock.toml").write_text(written)
        assert lock.to_pylock(lock.read_lock(folder / "pylock.toml", target())) == written
    finally:
        shutil.rmtree(folder)
