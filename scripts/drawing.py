"""Makes the pictures of the README: a run of `create` in a terminal, and the report of its bundle.

The transcript of the run is kept beside its picture, and what the report was drawn of beside that, so that
tests/test_pictures.py finds a picture that is out of date without a network and without a browser.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
TRANSCRIPT = PICTURES / "create.txt"
TERMINAL = PICTURES / "create.svg"
REPORT = PICTURES / "report.png"
SOURCES = PICTURES / "report.json"
REQUIREMENTS = ROOT / "samples" / "scoring" / "requirements-3.8.txt"
PAGES = ROOT / "bundler" / "report" / "pages"
TEMPLATES = ("_base.html", "_parts.html", "bundle.html", "report.css", "report.js")
COMMAND = "envbundle create -r requirements.txt --python 3.8 -o src/myenv"
FURTHER = "iniconfig==2.0.0"
SHOWN_FOLDER = "/home/me/service"
"""Stands in the transcript for the temporary folder of the run."""
PASSED = (
    "HOME",
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "PIP_CONFIG_FILE",
    "PIP_CERT",
)
"""Variables of the caller that the run gets; the line with those that `create` held back is left out."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = "1040,1030"
CHARACTER, LINE, MARGIN, BAR = 7.83, 19, 18, 30
"""Pixels: width of a character, height of a line, space around the text, height of the window's bar."""
STYLE = """\
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d4d8de }
text { white-space: pre }
.command { fill: #ffffff; font-weight: bold }
.label { fill: #7cc7ff }
"""


def terminal(transcript: str) -> str:
    """Draw a transcript as an SVG: lines that begin with `$ ` are commands, the rest is output.

    In an output line the word before a run of spaces is its label, and has a colour of its own.
    """
    lines = transcript.splitlines()
    width = round(max(map(len, lines)) * CHARACTER) + 2 * MARGIN
    height = BAR + len(lines) * LINE + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(lines[0].removeprefix('$ '))}</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#1d2229"/>',
        *(f'<circle cx="{18 + 18 * place}" cy="16" r="5" fill="#4a525e"/>' for place in range(3)),
    ]
    for number, line in enumerate(lines, start=1):
        y = BAR + number * LINE - 4
        if line.startswith("$ "):
            text = f'<tspan class="command">{escape(line)}</tspan>'
        elif "  " in line.lstrip() and not line.startswith(" "):
            label, _, rest = line.partition("  ")
            text = f'<tspan class="label">{escape(label)}</tspan>  {escape(rest)}'
        else:
            text = escape(line)
        parts.append(f'<text x="{MARGIN}" y="{y}" xml:space="preserve">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def sources(manifest_digest: str) -> dict[str, str]:
    """Return what the picture of the report depends on.

    :param manifest_digest: of the sample's bundle, as its manifest says.
    """
    templates = hashlib.sha256()
    for name in TEMPLATES:
        templates.update((PAGES / name).read_bytes())
    return {
        "templates": templates.hexdigest(),
        "requirements": hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest(),
        "manifest": manifest_digest,
    }


def run_create(folder: Path) -> str:
    """Make the sample's bundle in a folder, and return the transcript.

    A bundle with one distribution more is made first. So the wheels are in the cache, as on most days, and
    this very bundle is proved for the first time.
    """
    (folder / "requirements.txt").write_bytes(REQUIREMENTS.read_bytes())
    words = COMMAND.split()[1:]
    _envbundle(folder, [*words[:-1], "filled/myenv", FURTHER])
    lines = [line for line in _envbundle(folder, words).splitlines() if not line.startswith("held back")]
    return "\n".join([f"$ {COMMAND}", *lines, ""]).replace(str(folder), SHOWN_FOLDER)


def _envbundle(folder: Path, words: list[str]) -> str:
    environ = {name: value for name, value in os.environ.items() if name in PASSED}
    done = subprocess.run(
        [sys.executable, "-m", "bundler", *words],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT), "ENVBUNDLE_CACHE_DIR": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout)
    return done.stdout


def screenshot(page: Path, picture: Path) -> None:
    """Draw the top of a page with a headless Chromium."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("error: no Chromium on this machine\nhint: apt-get install chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}"]
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, *options, f"--user-data-dir={profile}", f"--screenshot={picture}", page.as_uri()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )


def main() -> None:
    """Make all pictures; needs a package index, CPython 3.8 and a Chromium."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        transcript = run_create(folder)
        bundle = folder / "src" / "myenv"
        screenshot(bundle / "report.html", REPORT)
        digest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["digest"]
    TRANSCRIPT.write_text(transcript, encoding="utf-8")
    TERMINAL.write_text(terminal(transcript), encoding="utf-8")
    SOURCES.write_text(json.dumps(sources(digest), indent=2) + "\n", encoding="utf-8")
