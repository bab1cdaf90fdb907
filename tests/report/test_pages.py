"""The reports: what they say, that what is hostile stays in its place, the same bytes whoever makes them."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from bundler.bundle.manifest.values import Content, ManifestAttestations, Needs, Tool
from bundler.model import CheckResult, FileFact, Finding
from bundler.report.compare.compare import compare
from bundler.report.compare.sides import of_manifest
from bundler.report.pages import embedded_page, page
from bundler.report.pages.bundle_page import DOCUMENTS, bundle_html
from bundler.report.pages.changes import changed, headline, versions
from bundler.report.pages.run_page import RunRow, run_html

from tests.support.reportmaker import (
    ACCEPTED,
    ERROR,
    REMARK,
    WARNING,
    described,
    dist,
    evidence,
    many,
    rows,
    times,
)

if TYPE_CHECKING:
    from bundler.bundle.manifest.values import Manifest
    from bundler.report.compare.difference import Difference

INLINE = {"a", "code", "strong"}
VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}
ATTACK = (
    "\"'></script></style><script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>{{ 7*7 }}&\\"
)
STYLE = (Path(page.__file__).parent / "report.css").read_text(encoding="utf-8")


class Page(HTMLParser):
    """A page taken apart; fails where its elements are not nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag not in {*INLINE, *VOID}:
            self.said += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag not in INLINE:
            self.said += " "

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.said += data

    @property
    def text(self) -> str:
        return " ".join(self.said.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def difference(old: Manifest, new: Manifest) -> Difference:
    return compare(of_manifest(old, name="old"), of_manifest(new, name="new"))


def sound(html: str) -> Page:
    """Take a page apart and hold it to what every page must be."""
    seen = Page(html)
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes.get("href") or "" for attributes in seen.all("a")]
    assert [link for link in links if link.startswith("#") and link[1:] not in ids] == []
    names = {name for _, attributes in seen.elements for name in attributes}
    assert not {
        name for name in names if name.startswith("on") or name in {"src", "style", "srcset", "action"}
    }
    assert (len(seen.all("script")), len(seen.all("style")), len(seen.all("h1"))) == (1, 1, 1)
    assert [attributes["href"] for attributes in seen.all("link")] == ["data:,"]
    return seen


def full() -> str:
    """A page with every section."""
    new = described(
        findings=(ERROR, WARNING, ACCEPTED, REMARK),
        relies_on={"scipy": "1.0"},
        assumed_libraries=("libgomp.so.1",),
        image="an-image",
    )
    return bundle_html(
        new, changes=difference(described(), new), import_times=times(), title="scoring", beside=True
    )


# --- the verdict ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("findings", "said", "unsaid"),
    [
        (
            (),
            ["Proved for CPython 3.8.18 on x86_64 with glibc 2.31", "Nothing stands against"],
            ["Not proved"],
        ),
        (
            (WARNING,),
            ["Proved for", "1 warning", "is yanked", "Pin another."],
            ["Not proved", "Nothing stands"],
        ),
        ((ERROR, WARNING), ["Not proved for", "1 error", "1 warning", "Brought in by pandas → numpy"], []),
        (
            (ACCEPTED,),
            ["Proved for", "but what was accepted", "Accepted: not used"],
            ["Not proved", "Remedy:"],
        ),
        ((REMARK,), ["Proved for", "1 remark", "Call by path."], ["Not proved", "warning"]),
    ],
)
def test_verdict(findings: tuple[Finding, ...], said: list[str], unsaid: list[str]) -> None:
    seen = sound(bundle_html(described(findings=findings)))
    assert [text for text in said if text not in seen.text] == []
    assert [text for text in unsaid if text in seen.text] == []


