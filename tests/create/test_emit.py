"""What the documents of a bundle are made with is loaded ahead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
from bundler.create import emit
from bundler.report import sbom
from bundler.report.pages import embedded_page
from tests.support.bundlemaker import lock, locked, make_manifest

made = make_manifest(Path(sys.argv[1]))
assert not {"cyclonedx", "jinja2"} & sys.modules.keys()
emit.load()
from bundler.report.pages import page
known, compiled = {*sys.modules}, len(page._environment().cache)
bill = sbom.bill(made, lock=lock(locked("alpha")), wheels={"alpha": ("alpha-1.0-py3-none-any.whl", "0" * 64)})
assert "alpha" in sbom.render(bill)
assert "alpha" in embedded_page.render(made)
later = {name.partition(".")[0] for name in {*sys.modules} - known} - sys.stdlib_module_names
print(sorted(later), len(page._environment().cache) - compiled)
"""


@pytest.mark.thorough
def test_nothing_is_left_to_load(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        cwd=Path(__file__).parent.parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[] 0\n"
