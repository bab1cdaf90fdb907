"""Pages of an index: the files that may be fetched on their word, and what no page can bring about."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bundler.create import index_pages
from bundler.create.index_pages import Page
from packaging.specifiers import SpecifierSet

URL = "https://index.test/simple/pack/"
DIGEST = "a" * 64
WHEEL = "pack-1.0-py3-none-any.whl"
JSON = "application/vnd.pypi.simple.v1+json"


def page(content: str | bytes, kind: str = "text/html", url: str = URL) -> Page:
    data = content.encode() if isinstance(content, str) else content
    return Page(url=url, sha256="", kind=kind, content=data)


def rows(*found: Any) -> Page:
    return page(json.dumps({"meta": {"api-version": "1.1"}, "name": "pack", "files": list(found)}), JSON)


def row(**changes: Any) -> dict[str, Any]:
    whole = {"filename": WHEEL, "url": f"https://files.test/{WHEEL}", "hashes": {"sha256": DIGEST}}
    return {**whole, **changes}


def test_json_and_html_say_the_same() -> None:
    found = rows(row(size=7, **{"requires-python": ">=3.8,<4"}))
    attributes = f'HREF="https://files.test/{WHEEL}#sha256={DIGEST}" data-requires-python="&gt;=3.8,&lt;4"'
    link = f'<A class="x" {attributes}>'
    for kind in ("text/html", "application/vnd.pypi.simple.v1+html"):
        (plain,) = index_pages.files(page(f"<!DOCTYPE html><h1>x</h1>{link}{WHEEL}</A>", kind))
        (one,) = index_pages.files(found)
        assert one.size == 7
        assert plain.size is None
        assert {**vars(one), "size": None} == vars(plain)
        assert plain.requires_python == ">=3.8,<4"


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        (f"../../files/{WHEEL}", f"https://index.test/files/{WHEEL}"),
        (f"/f/{WHEEL}", f"https://index.test/f/{WHEEL}"),
        (f"//cdn.test/{WHEEL}", f"https://cdn.test/{WHEEL}"),
        (WHEEL, URL + WHEEL),
    ],
)
def test_relative_urls(url: str, absolute: str) -> None:
    assert [one.url for one in index_pages.files(rows(row(url=url)))] == [absolute]
    for quoted in (f'"{url}#sha256={DIGEST}"', f"'{url}#sha256={DIGEST}'"):
        assert [one.url for one in index_pages.files(page(f"<a href={quoted}>x</a>"))] == [absolute]


@pytest.mark.parametrize(
    "bad",
    [
        row(hashes={}),
        row(hashes={"md5": "a" * 32}),
        row(hashes={"sha256": "A" * 64}),
        row(hashes={"sha256": "a" * 63}),
        row(hashes={"sha256": 7}),
        row(hashes=None),
        row(filename="../../pack-1.0-py3-none-any.whl"),
        row(filename="pack-1.0-py3-none-any./../x.whl"),
        row(filename="pack-1.0-py3-none-any\0.whl"),
        row(filename=""),
        row(filename=None),
        row(url=None),
        row(url=f"file:///etc/{WHEEL}"),
        row(url=f"ftp://files.test/{WHEEL}"),
        row(url=f"http://files.test/{WHEEL}"),
        row(url="data:,x"),
        row(url="http://[x"),
        [],
        None,
        "x",
    ],
)
def test_files_that_are_left_out(bad: Any) -> None:
    assert [
        one.filename for one in index_pages.files(rows(bad, row(filename="good-1.0-py3-none-any.whl")))
    ] == ["good-1.0-py3-none-any.whl"]


def test_only_what_is_wanted_is_read() -> None:
    other = row(filename="other-1.0-py3-none-any.whl")
    for found in (rows(row(), other), page(f'<a href="/f/{WHEEL}#sha256={DIGEST}"><a href="/f/other">')):
        assert [one.filename for one in index_pages.files(found, {WHEEL, "x"}.__contains__)] == [WHEEL]
        assert not [*index_pages.files(found, "x".__eq__)]


def test_plain_http_is_left_where_it_is() -> None:
    plain = page(f'<a href="/f/{WHEEL}#sha256={DIGEST}">', url="http://index.test/simple/pack/")
    assert [one.url for one in index_pages.files(plain)] == [f"http://index.test/f/{WHEEL}"]
    assert not [*index_pages.files(page(f'<a href="http://index.test/f/{WHEEL}#sha256={DIGEST}">'))]


@pytest.mark.parametrize(
    "nothing",
    [
        page("{", JSON),
        page("[" * 200_000, JSON),
        page("[]", JSON),
        page('{"files": {"a": 1}}', JSON),
        page(b"\xff\xfe\x00", JSON),
        page(b"\xff\xfe<a href", "text/html"),
        page("<a href='x><a ' href><a", "text/html"),
        page("<![x <!DOCTYPE [ <![CDATA[", "text/html"),
        page(f'<a href="{"x" * 9000}#sha256={DIGEST}">', "text/html"),
        page(f'<a data-href="/{WHEEL}#sha256={DIGEST}">', "text/html"),
        page(f'<a href="/{WHEEL}#md5={"a" * 32}">', "text/html"),
        page(f'<a href="/{WHEEL}">', "text/html"),
        page(json.dumps({"files": [row()]}), "application/json"),
    ],
)
def test_pages_that_tell_nothing(nothing: Page) -> None:
    assert [*index_pages.files(nothing)] == []


def test_a_huge_page_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(row())
    assert len([*index_pages.files(found)]) == 1
    monkeypatch.setattr(index_pages, "LIMIT", len(found.content) - 1)
    assert [*index_pages.files(found)] == []


@pytest.mark.parametrize(
    "found",
    [page(b'{"files": [' + b"{}," * 500_000 + b"{}]}", JSON), page("<a " * 20_000)],
    ids=["json", "html"],
)
def test_no_page_takes_many_times_its_size(found: Page) -> None:
    tracemalloc.start()
    try:
        assert [*index_pages.files(found)] == []
        assert index_pages.project_status(found) == ("", "")
        index_pages.with_hashes_seen(found)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(found.content)
    finally:
        tracemalloc.stop()


def test_a_page_of_thirty_thousand_files_is_read() -> None:
    """With all that an index tells of a file today, and commas in its specifier."""
    digests = {"sha256": DIGEST}
    told = {"core-metadata": digests, "data-dist-info-metadata": digests, "size": 7, "yanked": False}
    told |= {"provenance": "https://index.test/p", "requires-python": "!=3.0.*,!=3.1.*,!=3.2.*,<4,>=2.7"}
    one = json.dumps(row(**told, **{"upload-time": "2024-01-01T00:00:00Z", "gpg-sig": False}))
    found = page(
        f'{{"project-status": {{"status": "archived"}}, "files": [{",".join([one] * 30_000)}]}}', JSON
    )
    assert sum(1 for _ in index_pages.files(found, lambda name: name != WHEEL)) == 0
    assert index_pages.project_status(found) == ("archived", "")


def test_one_page_at_a_time_is_parsed() -> None:
    entered, found = threading.Semaphore(1), rows(row(), row())

    def alone(_: str) -> bool:
        assert entered.acquire(blocking=False), "two threads parse at once"
        time.sleep(0.02)
        entered.release()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(lambda _: len([*index_pages.files(found, alone)]), range(4))] == [2] * 4


@pytest.mark.thorough
@pytest.mark.parametrize(
    "piece", ["<a ", "<a '", '<a x="', "<a href=", "<a href='", f"<a href='{'x ' * 2000}"]
)
def test_no_page_takes_long(piece: str) -> None:
    started = time.process_time()
    assert [*index_pages.files(page(piece * (2_000_000 // len(piece))))] == []
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("found", "hashes"),
    [
        (rows(row(), row(hashes={"sha512": "b" * 128})), True),
        (rows(row(), row(hashes={})), False),
        (rows(row(), row(hashes={"md5": "a" * 32})), False),
        (rows(row(), []), False),
        (rows(), True),
        (page("{", JSON), False),
        (page(f'<a href="{WHEEL}#sha256={DIGEST}">x</a><a href="{WHEEL}#egg=x&amp;sha384={DIGEST}">'), True),
        (page(f'<a href="{WHEEL}#sha256={DIGEST}">x</a><a href="{WHEEL}">'), False),
        (page(f'<a href="{WHEEL}#sha256={DIGEST}">x</a><a/href="{WHEEL}">'), False),
        (page(f'<a href="{WHEEL}#md5={"a" * 32}">'), False),
        (page(f'<a {"x" * 9000} href="{WHEEL}#sha256={DIGEST}">'), False),
        (page(f'<a href="{WHEEL}#sha256={DIGEST}">', "text/plain"), False),
    ],
)
def test_pages_that_name_a_hash_of_every_file(found: Page, *, hashes: bool) -> None:
    assert index_pages.with_hashes_seen(found).hashes is hashes


def listed(*names: str, requires_python: str = "") -> Page:
    return rows(*(row(filename=name, **{"requires-python": requires_python}) for name in names))


@pytest.mark.parametrize(
    ("pin", "names", "chosen"),
    [
        ("==1.0", ["1.0-py3-none-any.whl", "1.1-py3-none-any.whl"], ["1.0-py3-none-any.whl"]),
        ("==1.0", ["1-py3-none-any.whl", "1.0.post1-py3-none-any.whl"], ["1-py3-none-any.whl"]),
        ("==1.0", ["1.0-py3-none-any.whl", "1.0+cpu-py3-none-any.whl"], ["1.0+cpu-py3-none-any.whl"]),
        ("==1.0rc1", ["1.0rc1-py3-none-any.whl"], ["1.0rc1-py3-none-any.whl"]),
        ("==1.0", ["1.0.tar.gz", "1.0-py3-none-any.exe", "1.0-x.whl", "1.0.whl"], []),
        ("==1.0", ["x-py3-none-any.whl", "1.0-1-py3-none-any.whl"], ["1.0-1-py3-none-any.whl"]),
    ],
)
def test_wheels_of_a_pin(pin: str, names: list[str], chosen: list[str]) -> None:
    found, _ = index_pages.wheels(
        listed(*(f"pack-{name}" for name in names)), specifier=SpecifierSet(pin), python_version="3.8.18"
    )
    assert [one.filename for one in found] == [f"pack-{name}" for name in chosen]


@pytest.mark.parametrize(
    ("requires", "count"), [(">=3.9", 0), (">=3.7, !=3.8.1", 1), ("", 1), ("nonsense", 1)]
)
def test_the_python_that_a_file_wants(requires: str, count: int) -> None:
    one = listed(WHEEL, requires_python=requires)
    found, others = index_pages.wheels(one, specifier=SpecifierSet("==1.0"), python_version="3.8.18")
    assert len(found) == count
    assert others == ({WHEEL} if not count else set())
    assert others == set(index_pages.for_other_pythons(one, [WHEEL], python_version="3.8.18"))
