"""An envbundle.toml with what it names, in a test's folder: runs `rebuild`, and reads what it made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.command import Command, Outcome

TOP = """\
output = "out"
no-index = true
find-links = ["wheels", "{pips}"]
[defaults]
python = {python}
"""


BUNDLES = {
    "web": "root-dist",
    "scoring7": "leaf==1.4",
    "scoring": "leaf==1.4",
    "batch": "other\nmore; python_version == '3.8'",
}
"""Pins are made for one Python, as tools do that compile them."""
KEYS = {"scoring7": 'python = "3.7"', "scoring": 'python = "3.8"'}
NAMES = ["web-py37", "web-py38", "scoring7-py37", "scoring-py38", "batch-py37", "batch-py38"]
SITE = "lib/python3.8/site-packages"


def stock(wheels: Path) -> None:
    wheels.mkdir(exist_ok=True)
    make_wheel(wheels, "root-dist", "2.0", files={"root_dist.py": "import leaf\n"}, requires=["leaf"])
    for version in ("1.4", "1.5"):
        make_wheel(wheels, "leaf", version, files={"leaf.py": f"VERSION = {version!r}\n"})
    for name in ("other", "more"):
        make_wheel(wheels, name)


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """An envbundle.toml and what it names, in a folder."""

    command: Command
    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    def write(
        self,
        bundles: Mapping[str, str],
        *,
        python: str = '["3.7", "3.8"]',
        top: str = "",
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """Write the file and requirements files.

        :param bundles: name → its requirements, a line each.
        :param top: further lines for the top of the file.
        :param keys: name of a bundle → further lines of its table.
        """
        lines = [f"{top}\n{TOP.format(pips=self.command.pips, python=python)}"]
        for name, requirements in bundles.items():
            (self.folder / f"{name}.txt").write_text(requirements + "\n")
            lines.append(f'[[bundle]]\nname = "{name}"\nrequirements = "{name}.txt"\n')
            lines.append((keys or {}).get(name, ""))
        (self.folder / "envbundle.toml").write_text("\n".join(lines))

    def __call__(self, *words: str) -> Outcome:
        """Run `envbundle rebuild` to its end."""
        return self.command("rebuild", *words, cwd=self.folder)

    def states(self, *words: str) -> dict[str, str]:
        """Run it, and return what became of each bundle."""
        done = self(*words, "--json")
        assert "Traceback" not in done.stderr, done.stderr
        return {row["name"]: row["state"] for row in done.json()["bundles"]}

    def rows(self, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
        """Run it, and return the summary's row of each bundle."""
        done = self(*words, "--json")
        assert done.code == code, done.stderr
        return {row["name"]: row for row in done.json()["bundles"]}

    def current(self, name: str) -> Path:
        """The folder that is in use."""
        return (self.output / name / "current").resolve(strict=True)

    def record(self, name: str) -> dict[str, Any]:
        """The record of the build that is in use."""
        here = self.current(name)
        parsed: dict[str, Any] = json.loads(here.with_name(f"{here.name}.json").read_text())
        return parsed

    def builds(self, name: str) -> set[str]:
        """Names of all that stands in `builds/` as a folder."""
        return {path.name for path in (self.output / name / "builds").iterdir() if path.is_dir()}

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """All that the filesystem tells of everything below the output, times of folders included."""
        found: dict[str, tuple[object, ...]] = {}
        for path in [self.output, *sorted(self.output.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            link = os.readlink(path) if path.is_symlink() else ""  # noqa: PTH115 - its text, not where it leads
            times = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)
            found[str(path)] = (times, link, content)
        return found


def verify(bundle: Path, python: Path) -> subprocess.CompletedProcess[str]:
    """Run a bundle's own verifier, as its place would."""
    return subprocess.run(
        [python, "-I", bundle / "verify.py"],
        env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@contextlib.contextmanager
def held(folder: Path, kind: int) -> Iterator[None]:
    """Lock a folder, as a run does."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, kind)
    try:
        yield
    finally:
        os.close(descriptor)
