"""`pack`, `create --format` and `verify` of archives, as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.archivemaker import ARCHIVES, digest, make_archived, need, tree, unpack_with_tools
from tests.support.command import Command
from tests.support.wheelmaker import make_wheel

ALL = ",".join(ARCHIVES)
CHECKED = ["files", "target", "imports", "static"]


@pytest.fixture(scope="module")
def made(shared_cache: Path, pips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that `create` made."""
    folder = tmp_path_factory.mktemp("made")
    make_wheel(folder, "alpha", files={"alpha/__init__.py": "VALUE = 42\n", "alpha/data.txt": "x" * 999})
    command = Command(cache=shared_cache, pips=pips, folder=folder)
    environ = {"PIP_CONFIG_FILE": os.devnull}
    words = ["create", "alpha", "--python", "3.8", "-o", "env", "-q", *command.offline(folder)]
    done = command(*words, environ=environ)
    assert done.code == 0, done.stderr
    return folder / "env"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "env"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pack_and_verify(envbundle: Command, bundle: Path, tmp_path: Path) -> None:
    kinds = [kind for kind in ARCHIVES if kind != "squashfs" or shutil.which("mksquashfs")]
    done = envbundle(
        "pack", "env", "--format", ",".join(kinds[:2]), "--format", ",".join(kinds[2:]), "--json"
    )
    assert done.code == 0, done.stderr
    rows = done.json()["archives"]
    assert [(one["format"], one["path"]) for one in rows] == [(one, f"{bundle}.{one}") for one in kinds]
    assert names(tmp_path) == sorted(["env", *(f"env.{kind}" for kind in kinds)])
    for row in rows:
        path = Path(row["path"])
        hashes = digest(path)
        if row["format"] == "oci":
            (image,) = json.loads((path / "index.json").read_bytes())["manifests"]
            assert image["digest"] == f"sha256:{row['sha256']}"
        else:
            assert hashes == {"": row["sha256"]}
        assert row["size"] == sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
        for words, checked in (([], CHECKED), (["--no-imports"], CHECKED[:2])):
            verified = envbundle("verify", path, "--json", *words)
            assert verified.code == 0, verified.stderr
            shown = verified.json()
            assert (shown["format"], shown["bundle"]) == (row["format"], str(path))
            assert shown["checked"] == checked
            assert shown["ok"]
            assert [one for one in shown["findings"] if one["severity"] != "info"] == []


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ARCHIVES)
def test_verify_finds_what_was_changed(envbundle: Command, bundle: Path, tmp_path: Path, kind: str) -> None:
    """An import that fails in an archive with a sound manifest, and a file that is another one."""
    need(kind)
    wrong = tmp_path / "wrong"
    make_archived(wrong, files={"alpha/__init__.py": "import no_such_module\n"})
    assert envbundle("pack", wrong, "--format", kind, "-q").code == 0
    done = envbundle("verify", f"wrong.{kind}", "--json")
    assert done.code == 1
    found = {one["code"]: one for one in done.json()["findings"]}
    assert "no_such_module" in found["EB201"]["cause"]
    assert "envbundle-" not in done.stdout, "no path of the private folder is shown"
    archive = Path(f"{bundle}.{kind}")
    assert envbundle("pack", "env", "--format", kind, "-q").code == 0
    files = [archive] if archive.is_file() else [one for one in archive.rglob("*") if one.is_file()]
    largest = max(files, key=lambda one: one.stat().st_size)
    os.truncate(largest, largest.stat().st_size - 1)
    cut = envbundle("verify", archive)
    assert cut.code == 2
    assert cut.stderr.count("error: ") == 1
    assert "hint: " in cut.stderr


