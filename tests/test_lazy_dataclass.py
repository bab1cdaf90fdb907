"""`bundler.lazy_dataclass` gives what the standard library's decorator gives."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import threading
from dataclasses import FrozenInstanceError, field, fields, replace
from typing import Any

import pytest
from bundler import lazy_dataclass


def _define(dataclass: Any) -> dict[str, Any]:
    @dataclass(frozen=True, kw_only=True)
    class Empty:
        """Nothing."""

    @dataclass(frozen=True, kw_only=True)
    class Base:
        """One that is required."""

        name: str

    @dataclass(frozen=True, kw_only=True)
    class Value(Base):
        """Fields of every kind."""

        size: int = 3
        rows: list[str] = field(default_factory=list)
        told: str = field(default="", repr=False, compare=False)
        key: tuple[int, ...] = field(default=(), hash=False)
        checked: list[str] = field(default_factory=list, compare=False, repr=False)

        def __post_init__(self) -> None:
            self.checked.append(self.name)

        @functools.cached_property
        def long(self) -> str:
            """Kept beside the fields."""
            return self.name * self.size

    @dataclass(frozen=True, kw_only=True)
    class Own:
        """Methods of its own."""

        name: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.name.lower() == other.name.lower()

        def __hash__(self) -> int:
            return hash(self.name.lower())

        def __repr__(self) -> str:
            return "own"

    class Plain(Base):
        """Not decorated."""

    return {"Empty": Empty, "Base": Base, "Value": Value, "Own": Own, "Plain": Plain}


LAZY, ORIGINAL = _define(lazy_dataclass.dataclass), _define(dataclasses.dataclass)
BOTH = pytest.mark.parametrize("known", [LAZY, ORIGINAL], ids=["lazy", "original"])


@lazy_dataclass.dataclass(frozen=True, kw_only=True)
class Stored:
    """It travels."""

    name: str


@BOTH
def test_what_it_holds(known: dict[str, Any]) -> None:
    value = known["Value"](name="six", size=2)
    assert (value.name, value.size, value.rows, value.told, value.checked) == ("six", 2, [], "", ["six"])
    assert value.rows is not known["Value"](name="six").rows
    assert value.long == "sixsix"
    assert list(vars(value)) == ["name", "size", "rows", "told", "key", "checked", "long"]
    assert [one.name for one in fields(known["Value"])] == [one.name for one in fields(value)]
    assert dataclasses.asdict(known["Plain"](name="x")) == {"name": "x"}


@BOTH
@pytest.mark.parametrize(
    ("name", "values"),
    [("Value", {}), ("Value", {"name": "a", "nme": "b"}), ("Empty", {"name": "a"}), ("Base", {})],
)
def test_wrong_words(known: dict[str, Any], name: str, values: dict[str, str]) -> None:
    with pytest.raises(TypeError, match=rf"{name}\.__init__\(\) (missing|got an unexpected)"):
        known[name](**values)
    with pytest.raises(TypeError, match="positional"):
        known[name]("a")


@BOTH
def test_compared(known: dict[str, Any]) -> None:
    make, base = known["Value"], known["Base"]
    assert make(name="a", told="x") == make(name="a", told="y")
    assert make(name="a") != make(name="b")
    assert make(name="a") != base(name="a")
    assert base(name="a") != known["Plain"](name="a")
    assert (make(name="a") == 1) is False
    assert known["Empty"]() == known["Empty"]()
    assert len({base(name="a"), base(name="a"), base(name="b")}) == 2
    assert len({known["Own"](name="A"), known["Own"](name="a")}) == 1
    key = known["Value"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(key(name="a"))


@BOTH
def test_printed(known: dict[str, Any]) -> None:
    value = known["Value"](name="a", rows=["b"], told="secret")
    assert repr(value) == "_define.<locals>.Value(name='a', size=3, rows=['b'], key=())"
    assert repr(known["Empty"]()).endswith("Empty()")
    assert repr(known["Own"](name="a")) == "own"
    value.rows.append(value)
    assert "..." in repr(value)


@BOTH
@pytest.mark.parametrize("name", ["name", "other"])
def test_never_changed(known: dict[str, Any], name: str) -> None:
    value = known["Base"](name="a")
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "b")
    with pytest.raises(FrozenInstanceError):
        delattr(value, name)
    assert replace(value, name="b").name == "b"
    assert value.name == "a"


def test_travels() -> None:
    value = Stored(name="six")
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value


def test_first_values_at_the_same_time() -> None:
    known = _define(lazy_dataclass.dataclass)["Value"]
    start = threading.Barrier(8)
    made: list[Any] = []

    def make(number: int) -> None:
        start.wait()
        made.append(known(name=str(number)))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.name for one in made) == [str(number) for number in range(8)]


def test_no_method_is_compiled_before_a_value_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[type] = []

    def compile_init(cls: type) -> Any:
        compiled.append(cls)
        return _set

    monkeypatch.setattr(lazy_dataclass, "_compiled_init", compile_init)
    known = _define(lazy_dataclass.dataclass)
    assert compiled == []
    known["Base"](name="a")
    known["Base"](name="b")
    assert compiled == [known["Base"]]


def _set(self: object, **values: object) -> None:
    vars(self).update(values)


def test_others_are_the_original() -> None:
    @lazy_dataclass.dataclass(kw_only=True)
    class Changing:
        name: str

    value = Changing(name="a")
    value.name = "b"
    assert value == Changing(name="b")
    assert Changing.__hash__ is None
