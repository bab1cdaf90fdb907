"""`envbundle verify`: what the code of a bundle on trial sees."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from bundler.checks import verify_bundle
from bundler.system.progress import Progress
from bundler.wheels.store import Store

from tests.support.bundlemaker import make_bundle
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LOOKS = """
import os
assert os.path.exists({seen!r})
assert not os.path.exists({store!r} + "/files"), "it sees the store"
"""


def test_a_bundle_does_not_see_a_store_below_what_it_sees(
    tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache can lie in /opt, of which `verify` shows all."""
    seen = tmp_path / "opt" / "seen"
    store = Store(tmp_path / "opt" / "cache")
    (store.root / "files").mkdir(parents=True)
    seen.touch()
    text = LOOKS.format(seen=str(seen), store=str(store.root))
    wheel = make_wheel(tmp_path, "alpha", files={"alpha.py": text})
    bundle = make_bundle(tmp_path / "bundle", wheel, minor="3.8", modules=["alpha"])
    monkeypatch.setattr(verify_bundle, "FURTHER", (tmp_path / "opt",))
    found = verify_bundle.verify(
        bundle,
        python=str(python38),
        imports=True,
        store=store,
        progress=Progress(stream=io.StringIO(), quiet=True),
        environ=os.environ,
    )
    assert [one.cause for one in found.findings if one.code == "EB201"] == []
    assert "imports" in found.checked