@pytest.mark.thorough
def test_verify_says_what_it_cannot_use(envbundle: Command, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert envbundle("pack", "env", "--format", "tar.gz", "-q").code == 0
    for words, says in (
        (["text"], "is not a bundle, nor an archive of one"),
        (["nothing"], "is not a bundle, nor an archive of one"),
        (["env.tar.gz", "--python", "3.7"], "the bundle is for cpython 3.8"),
    ):
        done = envbundle("verify", *words)
        assert done.code == 2
        assert says in done.stderr
        assert "hint: " in done.stderr
    assert str(bundle) in done.stderr


@pytest.mark.thorough
def test_an_archive_can_be_packed_too(envbundle: Command, bundle: Path, tmp_path: Path) -> None:
    kinds = [kind for kind in ARCHIVES if kind != "squashfs" or shutil.which("mksquashfs")]
    assert envbundle("pack", bundle, "--format", ",".join(kinds), "-o", "first/x", "-q").code == 0
    for kind in kinds:
        source = tmp_path / f"first/x.{kind}"
        done = envbundle("pack", source, "--format", ",".join(kinds), "-o", f"{kind}/y", "-q")
        assert done.code == 0, done.stderr
        for other in kinds:
            assert digest(tmp_path / kind / f"y.{other}") == digest(tmp_path / f"first/x.{other}")
    beside = envbundle("pack", "first/x.tar.gz", "--format", "zip", "--force", "--json")
    assert beside.json()["archives"][0]["path"] == str(tmp_path / "first" / "x.zip")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["env", "--format", "rar"], "'rar' is none of tar.zst, tar.gz, zip, squashfs, oci"),
        (["env", "--format", "dir"], "'dir' is none of"),
        (["env", "--format", "zip,"], "'' is none of"),
        (["env"], "Missing option '--format'"),
        (["nothing", "--format", "zip"], "nothing does not exist"),
        ([".", "--format", "zip"], "is not a bundle"),
        (["env", "--format", "zip", "-o", "env/file.txt/x"], "not a folder"),
    ],
)
def test_wrong_usage(envbundle: Command, bundle: Path, words: list[str], says: str) -> None:
    (bundle / "file.txt").write_text("")
    done = envbundle("pack", *words)
    assert done.code == 2
    assert says in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("occupied", ["file", "folder", "link", "archive", "other format"])
def test_what_is_there_already(
    envbundle: Command, bundle: Path, tmp_path: Path, occupied: str, *, force: bool
) -> None:
    there = tmp_path / "env.oci"
    if occupied == "file":
        there.write_text("mine")
    elif occupied == "folder":
        there.mkdir()
        (there / "oci-layout").write_text("{}")
    elif occupied == "link":
        there.symlink_to(bundle)
    else:
        make_archived(tmp_path / "old", files={"alpha/__init__.py": ""})
        kind = "oci" if occupied == "archive" else "zip"
        assert envbundle("pack", "old", "--format", kind, "-q").code == 0
        (tmp_path / f"old.{kind}").rename(there)
    before = names(tmp_path)
    done = envbundle("pack", "env", "--format", "oci,tar.gz", *(["--force"] if force else []))
    if force and occupied in ("archive", "other format"):
        assert done.code == 0, done.stderr
        assert envbundle("verify", there, "--no-imports").code == 0
        assert names(tmp_path) == sorted([*before, "env.tar.gz"])
    else:
        assert done.code == 2
        assert "env.oci exists" in done.stderr
        assert names(tmp_path) == before, "nothing is written before all is known to fit"


@pytest.mark.thorough
def test_killed_and_run_again(envbundle: Command, tmp_path: Path) -> None:
    """What stands there is whole at every moment, and the next run removes what the killed one left."""
    chance = random.Random(2)
    make_archived(tmp_path / "env", files={f"alpha/{n}.bin": chance.randbytes(1 << 20) for n in range(24)})
    words = ["pack", "env", "--format", "tar.gz,zip,oci", "--force", "-q"]
    for seconds in (0.25, 0.5, 0.75, 1.0):
        argv = envbundle.argv(*words)
        with subprocess.Popen(argv, env=envbundle.environment(), cwd=tmp_path) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()
        for name in set(names(tmp_path)) - {"env", ".env.envbundle"}:
            assert envbundle("verify", name, "--no-imports").code == 0, name
    assert envbundle(*words).code == 0
    assert names(tmp_path) == ["env", "env.oci", "env.tar.gz", "env.zip"]


@pytest.mark.thorough
def test_a_full_disk(envbundle: Command, tmp_path: Path) -> None:
    need_root()
    bundle = make_archived(tmp_path / "env", files={"alpha/x.bin": random.Random(1).randbytes(1 << 20)})
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=512k none {small} && exec "$@"'
    for kind in [one for one in ARCHIVES if one != "squashfs" or shutil.which("mksquashfs")]:
        argv = envbundle.argv("pack", bundle, "--format", kind, "-o", small / "env")
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", mount, "sh", *argv],
            env=envbundle.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 3, (kind, done.stderr)
        assert "space" in done.stderr
        assert "hint: make space" in done.stderr


