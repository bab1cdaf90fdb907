"""What the index has of a distribution: versions with a wheel for the target, and their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.create.releases import Releases, last_with_wheel, needs_of_wheels
from bundler.model import IndexSettings, Target

from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

TARGET = Target(
    python_version="3.8.18",
    implementation="cpython",
    abi="cp38",
    machine="x86_64",
    glibc=(2, 31),
    glibc_reason="",
    markers={},
)


def releases(settings: IndexSettings) -> Releases:
    return Releases(settings=settings, target=TARGET)


def test_releases_of_an_index(wheels: Path, index: Index) -> None:
    old = make_wheel(wheels, "mynative", "1.0", tag="cp38-cp38-manylinux_2_17_x86_64")
    make_wheel(wheels, "mynative", "2.0", tag="cp39-cp39-manylinux_2_17_x86_64")
    make_sdist(wheels, "mynative", "3.0")
    pulled = make_wheel(wheels, "mynative", "1.5", tag="cp38-cp38-manylinux_2_17_x86_64")
    make_wheel(wheels, "mynative", "4.0rc1")
    later = make_wheel(wheels, "mynative", "5.0")
    index.upload_time = {old.name: "2020-01-02T03:04:05.678901Z"}
    index.yanked = {pulled.name: "broken"}
    index.requires_python = {later.name: ">=3.9"}
    found = releases(IndexSettings(index_url=index.url)).of("mynative")
    rows = [(str(one.version), one.wheel, one.source, one.uploaded) for one in found]
    assert rows == [
        ("5.0", False, False, ""),
        ("3.0", False, True, ""),
        ("2.0", False, False, ""),
        ("1.0", True, False, "2020-01-02T03:04:05.678901Z"),
    ]
    last = last_with_wheel(found)
    assert last
    assert str(last.version) == "1.0"


def test_releases_of_a_folder(wheels: Path) -> None:
    make_wheel(wheels, "leaf", "1.0")
    make_wheel(wheels, "leaf-other", "9.0")
    settings = IndexSettings(find_links=(str(wheels),), no_index=True)
    assert [str(one.version) for one in releases(settings).of("leaf")] == ["1.0"]
    assert releases(settings).of("nothing") == ()


def test_index_out_of_reach_has_nothing() -> None:
    settings = IndexSettings(index_url="http://127.0.0.1:9/simple", retries=0, timeout=1)
    assert releases(settings).of("leaf") == ()


@pytest.mark.parametrize(
    ("tags", "needs"),
    [
        (["cp39-cp39-manylinux_2_17_x86_64", "cp310-cp310-manylinux_2_17_x86_64"], "Python 3.9, 3.10"),
        (["cp38-cp38-manylinux_2_34_x86_64", "cp39-cp39-manylinux_2_17_x86_64"], "glibc 2.34"),
        (["cp38-cp38-manylinux_2_34_x86_64.manylinux_2_35_x86_64"], "glibc 2.34"),
        (["cp38-cp38-manylinux2014_x86_64"], ""),
        (["cp39-cp39-win_amd64"], ""),
        ([], ""),
    ],
)
def test_needs_of_wheels(wheels: Path, tags: list[str], needs: str) -> None:
    for tag in tags:
        make_wheel(wheels, "native", tag=tag)
    make_sdist(wheels, "native")
    settings = IndexSettings(find_links=(str(wheels),), no_index=True)
    (release,) = releases(settings).of("native")
    assert needs_of_wheels(release, TARGET) == needs
