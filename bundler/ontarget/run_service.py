"""Does what a prebuilt inference image does: its start script, its server, a request, the end.

    python -I -S run_service.py WHERE <JOB >RESULT

The target's Python runs it, in the isolation of `isolate.py` (WHERE is `inside`), without it (`in_place`) or
in a container, so the request comes from inside as well. JOB is JSON: `settings` (WHERE → `conda`,
`app_root`, `lib_path`, `honours`, `variables`), `entry`, `variables`, `port`, `request`, `timeout`. RESULT is
a JSON object; the server's output goes to stderr. `conda` is empty in a container: Python and server are the
image's then, and its variables stay.

The start script is /var/runit/gunicorn/run of the images; its one public copy:
https://github.com/Azure/azureml-assets/blob/main/assets/training/model_management/environments/mlflow-model-inference/context/runit/gunicorn/run
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None)
STOPPING = 10.0
"""Seconds that the server has to end after SIGTERM."""
POLL = 0.05
SERVER = "azureml-inference-server-http"
# The script asks `pip show`, which looks at the names of folders on sys.path and reads their METADATA.
FIND_SERVER = """
import os, re, sys
for folder in sys.path:
    for name in sorted(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else []:
        found = re.match(r"(?i)azureml[-_.]inference[-_.]server[-_.]http-([^-]+)\\.(dist|egg)-info$", name)
        if found:
            print(found.group(1))
            sys.exit(0)
sys.exit(1)
"""


class EndedError(Exception):
    """The deployment failed at a step."""

    def __init__(self, step: str, reason: str, code: int | None = None, *, machine: bool = False) -> None:
        super().__init__(reason)
        self.fields = {"step": step, "reason": reason, "exit_code": code, "machine": machine}


def start_variables(job: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Return the server's environment as the start script sets it; EndedError where the script fails."""
    conda = settings["conda"] or os.environ.get("AZUREML_CONDA_ENVIRONMENT_PATH") or sys.prefix
    env = {} if settings["conda"] else dict(os.environ)
    env.setdefault("PATH", conda + "/bin:/usr/local/bin:/usr/bin:/bin")
    env.update(HOME="/tmp", TMPDIR="/tmp")  # noqa: S108 - the room's own
    env.update(LANG="C.UTF-8", LC_ALL="C.UTF-8", PYTHONUNBUFFERED="1")
    env["AZUREML_CONDA_ENVIRONMENT_PATH"] = conda
    env["AML_APP_ROOT"] = settings["app_root"]
    env["AZUREML_ENTRY_SCRIPT"] = job["entry"]
    if settings["lib_path"]:
        env["AZUREML_EXTRA_PYTHON_LIB_PATH"] = settings["lib_path"]
    env.update(settings["variables"])
    env.update(job["variables"])
    before = env.get("LD_LIBRARY_PATH", "")
    env["LD_LIBRARY_PATH"] = env["AZUREML_CONDA_ENVIRONMENT_PATH"] + "/lib" + (":" + before if before else "")
    root = env.get("AML_APP_ROOT") or "/var/azureml-app"
    entry = env.get("AZUREML_ENTRY_SCRIPT", "")
    folder = root
    if entry:
        # ${AZUREML_ENTRY_SCRIPT#/} takes off one slash; dirname of a bare name is a dot.
        folder += "/" + (os.path.dirname(entry[1:] if entry.startswith("/") else entry) or ".")
    env["ENTRY_SCRIPT_DIR"] = folder
    if not settings["honours"]:
        return env
    if env.get("AZUREML_EXTRA_PYTHON_LIB_PATH"):
        # The script joins an absolute path too.
        extra = folder + "/" + env["AZUREML_EXTRA_PYTHON_LIB_PATH"]
        env["EXTRA_PYTHON_LIB_FULL_PATH"] = extra
        if not os.path.isdir(extra):
            raise EndedError("start", "Expected folder with pre-installed packages not found: " + extra, 97)
        # With nothing after the colon, the working folder is on the path (the script does it so).
        env["PYTHONPATH"] = extra + ":" + env.get("PYTHONPATH", "")
    else:
        require_nothing_to_install(env, folder)
    return env


def require_nothing_to_install(env: dict[str, str], folder: str) -> None:
    """Raise EndedError where the script would install packages, which needs a network."""
    conda = env.get("AZUREML_EXTRA_CONDA_YAML_ABS_PATH") or (
        env.get("AZUREML_EXTRA_CONDA_YAML") and folder + "/" + env["AZUREML_EXTRA_CONDA_YAML"]
    )
    listed = (
        env.get("AZUREML_EXTRA_REQUIREMENTS_TXT") and folder + "/" + env["AZUREML_EXTRA_REQUIREMENTS_TXT"]
    )
    for path, missing in ((conda, 98), (None if conda else listed, 99)):
        if path and not os.path.isfile(path):
            raise EndedError("start", "Expected file not found: " + path, missing)
        if path:
            raise EndedError("start", path + " would be installed now, which needs a network", 95)


def require_server(settings: dict[str, Any], env: dict[str, str]) -> str:
    """Return the server's version, found as `pip show` does; EndedError with 100 where there is none."""
    words = [python_of(settings), "-c", FIND_SERVER]
    code, version, errors = ask(words, env, settings["app_root"])
    if code == 0:
        return version
    bare = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    healthy = ask(words, bare, "/")[0] == 0
    reason = "the image's Python does not start with the bundle on its path" if healthy else "it is missing"
    last = errors.strip().splitlines()[-1:]
    raise EndedError(
        "start",
        "A required package {0} is missing: {1}".format(SERVER, ": ".join([reason, *last])),
        100,
        machine=not healthy,
    )


def python_of(settings: dict[str, Any]) -> str:
    """Return the image's Python."""
    return settings["conda"] + "/bin/python" if settings["conda"] else sys.executable


def program(settings: dict[str, Any], env: dict[str, str]) -> list[str]:
    """Return the command of the server, run by our Python: its script may name another one."""
    beside = os.path.join(os.path.dirname(python_of(settings)), "azmlinfsrv")
    found = None if os.path.isfile(beside) else shutil.which("azmlinfsrv", path=env["PATH"])
    return [python_of(settings), found or beside]


def ask(words: list[str], env: dict[str, str], cwd: str) -> tuple[int, str, str]:
    """Run a program to its end: exit code, standard output, standard error."""
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            check=False, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    printed, errors = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return done.returncode, printed.strip(), errors


def require_free(port: int) -> None:
    """Raise EndedError where the port is taken, as it can be where the network is the machine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - as the server does
        except OSError as error:
            raise EndedError("start", "port {0}: {1}".format(port, error.strerror), machine=True) from error


def require_readable(path: str) -> None:
    """Raise EndedError where the entry script is missing or this user may not read it."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise EndedError("start", "the entry script {0}: {1}".format(path, error.strerror)) from error


def die_with_parent() -> None:
    """Have the kernel kill the server when the rehearsal is killed; called in the server's process."""
    LIBC.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def talk(port: int, method: str, path: str, body: str | None, timeout: float) -> tuple[int, str, bytes]:
    """Send a request; return status, content type and body, or raise OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else body.encode("utf-8")
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read()
    finally:
        connection.close()


def wait_until_healthy(server: subprocess.Popen[bytes], port: int, timeout: float) -> str:
    """Return the answer of the liveness route; EndedError if the server ends or the time is over."""
    limit = time.monotonic() + timeout
    last = "nothing listens"
    while time.monotonic() < limit:
        code = server.poll()
        if code is not None:
            raise EndedError("boot", "the server ended before it was healthy, " + how(code), code)
        try:
            status, _, body = talk(port, "GET", "/", None, max(limit - time.monotonic(), POLL))
            if status == 200:
                return body.decode("utf-8", "replace")
            last = "it answers {0}".format(status)
        except (OSError, http.client.HTTPException) as error:
            last = str(error) or type(error).__name__
        time.sleep(POLL)
    raise EndedError("boot", "the server was not healthy after {0:g} s: {1}".format(timeout, last))


def how(code: int) -> str:
    """Return in words how a program ended."""
    if code >= 0:
        return "with exit code {0}".format(code)
    try:
        return "killed by " + signal.Signals(-code).name
    except ValueError:
        return "killed by signal {0}".format(-code)


def score(port: int, request: str, timeout: float, result: dict[str, Any]) -> None:
    """Send the request and put the answer into `result`; EndedError unless the status is 200."""
    started = time.monotonic()
    try:
        status, kind, body = talk(port, "POST", "/score", request, timeout)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise EndedError(
            "score", "POST /score got no answer within {0:g} s: {1}".format(timeout, reason)
        ) from error
    result.update(
        score_seconds=time.monotonic() - started,
        status=status,
        content_type=kind,
        answer=body.decode("utf-8", "replace"),
    )
    if status != 200:
        raise EndedError("score", "POST /score was answered with status {0}".format(status))


def stop(server: subprocess.Popen[bytes], patience: float) -> bool:
    """End the server and all that it started; tell whether SIGTERM was enough."""
    clean = server.poll() is not None
    if not clean:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(patience)
            clean = True
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    # Processes that left the server's group are our children now (man 2 prctl, PR_SET_CHILD_SUBREAPER).
    for _ in range(100):
        left = children()
        for child in left:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        if not left:
            break
    return clean


def children() -> list[int]:
    """Return the process IDs of our children."""
    own, found = str(os.getpid()), []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/{0}/stat".format(name), "rb") as stream:
                # The name of the command may contain anything, parentheses too.
                parent = stream.read().rpartition(b")")[2].split()[1].decode("ascii")
        except (OSError, IndexError):
            continue
        if parent == own:
            found.append(int(name))
    return found


def rehearse(job: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Rehearse one deployment from start to end; return the result."""
    result: dict[str, Any] = {"step": "done", "reason": "", "exit_code": None, "machine": False}
    port, timeout = job["port"], job["timeout"]
    server = None
    try:
        require_free(port)
        env = start_variables(job, settings)
        result["python"] = platform.python_version()
        result["pythonpath"] = env.get("PYTHONPATH", "")
        result["server"] = require_server(settings, env)
        root, entry = env["AML_APP_ROOT"], env.get("AZUREML_ENTRY_SCRIPT") or "main.py"
        require_readable(os.path.join(root, entry))
        words = [*program(settings, env), "--entry_script", entry, "--port", str(port)]
        started = time.monotonic()
        server = subprocess.Popen(
            words, cwd=root, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(),
            start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509 - there are no threads
        )  # fmt: skip
        result["liveness"] = wait_until_healthy(server, port, timeout)
        result["start_seconds"] = time.monotonic() - started
        if job["request"] is not None:
            score(port, job["request"], timeout, result)
    except EndedError as end:
        result.update(end.fields)
    finally:
        if server is not None:
            result["stopped"] = stop(server, min(STOPPING, timeout))
    return result


def main() -> None:
    """Read the job, rehearse it, and write the result."""
    job = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    sys.stdout.write(json.dumps(rehearse(job, job["settings"][sys.argv[1]])))


if __name__ == "__main__":
    main()
