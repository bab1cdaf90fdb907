"""Both resolvers over one small world: the same lock, for each target, or the same kind of error."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create.resolve import UnsatisfiedError
from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings, Learned

from tests.support.index import Index
from tests.support.resolving import (
    PURE,
    RESOLVERS,
    Resolvers,
    World,
    by_name,
    project,
)
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from bundler.model import Resolver

    from tests.support.command import Command


Expected = dict[str, str]


CASES: dict[str, tuple[str, dict[str, str], Expected]] = {
    "extras": (
        "app[fast,slow]\n",
        {},
        {"app": f"app-1.0-{PURE}", "lib": f"lib-1.5-{PURE}", "fast-dep": f"fast_dep-1.0-{PURE}",
         "slow-dep": f"slow_dep-1.0-{PURE}", "bottom": f"bottom-1.0-{PURE}"},
    ),
    "markers of 3.8": ("app\n", {}, {"app": f"app-1.0-{PURE}", "lib": f"lib-1.5-{PURE}"}),
    "markers of 3.7": (
        "app\nnative ; python_version >= '3.8'\n",
        {"version": "3.7"},
        {"app": f"app-1.0-{PURE}", "lib": f"lib-1.5-{PURE}", "backport": f"backport-1.0-{PURE}"},
    ),
    "constraints": ("app\n-c c.txt\n", {}, {"app": f"app-1.0-{PURE}", "lib": f"lib-1.0-{PURE}"}),
    "final over pre-release": ("lib\n", {}, {"lib": f"lib-2.0-{PURE}"}),
    "pre-release by name": ("lib>=2.1rc1\n", {}, {"lib": f"lib-2.1rc1-{PURE}"}),
    "pre-releases wanted": ("--pre\nlib\n", {}, {"lib": f"lib-2.1rc1-{PURE}"}),
    "only pre-releases": ("onlypre\n", {}, {"onlypre": f"onlypre-1.0rc1-{PURE}"}),
    "yanked": ("yank\n", {}, {"yank": f"yank-1.0-{PURE}"}),
    "yanked but pinned": ("yank==1.1\n", {}, {"yank": f"yank-1.1-{PURE}"}),
    "glibc 2.27": (
        "native\n", {"glibc": "2.27"},
        {"native": "native-1.0-cp38-cp38-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"},
    ),
    "glibc 2.31": (
        "native\n", {"glibc": "2.31"}, {"native": "native-1.0-cp38-cp38-manylinux_2_28_x86_64.whl"},
    ),
    "glibc 2.35": (
        "native\n", {"glibc": "2.35"}, {"native": "native-1.0-cp38-cp38-manylinux_2_34_x86_64.whl"},
    ),
    "ABI of 3.7": (
        "native\n", {"version": "3.7"},
        {"native": "native-1.0-cp37-cp37m-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"},
    ),
    "a tag that uv does not know": (
        "rare\n", {"glibc": "2.27"}, {"rare": "rare-1.0-cp38-cp38-manylinux_2_24_x86_64.whl"},
    ),
    "too new, so an older version": (
        "needs-climbing\n", {"glibc": "2.27"},
        {"needs-climbing": f"needs_climbing-1.0-{PURE}",
         "climbing": "climbing-1.0-cp38-cp38-manylinux2014_x86_64.whl"},
    ),
    "the newest that fits": (
        "climbing\n", {"glibc": "2.31"}, {"climbing": "climbing-2.0-cp38-cp38-manylinux_2_28_x86_64.whl"},
    ),
    "stable ABI": ("stable\n", {}, {"stable": "stable-1.0-cp36-abi3-manylinux2014_x86_64.whl"}),
    "Requires-Python": ("snake\n", {}, {"snake": f"snake-1.0-{PURE}"}),
    "two indexes": ("elsewhere\nlib<2\n", {"second": "yes"},
                    {"elsewhere": f"elsewhere-1.0-{PURE}", "lib": f"lib-1.7-{PURE}"}),
    "two indexes, the first has the best": ("elsewhere\n", {"second": "yes"},
                                            {"elsewhere": f"elsewhere-1.0-{PURE}", "lib": f"lib-2.0-{PURE}"}),
    "find-links beside an index": ("linked\n", {"links": "yes"},
                                   {"linked": f"linked-1.0-{PURE}", "lib": f"lib-1.9-{PURE}"}),
    "wheel over source": ("twice\n", {}, {"twice": f"twice-1.0-{PURE}"}),
    "no wheel of it": (
        "--no-binary twice\ntwice\nlib<2\n", {}, {"twice": "twice-1.0.tar.gz", "lib": f"lib-1.5-{PURE}"},
    ),
    "source alone": ("source\n", {}, {"source": "source-1.0.tar.gz", "lib": f"lib-1.5-{PURE}"}),
    "wheels only, but for one": (
        "--only-binary :all:\n--no-binary source\nsource\ntwice\n", {},
        {"source": "source-1.0.tar.gz", "lib": f"lib-1.5-{PURE}", "twice": f"twice-1.0-{PURE}"},
    ),
    "several names at once": (
        "--no-binary twice,source\nsource\ntwice\n", {},
        {"source": "source-1.0.tar.gz", "lib": f"lib-1.5-{PURE}", "twice": "twice-1.0.tar.gz"},
    ),
    "a name in other letters": ("Fast.Dep\nSLOW_dep[Deep]\n", {}, {
        "fast-dep": f"fast_dep-1.0-{PURE}", "slow-dep": f"slow_dep-1.0-{PURE}",
        "bottom": f"bottom-1.0-{PURE}"}),
}  # fmt: skip


def settings_of(world: World, options: dict[str, str]) -> IndexSettings:
    return IndexSettings(
        index_url=world.index.url,
        extra_index_urls=(world.second.url,) if options.pop("second", "") else (),
        find_links=(str(world.links),) if options.pop("links", "") else (),
    )


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_both_resolvers_give_one_lock(resolvers: Resolvers, world: World, tmp_path: Path, name: str) -> None:
    lines, given, expected = CASES[name]
    options = dict(given)
    settings = settings_of(world, options)
    (tmp_path / "c.txt").write_text("lib==1.0\nunused==5\n")
    lock = resolvers.both(lines, settings=settings, **options)
    assert {dist.name: dist.artifact.filename for dist in lock.distributions} == expected
    folders = (world.index.folder, world.second.folder, world.links)
    for dist in lock.distributions:
        (path,) = (found for folder in folders if (found := folder / dist.artifact.filename).is_file())
        assert dist.artifact.sha256 == sha256(path)
        assert (dist.artifact.path == str(path)) == (path.parent == world.links)
        assert dist.source == "index"


@pytest.mark.thorough
def test_who_required_what(resolvers: Resolvers, world: World) -> None:
    windows = "app[fast] ; sys_platform == 'win32'"  # crossbar asks so for twisted[windows_platform]
    lock = resolvers.both(
        f"app[slow]\n{windows}\nlib\n", settings=IndexSettings(index_url=world.index.url), version="3.7"
    )
    dists = by_name(lock)
    assert {name: (dist.requested, dist.extras, dist.required_by) for name, dist in dists.items()} == {
        "app": (True, ("slow",), ()),
        "lib": (True, (), ("app", "backport")),
        "backport": (False, (), ("app",)),
        "slow-dep": (False, (), ("app",)),
        "bottom": (False, (), ("slow-dep",)),
    }
    assert lock.chain("bottom") == ("app", "slow-dep", "bottom")
    assert lock.chain("lib") == ("lib",)
    assert lock.requirements == ("app[slow]", windows, "lib")
    assert {dist.index for dist in dists.values()} == {world.index.url}


@pytest.mark.thorough
def test_the_reason_of_a_yank(resolvers: Resolvers, world: World) -> None:
    lock = resolvers.both("yank==1.1\nlib\n", settings=IndexSettings(index_url=world.index.url))
    assert {name: dist.yanked for name, dist in by_name(lock).items()} == {"yank": "broken", "lib": None}


@pytest.mark.thorough
def test_hashes(resolvers: Resolvers, world: World) -> None:
    settings = IndexSettings(index_url=world.index.url)
    good = sha256(world.index.folder / f"lib-1.5-{PURE}")
    sdist = sha256(world.index.folder / "twice-1.0.tar.gz")
    lock = resolvers.both(
        f"lib==1.5 --hash=sha256:{good}\ntwice==1.0 --hash=sha256:{sdist}\n", settings=settings
    )
    assert {dist.artifact.filename for dist in lock.distributions} == {f"lib-1.5-{PURE}", "twice-1.0.tar.gz"}


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("lib==1.5 --hash=sha256:" + "0" * 64 + "\n", ("requirements.txt:1", "lib", "0" * 64)),
        ("app==1.0 --hash=sha256:APP\n", ("hash", "lib")),
        ("lib==9\n", ("lib==9", "requirements.txt:1")),
        ("no-such-name\n", ("no-such-name",)),
        ("app\nconflict\n", ("lib", "app", "conflict")),
        ("app\nlib==1.5\n-c c.txt\n", ("lib", "1.0")),
        ("snake==2.0\n", ("snake", "3.9")),
        ("toonew\n", ("toonew",)),
        ("--only-binary :all:\nsource\n", ("source",)),
        ("lib @ https://127.0.0.1/lib.zip ; python_version < '3'\nno-such-name\n", ("no-such-name",)),
    ],
)  # fmt: skip
def test_what_nothing_can_satisfy(
    resolvers: Resolvers, world: World, tmp_path: Path, resolver: Resolver, lines: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "c.txt").write_text("lib==1.0\n")
    lines = lines.replace("APP", sha256(world.index.folder / f"app-1.0-{PURE}"))
    settings = IndexSettings(index_url=world.index.url)
    with pytest.raises(InputError) as caught:
        resolvers(lines, resolver=resolver, settings=settings, glibc="2.27")
    for word in words:
        assert word in f"{caught.value.message}\n{caught.value.hint}"
    assert caught.value.hint


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("version", "found"),
    [("3.7", {"holed": "2.0", "capped": "1.0"}), ("3.8", {"holed": "1.0", "capped": "1.0"})],
)
@pytest.mark.parametrize("links", [False, True])
def test_requires_python_with_a_hole_or_an_upper_bound(
    resolvers: Resolvers, world: World, version: str, found: dict[str, str], *, links: bool
) -> None:
    """uv reads the lower bound alone; the page, or the wheel that lies here, says all of it."""
    settings = IndexSettings(index_url=world.index.url)
    if links:
        settings = IndexSettings(no_index=True, find_links=(str(world.index.folder),))
    lock = resolvers("needs-holed\n", resolver="uv", settings=settings, version=version).lock
    assert {dist.name: dist.version for dist in lock.distributions if dist.name in found} == found
    assert len(resolvers.announced) == 1
    assert "capped" in resolvers.announced[0]
    assert ("holed" in resolvers.announced[0]) == (version == "3.8")
    with pytest.raises(InputError, match="capped"):
        resolvers("capped==2.0\n", resolver="uv", settings=settings, version=version)


@pytest.mark.thorough
def test_metadata_that_uv_cannot_read(resolvers: Resolvers, world: World) -> None:
    """As of pandas 0.24.2 (`pytz (>=2011k)`): pip 24.0, the last for Python 3.7, takes it."""
    settings = IndexSettings(index_url=world.index.url)
    lock = resolvers("legacy==1.0\n", resolver="uv", settings=settings, version="3.7").lock
    assert {dist.name for dist in lock.distributions} == {"legacy", "lib"}
    assert [line.partition(" ")[0] for line in resolvers.announced] == ["uv", "pip"]
    # The last pip for 3.8 refuses it as well.
    with pytest.raises(UnsatisfiedError, match="invalid metadata"):
        resolvers("legacy==1.0\n", resolver="uv", settings=settings)
    assert len(resolvers.announced) == 4
    assert "finds nothing either" in resolvers.announced[3]
    # Where pip can read it, what pip says stands in the way is the reason.
    with pytest.raises(UnsatisfiedError, match="lib") as caught:
        resolvers("legacy==1.0\nlib==0.1\n", resolver="uv", settings=settings, version="3.7")
    assert "invalid metadata" not in caught.value.message


@pytest.mark.thorough
def test_what_does_not_build_is_the_reason_where_uv_only_cannot_read_metadata(
    resolvers: Resolvers, world: World, tmp_path: Path
) -> None:
    """Of scipy 0.19.0 beside pandas 0.24.2 it was said that pandas must be changed, which pip installs."""
    links = tmp_path / "links"
    links.mkdir()
    files = project("mute")
    backend = files["backend.py"].replace("    return info", "    raise SystemExit('no lapack')")
    dynamic = files["pyproject.toml"].replace("dependencies = []\n", 'dynamic = ["dependencies"]\n')
    make_sdist(links, "mute", files=files | {"backend.py": backend, "pyproject.toml": dynamic})
    settings = IndexSettings(index_url=world.index.url, find_links=(str(links),))
    with pytest.raises(MachineError, match=r"mute 1\.0") as caught:
        resolvers("legacy==1.0\nmute\n", resolver="uv", settings=settings, version="3.7")
    assert "invalid metadata" not in caught.value.message
    # Where both read the metadata, it is uv's explanation.
    with pytest.raises(UnsatisfiedError, match="lib"):
        resolvers("lib==0.1\nmute\n", resolver="uv", settings=settings, version="3.7")


@pytest.mark.parametrize(
    "lines", ["no-such-name\n", "lib==1.5 --hash=sha256:" + "0" * 64 + "\n", "app\nno_such.name\n"]
)
def test_pip_is_not_asked_where_the_answer_is_certain(resolvers: Resolvers, world: World, lines: str) -> None:
    with pytest.raises(InputError):
        resolvers(lines, resolver="uv", settings=IndexSettings(index_url=world.index.url))
    assert resolvers.announced == []


def test_uv_that_is_killed(resolvers: Resolvers, world: World) -> None:
    """Whoever looks after the machine must act: nobody knows whether the requirements can be satisfied."""

    def kill(_: str) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if words[1:3] == [b"pip", b"compile"] and folder.joinpath("cwd").samefile(scratch):
                    os.kill(int(folder.name), signal.SIGKILL)

    scratch = resolvers.folder / "scratch-uv"
    settings = IndexSettings(index_url=world.index.url)
    with pytest.raises(MachineError, match=r"uv was killed \(SIGKILL\)"):
        resolvers("app\n", resolver="uv", settings=settings, on_request=kill)
    assert resolvers.announced == []


def test_a_server_that_is_no_index(resolvers: Resolvers, wheels: Path, index: Index) -> None:
    """Nobody knows what is on the index: that the requirements cannot be satisfied would be a wrong blame."""
    make_wheel(wheels, "plain-dist")
    index.media_type = "application/octet-stream"
    with pytest.raises(MachineError, match="no page of an index"):
        resolvers("plain-dist\n", resolver="uv", settings=IndexSettings(index_url=index.url))


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("where", ["index", "another index", "find-links"])
def test_a_page_to_log_in_in_the_place_of_an_index(
    resolvers: Resolvers, world: World, index: Index, where: str, resolver: Resolver
) -> None:
    """Whoever looks after the network must act, and not who asks for what may well be on the index."""
    index.portal = "<title>Sign in</title><form><input name=user><input type='password' name=pw></form>"
    index.leads_to = "/login?next=/simple/"
    settings = {
        "index": IndexSettings(index_url=index.url),
        "another index": IndexSettings(index_url=world.index.url, extra_index_urls=(index.url,)),
        "find-links": IndexSettings(no_index=True, find_links=(index.url.replace("simple", "links"),)),
    }[where]
    with pytest.raises(MachineError, match="no page of an index: it asks for a password"):
        resolvers("plain-dist\n", resolver=resolver, settings=settings)
    assert resolvers.announced == []


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("scheme", ["", "git+"])
def test_a_distribution_of_an_index_requires_no_file_of_this_machine(
    resolvers: Resolvers, tmp_path: Path, wheels: Path, index: Index, resolver: Resolver, scheme: str
) -> None:
    """pip opened what its metadata names: a secret of the caller, a FIFO, a device until the disk is full."""
    secret = make_wheel(tmp_path, "secret")
    make_wheel(wheels, "hostile", requires=[f"secret @ {scheme}{secret.as_uri()}"])
    with pytest.raises(
        InputError, match=r"is a file of this machine|must be expressed as direct requirements"
    ):
        resolvers("hostile\n", resolver=resolver, settings=IndexSettings(index_url=index.url))


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_what_was_named_by_its_path_may_require_files(
    resolvers: Resolvers, tmp_path: Path, resolver: Resolver
) -> None:
    own = make_wheel(tmp_path, "own", requires=[f"beside @ {make_wheel(tmp_path, 'beside').as_uri()}"])
    found = resolvers(f"{own}\n", resolver=resolver, settings=IndexSettings(no_index=True))
    assert [dist.name for dist in found.lock.distributions] == ["beside", "own"]


def test_pip_waits_for_no_fifo_that_a_distribution_requires(resolvers: Resolvers, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe-1.0-py3-none-any.whl")
    pipe = (tmp_path / "pipe-1.0-py3-none-any.whl").as_uri()
    own = make_wheel(tmp_path, "own", requires=[f"pipe @ {pipe}"])
    with pytest.raises(InputError, match="is no file"):
        resolvers(f"{own}\n", resolver="pip", settings=IndexSettings(no_index=True))


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("status", [202, 203])
def test_a_page_to_log_in_with_another_status_of_success(
    resolvers: Resolvers, index: Index, status: int, resolver: Resolver
) -> None:
    """A proxy that changes what it passes on says 203; to both resolvers it is a page without files."""
    index.portal = "<form><input name=user><input type='password' name=pw></form>"
    index.portal_status = status
    with pytest.raises(MachineError, match="no page of an index: it asks for a password"):
        resolvers("plain-dist\n", resolver=resolver, settings=IndexSettings(index_url=index.url))


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize(
    ("content", "where", "told"),
    [
        ("<form><input type='password' name=pw></form>", "index", True),
        ("<form><input type='password' name=pw></form>", "further index", True),
        ("<form><input type='password' name=pw></form>", "find-links", True),
        ("<!DOCTYPE html><html><body><h1>Links for plain-dist</h1></body></html>", "further index", False),
        ("", "further index", False),
    ],
)
def test_an_index_that_is_passed_over_for_a_page_to_log_in_is_named(
    resolvers: Resolvers,
    world: World,
    index: Index,
    resolver: Resolver,
    content: str,
    where: str,
    *,
    told: bool,
) -> None:
    """All is found elsewhere: on a public index, perhaps, where the name is somebody else's."""
    index.portal = content
    secret = index.url.replace("//", "//me:hunter2@")
    settings, url = {
        "index": (IndexSettings(index_url=secret, extra_index_urls=(world.index.url,)), index.url),
        "further index": (IndexSettings(index_url=world.index.url, extra_index_urls=(secret,)), index.url),
        "find-links": (
            IndexSettings(index_url=world.index.url, find_links=(f"{secret}/links",)),
            f"{index.url}/links",
        ),
    }[where]
    found = resolvers("app\n", resolver=resolver, settings=settings)
    assert {dist.name for dist in found.lock.distributions} >= {"app"}
    assert len(resolvers.announced) == told
    for sentence in resolvers.announced:
        assert sentence.startswith(f"{url} is passed over")
        assert "it asks for a password" in sentence
        assert "hunter2" not in sentence


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize(("password", "told"), [("wrong-one", True), ("hunter2", False)])
def test_an_index_that_is_passed_over_for_want_of_credentials_is_named(
    resolvers: Resolvers, world: World, index: Index, resolver: Resolver, password: str, *, told: bool
) -> None:
    index.password = ("me", "hunter2")
    url = index.url.replace("//", f"//me:{password}@")
    settings = IndexSettings(index_url=world.index.url, extra_index_urls=(url,))
    resolvers("app\n", resolver=resolver, settings=settings)
    assert [
        f"{index.url} is passed over" in one and "wants credentials" in one for one in resolvers.announced
    ] == [True] * told


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_an_index_without_files_of_a_name(resolvers: Resolvers, index: Index, resolver: Resolver) -> None:
    """A project's page may be empty (PEP 503): nobody but who asks for it can do anything."""
    index.portal = "<!DOCTYPE html><html><body><h1>Links for plain-dist</h1></body></html>"
    with pytest.raises(UnsatisfiedError, match="plain-dist"):
        resolvers("plain-dist\n", resolver=resolver, settings=IndexSettings(index_url=index.url))


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_mistyped_extra_is_noticed(resolvers: Resolvers, world: World, resolver: Resolver) -> None:
    settings = IndexSettings(index_url=world.index.url)
    assert resolvers("app[fst]\n", resolver=resolver, settings=settings).unknown_extras == (("app", "fst"),)
    assert resolvers("app[fast]\n", resolver=resolver, settings=settings).unknown_extras == ()


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_no_build_takes_no_source(resolvers: Resolvers, world: World, resolver: Resolver) -> None:
    settings = IndexSettings(index_url=world.index.url)
    lock = resolvers("twice\n", resolver=resolver, settings=settings, no_build=True).lock
    assert lock.distributions[0].artifact.kind == "wheel"
    with pytest.raises(InputError, match="source"):
        resolvers("source\n", resolver=resolver, settings=settings, no_build=True)


