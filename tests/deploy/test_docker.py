"""`deploy --to docker`: the context builds without a network on a real root file system; the image scores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.deploymaker import HOSTILE, SITE_PACKAGES, make_service
from tests.support.rootfs import AMLENV, Images, make_root, require

if TYPE_CHECKING:
    from tests.support.command import Command

pytestmark = [pytest.mark.rootfs, pytest.mark.pypi]
BASE = "localhost/azureml/minimal-ubuntu20.04-py38-cpu-inference:test"
SERVED = "localhost/azureml/mlflow-ubuntu20.04-py38-cpu-inference:test"
PYTHON = f"/{AMLENV}/bin/python"
SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "scoring"
SERVER = "azureml-inference-server-http==1.3.4"
SCORE = "import os, score; score.init(); print(score.run(None), os.getuid(), os.environ['LABEL'], sep='|')"
SERVE = """
cd /var/azureml-app
{bin}/azmlinfsrv --entry_script "$AZUREML_ENTRY_SCRIPT" --port 5001 >/tmp/log 2>&1 &
server=$!
cd scoring
{python} client.py http://127.0.0.1:5001/score request.json || cat /tmp/log
kill $server
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, python38: Path) -> Path:
    require("buildah", "unshare")
    return make_root(tmp_path_factory.mktemp("image") / "root", python38)


@pytest.fixture(scope="module")
def images(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Images:
    images = Images(storage=tmp_path_factory.mktemp("storage"))
    images.of_root(root, BASE)
    return images


def test_the_context_builds_and_scores(images: Images, tmp_path: Path) -> None:
    service = make_service(tmp_path)
    service.deploy("docker", base=BASE, code=service.code, variables=(f"LABEL={HOSTILE}",))
    images.build(service.output, "localhost/built")
    code = f"import sys; sys.path.insert(0, '/var/azureml-app/src'); {SCORE}"
    assert images.inside("localhost/built", PYTHON, "-c", code) == f"1|1001|{HOSTILE}"
    described = json.loads(images.run("inspect", "--type", "image", "localhost/built"))["OCIv1"]["config"]
    assert described["User"] == "dockeruser"
    assert described["Cmd"] == ["runsvdir", "/var/runit"]
    assert f"PYTHONPATH=/var/azureml-app/src/myenv/{SITE_PACKAGES}" in described["Env"]


def test_a_plain_base_has_no_rules(images: Images, root: Path, tmp_path: Path) -> None:
    images.run("tag", BASE, "localhost/plain:1")
    service = make_service(tmp_path)
    service.deploy("docker", base="localhost/plain:1", python=PYTHON)
    images.build(service.output, "localhost/plain-built")
    show = "import alpha; print(alpha.__file__)"
    assert (
        images.inside("localhost/plain-built", PYTHON, "-c", show)
        == f"/opt/envbundle/myenv/{SITE_PACKAGES}/alpha.py"
    )


def test_a_bundle_that_does_not_fit_the_image_does_not_build(images: Images, tmp_path: Path) -> None:
    """The verifier runs in the image: here a module that only the builder would have."""
    service = make_service(tmp_path, files={"alpha.py": "import _tkinter_of_the_builder\n"})
    service.deploy("docker", base=BASE, code=service.code)
    said = images.build(service.output, "localhost/broken", ok=False)
    assert "EB201" in said
    assert "_tkinter_of_the_builder" in said


def test_the_carriers_of_kubernetes_build(images: Images, tmp_path: Path) -> None:
    service = make_service(tmp_path)
    done = service.deploy("kubernetes", base=BASE, bundle_image="localhost/carrier")
    for kind in ("image-volume", "init-container"):
        images.build(service.bundle, f"localhost/{kind}", file=service.output / f"Dockerfile.{kind}")
    copied = "mkdir -p /tmp/there && cp -R /bundle/. /tmp/there/ && ls /tmp/there"
    assert "manifest.json" in images.inside("localhost/init-container", "sh", "-c", copied).split()
    assert done.plan.commands[0].startswith(
        "docker build -f Dockerfile.image-volume -t localhost/carrier:bundle-"
    )


def test_the_sample_is_scored_by_the_real_server(
    images: Images, root: Path, python38: Path, envbundle: Command, tmp_path: Path
) -> None:
    """Base image with the server, bundle without it, model in a folder of its own; the client asks inside."""
    server = tmp_path / "server"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "-q", "--python", python38, "--target", server, SERVER], check=True)
    container = images.run("from", "--pull-never", BASE)
    site = python38.resolve().parent.parent / "lib" / "python3.8" / "site-packages"
    images.run("copy", "-q", container, server, str(site))
    images.run("commit", "-q", container, SERVED)
    code = tmp_path / "scoring"
    code.mkdir()
    for name in ("score.py", "client.py", "request.json"):
        shutil.copy(SAMPLE / name, code)
    made = envbundle("create", "-r", SAMPLE / "requirements-3.8.txt", "--python", "3.8", "-o", code / "myenv")
    assert made.code == 0, made.stderr
    subprocess.run(
        [python38, SAMPLE / "train.py", tmp_path / "wine"], check=True, capture_output=True,
        env={"PYTHONPATH": str(code / "myenv" / SITE_PACKAGES)},
    )  # fmt: skip
    words: list[str | Path] = [
        code / "myenv",
        "--to",
        "docker",
        "--base",
        SERVED,
        "--code",
        code,
        "-o",
        tmp_path / "context",
    ]
    done = envbundle("deploy", *words, "--model", tmp_path / "wine")
    assert done.code == 0, done.stderr
    images.build(tmp_path / "context", "localhost/scoring")
    script = SERVE.format(python=PYTHON, bin=f"{site}/bin")
    assert (
        images.inside("localhost/scoring", "sh", "-c", script)
        == '{"predictions": ["class_0", "class_1", "class_2"]}'
    )
