"""Ordinary sets as they are on the index pass without an error, and without a warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import machine

if TYPE_CHECKING:
    from tests.support.command import Command

pytestmark = pytest.mark.pypi


@dataclass(frozen=True, kw_only=True)
class Ordinary:
    """Requirements, pinned where the newest versions are large or have no wheel."""

    wanted: tuple[str, ...]
    options: tuple[str, ...] = ()
    built: tuple[str, ...] = ()
    """Of which there is no wheel for 3.7: a warning that the user can act on."""


SETS = {
    "frames": Ordinary(wanted=("pandas", "scikit-learn", "joblib")),
    "server": Ordinary(wanted=("azureml-inference-server-http",), built=("wrapt",)),
    "words": Ordinary(wanted=("transformers==4.30.2", "tokenizers==0.13.3", "safetensors==0.3.1")),
    "trees": Ordinary(
        wanted=("lightgbm==3.3.5", "numpy<1.22", "scipy<1.8", "scikit-learn<1.1"),
        options=("--assume-lib", "libgomp.so.1"),
    ),
    "pictures": Ordinary(wanted=("opencv-python-headless==4.5.5.64",)),
    "columns": Ordinary(wanted=("pyarrow==12.0.1",)),
    "calls": Ordinary(wanted=("grpcio",)),
    "markup": Ordinary(wanted=("lxml",)),
    "keys": Ordinary(wanted=("cryptography",)),
}


@pytest.mark.parametrize(("name", "python"), machine.in_turn((name,) for name in SETS))
def test_passes_in_silence(envbundle: Command, name: str, python: str) -> None:
    one = SETS[name]
    done = envbundle("create", *one.wanted, "--python", python, "-o", "out", "--json", *one.options)
    said = [
        (each["code"], each["subject"], each["cause"])
        for each in done.json().get("findings", ())
        if each["severity"] != "info"
        and not (python == "3.7" and each["code"] == "EB602" and each["subject"] in one.built)
    ]
    assert (done.code, said) == (0, []), done.stderr
