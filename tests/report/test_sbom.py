"""sbom.cdx.json: what the standard's own validator takes, whatever a lock holds, and the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import manifest
from bundler.errors import MachineError
from bundler.model import (
    Artifact,
    Evidence,
    FileFact,
    Isolation,
    Lock,
    LockedDistribution,
    NativeFact,
)
from bundler.report import sbom
from bundler.wheels.store import Store
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_supported_id
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tests.support.bundlemaker import facts, interpreter, lock, locked, stored_wheel, target
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.command import Command

SITE = "lib/python3.8/site-packages"
COMMIT = "c" * 40
FILE = "1" * 64
WHEEL = "b" * 64
"""sha256 of every wheel in these tests, which is not that of the file in the lock (all zeros)."""


def bill(
    whole: Lock,
    *,
    licences: Mapping[str, str] | None = None,
    native: Mapping[str, str] | None = None,
    built: Mapping[str, str] | None = None,
    relies_on: Mapping[str, str] | None = None,
) -> sbom.Bill:
    """The bill of a bundle of this lock, by way of its manifest.

    :param native: path of a native file of the first distribution → the first digit of its sha256.
    """
    brought = tuple(dist for dist in whole.distributions if dist.name not in (relies_on or {}))
    known = {
        dist.name: replace(facts(dist.name), licence=(licences or {}).get(dist.name, "")) for dist in brought
    }
    name = brought[0].name
    known[name] = replace(known[name], native=tuple(NativeFact(path=path) for path in native or {}))
    described = manifest.build(
        target=target(),
        interpreter=interpreter(Path("/usr/bin/python3")),
        lock=whole,
        wheels=[stored_wheel(dist, known[dist.name], (built or {}).get(dist.name)) for dist in brought],
        files=[FileFact(path=path, sha256=digit * 64, size=1) for path, digit in (native or {}).items()],
        checks=[],
        findings=[],
        evidence=Evidence(
            baseline_freeze=(), freeze=(), expected=(), modules=(), libraries=(), isolation=Isolation()
        ),
        relies_on=relies_on,
    )
    wheels = {dist.name: (f"{dist.name}-1.0-py3-none-any.whl", WHEEL) for dist in whole.distributions}
    return sbom.bill(described, lock=whole, wheels=wheels)


def written(made: sbom.Bill) -> dict[str, Any]:
    """The document of a bill, once the standard's validator has taken it."""
    text = sbom.render(made)
    assert valid(text) is None
    assert text.isascii()
    parsed: dict[str, Any] = json.loads(text)
    references = [one["bom-ref"] for one in [parsed["metadata"]["component"], *parsed["components"]]]
    assert len(set(references)) == len(references)
    assert sorted(one["ref"] for one in parsed["dependencies"]) == sorted(references)
    return parsed


def valid(text: str) -> object:
    """What the validator has against a document; `None`: nothing."""
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)


def component(made: sbom.Bill, name: str = "alpha") -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [one for one in written(made)["components"] if one["name"] == name]
    return found


