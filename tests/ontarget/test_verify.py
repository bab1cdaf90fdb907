"""The verifier as it runs on the target, and the proof by importing on the builder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import manifest, standalone, tree
from bundler.checks.imports import evidence
from bundler.model import Obligation
from bundler.ontarget import imports, isolate
from bundler.ontarget.checksums import manifest_digest, sums_text
from bundler.system.room import CONFINED, Room

from tests.support.bundlemaker import interpreter, make_bundle, unpack
from tests.support.nativemaker import compile_c
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bundler.checks.imports.evidence import ImportEvidence

NOBODY = 65534


def run_verify(
    python: Path | str, *words: Path | str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *(str(word) for word in words)],
        env=environment,
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verifier") / "verify.py"
    path.write_text(standalone.source(), encoding="utf-8")
    return path


def minor_of(python: Path) -> str:
    return python.name.removeprefix("python")


@pytest.fixture
def bundle(tmp_path: Path, target_python: Path) -> Path:
    files = {"alpha/__init__.py": "print('noise')\nimport alpha.part\n", "alpha/part.py": "import json, re\n"}
    wheel = make_wheel(tmp_path, "alpha", files=files)
    return make_bundle(tmp_path / "büro bundle", wheel, minor=minor_of(target_python), modules=["alpha"])


def verdict(python: Path, bundle: Path, *options: str) -> dict[str, Any]:
    done = run_verify(python, bundle / "verify.py", "--json", *options, str(bundle))
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if result["ok"] else 1)
    return result


def test_sound_bundle(bundle: Path, target_python: Path) -> None:
    assert verdict(target_python, bundle) == {
        "ok": True,
        "bundle": str(bundle),
        "checked": ["files", "target", "imports"],
        "files": len([path for path in bundle.rglob("*") if path.is_file()]) - 2,
        "findings": [],
    }
    plain = run_verify(target_python, bundle / "verify.py", LC_ALL="C")
    assert plain.returncode == 0
    assert plain.stdout.startswith("ok: ")
    assert not list(bundle.rglob("__pycache__")), "the verifier wrote into the bundle"


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


SPOILT: list[tuple[str, Callable[[Path, Path], object], str, str]] = [
    ("changed", lambda _, sp: change(sp / "alpha/part.py"), "EB512", "alpha/part.py"),
    ("longer", lambda _, sp: append(sp / "alpha/part.py"), "EB512", "alpha/part.py"),
    ("missing", lambda _, sp: (sp / "alpha/part.py").unlink(), "EB511", "alpha/part.py"),
    ("more", lambda _, sp: (sp / "more.py").touch(), "EB513", "more.py"),
    ("json.py beside", lambda root, _: (root / "json.py").write_text("1/0"), "EB513", "json.py"),
    ("symlink", lambda root, _: (root / "lib/link").symlink_to("/etc"), "EB514", "lib/link"),
    ("pipe", lambda root, _: os.mkfifo(root / "lib/pipe"), "EB514", "lib/pipe"),
    ("sums", lambda root, _: change(root / manifest.SUMS), "EB512", "SHA256SUMS"),
    ("manifest's spaces", lambda root, _: append(root / manifest.NAME), "EB512", "SHA256SUMS"),
    ("verify.py", lambda root, _: append(root / "verify.py"), "EB512", "verify.py"),
]


@pytest.mark.parametrize(
    ("spoil", "code", "subject"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT]
)
def test_every_change_is_found_and_named(
    tmp_path: Path, python38: Path, spoil: Callable[[Path, Path], object], code: str, subject: str
) -> None:
    wheel = make_wheel(tmp_path, "alpha", files={"alpha/__init__.py": "", "alpha/part.py": "VALUE = 1\n"})
    bundle = make_bundle(tmp_path / "bundle", wheel)
    spoil(bundle, bundle / "lib/python3.8/site-packages")
    found = verdict(python38, bundle, "--no-imports")["findings"]
    assert [(one["code"], one["subject"].endswith(subject)) for one in found] == [(code, True)]


def test_manifest_changed_with_its_checksum(tmp_path: Path, python38: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    path = bundle / manifest.NAME
    path.write_text(path.read_text().replace('"glibc": "2.17"', '"glibc": "2.12"'))
    assert [one["code"] for one in verdict(python38, bundle)["findings"]] == ["EB515", "EB512"]


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and make digest and checksums fit again."""
    path = bundle / manifest.NAME
    content = json.loads(path.read_text())
    change(content)
    content["manifest_digest"] = manifest_digest(content)
    path.write_text(json.dumps(content))
    rows = [(row[0], row[1]) for row in content["files"] + content["documents"]]
    rows.append(
        (manifest.NAME, next(one.sha256 for one in tree.scan(bundle).files if one.path == manifest.NAME))
    )
    (bundle / manifest.SUMS).write_text(sums_text(rows))


