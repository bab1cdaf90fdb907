"""The heap of a process that has many threads."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

ALLOCATING = """
import ctypes, sys, threading
from bundler.cli import heap
if sys.argv[1] == "shared":
    heap.share()
here = threading.Barrier(4)

def allocate():
    kept = [bytes(2000) for _ in range(100)]
    here.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
if hasattr(libc, "malloc_info"):
    libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
    libc.fflush(None)
"""


def _heaps(how: str) -> int:
    words = [sys.executable, "-c", ALLOCATING, how]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return len(re.findall("<heap nr=", told))


def test_threads_share_one_heap() -> None:
    if _heaps("its own") < 2:
        pytest.skip("this C library has one heap anyway")
    assert _heaps("shared") == 1
