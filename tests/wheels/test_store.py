"""The store: what comes out is what went in, whatever else runs, dies or is damaged."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bundler.create import build_advice
from bundler.errors import InputError, MachineError
from bundler.model import BuildTool, Built
from bundler.system import files
from bundler.wheels import store_care, trees
from bundler.wheels.store import DamagedEntryError, Store, default_root, inode, read_text

from tests.support import wheelmaker
from tests.wheels.test_unpack import describe

CONTENT: dict[str, str | bytes] = {
    "pack/__init__.py": "NAMES = frozenset({'a', 'b', 'c', 'd'})\nimport os\nprint(os.sep, 'x y', NAMES)\n",
    "pack/two.py": "print 'two'\n",
    "pack/latin.py": b"# -*- coding: latin-1 -*-\nX = '\xe4'\n",
    "pack/codec.py": "# -*- coding: no-such-codec -*-\n",
    "pack/warns.py": "assert (1, 'always true')\nX = '\\d'\n",
    "pack/data.txt": "data\n" * 1000,
    "pack-1.0.data/data/share/other.py": "X = 1\n",
    **{f"pack/many/m{number}.py": f"NAMES = {{'n{number}', 'os', 'x y'}}\n" for number in range(200)},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return wheelmaker.make_wheel(tmp_path, "pack", files=CONTENT)


def add(store: Store, wheel: Path) -> tuple[Path, str]:
    sha256 = wheelmaker.sha256(wheel)
    return store.add_file(wheel, filename=wheel.name, sha256=sha256), sha256


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_file_is_kept_under_its_hash(store: Store, wheel: Path) -> None:
    sha256 = wheelmaker.sha256(wheel)
    assert store.file(sha256, wheel.name) is None
    with wheel.open("rb") as stream:
        path = store.add_file(stream, filename=wheel.name, sha256=sha256)
    assert path.read_bytes() == wheel.read_bytes()
    assert store.file(sha256, wheel.name) == path == add(store, wheel)[0]
    assert store.file(sha256, "other.whl") is None


def test_file_is_taken_as_it_is(store: Store, wheel: Path) -> None:
    """Readable for everybody; nothing of it stays where it was written."""
    content, sha256 = wheel.read_bytes(), wheelmaker.sha256(wheel)
    with store.incoming() as folder:
        (folder / "file").write_bytes(content)
        (folder / "file").chmod(0o600)
        path = store.take_file(folder / "file", filename=wheel.name, sha256=sha256)
        assert list(folder.iterdir()) == []
    assert (path, path.read_bytes()) == (store.file(sha256, wheel.name), content)
    assert path.stat().st_mode & 0o777 == 0o644


def test_wrong_hash_is_refused_and_not_kept(store: Store) -> None:
    wrong, right = "0" * 64, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    with pytest.raises(InputError) as caught:
        store.add_file(io.BytesIO(b"x"), filename="a.whl", sha256=wrong)
    assert wrong in caught.value.message
    assert right in caught.value.message
    assert store.file(wrong, "a.whl") is None
    assert list(store.tmp.glob("[!.]*")) == []


@pytest.mark.parametrize(
    ("filename", "sha256"), [("../a", "0" * 64), ("", "0" * 64), ("a", "0"), ("a", "../" * 20)]
)
def test_names_cannot_leave_the_store(filename: str, sha256: str, store: Store) -> None:
    with pytest.raises(InputError):
        store.add_file(io.BytesIO(b""), filename=filename, sha256=sha256)
    with pytest.raises(InputError):
        store.file(sha256, filename)


def test_tree_has_bytecode_of_what_compiles(store: Store, wheel: Path, target_python: Path) -> None:
    interpreter = describe(target_python)
    tree = store.ensure_tree(*add(store, wheel), interpreter)
    site = f"lib/python{interpreter.minor}/site-packages"
    compiled = {fact.path for fact in tree.facts.files if fact.path.endswith(".pyc")}
    named = {
        f"{site}/pack/__pycache__/{n}.{interpreter.cache_tag}.pyc" for n in ("__init__", "latin", "warns")
    }
    assert {path for path in compiled if "/many/" not in path} == named
    assert len(compiled) == 203
    assert {fact.path for fact in tree.facts.files} == set(contents(tree.path))
    for fact in tree.facts.files:
        assert files.digest(tree.path / fact.path) == fact.sha256
    assert all(b"store" not in (tree.path / path).read_bytes() for path in compiled)
    assert tree.facts.modules == ("pack",)
    assert store.tree(tree.facts.sha256, interpreter.cache_tag) == tree


def test_bytecode_is_unchecked_and_used(store: Store, wheel: Path, target_python: Path) -> None:
    interpreter = describe(target_python)
    tree = store.ensure_tree(*add(store, wheel), interpreter)
    site = tree.path / f"lib/python{interpreter.minor}/site-packages"
    flags = (site / f"pack/__pycache__/latin.{interpreter.cache_tag}.pyc").read_bytes()[4:8]
    assert flags == b"\x01\0\0\0"  # PEP 552: hash-based, source not checked
    (site / "pack/latin.py").unlink()
    (site / "pack/latin.py").write_text("X = 'edited'\n")
    code = "import pack.latin as p; print(ascii(p.X), p.__loader__.get_code('pack.latin').co_filename)"
    shown = subprocess.run(
        [target_python, "-B", "-c", code],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'\\xe4'" in shown.stdout


def test_same_bytes_in_another_store_with_another_worker_count(
    tmp_path: Path, wheel: Path, target_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = describe(target_python)
    other = wheelmaker.make_wheel(tmp_path, "other", files={"other.py": "import os\nX = {'os', 'a', 'b'}\n"})
    found = []
    for folder, cpus in (("one", {0}), ("two with a längér name", {0, 1, 2, 3})):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=cpus: cpus)
        one = Store(tmp_path / folder)
        items = [add(one, path) for path in ((wheel, other) if folder == "one" else (other, wheel))]
        found.append({key: contents(tree.path) for key, tree in one.ensure_trees(items, interpreter).items()})
    assert found[0] == found[1]


def test_progress_counts_wheels(store: Store, tmp_path: Path, python38: Path) -> None:
    items = [add(store, wheelmaker.make_wheel(tmp_path, f"w{number}")) for number in range(5)]
    for _ in range(2):
        seen: list[int] = []
        assert len(store.ensure_trees(items, describe(python38), seen.append)) == 5
        assert seen == [1] * 5


def test_a_source_that_kills_the_compiler_does_not_take_its_neighbours(
    store: Store, tmp_path: Path, python38: Path
) -> None:
    files = {"good.py": "", "zlast.py": "", "nested.py": "x = " + "-" * 200_000 + "1\n"}
    tree = store.ensure_tree(
        *add(store, wheelmaker.make_wheel(tmp_path, "deep", files=files)), describe(python38)
    )
    compiled = {fact.path.rpartition("/")[2] for fact in tree.facts.files if fact.path.endswith(".pyc")}
    assert compiled == {"good.cpython-38.pyc", "zlast.cpython-38.pyc"}


def truncate(tree: Path) -> None:
    os.truncate(tree / "lib/python3.8/site-packages/pack/data.txt", 10)


def unlink(tree: Path) -> None:
    (tree / "lib/python3.8/site-packages/pack/data.txt").unlink()


def link(tree: Path) -> None:
    unlink(tree)
    (tree / "lib/python3.8/site-packages/pack/data.txt").symlink_to("/etc/hostname")


def sealed(text: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def without_a_member(path: Path) -> None:
    facts = json.loads(read_text(path))
    del facts["imports"]
    path.write_text(sealed(json.dumps(facts)))


def one_letter(path: Path) -> None:
    """What can be read as well as before, and says something else."""
    text = path.read_text()
    changed = text.replace('"requires":[]', '"requires":["x"]', 1)
    assert changed != text
    path.write_text(changed)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        unlink,
        link,
        lambda tree: (tree.parent / "facts.json").unlink(),
        lambda tree: (tree.parent / "facts.json").write_text("{"),
        lambda tree: (tree.parent / "facts.json").write_text("[]"),
        lambda tree: without_a_member(tree.parent / "facts.json"),
        lambda tree: one_letter(tree.parent / "facts.json"),
        lambda tree: pipe(tree.parent / "facts.json"),
        lambda tree: tree.rename(tree.parent / "gone"),
    ],
)
def test_damaged_tree_is_made_again(damage: object, store: Store, wheel: Path, python38: Path) -> None:
    assert callable(damage)
    interpreter = describe(python38)
    item = add(store, wheel)
    before = contents(store.ensure_tree(*item, interpreter).path)
    damage(store.ensure_tree(*item, interpreter).path)
    assert store.tree(item[1], interpreter.cache_tag) is None
    assert contents(store.ensure_tree(*item, interpreter).path) == before


def test_trees_of_another_envbundle_stay(
    store: Store,
    wheel: Path,
    python38: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An older and a newer one with other facts, on one cache: each took away what the other used."""
    item = add(store, wheel)
    interpreter = describe(python38)
    ours = store.ensure_tree(*item, interpreter)
    with monkeypatch.context() as newer:
        newer.setattr(trees, "VERSION", "ffffffff")
        assert store.tree(item[1], interpreter.cache_tag) is None
        theirs = store.ensure_tree(*item, interpreter)
        assert theirs.path != ours.path
    assert store.tree(item[1], interpreter.cache_tag) == ours
    assert store_care.verify(store, lambda _: None).damaged == ()
    assert theirs.path.is_dir()
    assert not caplog.messages
    assert store_care.prune(store, older_than=None).entries == 3


