"""What answers in the place of an index is told from a page of an index, however odd or empty that is."""

from __future__ import annotations

import pytest
from bundler.create.index_pages import Page
from bundler.create.resolve.foreign_page import names_without_files, why_none

URL = "https://index.test/simple/pack/"
JSON = "application/vnd.pypi.simple.v1+json"
ELSEWHERE = "https://login.test/authorize"
PASSWORD = "<form method=post><input name=user><input class=x type={}></form>"
REFRESH = '<meta http-equiv="{}" content="0;url={}">'
SCRIPT = "<div id=root></div><script src=/app.js></script>"
LINK = '<a href="../../files/pack-1.0-py3-none-any.whl">x</a>'


def answer(content: str, *, kind: str = "text/html", came_from: str = URL) -> Page:
    return Page(url=URL, sha256="0" * 64, kind=kind, content=content.encode(), came_from=came_from)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (answer(PASSWORD.format('"password"')), "a password"),
        (answer(PASSWORD.format("PASSWORD").upper()), "a password"),
        (answer(f"{PASSWORD.format('password')}<a href=/forgot>forgotten?</a>"), "a password"),
        (answer('<form><input type="hidden" name="SAMLRequest" value="x"></form>'), "SAML"),
        (
            answer(REFRESH.format("refresh", "/portal?from=x")),
            "sends a browser on to https://index.test/portal",
        ),
        (answer("<META CONTENT='1; URL=https://h.test/' HTTP-EQUIV=Refresh>"), "on to https://h.test/"),
        (answer(SCRIPT, came_from=ELSEWHERE), f"redirects to {ELSEWHERE}"),
        (answer("<form action=/go></form>", came_from="https://index.test/login/"), "redirects to"),
        (answer(SCRIPT), "JavaScript"),
        (answer("<main class=a id='app'> </main><SCRIPT>start()</SCRIPT>"), "JavaScript"),
        (
            answer("<noscript><p>Please enable <b>JavaScript</b>.</noscript><script src=/a></script>"),
            "JavaScript",
        ),
        (answer("it works", kind="text/plain"), "text/plain"),
        (answer("it works", kind=""), "no media type"),
        (answer("<html>", kind=JSON), "cannot be read"),
        (answer('{"error": "log in"}', kind=JSON), "cannot be read"),
    ],
)
def test_what_is_no_page_of_an_index(page: Page, reason: str) -> None:
    assert reason in why_none(page, "pack")


@pytest.mark.parametrize(
    "page",
    [
        answer(""),
        answer("<!DOCTYPE html><html><head><title>Links for pack</title></head><body></body></html>"),
        answer('{"meta": {"api-version": "1.0"}, "name": "pack", "files": []}', kind=JSON),
        answer('{"name": "pack", "files": []}', kind=JSON, came_from="https://cdn.test/blob/7"),
        # A listing with what people see: a search, a script of the server before it, a folder to upload to.
        answer(
            '<form><input type=search name=q></form><script src="/beacon.js"></script><a href="../">..</a>'
        ),
        answer("<form method=post enctype=multipart/form-data><input type=file name=f></form>"),
        # A list of links on a site with a form to log in.
        answer(PASSWORD.format("password") + LINK),
        answer(REFRESH.format("refresh", "/portal") + LINK),
        answer(SCRIPT + LINK, came_from=ELSEWHERE),
        answer(SCRIPT + LINK),
        answer(SCRIPT + '<a href="../">..</a>'),
        # Scripts that proxies and servers put into an empty page, and what is empty without one.
        answer('<!DOCTYPE html><html><body><script src="/beacon.js"></script></body></html>'),
        answer("<h1>Links for pack</h1><script>track()</script><noscript><img src=/pixel></noscript>"),
        answer("<noscript><img src=/pixel></noscript><script>track()</script><p>Pages about JavaScript</p>"),
        answer('<div class="links"></div><script src="/beacon.js"></script><div id=x>no files</div>'),
        answer("<div id=links></div>"),
        answer(PASSWORD.format("password") + '<a href="x/pack-1.0.tar.gz#md5=1">x</a>'),
        # A page that loads itself again, and what is no refresh.
        answer(f'<meta http-equiv="refresh" content="60">{REFRESH.format("refresh", "")}'),
        answer(REFRESH.format("refresh", URL)),
        answer('<meta name="description" content="refresh; url=/x">'),
        # Redirections of real indexes: to the normal name, another host, a file; to a store of blobs.
        answer("<script></script>", came_from="https://mirror.test/pypi/simple/Pack/index.html"),
        answer("<html></html>", came_from="https://blobs.test/ab/abcdef"),
        # Words alone say nothing.
        answer("<h1>password, login, SAMLRequest</h1><p title=password>"),
        Page(url=URL, sha256=""),
    ],
)
def test_a_page_of_an_index_may_be_odd_and_empty(page: Page) -> None:
    assert why_none(page, "pack") == ""


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("Because pack was not found in the package registry and you require pack", ["pack"]),
        ("Because Pack_it[more,extras] was not found in the provided package locations", ["pack-it"]),
        ("Because there are no versions of pack and there is no version of other==1.0", ["pack", "other"]),
        ("ERROR: No matching distribution found for pack>=2", ["pack"]),
        ("Because only pack<=1.0 is available and you require pack>=2", []),
    ],
)
def test_names_of_which_no_file_was_found(said: str, names: list[str]) -> None:
    assert names_without_files(said) == names


def test_a_page_of_links_may_come_from_anywhere() -> None:
    assert why_none(answer("<script></script>", came_from=ELSEWHERE), None) == ""
    assert why_none(answer(PASSWORD.format("password"), came_from=ELSEWHERE), None)


def test_no_query_and_no_password_of_a_page_is_told() -> None:
    """Where a page sends a browser stands a session, or what it may be traded for."""
    page = answer(REFRESH.format("refresh", "https://me:secret@h.test/x?code=secret#token=secret"))
    assert "secret" not in why_none(page, "pack")
