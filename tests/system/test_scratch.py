"""Private folders: a run beside others always gets one, and each is removed."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bundler.system import scratch

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_runs_that_sweep_take_no_folder_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One was gone between its making and its locking: the command ended with "No such file or directory"."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            scratch.sweep()

    def work() -> int:
        with scratch.folder() as folder:
            (folder / "file").write_text("")
            return len(list(folder.iterdir()))

    with ThreadPoolExecutor(6) as pool:
        sweeping = [pool.submit(sweep) for _ in range(2)]
        try:
            assert [one.result() for one in [pool.submit(work) for _ in range(300)]] == [1] * 300
        finally:
            ended.set()
        for one in sweeping:
            one.result()
    assert not list(tmp_path.iterdir())
