"""The pip that the target's interpreter runs: fetched once by hash, and run from outside every environment.

It runs with `PIP_CONFIG_FILE` on the null device, since `--isolated` still reads the global configuration
(https://pip.pypa.io/en/stable/topics/configuration/).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from bundler.create import pipfolder
from bundler.errors import CommandError, MachineError
from bundler.system import process
from bundler.system.index_settings import index_flags, index_variables, network_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bundler.model import IndexSettings, Interpreter
    from bundler.wheels.store import Store


@dataclass(frozen=True, kw_only=True)
class _Release:
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"pip-{self.version}-py3-none-any.whl"


# The last pip that each Python can run; an older one did not finish some resolutions in minutes.
_LAST_FOR_37 = _Release(
    version="24.0", sha256="ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc"
)
_LAST_FOR_38 = _Release(
    version="25.0.1", sha256="c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f"
)
_FROM_39 = _Release(
    version="26.0.1", sha256="bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b"
)


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Pip:
    """The pip that the target interpreter runs from outside its environment."""

    folder: Path
    version: str
    settings: IndexSettings
    variables: Mapping[str, str]
    """What `network_variables` gave."""
    glibc: tuple[int, int]
    ready: Callable[[], None] = field(default=_nothing, repr=False, compare=False)
    """Waits until it is there; raises `MachineError` where it cannot be had."""

    def run(
        self,
        python: Path,
        command: Sequence[str | Path],
        *,
        scratch: Path,
        pose: bool = True,
        check: bool = True,
        extra: Mapping[str, str] | None = None,
    ) -> process.Completed:
        """Run `pip COMMAND` with `python`.

        :param scratch: stands for HOME and TMPDIR.
        :param pose: report the image's glibc; a build's own tools run on the builder and need not.
        :raises CommandError: pip failed (with `check`).
        """
        env = self.environment(scratch, pose=pose, extra=extra)
        return process.run([python, "-I", self.folder / "pip", *command], env=env, cwd=scratch, check=check)

    def environment(
        self, scratch: Path, *, pose: bool = True, extra: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Variables with which a pip of ours runs, once it is there; the parameters are those of `run`."""
        self.ready()
        env = process.clean_environment(
            home=scratch,
            **{
                **self.variables,
                **index_variables(self.settings),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PIP_NO_INPUT": "1",
                "ENVBUNDLE_GLIBC": ".".join(map(str, self.glibc)) if pose else "99.99",
                **(extra or {}),
            },
        )
        # pip itself lies outside the bundle: let it keep its own bytecode, 0.3 s instead of 0.8 s a run.
        del env["PYTHONDONTWRITEBYTECODE"]
        return env


def obtain(
    interpreter: Interpreter,
    *,
    store: Store,
    settings: IndexSettings,
    glibc: tuple[int, int],
    scratch: Path,
    environ: Mapping[str, str] = os.environ,
    begin: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
) -> Pip:
    """Give the last pip that the target can run: from the store, else fetched once, by hash.

    :param begin: calls something on another thread, and returns what waits for its end: then `Pip` is given
        at once, and whoever uses it waits, and hears of what went wrong.
    :raises MachineError: the index does not give it.
    """
    release = _release_for(interpreter.version)
    folder = _folder(release, store)
    variables = network_variables(settings, scratch=scratch, environ=environ)

    def bring() -> None:
        wheel = store.file(release.sha256, release.filename) or _download(
            release, store=store, settings=settings, variables=variables, scratch=scratch
        )
        pipfolder.unpack(wheel, folder, store=store)

    tool = Pip(folder=folder, version=release.version, settings=settings, variables=variables, glibc=glibc)
    if pipfolder.is_whole(folder):
        return tool
    if begin:
        return replace(tool, ready=begin(bring))
    bring()
    return tool


def wheels() -> tuple[tuple[str, str], ...]:
    """Return sha256 and filename of every pip that drives a target."""
    return tuple((one.sha256, one.filename) for one in (_LAST_FOR_37, _LAST_FOR_38, _FROM_39))


def is_stored(interpreter: Interpreter, *, store: Store) -> bool:
    """Tell whether `obtain` needs no index."""
    return pipfolder.is_whole(_folder(_release_for(interpreter.version), store))


def _folder(release: _Release, store: Store) -> Path:
    return store.tools / f"pip-{release.version}"


def _release_for(python_version: str) -> _Release:
    version = Version(python_version)
    if version < Version("3.8"):
        return _LAST_FOR_37
    return _LAST_FOR_38 if version < Version("3.9") else _FROM_39


def _download(
    release: _Release,
    *,
    store: Store,
    settings: IndexSettings,
    variables: Mapping[str, str],
    scratch: Path,
) -> Path:
    requirement = scratch / "pip.txt"
    requirement.write_text(f"pip=={release.version} --hash=sha256:{release.sha256}\n", encoding="utf-8")
    folder = scratch / "pip-wheel"
    env = process.clean_environment(
        home=scratch,
        **{
            **variables,
            **index_variables(settings),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
    )
    command = ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--dest", str(folder), "--requirement", str(requirement), "--no-input"]
    try:
        process.run([sys.executable, "-I", "-m", "pip", *command, *index_flags(settings)], env=env)
    except CommandError as error:
        last = (error.stderr.strip().splitlines() or [error.message])[-1]
        raise MachineError(
            f"pip {release.version}, which drives the target's Python, could not be fetched: {last}",
            hint="make the index reachable, or put that wheel into a folder and name it with --find-links",
        ) from error
    return store.add_file(folder / release.filename, filename=release.filename, sha256=release.sha256)
