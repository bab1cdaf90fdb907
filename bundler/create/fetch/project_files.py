"""What of a local project's folder a build sees: all but what tools keep in it, envbundle among them.

`rebuild` sees by the same files whether a project has changed (`bundler/rebuild/input_digest.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

from bundler.ontarget.bounded import read_regular
from bundler.system.files import ENDING, real_path

NAMES = (".git", ".hg", ".tox", ".nox", ".venv", "__pycache__", "build", "*.egg-info", f".*{ENDING}")
_TAG = b"Signature: 8a477f597d28d172789f06e886806a55"
"""First bytes of the CACHEDIR.TAG of a cache's folder (https://bford.info/cachedir/)."""
_BUNDLE = ("manifest.json", "SHA256SUMS", "pylock.toml", "verify.py")
_TAG_LIMIT = 1 << 16


def left_out(store: Path) -> Callable[[str, Iterable[str]], set[str]]:
    """Return what tells which names in a folder are not seen, as `shutil.copytree` asks for it.

    :param store: the root of the store, which can lie in a project.
    """
    root = real_path(store)

    def names(folder: str, found: Iterable[str]) -> set[str]:
        return {name for name in found if _is_left_out(Path(folder, name), root)}

    return names


def _is_left_out(path: Path, store: Path) -> bool:
    if any(fnmatch(path.name, pattern) for pattern in NAMES):
        return True
    if path.is_symlink() or not path.is_dir():
        return False
    return real_path(path) == store or _is_cache(path) or _is_output(path)


def _is_cache(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return read_regular(folder / "CACHEDIR.TAG", _TAG_LIMIT).startswith(_TAG)
    return False


def _is_output(folder: Path) -> bool:
    """Tell whether a folder is a bundle, or has the builds of one (`bundler/rebuild/shelf/`).

    With a bundle beside its package setuptools would find two packages, and refuse to choose.
    """
    if all((folder / name).is_file() for name in _BUNDLE):
        return True
    current = folder / "current"
    return current.is_symlink() and current.readlink().parts[:-1] == ("builds",)
