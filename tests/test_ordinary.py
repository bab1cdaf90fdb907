"""Ordinary sets as they are on the index pass without an error, and without a warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.command import Command

pytestmark = pytest.mark.pypi


@dataclass(frozen=True, kw_only=True)
class Ordinary:
    """A set, by Python where its newest versions are not the small ones."""

    wanted: tuple[str, ...]
    pythons: tuple[str, ...] = ("3.7", "3.8")
    options: tuple[str, ...] = ()


SETS = {
    "frames": Ordinary(wanted=("pandas", "scikit-learn", "joblib")),
    "server": Ordinary(wanted=("azureml-inference-server-http",)),
    "words": Ordinary(wanted=("transformers==4.30.2", "tokenizers==0.13.3")),
    "trees": Ordinary(
        wanted=("xgboost==1.6.2", "numpy<1.22", "scipy<1.8"), options=("--assume-lib", "libgomp.so.1")
    ),
    "pictures": Ordinary(wanted=("opencv-python-headless==4.5.5.64",)),
    "columns": Ordinary(wanted=("pyarrow==12.0.1",)),
    "calls": Ordinary(wanted=("grpcio",)),
    "markup": Ordinary(wanted=("lxml",)),
    "keys": Ordinary(wanted=("cryptography",)),
}
CASES = [(name, python) for name, one in SETS.items() for python in one.pythons]


@pytest.mark.parametrize(("name", "python"), CASES)
def test_passes_in_silence(envbundle: Command, name: str, python: str) -> None:
    one = SETS[name]
    done = envbundle("create", *one.wanted, "--python", python, "-o", "out", "--json", *one.options)
    said = [
        (each["code"], each["severity"], each["subject"], each["cause"])
        for each in done.json().get("findings", ())
        if each["severity"] != "info"
    ]
    assert (done.code, said) == (0, []), done.stderr
