"""Parcels and moments of which an attacker, or bad luck, would roll a shelf back or take its signatures."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from bundler.ontarget import load
from bundler.ontarget.new_bundle import workplace

from tests.support.archivemaker import tree
from tests.support.parcelmaker import NAME, loaded, make_key, put, rules_of, save, sign, take_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bundler.ontarget.signatures import Rules

    from tests.support.parcelmaker import Forger

DSSE = "signatures/provenance.sigstore.json"


class Site:
    """A folder with two signed builds, each in a parcel of its own, and a shelf that has loaded both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = make_key(folder / "key")
        self.shelf = folder / "shelf"
        self.first = put(folder / "here", 1, key=self.key).build
        save(folder / "here", folder / "old")
        self.second = put(folder / "here", 3, key=self.key).build
        save(folder / "here", folder / "new")
        for parcel in ("old", "new"):
            assert loaded(folder / parcel, self.shelf, self.rules)["ok"]

    def copy_to(self, folder: Path) -> Site:
        other = object.__new__(Site)
        shutil.copytree(self.folder, folder, symlinks=True)
        other.__dict__.update(self.__dict__, folder=folder, shelf=folder / "shelf")
        return other

    @property
    def rules(self) -> Rules:
        return rules_of(self.key)

    @property
    def signatures(self) -> Path:
        """Of the current build."""
        return self.shelf / NAME / "builds" / f"{self.second}.signatures"

    def current(self) -> str:
        return os.readlink(self.shelf / NAME / "current").removeprefix("builds/")  # noqa: PTH115 - its text

    def forged(self, changed: Mapping[str, bytes | None], *, old: bool = True) -> Path:
        """A parcel whose first entry is the current build, `current: false`, with other files beside it.

        :param changed: name beside the build → content, `None` leaves it out.
        :param old: whether the old build, as the current one, is its second entry.
        """
        forger = take_apart(self.folder / "new", self.folder / "forged")
        (index,), (carried,) = forger.index["builds"], forger.contents
        index.update(current=False, base=None)
        for name in [name for name in carried if name.startswith("delta/")]:
            del carried[name]
        carried.update({name: data for name, data in changed.items() if data is not None})
        for name in [name for name in carried if name in changed and changed[name] is None]:
            del carried[name]
        if old:
            other = self.young()
            forger.index["builds"] += other.index["builds"]
            forger.contents.extend(other.contents)
        forger.write()
        return self.folder / "forged"

    def young(self) -> Forger:
        """The parcel of the old build, whose record, which nobody signs, says that it is new."""
        shutil.rmtree(self.folder / "young", ignore_errors=True)
        other = take_apart(self.folder / "old", self.folder / "young")
        record = json.loads(other.contents[0]["json"])
        other.contents[0]["json"] = json.dumps({**record, "made": "2029" + record["made"][4:]}).encode()
        other.write()
        return other

    def beside(self) -> dict[str, bytes]:
        return {f"signatures/{path.name}": path.read_bytes() for path in self.signatures.iterdir()}

    def alone(self, *names: str) -> dict[str, bytes | None]:
        """Leave of the signatures these alone."""
        return {name: data if name in names else None for name, data in self.beside().items()}

    def statement(self, counter: int) -> bytes:
        value = json.loads((self.signatures / "statement.json").read_bytes())
        value["predicate"]["buildDefinition"]["internalParameters"]["counter"] = counter
        return json.dumps(value).encode()

    def record(self, made: str) -> bytes:
        path = self.shelf / NAME / "builds" / f"{self.second}.json"
        return json.dumps({**json.loads(path.read_bytes()), "archives": [], "made": made}).encode()

    def signed_lower(self) -> dict[str, bytes]:
        """The signatures of the current build, made with a counter before that of the old one."""
        folder = self.folder / "signed"
        sign(self.shelf / NAME / "builds" / self.second, folder, self.key, name=NAME, counter=1)
        found = {f"signatures/{path.name}": path.read_bytes() for path in folder.iterdir()}
        shutil.rmtree(folder)
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("made"))


@pytest.fixture
def site(made: Site, tmp_path: Path) -> Site:
    return made.copy_to(tmp_path / "site")


ROLLBACKS: dict[str, Callable[[Site], dict[str, bytes | None]]] = {
    "an envelope alone": lambda it: it.alone(DSSE),
    "a forged statement": lambda it: it.alone(DSSE) | {"signatures/statement.json": it.statement(0)},
    "a forged statement with a signature": lambda it: {"signatures/statement.json": it.statement(0)},
    "a record of the year 1": lambda it: {"json": it.record("0001-01-01T00:00:00.000000+00:00")},
    "older signatures": lambda it: dict(it.signed_lower()),
    "no signatures": lambda it: it.alone(),
}


@pytest.mark.parametrize("case", ROLLBACKS)
def test_signatures_of_the_current_build_cannot_be_made_older_first(site: Site, case: str) -> None:
    parcel = site.forged(ROLLBACKS[case](site))
    result = loaded(parcel, site.shelf, site.rules)
    assert [one["code"] for one in result["refused"] if one["build"] == site.first] == ["EB614"]
    assert site.current() == site.second
    young = site.young().folder
    (refused,) = loaded(young, site.shelf, site.rules)["refused"]
    assert refused["code"] == "EB614"
    assert loaded(young, site.shelf, site.rules, allow_rollback=True)["ok"]
    assert site.current() == site.first


