"""The plan of a nightly: which jobs a file expands to, whose they are, and what each asks of the pipeline."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.checks.imports.service_code import CodeImport
from bundler.checks.rules.publishers import PublisherRules
from bundler.cli import create
from bundler.create.mend.pins import Limits
from bundler.create.request import CreateRequest
from bundler.errors import InputError
from bundler.model import IndexSettings, RoomLimits
from bundler.rebuild import config, plan
from bundler.rebuild.config import keys
from bundler.targets import catalogue

if TYPE_CHECKING:
    from bundler.rebuild.plan import Job

NOW = datetime(2026, 11, 21, 5, 33, tzinfo=timezone.utc)
AML37 = "minimal-ubuntu18.04-py37-cpu-inference"
AML38 = "minimal-ubuntu20.04-py38-cpu-inference"
SILENT = "ubuntu-20.04"
"""A profile that does not say its Python."""
DEFAULTS = '[defaults]\nrequirements = "r.txt"\n'
EMPTY: dict[str, str] = {}


def load(folder: Path, text: str) -> config.Config:
    path = folder / "envbundle.toml"
    path.write_text(text)
    return config.read(path)


def names(folder: Path, text: str) -> list[str]:
    return [cell.name for cell in plan.cells(load(folder, text))]


def jobs(folder: Path, text: str, **options: object) -> tuple[Job, ...]:
    return plan.plan(load(folder, text), **{"now": NOW, "environ": EMPTY, **options})  # type: ignore[arg-type]  # a table of options


def bundle(name: str, *lines: str) -> str:
    return "\n".join(["[[bundle]]", f'name = "{name}"', *lines, ""])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bundle("a", 'python = "3.8"'), ["a-py38"]),
        (bundle("a", 'python = "3.8.18"'), ["a-py38"]),
        (bundle("a", 'python = ["3.10", "3.7"]'), ["a-py310", "a-py37"]),
        (bundle("a", f'image = "{AML38}"'), [f"a-py38-{AML38}"]),
        (bundle("a", 'image = "curated/mlflow-py312-inference"'), ["a-py312-curated-mlflow-py312-inference"]),
        (bundle("a", f'image = ["{AML38}", "{AML37}"]'), [f"a-py38-{AML38}", f"a-py37-{AML37}"]),
        (
            bundle("a", f'image = "{SILENT}"', 'python = ["3.8", "3.9"]'),
            [f"a-py38-{SILENT}", f"a-py39-{SILENT}"],
        ),
        (
            bundle("a", f'image = ["{AML37}", "{AML38}", "{SILENT}"]', 'python = ["3.7", "3.8.18"]'),
            [f"a-py37-{AML37}", f"a-py37-{SILENT}", f"a-py38-{AML38}", f"a-py38-{SILENT}"],
        ),
        (
            'python = ["3.7", "3.8"]\n' + bundle("a") + bundle("b", 'python = "3.9"') + bundle("c"),
            ["a-py37", "a-py38", "b-py39", "c-py37", "c-py38"],
        ),
        # Of the defaults' lists, what does not go with the bundle's own is left out.
        ('python = ["3.7", "3.8"]\n' + bundle("a", f'image = "{AML38}"'), [f"a-py38-{AML38}"]),
        (f'image = ["{AML37}", "{AML38}"]\n' + bundle("a", 'python = "3.7"'), [f"a-py37-{AML37}"]),
        (f'image = "{AML37}"\n' + bundle("a", "image = false", 'python = "3.8"'), ["a-py38"]),
    ],
)  # fmt: skip
def test_matrix(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert names(tmp_path, DEFAULTS + text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('from-env = "env"', "a-py38"),
        ('requirements = "environment.yml"', "a-py310"),
        ('requirements = ["r.txt", "Pipfile.lock"]', "a-py39"),
        ('from-env = "env"\npython = "3.11"', "a-py311"),
        (f'from-env = "env"\nimage = "{AML37}"', f"a-py37-{AML37}"),
    ],
)
def test_the_python_of_an_input(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "env" / "lib" / "python3.8" / "site-packages").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text("version = 3.8.18\n")
    (tmp_path / "environment.yml").write_text("dependencies: [python=3.10]")
    (tmp_path / "Pipfile.lock").write_text('{"_meta": {"requires": {"python_version": "3.9"}}}')
    assert names(tmp_path, bundle("a", text)) == [expected]
    (tmp_path / "environment.yml").write_text("dependencies: [six]")
    if "yml" in text:
        with pytest.raises(InputError, match=r"toml:3: a: environment.yml does not say its Python"):
            names(tmp_path, bundle("a", text))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (bundle("a", 'from-env = "env"'), 5, "env"),
        (bundle("a", f'image = ["{AML38}", "{AML37}"]', 'python = "3.8"'), 5, f"{AML37} has Python 3.7"),
        (bundle("a", f'image = "{AML38}"', 'python = ["3.7", "3.8"]'), 6, "that is named has Python 3.7"),
        (bundle("a", f'image = "{AML38}"', 'python = "3.7"'), 5, "and python names 3.7"),
        (bundle("a", f'image = "{SILENT}"'), 5, f"the profile of {SILENT} does not say its Python"),
        (bundle("a", f'image = ["{AML38}", "{SILENT}"]'), 5, f"the profile of {SILENT} does not say"),
        (f'image = "{AML37}"\npython = "3.8"\n' + bundle("a"), 3, f"image {AML37} has Python 3.7"),
        (f'image = "{AML37}"\n' + bundle("a", 'python = "3.8"'), 3, f"image {AML37} has Python 3.7"),
        (bundle("a", 'lock = "pylock.toml"'), 5, "pylock.toml: No such file"),
        (bundle("a", 'lock = "requirements.lock"'), 5, "does not say its Python"),
        (bundle("a", 'lock = "l.lock"', 'python = ["3.7", "3.8"]'), 5, "for one target, and this is for 2"),
        (bundle("x" * 100, 'image = "long.json"', 'python = "3.8"'), 3, "too long"),
    ],
)  # fmt: skip
def test_matrix_that_would_leave_something_out(tmp_path: Path, text: str, line: int, message: str) -> None:
    profile = json.loads((catalogue.FOLDER / f"{AML38}.json").read_text())
    (tmp_path / "long.json").write_text(json.dumps({**profile, "name": "i" * 150}))
    (tmp_path / "requirements.lock").write_text("")
    with pytest.raises(InputError) as caught:
        names(tmp_path, DEFAULTS + text)
    assert caught.value.message.startswith(f"{tmp_path}/envbundle.toml:{line}: ")
    assert message in caught.value.message
    assert caught.value.hint


def test_a_lock_says_its_python(tmp_path: Path) -> None:
    lock = (
        'lock-version = "1.0"\ncreated-by = "envbundle"\npackages = []\n'
        '[tool.envbundle]\npython-version = "3.8.18"\nglibc = "2.31"\nmachine = "x86_64"\n'
    )
    (tmp_path / "pylock.toml").write_text(lock)
    (tmp_path / "requirements.lock").write_text("")
    defaults = '[defaults]\npython = ["3.7", "3.9"]\npre = true\n'
    (job,) = jobs(tmp_path, f'exclude-newer = "7 days"\n{defaults}' + bundle("a", 'lock = "pylock.toml"'))
    assert (job.name, job.request.python) == ("a-py38", "3.8")
    assert (job.request.lock_file, job.request.requirement_files) == (tmp_path / "pylock.toml", ())
    assert (job.request.exclude_newer, job.request.pre) == (None, False)
    (job,) = jobs(tmp_path, '[defaults]\npython = "3.7"\n' + bundle("a", 'lock = "requirements.lock"'))
    assert (job.name, job.request.python) == ("a-py37", "3.7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # "a" for an image called py38, and a bundle that is called so.
        (bundle("a", 'image = "p.json"') + bundle("a-py38"), "the folder of a-py38-py38, "),
        (bundle("a-py38") + bundle("b", 'output = "bundles/A-PY38-py38"'), "inside the folder of a-py38-"),
        (bundle("a", 'output = "x"') + bundle("b", 'output = "x/a-py38/y/z"'), "inside the folder of a-py38"),
        (bundle("a", 'output = "x"') + bundle("b", 'output = "link"'), "is inside the folder of a-py38"),
        ('output = "x/a-py38/all"\n' + bundle("a", 'output = "x"'), "output, "),
        ('output = "x/a-py38"\n' + bundle("a", 'output = "x"'), "is the same as the folder of a-py38"),
    ],
)  # fmt: skip
def test_folders_in_each_others_way(tmp_path: Path, text: str, message: str) -> None:
    profile = json.loads((catalogue.FOLDER / f"{AML38}.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps({**profile, "name": "py38"}))
    (tmp_path / "link").symlink_to("x/a-py38")
    top, found, rest = text.partition("[[")
    whole = f'{top}{DEFAULTS}python = "3.8"\n{found}{rest}'
    with pytest.raises(InputError, match=r"envbundle\.toml") as caught:
        names(tmp_path, whole)
    assert message in caught.value.message
    assert "give one of them another name or output" in (caught.value.hint or "")


def test_folders_side_by_side(tmp_path: Path) -> None:
    text = (
        f'{DEFAULTS}python = "3.8"\n'
        + bundle("a")
        + bundle("a-py38x")
        + bundle("a.b", 'output = "bundles/other"')
        + bundle("b", 'output = "."')
    )
    found = plan.cells(load(tmp_path, text))
    assert [str(cell.folder.relative_to(tmp_path)) for cell in found] == [
        "bundles/a-py38", "bundles/a-py38x-py38", "bundles/other/a.b-py38", "b-py38",
    ]  # fmt: skip


def test_every_job_asks_what_the_file_says(tmp_path: Path) -> None:
    text = f'''
python-downloads = false
exclude-newer = "7 days"
index-url = "https://${{WHO}}:${{SECRET}}@feed.example/simple"
extra-index-url = "${{FEED}}/simple"
find-links = ["wheels", "https://${{SECRET}}@feed.example/page"]
[[bundle]]
name = "a"
requirements = ["r.txt", "/abs/s.txt"]
constraints = "c.txt"
python = "3.8"
image = "{AML38}"
server = "1.3.4"
formats = ["zip"]
keep = 7
glibc = "2.30"
fit = false
no-binary = ["x"]
only-binary = ["y"]
pre = true
no-build = true
build-network = true
require-isolation = true
prefer-binary = true
build-timeout = 60
build-disk = 512
memory-limit = 4096
thin = true
sign = "key"
mend = true
entry = "score.py"
strict = true
note = "at night"
'''
    (tmp_path / "score.py").write_text("import flask")
    environ = {"WHO": "me", "SECRET": "p%2Fw", "FEED": "http://feed", "ENVBUNDLE_CACHE_DIR": "/c/a"}
    (job,) = jobs(tmp_path, text, environ=environ)
    assert job.name == f"a-py38-{AML38}"
    assert job.folder == tmp_path / "bundles" / job.name
    assert (job.bundle, job.formats, job.keep, job.sign) == ("a", ("zip",), 7, tmp_path / "key")
    assert job.place == f"{tmp_path}/envbundle.toml:7"
    assert job.request == CreateRequest(
        requirement_files=(tmp_path / "r.txt", Path("/abs/s.txt")),
        constraint_files=(tmp_path / "c.txt",),
        python="3.8",
        glibc="2.30",
        image=AML38,
        fit=False,
        server="1.3.4",
        index=IndexSettings(
            index_url="https://me:p%2Fw@feed.example/simple",
            extra_index_urls=("http://feed/simple",),
            find_links=(str(tmp_path / "wheels"), "https://p%2Fw@feed.example/page"),
        ),
        no_binary=("x",),
        only_binary=("y",),
        pre=True,
        exclude_newer="2026-11-14T05:00:00Z",
        no_build=True,
        build_network=True,
        require_isolation=True,
        prefer_binary=True,
        build_timeout=60,
        build_disk=512,
        limits=RoomLimits(memory_mib=4096),
        python_downloads=False,
        job=job.name,
        cache_dir=Path("/c/a"),
        output=job.folder / "current",
        policy=replace(job.request.policy, strict=True),
        thin=True,
        mend=Limits(),
        service=(CodeImport(where="score.py:1", module="flask"),),
    )
    assert pickle.loads(pickle.dumps(job)) == job


@pytest.mark.parametrize("required", [False, True])
def test_isolation_can_be_required_of_all(tmp_path: Path, *, required: bool) -> None:
    text = 'python = "3.8"\n' + bundle("a") + bundle("b", "require-isolation = true")
    made = jobs(tmp_path, DEFAULTS + text, require_isolation=required)
    assert [job.request.require_isolation for job in made] == [required, True]


def test_every_option_of_create_is_a_key() -> None:
    """Whoever adds an option to `create` adds the key as well, or names it here as none of a bundle's."""
    options = {max(param.opts, key=len).removeprefix("--") for param in create.command.params}
    renamed = {
        "requirement": "requirements",
        "constraint": "constraints",
        "build-constraint": "build-constraints",
        "format": "formats",
        "no-python-downloads": "python-downloads",
        **dict.fromkeys(("publisher", "require-provenance", "trusted-root"), "provenance"),
    }
    # Requirements stand in files, whose lines errors can name; the rest is about one run.
    of_the_run = {
        "requirements",
        "force",
        "link-mode",
        "wheelhouse",
        "prove",
        "mend-tries",
        "mend-seconds",
        "refresh",
        "quiet",
        "verbose",
        "json",
    }
    found = {renamed.get(name, name) for name in options - of_the_run}
    assert found - {*keys.BUNDLE, *keys.TOP} == set()
    assert keys.BUNDLE.keys() - found <= {"name", "keep", "formats", "note"}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "index-url: the environment variable FEED_TOKEN is not set"),
        ({"FEED_TOKEN": ""}, "index-url: the environment variable FEED_TOKEN is not set"),
        ({"FEED_TOKEN": "sec\n"}, "index-url is no URL once its variables are in place"),
        ({"FEED_TOKEN": "a b"}, "index-url is no URL once its variables are in place"),
    ],
)
def test_variables(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    text = 'index-url = "https://${FEED_TOKEN}@feed.example/"\n' + DEFAULTS + bundle("a", 'python = "3.8"')
    with pytest.raises(InputError) as caught:
        jobs(tmp_path, text, environ=environ)
    assert caught.value.message == f"{tmp_path}/envbundle.toml:1: {message}"
    assert "sec" not in f"{caught.value.message}{caught.value.hint}"
    # Who only wants to know which jobs there are needs no secret.
    assert names(tmp_path, text) == ["a-py38"]


def test_a_variable_of_a_bundle_that_is_not_asked_for(tmp_path: Path) -> None:
    text = DEFAULTS + 'python = "3.8"\n' + bundle("a") + bundle("b", 'index-url = "https://${NO}@f.example/"')
    assert [job.name for job in jobs(tmp_path, text, only=["a"])] == ["a-py38"]
    with pytest.raises(InputError, match=r"envbundle\.toml:8: index-url: the environment variable NO"):
        jobs(tmp_path, text)
    with pytest.raises(InputError, match="is no URL once"):
        jobs(tmp_path, text.replace("https://${NO}@f.example/", "${NO}"), environ={"NO": "f.example"})


def test_who_says_where_the_cache_is(tmp_path: Path) -> None:
    text = DEFAULTS + bundle("a", 'python = "3.8"')
    said = 'cache-dir = "cache"\n' + text
    environ = {"ENVBUNDLE_CACHE_DIR": "/env"}
    for words, given, expected in (
        (text, None, Path("/env")),
        (said, None, tmp_path / "cache"),
        (said, Path("/given"), Path("/given")),
    ):
        (job,) = jobs(tmp_path, words, environ=environ, cache_dir=given)
        assert job.request.cache_dir == expected


def test_exclude_newer(tmp_path: Path) -> None:
    text = 'exclude-newer = "P7D"\n' + DEFAULTS + 'python = ["3.7", "3.8"]\n'
    text += bundle("a") + bundle("b", "exclude-newer = false") + bundle("c", "exclude-newer = 2024-06-30")
    week, day = "2026-11-14T05:00:00Z", "2024-07-01T00:00:00Z"
    found = [job.request.exclude_newer for job in jobs(tmp_path, text)]
    assert found == [week, week, None, None, day, day]
    with pytest.raises(InputError, match="--exclude-newer: '1 moon' is neither"):
        jobs(tmp_path, text, exclude_newer="1 moon")
    found = [job.request.exclude_newer for job in jobs(tmp_path, text, exclude_newer="1 day")]
    assert found == ["2026-11-20T05:00:00Z"] * 6


THREE = DEFAULTS + 'python = ["3.7", "3.8"]\n' + bundle("api") + bundle("api-batch") + bundle("Web")


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["api"], ["api-py37", "api-py38"]),
        (["api-py38"], ["api-py38"]),
        (["api-py38", "Web"], ["api-py38", "Web-py37", "Web-py38"]),
        (["api*"], ["api-py37", "api-py38", "api-batch-py37", "api-batch-py38"]),
        (["*-py37"], ["api-py37", "api-batch-py37", "Web-py37"]),
        (["[aW]??-py3[7]"], ["api-py37", "Web-py37"]),
        (["Web-py37", "Web-py37"], ["Web-py37"]),
    ],
)
def test_only(tmp_path: Path, only: list[str], expected: list[str]) -> None:
    assert [job.name for job in jobs(tmp_path, THREE, only=only)] == expected