@pytest.mark.thorough
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_prefer_binary_takes_an_older_wheel(resolvers: Resolvers, tmp_path: Path, resolver: Resolver) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for name in ("old", "young", "only"):
        make_sdist(links, name, "2.0", files=project(name, "2.0"))
    make_wheel(links, "old", "1.5")
    make_wheel(links, "old", "1.0")
    make_wheel(links, "young", "1.0")
    make_wheel(links, "young", "1.5", tag="cp311-cp311-manylinux2014_x86_64")
    make_wheel(links, "app", "1.0", requires=["old", "young>=2"])
    settings = IndexSettings(no_index=True, find_links=(str(links),))

    def found(lines: str) -> dict[str, str]:
        lock = resolvers(lines, resolver=resolver, settings=settings).lock
        return {dist.name: f"{dist.version} {dist.artifact.kind}" for dist in lock.distributions}

    assert found("old\nyoung\n") == {"old": "2.0 sdist", "young": "2.0 sdist"}
    assert found("--prefer-binary\nold\nyoung\n") == {"old": "1.5 wheel", "young": "1.0 wheel"}
    # What has no wheel, or must be newer, is built all the same.
    several = {"app": "1.0 wheel", "old": "1.5 wheel", "young": "2.0 sdist", "only": "2.0 sdist"}
    assert found("--prefer-binary\napp\nonly\n") == several
    assert found("--prefer-binary\nold==2.0\nonly\n") == {"old": "2.0 sdist", "only": "2.0 sdist"}
    assert found("--prefer-binary\nold\nonly\n--no-binary old\n") == {"old": "2.0 sdist", "only": "2.0 sdist"}


