"""A night of three bundles: of a wheel, of a source that can be slow or deadly, and of what no index has."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bundler.rebuild import config, plan

from tests.support import wheelmaker

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.rebuild.plan import Job

    from tests.support.index import Index

CONFIG = """
output = "out"
index-url = "{index}"

[defaults]
python = ["3.8"]

[[bundle]]
name = "plain"
requirements = "plain.txt"

[[bundle]]
name = "slow"
requirements = "slow.txt"

[[bundle]]
name = "gone"
requirements = "gone.txt"
"""
BACKEND = """
import base64, hashlib, os, signal, time, zipfile
FOLDER = FOLDER_HERE

def log(text):
    with open(FOLDER + "/log", "a") as file:
        file.write(text + "\\n")

def parents():
    pid = os.getpid()
    while pid > 1:
        with open("/proc/%d/stat" % pid) as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        yield pid

def build_wheel(folder, config_settings=None, metadata_directory=None):
    log("begun")
    if os.path.exists(FOLDER + "/deadly"):
        for pid in parents():
            with open("/proc/%d/cmdline" % pid) as file:
                if "spawn_main" in file.read():
                    os.kill(pid, signal.SIGKILL)
                    break
    if os.path.exists(FOLDER + "/slow"):
        time.sleep(3)
    name = "slow-1.0-py3-none-any.whl"
    files = {
        "slow.py": "VALUE = 1\\n",
        "slow-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n",
        "slow-1.0.dist-info/WHEEL":
            "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = ""
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows += "%s,sha256=%s,\\n" % (path, digest)
        record = "slow-1.0.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), rows + record + ",,\\n")
    log("ended")
    return name
"""


@dataclass(frozen=True, kw_only=True)
class Night:
    """Three bundles: of a wheel, of a source that can be slow or deadly, and of what no index has."""

    folder: Path
    index: Index

    def jobs(self, *only: str) -> tuple[Job, ...]:
        """The jobs of those that are named."""
        read = config.read(self.folder / "envbundle.toml")
        now = datetime.now(timezone.utc)
        return plan.plan(read, only=only, now=now, environ={}, cache_dir=self.folder / "cache")

    def log(self) -> list[str]:
        """What the builds of the source said."""
        path = self.folder / "log"
        return path.read_text().split() if path.exists() else []

    def wait_for(self, line: str) -> None:
        """Wait until a build has said so."""
        limit = time.monotonic() + 60
        while line not in self.log():
            assert time.monotonic() < limit
            time.sleep(0.02)

    @property
    def output(self) -> str:
        """The URL of the builds."""
        return f"file://{self.folder}/place/out"

    @property
    def store(self) -> str:
        """The URL of the wheels."""
        return f"file://{self.folder}/place/store"


def make_night(index: Index, wheels: Path, pips: Path, folder: Path) -> Night:
    """Put everything into a folder and an index."""
    for path in pips.glob("*.whl"):
        shutil.copy(path, wheels)
    wheelmaker.make_wheel(wheels, "alpha", requires=["beta"])
    wheelmaker.make_wheel(wheels, "beta")
    project = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.replace("FOLDER_HERE", repr(str(folder))),
        "PKG-INFO": "Metadata-Version: 2.2\nName: slow\nVersion: 1.0\n",
    }
    wheelmaker.make_sdist(wheels, "slow", files=project)
    (folder / "plain.txt").write_text("alpha\n")
    (folder / "more").mkdir()
    (folder / "more" / "nested.txt").write_text("beta==1.0\n")
    (folder / "slow.txt").write_text("slow\n-r more/nested.txt\n")
    (folder / "gone.txt").write_text("never-heard-of\n")
    (folder / "envbundle.toml").write_text(CONFIG.format(index=index.url))
    return Night(folder=folder, index=index)
