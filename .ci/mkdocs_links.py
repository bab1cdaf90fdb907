"""A hook of mkdocs: links to files of the checkout that are no pages become their names."""

from __future__ import annotations

import re

OUTSIDE = re.compile(r"\[([^\]\[]+)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the text of a page without links that lead out of docs/."""
    return OUTSIDE.sub(r"\1", markdown)
