"""Rehearsals: the start script's rules, what the service can and cannot reach, and how it ends.

The server is a small one of the tests' own with the command line of the real one; the marked tests use that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.system.process import clean_environment, run
from bundler.wheels.store import Store

from tests.create.test_interrupted import Running
from tests.support.command import Command, Outcome
from tests.support.rehearsalmaker import SCORE, SITE, left, make_service
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.thorough  # real servers are started and stopped

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "scoring"
EVERYTHING = ["moved", "no-network", "other-user", "own-processes", "own-root", "read-only"]


@pytest.fixture
def rehearse(cache: Path, stock: Path, pips: Path, tmp_path: Path) -> Callable[..., Outcome]:
    envbundle = Command(cache=cache, pips=pips, folder=tmp_path)
    (tmp_path / "logs").mkdir()
    logs = {"TMPDIR": str(tmp_path / "logs")}

    def rehearsed(bundle: Path, *words: str | Path, wrapper: str = "") -> Outcome:
        words = ("rehearse", bundle, "--server", "9.1", *words, *envbundle.offline(stock))
        if not wrapper:
            return envbundle(*words, environ=logs)
        done = subprocess.run(
            ["unshare", "-r", "sh", "-c", f'{wrapper}; exec "$@"', "sh", *envbundle.argv(*words)],
            env=envbundle.environment(logs), cwd=tmp_path, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        return Outcome(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    return rehearsed


def refusing(*kinds: str) -> str:
    """Shell words after which no new namespaces of these kinds can be had (man 7 namespaces)."""
    return " && ".join(f"echo 0 >/proc/sys/user/max_{kind}_namespaces" for kind in (*kinds, "user"))


@pytest.fixture(scope="module")
def _namespaces() -> None:
    tried = subprocess.run(["unshare", "-rmnp", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0 or os.getuid() != 0:
        pytest.skip(f"no namespaces, or not root: {tried.stderr.strip()}")


needs_namespaces = pytest.mark.usefixtures("_namespaces")


@needs_namespaces
@pytest.mark.parametrize("minor", ["3.7", "3.8"])
def test_service_is_started_asked_and_stopped(
    rehearse: Callable[..., Outcome], tmp_path: Path, minor: str
) -> None:
    code = make_service(tmp_path / "src", minor)
    (tmp_path / "request.json").write_text('{"data": "ä"}')
    done = rehearse(code / "myenv", "--entry", "score.py", "--request", "request.json", "--json")
    assert done.code == 0, done.stderr
    said = done.json()
    assert said["ok"]
    assert (said["step"], said["reason"], said["exit_code"]) == ("done", "", None)
    assert said["python"].startswith(f"{minor}.")
    assert said["server"] == "9.1"
    assert said["liveness"] == "Healthy"
    assert (said["status"], said["content_type"]) == (200, "application/json")
    assert json.loads(said["answer"]) == {"seen": '{"data": "ä"}'}
    assert 0 < said["start_seconds"] < 60
    assert 0 < said["score_seconds"] < 60
    assert said["stopped"] is True
    assert said["isolation"] == EVERYTHING
    assert said["log"] is None
    again = rehearse(code / "myenv", "--entry", code / "score.py")
    assert again.code == 0, again.stderr
    assert again.stdout == ""
    assert "resolve" not in again.stderr
    assert re.search(r"GET / +Healthy after", again.stderr)


def look(
    rehearse: Callable[..., Outcome], code: Path, *words: str | Path, port: int = 9, wrapper: str = ""
) -> dict[str, Any]:
    (code.parent / "look.txt").write_text(f"beside|{code.parent}|{port}")
    words = ("--entry", "look.py", "--request", code.parent / "look.txt", "--json", *words)
    done = rehearse(code / "myenv", *words, wrapper=wrapper)
    assert done.code == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.json()["answer"])
    return seen


@needs_namespaces
def test_start_script_sets_the_path(rehearse: Callable[..., Outcome], service: Path) -> None:
    seen = look(rehearse, service)
    environ = seen["environ"]
    assert environ["AML_APP_ROOT"] == "/var/azureml-app"
    assert seen["cwd"] == "/var/azureml-app"
    assert environ["ENTRY_SCRIPT_DIR"] == "/var/azureml-app/."
    assert environ["AZUREML_EXTRA_PYTHON_LIB_PATH"] == SITE
    assert environ["PYTHONPATH"] == f"/var/azureml-app/./{SITE}:"
    assert environ["LD_LIBRARY_PATH"] == "/opt/miniconda/envs/amlenv/lib"
    # The script's folder, the bundle, and what the colon stands for, before the standard library.
    assert seen["path"][1:3] == [f"/var/azureml-app/{SITE}", "/var/azureml-app"]
    assert seen["beside"] == ""


@needs_namespaces
def test_imports_that_nothing_brings_are_told_before_a_request_meets_them(
    rehearse: Callable[..., Outcome], service: Path
) -> None:
    lazy = "import json, fakeserver\n\n\ndef later():\n    import nowhere.at_all\n\n\n" + SCORE
    (service / "score.py").write_text(lazy)
    done = rehearse(service / "myenv", "--entry", "score.py", "--json")
    assert done.code == 0, done.stderr
    said = "score.py:5 imports nowhere.at_all, which neither the bundle nor the server's environment brings"
    assert done.json()["missing"] == [said]
    assert said in done.stderr


def test_start_script_keeps_what_is_set(rehearse: Callable[..., Outcome], service: Path) -> None:
    words = ["--env", "PYTHONPATH=/opt/more", "--env", "LD_LIBRARY_PATH=/opt/lib", "--env", "X=a=b"]
    environ = look(rehearse, service, *words)["environ"]
    assert environ["PYTHONPATH"] == f"/var/azureml-app/./{SITE}:/opt/more"
    assert environ["LD_LIBRARY_PATH"] == "/opt/miniconda/envs/amlenv/lib:/opt/lib"
    assert environ["X"] == "a=b"


@needs_namespaces
def test_second_layout(rehearse: Callable[..., Outcome], service: Path) -> None:
    """Code in a folder of its own name: what stands beside the script is not importable any more."""
    (service.parent / "wines").mkdir()
    (service.parent / "wines" / "model.bin").write_text("")
    seen = look(rehearse, service, "--layout", "v2", "--model", service.parent / "wines")
    environ = seen["environ"]
    assert environ["AZUREML_ENTRY_SCRIPT"].endswith("src/look.py")
    assert environ["PYTHONPATH"] == f"/var/azureml-app/src/{SITE}:"
    assert environ["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models/wines/1"
    assert seen["beside"].startswith("ModuleNotFoundError")


@needs_namespaces
def test_image_that_reads_no_variable(rehearse: Callable[..., Outcome], service: Path) -> None:
    """Some images cut that part of the script out; their deployments set PYTHONPATH."""
    profile = {"kind": "envbundle-image"}
    source = Path(__file__).resolve().parents[2] / "bundler" / "targets" / "images"
    profile = json.loads((source / "minimal-ubuntu20.04-py38-cpu-inference.json").read_text())
    profile["honours_variables"] = "no"
    (service.parent / "image.json").write_text(json.dumps(profile))
    done = rehearse(service / "myenv", "--entry", "score.py", "--image", "image.json", "--json")
    assert done.code == 0, done.stderr
    assert done.json()["pythonpath"] == f"/var/azureml-app/{SITE}"
    words = ["--image", "image.json", "--lib-path", SITE, "--json"]
    ignored = rehearse(service / "myenv", "--entry", "score.py", *words)
    assert ignored.json()["pythonpath"] == ""


@needs_namespaces
def test_service_reaches_nothing_but_itself(rehearse: Callable[..., Outcome], service: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen = look(rehearse, service, port=server.getsockname()[1])
    assert seen["user"] == [65534, 65534, []]
    assert set(seen["writes"][:6]) <= {"OSError 30", "PermissionError 13"}
    assert seen["writes"][:2] == ["OSError 30", "OSError 30"]
    assert seen["writes"][6:] == ["", "", ""]
    assert seen["builder"] == "FileNotFoundError 2"
    assert seen["network"] == ["ConnectionRefusedError 111", "OSError 101"]
    assert len(seen["processes"]) <= 3


@needs_namespaces
def test_bundle_elsewhere(rehearse: Callable[..., Outcome], service: Path, tmp_path: Path) -> None:
    """A bundle that is not in the code folder stands there all the same, and nothing is written to it."""
    shutil.move(service / "myenv", tmp_path / "ready")
    before = sorted(service.iterdir())
    done = rehearse(tmp_path / "ready", "--entry", "src/score.py", "--json")
    assert done.code == 0, done.stderr
    assert done.json()["pythonpath"] == "/var/azureml-app/./ready/lib/python3.8/site-packages:"
    assert sorted(service.iterdir()) == before
    (service / "ready").mkdir()
    taken = rehearse(tmp_path / "ready", "--entry", "src/score.py")
    assert taken.code == 2
    assert "would both be /var/azureml-app/ready" in taken.stderr


@needs_namespaces
def test_script_below_the_code_folder(rehearse: Callable[..., Outcome], service: Path) -> None:
    (service / "online").mkdir()
    (service / "score.py").rename(service / "online" / "score.py")
    words = ["--code", service, "--entry", "online/score.py", "--json"]
    done = rehearse(service / "myenv", *words)
    assert done.code == 0, done.stderr
    assert done.json()["pythonpath"] == f"/var/azureml-app/online/../{SITE}:"


@needs_namespaces
def test_service_does_not_see_the_store_in_its_code_folder(
    stock: Path, pips: Path, service: Path, tmp_path: Path
) -> None:
    envbundle = Command(cache=service / "cache", pips=pips, folder=tmp_path)
    envbundle.cache.mkdir()
    (envbundle.cache / "seen").touch()
    (service / "score.py").write_text(
        "import os\n\n\ndef init():\n    pass\n\n\ndef run(data):\n"
        "    return [path for path, _, _ in os.walk('cache')] + os.listdir('cache')\n"
    )
    (tmp_path / "request").touch()
    words = ["--entry", "score.py", "--request", "request", "--server", "9.1", "--json"]
    done = envbundle("rehearse", service / "myenv", *words, *envbundle.offline(stock))
    assert done.code == 0, done.stderr
    store = Store(envbundle.cache).root.name
    assert any((envbundle.cache / store / "files").iterdir())
    assert sorted(json.loads(done.json()["answer"])) == ["cache", f"cache/{store}", "seen", store]


ENDS = [
    (["--lib-path", "elsewhere"], 97, "pre-installed packages not found: /var/azureml-app/./elsewhere"),
    (["--lib-path", f"/var/azureml-app/{SITE}"], 97, "/var/azureml-app/.//var/azureml-app/myenv"),
    (["--lib-path", "", "--env", "AZUREML_EXTRA_REQUIREMENTS_TXT=no.txt"], 99, "/var/azureml-app/./no.txt"),
    (["--lib-path", "", "--env", "AZUREML_EXTRA_REQUIREMENTS_TXT=score.py"], 95, "needs a network"),
    (["--lib-path", "", "--env", "AZUREML_EXTRA_CONDA_YAML=no.yml"], 98, "/var/azureml-app/./no.yml"),
]


@needs_namespaces
@pytest.mark.parametrize(("words", "code", "reason"), ENDS)
def test_start_script_gives_up(
    rehearse: Callable[..., Outcome], service: Path, words: list[str], code: int, reason: str
) -> None:
    done = rehearse(service / "myenv", "--entry", "score.py", *words, "--json")
    assert done.code == 1, done.stderr
    said = done.json()
    assert (said["ok"], said["step"], said["exit_code"]) == (False, "start", code)
    assert reason in said["reason"]
    assert f"failed: the start script with exit code {code}:" in done.stderr
    assert "hint:" in done.stderr


@needs_namespaces
def test_mount_wins_over_requirements(rehearse: Callable[..., Outcome], service: Path) -> None:
    words = ["--entry", "score.py", "--env", "AZUREML_EXTRA_REQUIREMENTS_TXT=no.txt"]
    assert rehearse(service / "myenv", *words).code == 0


@needs_namespaces
def test_bundle_that_stops_the_images_python(
    rehearse: Callable[..., Outcome], wheels: Path, tmp_path: Path
) -> None:
    hidden = make_wheel(wheels, "hides", files={"re.py": "raise RuntimeError('this is not re')\n"})
    code = make_service(tmp_path / "src", "3.8", hidden)
    done = rehearse(code / "myenv", "--entry", "score.py", "--json")
    assert done.code == 1, done.stderr
    assert done.json()["exit_code"] == 100
    assert "azureml-inference-server-http is missing" in done.json()["reason"]
    assert "this is not re" in done.json()["reason"]


FAULTS = {
    "import pandas\n": ("boot", "ModuleNotFoundError: No module named 'pandas'"),
    "def init():\n    open(__file__ + '.lock', 'w')\n": (
        "boot", "OSError: [Errno 30] Read-only file system: '/var/azureml-app/score.py.lock'"),
    "def init():\n    raise SystemExit(5)\n": ("boot", "with exit code 5"),
    "import os\ndef init():\n    os.kill(os.getpid(), 11)\n": ("boot", "killed by SIGSEGV"),
    "import time\ndef init():\n    time.sleep(99)\n": ("boot", "not healthy after 2 s"),
    "def init(): pass\ndef run(data):\n    return 1 / 0\n": (
        "score", "status 500: ZeroDivisionError: division by zero"),
    "import time\ndef init(): pass\ndef run(data):\n    time.sleep(99)\n": ("score", "no answer within 2 s"),
}  # fmt: skip


@needs_namespaces
@pytest.mark.parametrize("script", FAULTS)
def test_service_at_fault(
    rehearse: Callable[..., Outcome], service: Path, tmp_path: Path, port: str, script: str
) -> None:
    step, reason = FAULTS[script]
    (service / "score.py").write_text(script)
    (tmp_path / "request.json").write_text("{}")
    words = ["--request", "request.json", "--timeout", "2", "--port", port, "--json"]
    started = time.monotonic()
    done = rehearse(service / "myenv", "--entry", "score.py", *words)
    assert time.monotonic() - started < 20
    assert done.code == 1, done.stderr
    said = done.json()
    assert said["step"] == step
    assert reason in said["reason"]
    assert f"failed: the service: {said['reason']}" in done.stderr
    kept = Path(said["log"])
    assert f"fake server at {port}" in kept.read_text()
    assert [kept] == list((tmp_path / "logs").iterdir())
    if ": " in reason and "Error" in reason:
        assert reason.rpartition("status 500: ")[2] in said["lines"]
    assert not left(port)


@needs_namespaces
def test_script_that_others_cannot_read(rehearse: Callable[..., Outcome], service: Path) -> None:
    (service / "score.py").chmod(0o600)
    done = rehearse(service / "myenv", "--entry", "score.py")
    assert done.code == 1
    assert "entry script /var/azureml-app/score.py: Permission denied" in done.stderr


DETACHED = """\
import subprocess, sys
def init():
    # Runs on, in a session of its own; known by the port.
    subprocess.Popen(["sleep", "7" + sys.argv[-1]], start_new_session=True)
