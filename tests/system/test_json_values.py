"""Values read by the types of their fields: what is sound round-trips, and what is not names its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pytest
from bundler.errors import InputError
from bundler.system.json_values import Value, as_json, from_json, load, parse

if TYPE_CHECKING:
    from collections.abc import Mapping


class Row(NamedTuple):
    """Stands in JSON as an array."""

    path: Annotated[str, Value.path]
    size: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """A value in another."""

    sha256: Annotated[str, Value.sha256]
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A field of each type."""

    name: Annotated[str, "[a-z]+"]
    kind: Literal["wheel", "sdist"]
    seconds: int
    folder: Path
    sound: bool
    reason: str | None
    names: frozenset[str] = frozenset()
    parts: Mapping[Annotated[str, r"\w+"], Part] | None = None


SHA256 = "0" * 64
WHOLE: dict[str, Any] = {
    "name": "numpy",
    "kind": "wheel",
    "seconds": 2,
    "folder": "/a/b",
    "sound": True,
    "reason": None,
    "names": ["a", "b"],
    "parts": {"x": {"sha256": SHA256, "rows": [["lib/x.py", 3]]}},
}


def read(content: object, *, exact: bool = False) -> Whole:
    return from_json(Whole, parse(json.dumps(content).encode(), source="a.json"), exact=exact)


def test_a_value_survives_the_round_trip() -> None:
    whole = read(WHOLE, exact=True)
    assert whole.parts == {"x": Part(sha256=SHA256, rows=(Row("lib/x.py", 3),))}
    assert (whole.names, whole.reason, whole.folder) == (frozenset({"a", "b"}), None, Path("/a/b"))
    assert as_json(whole) == WHOLE


def test_only_an_exact_reader_wants_every_member_and_no_other() -> None:
    least = {name: WHOLE[name] for name in ("name", "kind", "seconds", "folder", "sound", "reason")}
    assert read({**least, "later": 1}).parts is None
    with pytest.raises(InputError, match=r"^a\.json: has a member 'later'"):
        read({**WHOLE, "later": 1}, exact=True)
    with pytest.raises(InputError, match=r"^a\.json: lacks 'names'"):
        read(least, exact=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 1}, "name: must be a string"),
        ({"name": "Numpy"}, r"name: 'Numpy' is not of the form \[a-z\]\+"),
        ({"kind": "egg"}, "kind: must be one of wheel, sdist"),
        ({"seconds": -1}, "seconds: must be a whole number of at least 0"),
        ({"seconds": True}, "seconds: must be a whole number"),
        ({"folder": "a"}, "folder: 'a' is not of the form"),
        ({"sound": 1}, "sound: must be true or false"),
        ({"names": "a"}, "names: must be an array"),
        ({"names": ["a", 1]}, r"names\[1\]: must be a string"),
        ({"parts": []}, "parts: must be an object"),
        ({"parts": {"a b": {}}}, "parts: 'a b' is not of the form"),
        ({"parts": {"x": {"sha256": "0"}}}, r"parts\.x\.sha256: must be a sha256"),
        ({"parts": {"x": {"sha256": SHA256, "rows": [["x"]]}}}, r"rows\[0\]: must be \[path, size\]"),
        ({"parts": {"x": {"sha256": SHA256, "rows": [["../x", 1]]}}}, r"rows\[0\]\[0\]: '\.\./x' leaves"),
        ({"parts": {"x": {"sha256": SHA256, "rows": [["x", 1.5]]}}}, r"rows\[0\]\[1\]: must be a whole"),
        ({"parts": {"x": {}}}, r"parts\.x: lacks 'sha256'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.json: .*{words}"):
        read({**WHOLE, **change})


def test_a_document_says_its_kind_and_version() -> None:
    head = {"kind": "envbundle-x", "schema_version": "1.7"}
    Value(raw=head, source="a").require_kind("envbundle-x")
    for wrong, words in (
        ({"kind": "other"}, "kind: is not 'envbundle-x'"),
        ({"schema_version": "2.0"}, "schema_version: is not one"),
        ({"schema_version": "1"}, "schema_version: '1' is not of the form"),
    ):
        with pytest.raises(InputError, match=words):
            Value(raw={**head, **wrong}, source="a").require_kind("envbundle-x")


@pytest.mark.parametrize("data", [b"{", b"NaN", b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.json: is not sound JSON"):
        load(path)


def test_a_file_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[1]")
    assert load(path, limit=3).raw == [1]
    with pytest.raises(InputError, match="larger than 2 bytes"):
        load(path, limit=2)
