"""Locks on one side or both: what they know is compared, what they do not is said, nothing is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import lock
from bundler.errors import InputError
from bundler.report.compare import locks
from bundler.report.compare.compare import compare
from bundler.report.compare.sides import Side, of_lock, of_manifest

from tests.support import bundlemaker
from tests.support.differencemaker import bundle, digest, dist, pylock, requirements

if TYPE_CHECKING:
    from bundler.bundle.manifest.values import Manifest
    from bundler.report.compare.difference import Difference

UNTOLD = ("needs", "findings", "sizes", "licences", "native", "entry_points", "setting", "files")
ALPHA, BETA = ("alpha", "1.0"), ("beta", "2.0")


def toml(text: str, against: Manifest | None = None) -> Side:
    target = against.target if against else None
    return locks.of_pylock(text.encode(), name="pylock.toml", target=target)


def pinned(text: str) -> Side:
    return locks.of_requirements(text.encode(), name="requirements.lock")


def told(difference: Difference) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.name, one.change, one.what) for one in difference.distributions]


@pytest.mark.parametrize("second", [pylock(ALPHA, BETA), None])
def test_the_forms_of_one_lock_are_alike(second: str | None) -> None:
    sides = [pinned(requirements(ALPHA, BETA)), toml(pylock(ALPHA, BETA))]
    difference = compare(*sides) if second is None else compare(toml(second), sides[1])
    assert difference.empty
    assert difference.not_compared == ()
    assert (difference.old.kind, difference.old.digest, difference.growth) == ("lock", None, None)


def test_two_locks() -> None:
    old = requirements(ALPHA, BETA, ("gone", "1"))
    new = requirements(
        ("alpha", "1.1"), ("new", "3"), head="# a comment\n--index-url https://u:p@x.example/\n"
    )
    new += (
        f"beta == 2.0 ; python_version < '3.9' --hash=sha256:{'0' * 64} --hash sha256:{'1' * 64}  # via x\n"
    )
    assert told(compare(pinned(old), pinned(new))) == [
        ("alpha", "upgraded", ("version",)),
        ("beta", "changed", ("file",)),
        ("gone", "removed", ()),
        ("new", "added", ()),
    ]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("a", "a", True),
        ("a", "ab", True),  # one file was chosen of many
        ("a", "b", False),
        ("ab", "bc", False),
        ("ab", "ab", True),
        ("ab", "ba", True),
    ],
)
def test_hashes_of_many_platforms(old: str, new: str, same: bool) -> None:  # noqa: FBT001 - a table
    sides = [
        pinned("alpha==1.0" + "".join(f" --hash=sha256:{one * 64}" for one in letters))
        for letters in (old, new)
    ]
    assert compare(*sides).empty is same


def test_a_lock_and_the_bundle_of_it() -> None:
    content = bundle(dist("alpha"), dist("beta", "2.0", required_by=("alpha",), bytes=5000))
    for side in (pinned(requirements(ALPHA, BETA)), toml(pylock(ALPHA, BETA), content)):
        difference = compare(side, of_manifest(content))
        assert difference.empty
        assert set(UNTOLD) <= set(difference.not_compared)
    (one,) = compare(toml(pylock(ALPHA)), of_manifest(content)).distributions
    assert (one.change, one.chain, one.growth) == ("added", ("alpha", "beta"), 5000)


def test_what_is_left_to_the_image_is_not_missing() -> None:
    """A bundle made with `--thin` has less than its lock."""
    thin = of_manifest(bundle(dist("alpha"), relies_on={"beta": "2.0"}))
    assert compare(pinned(requirements(ALPHA, BETA)), thin).empty
    assert told(compare(pinned(requirements(ALPHA, ("beta", "2.1"))), thin)) == [("beta", "removed", ())]
    whole = of_manifest(bundle(dist("alpha"), dist("beta", "2.0")))
    assert told(compare(whole, thin)) == [("beta", "removed", ())]


def test_lock_of_ours_has_chains_requirements_and_target() -> None:
    locked = bundlemaker.lock(
        bundlemaker.locked("alpha", extras=("fast",)), bundlemaker.locked("beta", required_by=("alpha",)),
        requirements=("alpha[fast]",),
    )  # fmt: skip
    value = of_lock(locked)
    read = toml(lock.to_pylock(locked))
    assert compare(value, read).empty
    assert value.knows == read.knows
    assert read.chains["beta"] == ("alpha", "beta")
    newer = replace(locked, python_version="3.8.20", glibc=(2, 31), requirements=("alpha",))
    difference = compare(read, toml(lock.to_pylock(newer)))
    assert [one.name for one in difference.settings] == ["target.python", "target.glibc"]
    assert (difference.requirements.added, difference.requirements.removed) == (("alpha",), ("alpha[fast]",))
    twin = pinned(lock.to_requirements(locked, {}))
    assert compare(read, twin).empty
    assert compare(read, twin).not_compared == ("chains", "requirements")


def test_lock_for_many_targets_is_reduced_to_that_of_the_bundle() -> None:
    text = pylock(("alpha", "1.0"), ("alpha", "2.0"), ("colorama", "1.0"))
    places = ["python_version < '3.9'", "python_version >= '3.9'", "sys_platform == 'win32'"]
    for place in places:
        text = text.replace('\nindex = "', f'\nmarker = "{place}"\nINDEX = "', 1)
    text = text.replace("INDEX", "index")
    content = bundle(dist("alpha"))
    assert compare(toml(text, content), of_manifest(content)).empty
    whole = toml(text)
    assert whole.releases["alpha"].version == "1.0, 2.0"
    newer = toml(text.replace('"2.0"', '"2.1"').replace("-2.0-", "-2.1-"))
    assert told(compare(whole, newer)) == [("alpha", "changed", ("version",))]
    assert compare(whole, whole).empty


def test_lock_that_is_not_for_the_bundle_at_all_is_compared_whole() -> None:
    text = pylock(ALPHA, BETA).replace("created-by", 'requires-python = ">=3.12"\ncreated-by')
    content = bundle(dist("alpha"))
    assert told(compare(toml(text, content), of_manifest(content))) == [("beta", "removed", ())]


def test_sources() -> None:
    vcs = f'{{type = "git", url = "https://x.example/a", commit-id = "{"a" * 40}"}}'
    text = f'{pylock()}[[packages]]\nname = "a"\nvcs = {vcs}\n'
    text += '[[packages]]\nname = "b"\ndirectory = {path = "."}\n'
    for name, head, place in (
        ("c", "archive", 'url = "https://x.example/c-1.0.zip"'),
        ("d", 'version = "1"\nsdist', 'path = "d-1.tar.gz"'),
    ):
        text += (
            f'[[packages]]\nname = "{name}"\n{head} = {{{place}, hashes = {{sha256 = "{digest(name)}"}}}}\n'
        )
    found = toml(text).releases
    assert {name: one.source for name, one in found.items()} == {
        "a": "vcs",
        "b": "local",
        "c": "url",
        "d": "index",
    }
    assert (found["a"].commit, found["c"].filename, found["d"].filename) == (
        "a" * 40,
        "c-1.0.zip",
        "d-1.tar.gz",
    )
    moved = toml(text.replace("a" * 40, "b" * 40))
    assert told(compare(toml(text), moved)) == [("a", "changed", ("commit",))]


def test_chains_of_another_tool_begin_with_what_nothing_requires() -> None:
    text = pylock(ALPHA, BETA).replace("\nindex", '\ndependencies = [{name = "beta"}]\nindex', 1)
    side = toml(text)
    assert side.chains == {"alpha": ("alpha",), "beta": ("alpha", "beta")}
    assert side.knows == {"chains"}
    assert side.releases["alpha"].requested is None


def test_values_of_a_lock() -> None:
    locked = bundlemaker.locked("alpha", extras=("b", "a"))
    bare = replace(locked, name="bare", artifact=replace(locked.artifact, filename="", sha256=None))
    releases = of_lock(bundlemaker.lock(locked, bare)).releases
    assert (releases["alpha"].filename, releases["alpha"].hashes) == (
        "alpha-1.0-py3-none-any.whl",
        ("0" * 64,),
    )
    assert releases["alpha"].extras == ("a", "b")
    assert (releases["bare"].filename, releases["bare"].hashes) == (None, ())


def test_wheel_by_url_in_requirements() -> None:
    side = pinned(
        f"Alpha_X[b,a] @ https://u:p@x.example/alpha_x-1.5-py3-none-any.whl --hash=sha256:{'0' * 64}"
    )
    one = side.releases["alpha-x"]
    assert (one.version, one.source, one.extras) == ("1.5", "url", ("a", "b"))
    assert "u:p" not in repr(side)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no requirement"),
        ("# nothing\n--index-url https://x.example\n", "no requirement"),
        ("alpha==1.0\n", r"x:1: not pinned by version and sha256: 'alpha==1.0'"),
        (f"\n\nalpha>=1.0 --hash=sha256:{'0' * 64}", "x:3: not pinned"),
        (f"alpha==1.* --hash=sha256:{'0' * 64}", "x:1: not pinned"),
        ("alpha==1.0 --hash=sha256:abc", "x:1: not pinned"),
        ("alpha==1.0 --hash=md5:abc", "x:1: not pinned"),
        ("a b c", "x:1: not a line of a lock"),
        (f"alpha==1.0 ; {'(' * 20_000} --hash=sha256:{'0' * 64}", "x:1: not a line of a lock"),
        ("\x7fELF\x00", "x:1: not a line of a lock"),
    ],
)
def test_hostile_requirements(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        locks.of_requirements(text.encode(), name="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lock-version", "not TOML"),
        ("lock-version = '1.0'\n", "not a valid lock"),
        ("lock-version = '9.0'\ncreated-by = 'x'\npackages = []\n", "not a valid lock"),
        (f"lock-version = '1.0'\ncreated-by = 'x'\nx = {'9' * 10_000}\n", "not TOML"),
        (f"x = {'[' * 20_000}", "not TOML"),
        (pylock(ALPHA).replace('version = "1.0"\nindex', 'version = "x y"\nindex'), "not a valid lock"),
        (pylock(ALPHA).replace("\nindex", f'\nmarker = "{"(" * 20_000}"\nindex'), "not a valid lock"),
        (pylock(ALPHA).replace("alpha-1.0-py3", "../alpha"), "not a valid lock"),
    ],
)
def test_hostile_pylock(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        locks.of_pylock(text.encode(), name="x")


def test_no_text_at_all() -> None:
    for read in (locks.of_pylock, locks.of_requirements):
        with pytest.raises(InputError, match="neither a bundle nor a lock"):
            read(b"\xff\xfe\x00", name="x")


def test_table_of_ours_that_somebody_changed() -> None:
    text = pylock(ALPHA) + "[packages.tool.envbundle]\nextras = 5\nyanked = []\nrequested = 'x'\n"
    text += "[tool.envbundle]\nrequirements = [1]\nglibc = []\n"
    side = toml(text)
    assert side.requirements == ("1",)
    assert side.releases["alpha"].extras == ()
    text = text.replace("[1]", '["a @ https://u:secret@x.example/a.whl"]')
    assert "secret" not in repr(compare(side, toml(text)))
