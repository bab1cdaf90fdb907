"""The entry script: what it imports, besides the standard library, is in the bundle alone."""

import json

import joblib
import numpy

WEIGHTS = [0.5, -1.0, 2.0]


def init():
    """Called once, when the server starts. A real service loads its model here."""


def run(raw_data):
    """Score the rows of a request, and say with what."""
    scores = [float(numpy.dot(row, WEIGHTS)) for row in json.loads(raw_data)["rows"]]
    return {"scores": scores, "joblib": joblib.__version__, "numpy": numpy.__version__}
