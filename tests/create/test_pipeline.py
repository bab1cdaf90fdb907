"""The main job from end to end, offline: what comes out, that it is the same again, and what is kept out."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.index import Index


def tree_digest(folder: Path) -> dict[str, str]:
    """Path → mode and hash of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = "d" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = f"{path.stat().st_mode & 0o777:o} {kind}"
    return found


@pytest.fixture
def stock(wheels: Path) -> Path:
    """A small world: a root that needs two others, one of them with a script and data."""
    make_wheel(wheels, "root-dist", "2.0", requires=["leaf>=1", "tool-dist[fast]"], files={
        "root_dist/__init__.py": "import leaf, tool_dist\n",
        "root_dist/data.txt": "text",
    })  # fmt: skip
    make_wheel(wheels, "leaf", "1.5")
    make_wheel(wheels, "leaf", "0.9")
    make_wheel(
        wheels,
        "tool-dist",
        files={
            "tool_dist.py": "import sys\n\n\ndef main():\n    print('tool', sys.version_info[1])\n",
            "tool_dist-1.0.data/data/share/tool/conf.ini": "[x]\n",
        },
        entry_points="[console_scripts]\ntool = tool_dist:main\n",
        requires=["extra-dist; extra == 'fast'"],
        extras=["fast"],
    )
    make_wheel(wheels, "extra-dist")
    return wheels


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_bundle(envbundle: Command, stock: Path, tmp_path: Path, version: str) -> None:
    (tmp_path / "requirements.txt").write_text("root-dist==2.0  # the service\n")
    done = envbundle(
        "create", "-r", "requirements.txt", "--python", version, "-o", "out/my env", "--json",
        *envbundle.offline(stock),
    )  # fmt: skip
    assert done.code == 0, done.stderr
    result = done.json()
    bundle = tmp_path / "out" / "my env"
    site = f"lib/python{version}/site-packages"
    assert result["ok"]
    assert result["bundle"] == str(bundle)
    told = [(one["code"], one["subject"]) for one in result["findings"] if one["severity"] != "info"]
    assert told == [("EB502", "tool-dist")]  # its share/tool/conf.ini, which a mount does not find
    assert result["environment"] == {
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"my env/{site}",
        "PYTHONPATH": str(bundle / site),
    }
    assert {one["name"]: one["version"] for one in result["distributions"]} == {
        "root-dist": "2.0", "leaf": "1.5", "tool-dist": "1.0", "extra-dist": "1.0",
    }  # fmt: skip
    assert [one["name"] for one in result["distributions"] if one["requested"]] == ["root-dist"]
    assert sorted(entry.name for entry in bundle.iterdir()) == [
        "SHA256SUMS", "bin", "lib", "manifest.json", "pylock.toml", "report.html", "requirements.lock",
        "sbom.cdx.json", "share", "verify.py",
    ]  # fmt: skip
    installed = {entry.name for entry in (bundle / site).iterdir()}
    assert not installed & {"pip", "setuptools", "wheel", "_virtualenv.py", "_virtualenv.pth"}
    checked = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, check=False)
    assert checked.returncode == 0
    # Nothing of the run is left beside the bundle.
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["my env"]


@pytest.mark.thorough
def test_script_runs_from_wherever_the_bundle_is(
    envbundle: Command, stock: Path, tmp_path: Path, python38: Path
) -> None:
    done = envbundle("create", "root-dist", "--python", "3.8", "-o", "b", *envbundle.offline(stock))
    assert done.code == 0, done.stderr
    moved = tmp_path / "moved here"
    (tmp_path / "b").rename(moved)
    path = f"{python38.parent}:/usr/bin:/bin"
    ran = subprocess.run(
        [moved / "bin" / "tool"], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "tool 8\n"), ran.stderr