def properties(of: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"].removeprefix("envbundle:"): one["value"] for one in of.get("properties", [])}


def ordinary() -> sbom.Bill:
    """Three from an index, one of them with an own copy of a library."""
    return bill(
        lock(
            locked("alpha", url="https://index.example/packages/alpha-1.0-py3-none-any.whl"),
            locked("beta", "1!2.0+cu118", required_by=("alpha", "gamma")),
            locked("gamma", required_by=("beta",)),
        ),
        licences={"alpha": "MIT", "beta": "BSD"},
        native={
            f"{SITE}/alpha.libs/libgfortran-040039e1.so.5": "5",
            f"{SITE}/alpha/_core.cpython-38-x86_64-linux-gnu.so": "6",
        },
    )


@pytest.mark.thorough
def test_ordinary_bundle() -> None:
    made = ordinary()
    document = written(made)
    assert list(document)[:3] == ["$schema", "bomFormat", "specVersion"]
    assert (document["specVersion"], document["version"]) == ("1.6", 1)
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("envbundle bundle", made.digest)
    assert properties(root) == {
        "python": "3.8.18", "implementation": "cpython", "machine": "x86_64", "glibc": "2.17",
    }  # fmt: skip
    assert "timestamp" not in document["metadata"]
    (tool,) = document["metadata"]["tools"]["components"]
    assert (tool["name"], tool["version"]) == ("envbundle", made.tool_version)
    assert [(one["name"], one["purl"]) for one in document["components"]] == [
        ("alpha", "pkg:pypi/alpha@1.0"),
        ("beta", "pkg:pypi/beta@1%212.0%2Bcu118"),
        ("gamma", "pkg:pypi/gamma@1.0"),
    ]
    graph = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert graph == {
        "envbundle:bundle": ["alpha"], "alpha": ["beta"], "beta": ["gamma"], "gamma": ["beta"],
    }  # fmt: skip


def test_component_of_a_wheel() -> None:
    alpha = component(ordinary())
    hashes = [{"alg": "SHA-256", "content": "0" * 64}]
    assert alpha["hashes"] == hashes
    assert (alpha["type"], alpha["scope"]) == ("library", "required")
    assert alpha["licenses"] == [{"license": {"id": "MIT", "acknowledgement": "declared"}}]
    url = "https://index.example/packages/alpha-1.0-py3-none-any.whl"
    assert alpha["externalReferences"] == [{"type": "distribution", "url": url, "hashes": hashes}]
    assert properties(alpha) == {"file": "alpha-1.0-py3-none-any.whl"}
    (copied,) = alpha["components"]
    assert (copied["type"], copied["name"]) == ("file", "libgfortran-040039e1.so.5")
    assert copied["hashes"][0]["content"] == "5" * 64
    assert properties(copied) == {"path": f"{SITE}/alpha.libs/libgfortran-040039e1.so.5"}


def of_artifact(source: Any, **values: Any) -> LockedDistribution:
    artifact = Artifact(**{"kind": "wheel", "filename": "", "url": None, **values})
    return replace(locked("alpha"), artifact=artifact, source=source)


SOURCES: dict[str, tuple[LockedDistribution, dict[str, str], str, str]] = {
    "a URL": (
        of_artifact("url", filename="a.whl", url="https://me:secret@h.example/a.whl?sig=secret", sha256=FILE),
        {"download_url": "https://h.example/a.whl"}, FILE, "https://h.example/a.whl",
    ),
    "a repository": (
        of_artifact("vcs", kind="vcs", url="git+https://me:secret@h.example/a.git", commit=COMMIT),
        {"vcs_url": f"git+https://h.example/a.git@{COMMIT}"}, WHEEL, "https://h.example/a.git",
    ),
    "a repository over ssh": (
        of_artifact("vcs", kind="vcs", url="git+ssh://git@h.example/a.git", commit=COMMIT),
        {"vcs_url": f"git+ssh://git@h.example/a.git@{COMMIT}"}, WHEEL, "ssh://git@h.example/a.git",
    ),
    "a project": (
        of_artifact("local", kind="directory", path="/home/secret/alpha"),
        {"checksum": f"sha256:{WHEEL}", "file_name": "alpha-1.0-py3-none-any.whl"}, WHEEL, "",
    ),
    "a file": (
        of_artifact("local", filename="alpha-1.0-py2-none-any.whl", path="/home/secret/a.whl", sha256=FILE),
        {"checksum": f"sha256:{FILE}", "file_name": "alpha-1.0-py2-none-any.whl"}, FILE, "",
    ),
    "an sdist": (
        of_artifact("index", kind="sdist", filename="a.tgz", url="https://h.example/a.tgz", sha256=FILE),
        {}, FILE, "https://h.example/a.tgz",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SOURCES.values(), ids=SOURCES)
def test_where_it_comes_from(case: tuple[LockedDistribution, dict[str, str], str, str]) -> None:
    dist, qualifiers, sha256, url = case
    made = bill(lock(dist), built={"alpha": "d" * 64})
    found = component(made)
    purl = PackageURL.from_string(found["purl"])
    assert (purl.type, purl.name, purl.version, purl.qualifiers) == ("pypi", "alpha", "1.0", qualifiers)
    assert [one["content"] for one in found["hashes"]] == [sha256]
    assert [one["url"] for one in found.get("externalReferences", [])] == ([url] if url else [])
    assert properties(found)["built-from"] == "d" * 64
    assert "secret" not in sbom.render(made)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.example/a b.whl", "https://h.example/a%20b.whl"),
        ("https://h.example/a%20b%2Bc.whl", "https://h.example/a%20b%2Bc.whl"),
        ("https://h.example/100%/a%zz.whl", "https://h.example/100%25/a%25zz.whl"),
        ("https://h.example/a.whl#egg=a#b", "https://h.example/a.whl"),
        ("https://h.example/ünï/日本.whl", "https://h.example/%C3%BCn%C3%AF/%E6%97%A5%E6%9C%AC.whl"),
        ("https://h.example/<script>'\"{}[]|\\^`.whl",
         "https://h.example/%3Cscript%3E%27%22%7B%7D%5B%5D%7C%5C%5E%60.whl"),
        ("https://h.example:8080/a;b=1,2/~c/@d/!e$(f)*.whl", "https://h.example:8080/a;b=1,2/~c/@d/!e$(f)*.whl"),
    ],
)  # fmt: skip
def test_odd_urls(url: str, expected: str) -> None:
    found = component(bill(lock(locked("alpha", url=url))))
    assert [one["url"] for one in found["externalReferences"]] == [expected]
    assert "url" not in properties(found)
    direct = of_artifact("url", filename="a.whl", url=url, sha256=FILE)
    said = PackageURL.from_string(component(bill(lock(direct)))["purl"]).qualifiers
    assert isinstance(said, dict)
    assert said["download_url"].startswith("https://")


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("index", "https://[2001:db8::1]:8080/a.whl"),
        ("index", "https://h.example:port/a.whl"),
        ("vcs", "git+ssh://git@h.example:organisation/a.git"),
    ],
)
def test_what_no_reference_can_hold_is_a_property(source: str, url: str) -> None:
    found = component(bill(lock(of_artifact(source, filename="a.whl", url=url, sha256=FILE))))
    assert "externalReferences" not in found
    assert properties(found)["url"] == url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", {"id": "MIT"}),
        ("mit", {"id": "MIT"}),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("(mit and (bsd-3-clause or isc))", "(MIT AND (BSD-3-Clause OR ISC))"),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
        ("BSD", {"name": "BSD"}),
        ("MIT License", {"name": "MIT License"}),
        ("Apache 2.0", {"name": "Apache 2.0"}),
        ("MIT AND", {"name": "MIT AND"}),
        ("MIT Apache-2.0", {"name": "MIT Apache-2.0"}),
        ("MIT WITH ISC", {"name": "MIT WITH ISC"}),
        ("()", {"name": "()"}),
        ("(" * 250, {"name": "(" * 250}),
        ("__import__('os')", {"name": "__import__('os')"}),
        ("</script>\"'&<b>", {"name": "</script>\"'&<b>"}),
        ("Лицензия МИТ 😀", {"name": "Лицензия МИТ 😀"}),
        ("https://h.example/licence", {"name": "https://h.example/licence"}),
    ],
)
def test_licences(text: str, expected: str | dict[str, str]) -> None:
    (found,) = component(bill(lock(locked("alpha")), licences={"alpha": text}))["licenses"]
    if isinstance(expected, str):
        assert (found["expression"], found["acknowledgement"]) == (expected, "declared")
    else:
        assert found["license"] == {**expected, "acknowledgement": "declared"}


