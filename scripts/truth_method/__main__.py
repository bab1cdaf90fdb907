"""Starts scripts/truth in the virtualenv that it has set up."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.truth_method.command import main

if __name__ == "__main__":
    sys.exit(main())
