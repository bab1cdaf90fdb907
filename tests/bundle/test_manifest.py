"""manifest.json: the same bytes for the same bundle, a schema that it fits, nothing believed when read."""

from __future__ import annotations

import hashlib
import json
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from bundler.bundle import manifest
from bundler.errors import InputError
from bundler.model import Finding, Isolation
from bundler.ontarget.checksums import manifest_digest

from tests.support.bundlemaker import make_bundle, make_manifest, unpack
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WARNING = Finding(
    code="EB401", severity="warning", subject="alpha", cause="ünï", remedy="none", chain=("beta", "alpha")
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    wheel = make_wheel(tmp_path, "alpha", files={"alpha.py": "", "ünï.txt": "", "run.sh": ""})
    return make_bundle(tmp_path / "bundle", wheel, modules=["alpha"])


@pytest.fixture
def schema() -> jsonschema.Draft202012Validator:
    text = files("bundler.bundle.manifest").joinpath("manifest.schema.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def test_round_trip(tmp_path: Path) -> None:
    prefix = tmp_path / "tree"
    (unpack(prefix, make_wheel(tmp_path, "alpha")) / "alpha.py").chmod(0o755)
    content = make_manifest(prefix, findings=[WARNING])
    (tmp_path / "manifest.json").write_text(manifest.render(content), encoding="ascii")
    assert manifest.read(tmp_path / "manifest.json") == content
    assert [file.executable for file in content.files if file.path.endswith("alpha.py")] == [True]
    assert [path.name for path in tmp_path.glob("*manifest*")] == ["manifest.json"]


def test_same_bytes_whoever_calls_and_wherever(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha")
    texts = []
    for number, isolation in enumerate(
        [
            Isolation(proof=("read-only", "no-network")),
            Isolation(variables=("PIP_TARGET",), pip_settings=("user",), proof=("no-network", "read-only")),
        ]
    ):
        prefix = tmp_path / str(number) / "tree"
        unpack(prefix, wheel)
        texts.append(manifest.render(make_manifest(prefix, isolation=isolation)))
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    assert "PIP_TARGET" not in texts[0]
    assert "secret" not in texts[0]


def test_fits_schema_and_stands_a_row_a_line(bundle: Path, schema: jsonschema.Draft202012Validator) -> None:
    text = (bundle / manifest.NAME).read_text(encoding="utf-8")
    schema.validate(json.loads(text))
    rows = [line for line in text.splitlines() if '"0644"' in line]
    assert len(rows) == len(json.loads(text)["files"]) + len(json.loads(text)["documents"])
    assert text.isascii()


def test_checksums_work_with_sha256sum(bundle: Path) -> None:
    def check() -> int:
        command = ["sha256sum", "--strict", "--quiet", "-c", manifest.SUMS]
        return subprocess.run(command, cwd=bundle, check=False, capture_output=True).returncode

    assert check() == 0
    listed = (bundle / manifest.SUMS).read_text(encoding="utf-8").splitlines()
    assert len(listed) == sum(path.is_file() for path in bundle.rglob("*")) - 1
    (bundle / manifest.NAME).write_text("{}")
    assert check() == 1


def test_digest_names_the_tree_alone(tmp_path: Path) -> None:
    prefix = tmp_path / "tree"
    site_packages = unpack(prefix, make_wheel(tmp_path, "alpha"))
    before = make_manifest(prefix)
    assert make_manifest(prefix, findings=[WARNING]).digest == before.digest
    (site_packages / "alpha.py").chmod(0o755)
    executable = make_manifest(prefix).digest
    (site_packages / "alpha.py").write_text("VALUE = 2\n")
    assert len({before.digest, executable, make_manifest(prefix).digest}) == 3


SHA = "0" * 64
WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda content: content.update(kind="other"), "kind"),
    (lambda content: content.update(schema_version="2.0"), "schema_version"),
    (lambda content: content.update(schema_version=1), "schema_version"),
    (lambda content: content.pop("target"), "lacks 'target'"),
    (lambda content: content["target"].update(python="3.8"), "target.python"),
    (lambda content: content["target"].update(glibc="2"), "target.glibc"),
    (lambda content: content["tool"].update(name="other"), "tool.name"),
    (lambda content: content["environment"].update(PYTHONPATH="../x"), "environment.PYTHONPATH"),
    (lambda content: content["environment"].update(PYTHONPATH="/x"), "environment.PYTHONPATH"),
    (lambda content: content["environment"].clear(), "environment: lacks 'PYTHONPATH'"),
    (lambda content: content.update(assumed_libraries=["./x.so.1"]), "assumed_libraries[0]"),
    (lambda content: content["distributions"][0].update(sha256="00"), "distributions[0].sha256"),
    (
        lambda content: content["distributions"][0].update(sha256=SHA.replace("0", "A")),
        "distributions[0].sha256",
    ),
    (lambda content: content["distributions"][0].update(name="Al_pha"), "distributions[0].name"),
    (lambda content: content["distributions"][0].update(files=-1), "distributions[0].files"),
    (lambda content: content["distributions"][0].update(files=True), "distributions[0].files"),
    (lambda content: content["distributions"][0].update(extras="all"), "distributions[0].extras"),
    (lambda content: content["distributions"][0].update(requested=1), "distributions[0].requested"),
    (lambda content: content["checks"][0].update(outcome="perhaps"), "checks[0].outcome"),
    (lambda content: content["evidence"].update(modules=[1]), "evidence.modules[0]"),
    (lambda content: content["files"].insert(0, ["../x", SHA, 1, "0644"]), "files[0][0]"),
    (lambda content: content["files"].insert(0, ["/etc/passwd", SHA, 1, "0644"]), "files[0][0]"),
    (lambda content: content["files"].insert(0, ["a//b", SHA, 1, "0644"]), "files[0][0]"),
    (lambda content: content["files"].insert(0, ["a/./b", SHA, 1, "0644"]), "files[0][0]"),
    (lambda content: content["files"].insert(0, ["", SHA, 1, "0644"]), "files[0][0]"),
    (lambda content: content["files"].insert(0, ["a", SHA[:-1], 1, "0644"]), "files[0][1]"),
    (lambda content: content["files"].insert(0, ["a", SHA, 1.5, "0644"]), "files[0][2]"),
    (lambda content: content["files"].insert(0, ["a", SHA, 1, "4755"]), "files[0][3]"),
    (lambda content: content["files"].insert(0, ["a", SHA, 1]), "files[0]"),
    (lambda content: content.update(files={}), "files"),
    (lambda content: content.update(findings=[{"code": "EB101"}]), "findings[0]: lacks 'severity'"),
]


@pytest.mark.parametrize(("change", "place"), WRONG, ids=[f"{n}-{row[1]}" for n, row in enumerate(WRONG)])
def test_wrong_manifest_is_refused_at_its_place(
    bundle: Path,
    schema: jsonschema.Draft202012Validator,
    change: Callable[[dict[str, Any]], object],
    place: str,
) -> None:
    path = bundle / manifest.NAME
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    content["manifest_digest"] = manifest_digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        manifest.read(bundle)
    assert raised.value.message.startswith(f"{path}: ")
    assert place in raised.value.message
    assert not schema.is_valid(content)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda content: content["files"].append(content["files"][-1]), "files"),
        (lambda content: content["files"].reverse(), "files"),
        (lambda content: content["files"].append(["zz", SHA, 1, "0644"]), "digest"),
        (lambda content: content["documents"].insert(0, content["files"][0]), "in `files` as well"),
        (
            lambda content: content["documents"].insert(0, [manifest.NAME, SHA, 1, "0644"]),
            "must not be listed",
        ),
        (lambda content: content["files"].insert(0, ["a", SHA, 1 << 70, "0644"]), "files[0][2]"),
        (lambda content: content["files"].insert(0, ["a\0", SHA, 1, "0644"]), "files[0][0]"),
    ],
)
def test_what_no_schema_says(bundle: Path, change: Callable[[dict[str, Any]], object], place: str) -> None:
    path = bundle / manifest.NAME
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    content["manifest_digest"] = manifest_digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        manifest.read(path)
    assert place in raised.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"kind": NaN}',
        b'{"kind": 1, "kind": 1}',
        b'{"kind": "envbundle-manifest"}',
    ],
    ids=range(7),
)
def test_no_manifest_at_all(tmp_path: Path, data: bytes) -> None:
    (tmp_path / manifest.NAME).write_bytes(data)
    with pytest.raises(InputError, match=r"manifest\.json"):
        manifest.read(tmp_path)