def run(data):
    return 1
"""
STUBBORN = "import signal\n\n\ndef init():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


@needs_namespaces
@pytest.mark.parametrize("refused", ["", refusing("mnt", "net", "pid", "ipc")])
def test_nothing_is_left_running(
    rehearse: Callable[..., Outcome], service: Path, port: str, refused: str
) -> None:
    (service / "score.py").write_text(DETACHED)
    words = ["--entry", "score.py", "--port", port, "--json"]
    done = rehearse(service / "myenv", *words, wrapper=refused)
    assert done.code == 0, done.stderr
    assert done.json()["isolation"] == ([] if refused else EVERYTHING)
    assert not left(port)


@needs_namespaces
def test_server_that_does_not_end(rehearse: Callable[..., Outcome], service: Path, port: str) -> None:
    (service / "score.py").write_text(STUBBORN)
    done = rehearse(service / "myenv", "--entry", "score.py", "--port", port, "--timeout", "3", "--json")
    assert done.code == 0, done.stderr
    assert done.json()["stopped"] is False
    assert not left(port)


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_on_the_way(
    cache: Path, pips: Path, stock: Path, service: Path, tmp_path: Path, port: str, number: signal.Signals
) -> None:
    (service / "score.py").write_text(
        DETACHED + "\nimport time\nold = init\n\ndef init():\n    old()\n    time.sleep(60)\n"
    )
    envbundle = Command(cache=cache, pips=pips, folder=tmp_path)
    words = ["--entry", "score.py", "--server", "9.1", "--port", port, *envbundle.offline(stock)]
    going = Running(envbundle, "rehearse", "src/myenv", *words)
    limit = time.monotonic() + 30
    while not any("sleep" in line for line in left(port)):
        assert going.process.poll() is None, going.stderr
        assert time.monotonic() < limit, going.stderr
        time.sleep(0.05)
    code = going.end(number, within=20)
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    limit = time.monotonic() + 5
    while left(port):
        assert time.monotonic() < limit, "something is left running"
        time.sleep(0.05)


@needs_namespaces
def test_machine_that_refuses_mounts(rehearse: Callable[..., Outcome], service: Path) -> None:
    done = rehearse(service / "myenv", "--entry", "score.py", wrapper=refusing("mnt"))
    assert done.code == 0, done.stderr
    assert re.search(r"isolation +no-network\n", done.stderr)
    assert "not isolated  files can be written" in done.stderr


@needs_namespaces
def test_ordinary_rights(rehearse: Callable[..., Outcome], service: Path) -> None:
    """In a user namespace with one user there is nobody else to become."""
    done = rehearse(service / "myenv", "--entry", "score.py", "--json", wrapper="true")
    assert done.code == 0, done.stderr
    assert done.json()["not_isolated"] == ["other-user"]


@needs_namespaces
def test_port_that_is_taken(rehearse: Callable[..., Outcome], service: Path) -> None:
    """Only where the network is the machine's own, somebody else can have it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = ["--entry", "score.py", "--port", str(server.getsockname()[1])]
        assert rehearse(service / "myenv", *words).code == 0
        taken = rehearse(service / "myenv", *words, wrapper=refusing("mnt", "net", "pid", "ipc"))
    assert taken.code == 3, taken.stderr
    assert "Address already in use" in taken.stderr
    assert "hint: choose another port with --port" in taken.stderr


