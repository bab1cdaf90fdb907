"""Names that people write for a distribution and that mean another one, or none.

Only names of the tables here and of `providers.json` are ever proposed, never one that an index happens to
have: who registers a name beside a well-known one must gain nothing by it. Nothing is corrected.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Iterator

from packaging.utils import canonicalize_name

from bundler.checks.rules import providers
from bundler.model import Note, Requirement

WELL_KNOWN = frozenset(
    """
    aiohttp azure-core azure-identity azure-storage-blob azureml-core azureml-defaults
    azureml-inference-server-http beautifulsoup4 boto3 catboost cryptography cython dask django fastapi flask
    gensim gunicorn h5py httpx jinja2 joblib keras lightgbm lxml matplotlib mlflow nltk numba numpy onnx
    onnxruntime opencv-python opencv-python-headless openpyxl pandas pillow plotly polars protobuf
    psycopg2-binary pyarrow pydantic pyodbc pytest python-dateutil pyyaml requests scikit-image scikit-learn
    scipy seaborn sentence-transformers shap spacy sqlalchemy statsmodels tensorflow tokenizers torch
    torchaudio torchvision tqdm transformers urllib3 uvicorn werkzeug xgboost
    """.split()  # noqa: SIM905 - a table
)
"""Distributions that services ask for most; the only ones that a near miss is compared with."""
_ITSELF = frozenset({"psycopg2"})
"""Names of modules under which the index has the same project, built otherwise."""
_NEAR = 0.83
"""Likeness of `difflib` from which on two names are one and its slip: `scikit-lern`, `panda`, `reqests`."""


@functools.cache
def _by_name() -> dict[str, str]:
    """Normalised name of a module → the distribution that brings it."""
    return {canonicalize_name(module): name for module, name in providers.distributions().items()}


def meant(name: str) -> str:
    """Return the well-known distribution that was probably meant by a name that no index has; else nothing.

    :param name: normalised.
    """
    if name in WELL_KNOWN:
        return ""
    if known := _by_name().get(name, ""):
        return known if known != name else ""
    near = difflib.get_close_matches(name, sorted(WELL_KNOWN), n=1, cutoff=_NEAR)
    return near[0] if near and near[0] != name else ""


def modules(requirements: Iterable[Requirement]) -> Iterator[Note]:
    """Tell where the name of a module is asked for that a distribution of another name brings."""
    for one in requirements:
        known = _by_name().get(one.name or "", "")
        if known and known != one.name and " @ " not in one.text and one.name not in WELL_KNOWN | _ITSELF:
            yield Note(
                subject=str(one.name),
                text=f"{known} brings the module of this name; what the index has under it may be another "
                "distribution",
            )
