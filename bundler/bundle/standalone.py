"""Joins sources of `ontarget/` to scripts that run alone: verifier, applier, loader, probe, import proof."""

from __future__ import annotations

import re
from pathlib import Path

from bundler import ontarget

FOLDER = Path(ontarget.__path__[0])
BLOCK = re.compile(r"^# <joined: (\w+)\.py>\n.*?^# </joined>\n", re.MULTILINE | re.DOTALL)
"""The import of a sibling. Those that a sibling has too, the script has above it already."""
BUILDER_ONLY = "\n# <builder only>"
HEAD = re.compile(r'(?:#.*\n|\n)*(?:"""[\s\S]*?"""\n)?(?:\n*from __future__ import .*\n)?')
"""The beginning of each source: its docstring and its `from __future__`."""
SHARED = re.compile(r"^(import \w+|MYPY = False)\n", re.MULTILINE)
"""Lines that each source has, and that the joined script has only once."""


def source() -> str:
    """Return the text of the verifier: `ontarget/verify.py` with its siblings' bodies in it.

    The bodies stand where their imports stood, so the check of the Python and the cleaning of
    `sys.path` still come first. What a sibling marks as the builder's does not travel.
    """
    return _joined("verify")


def image_probe() -> str:
    """Return the text of the probe of an image: `ontarget/describe_image.py` with its sibling in it."""
    return _joined("describe_image")


def import_proof() -> str:
    """Return the text of the import proof: `ontarget/import_in_forks.py` with its sibling in it."""
    return _joined("import_in_forks")


def applier() -> str:
    """Return the text of the applier of deltas: `ontarget/apply.py` with its siblings' bodies in it."""
    return _joined("apply")


def loader() -> str:
    """Return the text of the loader of parcels: `ontarget/load.py` with its siblings' bodies in it."""
    return _joined("load")


def _joined(name: str) -> str:
    text = _read(name)
    present = set(SHARED.findall(text))
    joined = BLOCK.sub(lambda block: _section(block[1], present), text)
    return re.sub(r"\n{4,}", "\n\n\n", joined)


def _section(name: str, present: set[str]) -> str:
    """The body of a sibling under its name; `present` are the shared lines above, and grows."""

    def first(line: re.Match[str]) -> str:
        known = line[1] in present
        present.add(line[1])
        return "" if known else line[0]

    body = SHARED.sub(first, _body(BLOCK.sub("", _read(name)).split(BUILDER_ONLY)[0]))
    return f"{f'# --- {name} '.ljust(100, '-')}\n\n{body.strip()}\n\n\n"


def _body(text: str) -> str:
    """Text without its module docstring and its `from __future__`."""
    return HEAD.sub("", text, count=1)


def _read(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")