BLOCKS: dict[str, Callable[[Site], dict[str, bytes | None]]] = {
    "a counter that none reaches": lambda it: (
        it.alone(DSSE) | {"signatures/statement.json": it.statement(10**12)}
    ),
    "the year 9999": lambda it: {"json": it.record("9999-01-01T00:00:00.000000+00:00")},
}


@pytest.mark.parametrize("case", BLOCKS)
def test_what_nobody_signed_keeps_no_later_parcel_out(site: Site, case: str) -> None:
    loaded(site.forged(BLOCKS[case](site), old=False), site.shelf, site.rules)
    third = put(site.folder / "here", 4, key=site.key).build
    save(site.folder / "here", site.folder / "later")
    assert loaded(site.folder / "later", site.shelf, site.rules)["ok"]
    assert site.current() == third


def test_a_statement_that_nothing_vouches_for_is_refused(site: Site) -> None:
    changed = site.alone(DSSE) | {"signatures/statement.json": site.statement(4)}
    before = tree(site.signatures)
    (refused,) = loaded(site.forged(changed, old=False), site.shelf, site.rules)["refused"]
    assert (refused["code"], refused["cause"].split(":")[0]) == ("EB611", "statement.json")
    assert tree(site.signatures) == before
    shutil.rmtree(site.folder / "forged")
    changed = site.alone(DSSE, "signatures/statement.json")
    assert loaded(site.forged(changed, old=False), site.shelf, site.rules)["ok"], "the envelope holds it"


WITHOUT_RULES: dict[str, tuple[Callable[[Site], dict[str, bytes | None]], bool]] = {
    "no signatures": (lambda it: it.alone(), True),
    "no counter": (lambda it: it.alone(DSSE), False),
    "older ones": (lambda it: dict(it.signed_lower()), False),
    "an older record": (lambda it: {"json": it.record("2025-01-01T00:00:00.000000+00:00")}, False),
}


@pytest.mark.parametrize("case", WITHOUT_RULES)
def test_without_rules_too_signatures_are_not_lost(site: Site, case: str) -> None:
    forge, ok = WITHOUT_RULES[case]
    before = tree(site.signatures)
    result: dict[str, Any] = loaded(site.forged(forge(site), old=False), site.shelf)
    assert [one["code"] for one in result["refused"]] == ([] if ok else ["EB614"])
    assert tree(site.signatures) == before
    assert site.current() == site.second


def test_a_load_that_waits_for_another_one_does_not_roll_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one loads a newer build just before this one takes the lock."""
    save(site.folder / "here", site.folder / "all", everything=True)
    shelf = site.folder / "empty"

    def late(output: str) -> AbstractContextManager[str]:
        monkeypatch.setattr(load, "workplace", workplace)
        assert loaded(site.folder / "all", shelf, site.rules)["ok"]
        return workplace(output)

    monkeypatch.setattr(load, "workplace", late)
    (refused,) = loaded(site.folder / "old", shelf, site.rules)["refused"]
    assert (refused["build"], refused["code"]) == (site.first, "EB614")
    assert (shelf / NAME / "current").resolve().name == site.second


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("ending", [OSError, SystemExit])
def test_signatures_are_there_whatever_ends_a_run(
    site: Site, monkeypatch: pytest.MonkeyPatch, ending: type[BaseException], *, swaps: bool
) -> None:
    """A disk that refuses a rename, and a SIGTERM; where folders can be swapped, and where not."""
    rename = os.rename

    def failing(source: str, target: str) -> None:
        if str(source).endswith(("scratch/signatures", "scratch/json")):
            raise ending
        rename(source, target)

    if not swaps:
        monkeypatch.setattr(load, "exchange", lambda *_: False, raising=False)
    before = set(tree(site.signatures))
    sign(
        site.folder / "here" / NAME / "builds" / site.second,
        site.folder / "again",
        site.key,
        name=NAME,
        counter=9,
    )
    changed = {f"signatures/{path.name}": path.read_bytes() for path in (site.folder / "again").iterdir()}
    parcel = site.forged(changed, old=False)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", failing)
        with pytest.raises(ending):
            loaded(parcel, site.shelf, site.rules)
    assert set(tree(site.signatures)) == before
    builds = site.signatures.parent
    assert not list(builds.glob("*.old"))
    assert loaded(parcel, site.shelf, site.rules)["ok"]
    assert site.beside() == changed
    assert not list(builds.glob("*.old"))


def test_signatures_that_a_killed_run_moved_aside_come_back(site: Site) -> None:
    before = tree(site.signatures)
    aside = site.signatures.rename(f"{site.signatures}.old")
    (refused,) = loaded(site.young().folder, site.shelf, site.rules)["refused"]
    assert refused["code"] == "EB614"
    assert tree(site.signatures) == before
    shutil.copytree(site.signatures, aside)
    loaded(site.folder / "new", site.shelf, site.rules)
    assert not aside.exists()