@pytest.mark.parametrize(
    ("proof", "said", "limits"),
    [
        (("moved", "no-network", "read-only"), "from a read-only tree and without a network", False),
        (("moved",), "could not import the modules from a read-only tree or without a network", True),
        (("hidden",), "do it: in place.", True),
    ],
)
def test_strength_of_the_proof_is_told(proof: tuple[str, ...], said: str, *, limits: bool) -> None:
    text = sound(bundle_html(described(evidence=evidence(*proof)))).text
    assert said in text
    assert ("The machine that built it could not" in text) is limits


def test_every_section_says_what_it_must() -> None:
    text = sound(full()).text
    for said in (
        "scoring", "libz.so.1", "GLIBC_2.17", "libopenblas.so.3", "yanked: broken", "built from source",
        "with extras socks", "libgomp.so.1", "scipy 1.0", "an-image", "Unknown", "BSD-3-Clause",
        "pandas 300 ms", "Measured by hand.", "AZUREML_EXTRA_PYTHON_LIB_PATH", "since old",
        "3333333333333333", "pylock.toml",
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize(
    ("title", "heading", "asked"),
    [("", "pandas, requests", False), ("scoring", "scoring", True)],
)
def test_title_and_heading_have_the_name(title: str, heading: str, *, asked: bool) -> None:
    distributions = [dist("pandas"), dist("requests"), dist("six", 1, "pandas")]
    html = bundle_html(described(distributions), title=title)
    assert f"<title>{heading}, for Python 3.8: proved</title>" in html
    assert f"<h1>{heading}</h1>" in html
    assert ('<p class="subject">pandas, requests</p>' in html) is asked
    assert ", for Python 3.8: not proved</title>" in bundle_html(described(findings=(ERROR,)))
    assert "<h1>An empty bundle</h1>" in bundle_html(described(()))
    many_roots = bundle_html(described([dist(name) for name in "abcdef"]))
    assert "<h1>a, b, c and 3 more</h1>" in many_roots


def test_of_a_frozen_list_only_the_roots_were_asked_for() -> None:
    frozen = [
        dist("pandas", requested=True, root=True),
        dist("python-dateutil", 1, "pandas", requested=True),
        dist("six", 1, "python-dateutil", requested=True),
    ]
    html = bundle_html(described(frozen))
    text = sound(html).text
    assert "Distributions 3 1 asked for" in text
    assert "The requirements name 2 distributions more, as pip freeze does: since others there" in text
    assert "six 1.0 1 B pandas → python-dateutil" in text
    assert html.count('class="asked"') == 1
    assert html.count('<a class="node requested"') == 1
    assert "pip freeze" not in sound(bundle_html(described())).text


def test_licences_are_grouped_unknown_first() -> None:
    distributions = [
        dist("a", licence="MIT"), dist("b", licence="mit"), dist("c", licence="Apache-2.0"),
        dist("d", licence=""), dist("e", licence=f"Copyright (c) {'x' * 100}\n\nPermission is granted"),
    ]  # fmt: skip
    text = sound(bundle_html(described(distributions))).text
    part = text[text.index("Licences As each") :]
    assert part.index("Unknown") < part.index("MIT 2 a, b") < part.index("Apache-2.0 1 c")
    assert "Permission" not in part
    assert "xx… 1 e" in part


def test_publishers_stand_beside_the_names() -> None:
    document = FileFact(path="attestations/six.provenance", sha256="3" * 64, size=1)
    identity = {"kind": "GitHub", "repository": "benjaminp/six", "workflow": "<b>.yml"}
    six = ManifestAttestations(
        name="six", sha256="3" * 64, document=document.path, identities=(identity, identity)
    )
    distributions = (dist("six", 1), dist("pandas"))
    page = bundle_html(described(distributions, attestations=(six,), documents=(document,)))
    text = sound(page).text
    assert "six published by GitHub:benjaminp/six@<b>.yml 1.0" in text
    assert text.count("published by") == 1
    assert "who published the files of 1 distribution (PEP 740)" in text
    assert document.path not in text
    assert "PEP 740" not in sound(bundle_html(described(distributions))).text


@pytest.mark.parametrize("distributions", [(), (dist("only", 0),), (dist("only", 5),)])
def test_small_and_empty_bundles(distributions: tuple[Any, ...]) -> None:
    bare = described(distributions, needs=Needs(), documents=(), checks=(), evidence=evidence())
    seen = sound(bundle_html(bare))
    assert "the bundle has no native code" in seen.text


def test_chain_stands_in_the_table_without_a_script() -> None:
    seen = sound(bundle_html(described()))
    row = next(one for one in seen.all("tr") if one.get("id") == "d-six")
    assert row["data-above"] == "d-python-dateutil"
    assert "six yanked: broken 1.0 60.0 kB pandas → python-dateutil python-dateutil" in seen.text


# --- what is hostile stays in its place -------------------------------------------------------------


def hostile(text: str) -> Manifest:
    finding = Finding(
        code="EB301", severity="error", subject=text, cause=text, remedy=text, chain=(text, "b", text)
    )
    one = dist(
        text, 7, version=text, licence=text, yanked=text, extras=(text,), native=(f"lib/{text}", "x.abi3.so"),
        contents=(Content(text, 1, 4), Content("y", 1, 3)), filename=text, url=text, index=text,
    )  # fmt: skip
    other = dist("b", 9, text, built_from=text)
    return described(
        (one, other),
        findings=(finding, replace(finding, accepted=text), replace(finding, severity="info")),
        image=text,
        needs=Needs(libraries=(text,), symbols=(text,)),
        assumed_libraries=(text,),
        relies_on={text: text},
        environment={"PYTHONPATH": text, text: text},
        documents=(FileFact(path=text, sha256="3" * 64, size=1),),
        tool=Tool(version=text),
    )  # fmt: skip


@pytest.mark.parametrize("text", [ATTACK, "javascript:alert(1)", "`<b>`<i>", "<!--", "]]>", "&lt;script&gt;"])
def test_hostile_text_is_text(text: str) -> None:
    bad = hostile(text)
    changes = difference(described(), bad)
    for html in (
        bundle_html(bad, changes=changes, import_times=times(text), title=text, beside=True),
        run_html(
            [
                RunRow(name=text, bundle=text, state=state, place=text, reason=text, build=text, error=text,
                       hint=text, findings=bad.findings, changes=changes, report=text, size=5)
                for state in ("failed", "built")
            ],
            title=text,
            when=text,
        ),
    ):  # fmt: skip
        seen = sound(html)
        assert not seen.all("img")
        assert {"alert(1)" in str(value) for one in seen.all("script") for value in one.values()} <= {False}
        for attributes in seen.all("a"):
            assert re.fullmatch(r"(#|manifest\.json|[\w%./-]+$).*", attributes["href"] or ""), attributes
        assert text.replace("`", "") in seen.said.replace("`", "")


def test_a_traceback_is_set_as_code() -> None:
    trace = 'File "lib/a.py", line 1, in <module>\n  import b\nImportError: `b`'
    html = bundle_html(described(findings=(replace(WARNING, cause=f"by itself it fails:\n{trace}"),)))
    assert '<p class="cause">by itself it fails:</p>' in html
    shown = html.partition('<pre class="trace">')[2].partition("</pre>")[0]
    assert shown.replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">") == trace
    plain = bundle_html(described(findings=(replace(WARNING, cause="one\ntwo"),)))
    assert '<pre class="trace">' not in plain


