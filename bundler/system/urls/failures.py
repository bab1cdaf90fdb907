"""Errors at a URL: whether another attempt can help, and the message without a secret in it."""

from __future__ import annotations

import errno

from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.system import redact

_AWS = ("s3", "s3a")
_EXTRAS = {**dict.fromkeys(redact.AZURE, "abfs"), **dict.fromkeys(_AWS, "s3")}
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
"""Parts of the names of the cloud packages' exceptions that no second attempt changes."""
_HINTS = {
    **dict.fromkeys(
        redact.AZURE,
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


def is_final(error: BaseException) -> bool:
    """Tell whether the same request would fail again.

    The exceptions of s3fs, adlfs and the like have no common base, so this looks at HTTP statuses, errno, and
    the names of authentication errors. An unknown exception counts as temporary.
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
    """Return the HTTP status of an exception of azure-core, aiohttp or botocore, or of its cause."""
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
    """Return the error for a request that failed for good.

    :param what: the request in words, with the URL.
    """
    if isinstance(error, MachineError):
        return error
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    first = (redact.error_text(text).strip().splitlines() or [""])[0][:300]
    reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return MachineError(
        f"{what}: {reason}", hint=_HINTS.get(protocol, "see to the place, its credentials and the network")
    )


def unopened(url: str, error: Exception) -> EnvbundleError:
    """Return the error for a URL that fsspec has no filesystem for."""
    protocol = url.partition("://")[0].lower()
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return InputError(
            f"{redact.storage_url(url)}: no filesystem is known as {protocol}",
            hint="file, abfs and s3 are; others that fsspec knows work too, once their package is installed",
        )
    if isinstance(error, ImportError):
        extra = _EXTRAS.get(protocol)
        own = (
            f"from a checkout of envbundle: pip install '.[{extra}]'"
            if extra
            else redact.error_text(str(error))
        )
        return MachineError(f"{protocol}:// needs a package that is not installed", hint=own)
    return failed(f"opening {redact.storage_url(url)}", protocol, error)
