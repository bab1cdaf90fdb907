"""A bundle lives with the image's server: versions fitted to it, refusals with both chains, thin bundles."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from bundler.model import Artifact, Lock, LockedDistribution, Requirement, Requirements
from bundler.targets import catalogue, fit
from bundler.targets.image import Demand

from tests.support.profilemaker import installed, profile, write_profile
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.targets.image import Image

    from tests.support.command import Command, Outcome

pytestmark = pytest.mark.thorough  # each case resolves twice

SERVER = "azureml-inference-server-http"
MARKERS = {"python_version": "3.8", "python_full_version": "3.8.18", "sys_platform": "linux"}
IMAGE = installed(
    azureml_inference_server_http=("1.3.4", "flask<=2.3.2", "werkzeug>=3.0.3", 'never; python_version < "3"'),
    flask=("2.3.2", "Werkzeug>=2.3.3", "click>=8.1.3", 'asgiref; extra == "async"'),
    werkzeug=("3.0.6", "MarkupSafe>=2.1.1"),
    click="8.1.7",
    markupsafe="2.1.5",
    numpy="1.24.4",
    scipy=("1.10.1", "numpy>=1.20.3"),
    broken=("1.0", "numpy<1"),
)
EXACT = {"name": SERVER, "at_least": "1.3.4", "at_most": "1.3.4"}


def image(tmp_path: Path, **members: Any) -> Image:
    members = {"distributions": IMAGE, "server": EXACT, **members}
    return catalogue.load(str(write_profile(tmp_path / "image.json", profile(**members))))


def lock(**versions: str | tuple[str, ...]) -> Lock:
    """Name → version, or version and who requires it."""
    return Lock(
        python_version="3.8.18",
        machine="x86_64",
        glibc=(2, 31),
        distributions=tuple(
            LockedDistribution(
                name=name.replace("_", "-"),
                version=value if isinstance(value, str) else value[0],
                artifact=Artifact(kind="wheel", filename="x", url=None),
                requested=isinstance(value, str),
                required_by=() if isinstance(value, str) else value[1:],
            )
            for name, value in sorted(versions.items())
        ),
    )


def wanted(*lines: str) -> Requirements:
    rows = [Requirement(text=line, name=line.split("=")[0].split("<")[0], origin="r.txt:1") for line in lines]
    return Requirements(requirements=tuple(rows))


# --- what the server asks for -----------------------------------------------------------------------


def test_a_probed_server_asks_for_what_is_installed_beside_it(tmp_path: Path) -> None:
    found = fit.server_demands(image(tmp_path), MARKERS)
    assert {(one.text, one.chain) for one in found} == {
        ("flask<=2.3.2", (f"{SERVER} 1.3.4",)),
        ("werkzeug>=3.0.3", (f"{SERVER} 1.3.4",)),
        ("werkzeug>=2.3.3", (f"{SERVER} 1.3.4", "flask 2.3.2")),
        ("click>=8.1.3", (f"{SERVER} 1.3.4", "flask 2.3.2")),
        ("markupsafe>=2.1.1", (f"{SERVER} 1.3.4", "werkzeug 3.0.6")),
    }


def test_what_was_never_met_in_the_image_is_asked_of_nobody(tmp_path: Path) -> None:
    old = {**IMAGE, "werkzeug": {"version": "2.3.8", "requires": []}}
    found = fit.server_demands(image(tmp_path, distributions=old), MARKERS)
    assert [one.text for one in found if one.name == "werkzeug"] == ["werkzeug>=2.3.3"]


@pytest.mark.parametrize(
    ("name", "has", "has_not"),
    [
        (catalogue.DEFAULTS["3.7"], {"pydantic<1.11,>=1.9", "click>=8.0", "gunicorn==20.1.0"}, "blinker"),
        (catalogue.DEFAULTS["3.8"], {"pydantic~=2.9.0", "click>=8.1.3", "wrapt<=1.16.0,>=1.14.0"}, "six"),
        ("curated/minimal-py311-inference", set(), "flask"),
        ("debian-12-slim", set(), "flask"),
    ],
)  # fmt: skip
def test_the_catalogue_asks_for_what_its_newest_server_needs(name: str, has: set[str], has_not: str) -> None:
    found = fit.server_demands(catalogue.load(name), MARKERS)
    assert has <= {one.text for one in found}
    assert has_not not in {one.name for one in found}


def test_constraints_tell_their_origin_and_bring_nothing_in(tmp_path: Path) -> None:
    rows = fit.constraints(fit.server_demands(image(tmp_path), MARKERS), wanted("app==1"))
    assert all(one.constraint for one in rows)
    assert {one.origin for one in rows} == {f"the image's server {SERVER} 1.3.4"}
    assert [one.text for one in rows if one.name == "werkzeug"] == ["werkzeug>=3.0.3", "werkzeug>=2.3.3"]


@pytest.mark.parametrize(
    ("brought", "texts"),
    [
        ({"click": "7.0"}, {"click>=8.1.3"}),
        ({"click": "8.1.3"}, set()),
        ({"click": "8.2.0rc1"}, set()),
        # The bundle's own flask asks for what it needs; the image's is never imported.
        ({"click": "7.0", "flask": "1.1.2"}, set()),
        ({"flask": "3.0.0"}, {"flask<=2.3.2"}),
        ({"werkzeug": "2.0.0"}, {"werkzeug>=3.0.3", "werkzeug>=2.3.3"}),
        # Its own server: nothing of the image's is left.
        ({"click": "7.0", "azureml_inference_server_http": "0.6.1"}, set()),
        ({"six": "1.0"}, set()),
    ],
)
def test_what_breaks(tmp_path: Path, brought: dict[str, str], texts: set[str]) -> None:
    demands = fit.server_demands(image(tmp_path), MARKERS)
    assert {one.demand.text for one in fit.breaks(lock(**brought), demands)} == texts


def test_the_refusal_has_both_chains_and_the_choices(tmp_path: Path) -> None:
    ours = image(tmp_path)
    made = lock(app="1.0", click=("7.0", "app"))
    found = fit.breaks(made, fit.server_demands(ours, MARKERS))
    error = fit.unfit(made, found, image=ours, wanted=wanted("app==1.0"))
    assert "the bundle: r.txt:1: app 1.0 → click 7.0" in error.message
    assert f"the image:  {SERVER} 1.3.4 → flask 2.3.2 → click>=8.1.3" in error.message
    assert error.hint is not None
    assert [word in error.hint for word in ("pin click>=8.1.3", "--no-fit", "--server")] == [
        True,
        True,
        False,
    ]


# --- shadows, and what may be left out --------------------------------------------------------------


def test_the_shadow_report(tmp_path: Path) -> None:
    report = fit.shadows(lock(numpy="1.19.0", click="8.1.7", six="1.16"), image(tmp_path), MARKERS)
    assert report.known
    assert report.changed == (("numpy", "1.24.4", "1.19.0"),)
    # `broken` did not get what it asks for before either.
    assert [(one.demand.chain, one.demand.text, one.brings) for one in report.breaks] == [
        (("scipy 1.10.1",), "numpy>=1.20.3", "1.19.0")
    ]
    assert fit.shadows(lock(six="1.16"), image(tmp_path), MARKERS).breaks == ()


def test_the_shadow_report_of_an_image_that_nobody_knows() -> None:
    report = fit.shadows(lock(click="7.0"), catalogue.load(catalogue.DEFAULTS["3.8"]), MARKERS)
    assert (report.known, report.changed) == (False, ())
    assert [one.demand.text for one in report.breaks] == ["click>=8.1.3"]


def test_what_is_there_in_the_very_version_may_be_left_out(tmp_path: Path) -> None:
    part, relied = fit.thin(lock(numpy="1.24.4", click="8.1.3", six="1.16"), image(tmp_path))
    assert [dist.name for dist in relied] == ["numpy"]
    assert [dist.name for dist in part.distributions] == ["click", "six"]


def test_nothing_is_left_out_on_hearsay() -> None:
    with pytest.raises(Exception, match="is not known, so nothing can be left out"):
        fit.thin(lock(numpy="1.24.4"), catalogue.load(catalogue.DEFAULTS["3.8"]))


def test_a_demand_of_a_version_that_is_none_is_met() -> None:
    demand = Demand(name="x", text="x>=1", chain=("y 1",))
    assert fit.breaks(lock(x="not-a-version"), [demand]) == ()


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture
def stock(wheels: Path) -> Path:
    """Flask and what it needs, in versions of two ages; an application that takes either."""
    for version, requires in (("1.1.2", "click>=5"), ("2.3.2", "click>=8.1.3"), ("3.0.0", "click>=8.1.3")):
        make_wheel(wheels, "flask", version, requires=[requires, "werkzeug>=0.15"])
    for version in ("1.0.0", "2.3.8", "3.0.6"):
        make_wheel(wheels, "werkzeug", version)
    for version in ("7.0", "8.1.3", "8.1.7"):
        make_wheel(wheels, "click", version)
    make_wheel(wheels, "app", "1.0", {"app.py": "import flask\n"}, requires=["flask"])
    make_wheel(wheels, "old-app", "1.0", {"old_app.py": "import click\n"}, requires=["click<8"])
    make_wheel(wheels, "numpy", "1.24.4", {"numpy/__init__.py": "__version__ = '1.24.4'\n"})
    make_wheel(
        wheels, "pandas", "2.0.3", {"pandas/__init__.py": "import numpy\n"}, requires=["numpy>=1.20.3"]
    )
    return wheels


@pytest.fixture
def create(envbundle: Command, stock: Path, tmp_path: Path) -> Any:
    write_profile(tmp_path / "image.json", profile(distributions=IMAGE, server=EXACT))

    def run(*words: str) -> Outcome:
        return envbundle(
            "create", *words, "-o", "out", "--force", "--json",
            *envbundle.offline(stock),
        )  # fmt: skip

    return run


def versions(outcome: Outcome) -> dict[str, str]:
    assert outcome.code == 0, outcome.stderr
    return {one["name"]: one["version"] for one in outcome.json()["distributions"]}


@pytest.mark.parametrize(
    ("words", "flask"),
    [
        (["--image", "image.json"], "2.3.2"),
        (["--image", "image.json", "--no-fit", "--ignore", "EB404:*=tried"], "3.0.0"),
        (["--python", "3.8"], "3.0.0"),
        (["--image", "minimal-ubuntu20.04-py38-cpu-inference"], "2.3.2"),
        (["--image", "minimal-ubuntu20.04-py38-cpu-inference", "--server", "0.7.7"], "3.0.0"),
        (["--image", "minimal-ubuntu20.04-py38-cpu-inference", "--resolver", "pip"], "2.3.2"),
    ],
)
def test_versions_are_fitted_to_the_server(create: Any, words: list[str], flask: str) -> None:
    expected = {"app": "1.0", "flask": flask, "werkzeug": "3.0.6", "click": "8.1.7"}
    assert versions(create("app", *words)) == expected


@pytest.mark.parametrize("where", ["image.json", "minimal-ubuntu20.04-py38-cpu-inference"])
@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_what_cannot_be_fitted_is_refused(create: Any, where: str, resolver: str) -> None:
    done = create("old-app", "--image", where, "--resolver", resolver)
    assert done.code == 2
    message = done.json()["error"]["message"]
    assert "the bundle: the command line: old-app 1.0 → click 7.0" in message
    assert f"{SERVER} 1.3.4 → flask 2.3.2 → click>=8.1.3" in message
    assert "--no-fit" in done.json()["error"]["hint"]


def test_a_failure_that_is_not_the_servers_is_told_as_it_is(create: Any) -> None:
    done = create("app==7", "--image", "image.json")
    assert done.code == 2
    assert "the image's server" not in done.json()["error"]["message"]
    assert "app==7" in done.json()["error"]["message"]


@pytest.mark.parametrize("name", ["pylock.toml", "requirements.lock"])
def test_a_lock_is_not_fitted_but_refused(
    create: Any, envbundle: Command, stock: Path, tmp_path: Path, name: str
) -> None:
    locked = envbundle("lock", "old-app", "--python", "3.8", "-o", name, *envbundle.offline(stock))
    assert locked.code == 0, locked.stderr
    words = ["--lock", name, "--image", "image.json"]
    done = create(*words)
    assert done.code == 2
    assert (
        "old-app 1.0 → click 7.0" in done.json()["error"]["message"]
        or "click 7.0" in done.json()["error"]["message"]
    )
    kept = create(*words, "--no-fit", "--ignore", "EB404:click=tried")
    assert versions(kept) == {"old-app": "1.0", "click": "7.0"}
    assert [one["requires"] for one in kept.json()["shadows"]["breaks"]] == ["click>=8.1.3"]


def test_the_manifest_names_the_image_and_what_the_server_asked_for(create: Any, tmp_path: Path) -> None:
    versions(create("app", "--image", "image.json"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["image"], manifest["relies_on"]) == ("ours", {})
    assert manifest["inputs"]["requirements"] == ["app"]
    # Only what is about something in the bundle.
    assert set(manifest["inputs"]["constraints"]) == {
        "flask<=2.3.2",
        "werkzeug>=3.0.3",
        "werkzeug>=2.3.3",
        "click>=8.1.3",
    }


def test_the_default_image_gives_the_default_tree(create: Any, tmp_path: Path) -> None:
    plain = create("click", "--python", "3.8")
    named = create("click", "--image", catalogue.DEFAULTS["3.8"])
    assert plain.json()["digest"] == named.json()["digest"]
    assert plain.json()["target"]["glibc"] == named.json()["target"]["glibc"] == "2.31"
    assert (plain.json()["shadows"], named.json()["shadows"]["known"]) == (None, False)


def test_the_image_decides_python_and_glibc(create: Any, tmp_path: Path) -> None:
    write_profile(tmp_path / "other.json", profile(target={"python": "3.7", "abi": "cp37m", "glibc": "2.26"}))
    target = create("click", "--image", "other.json").json()["target"]
    assert (target["python"].rpartition(".")[0], target["glibc"]) == ("3.7", "2.26")
    assert create("click", "--image", "other.json", "--glibc", "2.17").json()["target"]["glibc"] == "2.17"
    refused = create("click", "--image", "other.json", "--python", "3.8")
    assert (refused.code, "the Python 3.7" in refused.json()["error"]["message"]) == (2, True)
    silent = create("click", "--image", "debian-12-slim")
    assert (silent.code, "does not say its Python" in silent.json()["error"]["message"]) == (2, True)
    assert create("click", "--server", "1.0.0", "--python", "3.8").code == 2
    assert create("click", "--image", "nonsense", "--python", "3.8").code == 2


# --- thin bundles -----------------------------------------------------------------------------------


@pytest.fixture
def container(python38: Path, stock: Path, tmp_path: Path) -> Path:
    """An environment that stands for the image; returns its Python."""
    subprocess.run([python38, "-m", "venv", "--without-pip", tmp_path / "image"], check=True)
    packages = tmp_path / "image/lib/python3.8/site-packages"
    shutil.unpack_archive(stock / "numpy-1.24.4-py3-none-any.whl", packages, "zip")
    return tmp_path / "image/bin/python"


def verified(python: Path, bundle: Path) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-I", bundle / "verify.py", "--json"], capture_output=True, text=True, check=False
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_thin_bundle_works_where_the_image_has_the_rest(
    create: Any, container: Path, envbundle: Command, tmp_path: Path
) -> None:
    done = create("pandas", "--image", "image.json", "--thin")
    assert versions(done) == {"numpy": "1.24.4", "pandas": "2.0.3"}
    assert done.json()["relies_on"] == {"numpy": "1.24.4"}
    bundle = tmp_path / "out"
    assert sorted(path.name for path in (bundle / "lib/python3.8/site-packages").glob("[!_]*")) == [
        "pandas",
        "pandas-2.0.3.dist-info",
    ]
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["relies_on"] == {"numpy": "1.24.4"}
    assert [one["name"] for one in manifest["distributions"]] == ["pandas"]
    assert manifest["evidence"]["modules"] == ["pandas"]
    assert "numpy==1.24.4" in (bundle / "requirements.lock").read_text()
    assert verified(container, bundle)["findings"] == []
    # Here is not the image: nothing of it can be imported, and all else is verified.
    here = envbundle("verify", "out", "--json").json()
    grave = [one for one in here["findings"] if one["severity"] != "info"]
    assert [(one["code"], one["subject"]) for one in grave] == [("EB364", "numpy")]
    assert grave[0]["severity"] == "warning"


@pytest.mark.parametrize(("version", "words"), [("1.23.5", "here is 1.23.5"), (None, "here is none")])
def test_the_verifier_finds_what_the_image_has_no_more(
    create: Any, container: Path, tmp_path: Path, version: str | None, words: str
) -> None:
    versions(create("pandas", "--image", "image.json", "--thin"))
    packages = container.parent.parent / "lib/python3.8/site-packages"
    if version:
        path = packages / "numpy-1.24.4.dist-info/METADATA"
        path.write_text(path.read_text().replace("1.24.4", version))
    else:
        shutil.rmtree(packages / "numpy-1.24.4.dist-info")
    said = verified(container, tmp_path / "out")
    assert [(one["code"], one["subject"]) for one in said["findings"]] == [("EB364", "numpy")]
    assert words in said["findings"][0]["cause"]


def test_a_thin_bundle_from_its_own_lock_is_the_same(create: Any, tmp_path: Path) -> None:
    first = create("pandas", "--image", "image.json", "--thin")
    shutil.copy(tmp_path / "out/pylock.toml", tmp_path)
    again = create("--lock", "pylock.toml", "--image", "image.json", "--thin")
    assert (first.code, first.json()["digest"]) == (0, again.json()["digest"])


def test_what_the_image_lacks_is_not_relied_on(create: Any, stock: Path, tmp_path: Path) -> None:
    """The proof sees what the image will have, and nothing more."""
    make_wheel(stock, "hungry", "1.0", {"hungry.py": "import click\n"}, requires=["numpy"])
    done = create("hungry", "--image", "image.json", "--thin")
    assert done.code == 1
    assert [one["subject"] for one in done.json()["findings"] if one["severity"] == "error"] == ["hungry"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pandas", "--python", "3.8", "--thin"], "--thin is about an image"),
        (["pandas", "--image", "minimal-ubuntu20.04-py38-cpu-inference", "--thin"], "is not known"),
        (["numpy", "--image", "image.json", "--thin"], "has everything already"),
    ],
)
def test_thin_needs_something_to_rely_on(create: Any, words: list[str], said: str) -> None:
    done = create(*words)
    assert done.code == 2
    assert said in done.json()["error"]["message"]


def test_the_summary_tells_what_becomes_of_the_image(envbundle: Command, stock: Path, tmp_path: Path) -> None:
    write_profile(tmp_path / "image.json", profile(distributions=IMAGE, server=EXACT))
    done = envbundle(
        "create",
        "pandas",
        "click==8.1.3",
        "--image",
        "image.json",
        "--thin",
        "-o",
        "out",
        *envbundle.offline(stock),
    )
    assert done.code == 0, done.stderr
    assert re.search(r"^relies on +numpy 1\.24\.4$", done.stderr, re.MULTILINE)
    assert re.search(r"^shadows +click 8\.1\.7 → 8\.1\.3$", done.stderr, re.MULTILINE)


# --- a bundle that is there already -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirement", "where", "expected"),
    [
        ("click==7.0", "minimal-ubuntu20.04-py38-cpu-inference", [("EB404", "click")]),
        ("click==7.0", "image.json", [("EB404", "click")]),
        ("click==8.1.3", "minimal-ubuntu20.04-py38-cpu-inference", []),
        ("native", "minimal-ubuntu20.04-py38-cpu-inference", []),
        ("native", "aws-lambda-python3.8", [("EB306", "native")]),
    ],
)
def test_a_bundle_is_verified_for_another_image(
    create: Any,
    envbundle: Command,
    stock: Path,
    requirement: str,
    where: str,
    expected: list[tuple[str, str]],
) -> None:
    make_wheel(stock, "native", tag="cp38-cp38-manylinux_2_28_x86_64", root_is_purelib=False)
    assert create(requirement, "--python", "3.8").code == 0
    plain = envbundle("verify", "out", "--no-imports")
    done = envbundle("verify", "out", "--no-imports", "--image", where, "--json")
    errors = [one for one in done.json()["findings"] if one["severity"] == "error"]
    assert [(one["code"], one["subject"]) for one in errors] == expected
    assert (plain.code, done.code) == (0, 1 if expected else 0)


def test_what_a_thin_bundle_relies_on_is_looked_for_in_the_profile(
    create: Any, envbundle: Command, tmp_path: Path
) -> None:
    versions(create("pandas", "--image", "image.json", "--thin"))
    newer = {**IMAGE, "numpy": {"version": "1.23.5", "requires": []}}
    write_profile(tmp_path / "newer.json", profile(distributions=newer, server=EXACT))
    found = {}
    for name in ("image.json", "newer.json"):
        done = envbundle("verify", "out", "--image", name, "--json")
        found[name] = {one["cause"] for one in done.json()["findings"] if one["severity"] == "error"}
    assert found["image.json"] == set()
    assert found["newer.json"] == {"the bundle was made without numpy 1.24.4; the image ours has 1.23.5"}
    assert envbundle("verify", "out", "--image", "minimal-ubuntu18.04-py37-cpu-inference").code == 2


# --- with the real distributions --------------------------------------------------------------------


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("requirement", "where", "words"),
    [
        ("Werkzeug==3.0.3", "3.7", "Python>=3.8"),
        ("pydantic==2.5", "3.7", f"{SERVER} 0.8.4.2 → pydantic<1.11,>=1.9"),
        ("click==7", "3.8", f"{SERVER} 1.3.4 → flask 2.3.2 → click>=8.1.3"),
    ],
)
def test_what_the_real_server_cannot_live_with_is_refused(
    envbundle: Command, requirement: str, where: str, words: str
) -> None:
    done = envbundle("create", requirement, "--image", catalogue.DEFAULTS[where], "-o", "out", "--json")
    assert done.code == 2
    assert words in done.json()["error"]["message"]


@pytest.mark.pypi
def test_what_can_be_solved_is_solved_for_the_real_server(envbundle: Command) -> None:
    done = envbundle(
        "create", "flask", "pydantic", "click", "--image", catalogue.DEFAULTS["3.7"], "-o", "out", "--json"
    )
    found = versions(done)
    assert (found["flask"], found["pydantic"].split(".")[:2]) == ("2.2.5", ["1", "10"])
    assert int(found["click"].split(".")[0]) >= 8


SCORE = """import flask, pydantic


def init():
    pass


def run(raw):
    return pydantic.__file__.split("/site-packages")[0]
"""


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["flask", "pydantic", "--image", catalogue.DEFAULTS["3.7"]],
            0,
            "/var/azureml-app/myenv/lib/python3.7",
        ),
        (
            ["flask", "pydantic==2.5", "--python", "3.7"],
            1,
            "has been moved to the `pydantic-settings` package",
        ),
    ],
    ids=["fitted", "not fitted"],
)
def test_the_real_server_runs_with_what_is_fitted_and_not_without(
    envbundle: Command, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    made = envbundle("create", *words, "-o", "src/myenv")
    assert made.code == 0, made.stderr
    (tmp_path / "src/score.py").write_text(SCORE, encoding="utf-8")
    (tmp_path / "request.json").write_text("{}", encoding="utf-8")
    image = catalogue.DEFAULTS["3.7"]
    done = envbundle(
        *("rehearse", "src/myenv", "--entry", "score.py", "--image", image, "--request", "request.json")
    )
    assert done.code == code, done.stderr
    assert said in done.stdout + done.stderr