@pytest.mark.thorough
def test_a_build_for_requirements_has_a_time_limit(resolvers: Resolvers, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    files = project("slow")
    backend = files["backend.py"].replace("    return info", "    import time; time.sleep(30)")
    dynamic = files["pyproject.toml"].replace("dependencies = []\n", 'dynamic = ["dependencies"]\n')
    metadata = "Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n"
    files |= {"backend.py": backend, "pyproject.toml": dynamic, "PKG-INFO": metadata}
    make_sdist(links, "slow", files=files)
    settings = IndexSettings(no_index=True, find_links=(str(links),))
    with pytest.raises(MachineError, match=r"slow 1\.0 .* took longer than 4 s") as caught:
        resolvers("slow\n", resolver="uv", settings=settings, build_timeout=4)
    assert "--build-timeout" in (caught.value.hint or "")
    assert resolvers.done == [f"{sign}building slow 1.0 to learn its requirements" for sign in "+-"]


@pytest.mark.thorough
@pytest.mark.parametrize("known", [True, False])
def test_what_a_build_has_told_is_not_built_again(resolvers: Resolvers, tmp_path: Path, known: bool) -> None:  # noqa: FBT001 - a parameter of the table
    links = tmp_path / "links"
    links.mkdir()
    files = project("mute")
    backend = files["backend.py"].replace("    return info", "    raise SystemExit('built')")
    dynamic = files["pyproject.toml"].replace("dependencies = []\n", 'dynamic = ["dependencies"]\n')
    metadata = "Metadata-Version: 2.1\nName: mute\nVersion: 1.0\n"
    make_sdist(
        links, "mute", files=files | {"backend.py": backend, "pyproject.toml": dynamic, "PKG-INFO": metadata}
    )
    for version in ("1.0", "2.0"):
        make_wheel(links, "lib", version)
    make_wheel(links, "more")
    said = Learned(
        name="mute",
        version="1.0" if known else "0.9",
        requires=("lib<2", 'more; extra == "x"', "more>=1; python_version > '3'"),
        requires_python=">=3.7",
        extras=("x",),
    )
    settings = IndexSettings(no_index=True, find_links=(str(links),))
    if not known:
        with pytest.raises(MachineError, match=r"mute"):
            resolvers("mute\n", resolver="uv", settings=settings, learned=(said,))
        return
    lock = resolvers("mute\n", resolver="uv", settings=settings, learned=(said,)).lock
    found = {dist.name: (dist.version, dist.artifact.kind) for dist in lock.distributions}
    assert found == {"lib": ("1.0", "wheel"), "more": ("1.0", "wheel"), "mute": ("1.0", "sdist")}
    assert all(dist.artifact.sha256 for dist in lock.distributions)


@pytest.mark.thorough
def test_exclude_newer(resolvers: Resolvers, wheels: Path, index: Index) -> None:
    for version in ("1.0", "2.0"):
        make_wheel(wheels, "aged", version)
    make_wheel(wheels, "aging-native", tag="cp38-cp38-manylinux_2_28_x86_64")
    index.upload_time = {
        f"aged-1.0-{PURE}": "2020-01-01T00:00:00Z",
        f"aged-2.0-{PURE}": "2024-01-01T00:00:00Z",
        "aging_native-1.0-cp38-cp38-manylinux_2_28_x86_64.whl": "2020-01-01T00:00:00Z",
    }
    settings = IndexSettings(index_url=index.url)
    for day, version in (("2022-01-01", "1.0"), ("2025-01-01", "2.0")):
        lock = resolvers("aged\n", resolver="uv", settings=settings, exclude_newer=day).lock
        assert lock.distributions[0].version == version
    with pytest.raises(InputError, match="--exclude-newer needs the resolver uv"):
        resolvers("aged\n", resolver="pip", settings=settings, exclude_newer="2022-01-01")
    # The posing pip cannot take over where uv found no file that fits.
    with pytest.raises(InputError, match=r"no file of aging-native fits the target \(glibc 2\.27\)"):
        resolvers(
            "aging-native\n", resolver="uv", settings=settings, exclude_newer="2022-01-01", glibc="2.27"
        )


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("python", "wanted", "found"),
    [
        ("3.8", "simplejson", "simplejson=="),  # 4.3.0 is for !=3.8.*
        ("3.8", "typing", "typing==3.7.4.3"),
        ("3.7", "pandas==0.24.2", "pytz=="),  # it requires pytz (>=2011k)
    ],
)
def test_public_instances(envbundle: Command, tmp_path: Path, python: str, wanted: str, found: str) -> None:
    done = envbundle("lock", wanted, "--python", python, "-o", "requirements.lock")
    assert done.code == 0, done.stderr
    assert found in (tmp_path / "requirements.lock").read_text()
    assert "asking pip" in done.stderr
