"""Tells which files of an environment are not those of its distributions: edited, added, or elsewhere."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from bundler.checks import installed
from bundler.create.inputs.environment_place import Place
from bundler.lazy_dataclass import dataclass
from bundler.model import Note
from bundler.system import files
from bundler.system.files import is_folder, real_path

NAMED = 3
"""How many files a note names."""
ON_PATH = 12
"""How many modules of a folder on PYTHONPATH are named."""
TOOLS = frozenset({"__pycache__", "_virtualenv.py", "distutils-precedence.pth", "README.txt"})
"""What virtualenv, setuptools and Python leave in a site-packages folder."""
METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
MODULES = (".py", ".so", ".pyc")


def notes(place: Place, metadata: Mapping[str, Path], python_path: str) -> Iterator[Note]:
    """Tell what is not as its distribution brought it, or belongs to none.

    :param metadata: normalised name → .dist-info, .egg-info or .egg-link of what is installed.
    :param python_path: the caller's PYTHONPATH.
    """
    tops: set[str] = set()
    for folder in place.folders:
        owned = _owned(folder, [one for one in metadata.values() if one.parent == folder], place)
        tops |= {name.partition(".")[0] for name in os.listdir(folder)}  # noqa: PTH208 - names alone
        yield from _of_distributions(folder, metadata, owned)
        yield from _of_nobody(folder, owned)
    for entry in python_path.split(os.pathsep):
        path = Path(entry)
        if entry and is_folder(path) and real_path(path) not in {real_path(one) for one in place.folders}:
            yield from _on_python_path(path, tops)


@dataclass(frozen=True, kw_only=True)
class _Owned:
    """What belongs to distributions."""

    files: set[str] = field(default_factory=set)
    """Paths relative to site-packages."""
    tops: set[str] = field(default_factory=set)
    """Names directly in site-packages of which it is not known which files belong to whom."""
    edited: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Normalised name → files that are not what its RECORD says."""


def _owned(folder: Path, metadata: Collection[Path], place: Place) -> _Owned:
    owned = _Owned(tops=set(place.conda_packages or ()))
    seen = installed.read(folder)
    conda = {
        one.name
        for one in seen.distributions
        if one.dist_info in (place.conda_packages or ()) or _installer(folder / one.dist_info) == "conda"
    }
    inside = f"{folder.name}/"
    for row in installed.read_records(folder.parent, folder.name, seen):
        if not row.path.startswith(inside):
            continue
        path = row.path.removeprefix(inside)
        owned.files.add(path)
        # conda writes its prefix into files when it installs them, and says so already.
        if row.sha256 and row.owner not in conda and not _is(folder / path, row.sha256):
            owned.edited[row.owner].append(path)
    for info in metadata:
        if not (info / "RECORD").is_file():
            owned.tops.update(_named(info))
    return owned


def _installer(info: Path) -> str:
    try:
        return installed.read_bytes(str(info / "INSTALLER"), 100).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _is(path: Path, sha256: str) -> bool:
    try:
        return files.digest(path) == sha256
    except OSError:
        return False


def _named(info: Path) -> Iterator[str]:
    """Yield the names in site-packages that a distribution without RECORD says are its own."""
    stem = info.name.partition("-")[0]
    for name in {stem, *installed.named_modules(info)}:
        yield from (name, f"{name}.py")


def _of_distributions(folder: Path, metadata: Mapping[str, Path], owned: _Owned) -> Iterator[Note]:
    for name, info in sorted(metadata.items()):
        if info.parent != folder:
            continue
        if edited := owned.edited.get(name):
            yield Note(
                subject=name,
                text=f"{_listed(edited)} edited since the installation: the bundle has what was published",
            )
        if info.suffix != ".egg-link" and info.name not in owned.tops and not (info / "RECORD").is_file():
            yield Note(
                subject=name,
                text="has no RECORD, so nobody can say whether its files are those that were published, "
                "which the bundle has",
            )


def _listed(paths: Collection[str]) -> str:
    shown = sorted(paths)[:NAMED]
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{', '.join(shown)}{more} {'was' if len(paths) == 1 else 'were'}"


def _of_nobody(folder: Path, owned: _Owned) -> Iterator[Note]:
    """Tell what belongs to no distribution: modules that somebody copied in, and .pth files."""
    shared = {path.partition("/")[0] for path in owned.files}
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda one: one.name)
    for entry in listed:
        if entry.name in TOOLS or entry.name in owned.tops or entry.name.startswith("~"):
            continue
        if entry.name.endswith(".pth"):
            if entry.name not in owned.files:
                yield from _startup(Path(entry.path))
        elif not entry.name.endswith(METADATA):
            strange = [path for path in _files(folder, entry) if path not in owned.files]
            if strange and entry.name in shared:
                yield Note(
                    subject=entry.name,
                    text=f"{_listed(strange)} added since the installation, and not in the bundle",
                )
            elif any(path.endswith(MODULES) for path in strange):
                yield Note(
                    subject=entry.name,
                    text="belongs to no distribution, so it is not in the bundle: bring it with the "
                    "service's own code, or make a project of it",
                )


def _files(folder: Path, entry: os.DirEntry[str]) -> Iterable[str]:
    """Yield the files of an entry relative to the folder, without bytecode that Python keeps itself."""
    if not entry.is_dir(follow_symlinks=False):
        return [entry.name]
    return (
        str(Path(above, name).relative_to(folder))
        for above, folders, names in os.walk(entry.path)
        if not above.endswith("/__pycache__")
        for name in names
    )


def _startup(path: Path) -> Iterator[Note]:
    """Tell what a .pth file that no index brings does: the image reads none in a mounted folder."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[:100]:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith(("import ", "import\t")):
            yield Note(
                subject=path.name, text="runs code whenever Python starts, which the bundle will not do"
            )
        else:
            yield Note(
                subject=path.name,
                text="puts another folder on the path: what stands there is not in the bundle",
                place=text,
            )


def _on_python_path(folder: Path, known: Collection[str]) -> Iterator[Note]:
    """Tell which modules a folder on PYTHONPATH brings that the environment has not."""
    names = sorted(
        {
            entry.name.partition(".")[0]
            for entry in folder.iterdir()
            if (entry.is_file() and entry.name.endswith(MODULES))
            or (entry.is_dir() and (entry / "__init__.py").is_file())
        }
        - set(known)
    )
    more = len(names) - ON_PATH
    for number, name in enumerate(names[:ON_PATH]):
        rest = f" (and {more} others beside it)" if more > 0 and number == ON_PATH - 1 else ""
        yield Note(
            subject=name,
            text=f"is found through PYTHONPATH alone, so it is not in the bundle{rest}",
            place=str(folder),
        )
