"""A bundle's folder beside its manifest: each way in which it can differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.bundle import integrity
from bundler.errors import InputError

from tests.support.bundlemaker import make_bundle
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PART = "lib/python3.8/site-packages/alpha.py"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))


CHANGES: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "gone": (lambda b: (b / PART).unlink(), PART, True),
    "more": (lambda b: (b / "more").touch(), "more", True),
    "content": (lambda b: (b / PART).write_bytes((b / PART).read_bytes()[::-1]), PART, True),
    "size": (lambda b: (b / PART).write_text(""), PART, True),
    "mode": (lambda b: (b / PART).chmod(0o755), PART, False),
    "document": (lambda b: (b / "verify.py").write_text(""), "verify.py", True),
    "checksums": (lambda b: (b / "SHA256SUMS").write_text(""), "SHA256SUMS", True),
    "no checksums": (lambda b: (b / "SHA256SUMS").unlink(), "SHA256SUMS", True),
    "space in the manifest": (
        lambda b: (b / "manifest.json").write_text((b / "manifest.json").read_text() + " "),
        "SHA256SUMS",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found(bundle: Path, name: str) -> None:
    change, path, refused = CHANGES[name]
    change(bundle)
    (found,) = integrity.compare(bundle).mismatches
    assert found.path == path
    assert (found.found is None, found.listed is None) == (name in ("gone", "no checksums"), name == "more")
    assert found.is_mode is not refused
    if refused:
        with pytest.raises(InputError, match=f"is not as it was made: {path}$"):
            integrity.require(bundle)
    else:
        integrity.require(bundle)


def test_a_bundle_as_it_was_made(bundle: Path) -> None:
    compared = integrity.require(bundle)
    assert compared.mismatches == ()
    assert compared.files == {file.path: file for file in compared.tree.files}


def test_several_changes_and_a_link(bundle: Path) -> None:
    (bundle / "a-link").symlink_to("verify.py")
    (bundle / "b").touch()
    with pytest.raises(InputError, match=r"is not as it was made: a-link and 1 more$"):
        integrity.require(bundle)
