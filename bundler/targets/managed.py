"""Fetches a managed CPython with uv, for a builder that has none of the wanted version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import uv

from bundler.errors import CommandError, MachineError
from bundler.system import process
from bundler.system import scratch as scratch_folders

MANAGED_SINCE = (3, 8)
"""The oldest CPython that uv can fetch: python-build-standalone has no older builds."""
TIMEOUT = 900.0
PASSED_ON = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS",
    "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
"""What a closed site sets so that uv reaches its mirror; https://docs.astral.sh/uv/reference/environment/"""
HINT = "UV_PYTHON_INSTALL_MIRROR names a mirror of the managed builds"
CERTIFICATES_ELSEWHERE = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Used where SSL_CERT_FILE is not set."""


def fetch(
    request: str,
    *,
    managed_dir: Path,
    announce: Callable[[str], None],
    environ: Mapping[str, str],
) -> None:
    """Fetch a managed CPython into `managed_dir`, as `NAME/bin/pythonX.Y` below it.

    :param request: `3.8` (the newest of it) or `3.8.18`.
    :param announce: called with a line for the user before the download.
    :param environ: the caller's environment, for its proxies, certificates and mirrors.
    :raises MachineError: uv could not fetch it.
    """
    announce(f"fetching a managed CPython {request} with uv into {managed_dir}")
    try:
        command: list[str | Path] = [
            *(uv.find_uv_bin(), "python", "install", f"cpython-{request}-linux-x86_64-gnu"),
            *("--install-dir", managed_dir, "--no-bin", "--no-config", "--no-progress", "--color", "never"),
        ]
        managed_dir.mkdir(parents=True, exist_ok=True)
        with scratch_folders.folder() as home:
            completed = process.run(
                command,
                env=_environment(Path(home), environ),
                cwd=Path(home),
                timeout=TIMEOUT,
                check=False,
            )
    except OSError as error:  # uv's own error for a missing program is one, too
        raise _failed(str(error)) from error
    except CommandError as error:
        raise _failed(error.message) from error
    if completed.returncode != 0:
        raise _failed(completed.stderr)


def _environment(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    passed = {name: environ[name] for name in PASSED_ON if environ.get(name)}
    certificates = [environ[name] for name in CERTIFICATES_ELSEWHERE if environ.get(name)]
    if certificates:
        passed.setdefault("SSL_CERT_FILE", certificates[0])
    return process.clean_environment(home=home, **passed, UV_NO_CONFIG="1", UV_CACHE_DIR=str(home / "uv"))


def _failed(output: str) -> MachineError:
    """Return the error for what uv printed: a line `error:`, then its causes."""
    lines = [line.strip().removeprefix("cause: ") for line in output.splitlines() if line.strip()]
    reason = ": ".join(dict.fromkeys((lines[:2] or ["it gave no reason"])[-1:] + lines[-1:]))
    reason = re.sub(r"://[^/@\s]+@", "://", reason)  # a mirror's address may carry a password
    return MachineError(f"uv could not fetch one: {reason}", hint=HINT)