@pytest.mark.parametrize(
    ("member", "value", "code"), [("machine", "aarch64", "EB361"), ("glibc", "2.99", "EB362")]
)
def test_place_that_does_not_fit(tmp_path: Path, python38: Path, member: str, value: str, code: str) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"), modules=["alpha"])
    rewrite(bundle, lambda content: content["target"].update({member: value}))
    assert [one["code"] for one in verdict(python38, bundle)["findings"]] == [code]


def test_import_that_fails_on_the_target(tmp_path: Path, python38: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", files={"alpha.py": "import nowhere\n"})
    bundle = make_bundle(tmp_path / "bundle", wheel, modules=["alpha"])
    (found,) = verdict(python38, bundle)["findings"]
    assert (found["code"], found["subject"]) == ("EB201", "alpha")
    assert found["cause"].endswith("ModuleNotFoundError: No module named 'nowhere'")
    assert verdict(python38, bundle, "--no-imports")["ok"]


def test_wrong_python_is_refused(tmp_path: Path, python37: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    done = run_verify(python37, bundle / "verify.py")
    assert done.returncode == 2
    assert "for cpython 3.8 (cp38), this is cpython 3.7 (cp37m)" in done.stderr
    assert verdict(python37, bundle, "--no-imports")["checked"] == ["files"]


def test_too_old_python_is_refused_with_a_sentence(script: Path) -> None:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = [path for pattern in ("2.7.*", "3.5.*", "3.6.*") for path in root.glob(f"{pattern}/bin/python")]
    for python in old:
        done = run_verify(python, script)
        assert (done.returncode, done.stderr.splitlines()[0][:47]) == (
            2,
            "error: verify.py needs Python 3.7 or later, thi",
        )
    source = standalone.source()
    assert source.isascii(), "Python 2 refuses other characters before it runs a line"
    assert not re.search(
        r"\bf['\"]|->|\bnonlocal\b|:=|^\s*[a-z_]+: ", re.sub(r'"""[\s\S]*?"""|#.*', "", source)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "envbundle-manifest"}',
        "\xff",
        "[" * 100000,
        '{"kind": 1, "schema_version": "1.0"}',
    ],
    ids=range(7),
)
def test_unreadable_bundle(tmp_path: Path, python38: Path, script: Path, text: str) -> None:
    (tmp_path / manifest.NAME).write_text(text, encoding="latin-1")
    done = run_verify(python38, script, "--json", tmp_path)
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (2, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(files=[[]]),
        lambda content: content.update(files=[["a", 1, None, {}]]),
        lambda content: content.update(documents=None),
        lambda content: content.update(target=[]),
        lambda content: content.pop("evidence"),
        lambda content: content["target"].update(glibc="x"),
        lambda content: content.update(schema_version="2.0"),
    ],
)
def test_hostile_manifest_ends_in_a_sentence(
    tmp_path: Path, python38: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    path = bundle / manifest.NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    done = run_verify(python38, bundle / "verify.py")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


EVIL = """
#include <fcntl.h>
__attribute__((constructor)) static void run(void) { open("/tmp/%s", O_CREAT | O_WRONLY, 0600); }
"""


@pytest.mark.parametrize(
    "name", ["{bundle}/libevil.so.1", "./libevil.so.1", "lib/../libevil.so.1", "libevil.so.1"]
)
def test_library_of_a_hostile_bundle_is_never_loaded(
    tmp_path: Path, python38: Path, script: Path, name: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    mark = f"envbundle-evil-{os.getpid()}"
    compile_c(bundle / "libevil.so.1", EVIL % mark)
    rewrite(bundle, lambda content: content.update(assumed_libraries=[name.format(bundle=bundle)]))
    try:
        done = subprocess.run(
            [python38, script, "--no-imports", "."],
            cwd=bundle,  # and a search path that leads into the bundle, as many an image has it by mistake
            env={"LD_LIBRARY_PATH": ":.:lib"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not (Path("/tmp") / mark).exists()
    finally:
        (Path("/tmp") / mark).unlink(missing_ok=True)
    assert done.returncode == (1 if "/" not in name else 2), done.stdout
    assert "EB363" in done.stdout if "/" not in name else "is no SONAME" in done.stderr


def _sparse(path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _deep_folders(top: Path) -> None:
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(900):
        os.mkdir("deeper", dir_fd=descriptor)
        below = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


HOSTILE: list[tuple[str, Callable[[Path], object], int, str]] = [
    ("manifest FIFO", lambda at: _fifo(at / manifest.NAME), 2, "regular file"),
    ("manifest zero", lambda at: _link(at / manifest.NAME, "/dev/zero"), 2, "symlink"),
    ("manifest sparse", lambda at: _sparse(at / manifest.NAME), 2, "larger than"),
    (
        "manifest deep",
        lambda at: (at / manifest.NAME).write_text('{"a":' * 500 + "1" + "}" * 500),
        2,
        "damaged",
    ),
    ("manifest wide", lambda at: (at / manifest.NAME).write_text(f"[{'0,' * 3_000_000}0]"), 2, "damaged"),
    ("manifest digits", lambda at: (at / manifest.NAME).write_text(f"[{'9' * 3_000_000}]"), 2, "damaged"),
    ("sums FIFO", lambda at: _fifo(at / manifest.SUMS), 1, "EB514"),
    ("file sparse", lambda at: _sparse(at / "lib/python3.8/site-packages/alpha.py"), 1, "EB512"),
    ("file more", lambda at: _sparse(at / "more"), 1, "EB513"),
    ("file FIFO", lambda at: _fifo(at / "lib/python3.8/site-packages/alpha.py"), 1, "EB514"),
    ("deep folders", _deep_folders, 1, "EB514"),
    ("sizes", lambda at: rewrite(at, lambda one: one["files"][0].__setitem__(2, 1 << 39)), 2, "GiB"),
]


@pytest.mark.parametrize(
    ("spoil", "code", "word"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
def test_hostile_folder_neither_hangs_nor_fills_memory(
    tmp_path: Path, python37: Path, script: Path, spoil: Callable[[Path], object], code: int, word: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha", files={"alpha.py": "1\n"}))
    spoil(bundle)
    done = subprocess.run(
        ["prlimit", "--as=400000000", "--cpu=10", python37, script, "--no-imports", bundle],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (code, 0), done.stderr
    assert word in done.stdout + done.stderr
    subprocess.run(["rm", "-rf", bundle], check=True)


def test_no_control_character_reaches_the_terminal(tmp_path: Path, python38: Path, script: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    (bundle / "\x1b]0;owned\x07\nerror \u202eevil").touch()
    rewrite(bundle, lambda content: content["target"].update(machine="\x1b[2J\x9b"))
    for words in ([], ["--json"]):
        said = run_verify(python38, script, *words, "--no-imports", bundle).stdout
        assert not [one for one in said if one != "\n" and not one.isprintable()]
        assert not [line for line in said.splitlines() if line.startswith("error \\u202e")]


@pytest.mark.parametrize(
    ("closing", "code"), [("2>&-", 0), (">&-", 0), (">&- 2>&- <&-", 0), (">/dev/full", 3)]
)
def test_closed_and_full_descriptors(
    tmp_path: Path, python38: Path, script: Path, closing: str, code: int
) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    line = f'"$0" "$1" --no-imports "$2" {closing}'
    done = subprocess.run(
        ["sh", "-c", line, python38, script, bundle], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_usage_error_and_other_folder(tmp_path: Path, python38: Path, script: Path) -> None:
    assert run_verify(python38, script, "--nonsense").returncode == 2
    assert run_verify(python38, script, tmp_path / "nowhere").returncode == 2


# --- the proof on the builder ---------------------------------------------------------------------


def prove(
    tmp_path: Path,
    python: Path,
    files: dict[str, str | bytes],
    modules: list[str],
    timeout: float = imports.TIMEOUT,
    *,
    reached: Sequence[str] = (),
) -> ImportEvidence:
    """Import modules; each that is reached in a process of its own."""
    minor = minor_of(python)
    prefix = tmp_path / "tree"
    unpack(prefix, make_wheel(tmp_path, "alpha", files=files), minor=minor)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = evidence.import_modules(
        prefix,
        site_packages=f"lib/python{minor}/site-packages",
        modules=modules,
        obligations=[
            Obligation(kind="main", subject=name, modules=(name,), reason=f"{name} is asked for")
            for name in reached
        ],
        interpreter=interpreter(python, minor),
        scratch=scratch,
        timeout=timeout,
    )
    assert not list(scratch.iterdir())
    return found


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
    found = prove(tmp_path, target_python, files, sorted(name[:-3] for name in files), timeout=1)
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
        f'File "lib/python{minor_of(target_python)}/site-packages/b_missing.py", line 1'
    )


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


def test_code_from_elsewhere_is_seen(tmp_path: Path, python38: Path) -> None:
    outside = Path("/dev/shm/outside")  # of the room
    library = next(Path("/usr/lib/x86_64-linux-gnu").glob("libz.so.1*"))
    files: dict[str, str | bytes] = {
        "alpha.py": "import ctypes, os, shutil, sys\n"
        f"os.mkdir({str(outside)!r})\n"
        f"open({str(outside / 'leaked.py')!r}, 'w').close()\n"
        f"shutil.copyfile({str(library)!r}, {str(outside / 'libleak.so.1')!r})\n"
        f"sys.path.append({str(outside)!r})\nimport leaked\n"
        f"ctypes.CDLL({str(outside / 'libleak.so.1')!r})\n",
    }
    found = prove(tmp_path, python38, files, ["alpha"])
    assert [(one.kind, one.name, one.path) for one in found.elsewhere] == [
        ("module", "leaked", str(outside / "leaked.py")),
        ("shared object", "libleak.so.1", str(outside / "libleak.so.1")),
    ]


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


def test_what_is_reached_imports_in_a_process_of_its_own(tmp_path: Path, python38: Path) -> None:
    found = prove(tmp_path, python38, LEANING, ["one", "two"], reached=["one", "two"])
    assert found.modules == ("one",)
    first, second = found.reached
    assert (first.failures, [one.exception for one in second.failures]) == ((), ["AttributeError"])
    assert found.failures == ()


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
    assert found.failures[0].detail.splitlines()[-1] == f"RuntimeError: {','.join(found.isolation)}"
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


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    names = ["plain", "back\\slash", "new\nline", "ünï", "a/b/c", "big"]
    for name in names:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * (700_000 if name == "big" else 1))
    (tmp_path / "tree/empty").touch()
    scanned = tree.scan(tmp_path / "tree")
    assert len(scanned.files) == len(names) + 1
    sums = tmp_path / "SUMS"
    sums.write_text(sums_text([(one.path, one.sha256) for one in scanned.files]), encoding="utf-8")
    done = subprocess.run(["sha256sum", "--strict", "-c", sums], cwd=tmp_path / "tree", check=False)
    assert done.returncode == 0
    assert scanned == tree.scan(tmp_path / "tree", threads=1)
