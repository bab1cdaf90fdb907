"""Does what the image's start script does: starts its inference server with the bundle on the path.

    python serve.py SITE-PACKAGES

SITE-PACKAGES is the bundle's; score.py and request.json lie beside this file. In the root without network it
asks the server once, prints the answer and stops it; exit code 1 if there is no good answer.
"""

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = "http://127.0.0.1:31311"
PATIENCE = 60
"""Seconds that the server has to get healthy."""


def loopback_up():
    """A new network namespace has nothing but the interface `lo`, and that is down (man 7 netdevice)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sH14s", b"lo", 1, b""))  # SIOCSIFFLAGS, IFF_UP


def ask(path, data=None):
    """Return the body of an answer with status 200; raises OSError."""
    request = urllib.request.Request(SERVER + path, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode("utf-8")


def healthy(server):
    """Wait until the server answers its liveness route; tell whether it does."""
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            ask("/")
            return True
        time.sleep(0.05)
    return False


def main(site_packages):
    """Start the server, score request.json, stop the server; return the exit code."""
    loopback_up()
    words = ["-m", "azureml_inference_server_http", "--entry_script", "score.py", "--port", "31311"]
    env = {
        **os.environ,
        "PYTHONPATH": site_packages,
        "AML_APP_ROOT": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([sys.executable, *words], cwd=HERE, env=env, stdout=log, stderr=log)
        try:
            if healthy(server):
                print(ask("/score", (HERE / "request.json").read_bytes()))
                return 0
            print("the server is not healthy", file=sys.stderr)
        except urllib.error.HTTPError as error:
            print("{}: {}".format(error.code, error.read().decode("utf-8", "replace")), file=sys.stderr)
        finally:
            server.terminate()
            server.wait()
        log.seek(0)
        sys.stderr.write(log.read())
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
