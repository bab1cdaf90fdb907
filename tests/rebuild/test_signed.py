"""`sign` in envbundle.toml: who gives the yes for a build stands beside it, published or not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.machine import need
from tests.support.nightly import BUNDLES, Nightly

pytestmark = pytest.mark.thorough


def make_key(path: Path) -> Path:
    need("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def verified(one: Nightly, key: Path, bundle: Path, *words: str) -> int:
    public = key.with_name(f"{key.name}.pub").read_text().strip()
    python = one.command("verify", str(bundle), "--no-imports", "--key", public, *words).code
    script = ["--no-imports", "--key", public, *words]
    alone = subprocess.run(
        ["python3", "-I", bundle / "verify.py", *script, bundle], capture_output=True, text=True, check=False
    )
    assert alone.returncode == python, alone.stdout + alone.stderr
    return python


def test_each_build_is_signed(one: Nightly, tmp_path: Path) -> None:
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second")
    current = one.output / "web-py38" / "current"
    assert verified(one, first, current) == 1
    one.write({"web": BUNDLES["web"]}, python='"3.8"\nsign = "first"')
    assert one.states() == {"web-py38": "unchanged"}
    assert verified(one, first, current, "--name", "web-py38") == 0
    assert verified(one, first, current, "--name", "other") == 1
    assert verified(one, second, current) == 1
    before = one.snapshot()
    assert one.states() == {"web-py38": "unchanged"}
    assert one.snapshot() == before, "what is signed is not signed again"
    one.write({"web": "leaf==1.4"}, python='"3.8"\nsign = "second"')
    assert one.states("--publish", str(tmp_path / "shelf")) == {"web-py38": "built"}
    assert verified(one, second, current, "--name", "web-py38") == 0
    published = tmp_path / "shelf" / "web-py38" / "builds" / one.current("web-py38").name
    assert verified(one, second, published, "--name", "web-py38") == 0
    old = [*(current.parent / "builds").glob("*.signatures")]
    assert len(old) == 2
    one.write({"web": "leaf==1.4"}, python='"3.8"\nsign = "second"', keys={"web": "keep = 1"})
    assert one.states() == {"web-py38": "unchanged"}
    assert len([*(current.parent / "builds").glob("*.signatures")]) == 1


def test_layouts_are_signed_inside(one: Nightly, tmp_path: Path) -> None:
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second")
    for name, state in (("first", "built"), ("second", "unchanged")):
        one.write({"web": BUNDLES["web"]}, python=f'"3.8"\nformats = "oci"\nsign = "{name}"')
        assert one.states() == {"web-py38": state}
    layout = Path(f"{one.current('web-py38')}.oci")
    Path(f"{one.current('web-py38')}.signatures").rename(tmp_path / "elsewhere")
    for key, code in ((first, 1), (second, 0)):
        public = key.with_name(f"{key.name}.pub").read_text().strip()
        assert one.command("verify", str(layout), "--no-imports", "--key", public).code == code
    assert one.states("--full") == {"web-py38": "unchanged"}, "a signature inside is no damage"


def test_the_key_of_the_command_comes_first(one: Nightly, tmp_path: Path) -> None:
    of_file, given = make_key(tmp_path / "first"), make_key(tmp_path / "second")
    one.write({"web": BUNDLES["web"]}, python='"3.8"\nsign = "first"')
    assert one.states("--sign", str(given)) == {"web-py38": "unchanged"}
    current = one.output / "web-py38" / "current"
    assert verified(one, given, current, "--name", "web-py38") == 0
    assert verified(one, of_file, current) == 1
    by_hand = one.command("sign", str(current), "--key", str(of_file), "--name", "web-py38")
    assert (by_hand.code, verified(one, of_file, current, "--name", "web-py38")) == (0, 0)
    refused = one("--locked", "--sign", str(given))
    assert (refused.code, "so --sign has no meaning" in refused.stderr) == (2, True)


def test_a_key_that_cannot_sign_is_told_first(one: Nightly) -> None:
    one.write({"web": "leaf==1.4"}, python='"3.8"\nsign = "nowhere"')
    done = one()
    assert done.code == 2
    assert "nowhere" in done.stderr
    assert one.states("--dry-run") == {"web-py38": "would-build"}
