"""Jobs on a Dask cluster: what travels, and real workers, some of which are killed."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bundler
import pytest
from bundler.create import requirements
from bundler.errors import InputError, MachineError
from bundler.rebuild import config, plan
from bundler.rebuild.dask import task as dask_task
from bundler.rebuild.dask.task import Machine
from bundler.rebuild.job import Options
from bundler.rebuild.outcome import Bug
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.targets import catalogue

from tests.support import wheelmaker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bundler.rebuild.outcome import Event, Outcome
    from bundler.rebuild.plan import Job

    from tests.support.command import Command
    from tests.support.index import Index


CONFIG = """
output = "out"
index-url = "{index}"

[defaults]
python = ["3.8"]

[[bundle]]
name = "plain"
requirements = "plain.txt"

[[bundle]]
name = "slow"
requirements = "slow.txt"

[[bundle]]
name = "gone"
requirements = "gone.txt"
"""
BACKEND = """
import base64, hashlib, subprocess, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    subprocess.run(["sleep", "SECONDS"], check=True)
    name = "slow-1.0-py3-none-any.whl"
    files = {
        "slow.py": "VALUE = 1\\n",
        "slow-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n",
        "slow-1.0.dist-info/WHEEL":
            "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = ""
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows += "%s,sha256=%s,\\n" % (path, digest)
        record = "slow-1.0.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), rows + record + ",,\\n")
    return name
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Three bundles: of a wheel, of a source that can be slow or deadly, and of what no index has."""

    folder: Path
    index: Index
    seconds: str
    """How long a build of the source takes: a number that no other has."""

    def jobs(self, *only: str) -> tuple[Job, ...]:
        """The jobs of those that are named."""
        read = config.read(self.folder / "envbundle.toml")
        now = datetime.now(timezone.utc)
        return plan.plan(read, only=only, now=now, environ={}, cache_dir=self.folder / "cache")

    def builds(self) -> set[str]:
        """The builds of the source that are going on: by their processes, for they can write nowhere else."""
        return {
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if _content(path) == f"sleep\0{self.seconds}\0"
        }

    def wait_for_a_build(self, known: Collection[str] = ()) -> str:
        """Wait until a build goes on that is not known yet, and return it."""
        limit = time.monotonic() + 60
        while not (found := self.builds() - {*known}):
            assert time.monotonic() < limit
            time.sleep(0.02)
        return min(found)

    @property
    def output(self) -> str:
        """The URL of the builds."""
        return f"file://{self.folder}/place/out"

    @property
    def store(self) -> str:
        """The URL of the wheels."""
        return f"file://{self.folder}/place/store"


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def make_sample(index: Index, wheels: Path, pips: Path, folder: Path) -> Sample:
    """Put everything into a folder and an index."""
    for path in pips.glob("*.whl"):
        shutil.copy(path, wheels)
    wheelmaker.make_wheel(wheels, "alpha", requires=["beta"])
    wheelmaker.make_wheel(wheels, "beta")
    seconds = f"3.{os.getpid():08}{uuid.uuid4().int % 10**8:08}"
    project = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.replace("SECONDS", seconds),
        "PKG-INFO": "Metadata-Version: 2.2\nName: slow\nVersion: 1.0\n",
    }
    wheelmaker.make_sdist(wheels, "slow", files=project)
    (folder / "plain.txt").write_text("alpha\n")
    (folder / "more").mkdir()
    (folder / "more" / "nested.txt").write_text("beta==1.0\n")
    (folder / "slow.txt").write_text("slow\n-r more/nested.txt\n")
    (folder / "gone.txt").write_text("never-heard-of\n")
    (folder / "envbundle.toml").write_text(CONFIG.format(index=index.url))
    return Sample(folder=folder, index=index, seconds=seconds)


@pytest.fixture
def sample(index: Index, wheels: Path, pips: Path, tmp_path: Path) -> Sample:
    return make_sample(index, wheels, pips, tmp_path)


def pack(job: Job, environ: Mapping[str, str] | None = None) -> dask_task.Task:
    return dask_task.pack(job, options=Options(), output="s3://x/y", key="k", environ=environ or {})


def test_a_task_carries_all_that_its_job_reads(sample: Sample, tmp_path: Path) -> None:
    (job,) = sample.jobs("slow")
    image = catalogue.load("debian-12-slim")
    profile = tmp_path / "own.json"
    shutil.copy(catalogue.FOLDER / "debian-12-slim.json", profile)
    job = replace(job, request=replace(job.request, image=str(profile), python=None))
    task = pickle.loads(pickle.dumps(pack(job)))
    shutil.move(tmp_path / "more", tmp_path / "slow.txt.away")
    profile.unlink()
    folder = tmp_path / "worker"
    folder.mkdir()
    there = dask_task.unpack(task, folder=folder, cache=tmp_path / "scratch")
    wanted = there.request.wanted
    assert wanted is not None
    assert [(one.text, one.origin) for one in wanted.requirements] == [
        ("slow", f"{tmp_path}/slow.txt:1"),
        ("beta==1.0", f"{tmp_path}/more/nested.txt:1"),
    ]
    assert there.request.requirement_files == ()
    assert there.request.cache_dir == tmp_path / "scratch"
    assert catalogue.load(there.request.image or "") == image


def test_a_lock_travels_under_its_name(sample: Sample, tmp_path: Path) -> None:
    (job,) = sample.jobs("plain")
    lock = tmp_path / "pylock.toml"
    lock.write_text('lock-version = "1.0"\n')
    builds = tmp_path / "builds.txt"
    builds.write_text("setuptools<58  # of old\ncython<3\n")
    asked = replace(job.request, lock_file=lock, build_constraint_files=(builds,), requirement_files=())
    task = pack(replace(job, request=asked))
    lock.unlink()
    builds.unlink()
    folder = tmp_path / "worker"
    folder.mkdir()
    there = dask_task.unpack(task, folder=folder, cache=tmp_path).request
    assert there.lock_file == folder / "pylock.toml"
    assert there.lock_file.read_text() == 'lock-version = "1.0"\n'
    assert there.wanted is None
    assert requirements.read_constraints(there.build_constraint_files) == ("setuptools<58", "cython<3")


def test_a_task_says_nothing_of_its_content(sample: Sample) -> None:
    (job,) = sample.jobs("plain")
    index = replace(job.request.index, index_url="https://user:secret@index.example/simple")
    task = pack(replace(job, request=replace(job.request, index=index)))
    assert repr(task) == str(task) == "<Task plain-py38>"
    assert b"secret" in pickle.dumps(task)


def test_variables_are_the_clients(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("--extra-index-url https://${USER_NAME}@x.example/simple\nalpha\n")
    (job,) = sample.jobs("plain")
    wanted = pack(job, {"USER_NAME": "me"}).job.request.wanted
    assert wanted is not None
    assert wanted.index.extra_index_urls == ("https://me@x.example/simple",)
    with pytest.raises(InputError, match="USER_NAME is not set"):
        pack(job)


@pytest.mark.parametrize(
    "line", ["./project", "{folder}/project", "project @ file://{folder}/project", "--find-links wheels"]
)
def test_what_only_this_machine_has_is_refused(sample: Sample, tmp_path: Path, line: str) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "setup.py").touch()
    (tmp_path / "plain.txt").write_text(f"alpha\n{line.format(folder=tmp_path)}\n")
    (job,) = sample.jobs("plain")
    with pytest.raises(InputError, match="this machine") as raised:
        pack(job)
    assert "index" in (raised.value.hint or "")


HERE = Machine(
    tool="1.0", python="3.11", machine="x86_64", targets=(("3.7", ""), ("3.8", "3.8.18"), ("3.9", "3.9.2"))
)


@pytest.mark.parametrize(
    ("there", "downloads", "said"),
    [
        ({}, True, ()),
        ({"tool": "1.1"}, True, ("envbundle 1.1, here 1.0",)),
        ({"python": "3.10"}, True, ("runs on Python 3.10, here 3.11",)),
        ({"machine": "aarch64"}, True, ("is aarch64, here x86_64",)),
        ({"targets": (("3.8", "3.8.20"),)}, True, ("has Python 3.8.20 for 3.8, here 3.8.18",)),
        ({"targets": (("3.8", ""),)}, False, ("has no Python 3.8",)),
        ({"targets": (("3.8", ""),)}, True, ()),
        ({"targets": (("3.7", "3.7.16"),)}, False, ()),
    ],
)
def test_workers_are_compared(there: dict[str, Any], downloads: bool, said: tuple[str, ...]) -> None:  # noqa: FBT001 - a column of the table
    targets = HERE.targets if not downloads or "targets" in there else (*HERE.targets,)
    found = dask_task.differences(HERE, replace(HERE, **{"targets": targets, **there}), downloads=downloads)
    assert found == said


def test_a_machine_is_described(tmp_path: Path, python38: Path) -> None:
    found = dask_task.describe(["3.8", "3.8", "3.99"], cache=tmp_path, environ=os.environ)
    assert found.tool == bundler.__version__
    assert dict(found.targets)["3.99"] == ""
    assert dict(found.targets)["3.8"].startswith("3.8.")


@dataclass(kw_only=True)
class Cluster:
    """A real cluster of this machine."""

    address: str
    client: Any

    def run(self, sample: Sample, *only: str, output: str = "", store: str | None = None) -> list[Outcome]:
        """Do jobs, and return what became of them in the order in which it was told."""
        told: list[Outcome] = []
        self.start(sample, told, *only, output=output, store=store)
        return told

    def start(
        self, sample: Sample, told: list[Outcome], *only: str, output: str = "", store: str | None = None
    ) -> None:
        from bundler.rebuild.dask import cluster as dask  # noqa: PLC0415 - a second, for the tests that need it

        def tell(event: Event) -> None:
            assert not isinstance(event, Bug), event.trace
            told.append(event)  # type: ignore[arg-type]  # nothing else is told

        jobs = sample.jobs(*only)
        options = Options(store=store or sample.store)
        found = dask.run(
            jobs, options, address=self.address, output=output or sample.output, environ={}, on_event=tell
        )
        assert [one.name for one in found] == [job.name for job in jobs]
        assert sorted(one.name for one in told) == sorted(one.name for one in found)

    def worker_of(self, job: str) -> int:
        """The process that is at work on a job."""
        pids: dict[str, int] = self.client.run(os.getpid)
        for address, keys in self.client.processing().items():
            if any(job in str(key) for key in keys):
                return pids[address]
        raise AssertionError(f"nobody does {job}")


@pytest.fixture(params=["processes"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    import dask.config  # noqa: PLC0415 - as above
    from distributed import Client, LocalCluster  # noqa: PLC0415 - as above

    processes = request.param == "processes"
    with (
        dask.config.set(
            {"temporary-directory": str(tmp_path / "workers"), "distributed.admin.tick.limit": "1h"}
        ),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=":0", protocol="tcp"
        ) as found,
        Client(found, set_as_default=False) as client,
    ):
        yield Cluster(address=found.scheduler_address, client=client)


def digests(told: list[Outcome]) -> dict[str, str | None]:
    return {one.name: one.digest for one in told if one.ok}


def of_a_local_run(envbundle: Command, sample: Sample) -> dict[str, str | None]:
    """Digest of each build as this machine alone makes it, elsewhere."""
    done = envbundle("rebuild", "--json", "--cache-dir", str(sample.folder / "own-cache"))
    assert done.code == 2, done.stderr
    rows: list[dict[str, Any]] = done.json()["bundles"]
    return {row["name"]: row["digest"] for row in rows if row["state"] == "built"}


@pytest.mark.thorough
def test_a_cluster_makes_what_one_machine_makes(cluster: Cluster, sample: Sample, envbundle: Command) -> None:
    told = cluster.run(sample)
    assert {one.name: one.state for one in told} == {
        "plain-py38": "built",
        "slow-py38": "built",
        "gone-py38": "failed",
    }
    (gone,) = (one for one in told if one.state == "failed")
    assert "never-heard-of" in (gone.error or "")
    assert str(sample.folder / "workers") not in (gone.error or "")
    for one in told:
        if one.ok:
            shelf = RemoteShelf(sample.output, one.name)
            record = shelf.current()
            assert record is not None
            assert (record.build, record.digest) == (one.build, one.digest)
            assert shelf.damage(record, full=True) == ""
            assert one.published == shelf.where(record)
    assert not (sample.folder / "out").exists()
    again = cluster.run(sample, "plain", "slow")
    assert {one.state for one in again} == {"unchanged"}
    assert digests(again) == digests(told)
    # Workers with empty disks, and another output: the wheel that was built is taken from the store.
    cluster.client.restart()
    ended, built = threading.Event(), set[str]()

    def watch() -> None:
        while not ended.wait(0.1):
            built.update(sample.builds())

    watching = threading.Thread(target=watch)
    watching.start()
    elsewhere = cluster.run(sample, "plain", "slow", output=f"{sample.output}-elsewhere")
    ended.set()
    watching.join()
    assert built == set()
    assert {one.state for one in elsewhere} == {"built"}
    assert digests(elsewhere) == digests(told) == of_a_local_run(envbundle, sample)


@pytest.mark.thorough
def test_a_worker_that_is_killed_costs_nothing_but_time(cluster: Cluster, sample: Sample) -> None:
    told: list[Outcome] = []
    run = threading.Thread(target=cluster.start, args=(sample, told))
    run.start()
    first = sample.wait_for_a_build()
    os.kill(cluster.worker_of("slow-py38"), signal.SIGKILL)
    sample.wait_for_a_build([first])
    run.join(120)
    assert not run.is_alive()
    assert {one.name: one.state for one in told} == {
        "plain-py38": "built",
        "slow-py38": "built",
        "gone-py38": "failed",
    }
    undisturbed = cluster.run(
        sample, "plain", "slow", output=f"{sample.output}-elsewhere", store=f"{sample.store}-elsewhere"
    )
    assert digests(told) == digests(undisturbed)
    for name in digests(told):
        record = RemoteShelf(sample.output, name).current()
        assert record is not None
        assert RemoteShelf(sample.output, name).damage(record, full=True) == ""


@pytest.mark.thorough
def test_a_job_that_kills_its_workers_fails_alone(cluster: Cluster, sample: Sample) -> None:
    outcomes: list[Outcome] = []
    run = threading.Thread(target=cluster.start, args=(sample, outcomes))
    run.start()
    killed: list[str] = []
    for _ in range(3):
        killed.append(sample.wait_for_a_build(killed))
        os.kill(cluster.worker_of("slow-py38"), signal.SIGKILL)
    run.join(120)
    assert not run.is_alive()
    told = {one.name: one for one in outcomes}
    assert told["plain-py38"].state == "built"
    assert told["slow-py38"].state == "failed"
    assert told["slow-py38"].error == "3 workers died while they made it"
    assert RemoteShelf(sample.output, "slow-py38").current() is None
    assert [one.state for one in cluster.run(sample, "slow")] == ["built"]


@pytest.mark.thorough
def test_an_interrupted_run_publishes_nothing_more(
    cluster: Cluster, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundler.rebuild.dask import cluster as dask  # noqa: PLC0415 - as above

    def interrupt(event: Event) -> None:
        sample.wait_for_a_build()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dask.run(
            sample.jobs("plain", "slow"),
            Options(store=sample.store),
            address=cluster.address,
            output=sample.output,
            environ={},
            on_event=interrupt,
        )
    limit = time.monotonic() + 30
    while any(cluster.client.run(_busy).values()):
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert RemoteShelf(sample.output, "slow-py38").current() is None
    # The workers are as good as before.
    assert [one.state for one in cluster.run(sample, "slow")] == ["built"]


def _busy(dask_worker: Any) -> int:
    return len(dask_worker.active_threads)


@pytest.mark.thorough
@pytest.mark.parametrize("cluster", ["threads"], indirect=True)
def test_anything_that_fsspec_knows_will_do(cluster: Cluster, sample: Sample) -> None:
    output, store = (f"memory://{uuid.uuid4().hex}" for _ in range(2))
    assert [one.state for one in cluster.run(sample, "plain", output=output, store=store)] == ["built"]
    record = RemoteShelf(output, "plain-py38").current()
    assert record is not None
    assert RemoteShelf(output, "plain-py38").damage(record, full=True) == ""
    assert [one.state for one in cluster.run(sample, "plain", output=output, store=store)] == ["unchanged"]


@pytest.mark.thorough
@pytest.mark.parametrize("cluster", ["threads"], indirect=True)
def test_the_command_spreads_its_jobs(cluster: Cluster, sample: Sample, envbundle: Command) -> None:
    words = ("--scheduler", "dask", "--dask-address", cluster.address, "--publish", sample.output)
    done = envbundle("rebuild", "--json", *words, "--store-url", sample.store)
    assert done.code == 2, done.stderr
    rows = {row["name"]: row for row in done.json()["bundles"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "plain-py38": "built",
        "slow-py38": "built",
        "gone-py38": "failed",
    }
    assert rows["plain-py38"]["published"].startswith(f"{sample.output}/plain-py38/builds/")
    assert (sample.folder / "place" / "store" / "files").is_dir()
    assert {path.name for path in (sample.folder / "out").iterdir()} <= {
        "summary.json",
        "report.html",
        "junit.xml",
    }


@pytest.mark.thorough
@pytest.mark.parametrize("cluster", ["threads"], indirect=True)
def test_workers_that_differ_are_refused(
    cluster: Cluster, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundler.rebuild.dask import cluster as dask  # noqa: PLC0415 - as above

    (job,) = sample.jobs("plain")
    job = replace(job, request=replace(job.request, python="3.9.999", python_downloads=False))
    with pytest.raises(MachineError, match=r"has no Python 3\.9\.999"):
        dask.run((job,), Options(), address=cluster.address, output=sample.output, environ={}, on_event=print)


@pytest.mark.parametrize(
    "address",
    ["robot:{}@127.0.0.1:8786", "tcp://robot:{}@127.0.0.1:8786", "tls://127.0.0.1:9?token={}"],
)
def test_no_token_of_a_scheduler_is_told(envbundle: Command, tmp_path: Path, address: str) -> None:
    """Dask's own messages have a part of the address that is no URL."""
    (tmp_path / "requirements.txt").write_text("one\n")
    (tmp_path / "envbundle.toml").write_text(
        '[[bundle]]\nname = "one"\nrequirements = "requirements.txt"\npython = "3.8"\n'
    )
    token = "geheim-4711-wort"
    words = ("--scheduler", "dask", "--publish", "memory://x")
    done = envbundle(
        "rebuild", *words, cwd=tmp_path, environ={"DASK_SCHEDULER_ADDRESS": address.format(token)}
    )
    assert (done.code, "127.0.0.1" in done.stderr) == (3, True), done.stderr
    assert "does not answer" in done.stderr
    assert token not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        (None, InputError, "no Dask scheduler is named"),
        ("tcp://127.0.0.1:1", MachineError, "does not answer"),
        ("nonsense://x", MachineError, "does not answer"),
    ],
)
def test_a_scheduler_that_is_not_there(
    address: str | None, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundler.rebuild.dask import cluster as dask  # noqa: PLC0415 - as above

    monkeypatch.setattr(dask, "PATIENCE", 1.0)
    with pytest.raises(kind, match=said):
        dask.run((), Options(), address=address, output="memory://x", environ={}, on_event=print)
