"""The proof by importing on the builder: what it finds, and how it is isolated."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import standalone
from bundler.checks.imports import evidence
from bundler.model import Obligation, RoomLimits
from bundler.ontarget import isolate
from bundler.system.room import CONFINED, Room

from tests.support.bundlemaker import interpreter, unpack
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bundler.checks.imports.evidence import ImportEvidence

NOBODY = 65534


def prove(
    tmp_path: Path,
    python: Path,
    files: dict[str, str | bytes],
    modules: list[str],
    seconds: int = RoomLimits.import_seconds,
    *,
    reached: Sequence[str] = (),
) -> ImportEvidence:
    """Import modules; each that is reached in a process of its own."""
    minor = python.name.removeprefix("python")
    prefix = tmp_path / "tree"
    unpack(prefix, make_wheel(tmp_path, "alpha", files=files), minor=minor)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = evidence.import_modules(
        prefix,
        site_packages=f"lib/python{minor}/site-packages",
        modules={"alpha": modules},
        obligations=[
            Obligation(kind="main", subject="alpha", modules=(name,), reason=f"{name} is asked for")
            for name in reached
        ],
        interpreter=interpreter(python, minor),
        scratch=scratch,
        limits=RoomLimits(import_seconds=seconds),
    )
    assert not list(scratch.iterdir())
    return found


@pytest.mark.thorough
def test_proof_names_every_culprit_and_goes_on(tmp_path: Path, target_python: Path) -> None:
    files: dict[str, str | bytes] = {
        "a_good.py": "import sys, json\nsys.stdout.write('x' * 100000)\n",
        "b_missing.py": "import nowhere.at_all\n",
        "c_signal.py": "import os, signal\nos.kill(os.getpid(), signal.SIGBUS)\n",
        "d_exit.py": "raise SystemExit(0)\n",
        "e_gone.py": "import os\nos._exit(0)\n",
        "f_hangs.py": "import time\ntime.sleep(60)\n",
        "g_syntax.py": "def (\n",
        "h_odd.py": "class E(Exception):\n    def __str__(self):\n        raise E\nraise E\n",
        "i_good.py": "exit, copyright\nimport a_good\n",
        "j_setuptools.py": "import pkg_resources\n",
        "k_optional.py": "try:\n    import setuptools, pip\nexcept ImportError:\n    pass\n",
    }
    found = prove(tmp_path, target_python, files, sorted(name[:-3] for name in files), seconds=1)
    assert found.modules == ("a_good", "i_good", "k_optional")
    failures = {
        one.module: (one.exception, one.missing, one.detail.splitlines()[-1]) for one in found.failures
    }
    assert failures == {
        "b_missing": ("ModuleNotFoundError", "nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        "c_signal": ("", "", "killed the interpreter: SIGBUS"),
        "d_exit": ("SystemExit", "", "SystemExit: 0"),
        "e_gone": ("", "", "ended the interpreter"),
        "f_hangs": ("", "", "did not end within 1 seconds"),
        "g_syntax": ("SyntaxError", "", "SyntaxError: invalid syntax (g_syntax.py, line 1)"),
        "h_odd": ("E", "", "E"),
        "j_setuptools": (
            "ModuleNotFoundError",
            "pkg_resources",
            "ModuleNotFoundError: No module named 'pkg_resources'",
        ),
    }
    assert found.elsewhere == ()
    missing = next(one for one in found.failures if one.module == "b_missing")
    assert missing.detail.startswith(
        f'File "lib/python{target_python.name.removeprefix("python")}/site-packages/b_missing.py", line 1'
    )


def test_the_users_site_packages_have_a_path(tmp_path: Path, target_python: Path) -> None:
    """TensorFlow 1.15 joins it with a name; that there is such a folder, no image promises."""
    files: dict[str, str | bytes] = {
        "alpha.py": "import os, site, sys\nplugins = os.path.join(site.USER_SITE, 'plugins')\n"
        "assert os.path.join(site.USER_BASE, 'lib') and site.USER_SITE not in sys.path\n",
    }
    assert prove(tmp_path, target_python, files, ["alpha"]).failures == ()


def test_an_exit_for_want_of_a_module_names_it(tmp_path: Path, target_python: Path) -> None:
    """python-dotenv's script prints which extra it wants, and exits with 1."""
    guarded = "import sys\ntry:\n    import nowhere\nexcept ImportError:\n    sys.exit({})\n"
    files: dict[str, str | bytes] = {
        "a_code.py": guarded.format(1),
        "b_words.py": guarded.format("'pip install b[cli]'"),
        "c_within.py": "import a_code\n",
        "d_other.py": "try:\n    {}['x']\nexcept KeyError:\n    raise SystemExit(2)\n",
    }
    found = prove(tmp_path, target_python, files, sorted(name[:-3] for name in files))
    lines = {one.module: (one.missing, one.detail.splitlines()[-1]) for one in found.failures}
    assert lines == {
        "a_code": ("nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        "b_words": ("nowhere", "ModuleNotFoundError: No module named 'nowhere': pip install b[cli]"),
        "c_within": ("nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        "d_other": ("", "SystemExit: 2"),
    }


def test_shadowed_standard_library_is_found(tmp_path: Path, python38: Path) -> None:
    files: dict[str, str | bytes] = {"os.py": "raise ImportError('not that os')\n", "alpha.py": ""}
    found = prove(tmp_path, python38, files, ["alpha"])
    assert "not that os" in found.startup
    assert found.modules == ()


def test_start_up_modules_run_and_pth_files_do_not(tmp_path: Path, python38: Path) -> None:
    files: dict[str, str | bytes] = {
        "sitecustomize.py": "import builtins\nbuiltins.STARTED = ['site']\n",
        "usercustomize.py": "STARTED.append('user')\n",
        "hook.pth": "import builtins; builtins.HOOKED = True\n",
        "alpha.py": "assert STARTED == ['site', 'user']\n",
        "beta.py": "HOOKED\n",
    }
    found = prove(tmp_path, python38, files, ["alpha", "beta"])
    assert found.modules == ("alpha",)
    assert [one.exception for one in found.failures] == ["NameError"]


@pytest.mark.parametrize("name", ["leaked", pytest.param("queue", id="in place of another")])
def test_code_from_elsewhere_is_seen(tmp_path: Path, python38: Path, name: str) -> None:
    outside = Path("/dev/shm/outside")  # of the room
    library = next(Path("/usr/lib/x86_64-linux-gnu").glob("libz.so.1*"))
    files: dict[str, str | bytes] = {
        "alpha.py": "import ctypes, os, shutil, sys\n"
        f"os.mkdir({str(outside)!r})\n"
        f"open({str(outside / name) + '.py'!r}, 'w').close()\n"
        f"shutil.copyfile({str(library)!r}, {str(outside / 'libleak.so.1')!r})\n"
        f"sys.path.insert(0, {str(outside)!r})\nsys.modules.pop({name!r}, None)\nimport {name}\n"
        f"ctypes.CDLL({str(outside / 'libleak.so.1')!r})\n",
    }
    try:
        found = prove(tmp_path, python38, files, ["alpha"])
    finally:
        shutil.rmtree(outside, ignore_errors=True)  # where the machine refuses a room
    assert [(one.kind, one.name, one.path) for one in found.elsewhere] == [
        ("module", name, str(outside / f"{name}.py")),
        ("shared object", "libleak.so.1", str(outside / "libleak.so.1")),
    ]
    assert any(path.endswith("/python3.8/enum.py") for path in found.used), "what was there before the bundle"


def test_library_of_the_system_is_named(tmp_path: Path, python38: Path) -> None:
    found = prove(
        tmp_path,
        python38,
        {
            "alpha.py": "import ctypes\nctypes.CDLL('libstdc++.so.6')\n",
            "beta.py": "import ctypes\nctypes.CDLL('libuuid.so.1')\n",
        },
        ["alpha", "beta"],
        reached=["alpha"],
    )
    assert found.elsewhere == ()
    assert found.libraries == ("libgcc_s.so.1", "libstdc++.so.6")
    assert found.indirect == ("libgcc_s.so.1",)
    assert found.modules == ("alpha", "beta")


PAIR: dict[str, str | bytes] = {
    "registry/__init__.py": "names = []\ndef register(name):\n"
    "    if name in names: raise KeyError(name)\n    names.append(name)\n",
    "one.py": "import registry\nregistry.register('gs')\n",
    "two.py": "import registry\nregistry.register('gs')\n",
}


def test_modules_that_only_fail_beside_each_other_work(tmp_path: Path, python38: Path) -> None:
    found = prove(tmp_path, python38, PAIR, ["one", "two"])
    assert (found.modules, found.failures) == (("one", "two"), ())


LEANING: dict[str, str | bytes] = {
    "one.py": "import sys\nsys.prepared = True\n",
    "two.py": "import sys\nassert sys.prepared\n",
}


@pytest.mark.thorough
def test_what_is_reached_imports_in_a_process_of_its_own(tmp_path: Path, python38: Path) -> None:
    found = prove(tmp_path, python38, LEANING, ["one", "two"], reached=["one", "two"])
    assert found.modules == ("one",)
    first, second = found.reached
    assert (first.failures, [one.exception for one in second.failures]) == ((), ["AttributeError"])
    assert found.failures == ()


DJANGO: dict[str, str | bytes] = {
    "django/__init__.py": "def setup(): pass\n",
    "django/conf.py": "class ImproperlyConfigured(Exception): pass\nclass Settings:\n"
    "    def configure(self, **names): self.__dict__.update(names)\n"
    "    def __getattr__(self, name): raise ImproperlyConfigured('settings are not configured')\n"
    "settings = Settings()\n",
    "good.py": "from django.conf import settings\nsettings.SECRET_KEY\n",
    "old.py": "from django.conf import settings\nsettings.SECRET_KEY\nfrom django import force_text\n",
    "asks.py": "from django.conf import settings\nsettings.SECRET_KEY\nsettings.MINE\n",
}


@pytest.mark.thorough
def test_what_fails_behind_the_settings_of_django(tmp_path: Path, python38: Path) -> None:
    """As graphene-django 2 with Django 4, which first asks for settings, and then for force_text."""
    modules = ["asks", "good", "old"]
    found = prove(tmp_path, python38, DJANGO, modules, reached=modules)
    failures = {one.module: one for said in found.reached for one in said.failures}
    assert {one.exception for one in failures.values()} == {"ImproperlyConfigured"}
    behind = {name: one.behind.rpartition("\n")[2].partition(" from ")[0] for name, one in failures.items()}
    assert behind == {"asks": "", "good": "", "old": "ImportError: cannot import name 'force_text'"}


@pytest.mark.parametrize("name", ["alpha", "textwrap"])
def test_a_program_that_is_started_ahead_imports_the_tree_as_it_is_then(
    tmp_path: Path, python38: Path, name: str
) -> None:
    """Also where a module of it stands before one that was imported ahead."""
    site, base = "lib/python3.8/site-packages", interpreter(python38, "3.8")
    prefix, scratch = tmp_path / "tree", tmp_path / "scratch"
    prefix.mkdir()
    scratch.mkdir()
    with evidence.starting(prefix, interpreter=base, scratch=scratch) as ask:
        time.sleep(1)  # it has begun: what it does then must not decide
        wheel = make_wheel(tmp_path, "alpha", files={f"{name}.py": "import json\nraise OSError('here')\n"})
        unpack(prefix, wheel, minor="3.8")
        asked = functools.partial(
            evidence.import_modules,
            prefix,
            site_packages=site,
            modules={"alpha": [name]},
            interpreter=base,
            scratch=scratch,
        )
        ahead = asked(started=ask)
    assert ahead == asked()
    assert [one.detail.splitlines()[-1] for one in ahead.failures if one.module == name] == ["OSError: here"]
    with evidence.starting(prefix, interpreter=base, scratch=scratch):
        pass  # it need not be asked
    assert not list(scratch.iterdir())


MAPPED = """
import json, os, sys, tempfile
sys.argv = [""]
exec(sys.stdin.read().partition("if __name__ ==")[0])
environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
(fork, *others) = ready_forks(begin_forks(environment, PRELOADED), environment, 100, tempfile.gettempdir())
found = []
for modules, uses in ((LINKED, {}), (LINKED + STANDARD, USES)):
    records = fork.run(modules, "", "bare", uses=uses)[0]
    found.append(sorted({path for record in records if record[0] == "end" for path in record[4]}))
for one in (fork, *others):
    one.end()
json.dump([*found, os.path.dirname(os.path.realpath(os.__file__))], sys.stdout)
"""


def test_what_the_interpreter_maps_is_known_from_a_few_modules(target_python: Path) -> None:
    """All else that the standard library maps lies in its own folder."""
    done = subprocess.run(
        [target_python, "-I", "-S", "-c", MAPPED],
        input=standalone.import_proof(),
        check=True,
        capture_output=True,
        text=True,
    )
    few, every, folder = json.loads(done.stdout)
    assert any("libc" in path for path in few)
    assert [path for path in every if path not in few and not path.startswith(f"{folder}/")] == []


@pytest.mark.parametrize(
    ("name", "works"),
    [("alpha:here", True), ("alpha:below", True), ("alpha:gone", False), ("alpha.below:value", True)],
)
def test_names_of_a_module(tmp_path: Path, target_python: Path, name: str, *, works: bool) -> None:
    files: dict[str, str | bytes] = {"alpha/__init__.py": "here = 1\n", "alpha/below.py": "value = None\n"}
    (found,) = prove(tmp_path, target_python, files, [], reached=[name]).reached
    assert (found.failures == ()) is works


PROBE = """
import os, socket
here = os.path.dirname(os.path.abspath(__file__))
facts = []
try:
    open(os.path.join(here, "written"), "w").close()
except OSError as error:
    facts.append("read-only" if error.errno == 30 else repr(error))
with open("/proc/net/route") as stream:
    if len(stream.readlines()) < 2:
        facts.append("no-network")
if not os.path.exists({original!r}):
    facts.append("moved")
if "var" not in os.listdir("/"):
    facts.append("own-root")
with open("/proc/1/cmdline") as stream:
    if "imports.py" in stream.read():
        facts.append("own-processes")
if os.getuid() == 65534:
    facts.append("other-user")
raise RuntimeError(",".join(sorted(facts)))
"""


def test_isolation_is_what_it_says(tmp_path: Path, python38: Path) -> None:
    original = str(tmp_path / "tree" / "lib")
    found = prove(tmp_path, python38, {"alpha.py": PROBE.format(original=original)}, ["alpha"])
    said = found.failures[0].detail.splitlines()[-1].removeprefix("RuntimeError").removeprefix(": ")
    assert said == ",".join(found.isolation)
    if os.getuid() == 0 and subprocess.run(["unshare", "-mn", "true"], check=False).returncode == 0:
        assert found.isolation == tuple(sorted(["moved", "other-user", *CONFINED]))
    assert (tmp_path / "tree/lib/python3.8/site-packages/alpha.py").is_file(), (
        "the mounts went with the proof"
    )


REFUSE = """
for kind in user mnt net; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done
exec "$@"
"""


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    nobody = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    return subprocess.run([*nobody, *words], text=True, capture_output=True, check=False, cwd="/")


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that an ordinary user reaches, which pytest's own are not."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = Path(tempfile.mkdtemp())
    (folder / "tree").mkdir()
    (folder / "tree/file").touch()
    (folder / "at").mkdir()
    shutil.copyfile(isolate.__file__, folder / "isolate.py")
    for path in (folder, folder / "tree", folder / "at"):
        path.chmod(0o755)
        os.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("refused", [False, True])
def test_isolation_without_privileges(nobodys_folder: Path, refused: bool) -> None:  # noqa: FBT001 - a parameter
    """An ordinary user gets it by a user namespace; where the machine refuses, nothing is claimed."""
    folder = nobodys_folder
    (folder / "plan").write_text(
        Room(show={"/bundle": folder / "tree"}).plan(["/bin/ls", "/bundle"], ["/bin/ls", folder / "tree"])
    )
    words = [
        "/usr/bin/python3",
        "-I",
        "-S",
        *(str(folder / name) for name in ("isolate.py", "plan", "at", "report")),
    ]
    possible = as_nobody("unshare", "-Umn", "true").returncode == 0
    if refused:
        words = ["unshare", "-Ur", "sh", "-ec", REFUSE, "sh", *words]
        if as_nobody(*words[:6], "true").returncode != 0:
            pytest.skip("this machine has no user namespaces to take away")
    done = as_nobody(*words)
    assert (done.returncode, done.stdout) == (0, "file\n"), done.stderr
    held = json.loads((folder / "report").read_text())
    assert held == (sorted(["moved", *CONFINED]) if possible and not refused else [])
