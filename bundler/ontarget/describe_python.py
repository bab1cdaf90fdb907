"""Describe the Python that runs this file: one marked line of JSON on stdout.

Run it as `python -I -S describe_python.py`: without `site`, no `.pth` file, `sitecustomize` or user site of
the interpreter is executed, and nothing of the caller's environment counts. Python 3.6 and later, so that
a Python that is too old can be named as such; the standard library only.

Under `-S` a virtualenv's python reports the paths of its base before 3.14; every path below is
derived from `sys.base_prefix`, so that it does not matter.
"""

import importlib.machinery
import importlib.util
import json
import os
import platform
import struct
import sys
import sysconfig
from typing import Any, Dict, Iterable, List, Tuple

MARK = "ENVBUNDLE-PROBE "
NOT_STDLIB = frozenset(
    ("site-packages", "dist-packages", "__pycache__", "lib-dynload", "sitecustomize", "usercustomize")
)


def full_version(info: Tuple[Any, ...]) -> str:
    """Return `3.8.18` or `3.15.0rc1` from a version_info tuple, as PEP 508 spells it."""
    text = ".".join(str(part) for part in info[:3])
    if info[3] != "final":
        text += {"alpha": "a", "beta": "b", "candidate": "rc"}[info[3]] + str(info[4])
    return text


def markers() -> Dict[str, str]:
    """Return the environment of PEP 508 markers."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": full_version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": full_version(sys.version_info),
        "python_version": "{}.{}".format(*sys.version_info[:2]),
        "sys_platform": sys.platform,
    }


def machine() -> str:
    """Return the machine that extension modules are built for: a 32-bit Python runs on a 64-bit kernel."""
    name = platform.machine()
    if struct.calcsize("P") == 4 and name in ("x86_64", "AMD64"):
        return "i686"
    return name


def glibc() -> str:
    """Return `2.31`, or an empty string on another libc.

    `platform.libc_ver()` before 3.8 reads the oldest symbol version of the executable instead:
    https://github.com/python/cpython/issues/79733
    """
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (AttributeError, OSError, ValueError):
        return ""
    return version if name == "glibc" else ""


def abi() -> str:
    """Return the ABI tag, `cp38` or `cp37m`, as `packaging.tags` derives it from SOABI."""
    soabi = sysconfig.get_config_var("SOABI") or ""
    parts = soabi.split("-")
    if parts[0] == "cpython" and len(parts) > 1:
        return "cp" + parts[1]
    return soabi or "cp{}{}{}".format(sys.version_info[0], sys.version_info[1], getattr(sys, "abiflags", ""))


def base_executable() -> str:
    """Return the real path of the interpreter that a virtualenv stands on, or this one's."""
    # sys._base_executable is missing before 3.8, and is the virtualenv's own from 3.8 to 3.10.
    given = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    folder = os.path.dirname(given)
    if not any(os.path.isfile(os.path.join(one, "pyvenv.cfg")) for one in (folder, os.path.dirname(folder))):
        return given
    # A virtualenv made with copies.
    version = "{}.{}".format(*sys.version_info[:2])
    flags = getattr(sys, "abiflags", "")
    for name in ("python" + version, "python" + version + flags, "python3", "python"):
        candidate = os.path.join(sys.base_prefix, "bin", name)
        if os.path.isfile(candidate):
            return os.path.realpath(candidate)
    return given


def stdlib_folders() -> List[str]:
    """Return the existing folders of the standard library of the base interpreter."""
    base, platbase = sys.base_prefix, sys.base_exec_prefix
    paths = {"base": base, "installed_base": base, "platbase": platbase, "installed_platbase": platbase}
    stdlib = sysconfig.get_path("stdlib", vars=paths)
    platstdlib = sysconfig.get_path("platstdlib", vars=paths)
    folders = []
    for folder in (stdlib, platstdlib, os.path.join(platstdlib, "lib-dynload")):
        if os.path.isdir(folder) and folder not in folders:
            folders.append(folder)
    return folders


def stdlib_modules(folders: Iterable[str]) -> List[str]:
    """Return the names of the top-level modules of the standard library.

    `sys.stdlib_module_names` (3.10 and later) leaves `test` out, which is importable all the same.
    """
    declared = getattr(sys, "stdlib_module_names", None)
    if declared is not None:
        return sorted(set(declared) | set(sys.builtin_module_names) | {"test"})
    names = set(sys.builtin_module_names) | {"_frozen_importlib", "_frozen_importlib_external", "zipimport"}
    suffixes = importlib.machinery.all_suffixes()
    for folder in folders:
        for entry in os.listdir(folder):
            path = os.path.join(folder, entry)
            stem = entry.split(".")[0]
            package = os.path.isfile(os.path.join(path, "__init__.py"))
            module = os.path.isfile(path) and any(entry[len(stem) :] == suffix for suffix in suffixes)
            if (package or module) and stem not in NOT_STDLIB:
                names.add(stem)
    return sorted(names)


def is_conda() -> bool:
    """Tell whether the interpreter comes out of a conda package."""
    return os.path.isdir(os.path.join(sys.base_prefix, "conda-meta")) or "conda" in sys.version.lower()


def describe() -> Dict[str, Any]:
    """Return the fields of `bundler.model.Interpreter` as JSON values."""
    folders = stdlib_folders()
    return {
        "executable": base_executable(),
        "version": full_version(sys.version_info),
        "implementation": sys.implementation.name,
        "cache_tag": sys.implementation.cache_tag or "",
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "abi": abi(),
        "extension_suffixes": list(importlib.machinery.EXTENSION_SUFFIXES),
        "machine": machine(),
        "glibc": glibc(),
        "base_prefix": os.path.realpath(sys.base_prefix),
        "stdlib": folders,
        "stdlib_modules": stdlib_modules(folders),
        "markers": markers(),
        "conda": is_conda(),
    }


# <builder only>: `bundler.bundle.standalone` leaves out what follows.

if __name__ == "__main__":
    # What the interpreter itself printed may lack its newline.
    print("\n" + MARK + json.dumps(describe(), sort_keys=True))