@pytest.mark.thorough
def test_both_forms_of_the_lock_make_the_bundle_that_wrote_them(
    envbundle: Command, stock: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("root-dist==2.0\ntool-dist[fast]  # asked for, and required as well\n")
    (tmp_path / "limits.txt").write_text("leaf<2\n")
    words = ["-r", "in.txt", "-c", "limits.txt", "--python", "3.8", "--glibc", "2.27"]
    done = envbundle("create", *words, "-o", "first", *envbundle.offline(stock))
    assert done.code == 0, done.stderr
    first = tree_digest(tmp_path / "first")
    assert sum(path.endswith("/REQUESTED") for path in first) == 2
    for name in ("pylock.toml", "requirements.lock"):
        again = envbundle("create", "--lock", f"first/{name}", "-o", name[:2], *envbundle.offline(stock))
        assert again.code == 0, again.stderr
        assert tree_digest(tmp_path / name[:2]) == first


HOSTILE_SITE = "raise SystemExit('the builder leaked in')\n"


@pytest.fixture
def polluted(tmp_path: Path, wheels: Path) -> dict[str, str]:
    """A caller's environment in which every peer builds something else, or nothing."""
    leak = tmp_path / "leak"
    (leak / "leaf-999.dist-info").mkdir(parents=True)
    (leak / "leaf-999.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: leaf\nVersion: 999\n")
    (leak / "leaf.py").write_text("LEAKED = 1\n")
    user_site = tmp_path / "user" / "lib" / "python3.8" / "site-packages"
    user_site.mkdir(parents=True)
    (user_site / "usercustomize.py").write_text(HOSTILE_SITE)
    (user_site / "extra_dist.py").write_text(HOSTILE_SITE)
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[install]\ntarget = {tmp_path / 'elsewhere'}\nno-deps = true\n[global]\nuser = true\n"
    )
    return {
        "PYTHONPATH": f"{os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}:{leak}",  # noqa: PTH120 - a search path
        "PYTHONUSERBASE": str(tmp_path / "user"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_CONFIG_FILE": str(config),
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_USER": "1",
        "PIP_NO_DEPS": "1",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_CONSTRAINT": str(tmp_path / "missing.txt"),
        "UV_SYSTEM_PYTHON": "1",
        "UV_RESOLUTION": "lowest",
        "CONDA_PREFIX": str(tmp_path / "conda"),
        "CONDA_DEFAULT_ENV": "base",
        "VIRTUAL_ENV": str(tmp_path / "venv"),
        "VIRTUALENV_SYSTEM_SITE_PACKAGES": "1",
        "LD_LIBRARY_PATH": str(tmp_path),
    }


@pytest.mark.thorough
def test_the_caller_changes_not_one_byte(
    envbundle: Command, stock: Path, tmp_path: Path, polluted: dict[str, str]
) -> None:
    words = ["root-dist", "--python", "3.8", *envbundle.offline(stock)]
    clean = envbundle("create", *words, "-o", "clean")
    assert clean.code == 0, clean.stderr
    dirty = envbundle("create", *words, "-o", "dirty", "--json", environ=polluted)
    assert dirty.code == 0, dirty.stderr
    assert tree_digest(tmp_path / "clean") == tree_digest(tmp_path / "dirty")
    held = dirty.json()["isolation"]
    assert {"PIP_TARGET", "PYTHONPATH", "CONDA_PREFIX", "UV_RESOLUTION", "LD_LIBRARY_PATH"} <= set(
        held["variables"]
    )
    assert {"target", "no-deps", "user", "constraint"} <= set(held["pip_settings"])
    assert "held back" not in dirty.stdout
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.thorough
def test_same_bytes_on_another_day_in_another_place(
    envbundle: Command, stock: Path, tmp_path: Path, pips: Path
) -> None:
    words = ["create", "root-dist", "--python", "3.8", *envbundle.offline(stock)]
    assert envbundle(*words, "-o", "one").code == 0
    argv = " ".join(f"'{word}'" for word in envbundle.argv(*words, "-o", str(tmp_path / "far" / "two")))
    environ = envbundle.environment(
        {"ENVBUNDLE_CACHE_DIR": str(tmp_path / "other-cache"), "TZ": "Asia/Tokyo", "LANG": "C"}
    )
    again = subprocess.run(
        ["sh", "-c", f"umask 077; exec {argv}"], env=environ, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "far" / "two")


def test_lock_then_create_is_create(envbundle: Command, stock: Path, tmp_path: Path) -> None:
    offline = envbundle.offline(stock)
    assert envbundle("create", "root-dist", "--python", "3.8", "-o", "direct", *offline).code == 0
    locked = envbundle("lock", "root-dist", "--python", "3.8", "-o", "pylock.toml", *offline)
    assert locked.code == 0, locked.stderr
    from_lock = envbundle("create", "--lock", "pylock.toml", "-o", "locked", *offline)
    assert from_lock.code == 0, from_lock.stderr
    assert tree_digest(tmp_path / "direct") == tree_digest(tmp_path / "locked")


@pytest.mark.thorough
def test_requirements_form_of_a_lock(envbundle: Command, stock: Path, tmp_path: Path) -> None:
    offline = envbundle.offline(stock)
    assert envbundle("lock", "root-dist", "--python", "3.7", "-o", "all.lock", *offline).code == 0
    assert envbundle("create", "root-dist", "--python", "3.7", "-o", "direct", *offline).code == 0
    make_wheel(stock, "leaf", "1.6")  # newer, and not what is locked
    for lock in ("all.lock", "direct/requirements.lock"):
        words = ["--lock", lock, "--python", "3.7", "-o", "b", "--force", "--json"]
        done = envbundle("create", *words, *offline)
        assert done.code == 0, done.stderr
        assert tree_digest(tmp_path / "b") == tree_digest(tmp_path / "direct"), lock
    assert {one["name"]: one["version"] for one in done.json()["distributions"]}["leaf"] == "1.5"


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_both_resolvers_agree(
    envbundle: Command, index: Index, stock: Path, tmp_path: Path, version: str
) -> None:
    index.yanked = {"leaf-1.5-py3-none-any.whl": "broken on Tuesdays"}
    texts = []
    for resolver in ("uv", "pip"):
        done = envbundle(
            "lock", "root-dist", "leaf==1.5", "--python", version, "--resolver", resolver,
            "-o", f"pylock.{resolver}.toml",
            "--index-url", index.url, "--find-links", envbundle.pips,
        )  # fmt: skip
        assert done.code == 0, done.stderr
        texts.append((tmp_path / f"pylock.{resolver}.toml").read_text())
    assert texts[0] == texts[1]
    assert 'yanked = "broken on Tuesdays"' in texts[0]
    assert "size = " in texts[0]


def test_sdist_is_built_for_the_target(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    """An in-tree backend: PEP 517 without anything from an index."""
    backend = (
        "import base64, hashlib, sys, zipfile\n"
        "def get_requires_for_build_wheel(c=None): return []\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        "    name = 'built-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(folder + '/' + name, 'w') as z:\n"
        "        rows = ''\n"
        "        for path, text in {\n"
        "            'built.py': 'PYTHON = %r\\n' % (sys.version_info[:2],),\n"
        "            'built-1.0.dist-info/METADATA':\n"
        "            'Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n',\n"
        "            'built-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: t\\n'\n"
        "            'Root-Is-Purelib: true\\nTag: py3-none-any\\n'}.items():\n"
        "            z.writestr(zipfile.ZipInfo(path), text)\n"
        "            digest = hashlib.sha256(text.encode()).digest()\n"
        "            code = base64.urlsafe_b64encode(digest).decode().rstrip('=')\n"
        "            rows += path + ',sha256=' + code + ',\\n'\n"
        "        record = 'built-1.0.dist-info/RECORD'\n"
        "        z.writestr(zipfile.ZipInfo(record), rows + record + ',,\\n')\n"
        "    return name\n"
    )
    project = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "built"\nversion = "1.0"\n',
        "backend.py": backend,
        "PKG-INFO": "Metadata-Version: 2.1\nName: built\nVersion: 1.0\n",
    }
    make_sdist(wheels, "built", files=project)
    refused = envbundle(
        "create", "built", "--python", "3.8", "-o", "no", "--no-build", *envbundle.offline(wheels)
    )
    assert refused.code == 2
    assert "built" in refused.stderr
    assert not (tmp_path / "no").exists()
    done = envbundle("create", "built", "--python", "3.8", "-o", "b", *envbundle.offline(wheels))
    assert done.code == 0, done.stderr
    assert (tmp_path / "b/lib/python3.8/site-packages/built.py").read_text() == "PYTHON = (3, 8)\n"
    built = json.loads((tmp_path / "b" / "manifest.json").read_text())["distributions"][0]
    assert built["built_from"] == built["sha256"]
    assert built["kind"] == "sdist"
