"""The sample service does what its README says, on both Pythons."""

from __future__ import annotations

import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uv
from bundler.system.process import clean_environment, run

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "scoring"
SCRIPTS = [SAMPLE / "client.py", SAMPLE / "score.py", SAMPLE / "train.py"]
REQUEST = (SAMPLE / "request.json").read_text(encoding="utf-8")
PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


def test_scripts_compile(target_python: Path, tmp_path: Path) -> None:
    code = "import sys\nfor path in sys.argv[1:]: compile(open(path, 'rb').read(), path, 'exec')"
    run([str(target_python), "-I", "-c", code, *map(str, SCRIPTS)], env=clean_environment(home=tmp_path))


def test_request_fits() -> None:
    request = json.loads((SAMPLE / "request.json").read_text(encoding="utf-8"))
    assert list(request) == ["data"]
    columns = list(request["data"][0])
    assert len(columns) == 13
    values = [value for row in request["data"] for value in row.values()]
    assert [list(row) for row in request["data"]] == [columns] * 3
    assert {type(value) for value in values} == {float, type(None)}


@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_requirements_are_pins(version: str) -> None:
    lines = (SAMPLE / f"requirements-{version}.txt").read_text(encoding="utf-8").splitlines()
    assert [re.sub(r"==\d+(\.\d+)+$", "", line) for line in lines] == ["joblib", "pandas", "scikit-learn"]


class _Service(BaseHTTPRequestHandler):
    """Answers with what it was sent, or with the status that the path names."""

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


@pytest.mark.parametrize(("status", "code", "start"), [("200", 0, ""), ("400", 1, "400: ")])
def test_client(target_python: Path, tmp_path: Path, status: str, code: int, start: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/{status}"
    done = run(
        [target_python, SAMPLE / "client.py", url],
        env=clean_environment(home=tmp_path, http_proxy="http://127.0.0.1:9"),
        check=False,
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == code
    assert (done.stderr if code else done.stdout).strip() == (start + REQUEST.strip())


SCORE = """
import json, sys
sys.path.append(sys.argv[1])
import score
score.init()
answers = [score.run(sys.argv[2])]
for wrong in sys.argv[3:]:
    try:
        answers.append(score.run(wrong))
    except ValueError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.mark.pypi
def test_service_scores(target_python: Path, tmp_path: Path) -> None:
    version = target_python.name.removeprefix("python")
    packages, model, home = tmp_path / "packages", tmp_path / "model", tmp_path / "home"
    home.mkdir()
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--no-cache"]
    where = ["--python", str(target_python), "--target", str(packages)]
    requirements = str(SAMPLE / f"requirements-{version}.txt")
    run([*install, *where, "-r", requirements], env=clean_environment(home=home, **passed))

    env = clean_environment(home=home, PYTHONPATH=str(packages), AZUREML_MODEL_DIR=str(model))
    run([target_python, SAMPLE / "train.py", model], env=env)
    request = (SAMPLE / "request.json").read_text(encoding="utf-8")
    misspelt = request.replace('"hue"', '"hew"', 1)
    infinite = request.replace("null", "1e999")
    asked = [request, "[", "[1]", '{"data": [1]}', misspelt, infinite]
    answers = json.loads(run([str(target_python), "-c", SCORE, str(SAMPLE), *asked], env=env).stdout)
    assert answers[0] == {"predictions": ["class_0", "class_1", "class_2"]}
    assert "not JSON" in answers[1]
    assert "list of rows" in answers[2]
    assert answers[3].startswith("data[0] must map")
    assert answers[4] == "data[0]: missing columns ['hue'], unknown columns ['hew']"
    assert answers[5] == "data[1]['malic_acid'] must be a finite number or null, not inf"
