"""Makes signed bundles, and lets the verifier in them judge."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bundler.bundle import manifest, signing

from tests.support.bundlemaker import make_bundle
from tests.support.wheelmaker import make_wheel

DAY = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)


class Site:
    """A bundle with its signatures, and the keys of whoever signs."""

    def __init__(self, folder: Path, keys: Path, *, code: str = "") -> None:
        self.folder = folder
        self.keys = keys
        folder.mkdir(exist_ok=True)
        wheel = make_wheel(folder, "alpha", files={"alpha/__init__.py": code})
        self.bundle = make_bundle(folder / "scoring", wheel, minor="3.8", modules=["alpha"])
        self.signatures = folder / "scoring.signatures"
        self.signers = folder / "signers"
        self.sign()
        self.allow('namespaces="envbundle"')

    def copy_to(self, folder: Path) -> Site:
        """Copy all but the keys."""
        other = copy.copy(self)
        shutil.copytree(self.folder, folder)
        other.folder = folder
        other.bundle, other.signatures = folder / "scoring", folder / "scoring.signatures"
        other.signers = folder / "signers"
        return other

    def public(self, name: str = "ed25519") -> str:
        return " ".join((self.keys / f"{name}.pub").read_text().split()[:2])

    def allow(self, options: str = "", name: str = "ed25519") -> None:
        self.signers.write_text(f"# who may sign\nrelease@x {options} {self.public(name)} comment\n")

    def sign(self, *, key: str = "ed25519", name: str = "scoring", counter: int = 17) -> None:
        request = signing.SigningRequest(
            manifest=(self.bundle / manifest.NAME).read_bytes(), name=name, key=self.keys / key,
            signed_on=DAY, counter=counter, environ=os.environ,
        )  # fmt: skip
        signing.sign(request, self.signatures)

    def keep(self, *names: str) -> None:
        """Leave of the signatures these alone."""
        for path in self.signatures.iterdir():
            if path.name not in names:
                path.unlink()


def verdict(python: Path, site: Site, *words: str | Path) -> tuple[int, Any]:
    """Run a copy of the verifier that stands outside of the bundle, without imports."""
    script = site.folder / "verify.py"
    shutil.copy(site.bundle / "verify.py", script)
    argv = [python, script, "--json", "--no-imports", *words, site.bundle]
    done = subprocess.run(argv, env={}, capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout)
