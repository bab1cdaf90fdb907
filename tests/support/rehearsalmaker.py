"""A service with its bundle, and a small server with the command line of the real one, to rehearse with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.create.test_interrupted import children_that_mention
from tests.support.bundlemaker import make_bundle

if TYPE_CHECKING:
    pass

SERVER = """\
import argparse, importlib.util, json, os, sys, traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry_script")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    sys.path.append(os.environ["AML_APP_ROOT"])
    print("fake server at", options.port)
    try:
        spec = importlib.util.spec_from_file_location("entry_module", os.path.realpath(options.entry_script))
        entry = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(entry)
        entry.init()
    except Exception as error:
        print("2026-01-01 E [7] azmlinfsrv - ", end="")
        traceback.print_exc(file=sys.stdout)
        sys.exit(3)

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status == 200 else "text/plain")
            self.end_headers()
            self.wfile.write(body.encode())
        def do_GET(self):
            self.answer(200, "Healthy")
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"])).decode()
            try:
                self.answer(200, json.dumps(entry.run(data)))
            except Exception:
                traceback.print_exc()
                self.answer(500, "the script failed")
    HTTPServer(("0.0.0.0", options.port), Handler).serve_forever()
"""
SCORE = "def init():\n    pass\n\n\ndef run(data):\n    return {'seen': data}\n"
LOOK = """\
import os, socket, sys

def init():
    pass

def tried(action, *words):
    try:
        return repr(action(*words)) and ""
    except (OSError, ImportError) as error:
        return "%s %s" % (type(error).__name__, getattr(error, "errno", "") or error)

def connect(place):
    socket.create_connection(place, timeout=2).close()

def run(data):
    beside, builder, port = data.split("|")
    return {
        "path": sys.path,
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "user": [os.getuid(), os.geteuid(), os.getgroups()],
        "beside": tried(__import__, "beside"),
        "writes": [tried(open, place, "w") for place in (
            os.path.dirname(__file__) + "/x", os.environ["EXTRA_PYTHON_LIB_FULL_PATH"] + "/x",
            sys.prefix + "/x", "/x", "/usr/x", "/etc/x", "/tmp/written", "/dev/shm/written", "/dev/null")],
        "builder": tried(os.listdir, builder),
        "network": [tried(connect, ("127.0.0.1", int(port))), tried(connect, ("192.0.2.1", 80))],
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    }
"""

SITE = "myenv/lib/python3.8/site-packages"


def make_service(code: Path, minor: str, *wheels: Path) -> Path:
    code.mkdir()
    make_bundle(code / "myenv", *wheels, minor=minor)
    (code / "score.py").write_text(SCORE)
    (code / "look.py").write_text(LOOK)
    (code / "beside.py").write_text("")
    return code


def left(port: str) -> list[str]:
    """Processes of a rehearsal with this port: its server, and what `DETACHED` starts."""
    return children_that_mention(
        f"azmlinfsrv\0--entry_script\0score.py\0--port\0{port}\0", f"sleep\0007{port}\0"
    )
