"""Keys that sign; a plugin of the tests that take them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.machine import need

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of each kind, and one of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    for name, words in {
        "ed25519": ["-t", "ed25519"],
        "p256": ["-t", "ecdsa", "-b", "256"],
        "rsa": ["-t", "rsa", "-b", "2048"],
        "stranger": ["-t", "ed25519"],
    }.items():
        need("ssh-keygen")
        subprocess.run(["ssh-keygen", "-q", *words, "-N", "", "-f", folder / name], check=True)
    return folder