@pytest.mark.thorough
def test_create_with_formats(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, "alpha", files={"alpha/__init__.py": "VALUE = 42\n"})
    words = ["create", "alpha", "--python", "3.8", "--json", *envbundle.offline(wheels)]
    both = envbundle(*words, "-o", "a/env", "--format", "dir,zip", "--format", "oci")
    assert both.code == 0, both.stderr
    assert names(tmp_path / "a") == ["env", "env.oci", "env.zip"]
    result = both.json()
    assert result["bundle"] == str(tmp_path / "a" / "env")
    assert [one["format"] for one in result["archives"]] == ["zip", "oci"]
    alone = envbundle(*words, "-o", "b/env", "--format", "zip")
    assert alone.code == 0, alone.stderr
    assert names(tmp_path / "b") == ["env.zip"]
    assert (alone.json()["bundle"], alone.json()["environment"]) == (None, {})
    assert digest(tmp_path / "b/env.zip") == digest(tmp_path / "a/env.zip")
    there = tree(unpack_with_tools(tmp_path / "b/env.zip", "zip", tmp_path / "unpacked"))
    assert there == tree(tmp_path / "a" / "env")
    plain = envbundle(*words[:-1], wheels, "-o", "b/env", "--format", "tar.gz")
    assert "env.tar.gz" in plain.stdout
    refused = envbundle(*words, "-o", "b/env", "--format", "dir,zip")
    assert refused.code == 2
    assert "env.zip exists" in refused.stderr
    assert names(tmp_path / "b") == ["env.tar.gz", "env.zip"]
    assert envbundle(*words, "-o", "b/env", "--format", "dir,zip", "--force").code == 0


@pytest.mark.thorough
def test_create_for_people(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, "alpha")
    done = envbundle(
        "create", "alpha", "--python", "3.8", "-o", "env", "--format", "tar.gz", *envbundle.offline(wheels)
    )
    assert done.code == 0
    assert f"tar.gz         {tmp_path}/env.tar.gz, " in done.stderr
    assert "Set PYTHONPATH to lib/python3.8/site-packages below where it is mounted." in done.stderr
    assert done.stdout == ""


@pytest.mark.thorough
def test_what_fails_its_proof_is_not_packed(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, "alpha", files={"alpha/__init__.py": "import no_such_module\n"})
    done = envbundle(
        "create",
        "alpha",
        "--python",
        "3.8",
        "-o",
        "out/env",
        "--format",
        "dir,tar.gz",
        *envbundle.offline(wheels),
    )
    assert done.code == 1
    assert not (tmp_path / "out").exists()


BUILDS = {
    "here": ((), {"LANG": "C.UTF-8", "TZ": "UTC"}, 0o022),
    "there": (
        ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh", "faketime", "-f", "+400d"),
        {"LANG": "C", "LC_ALL": "C", "TZ": "Asia/Tokyo", "HOME": "/nonexistent"},
        0o077,
    ),
}


