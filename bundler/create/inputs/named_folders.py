"""A folder on the command line: a project, wheels, or a name that an index would answer with a stranger.

pip takes `myenv` for the name of a distribution even where a folder `myenv` stands here, and fetches whatever
somebody has put on the index under that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from bundler.bundle import manifest
from bundler.create.requirements import COMMAND_LINE
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Note, Requirement
from bundler.system.files import at_home, is_folder, real_path

PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
_EXTRAS = re.compile(r"(?P<name>[^\[\];@]+?)(?P<extras>\[[A-Za-z0-9._,\s-]*\])?")
_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What arguments say once the folders among them are known."""

    arguments: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    told: tuple[Note, ...] = ()


def take(arguments: Sequence[str]) -> Taken:
    """Replace each argument that is a folder by what it stands for.

    :param arguments: requirements of the command line.
    :raises InputError: a folder that holds neither a project nor wheels; a name that could mean a folder here
        or a stranger on the index.
    """
    found, links, told = [], [], []
    for argument in arguments:
        named = _EXTRAS.fullmatch(argument.strip())
        folder = at_home(named["name"].strip()) if named else None
        if named is None or folder is None or not is_folder(folder):
            found.append(argument)
            continue
        bare = _WORD.fullmatch(named["name"].strip()) is not None
        if any((folder / name).is_file() for name in PROJECT):
            found.append(f"{folder.absolute()}{named['extras'] or ''}")
            what = "the project in the folder of that name is taken"
        elif wheels := sorted(folder.glob("*.whl")):
            found += _wheels(folder, wheels)
            links.append(str(folder.absolute()))
            what = "the wheels in the folder of that name are taken"
        else:
            raise _refusal(argument, folder, bare=bare)
        if bare:
            told.append(
                Note(
                    subject=argument,
                    text=f"{what}, nothing of that name from an index",
                    place=str(folder.absolute()),
                )
            )
    return Taken(arguments=tuple(found), find_links=tuple(links), told=tuple(told))


def _wheels(folder: Path, wheels: Iterable[Path]) -> Iterator[str]:
    """Yield a requirement for each distribution of which a folder holds wheels.

    Where it holds one file, that file is required, so that no index can bring another of the same version.
    """
    by_name: dict[str, dict[str, list[Path]]] = {}
    for wheel in wheels:
        try:
            parsed = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise InputError(f"{wheel}: {error}", hint="rename it, or take it out of the folder") from None
        by_name.setdefault(parsed[0], {}).setdefault(str(parsed[1]), []).append(wheel)
    for name, versions in sorted(by_name.items()):
        if len(versions) > 1:
            raise InputError(
                f"{folder} has {name} in several versions: {', '.join(versions)}",
                hint=f"name the one: {name}=={next(iter(versions))} --find-links {folder}",
            )
        ((version, files),) = versions.items()
        yield f"{name} @ {real_path(files[0]).as_uri()}" if len(files) == 1 else f"{name}=={version}"


def _refusal(argument: str, folder: Path, *, bare: bool) -> InputError:
    """Return the error for a folder that is neither a project nor wheels, with what it seems to be."""
    index = f'; for the distribution of that name on the index, "{folder}>=0"' if bare else ""
    if (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir():
        hint = f"it is an environment: --from-env {folder}"
    elif manifest.is_bundle(folder):
        hint = f"it is a bundle: --lock {folder}/pylock.toml makes it again"
    elif (folder / "requirements.txt").is_file():
        hint = f"it has requirements: -r {folder}/requirements.txt"
    elif any(folder.glob("*.dist-info")):
        hint = f"distributions are installed in it: --from-env {folder}, or envbundle audit {folder}"
    else:
        hint = "name a folder with a pyproject.toml, a setup.py or wheels"
    return InputError(f"{argument} is a folder here, and neither a project nor wheels", hint=f"{hint}{index}")


def doubtful(requirements: Iterable[Requirement]) -> Iterator[Note]:
    """Tell which distributions are asked of an index though a project of the same name stands here.

    :param requirements: with the places where they stand.
    """
    seen = set()
    for one in requirements:
        word = re.match(r"[A-Za-z0-9._-]+", one.text)
        if one.name is None or word is None or " @ " in one.text or one.name in seen:
            continue
        beside = Path() if one.origin == COMMAND_LINE else Path(one.origin.rpartition(":")[0]).parent
        folder = next((base / word[0] for base in (beside, Path()) if is_folder(base / word[0])), None)
        if folder is not None and any((folder / name).is_file() for name in PROJECT):
            seen.add(one.name)
            yield Note(
                subject=one.name,
                text="is taken from the index, though a project of that name stands here; its path means it",
                place=str(folder.absolute()),
            )