def test_marks_that_deceive_are_shown() -> None:
    deceiving = replace(WARNING, subject="safe\u202eslx.exe\ud800\x00", cause="`zero\u200bwidth`")
    html = bundle_html(described(findings=(deceiving,)))
    html.encode()
    text = sound(html).text
    assert "safe\ufffdslx.exe\ufffd\ufffd" in text
    assert "zero\ufffdwidth" in text


def test_template_cannot_show_what_is_not_there() -> None:
    for template in ("{{ missing }}", "{{ one }}"):
        with pytest.raises(jinja2.UndefinedError):
            page._environment().from_string(template).render(one=None)


def test_policy_names_exactly_what_the_page_holds() -> None:
    seen = sound(full())
    policy = next(
        one["content"] or "" for one in seen.all("meta") if one.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("sha256-") == 2
    assert "unsafe" not in policy
    assert "http" not in re.sub(r"https?://(www\.w3\.org|docs\.)\S*", "", STYLE)


# --- the same bytes -------------------------------------------------------------------------------------


PROGRAM = """
import sys
from tests.support.reportmaker import *
from bundler.report.pages import embedded_page as own
sys.stdout.write(own.render(described(findings=(ERROR, WARNING, ACCEPTED, REMARK))))
"""


@pytest.mark.thorough
def test_same_bytes_anywhere(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    pages = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONPATH": root, "PYTHONHASHSEED": seed, "TZ": zone, "LANG": language, "PYTHONUTF8": "1"},
            cwd=folder,
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone, language, folder in (
            ("1", "UTC", "C", tmp_path),
            ("2", "Asia/Tokyo", "de_DE.UTF-8", Path(root)),
        )
    }
    assert len(pages) == 1
    assert root.encode() not in pages.pop()


class Kept(dict[str, str]):
    """Texts as a store keeps them."""

    def text(self, key: str) -> str | None:
        return self.get(key)

    def keep_text(self, key: str, text: str) -> None:
        self[key] = text


def test_own_report_is_kept_for_the_same_manifest_alone() -> None:
    kept = Kept()
    first = embedded_page.render(described(), texts=kept)
    assert embedded_page.render(described(), texts=kept) == first == embedded_page.render(described())
    assert len(kept) == 1
    for other in (
        described(image="x"),
        described(findings=(WARNING,)),
        described(files=described().files[1:]),
        described(documents=()),
    ):
        assert embedded_page.render(other, texts=kept) != first
    assert len(kept) == 5
    kept[next(iter(kept))] = "kept"
    assert embedded_page.render(described(), texts=kept) == "kept"


def test_size_and_hundreds() -> None:
    assert len(bundle_html(described(many(55)), beside=True).encode()) < 300_000
    assert "400 distributions" in sound(bundle_html(described(many(400)))).text


# --- words and colours ------------------------------------------------------------------------------------


def test_words_are_those_of_the_project() -> None:
    assert DOCUMENTS.keys() >= {
        "pylock.toml",
        "requirements.lock",
        "sbom.cdx.json",
        "verify.py",
        "report.html",
    }


def luminance(colour: str) -> float:
    """Relative luminance: https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[scheme]))
    pairs = [
        *itertools.product(("ink", "soft", "accent", "good", "warn", "bad"), ("paper", "panel")),
        *itertools.product(("ink", "soft"), ("tile", "rest")),
        *itertools.product(("ink", "soft", "accent"), ("tint",)),
        ("ink", "asked"),
    ]
    poor = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}


# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency
# (2009), severity 1.0; in linear RGB.
SIGHTS = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.052)),
    "no green": ((0.3673, 0.8606, -0.228), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.969)),
    "no blue": ((1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039)),
}  # fmt: skip


def lab(colour: str, sight: str) -> list[float]:
    """The colour as CIE 1976 L*a*b*, as somebody sees it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    seen = [min(1, max(0, sum(map(mul, row, linear)))) for row in SIGHTS[sight]]
    rows = ((0.4124, 0.3576, 0.1805, 0.9505), (0.2126, 0.7152, 0.0722, 1), (0.0193, 0.1192, 0.9505, 1.089))
    x, y, z = (sum(map(mul, row, seen)) / row[3] for row in rows)
    fx, fy, fz = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)]


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_distinguish(scheme: int, sight: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[scheme]))
    for other in ("tile", "rest", "paper"):
        assert math.dist(lab(colours["asked"], sight), lab(colours[other], sight)) > 20, other
    # The pair that was too much alike.
    assert math.dist(lab("#d3e3f5", sight), lab("#e6e9ed", sight)) < 20


