"""A comparison as text and as Markdown: what stands first, how short it is, that nothing can be injected."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle.manifest.values import Inputs, Needs
from bundler.report.compare.compare import compare
from bundler.report.compare.difference import Difference, Summary
from bundler.report.compare.locks import of_requirements
from bundler.report.compare.markdown import LIMIT, as_markdown, code, prose
from bundler.report.compare.sections import clean
from bundler.report.compare.sides import of_lock, of_manifest
from bundler.report.compare.text import as_text
from markdown_it import MarkdownIt

from tests.support.bundlemaker import lock, locked
from tests.support.differencemaker import SITE, bundle, digest, dist, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.bundle.manifest.values import Manifest
    from markdown_it.token import Token

OURS = re.compile(r"(<details><summary>[a-z, ]+: \d+</summary>|</details>)\n?")
PAYLOADS = [
    "@octocat please @org/team",
    "#1 owner/repo#2 GH-3 fixes #4",
    "<img src=x onerror=alert(1)>",
    "</summary></details><script>alert(1)</script><!--",
    "[x](https://evil.example) [y][z] [^1]",
    "![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example mail@evil.example ftp://x.example",
    "` `` ``` ````",
    "`</details>`",
    "| a | b |\n| --- | --- |",
    "a\\| b\\\\| c\\",
    "\n\n# heading\n\n- item\n\n---\n",
    "*b* __i__ ~~s~~ $x$ :tada:",
    "&lt;b&gt; &#64;octocat &commat;octocat",
    "\x1b[31m\x07\x00\u202e\u200b\ufeff",
    "\r\n\x85\u2028\u2029x",
    "x" * 10_000,
]
FIXED = {"change", "step", "what", "movement", "severity", "not_compared"}


def diff(old: Manifest, new: Manifest, names: tuple[str, str] = ("old", "new")) -> Difference:
    return compare(of_manifest(old, name=names[0]), of_manifest(new, name=names[1]))


def everything() -> Difference:
    """At least one row of each kind."""
    old = bundle(
        dist("alpha", licence="BSD", entry_points=("console_scripts: run = a:b",)),
        dist("beta", "2.0", required_by=("alpha",)), dist("gamma", licence="ISC"), dist("same"),
        native(dist("numpy", "1.24.4"), "x.libs/libz-1a2b3c4d.so.1", "y.so", "numpy/a.so"),
        files={"numpy/a.so": "1", "old.py": ""},
        needs=Needs(libraries=("libc.so.6", "libz.so.1"), symbols=("CXXABI_1.3.7", "GLIBC_2.17")),
        findings=(finding("EB403", "goes"), finding("EB404", "is accepted", severity="error")),
    )  # fmt: skip
    new = bundle(
        dist("alpha", licence="GPL", entry_points=("console_scripts: run = a.cli:b", "g: x = y")),
        dist("beta", "1.5", required_by=("alpha",)), dist("delta", required_by=("beta",), licence="Zlib"),
        dist("same", built_from=digest("x"), extras=("fast",), yanked="broken"),
        native(dist("numpy", "2.0.1", bytes=5_001_000), "x.libs/libz-99999999.so.1", "z.so", "numpy/a.so"),
        files={"numpy/a.so": "2", "new.py": ""},
        needs=Needs(libraries=("libc.so.6", "libGL.so.1"), symbols=("CXXABI_1.3.5", "GLIBC_2.28")),
        findings=(
            finding("EB401", "alpha", chain=("service", "alpha")),
            finding("EB404", "is accepted", severity="error", accepted="we know"),
        ),
        inputs=Inputs(requirements=("alpha>=1",), constraints=("beta<2",), sha256=digest("")),
        image="ours", documents=(),
    )  # fmt: skip
    return diff(old, new)


def native(one: Any, *paths: str) -> Any:
    return replace(one, native=tuple(f"{SITE}/{path}" for path in paths))


def test_what_matters_most_stands_first() -> None:
    lines = as_text(everything()).splitlines()
    files = "files: 2 added, 2 removed, 3 changed"
    assert lines[:4] == [
        "needs GLIBC_2.28, was GLIBC_2.17",
        "needs libGL.so.1 of the system, and did not before",
        "  native files are new, gone or changed in numpy",
        f"1 added, 1 removed, 1 downgraded, 1 upgraded, 1 changed; 7.0 kB; {files}",
    ]
    titles = [line for line in lines[4:] if line and not line.startswith(" ")]
    assert titles == [
        "findings", "distributions", "licences", "requirements", "constraints", "target, proof and tool",
        "needs of the system", "entry points", "native libraries",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "  + EB401 warning, alpha: it shadows",
        "  ~ EB404 error, accepted, is accepted: was error",
        "  - EB403 warning, goes: gone",
        "  + delta 1.0             +1.0 kB  brought in by alpha → beta → delta",
        "  - gamma 1.0             -1.0 kB",
        "  ↓ beta 2.0 → 1.5                 major",
        "  ↑ numpy 1.24.4 → 2.0.1  +5.0 MB  major",
        "  ~ same 1.0                       built from source, extras none → fast, yanked: broken",
        "  ~ alpha: BSD → GPL",
        "  + Zlib: delta",
        "  - ISC: gamma",
        "  + alpha>=1",
        "  image: none → ours",
        "  needs CXXABI_1.3.5 only, was CXXABI_1.3.7",
        "  no longer needs libz.so.1",
        "  ~ console_scripts: run (alpha): a:b → a.cli:b",
        "  + g: x (alpha)",
        f"  + {SITE}/z.so",
        f"  - {SITE}/y.so",
        "  - alpha",
        "  ~ 1 file under another name",
    ],
)
def test_line(line: str) -> None:
    assert line in as_text(everything()).splitlines()


ONE = dist("alpha", sha256=digest("1"), commit="a" * 40)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": digest("2")}, f"the same version, another file: {digest('1')[:12]} → {digest('2')[:12]}"),
        (
            {"sha256": digest("2"), "filename": "alpha-1.0-1-py3-none-any.whl"},
            "the same version, another file: alpha-1.0-1-py3-none-any.whl",
        ),
        ({"sha256": digest("2"), "filename": ""}, f"another file: {digest('1')[:12]} → {digest('2')[:12]}"),
        ({"commit": "b" * 40}, "commit aaaaaaaaaaaa → bbbbbbbbbbbb"),
        ({"source": "vcs"}, "from index → vcs"),
        ({"index": "https://other.example"}, "index https://index.example/simple → https://other.example"),
        ({"built_from": "x"}, "built from source"),
        ({"requested": False}, "no longer asked for"),
        ({"extras": ("b", "a")}, "extras none → a, b"),
        ({"yanked": ""}, "yanked: no reason given"),
        ({"yanked": "it is broken"}, "yanked: it is broken"),
    ],
)
def test_what_changed_without_the_version(changes: dict[str, Any], said: str) -> None:
    old, new = bundle(ONE), bundle(replace(ONE, **changes))
    assert any(
        line.startswith("  ~ alpha 1.0 ") and line.endswith(said)
        for line in as_text(diff(old, new)).splitlines()
    )
    back = as_text(diff(new, old))
    opposites = {"no longer asked for": "asked for now", "built from source": "no longer built from source"}
    if said in opposites:
        assert f"  {opposites[said]}" in back
    if said.startswith("yanked"):
        assert "  no longer yanked" in back


def test_what_comes_with_something_new() -> None:
    old = bundle(dist("alpha"))
    new = bundle(dist("alpha"), dist("beta", yanked="it is broken", built_from="x"))
    assert "+ beta 1.0  +1.0 kB  yanked: it is broken, built from source, asked for" in as_text(
        diff(old, new)
    )
    assert "was asked for |" in as_markdown(diff(new, old))
    assert "asked for" not in as_text(diff(new, old))


def test_hashes_of_a_lock() -> None:
    sides = [
        of_requirements(
            "".join(["alpha==1", *(f" --hash=sha256:{one * 64}" for one in letters)]).encode(), name="x"
        )
        for letters in ("abc", "de")
    ]
    assert "another file: 3 → 2 hashes" in as_text(compare(*sides))
    assert "not compared" not in as_text(compare(*sides))
    ours = of_lock(lock(locked("alpha")))
    assert "since only one of the two tells it: what brings what in, requirements, target" in as_text(
        compare(sides[0], ours)
    )
    assert "since a lock does not tell it: needs of the system, " in as_text(
        compare(of_manifest(bundle()), ours)
    )


def test_family_that_is_no_longer_needed() -> None:
    needs = [Needs(symbols=("GLIBC_2.17", "GLIBCXX_3.4")), Needs(symbols=("GLIBC_2.17",))]
    old, new = (bundle(native(dist("a"), "a.so"), needs=one) for one in needs)
    assert "  no longer needs GLIBCXX_3.4" in as_text(diff(old, new)).splitlines()
    first = as_text(diff(new, old)).splitlines()[0]
    assert first == "needs GLIBCXX_3.4, and needed nothing of that family before"


def test_nothing_is_said_twice() -> None:
    """A licence that one distribution changed to is in the line of that distribution."""
    assert "  + GPL: alpha" not in as_text(everything())


def test_no_difference() -> None:
    one = bundle(dist("alpha"))
    assert as_text(diff(one, one)) == "no difference"
    assert as_markdown(diff(one, one)) == "### new\n\nNo difference.\n"
    assert "not compared" in as_text(diff(one, bundle(dist("alpha", contents=(), licence=""))))


def test_documents_alone() -> None:
    difference = diff(bundle(dist("alpha")), bundle(dist("alpha"), documents=()))
    assert as_text(difference).splitlines() == [
        "no distribution changed; 1.0 kB", "", "other beside the tree: verify.py",
    ]  # fmt: skip


def test_many_are_cut_and_counted() -> None:
    names = [f"d{number:03}" for number in range(100)]
    old = bundle(*map(dist, names), dist("last", "2.0"))
    difference = diff(old, bundle(*(dist(name, "2.0") for name in names), dist("last", "1.0")))
    text = as_text(difference)
    assert "  ↓ last 2.0 → 1.0" in text
    assert len(text.splitlines()) < 30
    assert "  … 80 more upgraded, see --json" in text
    assert as_text(difference, files=True).count(".py") == 101
    assert ".py" not in text


@pytest.mark.parametrize(("count", "shown"), [(10, 10), (11, 11), (12, 11)])
def test_a_line_is_not_cut_for_a_line_that_says_so(count: int, shown: int) -> None:
    lines = tuple(f"r{number:02}" for number in range(count))
    new = bundle(
        dist("alpha"), inputs=Inputs(requirements=("alpha", *lines), constraints=(), sha256=digest(""))
    )
    text = as_text(diff(bundle(dist("alpha")), new))
    assert len(text.partition("requirements\n")[2].splitlines()) == shown
    assert ("  … 2 more, see --json" in text) is (count == 12)


def test_note_stands_apart() -> None:
    text = as_text(diff(bundle(dist("alpha")), bundle(dist("alpha", "2.0", contents=(), licence=""))))
    assert "\n\nnot compared, since only one of the two tells it: needs" in text


def test_colour_is_the_callers() -> None:
    painted = as_text(everything(), paint=lambda text, role: f"[{role}]{text}")
    assert painted.startswith("[alarm]needs GLIBC_2.28, was GLIBC_2.17\n")
    assert "[removed]  - gamma" in painted
    assert "[added]  + delta" in painted
    assert "[title]distributions" in painted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain-1.0+cpu ünï", "plain-1.0+cpu ünï"),
        ("a\nb\t c", "a b c"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("\u202eevil", "\\u202eevil"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


def parse(text: str) -> list[Token]:
    return MarkdownIt("gfm-like").parse(text)


def leaves(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from leaves(token.children or [])


def hostile(payload: str) -> Difference:
    """Every text that a manifest or lock may bring, replaced."""

    def replaced(value: Any, key: str) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            kept = {"kind"} if isinstance(value, Summary) else set()
            names = {field.name for field in fields(value)} - kept
            return replace(value, **{name: replaced(getattr(value, name), name) for name in names})
        if isinstance(value, tuple):
            return tuple(replaced(one, key) for one in value)
        return payload if isinstance(value, str) and key not in FIXED else value

    made: Difference = replaced(everything(), "")
    return made


@pytest.mark.thorough
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda text: ascii(text[:20]))
def test_nothing_is_injected_into_markdown(payload: str) -> None:
    tokens = list(leaves(parse(as_markdown(hostile(payload), files=True))))
    honest = list(leaves(parse(as_markdown(hostile("x"), files=True))))
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "html_inline", "fence", "code_block", "em_open", "s_open", "hr"}
    for token in tokens:
        if token.type == "html_block":
            assert OURS.sub("", token.content).strip() == ""
        elif token.type == "text":
            # What GitHub looks for in text that is not code.
            assert not re.search(r"@\w|#\d|GH-\d|https?://|www\.", token.content), token.content
    for kind in ("heading_open", "table_open", "tr_open", "td_open", "th_open", "html_block", "strong_open"):
        assert count(tokens, kind) == count(honest, kind), kind


def count(tokens: list[Token], kind: str) -> int:
    return sum(token.type == kind for token in tokens)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda text: ascii(text[:20]))
def test_nothing_is_injected_into_a_terminal(payload: str) -> None:
    text = as_text(hostile(payload), files=True)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ufeff]", text)
    assert len(text.splitlines()) == len(as_text(hostile("x"), files=True).splitlines())


@pytest.mark.parametrize(
    "value",
    ["plain", "a`b", "`a", "a`", "``a``", "`", "a | b", "a \\| b", " x ", "1.0 → 2.0", "*a*", "<b>", "&lt;"],
)
def test_code_shows_the_value_itself(value: str) -> None:
    table = f"| x |\n| --- |\n| {code(value)} |"
    shown = [token.content for token in leaves(parse(table)) if token.type == "code_inline"]
    assert shown == [clean(value).replace("\\|", "\\ |")]


def test_prose_shows_the_sentence_itself() -> None:
    text = "a*b* of @x, see https://x.example/#1 & <b> [c](d) `e`"
    tokens = list(leaves(parse(prose(text))))
    assert (
        "".join(token.content for token in tokens if token.type in ("text", "text_special")).replace(
            "\u200b", ""
        )
        == text
    )


def test_markdown_shows_the_important_unfolded() -> None:
    text = as_markdown(everything())
    top = text.partition("<details>")[0]
    for part in (
        "### new\n",
        "**needs `GLIBC_2.28`, was `GLIBC_2.17`**",
        "| new | `EB401` | warning |",
        "| `1.24.4` | `2.0.1` |",
        "brought in by `alpha → beta → delta`",
    ):
        assert part in top
    assert text.count("<details>") == text.count("</details>") == 6
    assert "`a.cli:b`" in text
    assert f"`{SITE}/new.py`" not in text
    assert f"`{SITE}/new.py`" in as_markdown(everything(), files=True)


def test_many_distributions_are_folded() -> None:
    names = [f"d{number:03}" for number in range(40)]
    text = as_markdown(diff(bundle(*map(dist, names)), bundle(*(dist(name, "2.0") for name in names))))
    assert "<details><summary>distributions: 40</summary>" in text


@pytest.mark.thorough
@pytest.mark.parametrize("limit", [LIMIT, 5_000, 2_000])
def test_github_takes_it_however_much_changed(limit: int) -> None:
    names = [f"distribution-{number:04}" for number in range(2000)]
    old = bundle(*(dist(name, licence=name) for name in names), needs=Needs())
    new = bundle(
        *(dist(name, "2.0", licence=f"{name}-or-later", entry_points=(f"g: {name} = x",)) for name in names),
        needs=Needs(libraries=tuple(names), symbols=("GLIBC_2.28",)),
        findings=tuple(finding(subject=name, cause="x" * 5000) for name in names),
    )
    difference = diff(old, new)
    text = as_markdown(difference, files=True, limit=limit)
    assert limit * 0.5 < len(text) <= limit
    assert "more rows" in text
    assert "Cut, since there is room for" in text
    assert text.count("<details>") == text.count("</details>")
    assert ("licences: 2000" in text.rpartition("Cut, since")[2]) is (limit == 2_000)
    assert (" left out.*" in text) is (limit == 2_000)
    assert "GLIBC_2.28" in text
    assert "- and 1995 more" in text
    tables = [token for token in parse(text) if token.type == "table_open"]
    assert tables


def test_a_limit_that_suffices_cuts_nothing() -> None:
    text = as_markdown(everything(), files=True)
    assert len(text) < LIMIT
    assert as_markdown(everything(), files=True, limit=len(text)) == text
    assert "more row" not in text
    shorter = as_markdown(everything(), files=True, limit=len(text) - 1)
    assert len(shorter) < len(text)
    assert "Cut, since" in shorter