def test_edited_by_hand_and_missing(bundle: Path, tmp_path: Path) -> None:
    path = bundle / manifest.NAME
    path.write_text(path.read_text().replace('"a test"', '"another"'))
    with pytest.raises(InputError, match="manifest_digest: does not fit"):
        manifest.read(bundle)
    with pytest.raises(InputError, match="No such file"):
        manifest.read(tmp_path)


def test_members_of_a_later_minor_version_are_passed_over(bundle: Path) -> None:
    path = bundle / manifest.NAME
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(schema_version="1.7", signature="later")
    content["target"]["libc"] = "glibc"
    content["manifest_digest"] = manifest_digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    assert manifest.read(bundle).target.abi == "cp38"


def test_bundle_is_known_by_its_manifest(bundle: Path, tmp_path: Path) -> None:
    assert manifest.is_bundle(bundle)
    assert not manifest.is_bundle(tmp_path)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / manifest.NAME).symlink_to(bundle / manifest.NAME)
    assert not manifest.is_bundle(tmp_path / "linked")
    (bundle / manifest.NAME).write_text('{"kind": "npm"}')
    assert not manifest.is_bundle(bundle)


def test_inputs_are_the_locks(tmp_path: Path) -> None:
    unpack(tmp_path / "tree", make_wheel(tmp_path, "alpha"))
    inputs = make_manifest(tmp_path / "tree").inputs
    assert (inputs.requirements, inputs.constraints) == (("alpha",), ())
    assert inputs.sha256 == hashlib.sha256(b'[["alpha"], []]').hexdigest()