@pytest.mark.thorough
def test_damaged_wheel_is_dropped(store: Store, wheel: Path, python38: Path) -> None:
    path, sha256 = add(store, wheel)
    path.write_bytes(b"damaged")
    with pytest.raises(DamagedEntryError, match="sha256"):
        store.ensure_tree(path, sha256, describe(python38))
    assert store.file(sha256, wheel.name) is None
    path, sha256 = add(store, wheel)
    assert store.ensure_tree(path, sha256, describe(python38)).facts.name == "pack"


def test_nothing_stays_of_a_wheel_that_is_refused(store: Store, tmp_path: Path, python38: Path) -> None:
    bad = wheelmaker.make_wheel(tmp_path, "bad", files={"../x": ""})
    with pytest.raises(InputError):
        store.ensure_trees([add(store, bad)], describe(python38))
    assert list(store.trees.glob("*/*")) == []
    assert list(store.tmp.glob("[!.]*")) == []


@pytest.mark.thorough
def test_two_at_once_get_the_same(store: Store, wheel: Path, python38: Path) -> None:
    item = add(store, wheel)
    interpreter = describe(python38)
    found: list[object] = []
    again = Store(store.root.parent)
    threads = [
        threading.Thread(target=lambda one=one: found.append(one.ensure_tree(*item, interpreter)))
        for one in (store, again)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert len(list(store.trees.glob("*/*"))) == 1


PLACE = """\
import os, sys, time
from pathlib import Path
source, place, count = sys.argv[1:]
for number in range(int(count)):
    os.rename(f"{source}{number}", place.format(number))
    time.sleep(0.0003)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["file", "tree"])
def test_what_another_run_places_meanwhile_is_not_damaged(
    kind: str, store: Store, tmp_path: Path, python38: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = wheelmaker.make_wheel(tmp_path, "leaf")
    path, sha256 = add(store, small)
    tree = store.ensure_tree(path, sha256, describe(python38)).path.parent
    count = 400
    for number in range(count):
        shutil.copyfile(path, tmp_path / f"file{number}")
        shutil.copytree(tree, tmp_path / f"tree{number}")
    place = path.with_name("{}.whl") if kind == "file" else tree.with_name(f"{sha256}-{{}}.{trees.VERSION}")
    with subprocess.Popen(
        [sys.executable, "-c", PLACE, str(tmp_path / kind), str(place), str(count)]
    ) as other:
        for number in range(count):
            while not (
                store.file(sha256, f"{number}.whl") if kind == "file" else store.tree(sha256, str(number))
            ):
                assert not caplog.messages
    assert other.returncode == 0


def test_what_another_run_has_put_in_its_place_is_not_dropped(
    store: Store, wheel: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = add(store, wheel)
    damaged = inode(path)
    assert damaged is not None
    path.rename(path.with_name("kept"))  # so that its inode is in use
    shutil.copyfile(wheel, path)
    store.discard(path, "it was damaged", seen=damaged)
    store.drop(path, seen=damaged)
    assert path.read_bytes() == wheel.read_bytes()
    assert not caplog.messages
    store.discard(path, "it is damaged", seen=path.stat().st_ino)
    assert not path.exists()
    assert "it is damaged" in caplog.text


@pytest.mark.parametrize("kind", ["files", "trees", "texts"])
def test_what_prune_takes_while_verify_looks_is_not_damaged(
    kind: str, store: Store, wheel: Path, tmp_path: Path, python38: Path
) -> None:
    interpreter = describe(python38)
    for one in (wheel, wheelmaker.make_wheel(tmp_path, "leaf")):
        path, sha256 = add(store, one)
        store.ensure_tree(path, sha256, interpreter)
        store.keep_text(sha256, "text")

    looked = 0

    def look(_: int) -> None:
        """Take them as soon as verify has looked at one: two wheels come first, then two trees."""
        nonlocal looked
        looked += 1
        if looked == {"files": 1, "trees": 3, "texts": 5}[kind]:
            take()

    def take() -> None:
        for entry in (store.root / kind).glob(store_care.KINDS[kind]):
            store.drop(entry)

    found = store_care.verify(store, lambda _: interpreter, progress=look)
    assert looked >= 6
    assert [one for one in found.damaged if "its wheel is not here" not in one] == []


HOLD = """\
import sys, time
from pathlib import Path
from bundler.wheels.store import Store
with Store(Path(sys.argv[1])).incoming() as folder:
    (folder / "half").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.thorough
def test_left_overs_of_the_dead_are_swept_those_of_the_living_kept(tmp_path: Path) -> None:
    held = []
    processes = []
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        held.append(Path(process.stdout.readline().strip()))
    processes[0].send_signal(signal.SIGKILL)
    processes[0].communicate()
    with Store(tmp_path).incoming():
        assert [folder.exists() for folder in held] == [False, True]
    processes[1].kill()
    processes[1].communicate()


def test_a_changed_note_of_a_build_is_none(store: Store, wheel: Path) -> None:
    path, _ = add(store, wheel)
    tool = BuildTool(name="setuptools", version="70.0", filename="x.whl", sha256="b" * 64)
    store.remember_built("key", path, built := Built(sha256=path.parent.name, tools=(tool,)))
    note = store.built_notes / "key.note"
    note.write_text(note.read_text().replace("70.0", "71.0"))
    assert (store.built("key"), store.ever_built("key")) == (None, None)
    note.unlink()
    (note / "a folder").mkdir(parents=True)
    store.remember_built("key", path, built)
    assert store.built("key") == (path, built)


def test_built_wheels_are_remembered_while_they_are_there(store: Store, wheel: Path) -> None:
    assert store.built("key-1") is None
    path, _ = add(store, wheel)
    tool = BuildTool(name="setuptools", version="70.0", filename="x.whl", sha256="b" * 64)
    built = Built(sha256=path.parent.name, tools=(tool,))
    store.remember_built("key-1", path, built)
    assert store.built("key-1") == (path, built)
    path.unlink()
    assert (store.built("key-1"), store.ever_built("key-1")) == (None, built)
    # An earlier version noted no tools.
    note = store.built_notes / "key-2.note"
    note.write_text(sealed(json.dumps({"sha256": built.sha256, "filename": path.name})))
    assert (store.built("key-2"), store.ever_built("key-2")) == (None, None)
    with pytest.raises(ValueError, match="not a key"):
        store.built("../key")


def test_text_is_what_was_kept_or_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    key = "a" * 64
    assert store.text(key) is None
    store.keep_text(key, "first\nünï\n")
    assert store.text(key) == "first\nünï\n"
    store.keep_text(key, "")
    assert store.text(key) == ""
    store.keep_text(key, "whole")
    path = store.texts / key
    path.write_bytes(path.read_bytes()[:-1])
    assert store.text(key) is None
    assert "damaged" in caplog.text
    assert not path.exists()
    with pytest.raises(ValueError, match="not a sha256"):
        store.text("../key")


def test_texts_are_looked_after(store: Store) -> None:
    for key in ("a" * 64, "b" * 64):
        store.keep_text(key, "text")
    assert {share.kind: share.entries for share in store_care.info(store)}["texts"] == 2
    past = time.time() - 40 * 86400
    os.utime(store.texts / ("a" * 64), (past, past))
    assert store_care.prune(store, older_than=30).entries == 1
    (store.texts / ("b" * 64)).write_text("x")
    (store.texts / "stray").write_text("x")
    assert len(store_care.verify(store, lambda _: None).damaged) == 2
    assert list(store.texts.iterdir()) == []


def test_logs_of_builds_go_with_their_age(store: Store) -> None:
    logs = [
        build_advice.write_log("output", cache=store.root, job="", what=f"failed-{age}") for age in (1, 40)
    ]
    past = time.time() - 40 * 86400
    os.utime(logs[1], (past, past))
    assert {share.kind: share.entries for share in store_care.info(store)}["logs"] == 2
    before = store.losses()
    assert store_care.prune(store, older_than=30).entries == 1
    assert [path.exists() for path in logs] == [True, False]
    assert store_care.prune(store, older_than=None).entries == 1
    # No run has lost anything.
    assert store.losses() == before


@pytest.mark.thorough
def test_info_and_prune(store: Store, wheel: Path, tmp_path: Path, python38: Path) -> None:
    old = add(store, wheel)
    new = add(store, wheelmaker.make_wheel(tmp_path, "new"))
    store.ensure_trees([old, new], describe(python38))
    shares = {share.kind: share for share in store_care.info(store)}
    assert (shares["files"].entries, shares["trees"].entries) == (2, 2)
    assert shares["files"].size == old[0].stat().st_size + new[0].stat().st_size
    past = time.time() - 40 * 86400
    for path in (old[0], *store.trees.glob(f"*/{old[1]}-*/facts.json")):
        os.utime(path, (past, past))
    assert store_care.prune(store, older_than=30).entries == 2
    assert store.file(old[1], old[0].name) is None
    assert store.tree(new[1], "cpython-38") is not None
    assert store_care.prune(store, older_than=None).entries == 2
    assert store.file(new[1], new[0].name) is None


def test_use_keeps_an_entry_from_prune(store: Store, wheel: Path, python38: Path) -> None:
    path, sha256 = add(store, wheel)
    store.ensure_tree(path, sha256, describe(python38))
    past = time.time() - 40 * 86400
    for entry in (path, *store.trees.glob("*/*/facts.json")):
        os.utime(entry, (past, past))
    store.file(sha256, wheel.name)
    store.tree(sha256, "cpython-38")
    assert store_care.prune(store, older_than=30).entries == 0


@pytest.mark.thorough
def test_verify_finds_what_sizes_do_not_show(
    store: Store, wheel: Path, tmp_path: Path, python38: Path
) -> None:
    items = [add(store, wheel), add(store, wheelmaker.make_wheel(tmp_path, "good"))]
    found = store.ensure_trees(items, describe(python38))
    verify = functools.partial(store_care.verify, store, lambda _: describe(python38))
    assert verify() == store_care.Verified(damaged=(), unproved=())
    data = found[items[0][1]].path / "lib/python3.8/site-packages/pack/data.txt"
    data.write_bytes(data.read_bytes().replace(b"data", b"DATA"))
    items[1][0].write_bytes(b"damaged")
    assert set(verify().damaged) == {
        "good-1.0-py3-none-any.whl: its content has another sha256",
        "pack-1.0-py3-none-any.whl: lib/python3.8/site-packages/pack/data.txt has another sha256",
        f"{items[1][1]}-cpython-38.{trees.VERSION}: its wheel is not here to compare it with",
    }
    assert store.tree(items[0][1], "cpython-38") is None
    assert store.file(items[1][1], items[1][0].name) is None
    assert verify().damaged == ()


@pytest.mark.thorough
@pytest.mark.parametrize("forged", ["two.py", "__pycache__/__init__.cpython-38.pyc", "data.txt", "facts"])
def test_verify_compares_a_tree_and_its_facts_with_the_wheel(
    store: Store, wheel: Path, tmp_path: Path, python38: Path, forged: str
) -> None:
    """Whoever rewrites a file of a tree can rewrite the facts beside it."""
    items = [add(store, wheel), add(store, wheelmaker.make_wheel(tmp_path, "good"))]
    found = store.ensure_trees(items, describe(python38))
    tree = found[items[0][1]]
    path = tree.path.parent / "facts.json"
    if forged == "facts":
        path.write_text(sealed(json.dumps({**json.loads(read_text(path)), "licence": "forged"})))
    else:
        fact = next(one for one in tree.facts.files if one.path.endswith(f"/pack/{forged}"))
        file = tree.path / fact.path
        file.write_bytes(file.read_bytes()[:-1] + b"#")
        path.write_text(sealed(read_text(path).replace(fact.sha256, wheelmaker.sha256(file))))
    assert store.tree(items[0][1], "cpython-38") is not None
    unseen = store_care.verify(store, lambda _: None)
    assert unseen == store_care.Verified(damaged=(), unproved=("cpython-38",))
    seen = store_care.verify(store, lambda _: describe(python38))
    assert seen.damaged == ("pack-1.0-py3-none-any.whl: it is not what its wheel gives",)
    assert store.tree(items[0][1], "cpython-38") is None
    assert store.tree(items[1][1], "cpython-38") is not None


def test_verify_removes_what_is_no_file(store: Store, wheel: Path) -> None:
    path, _ = add(store, wheel)
    path.unlink()
    os.mkfifo(path)
    assert len(store_care.verify(store, lambda _: None).damaged) == 1
    assert not path.exists()


@pytest.mark.thorough
def test_facts_survive_the_disk(store: Store, wheel: Path, python38: Path) -> None:
    facts = store.ensure_tree(*add(store, wheel), describe(python38)).facts
    assert trees.load(json.loads(json.dumps(trees.dump(facts)))) == facts


def test_a_store_that_cannot_be_written_is_the_machines_fault(tmp_path: Path, wheel: Path) -> None:
    blocked = Store(tmp_path / "file")
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        add(blocked, wheel)


def test_a_root_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a name that is not UTF-8"):
        Store(tmp_path / os.fsdecode(b"\xff"))


def test_default_root(tmp_path: Path) -> None:
    assert default_root({"ENVBUNDLE_CACHE_DIR": str(tmp_path)}) == tmp_path
    assert default_root({}).name == "envbundle"


def test_threads_of_one_run_do_not_keep_each_other_from_sweeping(tmp_path: Path) -> None:
    """The second took the lock that the first needed for it, and what a killed run had left stayed."""
    for number in range(40):
        store = Store(tmp_path / str(number))
        (store.tmp / "left" / "work").mkdir(parents=True)
        begin = threading.Barrier(4)

        def use(store: Store = store, begin: threading.Barrier = begin) -> None:
            begin.wait()
            with store.incoming():
                pass

        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(use) for _ in range(4)]:
                one.result()
        assert [path.name for path in store.tmp.iterdir()] == [".lock"]