def test_contrast_can_fail() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#888888") < 4.5


# --- what changed -----------------------------------------------------------------------------------------


def test_changes() -> None:
    old = described()
    distributions = [
        replace(one, version="2.0", bytes=one.bytes + 3_000_000) if one.name == "pandas" else one
        for one in old.distributions
        if one.name != "idna"
    ] + [dist("zipp", 40_000, "pandas")]
    new = described(
        distributions,
        findings=(ERROR,),
        needs=Needs(libraries=("libc.so.6", "libgomp.so.1"), symbols=("GLIBC_2.28",)),
        checks=(CheckResult(code="EB301", outcome="failed"),),
    )
    what = difference(old, new)
    assert headline(what).startswith("1 added, 1 removed, 1 upgraded; +")
    assert versions(what) == ("\N{MINUS SIGN} idna 1.0", "pandas 1.0 → 2.0", "+ zipp 1.0")
    view = changed(what)
    assert [word for word, _ in view.findings] == ["new"]
    assert any("GLIBC_2.28 is needed of the image, GLIBC_2.17 was" in one for one in view.alarms)
    assert any("libgomp.so.1" in one for one in view.alarms)
    lists = dict(view.lists)
    assert lists["No longer needed of the image"] == ("libz.so.1",)
    text = sound(bundle_html(new, changes=what)).text
    assert "The image must have more than before." in text
    assert "upgraded (major)" in text


