"""What is told of two bundles: each kind of change, and what looks like one and is none."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from bundler.bundle.manifest.values import Builder, Inputs, ManifestAttestations, Needs, Tool
from bundler.model import CheckResult
from bundler.report.compare.compare import compare
from bundler.report.compare.sections import notes
from bundler.report.compare.sides import chains, of_manifest

from tests.support.differencemaker import SITE, bundle, digest, dist, finding

if TYPE_CHECKING:
    from bundler.bundle.manifest.values import Manifest, ManifestDistribution
    from bundler.report.compare.difference import Difference

ALPHA = dist("alpha")


def diff(old: Manifest, new: Manifest) -> Difference:
    return compare(of_manifest(old, name="old"), of_manifest(new, name="new"))


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    text = files("bundler.report.compare").joinpath("differences.schema.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def test_nothing_differs_from_itself() -> None:
    one = bundle(ALPHA, findings=(finding(),))
    difference = diff(one, one)
    assert difference.empty
    assert difference.growth == 0
    assert not difference.as_json()["different"]
    assert difference.files.unchanged == 1


@pytest.mark.parametrize(
    ("old", "new", "change", "step"),
    [
        ("1.0", "2.0", "upgraded", "major"),
        ("1.9", "1.10", "upgraded", "minor"),
        ("1.10", "1.9", "downgraded", "minor"),
        ("1.0.1", "1.0.2", "upgraded", "patch"),
        ("1.0", "1.0.0.1", "upgraded", "other"),
        ("1.0rc1", "1.0", "upgraded", "other"),
        ("1.0", "1.0.post1", "upgraded", "other"),
        ("1.0", "1.0+cpu", "upgraded", "other"),
        ("2024.1", "1!1.0", "upgraded", "major"),
        ("1.0", "not a version", "changed", ""),
        ("1.0", "9" * 5000, "changed", ""),
    ],
)
def test_direction(old: str, new: str, change: str, step: str) -> None:
    (one,) = diff(bundle(dist("alpha", old)), bundle(dist("alpha", new))).distributions
    assert (one.change, one.step, one.what) == (change, step, ("version",))


def test_spelling_of_a_version_is_no_upgrade() -> None:
    difference = diff(bundle(dist("alpha", "1.0")), bundle(replace(dist("alpha", "1.0"), version="1.0.0")))
    assert difference.distributions == ()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ({}, {"sha256": digest("x")}, ("file",)),
        ({}, {"sha256": None, "filename": "alpha-1.0-2-py3-none-any.whl"}, ("file",)),
        ({"sha256": None}, {"sha256": None}, ()),
        ({"sha256": None}, {}, ()),
        ({}, {"sha256": None, "filename": ""}, ()),
        ({}, {"source": "url"}, ("source",)),
        ({}, {"index": "https://other.example/simple"}, ("index",)),
        ({}, {"index": None}, ()),
        ({"commit": "a" * 40}, {"commit": "b" * 40}, ("commit",)),
        ({}, {"built_from": digest("x")}, ("build",)),
        ({"built_from": digest("y")}, {"built_from": digest("x")}, ("build",)),
        ({}, {"requested": False}, ("requested",)),
        ({}, {"extras": ("fast",)}, ("extras",)),
        ({"extras": ("b", "a")}, {"extras": ("a", "b")}, ()),
        ({}, {"yanked": ""}, ("yanked",)),
        ({"yanked": "x"}, {"yanked": "y"}, ()),
        ({}, {"url": "https://mirror.example/alpha-1.0-py3-none-any.whl"}, ()),
    ],
)
def test_same_version_is_not_the_same(
    old: dict[str, Any], new: dict[str, Any], what: tuple[str, ...]
) -> None:
    found = diff(bundle(replace(ALPHA, **old)), bundle(replace(ALPHA, **new))).distributions
    assert [one.what for one in found] == ([what] if what else [])
    assert {one.change for one in found} <= {"changed"}


def attested(*repositories: str) -> Manifest:
    rows = tuple({"kind": "GitHub", "repository": one, "workflow": "w.yml"} for one in repositories)
    row = ManifestAttestations(name="alpha", sha256=digest("x"), document="attestations/a", identities=rows)
    return replace(bundle(ALPHA), attestations=(row,) if rows else ())


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        (("a/a",), ("a/a",), ""),
        ((), ("a/a",), ""),
        (("a/a",), ("b/a",), "publisher GitHub:a/a@w.yml → GitHub:b/a@w.yml"),
        (("a/a",), (), "publisher no longer known: GitHub:a/a@w.yml"),
        (("b/a", "a/a"), ("a/a", "b/a"), ""),
    ],
)
def test_publishers(
    old: tuple[str, ...], new: tuple[str, ...], note: str, schema: jsonschema.Draft202012Validator
) -> None:
    difference = diff(attested(*old), attested(*new))
    schema.validate(json.loads(json.dumps(difference.as_json())))
    told = [(one.what, notes(one, str, why=False)) for one in difference.distributions]
    assert told == ([(("publisher",), note)] if note else [])


def test_upgrade_says_where_it_comes_from_now_but_not_that_its_file_is_another() -> None:
    new = dist("alpha", "2.0", source="url", built_from=digest("x"), commit="b" * 40)
    (one,) = diff(bundle(replace(ALPHA, commit="a" * 40)), bundle(new)).distributions
    assert one.what == ("version", "source", "build")
    (one,) = diff(
        bundle(dist("alpha", built_from="x")), bundle(dist("alpha", "2.0", built_from="y"))
    ).distributions
    assert one.what == ("version",)


def test_who_brought_it_in_and_what_it_weighs() -> None:
    old = bundle(ALPHA, dist("gone", required_by=("alpha",), bytes=300))
    new = bundle(
        replace(ALPHA, bytes=1500),
        dist("beta", required_by=("alpha",)),
        dist("gamma", required_by=("beta", "delta"), bytes=20),
        dist("delta", required_by=("gamma",)),
        dist("thinned", required_by=("numpy",)),
    )
    by_name = {one.name: one for one in diff(old, new).distributions}
    assert by_name["gamma"].chain == ("alpha", "beta", "gamma")
    assert by_name["delta"].chain == ("alpha", "beta", "gamma", "delta")
    assert by_name["thinned"].chain == ("numpy", "thinned")  # numpy was left to the image
    assert by_name["gone"].chain == ("alpha", "gone")
    assert (by_name["gone"].change, by_name["gone"].growth) == ("removed", -300)
    assert (by_name["gamma"].change, by_name["gamma"].growth) == ("added", 20)
    assert "alpha" not in by_name  # its files tell


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (["GLIBC_2.17"], ["GLIBC_2.28"], [("GLIBC", "GLIBC_2.17", "GLIBC_2.28", "rose")]),
        (["GLIBC_2.9"], ["GLIBC_2.17"], [("GLIBC", "GLIBC_2.9", "GLIBC_2.17", "rose")]),
        (["GLIBC_2.28"], ["GLIBC_2.17"], [("GLIBC", "GLIBC_2.28", "GLIBC_2.17", "fell")]),
        ([], ["GLIBC_2.17"], [("GLIBC", None, "GLIBC_2.17", "new")]),
        (["GLIBC_2.17"], [], [("GLIBC", "GLIBC_2.17", None, "gone")]),
        (["GLIBC_2.17"], ["GLIBC_2.17"], []),
        (
            ["CXXABI_1.3.7", "GLIBCXX_3.4.19", "GLIBC_2.17"],
            ["CXXABI_1.3.5", "GLIBCXX_3.4.21", "GLIBC_2.28"],
            [
                ("GLIBC", "GLIBC_2.17", "GLIBC_2.28", "rose"),
                ("GLIBCXX", "GLIBCXX_3.4.19", "GLIBCXX_3.4.21", "rose"),
                ("CXXABI", "CXXABI_1.3.7", "CXXABI_1.3.5", "fell"),
            ],
        ),
        (["odd"], [f"GLIBC_{'9' * 5000}"], None),
    ],
)
def test_symbol_versions(old: list[str], new: list[str], told: list[tuple[str, ...]] | None) -> None:
    before = bundle(ALPHA, needs=Needs(symbols=tuple(old)))
    found = diff(before, bundle(ALPHA, needs=Needs(symbols=tuple(new)))).needs.symbols
    if told is None:
        assert {one.movement for one in found} == {"new", "gone"}
    else:
        assert [(one.family, one.old, one.new, one.movement) for one in found] == told


def native(name: str, *paths: str, version: str = "1.0", **changes: Any) -> ManifestDistribution:
    return dist(name, version, native=tuple(f"{SITE}/{path}" for path in paths), **changes)


def test_libraries_and_whose_files_may_have_brought_them() -> None:
    old = bundle(
        native("numpy", "numpy/a.so"),
        native("scipy", "scipy/b.so"),
        native("tbb", "libtbb.so.2"),
        ALPHA,
        files={"numpy/a.so": "1", "scipy/b.so": "1", "libtbb.so.2": "1"},
        needs=Needs(libraries=("libc.so.6", "libz.so.1")),
    )
    new = bundle(
        native("numpy", "numpy/a.so"),
        native("scipy", "scipy/b.so"),
        ALPHA,
        files={"numpy/a.so": "2", "scipy/b.so": "1"},
        needs=Needs(libraries=("libc.so.6", "libGL.so.1")),
    )
    needs = diff(old, new).needs
    assert (needs.libraries_added, needs.libraries_removed) == (("libGL.so.1",), ("libz.so.1",))
    assert needs.suspects == ("numpy", "tbb")
    assert needs.alarming
    fewer = diff(old, replace(new, needs=Needs(libraries=("libc.so.6",)))).needs
    assert (fewer.suspects, fewer.alarming) == ((), False)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (["a.so"], ["a.so"], []),
        ([], ["a.so"], [(None, "a.so")]),
        (["a.so"], [], [("a.so", None)]),
        (
            ["x.libs/libz-1a2b3c4d.so.1"],
            ["x.libs/libz-99999999.so.2.0"],
            [("x.libs/libz-1a2b3c4d.so.1", "x.libs/libz-99999999.so.2.0")],
        ),
        (
            ["libopenblasp-r0-2d23e62b.3.17.so"],
            ["libopenblasp-r0-15028c96.3.21.so"],
            [("libopenblasp-r0-2d23e62b.3.17.so", "libopenblasp-r0-15028c96.3.21.so")],
        ),
        (
            ["m.cpython-37m-x86_64-linux-gnu.so"],
            ["m.abi3.so"],
            [("m.cpython-37m-x86_64-linux-gnu.so", "m.abi3.so")],
        ),
        (["x/libz.so.1"], ["y/libz.so.1"], [("x/libz.so.1", None), (None, "y/libz.so.1")]),
        (["liba.so"], ["libb.so"], [("liba.so", None), (None, "libb.so")]),
    ],
)
def test_native_libraries(old: list[str], new: list[str], told: list[tuple[str | None, str | None]]) -> None:
    difference = diff(bundle(native("alpha", *old)), bundle(native("alpha", *new)))
    strip = len(SITE) + 1
    found = [(one.old and one.old[strip:], one.new and one.new[strip:]) for one in difference.native]
    assert found == told


def test_findings_that_came_changed_and_went() -> None:
    old = bundle(
        ALPHA,
        findings=(
            finding("EB402", "stays", cause="12 files"),
            finding("EB403", "goes"),
            finding("EB404", "is accepted"),
        ),
    )
    new = bundle(
        ALPHA,
        findings=(
            finding("EB402", "stays", cause="13 files"),
            finding("EB404", "is accepted", accepted="we know"),
            finding("EB405", "new"),
            finding("EB406", "worse", severity="error"),
            finding("EB401", "twice", cause="a"),
            finding("EB401", "twice", cause="b"),
        ),
    )
    found = [(one.old and one.old.code, one.new and one.new.code) for one in diff(old, new).findings]
    assert found == [
        (None, "EB406"),
        (None, "EB401"),
        (None, "EB401"),
        (None, "EB405"),
        ("EB404", "EB404"),
        ("EB403", None),
    ]


def test_licences() -> None:
    old = bundle(dist("a"), dist("b", licence="BSD"), dist("c", licence="Zlib"), dist("d", licence="ISC"))
    new = bundle(
        dist("a"),
        dist("b", licence="GPL"),
        dist("c", "2.0", licence="Zlib"),
        dist("e", licence="BSD"),
        dist("f", licence=""),
    )
    licences = diff(old, new).licences
    assert [(one.name, one.old, one.new) for one in licences.changed] == [("b", "BSD", "GPL")]
    assert [(one.licence, one.names) for one in licences.new] == [("", ("f",)), ("GPL", ("b",))]
    assert [(one.licence, one.names) for one in licences.gone] == [("ISC", ("d",))]


def test_entry_points() -> None:
    old = bundle(
        dist("a", entry_points=("console_scripts: run = a:main", "console_scripts: same = a:x", "g: old = a"))
    )
    new = bundle(
        dist("a", entry_points=("console_scripts: run = a.cli:main", "console_scripts: same = a:x")),
        dist("b", entry_points=("h: new = b:c [x]",)),
    )
    found = [(one.distribution, one.entry, one.old, one.new) for one in diff(old, new).entry_points]
    assert found == [
        ("a", "console_scripts: run", "a:main", "a.cli:main"),
        ("a", "g: old", "a", None),
        ("b", "h: new", None, "b:c [x]"),
    ]


def test_files_and_documents() -> None:
    old = bundle(ALPHA, files={"a.py": "1", "b.py": "1", "run": "x"})
    new = bundle(ALPHA, files={"a.py": "2", "c.py": "1", "run": "x"}, documents=())
    new = replace(new, files=tuple(replace(one, executable=one.path.endswith("run")) for one in new.files))
    found = diff(old, new).files
    assert (found.added, found.removed, found.changed, found.unchanged) == (1, 1, 2, 1)
    assert found.paths is not None
    assert found.paths.changed == (f"{SITE}/a.py", f"{SITE}/run")
    assert found.documents == ("verify.py",)
    assert diff(old, new).without_paths().files.paths is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tool": Tool(version="2.0")}, [("tool", "1.0", "2.0")]),
        (
            {"interpreter": Builder(version="3.8.18", conda=True, managed=False)},
            [("interpreter", "3.8.18", "3.8.18 (conda)")],
        ),
        ({"image": "ours"}, [("image", None, "ours")]),
        ({"assumed_libraries": ("libGL.so.1",)}, [("assumed_libraries", None, "libGL.so.1")]),
        ({"relies_on": {"numpy": "1.2"}}, [("relies_on.numpy", None, "1.2")]),
        (
            {
                "checks": (
                    CheckResult(code="EB101", outcome="warned"),
                    CheckResult(code="EB102", outcome="passed"),
                )
            },
            [("verdict", "passed", "warned")],
        ),
        ({"checks": (CheckResult(code="EB102", outcome="passed"),)}, []),
    ],
)
def test_settings(changes: dict[str, Any], told: list[tuple[str, ...]]) -> None:
    found = diff(bundle(ALPHA), bundle(ALPHA, **changes)).settings
    assert [(one.name, one.old, one.new) for one in found] == told


def test_target_and_weaker_proof() -> None:
    new = bundle(ALPHA)
    weaker = replace(new.evidence, isolation=replace(new.evidence.isolation, proof=("moved",)))
    new = replace(new, target=replace(new.target, python="3.8.20", glibc="2.27"), evidence=weaker)
    found = [(one.name, one.old, one.new) for one in diff(bundle(ALPHA), new).settings]
    assert found == [
        ("target.python", "3.8.18", "3.8.20"),
        ("target.glibc", "2.31", "2.27"),
        ("proof", "moved, no-network, read-only", "moved"),
    ]


def test_requirements_as_written() -> None:
    old = bundle(ALPHA, inputs=Inputs(requirements=("a", "b<2"), constraints=("c",), sha256=digest("")))
    new = bundle(ALPHA, inputs=Inputs(requirements=("b<3", "a"), constraints=(), sha256=digest("")))
    difference = diff(old, new)
    assert (difference.requirements.added, difference.requirements.removed) == (("b<3",), ("b<2",))
    assert (difference.constraints.added, difference.constraints.removed) == ((), ("c",))


def test_what_an_old_manifest_does_not_tell_is_no_change() -> None:
    """Schema 1.0 has no licences, entry points, native files and needs."""
    bare = bundle(dist("alpha", licence="", contents=()), needs=Needs())
    full = bundle(dist("alpha", licence="GPL", native=("x.so",), entry_points=("g: a = b",)))
    for old, new in ((bare, full), (full, bare)):
        difference = diff(old, new)
        assert difference.empty
        assert difference.not_compared == ("needs", "licences", "native", "entry_points")
    assert diff(bare, bare).not_compared == ()
    assert of_manifest(bare).releases["alpha"].licence is None
    assert of_manifest(full).releases["alpha"].licence == "GPL"


@pytest.mark.parametrize(
    "field",
    [
        "needs",
        "findings",
        "distributions",
        "licences",
        "native",
        "entry_points",
        "requirements",
        "constraints",
        "settings",
        "files",
    ],
)
def test_each_part_makes_a_difference(field: str) -> None:
    """`empty` must forget none of the fields."""
    everything = _everything()
    nothing = diff(bundle(ALPHA), bundle(ALPHA))
    assert not replace(nothing, **{field: getattr(everything, field)}).empty


def _everything() -> Difference:
    old = bundle(
        ALPHA,
        native("n", "a.so"),
        inputs=Inputs(requirements=("a",), constraints=("c",), sha256=digest("")),
        findings=(finding("EB402"),),
    )
    new = bundle(
        dist("alpha", "2.0", licence="GPL", entry_points=("g: a = b",)),
        native("n", "b.so"),
        dist("beta", required_by=("alpha",)),
        findings=(finding(chain=("x", "alpha")),),
        needs=Needs(symbols=("GLIBC_2.28",)),
        image="ours",
    )
    return diff(old, new)


def test_schema(schema: jsonschema.Draft202012Validator) -> None:
    for difference in (_everything(), _everything().without_paths(), diff(bundle(), bundle())):
        schema.validate(json.loads(json.dumps(difference.as_json())))
    broken = _everything().as_json()
    broken["distributions"][0]["change"] = "improved"
    assert not schema.is_valid(json.loads(json.dumps(broken)))


def test_schema_names_every_member() -> None:
    schema = json.loads(
        files("bundler.report.compare").joinpath("differences.schema.json").read_text(encoding="utf-8")
    )

    def check(value: Any, node: Any, place: str) -> None:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if "anyOf" in node:
            check(value, node["anyOf"][0], place)
        elif isinstance(value, dict):
            assert set(value) == set(node["properties"]), place
            assert set(node["required"]) == set(node["properties"]), place
            for key, one in value.items():
                check(one, node["properties"][key], f"{place}.{key}")
        elif isinstance(value, list):
            for one in value:
                check(one, node["items"], f"{place}[]")

    check(json.loads(json.dumps(_everything().as_json())), schema, "")


def test_everything_is_in_order() -> None:
    """Sets have another order in each process."""
    names = [f"d{number:02}" for number in range(30)]
    paths = {f"{name}/x.so": "" for name in names}
    bare = bundle(needs=Needs(), documents=())
    full = bundle(
        *(native(name, f"{name}/x.so", licence=name, entry_points=(f"g: {name} = x",)) for name in names),
        files=paths,
        needs=Needs(libraries=tuple(names), symbols=tuple(f"{name}_1" for name in names)),
        inputs=Inputs(requirements=tuple(reversed(names)), constraints=(), sha256=digest("")),
        documents=tuple(
            replace(one, path=one.path.rpartition("/")[2]) for one in bundle(*map(dist, names)).files
        ),
    )
    for difference in (diff(bare, full), diff(full, bare)):
        lines = (*difference.requirements.added, *difference.requirements.removed)
        libraries = difference.needs.libraries_added or difference.needs.libraries_removed
        found = difference.files.paths
        assert found is not None
        for listed in (
            [one.name for one in difference.distributions],
            [one.licence for one in difference.licences.new or difference.licences.gone],
            [one.distribution for one in difference.native],
            [one.distribution for one in difference.entry_points],
            [one.family for one in difference.needs.symbols],
            [one for one in lines if one != "alpha"],
            libraries,
            found.added or found.removed,
            difference.files.documents,
        ):
            assert len(listed) >= 30
            assert list(listed) == sorted(listed)
    assert diff(bare, full).needs.suspects == tuple(names)


def test_shortest_chain_and_the_first_by_name() -> None:
    rows = [
        ("z", True, ()), ("b", True, ()), ("c", False, ("z", "b")), ("d", False, ("c", "lost", "b")),
        ("loop", False, ("loop",)), ("e", False, ("lost", "also")), ("asked", True, ("z",)),
    ]  # fmt: skip
    for some in (rows, rows[::-1]):
        assert chains(some) == {
            "asked": ("asked",),
            "b": ("b",),
            "c": ("b", "c"),
            "d": ("b", "d"),
            "e": ("also", "e"),
            "loop": ("loop",),
            "z": ("z",),
        }


def test_worst_findings_first_and_accepted_ones_last() -> None:
    found = [
        finding("EB401", severity="info"), finding("EB402"), finding("EB403", severity="error", accepted=""),
        finding("EB404", severity="error"),
    ]  # fmt: skip
    told = diff(bundle(ALPHA), bundle(ALPHA, findings=tuple(found))).findings
    assert [one.new.code for one in told if one.new] == ["EB404", "EB402", "EB401", "EB403"]


@pytest.mark.thorough
def test_large_bundles_are_compared() -> None:
    many = {f"p{number % 60}/m{number}.py": str(number) for number in range(12_400)}
    old = bundle(ALPHA, files=many)
    new = bundle(ALPHA, files=many | {f"p1/m{number}.py": "new" for number in range(0, 12_400, 60)})
    difference = compare(of_manifest(old), of_manifest(new))
    assert difference.files.unchanged > 12_000
