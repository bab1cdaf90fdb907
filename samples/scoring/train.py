"""Makes the model that score.py serves: `python train.py [FOLDER]` writes FOLDER/model.joblib.

A pickled model fits only the scikit-learn that wrote it, so it is made with the bundle that will serve it:
`PYTHONPATH=<bundle>/lib/python3.8/site-packages python3.8 train.py`. Same packages, same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(folder):
    """Train on the wines that scikit-learn carries, which needs no download."""
    wines = load_wine(as_frame=True)
    labels = wines.target.map(dict(enumerate(map(str, wines.target_names))))
    steps = SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(random_state=0)
    model = make_pipeline(*steps)
    model.fit(wines.data, labels)
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib", compress=3)
    print(f"{folder / 'model.joblib'}: accuracy on its own data {model.score(wines.data, labels):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "model")
