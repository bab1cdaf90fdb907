"""Secrets in texts and URLs, and which address is asked with which credentials."""

from __future__ import annotations

import time

import pytest
from bundler.errors import InputError
from bundler.system import redact
from bundler.system.address import Address, nearest

TEXTS = [
    ("git+https://tok:p@ss@host/x.git@v1#egg=a", "git+https://****@host/x.git@v1#egg=a"),
    ("https://u:p/w@host/a?sig=1", "https://****@host/a?****"),
    ("https://u:p?w@host/x", "https://****@host/x"),
    ("https://u:p'w@host/x", "https://****@host/x"),
    ("see https://h/x?sig=abc#sha256=1 and", "see https://h/x?****#sha256=1 and"),
    ("ssh://git@h/x git+ssh://git:pw@h/x", "ssh://git@h/x git+ssh://****@h/x"),
    ("https://h:8080/x.git@v1 [::1]:80", "https://h:8080/x.git@v1 [::1]:80"),
    ("'https://a:b@c/d', \"https://e@f\"", "'https://****@c/d', \"https://****@f\""),
    ("x=http://a:b@c,http://d:e@f,ssh://git@h", "x=http://****@c,http://****@f,ssh://git@h"),
    ("https://h/p?next=https://x/y&sig=SECRET z", "https://h/p?**** z"),
    ("http://[ and ://u:p@h", "http://[ and ://****@h"),
    ("file:///a/b@c me@example.com a://b", "file:///a/b@c me@example.com a://b"),
    ("https://h/x.whl#token=T&sha256=1", "https://h/x.whl#****&sha256=1"),
    ("git+https://h/r@v1#egg=a[b]&subdirectory=c", "git+https://h/r@v1#egg=a[b]&subdirectory=c"),
    ("see https://h/x#an-anchor,", "see https://h/x#an-anchor,"),
    # As urllib3 and servers' logs have it.
    ("Max retries exceeded with url: /x?sig=S (Caused", "Max retries exceeded with url: /x?**** (Caused"),
    ('"GET /x?sig=S HTTP/1.1" 200', '"GET /x?**** HTTP/1.1" 200'),
    ("/a/b? /c", "/a/b? /c"),
    # As a path.
    ("https:/u:p@h/env.yml: No such file", "https://****@h/env.yml: No such file"),
    ("file:/x a:/b", "file:/x a:/b"),
]


@pytest.mark.parametrize(("text", "shown"), TEXTS)
def test_texts(text: str, shown: str) -> None:
    assert redact.text(text) == shown
    assert redact.text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "x /" + "/" * 300_000,
        "/?" * 90_000,
        "http:/" * 60_000,
        "https://h/#" + "a=&" * 90_000,
        "://" * 30_000,
        "http://a@" * 30_000,
        "a?b://c?" * 30_000,
        "x://" + "a:b@" * 90_000,
    ],
)
def test_long_texts_take_linear_time(text: str) -> None:
    began = time.process_time()
    redact.text(text)
    assert time.process_time() - began < 3


def test_remembered_secrets_are_found_wherever_they_stand() -> None:
    redact.remember("https://me:hunter%2F22@host/x", "https://host/y?sig=SIG%2BNATURE&v=1", "https://h/x")
    redact.remember("https://you:hunter33@host/x#token=fragment-secret")
    assert redact.text("fragment-secret Basic eW91Omh1bnRlcjMz") == "**** Basic ****"
    said = redact.text("hunter/22 hunter%2F22 SIG+NATURE sig=SIG%2BNATURE /x me v=1")
    assert said == "**** **** **** sig=**** /x me v=1"


@pytest.mark.parametrize(
    ("url", "shown", "credentials"),
    [
        ("https://u:p%40@h/x?y#z", "https://h/x#z", ("u", "p@")),
        ("https://h/x#sha256=1&token=2", "https://h/x#sha256=1", None),
        ("https://t@h", "https://h", ("t", "")),
        ("https://h/x", "https://h/x", None),
        ("ssh://git@h/x", "ssh://git@h/x", None),
        ("/a/b@c", "/a/b@c", None),
        ("http://[", "http://[", None),
    ],
)
def test_address(url: str, shown: str, credentials: tuple[str, str] | None) -> None:
    address = Address(url)
    assert (str(address), address.credentials) == (shown, credentials)
    assert repr(address) == "Address()"
    assert address.without_user == url.replace("u:p%40@", "").replace("//t@", "//")


@pytest.mark.parametrize("url", ["http://[", "http://h:port/", "http://", "https://a b/", "https://h/\0"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is not a URL"):
        Address(url).check(where="--index-url")


@pytest.mark.parametrize(
    "url", ["https://h:1/x", "file:///x", "git+file:///x", "git+ssh://git@h:o/r", "http://[::1]/"]
)
def test_what_is_a_url(url: str) -> None:
    Address(url).check(where="here")


KNOWN = [
    Address("https://a:1@host/feed-a/simple/"),
    Address("https://b:2@host/feed-b/simple/"),
    Address("https://c:3@host:8443/"),
    Address("http://d:4@plain/simple/"),
    Address("https://none/simple/"),
]


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("https://host/feed-a/files/x.whl", "a"),
        ("https://HOST:443/feed-b/simple/x/", "b"),
        ("https://host/files/x.whl", None),
        ("https://host/feed-ab/x", None),
        ("https://host:8443/feed-a/x", "c"),
        ("http://host/feed-a/x", None),
        ("http://plain/files/x", "d"),
        ("http://plain:80/", "d"),
        ("https://plain/files/x", None),
        ("https://none/x", None),
        ("https://host.evil/feed-a/x", None),
        ("https://host/feed-b/../feed-a/x.whl", "a"),
        ("https://host/feed-b/%2E%2e/./feed-a/x.whl", "a"),
        ("https://host/feed-b/../x.whl", None),
    ],
)
def test_credentials_belong_to_scheme_host_port_and_path(url: str, user: str | None) -> None:
    found = nearest(url, KNOWN)
    assert (found.credentials[0] if found and found.credentials else None) == user
