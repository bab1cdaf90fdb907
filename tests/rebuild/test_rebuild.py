"""`envbundle rebuild`: only what changed is made again, and never a broken one takes a place."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.index import serve
from tests.support.nightly import BUNDLES, KEYS, NAMES, SITE, Nightly, held, stock, verify
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.command import Command


def python_of(name: str, python37: Path, python38: Path) -> Path:
    return python37 if "py37" in name else python38


@pytest.mark.thorough
def test_first_run_builds_six(
    first_run: tuple[Path, dict[str, dict[str, object]]], python37: Path, python38: Path
) -> None:
    folder, rows = first_run
    assert list(rows) == NAMES
    for name, row in rows.items():
        assert (row["state"], row["previous"], row["exit_code"]) == ("built", None, 0)
        place = folder / "out" / name
        assert os.readlink(place / "current") == f"builds/{row['build']}"  # noqa: PTH115 - the text of the link
        digest = json.loads((place / "current" / "manifest.json").read_text())["manifest_digest"]
        assert row["build"] == digest[:16]
        done = verify(place / "current", python_of(name, python37, python38))
        assert done.returncode == 0, done.stdout + done.stderr
        assert {path.name for path in place.iterdir()} == {"builds", "current"}
        assert {path.name for path in (place / "builds").iterdir()} == {
            f"{row['build']}{ending}" for ending in ("", ".json", ".html")
        }
    assert {path.name for path in (folder / "out").iterdir()} == {
        *NAMES, "summary.json", "report.html", "junit.xml",
    }  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("words", [[], ["--full", "--jobs", "3"], ["--locked"], ["--dry-run"]])
def test_unchanged_writes_nothing(
    first_run: tuple[Path, dict[str, dict[str, object]]], envbundle: Command, words: list[str]
) -> None:
    made = Nightly(command=envbundle, folder=first_run[0])
    before = made.snapshot()
    assert made.states(*words) == dict.fromkeys(NAMES, "unchanged")
    assert made.snapshot() == before


@pytest.mark.thorough
def test_what_is_unchanged_loads_no_module_of_its_own(six: Nightly) -> None:
    """What all bundles need is loaded before the first process begins: it was half of the work of each."""
    command = six.command
    told = command._started(
        ["rebuild", "--jobs", "3"], command.environment({"PYTHONPROFILEIMPORTTIME": "1"}), six.folder
    )
    assert "6 unchanged" in told.stderr, told.stderr
    loaded = re.findall(r"^import time:[ 0-9]+\|[ 0-9]+\| *(bundler\.\S+)$", told.stderr, re.MULTILINE)
    assert "bundler.create.resolve" in loaded
    assert [name for name, times in Counter(loaded).items() if times > 1] == []


@pytest.mark.thorough
def test_one_pin_changes(six: Nightly, python38: Path) -> None:
    before = {name: six.current(name) for name in NAMES}
    (six.folder / "scoring.txt").write_text("leaf==1.5\n")
    planned = six.rows("--dry-run")
    assert {name for name, row in planned.items() if row["state"] == "would-build"} == {"scoring-py38"}
    rows = six.rows()
    assert {name: row["state"] for name, row in rows.items() if row["state"] != "unchanged"} == {
        "scoring-py38": "built"
    }
    row = rows["scoring-py38"]
    assert row["reason"] == "the lock changed"
    for changes in (row["changes"], planned["scoring-py38"]["changes"]):
        [change] = changes["distributions"]
        assert (change["name"], change["change"]) == ("leaf", "upgraded")
        assert (change["old"]["version"], change["new"]["version"]) == ("1.4", "1.5")
    now = six.current("scoring-py38")
    assert now.name == row["build"]
    assert before["scoring-py38"].name == row["previous"]
    assert {before["scoring-py38"].name, now.name} == six.builds("scoring-py38")
    assert json.loads(now.with_name(f"{now.name}.changes.json").read_text()) == row["changes"]
    assert "1.5" in now.with_name(f"{now.name}.changes.md").read_text()
    assert verify(now, python38).returncode == 0
    assert {name: six.current(name) for name in NAMES if name != "scoring-py38"} == {
        name: path for name, path in before.items() if name != "scoring-py38"
    }


@pytest.mark.thorough
def test_a_release_appears(six: Nightly) -> None:
    make_wheel(six.wheels, "leaf", "1.6")
    make_wheel(six.wheels, "unheard-of", "1.0")
    assert six.states("-j", "2") == {
        name: "built" if name.startswith("web") else "unchanged" for name in NAMES
    }
    assert "leaf 1.5 → 1.6" in (six.output / "junit.xml").read_text()


@pytest.mark.thorough
def test_a_requirement_vanishes(six: Nightly, python37: Path, python38: Path) -> None:
    make_wheel(six.wheels, "leaf", "1.6")
    (six.wheels / "more-1.0-py3-none-any.whl").unlink()
    old = six.current("batch-py38")
    rows = six.rows(code=2)
    assert {name: row["state"] for name, row in rows.items()} == {
        **dict.fromkeys(NAMES, "unchanged"), "web-py37": "built", "web-py38": "built", "batch-py38": "failed",
    }  # fmt: skip
    row = rows["batch-py38"]
    assert "more" in row["error"]
    assert row["hint"]
    assert (row["exit_code"], row["build"]) == (2, old.name)
    assert six.current("batch-py38") == old
    for name in NAMES:
        done = verify(six.output / name / "current", python_of(name, python37, python38))
        assert done.returncode == 0, done.stdout + done.stderr
    # It comes back: the summary must not go on telling of the failure.
    make_wheel(six.wheels, "more")
    assert set(six.states().values()) == {"unchanged"}
    assert json.loads((six.output / "summary.json").read_text())["ok"]
    before = six.snapshot()
    assert set(six.states().values()) == {"unchanged"}
    assert six.snapshot() == before


@pytest.mark.thorough
@pytest.mark.parametrize("wanted", ["leaf==99", "nothing-has-this-name", "leaf==1.4\nleaf==1.5"])
def test_what_nothing_satisfies_ends_as_create_does(envbundle: Command, tmp_path: Path, wanted: str) -> None:
    stock(tmp_path / "wheels")
    nightly = Nightly(command=envbundle, folder=tmp_path)
    nightly.write({"web": wanted}, python='"3.8"')
    (row,) = nightly.rows(code=2).values()
    assert (row["state"], row["exit_code"], row["build"]) == ("failed", 2, None)
    words = ("-r", "web.txt", "--python", "3.8", *envbundle.offline(nightly.wheels), "-o", "made")
    done = envbundle("create", *words, cwd=tmp_path)
    assert done.code == 2, done.stderr
    assert f"error: {row['error']}" in done.stderr


@pytest.mark.thorough
def test_a_bundle_that_is_not_proved(one: Nightly, python38: Path) -> None:
    old = one.current("web-py38")
    make_wheel(one.wheels, "leaf", "1.6", files={"leaf.py": "import nothing_of_that_name\n"})
    done = one()
    assert done.code == 1, done.stderr
    assert "error EB" in done.stderr
    assert "nothing_of_that_name" in done.stderr
    row = json.loads((one.output / "summary.json").read_text())["bundles"][0]
    assert (row["state"], row["exit_code"], row["build"]) == ("not-proved", 1, old.name)
    assert any(finding["severity"] == "error" for finding in row["findings"])
    assert one.current("web-py38") == old
    assert one.builds("web-py38") == {old.name}
    assert verify(old, python38).returncode == 0
    assert {path.name for path in (one.output / "web-py38").iterdir()} == {"builds", "current"}


@pytest.mark.thorough
def test_what_is_not_proved_wins_over_what_cannot_be_made(six: Nightly) -> None:
    make_wheel(six.wheels, "leaf", "1.6", files={"leaf.py": "import nothing_of_that_name\n"})
    (six.wheels / "more-1.0-py3-none-any.whl").unlink()
    rows = six.rows("--only", "web-py38", "--only", "batch", code=1)
    assert {name: row["state"] for name, row in rows.items()} == {
        "web-py38": "not-proved", "batch-py37": "unchanged", "batch-py38": "failed",
    }  # fmt: skip


@pytest.mark.thorough
def test_keep(one: Nightly) -> None:
    one.write({"web": BUNDLES["web"]}, python='"3.8"', keys={"web": "keep = 2"})
    made = [one.current("web-py38").name]
    (one.output / "web-py38" / "builds" / "mine").mkdir()
    for version in ("1.6", "1.7", "1.8"):
        make_wheel(one.wheels, "leaf", version)
        assert one.states() == {"web-py38": "built"}
        made.append(one.current("web-py38").name)
    assert one.builds("web-py38") == {"mine", *made[-2:]}
    # Back to an older release: its build is there no more, and is made again.
    (one.wheels / "leaf-1.8-py3-none-any.whl").unlink()
    (one.wheels / "leaf-1.7-py3-none-any.whl").unlink()
    assert one.states() == {"web-py38": "built"}
    assert one.current("web-py38").name == made[1]
    assert one.builds("web-py38") == {"mine", made[3], made[1]}
    # A smaller number is obeyed at once, though nothing is built.
    one.write({"web": BUNDLES["web"]}, python='"3.8"', keys={"web": "keep = 1"})
    assert one.states() == {"web-py38": "unchanged"}
    assert one.builds("web-py38") == {"mine", made[1]}


OPTIONS: dict[str, tuple[str, str]] = {
    "strict": ("strict = true", "target, image or options changed"),
    "ignore": ('ignore = ["EB501:nothing"]', "target, image or options changed"),
    "assume": ('assume-lib = ["libgomp.so.1"]', "target, image or options changed"),
    "glibc": ('glibc = "2.28"', "target, image or options changed"),
    "note": ('note = "every night"', ""),
    "keep": ("keep = 7", ""),
    "resolver": ('resolver = "pip"', ""),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_count(one: Nightly, name: str) -> None:
    line, reason = OPTIONS[name]
    one.write({"web": BUNDLES["web"]}, python='"3.8"', keys={"web": line})
    row = one.rows("--dry-run")["web-py38"]
    assert (row["state"], row["reason"]) == ("would-build" if reason else "unchanged", reason)


@pytest.mark.thorough
def test_another_version_of_envbundle(one: Nightly) -> None:
    path = one.current("web-py38")
    record = path.with_name(f"{path.name}.json")
    row = json.loads(record.read_text())
    record.write_text(json.dumps({**row, "tool": "0.0.9", "input": "0" * 64}))
    assert one.rows("--dry-run")["web-py38"]["reason"] == "the current build was made by envbundle 0.0.9"
    # The new build has the same content: the one that is there stays, and is known anew.
    inode = path.stat().st_ino
    assert one.states() == {"web-py38": "built"}
    assert one.current("web-py38").stat().st_ino == inode
    assert one.states() == {"web-py38": "unchanged"}


@pytest.mark.thorough
def test_archives_stand_beside(one: Nightly) -> None:
    """Another format makes no other bundle: the one that is there stays, and gets a further archive."""
    current = one.current("web-py38")
    inode = current.stat().st_ino
    archives: list[str] = []
    for formats in ('["zip"]', '["zip", "oci"]'):
        one.write({"web": BUNDLES["web"]}, python='"3.8"', keys={"web": f"formats = {formats}"})
        [row] = one.rows().values()
        assert (row["state"], row["reason"]) == ("built", "target, image or options changed")
        archives = [archive["name"] for archive in row["archives"]]
        assert one.states("--full") == {"web-py38": "unchanged"}
    assert archives == [f"{current.name}.zip", f"{current.name}.oci"]
    assert (one.current("web-py38"), current.stat().st_ino) == (current, inode)
    with zipfile.ZipFile(current.with_name(archives[0])) as archive:
        assert any(name.endswith("manifest.json") for name in archive.namelist())
    blob = max(current.with_name(archives[1]).glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1])
    [row] = one.rows("--locked", code=1).values()
    assert f"{archives[1]} is not as it was written" in row["error"]
    assert one.states() == {"web-py38": "built"}
    assert one.states("--full") == {"web-py38": "unchanged"}


@pytest.mark.thorough
def test_comments_and_order_of_the_file_do_not_count(six: Nightly) -> None:
    text = (six.folder / "web.txt").read_text()
    (six.folder / "web.txt").write_text(f"# the service\n\n{text}")
    six.write(dict(reversed(BUNDLES.items())), keys=KEYS)
    assert set(six.states().values()) == {"unchanged"}


@pytest.mark.thorough
def test_other_words_for_the_same(one: Nightly) -> None:
    """What was asked for stands in the manifest: that is another one, of the same distributions."""
    old = one.current("web-py38")
    (one.folder / "web.txt").write_text("root-dist>=1\n")
    [row] = one.rows().values()
    assert (row["state"], row["reason"]) == ("built", "the lock changed")
    assert row["changes"]["distributions"] == []
    assert row["changes"]["requirements"]["added"] == ["root-dist>=1"]
    assert one.current("web-py38") != old


def damage_file(path: Path) -> None:
    (path / SITE / "leaf.py").write_text("VERSION = '9.9'\n")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (damage_file, f"{SITE}/leaf.py has another content"),
    "gone": (lambda path: (path / SITE / "leaf.py").unlink(), f"{SITE}/leaf.py is missing"),
    "one more": (lambda path: (path / SITE / "more.py").touch(), f"{SITE}/more.py does not belong to it"),
    "all gone": (shutil.rmtree, "is gone"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged(one: Nightly, python38: Path, name: str) -> None:
    current = one.current("web-py38")
    damage, words = DAMAGES[name]
    damage(current)
    before = one.snapshot()
    [locked] = one.rows("--locked", code=1).values()
    assert locked["state"] == "not-proved"
    assert words in locked["error"]
    [planned] = one.rows("--dry-run").values()
    assert planned["state"] == "would-build"
    assert one.snapshot() == before
    [row] = one.rows().values()
    assert row["state"] == "built"
    assert words in row["reason"]
    assert one.current("web-py38") == current
    assert verify(current, python38).returncode == 0
    assert one.states() == {"web-py38": "unchanged"}


@pytest.mark.thorough
def test_locked_asks_nobody(six: Nightly) -> None:
    """Neither the requirements nor the index are needed, nor an interpreter."""
    shutil.rmtree(six.wheels)
    for name in BUNDLES:
        (six.folder / f"{name}.txt").unlink()
    (six.folder / "wheels").mkdir()
    nobody = {"PATH": "/nowhere", "HOME": str(six.folder), "PYENV_ROOT": "/nowhere"}
    done = six.command("rebuild", "--locked", cwd=six.folder, environ=nobody)
    assert done.code == 0, done.stderr
    assert "6 unchanged" in done.stderr


@pytest.mark.thorough
def test_dry_run_of_a_first_run(one: Nightly) -> None:
    shutil.rmtree(one.output)
    [row] = one.rows("--dry-run").values()
    assert (row["state"], row["reason"], row["changes"]) == ("would-build", "there is no current build", None)
    assert not one.output.exists()


@pytest.mark.thorough
def test_shards(six: Nightly) -> None:
    shutil.rmtree(six.output)
    done: dict[str, str] = {}
    for number in (1, 2, 3):
        states = six.states("--shard", f"{number}/3")
        assert not states.keys() & done.keys()
        done |= states
        if states:
            assert (six.output / f"summary.{number}of3.json").is_file()
    assert done == dict.fromkeys(NAMES, "built")
    assert not (six.output / "summary.json").exists()
    assert six.states() == dict.fromkeys(NAMES, "unchanged")


@pytest.mark.thorough
def test_results_go_where_they_are_wanted(one: Nightly) -> None:
    before = one.snapshot()
    wanted = ["--summary", "s.json", "--report", "r.html", "--junit", "j.xml"]
    done = one("--locked", "--quiet", *wanted)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((one.folder / "s.json").read_text())["mode"] == "locked"
    assert "web-py38" in (one.folder / "r.html").read_text()
    assert "web-py38" in (one.folder / "j.xml").read_text()
    assert one.snapshot() == before


@pytest.mark.thorough
def test_a_line_a_bundle(six: Nightly) -> None:
    make_wheel(six.wheels, "leaf", "1.6")
    done = six("--only", "web", "--only", "scoring-py38")
    assert done.code == 0
    lines = [line.split() for line in done.stderr.splitlines()]
    assert [line[:2] for line in lines[:3]] == [
        ["built", "web-py37"], ["built", "web-py38"], ["unchanged", "scoring-py38"],
    ]  # fmt: skip
    assert "leaf 1.5 → 1.6" in done.stderr.splitlines()[0]
    assert lines[3][:2] == ["3", "bundles"]
    assert done.stdout == ""


WRONG: dict[str, list[str]] = {
    "lacks a file": ["nothing.toml"],
    "no such bundle": ["--only", "wbe"],
    "no such shard": ["--shard", "3/2"],
    "no shard": ["--shard", "half"],
    "locked and dry": ["--locked", "--dry-run"],
    "locked and newer": ["--locked", "--exclude-newer", "7 days"],
    "locked and published": ["--locked", "--publish", "file:///x"],
    "no jobs": ["--jobs", "0"],
    "no time": ["--exclude-newer", "soon"],
    "a folder that is none": ["--summary", "nowhere/s.json"],
    "dask without a place": ["--scheduler", "dask"],
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(one: Nightly, name: str) -> None:
    before = one.snapshot()
    done = one(*WRONG[name])
    assert done.code == 2, done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert one.snapshot() == before


@pytest.mark.thorough
def test_current_that_is_no_link_of_ours(six: Nightly) -> None:
    link = six.output / "web-py38" / "current"
    link.unlink()
    link.mkdir()
    (link / "mine.txt").touch()
    rows = six.rows("--only", "web", code=2)
    assert {name: row["state"] for name, row in rows.items()} == {
        "web-py37": "unchanged", "web-py38": "failed",
    }  # fmt: skip
    assert "not touched" in rows["web-py38"]["error"]
    assert [path.name for path in link.iterdir()] == ["mine.txt"]


BACKEND = """\
import base64, hashlib, zipfile
def get_requires_for_build_wheel(config_settings=None): return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        rows = ""
        for path, text in {
            "mine.py": open("mine.py").read(),
            "mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n",
            "mine-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        }.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows += path + ",sha256=" + digest + ",\\n"
        record = "mine-1.0.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), rows + record + ",,\\n")
    return name
"""


def write_project(one: Nightly) -> Path:
    """Write a project that builds itself, and a configuration that names it."""
    project = one.folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "mine"\nversion = "1.0"\n'
    )
    (project / "backend.py").write_text(BACKEND)
    (project / "mine.py").write_text("VALUE = 1\n")
    one.write({"own": "./project"}, python='"3.8"', keys={"own": 'ignore = ["EB601", "EB602"]'})
    return project


@pytest.mark.thorough
def test_a_local_project_is_looked_into(one: Nightly) -> None:
    project = write_project(one)
    [row] = one.rows().values()
    assert row["state"] == "built"
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "mine.pyc").touch()
    shutil.copytree(one.output / "own-py38", project / "builds-of-one", symlinks=True)
    (project / ".cache").mkdir()
    (project / ".cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06e886806a55")
    assert one.states() == {"own-py38": "unchanged"}
    (project / "mine.py").write_text("VALUE = 2\n")
    assert one.states() == {"own-py38": "built"}
    assert (one.current("own-py38") / SITE / "mine.py").read_text() == "VALUE = 2\n"


@pytest.mark.thorough
def test_a_project_with_the_cache_in_it_does_not_change(one: Nightly) -> None:
    """What a build server keeps between runs lies in the project: each run noted something in it."""
    project = write_project(one)
    words = ("--cache-dir", str(project / "cache"))
    assert one.states(*words) == {"own-py38": "built"}
    assert one.states(*words) == {"own-py38": "unchanged"}


@pytest.mark.thorough
def test_exclude_newer(one: Nightly) -> None:
    index, server = serve(one.wheels)
    index.upload_time = {path.name: "2024-01-01T00:00:00Z" for path in one.wheels.iterdir()}
    one.write({"web": "leaf"}, python='"3.8"')
    text = (one.folder / "envbundle.toml").read_text()
    text = text.replace("no-index = true\n", f'index-url = "{index.url}"\n').replace('"wheels", ', "")
    (one.folder / "envbundle.toml").write_text(text)
    assert one.states() == {"web-py38": "built"}
    make_wheel(one.wheels, "leaf", "1.6")
    index.upload_time["leaf-1.6-py3-none-any.whl"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert one.states("--exclude-newer", "7 days") == {"web-py38": "unchanged"}
    assert one.states() == {"web-py38": "built"}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", [[], ["--locked"], ["--dry-run"], ["--shard", "1/1"]])
@pytest.mark.thorough
def test_one_run_at_a_time(one: Nightly, words: list[str]) -> None:
    before = one.snapshot()
    with held(one.output, fcntl.LOCK_EX):
        refused = one(*words, "--json")
    assert refused.code == 2, refused.stderr
    message = refused.json()["error"]["message"]
    assert message == f"another run of envbundle (process {os.getpid()}) is at work in {one.output}"
    assert "hint: wait" in refused.stderr
    with held(one.output, fcntl.LOCK_SH):
        assert one(*words).code == (0 if words else 2)
    if "--shard" not in words:
        assert one.snapshot() == before


@pytest.mark.thorough
def test_other_times(six: Nightly) -> None:
    """As after a move or from a backup: every time is another one, every content is the same."""
    before = six.snapshot()
    for look in ("--locked", "--dry-run"):
        assert six.states(look) == dict.fromkeys(NAMES, "unchanged")
        assert six.snapshot() == before
    # Once it is noted how they stand, nothing need be read again.
    old = {name: six.record(name) for name in NAMES}
    assert six.states() == dict.fromkeys(NAMES, "unchanged")
    for name in NAMES:
        new = six.record(name)
        assert {key for key in new if new[key] != old[name][key]} == {"fingerprint"}
    before = six.snapshot()
    assert six.states() == dict.fromkeys(NAMES, "unchanged")
    assert six.snapshot() == before