@pytest.mark.parametrize(
    ("only", "hint"),
    [
        (["web"], "did you mean Web"),
        (["api", "api-bach"], "did you mean api-batch"),
        (["api-py39"], "did you mean api-py3"),
        (["zzz"], "`envbundle matrix` lists all"),
        (["zzz*"], "`envbundle matrix` lists all"),
        ([""], "`envbundle matrix` lists all"),
    ],
)
def test_only_what_is_not_there(tmp_path: Path, only: list[str], hint: str) -> None:
    with pytest.raises(InputError, match="no bundle has that name") as caught:
        jobs(tmp_path, THREE, only=only)
    assert hint in (caught.value.hint or "")


def test_shards_are_a_partition(tmp_path: Path) -> None:
    every = [job.name for job in jobs(tmp_path, THREE)]
    for count in (1, 2, 3, 7, 100):
        parts = [jobs(tmp_path, THREE, shard=(number, count)) for number in range(1, count + 1)]
        assert sorted(job.name for part in parts for job in part) == sorted(every)
    whole = jobs(tmp_path, THREE, shard=(1, 1))
    assert [job.name for job in whole] == every
    chosen = [job.name for number in (1, 2) for job in jobs(tmp_path, THREE, only=["api"], shard=(number, 2))]
    assert sorted(chosen) == ["api-py37", "api-py38"]


