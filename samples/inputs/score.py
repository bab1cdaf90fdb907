"""Makes a page of Markdown into HTML."""

import json

from markdown_it import MarkdownIt


def init():
    """Make the parser once."""
    global parser  # noqa: PLW0603 - a scoring script keeps what `init` makes
    parser = MarkdownIt()


def run(raw_data):
    """Answer `{"markdown": ...}` with `{"html": ...}`."""
    return {"html": parser.render(json.loads(raw_data)["markdown"])}