@pytest.mark.parametrize("lacking", [(), ("cyclonedx.schema._res",)])
def test_identifiers_are_those_that_the_library_knows(
    lacking: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the library's list at its place, and where a release has moved it."""
    for name in lacking:
        monkeypatch.setitem(sys.modules, name, None)
    texts = ["MIT", "ISC", "LicenseRef-Ours", "MIT OR ISC", "Apache-2.0 WITH LLVM-exception", "GPL-2.0+", ""]
    found = {text: sbom._is_identifier(text) for text in texts}
    assert found == {text: is_supported_id(text) for text in texts}
    assert found["MIT"]
    assert not found["LicenseRef-Ours"]


def test_what_judges_expressions_is_loaded_once() -> None:
    """`packaging` judges them; what the library has for it takes as long as all else of a new one."""
    code = (
        "import sys; from bundler.report import sbom; sbom.load();"
        "print('cyclonedx.model' in sys.modules, 'license_expression' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "True False\n"


def test_no_licence() -> None:
    assert "licenses" not in component(bill(lock(locked("alpha"))))


def test_odd_names_and_a_lock_that_does_not_close() -> None:
    odd = of_artifact("local", filename="ünï </b>&\"'\n.whl", sha256=FILE)
    whole = lock(
        replace(odd, name="bundle", required_by=("unknown",)),
        locked("alpha", "", required_by=("alpha", "bundle")),
        locked("x" * 200, "1.0.post1.dev2+l.1"),
    )
    document = written(bill(whole))
    graph = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert graph["bundle"] == ["alpha"]
    assert graph["alpha"] == []  # what needs itself by an extra
    assert graph["envbundle:bundle"] == ["bundle", "x" * 200]


def test_what_the_image_brings() -> None:
    """It is needed at run time, so no scope but `required` is true of it; a property says who brings it."""
    whole = lock(locked("alpha"), locked("numpy", "1.24.4", required_by=("alpha",)), locked("zeta"))
    made = bill(whole, relies_on={"numpy": "1.24.4", "zeta": "1.0"})
    found = component(made, "numpy")
    assert (found["purl"], found["scope"]) == ("pkg:pypi/numpy@1.24.4", "required")
    assert properties(found) == {"provided-by": "image"}
    assert "hashes" not in found
    assert "provided-by" not in properties(component(made))
    graph = {one["ref"]: one.get("dependsOn", []) for one in written(made)["dependencies"]}
    assert (graph["alpha"], graph["envbundle:bundle"]) == (["numpy"], ["alpha", "zeta"])


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["licenses"][0]["license"].update(id="MIT License"),
        lambda one: one["externalReferences"][0].update(url="https://[h.example/"),  # extra `json-validation`
        lambda one: one["hashes"][0].update(content="0"),
        lambda one: one.update(scope="none"),
        lambda one: one.update(unknown=1),
    ],
    ids=["licence", "URL", "hash", "scope", "member"],
)
def test_validator_refuses_what_is_wrong(change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(sbom.render(ordinary()))
    change(document["components"][0])
    assert valid(json.dumps(document)) is not None


# --- the same again -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_same_bytes_in_another_process() -> None:
    code = "from tests.report import test_sbom; print(test_sbom.sbom.render(test_sbom.ordinary()), end='')"
    root = Path(__file__).resolve().parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": str(root)},
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone, locale in [("1", "UTC", "C"), ("2", "Asia/Tokyo", "C.UTF-8")]
    }
    assert texts == {sbom.render(ordinary()).encode()}