def test_nothing_changed() -> None:
    text = sound(bundle_html(described(), changes=difference(described(), described()))).text
    assert "What changed since old Nothing." in text
    assert "What changed" not in sound(bundle_html(described())).text


# --- the run ----------------------------------------------------------------------------------------------


def test_run() -> None:
    built = replace(rows()[1], changes=difference(described(), described(many(7))))
    seen = sound(
        run_html([*rows()[:1], built, *rows()[2:]], title="envbundle.toml", when="today", seconds=75)
    )
    text = seen.text
    for said in (
        "2 of 6 bundles failed", "Failed 1", "Not proved 1", "Built 1", "Would be built 1", "Unchanged 1",
        "envbundle.toml, today, 1 min 15 s", "no such distribution: gone", "Hint: ask pip",
        "envbundle.toml:7",
        "To be seen to by whoever wrote the requirements. Build 3333333333333333 stays current.",
        "There is no current build.", "needs GLIBC_2.34", "the lock changed", "and 10 more",
    ):  # fmt: skip
        assert said in text, said
    order = [
        text.index(f"{name} ", text.index("Bundles Bundle"))
        for name in ("b-py38", "c-py38", "a-py38", "a-py37")
    ]
    assert order == sorted(order)
    assert {one["href"] for one in seen.all("a") if (one["href"] or "").endswith(".html")} == {
        "a-py38/builds/2.html"
    }


@pytest.mark.parametrize(
    ("states", "dry", "headline"),
    [
        ((), False, "There was nothing to do"),
        (("unchanged",), False, "Nothing changed"),
        (("unchanged", "built"), False, "1 of 2 bundles built, every one proved"),
        (("built", "built"), False, "Every bundle built and proved"),
        (("failed",), False, "The bundle failed"),
        (("failed", "built", "not-proved"), False, "2 of 3 bundles failed"),
        (("would-build", "unchanged"), True, "1 of 2 bundles would be built"),
    ],
)
def test_headline_of_a_run(states: tuple[Any, ...], headline: str, *, dry: bool) -> None:
    listed = [RunRow(name=f"{number}", bundle="a", state=state) for number, state in enumerate(states)]
    seen = sound(run_html(listed, dry=dry))
    assert headline in seen.text
    assert ("bad" in str(seen.all("svg")[0]["class"])) is bool({"failed", "not-proved"} & set(states))
