"""Wheels and their lock: made with a bundle or from it, installed by the target's pip without a network."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import wheelhouse
from bundler.errors import InputError

from tests.support import machine
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command, Outcome

pytestmark = pytest.mark.thorough  # the target's pip installs each

NO_NETWORK = ("unshare", "--net", "--map-root-user")
PIPS = {"3.7": "pip-24.0-*.whl", "3.8": "pip-25.0.1-*.whl"}
PROJECT = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    '[project]\nname = "built"\nversion = "3.0"\n',
    "backend.py": "import shutil\nNAME = 'built-3.0-py3-none-any.whl'\n"
    "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
    "    shutil.copy(NAME, folder)\n    return NAME\n",
    "PKG-INFO": "Metadata-Version: 2.1\nName: built\nVersion: 3.0\n",
}


@pytest.fixture
def stock(wheels: Path) -> Path:
    make_wheel(wheels, "root-dist", "2.0", requires=["leaf[fast]>=1"])
    make_wheel(wheels, "leaf", "1.5+local.1", requires=["extra-dist; extra == 'fast'"], extras=["fast"])
    make_wheel(wheels, "extra-dist")
    return wheels


def install(python: Path, pip: Path, lock: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """What an image's start script or a Dockerfile does, with no network at all."""
    words: list[str | Path] = [*NO_NETWORK, python, f"{pip}/pip", "install", "--require-hashes"]
    words += ["--no-cache-dir", "--target", target, "-r", lock]
    return subprocess.run(
        words, cwd="/", env={"HOME": "/nonexistent"}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def no_network() -> None:
    probe = subprocess.run([*NO_NETWORK, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        machine.lacking(f"no network namespaces: {probe.stderr.strip()}")


def create(envbundle: Command, stock: Path, *words: str | Path, version: str = "3.8") -> Outcome:
    done = envbundle(
        "create", "root-dist", "--python", version, "-o", "src/myenv", *words, *envbundle.offline(stock)
    )
    assert done.code == 0, done.stderr
    return done


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("version", ["3.7", "3.8"])
@pytest.mark.parametrize("way", ["create", "deploy"])
def test_the_targets_pip_installs_it(
    envbundle: Command,
    stock: Path,
    pips: Path,
    tmp_path: Path,
    version: str,
    way: str,
    request: pytest.FixtureRequest,
) -> None:
    python: Path = request.getfixturevalue(f"python{version.replace('.', '')}")
    create(envbundle, stock, *(["--wheelhouse", "house"] if way == "create" else []), version=version)
    if way == "deploy":
        done = envbundle("deploy", "src/myenv", "--to", "wheelhouse", "-o", "house")
        assert done.code == 0, done.stderr
    stock.rename(tmp_path / "gone")
    house = tmp_path / "house"
    moved = house.rename(tmp_path / "moved here")
    (pip,) = pips.glob(PIPS[version])
    installed = install(python, pip, moved / "requirements.lock", tmp_path / "target")
    assert installed.returncode == 0, installed.stderr
    show = [str(python), "-c", "import root_dist, leaf, extra_dist; print(leaf.__file__)"]
    imported = subprocess.run(
        show, env={"PYTHONPATH": str(tmp_path / "target")}, capture_output=True, text=True, check=True
    )
    assert imported.stdout.strip() == str(tmp_path / "target" / "leaf.py")


def test_both_ways_make_the_same(envbundle: Command, stock: Path, tmp_path: Path) -> None:
    create(envbundle, stock, "--wheelhouse", "one")
    assert envbundle("deploy", "src/myenv", "--to", "wheelhouse", "-o", "two").code == 0
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two
    assert sorted(one) == [
        "extra_dist-1.0-py3-none-any.whl", "leaf-1.5+local.1-py3-none-any.whl", "requirements.lock",
        "root_dist-2.0-py3-none-any.whl",
    ]  # fmt: skip
    assert one["requirements.lock"].decode().splitlines()[:5] == [
        "# Python 3.8.18, x86_64, glibc 2.31",
        "--no-index",
        "--find-links .",
        "extra-dist==1.0 \\",
        f"    --hash=sha256:{sha256(stock / 'extra_dist-1.0-py3-none-any.whl')}",
    ]


@pytest.mark.usefixtures("no_network")
def test_a_changed_wheel_is_refused_by_pip(
    envbundle: Command, stock: Path, pips: Path, tmp_path: Path, python38: Path
) -> None:
    create(envbundle, stock, "--wheelhouse", "house")
    make_wheel(tmp_path / "house", "extra-dist", files={"extra_dist.py": "EVIL = 1\n"})
    (pip,) = pips.glob(PIPS["3.8"])
    done = install(python38, pip, tmp_path / "house" / "requirements.lock", tmp_path / "target")
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


@pytest.mark.usefixtures("no_network")
def test_what_was_built_is_there_as_a_wheel(
    envbundle: Command, wheels: Path, pips: Path, tmp_path: Path, python38: Path
) -> None:
    """A source distribution is locked by its own hash, which no wheel has: the wheelhouse has the wheel's."""
    (tmp_path / "made").mkdir()
    wheel = make_wheel(tmp_path / "made", "built", "3.0")
    make_sdist(wheels, "built", "3.0", {**PROJECT, wheel.name: wheel.read_bytes()})
    words = ["create", "built", "--python", "3.8", "-o", "b", "--wheelhouse", "house"]
    done = envbundle(*words, *envbundle.offline(wheels))
    assert done.code == 0, done.stderr
    again = envbundle("deploy", "b", "--to", "wheelhouse", "-o", "again", *envbundle.offline(wheels))
    assert again.code == 0, again.stderr
    for house in (tmp_path / "house", tmp_path / "again"):
        assert sha256(house / wheel.name) == sha256(wheel)
        assert f"sha256:{sha256(wheel)}" in (house / "requirements.lock").read_text()
        (pip,) = pips.glob(PIPS["3.8"])
        installed = install(python38, pip, house / "requirements.lock", tmp_path / f"target-{house.name}")
        assert installed.returncode == 0, installed.stderr


def test_a_wheel_that_the_store_lost_is_fetched_again(
    envbundle: Command, stock: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    environ = {"ENVBUNDLE_CACHE_DIR": str(cache)}
    words = ["create", "root-dist", "--python", "3.8", "-o", "src/myenv", *envbundle.offline(stock)]
    assert envbundle(*words, environ=environ).code == 0
    kept = sha256(stock / "leaf-1.5+local.1-py3-none-any.whl")
    shutil.rmtree(cache / "v1" / "files" / kept[:2] / kept)
    lost = envbundle(
        "deploy", "src/myenv", "--to", "wheelhouse", "-o", "house", "--no-index", environ=environ
    )
    assert (lost.code, (tmp_path / "house").exists()) == (3, False), lost.stderr
    found = envbundle(
        "deploy", "src/myenv", "--to", "wheelhouse", "-o", "house", *envbundle.offline(stock), environ=environ
    )
    assert found.code == 0, found.stderr
    assert sha256(tmp_path / "house" / "leaf-1.5+local.1-py3-none-any.whl") == kept


def test_a_damaged_wheel_of_the_store_is_not_passed_on(
    envbundle: Command, stock: Path, tmp_path: Path
) -> None:
    environ = {"ENVBUNDLE_CACHE_DIR": str(tmp_path / "cache")}
    words = ["create", "root-dist", "--python", "3.8", "-o", "src/myenv", *envbundle.offline(stock)]
    assert envbundle(*words, environ=environ).code == 0
    (stored,) = (tmp_path / "cache").rglob("extra_dist-1.0-py3-none-any.whl")
    stored.write_bytes(stored.read_bytes() + b"x")
    done = envbundle("deploy", "src/myenv", "--to", "wheelhouse", "-o", "house", environ=environ)
    assert (done.code, (tmp_path / "house").exists()) == (3, False)
    assert "has changed" in done.stderr


@pytest.mark.parametrize("kind", ["other", "same"])
def test_a_wheelhouse_that_is_there(envbundle: Command, stock: Path, tmp_path: Path, kind: str) -> None:
    """Neither it nor the bundle is touched where a file says something else."""
    create(envbundle, stock, "--wheelhouse", "house")
    lock = tmp_path / "house" / "requirements.lock"
    before = lock.read_text()
    if kind == "other":
        lock.write_text("mine")
    done = envbundle(
        "create",
        "root-dist",
        "--python",
        "3.8",
        "-o",
        "again",
        "--wheelhouse",
        "house",
        *envbundle.offline(stock),
    )
    assert done.code == (2 if kind == "other" else 0), done.stderr
    assert (tmp_path / "again").exists() is (kind == "same")
    assert lock.read_text() == ("mine" if kind == "other" else before)


def test_a_bundle_that_is_not_proved_has_no_wheelhouse(
    envbundle: Command, wheels: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "broken", files={"broken.py": "import absent_module\n"})
    done = envbundle(
        "create", "broken", "--python", "3.8", "-o", "x", "--wheelhouse", "house", *envbundle.offline(wheels)
    )
    assert done.code == 1
    assert not (tmp_path / "house").exists()


@pytest.mark.parametrize("place", ["/usr/local/airflow/plugins", "/plugins"])
def test_a_place_for_the_wheels(place: str) -> None:
    assert f"--find-links {place}\n" in wheelhouse.lock_text([], target="x", wheels_at=place)


@pytest.mark.parametrize(
    "place", ["plugins", "/a b", "/a\n--index-url x", "", "/", "/a/$HOME", "/a #b", "http://x/y"]
)
def test_places_that_are_refused(place: str) -> None:
    with pytest.raises(InputError, match="is not an absolute path of plain names"):
        wheelhouse.lock_text([], target="x", wheels_at=place)
