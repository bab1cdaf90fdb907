"""The report that travels in a bundle: made once for the same manifest, and kept in the store."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from bundler.bundle.manifest.values import Manifest
from bundler.report.sbom import Texts, made_once
from bundler.system import sizes
from bundler.system.installed_versions import version

NAME = "report.html"
LIBRARIES = ("Jinja2", "MarkupSafe")
"""What the text depends on besides the manifest and this package."""


def render(manifest: Manifest, *, texts: Texts | None = None) -> str:
    """Return the text of a bundle's own report.html: the same for the same manifest, whoever makes it.

    :param manifest: as it will be written, but for the row of the report itself.
    :param texts: where it may have been kept since the last time, and is kept for the next.
    """

    def make() -> str:
        from bundler.report.pages.bundle_page import bundle_html  # noqa: PLC0415 - a tenth of a second that most runs save

        return bundle_html(manifest, beside=True)

    return made_once(_key(manifest), make, texts=texts)


def load() -> None:
    """Load what makes a new text."""
    from bundler.report.pages import bundle_page  # noqa: PLC0415 - as above

    bundle_page.load()


def _key(manifest: Manifest) -> str:
    """Return a hash of all that the text is made of, this package included."""
    key = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.glob("*.*")), Path(sizes.__file__)):
        key.update(f"{path.name}\n".encode() + path.read_bytes())
    size = sum(file.size for file in manifest.files)
    facts = (replace(manifest, files=()), manifest.digest, len(manifest.files), size)
    key.update(repr((facts, [version(name) for name in LIBRARIES])).encode("utf-8", "backslashreplace"))
    return key.hexdigest()
