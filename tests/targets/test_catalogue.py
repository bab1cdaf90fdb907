"""Image profiles: the catalogue keeps its own rules, files are believed nothing, and targets come of them."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from bundler.errors import InputError
from bundler.targets import catalogue, interpreters, profile_file
from bundler.targets.image import ImageTarget
from bundler.targets.target import GLIBC_BY_PYTHON, for_interpreter
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.profilemaker import installed, profile, write_profile

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import Interpreter

    from tests.support.command import Command

SERVER = "azureml-inference-server-http"
# Every prebuilt inference image that a published list, a Dockerfile or the environments' repository names.
PREBUILT = {
    "3.7": {
        *(f"minimal-ubuntu18.04-py37-{kind}-inference" for kind in ("cpu", "cuda11.0.3-gpu")),
        "tensorflow-1.15-ubuntu18.04-py37-cpu-inference",
        *(f"tensorflow-2.4-ubuntu18.04-py37-{kind}-inference" for kind in ("cpu", "cuda11.0.3-gpu")),
        *(f"pytorch-{version}-ubuntu18.04-py37-cpu-inference" for version in ("1.6", "1.7", "1.9", "1.10")),
        "pytorch-1.9-ubuntu18.04-py37-cuda11.0.3-gpu-inference",
        "sklearn-0.24.1-ubuntu18.04-py37-cpu-inference",
        "onnxruntime-1.6-ubuntu18.04-py37-cpu-inference",
        "lightgbm-3.2-ubuntu18.04-py37-cpu-inference",
        "xgboost-0.9-ubuntu18.04-py37-cpu-inference",
        "mlflow-ubuntu18.04-py37-cpu-inference",
    },
    "3.8": {
        *(f"minimal-ubuntu20.04-py38-{kind}-inference" for kind in ("cpu", "cuda11.6.2-gpu")),
        *(f"curated/minimal-ubuntu20.04-py38-{kind}-inference" for kind in ("cpu", "cuda11.6.2-gpu")),
        "mlflow-ubuntu20.04-py38-cpu-inference",
    },
    "3.9": {
        *(f"minimal-ubuntu22.04-py39-{kind}-inference" for kind in ("cpu", "cuda11.8-gpu")),
        *(f"curated/minimal-ubuntu20.04-py39-{kind}-inference" for kind in ("cpu", "cuda11.6.2")),
        "curated/mlflow-ubuntu20.04-py39-cpu-inference",
    },
    "3.11": {
        "curated/minimal-py311-inference",
        "curated/minimal-ubuntu22.04-py311-cpu-inference",
        "curated/minimal-ubuntu20.04-py311-cpu-inference",
        "curated/azurecore3.0-inference",
    },
    "3.12": {
        "minimal-py312-inference",
        "curated/minimal-py312-cuda12.4-inference",
        "curated/minimal-py312-cuda11.8-inference",
        "curated/mlflow-py312-inference",
    },
}
CUT = {
    "curated/minimal-ubuntu20.04-py39-cpu-inference",
    "curated/minimal-py311-inference",
    "curated/minimal-ubuntu22.04-py311-cpu-inference",
    "curated/minimal-py312-cuda12.4-inference",
    "curated/minimal-py312-cuda11.8-inference",
}
"""Their Dockerfiles cut the block out of the start script."""


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    text = files("bundler.targets").joinpath("images/profile.schema.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.fixture
def python(python38: Path, tmp_path: Path) -> Interpreter:
    return interpreters.find(
        str(python38),
        cache_dir=tmp_path,
        managed_dir=tmp_path,
        allow_download=False,
        announce=lambda _: None,
        environ={},
    )


def test_the_catalogue_has_every_prebuilt_image_with_its_python() -> None:
    found: dict[str | None, set[str]] = {}
    for image in catalogue.all_images():
        if image.mount and "AZUREML_EXTRA_PYTHON_LIB_PATH" in image.mount.variables:
            found.setdefault(image.target.python, set()).add(image.name)
    assert found == PREBUILT


@pytest.mark.parametrize("name", catalogue.names())
def test_a_profile_says_nothing_without_a_source(name: str, schema: jsonschema.Draft202012Validator) -> None:
    raw = json.loads((catalogue.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    schema.validate(raw)
    image = catalogue.load(name)
    assert image.name == name
    assert json.loads(json.dumps(profile_file.as_dict(image))) == raw
    about = {one for source in image.sources for one in source.about}
    said = {
        *(f"target.{one.name}" for one in fields(ImageTarget) if getattr(image.target, one.name) is not None),
        *(one for one in raw if one in {"os", "tags", "named", "honours_variables"} and raw[one]),
        *(
            one
            for one in ("server", "environment", "conda", "mount", "user", "writable")
            if raw[one] is not None
        ),
    } - {"honours_variables" if image.honours_variables == "unknown" else ""}
    assert said - about == set()
    assert not image.probed
    assert all(source.url for source in image.sources)


def test_what_no_source_tells_is_unknown() -> None:
    for image in catalogue.all_images():
        assert image.distributions is None
        assert image.libraries is None
    assert catalogue.load("minimal-py312-inference").target.glibc is None
    assert catalogue.load("curated/azurecore3.0-inference").target.glibc is None
    # The conda environment's own libstdc++ may be another.
    assert catalogue.load("minimal-ubuntu20.04-py38-cpu-inference").target.glibcxx is None


def test_images_that_cut_the_block_out_are_named() -> None:
    answers = {image.name: image.honours_variables for image in catalogue.all_images() if image.server}
    assert {name for name, answer in answers.items() if answer == "no"} == CUT
    assert {answers[name] for name in PREBUILT["3.7"] | PREBUILT["3.8"]} == {"yes"}
    assert answers["minimal-py312-inference"] == "unknown"


@pytest.mark.parametrize(("minor", "newest"), [("3.7", "0.8.4.2"), ("3.8", "1.3.4")])
def test_an_image_holds_no_server_that_its_python_cannot_run(minor: str, newest: str) -> None:
    releases = catalogue.releases(SERVER)
    able = [one.version for one in releases if SpecifierSet(one.requires_python).contains(f"{minor}.16")]
    assert able[-1] == newest
    for name in PREBUILT[minor]:
        server = catalogue.load(name).server
        assert server is not None
        assert (server.name, server.at_most, server.exact) == (SERVER, newest, False)


def test_every_requirement_of_a_release_can_be_read() -> None:
    releases = catalogue.releases(SERVER)
    assert len(releases) == 11
    for one in releases:
        lines = [*one.requires, *(line for near in one.beside for line in near.requires)]
        assert [str(Requirement(line)) for line in lines]
    assert catalogue.releases("../secret") == ()


@pytest.mark.parametrize("minor", ["3.7", "3.8"])
def test_the_default_glibc_of_a_python_is_that_of_its_default_image(minor: str) -> None:
    image = catalogue.load(catalogue.DEFAULTS[minor])
    assert image.target.glibc == GLIBC_BY_PYTHON[minor][0]
    assert image.target.python == minor


@pytest.mark.parametrize(
    "written",
    [
        "mcr.microsoft.com/azureml/minimal-ubuntu20.04-py38-cpu-inference",
        "mcr.microsoft.com/azureml/minimal-ubuntu20.04-py38-cpu-inference:20230518.v1",
        "minimal-ubuntu20.04-py38-cpu-inference:latest",
        f"mcr.microsoft.com/azureml/minimal-ubuntu20.04-py38-cpu-inference@sha256:{'0' * 64}",
    ],
)
def test_a_reference_names_its_image(written: str) -> None:
    assert catalogue.load(written).name == "minimal-ubuntu20.04-py38-cpu-inference"


@pytest.mark.parametrize(
    "name",
    [
        "debian12",
        "",
        "../debian-12",
        "servers/azureml-inference-server-http",
        "profile.schema",
        "/etc/passwd",
    ],
)
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no image is called") as caught:
        catalogue.load(name)
    assert "envbundle images list" in (caught.value.hint or "")
    if name == "debian12":
        assert "debian-12" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "envbundle-manifest"}, "kind: is not 'envbundle-image'"),
        ({"schema_version": "2.0"}, "schema_version: is not one that this envbundle reads"),
        ({"name": "../../etc/passwd"}, "name: "),
        ({"name": "Ours"}, "name: "),
        ({"target": {"python": "3"}}, "target.python: "),
        ({"target": {"glibc": 2.31}}, "target.glibc: must be a string"),
        ({"target": {"glibc": "2.31\n"}}, "target.glibc: "),
        ({"target": {"machine": "x86_64; rm"}}, "target.machine: "),
        ({"target": {"musl": True}}, "has a member 'musl'"),
        ({"distributions": []}, "distributions: must be an object"),
        ({"distributions": {"Flask": {"version": "1", "requires": []}}}, "distributions: 'Flask' is not"),
        ({"distributions": {"flask": {"version": "../1", "requires": []}}}, "distributions.flask.version"),
        ({"distributions": {"flask": {"version": "1"}}}, "distributions.flask: lacks 'requires'"),
        ({"libraries": ["../libc.so"]}, r"libraries\[0\]: "),
        ({"libraries": "libc.so.6"}, "libraries: must be an array"),
        (
            {"server": {"name": "x", "at_least": None, "at_most": "new"}},
            "server.at_most: 'new' is no version",
        ),
        ({"environment": {"A=B": "x"}}, "environment: 'A=B' is not"),
        ({"environment": {"A": "x\ny"}}, "environment.A: "),
        ({"writable": ["relative"]}, r"writable\[0\]: "),
        (
            {"mount": {"variables": [], "base": None, "order": "before", "trailing_colon": None}},
            "mount.order",
        ),
        ({"user": {"name": None, "uid": -1, "root": None}}, "user.uid: "),
        ({"honours_variables": True}, "honours_variables: must be one of"),
        ({"sources": [{"about": ["*"], "url": "ftp://x", "certainty": "read", "says": ""}]}, "url: "),
        ({"libs": []}, "has a member 'libs'"),
    ],
)
def test_a_profile_is_believed_nothing(
    tmp_path: Path, change: dict[str, Any], words: str, schema: jsonschema.Draft202012Validator
) -> None:
    content = profile(**change)
    with pytest.raises(InputError, match=words):
        catalogue.load(str(write_profile(tmp_path / "image.json", content)))
    # A schema cannot tell a version, and to Python's `$` a last line end is none.
    if "at_most" not in words and "\\n" not in json.dumps(content):
        assert not schema.is_valid(content)


@pytest.mark.parametrize("name", ["target", "references", "tags", "named", "kind"])
def test_null_in_the_place_of_a_member_is_refused(tmp_path: Path, name: str) -> None:
    content = {**profile(), name: None}
    with pytest.raises(InputError, match=rf"image\.json: {name}"):
        catalogue.load(str(write_profile(tmp_path / "image.json", content)))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"kind": 1}', b"\xff\xfe", b"[" * 100_000, b'{"kind": "envbundle-image", "kind": "x"}'],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "image.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"image\.json"):
        catalogue.load(str(path))
    with pytest.raises(InputError, match=r"other\.json"):
        catalogue.load(str(tmp_path / "other.json"))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "image.json"
    with path.open("wb") as stream:
        stream.truncate(profile_file.MAX_BYTES + 1)
    with pytest.raises(InputError, match="larger than 20000000 bytes"):
        catalogue.load(str(path))


def test_the_target_is_the_image_and_not_the_builder(tmp_path: Path, python: Interpreter) -> None:
    content = profile(target={"python": "3.8.3", "glibc": "2.26"}, os="Amazon Linux 2")
    image = catalogue.load(str(write_profile(tmp_path / "image.json", content)))
    aim = catalogue.target(image, python, glibc=None)
    assert (aim.python_version, aim.glibc) == ("3.8.3", (2, 26))
    assert aim.markers["python_full_version"] == "3.8.3"
    assert aim.glibc_reason == "Amazon Linux 2, the image ours, as its probe saw"
    assert catalogue.target(image, python, glibc="2.17").glibc == (2, 17)
    assert image.minor == "3.8"


def test_the_default_image_is_the_default_target(python: Interpreter) -> None:
    aim = catalogue.target(catalogue.load(catalogue.DEFAULTS["3.8"]), python, glibc=None)
    plain = for_interpreter(python, glibc=None)
    assert (aim.python_version, aim.glibc, aim.abi, aim.markers) == (
        plain.python_version,
        plain.glibc,
        plain.abi,
        plain.markers,
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"libc": "musl", "glibc": None}, "musl"),
        ({"machine": "aarch64"}, "the processor aarch64"),
        ({"python": "3.7.2"}, "the Python 3.7"),
        ({"abi": "cp38d"}, "the ABI cp38d"),
    ],
)
def test_an_image_that_nothing_can_be_made_for_is_refused(
    tmp_path: Path, python: Interpreter, target: dict[str, Any], words: str
) -> None:
    image = catalogue.load(str(write_profile(tmp_path / "image.json", profile(target=target))))
    with pytest.raises(InputError, match=words):
        catalogue.target(image, python, glibc=None)


def test_a_difference_is_told_and_what_nobody_says_is_no_difference(tmp_path: Path) -> None:
    first = profile(distributions=installed(flask="2.0", click="8.0"), libraries=["libc.so.6"])
    second = profile(distributions=installed(flask="2.1", wrapt="1.0"), target={"glibc": "2.35"})
    images = [
        catalogue.load(str(write_profile(tmp_path / f"{n}.json", one)))
        for n, one in enumerate((first, second))
    ]
    assert catalogue.diff(images[0], images[1]) == (
        ("library", "1 known", "?"),
        ("distribution click", "8.0", "-"),
        ("distribution flask", "2.0", "2.1"),
        ("distribution wrapt", "-", "1.0"),
        ("target glibc", "2.31", "2.35"),
    )
    assert catalogue.diff(images[0], images[0]) == ()


def test_the_server_that_the_caller_knows(tmp_path: Path) -> None:
    image = catalogue.load("minimal-ubuntu20.04-py38-cpu-inference")
    server = catalogue.with_server(image, "1.0.0").server
    assert server is not None
    assert (server.version, server.exact) == ("1.0.0", True)
    with pytest.raises(InputError, match="nothing is known of"):
        catalogue.with_server(image, "9.9")
    with pytest.raises(InputError, match="not known to have a server"):
        catalogue.with_server(catalogue.load("debian-12"), "1.0.0")
    known = profile(
        distributions=installed(azureml_inference_server_http="1.3.4"),
        server={"name": SERVER, "at_least": "1.3.4", "at_most": "1.3.4"},
    )
    with pytest.raises(InputError, match=r"has azureml-inference-server-http 1\.3\.4"):
        catalogue.with_server(catalogue.load(str(write_profile(tmp_path / "i.json", known))), "1.0.0")


@pytest.mark.thorough
def test_the_command_lists_shows_and_compares(envbundle: Command, tmp_path: Path) -> None:
    rows = envbundle("images", "list", "--json").json()["images"]
    assert {row["name"] for row in rows} == set(catalogue.names())
    assert {row["name"] for row in rows if row["default_for"]} == set(catalogue.DEFAULTS.values())
    assert "minimal-ubuntu20.04-py38-cpu-inference" in envbundle("images", "list", "--python", "3.8").stdout
    assert "py37" not in envbundle("images", "list", "--python", "3.8").stdout
    shown = envbundle("images", "show", "debian-12-slim")
    assert "glibc           2.36" in shown.stdout
    assert "distributions   ?" in shown.stdout
    assert (
        envbundle("images", "show", "debian-12-slim", "--json").json()["image"]["target"]["glibc"] == "2.36"
    )
    path = write_profile(tmp_path / "image.json", profile(distributions=installed(flask="2.0")))
    assert envbundle("images", "show", path, "--pins").stdout == "flask==2.0\n"
    different = envbundle("images", "diff", "ubuntu-20.04", "ubuntu-22.04", "--json").json()["differences"]
    assert {"about": "target glibc", "first": "2.31", "second": "2.35"} in different
    assert envbundle("images", "show", "nonsense").code == 2
