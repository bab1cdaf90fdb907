"""Makes the virtualenv that poses as the image: without seed packages, without the builder's, and empty."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bundler.errors import MachineError
from bundler.model import Environment, Interpreter, Target
from bundler.system import process
from bundler.system.workspace import Workspace


def create(interpreter: Interpreter, target: Target, work: Workspace, app_data: Path) -> Environment:
    """Create an empty virtualenv of the target's Python at `work.environment`.

    :param app_data: a cache for virtualenv alone: a shared one changes what it does.
    :raises MachineError: virtualenv cannot make it, or what it made is not empty.
    """
    # First: where setuptools is installed, it forgets distutils as somebody imports pip, on any thread; and
    # virtualenv loads distutils on Python 3.10 (`_distutils_hack.DistutilsMetaFinder.spec_for_pip`).
    import pip  # noqa: F401, PLC0415 - for what its import does
    from virtualenv import session_via_cli  # noqa: PLC0415 - it takes 20 ms, and an unchanged rebuild makes none

    prefix = work.environment
    with contextlib.suppress(OSError):
        app_data.mkdir(parents=True, exist_ok=True)
    if not os.access(app_data, os.W_OK):
        # A read-only cache: virtualenv would make folders among the temporary files, and leave them there.
        app_data = work.scratch / "virtualenv"
    env = process.clean_environment(
        home=work.scratch, VIRTUALENV_CONFIG_FILE=os.devnull, VIRTUALENV_OVERRIDE_APP_DATA=str(app_data)
    )
    arguments = ["--no-seed", "--no-periodic-update", "--activators", "", "--no-vcs-ignore"]
    arguments += ["--app-data", str(app_data), "--python", str(interpreter.executable), str(prefix)]
    try:
        session = session_via_cli(arguments, setup_logging=False, env=env)
        session.run()
    except (RuntimeError, OSError, SystemExit) as error:
        raise MachineError(
            f"virtualenv could not create an environment for {interpreter.executable} at {prefix}: {error}",
            hint="check that this interpreter starts and that the disk has space",
        ) from error
    site_packages = prefix / target.site_packages
    # virtualenv's own start-up hook: not part of any bundle, and 3.7 cannot even parse it.
    for leftover in ("_virtualenv.pth", "_virtualenv.py"):
        (site_packages / leftover).unlink(missing_ok=True)
    _require_isolated(prefix, site_packages)
    return Environment(
        prefix=prefix,
        python=prefix / "bin" / "python",
        site_packages=site_packages,
    )


def join(environment: Environment, site_packages: Path) -> None:
    """Make the bundle's site-packages the environment's own, so that what is installed is in both.

    The bundle thus never holds anything of the virtualenv itself, and nothing is copied twice.
    """
    environment.site_packages.rmdir()
    environment.site_packages.symlink_to(site_packages, target_is_directory=True)


def _require_isolated(prefix: Path, site_packages: Path) -> None:
    """Check that the environment does not see the builder's packages, and that it is empty.

    A later `pip` or import would not notice either.
    """
    text = (prefix / "pyvenv.cfg").read_text(encoding="utf-8")
    pairs = (line.partition("=") for line in text.splitlines())
    settings = {key.strip().lower(): value.strip().lower() for key, _, value in pairs}
    if settings.get("include-system-site-packages") != "false":
        raise MachineError(
            "the environment would see the builder's packages",
            hint="remove VIRTUALENV_SYSTEM_SITE_PACKAGES and the virtualenv.ini that sets it",
        )
    leftovers = sorted(entry.name for entry in site_packages.iterdir())
    if leftovers:
        raise MachineError(
            f"the new environment is not empty: {', '.join(leftovers)}",
            hint="report this: virtualenv put something into site-packages that envbundle does not know",
        )
