"""Describes the image in which it runs: one JSON object on stdout, an image profile of envbundle.

    docker run --rm -i IMAGE python - < probe.py > image.json
    docker run --rm -i IMAGE python - NAME < probe.py > image.json

Run it with the Python that will use the packages, as the user that will. Python 3.6 and later, the
standard library only; it changes nothing, opens no connection, and starts no program but `ldconfig -p`.
Whatever cannot be found out is `null`: unknown, which is not the same as absent.
"""

# ruff: noqa: E402 - the path is cleaned before the imports

import sys

# Standard input has no folder: what stands in the working folder must not be taken for the standard library.
sys.path[:] = [path for path in sys.path if path]

import email.parser
import glob
import io
import json
import os
import platform
import pwd
import re
import subprocess
from typing import Any, Dict, Iterator, List, Optional, Tuple

# <joined: describe_python.py>
# One file travels: `bundler.bundle.standalone` puts the module's own text in place of this import.
from bundler.ontarget.describe_python import (
    abi,
    full_version,
    glibc,
    is_conda,
    machine,
    stdlib_folders,
    stdlib_modules,
)

# </joined>

SERVER = "azureml-inference-server-http"
SCRIPT = "/var/runit/gunicorn/run"
VARIABLE = "AZUREML_EXTRA_PYTHON_LIB_PATH"
APP_ROOT = "/var/azureml-app"
FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
MATTER = re.compile(
    r"PATH|LANG|LC_ALL|PYTHON\w*|LD_\w+|VIRTUAL_ENV|CONDA_(PREFIX|DEFAULT_ENV)"
    r"|AML_APP_ROOT|AZUREML_(ENTRY_SCRIPT|MODEL_DIR|SOURCE_DIRECTORY|CONDA_ENVIRONMENT_PATH|EXTRA_\w+)"
)
WORKPLACES = (
    *("/var/runit", "/var/log", "/var/lib/nginx", "/run", "/opt/miniconda", "/var/azureml-app"),
    *("/opt", "/mnt", "/tmp", "/home/site/wwwroot", "/opt/ml", "/var/task"),  # noqa: S108 - asked about, not used
)


def read_bytes(path: str, limit: int = -1) -> bytes:
    """Return the content of a file; nothing where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except OSError:
        return b""


def read_text(path: str) -> str:
    """Return a file as text; nothing where it cannot be read."""
    return read_bytes(path).decode("utf-8", "replace")


def entries(folder: str) -> List[str]:
    """Return the names in a folder, sorted; none where it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


# --- distributions ----------------------------------------------------------------------------------


def distributions() -> Dict[str, Dict[str, Any]]:
    """Return what is installed: normalised name → version and requirements; the first on the path counts."""
    found = {}  # type: Dict[str, Dict[str, Any]]
    for folder in sys.path:
        for entry in entries(folder):
            if not entry.endswith((".dist-info", ".egg-info")):
                continue
            described = _distribution(os.path.join(folder, entry))
            if described is not None:
                found.setdefault(described[0], described[1])
    return found


def _distribution(path: str) -> Optional[Tuple[str, Dict[str, Any]]]:
    metadata = next(
        (text for text in (read_text(os.path.join(path, name)) for name in ("METADATA", "PKG-INFO")) if text),
        "",
    )
    headers = email.parser.HeaderParser().parse(io.StringIO(metadata or read_text(path)))
    name = re.sub(r"[-_.]+", "-", str(headers.get("Name", "")).strip()).lower()
    version = str(headers.get("Version", "")).strip()
    if not re.match(r"[a-z0-9]+(-[a-z0-9]+)*$", name) or not re.match(r"[^\s/\\\0]{1,200}$", version):
        return None
    requires = [" ".join(str(line).split()) for line in headers.get_all("Requires-Dist") or []]
    requires += _egg_requires(read_text(os.path.join(path, "requires.txt")))
    return name, {"version": version, "requires": [line for line in requires if line.isprintable()]}


def _egg_requires(text: str) -> Iterator[str]:
    """Yield the requirements of a requires.txt that hold without an extra.

    https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html#requires-txt
    """
    marker = ""
    for line in (line.strip() for line in text.splitlines()):
        section = re.match(r"\[([^:\]]*):?([^\]]*)\]$", line)
        if section:
            marker = 'extra == "{}"'.format(section.group(1)) if section.group(1) else section.group(2)
        elif line and not line.startswith("#") and not marker.startswith("extra =="):
            yield "{} ; {}".format(line, marker) if marker else line


# --- libraries --------------------------------------------------------------------------------------


def own_kind() -> Optional[Tuple[bytes, bytes]]:
    """Return class and machine of this Python, from its ELF header; a bare chroot has no /proc."""
    for path in ("/proc/self/exe", sys.executable or ""):
        head = read_bytes(path, 20)
        if head[:4] == b"\x7fELF":
            return head[4:5], head[18:20]
    return None


def loadable(path: str, kind: Optional[Tuple[bytes, bytes]]) -> bool:
    """Tell whether a file is a library for the processor of this Python."""
    head = read_bytes(path, 20)
    return head[:4] == b"\x7fELF" and kind in (None, (head[4:5], head[18:20]))