REFUSED = [
    (["nosuch", "--entry", "src/score.py"], "is not a bundle's folder"),
    (["src", "--entry", "src/score.py"], "manifest.json"),
    (["src/myenv", "--entry", "nosuch.py"], "there is no entry script nosuch.py; looked at:"),
    (["src/myenv", "--entry", "src/myenv/verify.py"], "lies inside of the bundle"),
    (["src/myenv", "--entry", "src/score.py", "--code", "other"], "is not in the code folder"),
    (["src/myenv", "--entry", "score.py", "--model", "nosuch"], "there is no model nosuch"),
    (["src/myenv", "--entry", "score.py", "--model", "src"], "inside of the model's folder"),
    (["src/myenv", "--entry", "score.py", "--request", "nosuch.json"], "nosuch.json: No such file"),
    (["src/myenv", "--entry", "score.py", "--env", "NAME"], "--env NAME: it has no name and value"),
    (["src/myenv", "--entry", "score.py", "--server", "new"], "'new' is no version"),
    (["src/myenv", "--entry", "score.py", "--image", "minimal-ubuntu18.04-py37-cpu-inference"], "has 3.7"),
    (["src/myenv", "--entry", "score.py", "--engine", "podman"], "--engine and --base go together"),
    (["src/myenv"], "Missing option '--entry'"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_refused(envbundle: Command, service: Path, words: list[str], message: str) -> None:
    (service.parent / "other").mkdir()
    done = envbundle("rehearse", *words)
    assert done.code == 2, done.stderr
    assert message in done.stderr
    assert "hint:" in done.stderr


def test_server_that_is_not_to_be_had(envbundle: Command, service: Path, wheels: Path) -> None:
    offline = envbundle.offline(wheels)
    done = envbundle("rehearse", "src/myenv", "--entry", "score.py", "--server", "9.1", *offline)
    assert done.code == 2, done.stderr
    assert "azureml-inference-server-http" in done.stderr


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache-of-real-rehearsals")


@pytest.mark.pypi
@needs_namespaces
def test_sample_with_the_real_server(
    target_python: Path, real_cache: Path, pips: Path, tmp_path: Path
) -> None:
    minor = target_python.name.removeprefix("python")
    envbundle = Command(cache=real_cache, pips=pips, folder=tmp_path)
    code = tmp_path / "src"
    shutil.copytree(SAMPLE, code, ignore=shutil.ignore_patterns("model", "__pycache__"))
    requirements = code / f"requirements-{minor}.txt"
    made = envbundle("create", "-r", requirements, "--python", minor, "-o", code / "myenv")
    assert made.code == 0, made.stderr
    packages = str(code / f"myenv/lib/python{minor}/site-packages")
    run([target_python, code / "train.py"], env=clean_environment(home=tmp_path, PYTHONPATH=packages))
    words = ["rehearse", "src/myenv", "--entry", "score.py", "--request", "src/request.json"]
    for more in ([], ["--layout", "v2", "--model", "src/model"]):
        done = envbundle(*words, *more, "--json")
        assert done.code == 0, done.stderr
        said = done.json()
        assert json.loads(said["answer"]) == {"predictions": ["class_0", "class_1", "class_2"]}
        assert said["isolation"] == EVERYTHING
        assert said["server"] == {"3.7": "0.8.4.2", "3.8": "1.3.4"}[minor]
    wrong = envbundle(*words, "--lib-path", f"lib/python{minor}/site-packages", "--json")
    assert (wrong.code, wrong.json()["exit_code"]) == (1, 97)
    assert "Expected folder with pre-installed packages not found" in wrong.stderr
    writes = (
        (code / "score.py").read_text().replace("def init():", "def init():\n    open(__file__ + '.x', 'w')")
    )
    (code / "writes.py").write_text(writes)
    stopped = envbundle("rehearse", "src/myenv", "--entry", "writes.py", environ={"TMPDIR": str(tmp_path)})
    assert stopped.code == 1
    assert "OSError: [Errno 30] Read-only file system: '/var/azureml-app/writes.py.x'" in stopped.stderr


@pytest.mark.pypi
@needs_namespaces
def test_bundle_that_lacks_pandas(real_cache: Path, pips: Path, tmp_path: Path) -> None:
    envbundle = Command(cache=real_cache, pips=pips, folder=tmp_path)
    made = envbundle("create", "joblib==1.4.2", "--python", "3.8", "-o", "src/myenv")
    assert made.code == 0, made.stderr
    shutil.copy(SAMPLE / "score.py", tmp_path / "src")
    logs = {"TMPDIR": str(tmp_path)}
    done = envbundle("rehearse", "src/myenv", "--entry", "score.py", environ=logs)
    assert done.code == 1
    assert "azmlinfsrv - Traceback (most recent call last):" in done.stderr
    assert "failed: the service: the server ended before it was healthy, with exit code 3" in done.stderr
    assert "ModuleNotFoundError: No module named 'pandas'" in done.stderr
