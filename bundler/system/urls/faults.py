"""What goes wrong at a URL: whether trying again can help, and what to say without a secret in it."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.system import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_AZURE = ("abfs", "abfss", "az")
_AWS = ("s3", "s3a")
_EXTRAS = {**dict.fromkeys(_AZURE, "abfs"), **dict.fromkeys(_AWS, "s3")}
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request can succeed."""
_FINAL_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EISDIR,
        errno.EINVAL,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)
_FINAL_NAMES = ("Credential", "Authentication", "Authorization", "AccessDenied", "InvalidBucketName")
"""Parts of the names of errors of the clouds' packages that no second attempt changes."""
_QUERY = re.compile(r"(?P<address>[a-z][a-z0-9+.-]*://[^\s?'\"<>]+)\?[^\s'\"<>]*", re.IGNORECASE)
_SIGNATURE = re.compile(r"(?P<name>\b(?:sig|AccountKey|SharedAccessSignature|password|token)=)[^\s&;'\"<>]+")
_SECRETS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "CONNECTION_STRING")
_CLOUDS = ("AWS_", "AZURE_", "GOOGLE_", "FSSPEC_")
_HINTS = {
    **dict.fromkeys(
        _AZURE,
        "the container must exist, AZURE_STORAGE_ACCOUNT_NAME say the account, and the machine's identity "
        "(or AZURE_STORAGE_CONNECTION_STRING, …_ACCOUNT_KEY, …_SAS_TOKEN) may read, write and delete in it",
    ),
    **dict.fromkeys(
        _AWS,
        "the bucket must exist, and the machine's role (or AWS_PROFILE, AWS_ACCESS_KEY_ID with its secret) "
        "may list, read, write and delete in it; AWS_ENDPOINT_URL names another service",
    ),
    **dict.fromkeys(("file", "local"), "the folder must be writable and have room"),
}


def shown(url: str) -> str:
    """Return a URL without a user's password, key or signature; the container of an Azure URL stays."""
    protocol, separator, rest = url.partition("://")
    if not separator:
        return redact.text(url)
    if protocol.lower() in _AZURE:
        # abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/…: what stands before the @ is no secret there.
        host = urlsplit(url).netloc
        user, _, account = host.rpartition("@")
        host = f"{user.partition(':')[0]}@{account}" if user else account
        return f"{protocol}://{host}{urlsplit(url).path}"
    return redact.url(url) if protocol.lower() not in {"file", "local", "memory"} else f"{protocol}://{rest}"


def clean(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Take everything that may be a secret out of the words of another package's error."""
    found = _QUERY.sub(r"\g<address>?****", redact.text(text))
    found = _SIGNATURE.sub(r"\g<name>****", found)
    for name, value in environ.items():
        if name.startswith(_CLOUDS) and any(part in name for part in _SECRETS) and len(value) >= 6:
            found = found.replace(value, "****")
    return found


def is_final(error: BaseException) -> bool:
    """Tell whether the same request would fail again.

    s3fs, adlfs and their like have no common base of errors: known are the statuses of HTTP, the numbers of
    the system, and the names of errors of identity. Whatever is not known as final is tried again.
    """
    if isinstance(error, EnvbundleError | TypeError | ValueError | ImportError | NotImplementedError):
        return True
    status = _status(error)
    if status is not None:
        return status not in _PASSING
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FINAL_ERRNOS
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError):
        return True
    names = [kind.__name__ for kind in type(error).__mro__]
    return any(part in name for part in _FINAL_NAMES for name in names)


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error: of azure-core, aiohttp and botocore, or of the cause of an OSError."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        for value in (getattr(error, "status_code", None), getattr(error, "status", None)):
            if isinstance(value, int):
                return value
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            value = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(value, int):
                return value
        error = error.__cause__
    return None


def failed(what: str, protocol: str, error: BaseException) -> MachineError:
    """Return what to say of a request that failed for good."""
    if isinstance(error, MachineError):
        return error
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    first = (clean(text).strip().splitlines() or [""])[0][:300]
    reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return MachineError(
        f"{what}: {reason}", hint=_HINTS.get(protocol, "see to the place, its credentials and the network")
    )


def unopened(url: str, error: Exception) -> EnvbundleError:
    """Return what to say where no filesystem can be had for a URL."""
    protocol = url.partition("://")[0].lower()
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return InputError(
            f"{shown(url)}: no filesystem is known as {protocol}",
            hint="file, abfs and s3 are; others that fsspec knows work too, once their package is installed",
        )
    if isinstance(error, ImportError):
        extra = _EXTRAS.get(protocol)
        own = f"pip install 'envbundle[{extra}]'" if extra else clean(str(error))
        return MachineError(f"{protocol}:// needs a package that is not installed", hint=own)
    return failed(f"opening {shown(url)}", protocol, error)
