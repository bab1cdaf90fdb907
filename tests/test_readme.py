"""What the README and the guide show is run, in order, and must print what they show.

`…` stands for any text. Every link of theirs leads somewhere, and the pages say what is there.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.command import Command

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "docs" / "inputs.md"]
"""The pages whose blocks are run; the others show formats and single options."""
LONGEST_README = 250
BLOCK = re.compile(r"<!-- run: (?P<needs>\w+) -->\n```console\n(?P<text>.*?)```", re.DOTALL)
FILE = re.compile(r"<!-- file: (?P<path>[\w./-]+) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT")


def steps(page: Path, needs: str) -> list[tuple[str, str]]:
    """(command, expected output) of every block of a page that needs the given thing."""
    return [
        step.partition("\n")[::2]
        for block in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if block["needs"] == needs
        for step in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]
    ]


def fits(shown: str, said: str) -> bool:
    """Whether output is what a block shows; runs of spaces count as one."""
    text = re.escape(" ".join(shown.split())).replace(r"\ …\ ", r"(?:\ .*?)?\ ")
    pattern = text.replace("…", ".*?")
    return re.fullmatch(pattern, " ".join(said.split()), re.DOTALL) is not None


def run(command: str, envbundle: Command, python38: Path) -> str:
    programs = {"envbundle": [sys.executable, "-m", "bundler"], "python3.8": [str(python38)]}
    words = shlex.split(command)
    done = subprocess.run(
        [*programs[words[0]], *words[1:]],
        cwd=envbundle.folder,
        env=envbundle.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("shown", "said", "expected"),
    [
        ("a … c", "a  b\n c", True),
        ("a … c", "a b d", False),
        ("a\n…\nc", "a\nc", True),
        ("a … c", "ac", False),
        ("…", "", True),
        ("ok: … files", "ok: 3 files", True),
        ("ok: … files", "2 findings: 3 files", False),
    ],
)
def test_fits(shown: str, said: str, *, expected: bool) -> None:
    assert fits(shown, said) is expected


def test_every_console_block_is_run() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    blocks = [len(BLOCK.findall(text)) for text in texts]
    assert blocks == [text.count("```console") for text in texts]
    assert sum(blocks) >= 15


@pytest.mark.thorough
@pytest.mark.parametrize(("command", "expected"), [step for page in PAGES for step in steps(page, "offline")])
def test_offline_blocks(envbundle: Command, python38: Path, command: str, expected: str) -> None:
    assert fits(expected, run(command, envbundle, python38))


@pytest.mark.pypi
@pytest.mark.parametrize(
    "page", [page for page in PAGES if steps(page, "network")], ids=lambda page: page.name
)
def test_network_blocks(envbundle: Command, python38: Path, tmp_path: Path, page: Path) -> None:
    """The blocks of a page are run one after the other in one folder, with the files that it shows."""
    (tmp_path / "requirements.txt").write_text("requests==2.32.3\n")
    for file in FILE.finditer(page.read_text(encoding="utf-8")):
        (tmp_path / file["path"]).parent.mkdir(exist_ok=True)
        (tmp_path / file["path"]).write_text(file["text"])
    for command, expected in steps(page, "network"):
        said = run(command, envbundle, python38)
        assert fits(expected, said), f"$ {command}\n{said}\n--- shown:\n{expected}"


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= LONGEST_README


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\d+\. \[[\w.-]+\]\(([\w.-]+\.md)\)", index, re.MULTILINE)
    assert sorted([*named, "README.md"]) == [page.name for page in sorted((ROOT / "docs").glob("*.md"))]


def anchors(text: str) -> set[str]:
    """The anchors of a page: its own, and those that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def broken_links(page: Path) -> list[str]:
    """The links of a page that stay within the checkout and lead to no file or heading."""
    broken = []
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (
            not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8")))
        ):
            broken.append(link)
    return broken


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text('# A `b` c\n<a id="x"></a>\n')
    links = ["there.md#a-b-c", "there.md#x", "#own", "https://x.example/y", "gone.md", "there.md#d", "#e"]
    page = tmp_path / "page.md"
    page.write_text("## Own\n" + " ".join(f"[link]({link})" for link in links))
    assert broken_links(page) == ["gone.md", "there.md#d", "#e"]


def test_links_resolve() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("samples/*/*.md"),
    ]
    broken = {page.relative_to(ROOT).as_posix(): broken_links(page) for page in pages}
    assert {page: links for page, links in broken.items() if links} == {}
    assert len(pages) >= 18


@pytest.mark.pypi
@pytest.mark.parametrize("version", ["3.8", "3.7"])
def test_demo(tmp_path: Path, version: str) -> None:
    """The first command, as a newcomer runs it, in a copy of the checkout with nothing set up."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
            (copy / name).chmod((ROOT / name).stat().st_mode)
    environ = {name: os.environ[name] for name in (*CERTIFICATES, "PATH", "HOME") if name in os.environ}
    environ |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHON": sys.executable,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [copy / "scripts" / "demo", version], env=environ, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "{'predictions': ['class_0', 'class_1', 'class_2']}" in done.stdout