def test_a_job_keeps_its_shard() -> None:
    """Machines with different releases may share a run: all must divide it in the same way."""
    known = {"scoring-py37": 4, "scoring-py38": 4, "features-py38": 2, "x-py312": 4, "Web-py38": 1}
    assert {name: plan.shard_of(name, 4) for name in known} == known


def test_shards_are_even_and_one_more_moves_few() -> None:
    every = [f"service-{number}-py38" for number in range(2000)]
    before = {name: plan.shard_of(name, 8) for name in every}
    sizes = Counter(before.values())
    assert min(sizes) == 1
    assert max(sizes) == 8
    assert all(200 <= size <= 300 for size in sizes.values())
    after = {name: plan.shard_of(name, 9) for name in every}
    moved = [name for name in every if after[name] != before[name]]
    assert all(after[name] == 9 for name in moved)
    assert 150 <= len(moved) <= 300


@pytest.mark.parametrize(
    ("text", "expected"), [("1/1", (1, 1)), ("2/4", (2, 4)), ("1000/1000", (1000, 1000))]
)
def test_shards_that_there_are(text: str, expected: tuple[int, int]) -> None:
    assert plan.parse_shard(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0/4", "5/4", "4", "1/", "/4", "-1/4", "1/0", "1/1001", "a/b", "1/4/2", "1/٤"]
)
def test_shards_that_there_are_not(text: str) -> None:
    with pytest.raises(InputError, match="--shard") as caught:
        plan.parse_shard(text)
    assert "--shard 1/4" in (caught.value.hint or "")


def test_publishers_that_are_demanded(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text("{}")
    text = (
        '[provenance]\nrequire = ["numpy", "internal-*"]\npublishers = {NumPy = "GitHub:numpy/numpy"}\n'
        'trusted-root = "root.json"\n[defaults]\nrequirements = "r.txt"\npython = "3.8"\n'
        + bundle("a")
        + bundle("b", "provenance = true")
        + bundle("c", "provenance = false")
    )
    demanded, asked, silent = (job.request.provenance for job in jobs(tmp_path, text))
    assert demanded == PublisherRules(
        require=("numpy", "internal-*"), publishers=(("numpy", "GitHub:numpy/numpy"),), trusted_root="{}"
    )
    assert (asked, silent) == (PublisherRules(), None)
    (tmp_path / "root.json").unlink()
    with pytest.raises(InputError, match=r"envbundle.toml:1: .*root.json"):
        jobs(tmp_path, text)
