"""Scores wine samples: the entry script of an Azure ML deployment, `init()` once and `run()` a request.

Runs on Python 3.7 and later.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import joblib
import pandas as pd

model = None


def init():
    """Load the model.

    Azure ML names its folder in AZUREML_MODEL_DIR; without that it stands in `model/` beside this script.
    """
    global model  # noqa: PLW0603 - Azure ML calls init() and run() without a place to keep the model
    model = joblib.load(find_model())


def run(raw_data):
    """Return `{"predictions": [...]}` for the JSON text `{"data": [{column: number, ...}, ...]}`.

    Wrong input is answered with status 400 under Azure ML's server, and is a ValueError elsewhere.
    """
    try:
        frame = read_request(raw_data, list(model.feature_names_in_))
    except ValueError as error:
        # The server answers 500 to any exception, which would blame the service for the caller's mistake.
        if "azureml_inference_server_http" not in sys.modules:
            raise
        from azureml_inference_server_http.api.aml_response import AMLResponse  # noqa: PLC0415 - the server's own

        return AMLResponse({"error": str(error)}, 400, json_str=True)
    return {"predictions": model.predict(frame).tolist()}


def find_model():
    """Return the path of the model, whether a file or a folder was registered."""
    named = os.environ.get("AZUREML_MODEL_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parent
    places = [folder / "model.joblib", folder / "model" / "model.joblib"]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"no model at {' or '.join(map(str, places))}: run train.py first")


def read_request(raw_data, columns):
    """Return the request as a DataFrame with the model's columns, in the model's order.

    A `null` stays a missing value; the model fills it in. Raises ValueError, saying what is wrong and where.
    """
    try:
        request = json.loads(raw_data)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the request is not JSON: {error}") from error
    rows = request.get("data") if isinstance(request, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError('the request must be an object with a list of rows: {"data": [{...}, ...]}')
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"data[{number}] must map column names to numbers")  # noqa: TRY004
        missing = [column for column in columns if column not in row]
        unknown = sorted(set(row) - set(columns))
        if missing or unknown:
            raise ValueError(f"data[{number}]: missing columns {missing}, unknown columns {unknown}")
        for column, value in row.items():
            if value is not None and not is_number(value):
                raise ValueError(f"data[{number}][{column!r}] must be a finite number or null, not {value!r}")
    return pd.DataFrame(rows, columns=columns).astype(float)


def is_number(value):
    """Whether a value is a number that a float holds; Python reads NaN, Infinity and 1e999 from JSON too."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
