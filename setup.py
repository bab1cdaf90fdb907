"""Makes the text of the package's page on an index; all else about the package is in setup.cfg."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n+", re.MULTILINE)
IN_CHECKOUT = re.compile(r"\[([^\]]*)\]\((?!\w+:)[^)]*\)")
WHERE = "The pages of `docs/` are installed with it, in `share/doc/envbundle` of its environment.\n"


def index_page(readme: str) -> str:
    """Return the README without pictures of the checkout, and its links to files there as their words.

    An index shows the text alone, and the project has no address yet to which such links could lead.
    """
    words = IN_CHECKOUT.sub(r"\1", PICTURE.sub("", readme))
    return f"{words}\n{WHERE}"


setup(long_description=index_page(Path("README.md").read_text(encoding="utf-8")))
