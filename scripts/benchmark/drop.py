"""Drops the files below a folder from the page cache: `drop.py FOLDER`. Needs no root, touches nothing else.

What a process has mapped or has not yet written stays: it is written first.
"""

import os
import sys
from pathlib import Path

os.sync()
for path in Path(sys.argv[1]).rglob("*"):
    if path.is_file() and not path.is_symlink():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