def known_to_loader() -> List[str]:
    """Return the paths in the cache of glibc's loader: as `ldconfig -p` says, else from the cache itself."""
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig", "ldconfig"):
        try:
            done = subprocess.run(
                [program, "-p"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0:
            return re.findall(r"=> (/\S+)", done.stdout.decode("utf-8", "replace"))
    cache = read_bytes("/etc/ld.so.cache")
    return [path.decode("utf-8", "replace") for path in re.findall(rb"/[^\0\n]+\.so[^\0\n]*", cache)]


def library_paths() -> List[str]:
    """Return every library that the loader finds by its name alone, in its order."""
    own = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    if is_conda():
        own.append(os.path.join(sys.base_prefix, "lib"))  # the RPATH of conda's interpreter
    machines = ["{}/{}-linux-gnu".format(folder, platform.machine()) for folder in ("/lib", "/usr/lib")]
    kind = own_kind()
    found = []  # type: List[str]
    for folders, cached in ((own, []), ([], known_to_loader()), ([*machines, *FOLDERS], [])):
        # The files of a folder count by their own names, which is how the loader looks for them.
        listed = [os.path.join(folder, entry) for folder in folders for entry in entries(folder)]
        found += [path for path in cached + listed if re.search(r"\.so(\.|$)", path) and loadable(path, kind)]
    return found


def newest(content: bytes, family: bytes) -> Optional[str]:
    """Return the newest version of a family of symbols in a library, `3.4.28`."""
    versions = {
        tuple(int(part) for part in version.split(b"."))
        for version in re.findall(family + rb"_(\d+\.\d+(?:\.\d+)?)\0", content)
    }
    return ".".join(map(str, max(versions))) if versions else None


# --- the rest ---------------------------------------------------------------------------------------


def libc() -> Optional[str]:
    """Return `glibc` or `musl`; nothing where it is another one."""
    if glibc():
        return "glibc"
    return "musl" if glob.glob("/lib/ld-musl-*.so.1") else None


def system() -> Tuple[str, str]:
    """Return what the system calls itself, and `debian-12`."""
    said = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', read_text("/etc/os-release"), re.MULTILINE))
    name = said.get("PRETTY_NAME", platform.system())
    short = "{}-{}".format(said.get("ID", "linux"), said.get("VERSION_ID", ""))
    return name, re.sub(r"[^a-z0-9.]+", "-", short.lower()).strip("-.")


def start_script() -> Dict[str, Any]:
    """Return how a folder of packages gets on the path: by the start script of Azure ML, or PYTHONPATH."""
    lines = read_text(SCRIPT).splitlines()
    script = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    if not script:
        # Without one, Python itself decides.
        mount = {"variables": ["PYTHONPATH"], "base": None, "order": "prepend", "trailing_colon": False}
        return {"mount": mount, "honours_variables": "yes"}
    mount = {
        "variables": [VARIABLE, "PYTHONPATH"],
        "base": os.environ.get("AML_APP_ROOT", APP_ROOT),
        "order": "prepend",
        "trailing_colon": ":$PYTHONPATH" in script,
    }
    return {"mount": mount, "honours_variables": "yes" if VARIABLE in script else "no"}


def user() -> Dict[str, Any]:
    """Return who runs this."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name  # type: Optional[str]
    except KeyError:
        name = None
    if not re.match(r"[\w.$-]{1,100}$", name or ""):
        name = None
    return {"name": name, "uid": uid, "root": uid == 0}


def writable() -> List[str]:
    """Return folders in which this user can write."""
    places = {*WORKPLACES, os.path.expanduser("~"), os.getcwd()}
    good = (place for place in places if place.startswith("/") and place.isprintable())
    return sorted(place for place in good if os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK))


def conda() -> Optional[Dict[str, Any]]:
    """Return the conda environment that this Python belongs to."""
    if not is_conda():
        return None
    name = os.path.basename(sys.prefix) if "/envs/" in sys.prefix else os.environ.get("CONDA_DEFAULT_ENV")
    return {"name": name if re.match(r"[\w.-]{1,100}$", name or "") else None, "prefix": sys.prefix}


def profile(name: str) -> Dict[str, Any]:
    """Return the profile of this image; the format is envbundle's docs/images.md."""
    paths = library_paths()
    runtime = next((path for path in paths if os.path.basename(path) == "libstdc++.so.6"), "")
    content = read_bytes(runtime)
    names = {os.path.basename(path) for path in paths}
    installed = distributions()
    version = full_version(sys.version_info)
    called, short = system()
    release = installed.get(SERVER, {}).get("version")
    return {
        "kind": "envbundle-image",
        "schema_version": "1.0",
        "name": name or "probed-{}-py{}{}".format(short, *sys.version_info[:2]),
        "os": called,
        "references": [],
        "tags": [],
        "target": {
            "python": version,
            "implementation": sys.implementation.name,
            "abi": abi(),
            "machine": machine(),
            "libc": libc(),
            "glibc": glibc() or None,
            "glibcxx": newest(content, b"GLIBCXX"),
            "cxxabi": newest(content, b"CXXABI"),
        },
        "distributions": installed,
        "named": {},
        "server": {"name": SERVER, "at_least": release, "at_most": release} if release else None,
        "libraries": sorted(name for name in names if re.match(r"[\w.+-]{1,200}$", name)),
        "stdlib_modules": [name for name in stdlib_modules(stdlib_folders()) if name.isidentifier()],
        "environment": {
            key: value
            for key, value in sorted(os.environ.items())
            if MATTER.fullmatch(key) and value.isprintable()
        },
        "conda": conda(),
        "user": user(),
        "writable": writable(),
        "sources": [
            {
                "about": ["*"],
                "url": None,
                "certainty": "probed",
                "says": "seen in the image itself, by its Python {}".format(version),
            }
        ],
        **start_script(),
    }


if __name__ == "__main__":
    print(json.dumps(profile(sys.argv[1] if len(sys.argv) > 1 else ""), indent=1, sort_keys=True))
