"""Words of the reports that are data."""

from __future__ import annotations

PROOFS = {
    "moved": "at another path than it was built at",
    "read-only": "from a read-only tree",
    "no-network": "without a network",
}
"""What the isolation of a proof is called: see `evidence.proof` in docs/manifest.md."""
DOCUMENTS = {
    "pylock.toml": "The lock: every distribution with version, file and sha256 (PEP 751); "
    "`envbundle create --lock` makes the bundle of it again.",
    "requirements.lock": "The same lock for `pip install --require-hashes`.",
    "sbom.cdx.json": "The bill of materials (CycloneDX), for scanners of licences and vulnerabilities.",
    "verify.py": "Verifies the bundle where it runs: `python verify.py` needs the standard library only.",
    "report.html": "This report, as it stands in the bundle.",
}
ASPECTS = {
    "needs": "what is needed of the image",
    "chains": "who requires what",
    "native": "native files",
    "entry_points": "entry points",
    "setting": "settings",
}
"""Aspects of a comparison (`differences_model.ASPECTS`) whose own names are no plain words."""