def test_number_is_of_the_content() -> None:
    one, other = ordinary(), replace(ordinary(), glibc="2.31")
    numbers = {written(made)["serialNumber"] for made in (one, ordinary(), other)}
    assert len(numbers) == 2


def test_text_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    made = ordinary()
    text = sbom.render(made, texts=store)
    (kept,) = store.texts.iterdir()
    store.keep_text(kept.name, "kept")
    assert sbom.render(made, texts=store) == "kept"
    assert sbom.render(replace(made, tool_version="9"), texts=store) != "kept"
    kept.write_text("damaged")
    assert sbom.render(made, texts=store) == text


def test_store_that_cannot_keep_it_stops_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.root.mkdir()
    store.texts.write_text("a file where the folder belongs")
    with pytest.raises(MachineError):
        store.keep_text("a" * 64, "text")
    assert sbom.render(ordinary(), texts=store) == sbom.render(ordinary())


@pytest.mark.thorough
def test_library_is_imported_only_to_write(tmp_path: Path) -> None:
    code = (
        "import sys; from bundler.report import sbom; from bundler.wheels.store import Store;"
        "from tests.report import test_sbom;"
        "[sys.modules.pop(one) for one in list(sys.modules) if one.partition('.')[0] == 'cyclonedx'];"
        f"sbom.render(test_sbom.ordinary(), texts=Store(__import__('pathlib').Path({str(tmp_path)!r})));"
        "print('cyclonedx.model' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    said = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert said == ["True\n", "False\n"]


@pytest.mark.thorough
def test_every_bundle_has_one(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, "alpha", requires=["beta"], metadata="License-Expression: Apache-2.0\n")
    make_wheel(wheels, "beta")
    words = ["create", "alpha", "--python", "3.8", *envbundle.offline(wheels)]
    for output in ("one", "two"):
        done = envbundle(*words, "-o", output)
        assert done.code == 0, done.stderr
    text = (tmp_path / "one" / sbom.NAME).read_text(encoding="ascii")
    assert valid(text) is None
    assert text == (tmp_path / "two" / sbom.NAME).read_text(encoding="ascii")
    assert [one["name"] for one in json.loads(text)["components"]] == ["alpha", "beta"]
    listed = {file.path for file in manifest.read(tmp_path / "one").documents}
    assert sbom.NAME in listed
    assert str(tmp_path) not in text
    assert envbundle("verify", "one").code == 0