@pytest.mark.thorough
def test_two_builds_are_the_same_bytes(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    """The whole way, twice: other folder and cache, umask, time zone, locale, host name and date."""
    if os.getuid() != 0 or shutil.which("faketime") is None or shutil.which("unshare") is None:
        pytest.skip("needs root, unshare and faketime")
    make_wheel(wheels, "alpha", files={"alpha/__init__.py": "VALUE = 42\n", "alpha/größe.txt": "x" * 99})
    make_wheel(wheels, "beta", requires=["alpha"], entry_points="[console_scripts]\nbeta = beta:main\n")
    kinds = [kind for kind in ARCHIVES if kind != "squashfs" or shutil.which("mksquashfs")]
    for name, (wrap, environ, umask) in BUILDS.items():
        words = ["create", "beta", "--python", "3.8", "-q", *envbundle.offline(wheels)]
        words += ["-o", str(tmp_path / name / "x" / "env"), "--format", ",".join(["dir", *kinds])]
        environment = envbundle.environment(
            {**environ, "ENVBUNDLE_CACHE_DIR": str(tmp_path / name / "cache")}
        )
        subprocess.run([*wrap, *envbundle.argv(*words)], env=environment, umask=umask, cwd="/", check=True)
    first, second = (tmp_path / name / "x" for name in BUILDS)
    assert tree(first / "env") == tree(second / "env")
    for kind in kinds:
        assert digest(first / f"env.{kind}") == digest(second / f"env.{kind}"), kind


IMPORT = "import alpha, sys; print(alpha.VALUE, alpha.__file__)"


def imported(python: Path, prefix: Path) -> str:
    """Import from a mount without a network and without an environment."""
    site_packages = prefix / "lib/python3.8/site-packages"
    done = subprocess.run(
        ["unshare", "--net", "env", "-i", f"PYTHONPATH={site_packages}", str(python), "-c", IMPORT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def need_root() -> None:
    if os.getuid() != 0:
        pytest.skip("only root may mount")


def test_squashfs_is_mounted_and_imported(
    envbundle: Command, bundle: Path, tmp_path: Path, python38: Path
) -> None:
    need_root()
    need("squashfs")
    assert envbundle("pack", bundle, "--format", "squashfs", "-q").code == 0
    at = tmp_path / "mount"
    at.mkdir()
    done = subprocess.run(
        ["mount", "-t", "squashfs", "-o", "loop,ro", f"{bundle}.squashfs", at],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"this machine mounts no squashfs: {done.stderr.decode()}")
    try:
        assert tree(at) == tree(bundle)
        with pytest.raises(OSError, match="Read-only"):
            (at / "x").write_text("")
        assert imported(python38, at) == f"42 {at}/lib/python3.8/site-packages/alpha/__init__.py\n"
    finally:
        subprocess.run(["umount", at], check=True)


def test_verify_leaves_no_mount(envbundle: Command, bundle: Path) -> None:
    """A squashfs image is mounted where only the verifier sees it."""
    need_root()
    need("squashfs")
    assert envbundle("pack", bundle, "--format", "squashfs", "-q").code == 0
    verified = envbundle("-v", "verify", f"{bundle}.squashfs", "--json")
    assert verified.code == 0, verified.stderr
    assert "run: mount -t squashfs" in verified.stderr
    assert {"moved", "no-network", "own-processes", "own-root", "read-only"} <= {
        *verified.json()["isolation"]
    }
    assert "squashfs" not in Path("/proc/self/mounts").read_text(encoding="utf-8")


def test_verify_without_the_right_to_mount(envbundle: Command, bundle: Path) -> None:
    """As a user or in a container: then the image is unpacked, by envbundle's own reader."""
    need_root()
    need("squashfs")
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv on this machine")
    assert envbundle("pack", bundle, "--format", "squashfs", "-q").code == 0
    argv = envbundle.argv("-v", "verify", f"{bundle}.squashfs", "--json")
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-sys_admin", *argv],
        env=envbundle.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checked"] == CHECKED
    assert "run: mount" not in done.stderr


def test_oci_layer_is_mounted_and_imported(
    envbundle: Command, bundle: Path, tmp_path: Path, python38: Path
) -> None:
    need_root()
    need("oci")
    if shutil.which("podman") is None:
        pytest.skip("no podman on this machine")
    assert envbundle("pack", bundle, "--format", "oci", "-q").code == 0
    inspected = _run("skopeo", "inspect", f"oci:{bundle}.oci")
    labelled: dict[str, Any] = json.loads(inspected)
    about = [labelled[key] for key in ("Os", "Architecture", "Created")]
    assert about == ["linux", "amd64", "1980-01-01T00:00:00Z"]
    assert labelled["Labels"]["envbundle.PYTHONPATH"] == "/lib/python3.8/site-packages"
    # podman takes no longer path than 50 characters here; this driver needs nothing of the kernel.
    run = Path(tempfile.mkdtemp(prefix="envbundle-test-", dir="/tmp"))
    storage: list[str | Path] = ["--root", tmp_path / "storage", "--runroot", run, "--storage-driver", "vfs"]
    image = _run("podman", *storage, "pull", "--quiet", f"oci:{bundle}.oci").strip()
    try:
        at = Path(_run("podman", *storage, "image", "mount", image).strip())
        assert tree(at) == tree(bundle)
        assert imported(python38, at).startswith("42 ")
    finally:
        _run("podman", *storage, "image", "unmount", image)
        _run("podman", *storage, "rmi", "--force", image)
        shutil.rmtree(run)


def _run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
