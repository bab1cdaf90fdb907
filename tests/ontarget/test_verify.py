"""The verifier as it runs on the target."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import manifest, standalone, tree
from bundler.ontarget.checksums import manifest_digest, sums_text

from tests.support.bundlemaker import make_bundle
from tests.support.nativemaker import compile_c
from tests.support.processes import has_ended, wait_until
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable


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


def test_files_that_were_just_written_are_not_compared_again(bundle: Path, target_python: Path) -> None:
    (bundle / "stray.txt").write_text("")
    assert [one["code"] for one in verdict(target_python, bundle)["findings"]] == ["EB513"]
    found = verdict(target_python, bundle, "--no-files")
    assert (found["ok"], found["checked"], found["files"]) == (True, ["target", "imports"], 0)


def test_what_a_killed_verifier_has_started_ends(tmp_path: Path, target_python: Path) -> None:
    """Nothing waits for the child then: it would go on to its own end, as here never."""
    told = tmp_path / "number"
    lines = f"import os, time\nopen({str(told)!r}, 'w').write('%d\\n' % os.getpid())\ntime.sleep(600)\n"
    wheel = make_wheel(tmp_path, "alpha", files={"alpha.py": lines})
    bundle = make_bundle(tmp_path / "bundle", wheel, minor=minor_of(target_python), modules=["alpha"])
    verifier = subprocess.Popen([str(target_python), str(bundle / "verify.py")], env={})
    wait_until(lambda: told.exists() and told.read_text().endswith("\n"))
    number = int(told.read_text())
    assert not has_ended(number)
    verifier.kill()
    verifier.wait()
    try:
        wait_until(lambda: has_ended(number))
    finally:
        if not has_ended(number):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("lacking", ["raise ImportError", "raise MemoryError", "CDLL = dict"])
def test_a_place_without_prctl_verifies_as_well(
    tmp_path: Path, bundle: Path, target_python: Path, lacking: str
) -> None:
    (tmp_path / "ctypes.py").write_text(lacking)
    done = run_verify(target_python, bundle / "verify.py", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_import_that_takes_too_long_is_ended(tmp_path: Path, python38: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", files={"alpha.py": "import time; time.sleep(60)\n"})
    bundle = make_bundle(tmp_path / "bundle", wheel, modules=["alpha"])
    (found,) = verdict(python38, bundle, "--import-timeout", "0.4")["findings"]
    assert (found["code"], found["cause"]) == ("EB201", "did not end within 0.4 seconds")


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
