"""The reports in a real browser: no complaint, no request, nothing cut, on a screen, a phone and paper."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle.manifest.values import Needs
from bundler.report.compare.compare import compare
from bundler.report.compare.sides import of_manifest
from bundler.report.pages.bundle_page import bundle_html
from bundler.report.pages.run_page import run_html

from tests.support.browser import Browser
from tests.support.reportmaker import ACCEPTED, ERROR, REMARK, WARNING, described, dist, many, rows, times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.thorough  # a browser starts, and draws every page several times

LONG = "averyveryverylongwordwithoutanyplacewhereitcouldbebroken" * 6
PAGES = ("bundle", "long", "many", "roots", "empty", "run")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    found = (ERROR, WARNING, ACCEPTED, REMARK)
    new = described(findings=found, needs=Needs(libraries=("libgomp.so.1",), symbols=("GLIBC_2.28",)))
    changes = compare(of_manifest(described(many(9)), name="old"), of_manifest(new, name="new"))
    wordy = replace(ERROR, subject=LONG, cause=f"`{LONG}` {LONG}", remedy=LONG, chain=(LONG, LONG))
    long = described(
        [replace(one, version=LONG, licence=LONG) for one in described().distributions],
        findings=(wordy, replace(wordy, accepted=LONG)),
        image=LONG,
        relies_on={LONG: LONG},
        environment={"PYTHONPATH": LONG},
    )
    listed = [replace(row, changes=changes) if row.state == "built" else row for row in rows()]
    listed.append(replace(listed[2], name=LONG, error=LONG, hint=LONG, place=LONG))
    roots = [dist(f"a-root-with-a-name-{number}") for number in range(64)]
    needed = [dist(f"needed-{number}", 1, roots[number].name) for number in range(20)]
    texts = {
        "bundle": bundle_html(new, changes=changes, import_times=times(), title="scoring", beside=True),
        "long": bundle_html(long, import_times=times(LONG), title=LONG),
        "many": bundle_html(described(many(300))),
        "roots": bundle_html(described([*roots, *needed])),
        "empty": bundle_html(described(())),
        "run": run_html(listed, title="envbundle.toml", when="2024-06-30 02:00 UTC", seconds=75),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_no_complaint_and_no_request(browser: Browser, pages: Path, name: str) -> None:
    browser.open(pages / f"{name}.html")
    assert browser.trouble == []
    assert browser.requests == {(pages / f"{name}.html").as_uri()}


def test_a_complaint_and_a_request_would_be_seen(browser: Browser, pages: Path, tmp_path: Path) -> None:
    text = (pages / "bundle.html").read_text(encoding="utf-8")
    spoilt = text.replace(
        "</main>", '<p style="color:red">x</p><img src="other.png"><script>1</script></main>'
    )
    (tmp_path / "spoilt.html").write_text(spoilt, encoding="utf-8")
    browser.open(tmp_path / "spoilt.html")
    said = " ".join(str(one) for one in browser.trouble)
    assert said.count("Content Security Policy") >= 3
    (tmp_path / "free.html").write_text(re.sub(r"<meta http-equiv.*?>", "", spoilt), encoding="utf-8")
    browser.open(tmp_path / "free.html")
    assert (tmp_path / "other.png").as_uri() in browser.requests


AREAS = """
[...document.querySelectorAll("svg.map")].filter(map => map.getBoundingClientRect().width).map(map =>
  [...map.querySelectorAll("rect[data-bytes]")].map(rect => {
    const box = rect.getBoundingClientRect();
    return [Number(rect.dataset.bytes), box.width, box.height];
  }))
"""


@pytest.mark.parametrize("name", ["bundle", "many", "run"])
@pytest.mark.parametrize("width", [1280, 375])
def test_areas_match_sizes_as_drawn(browser: Browser, pages: Path, name: str, width: int) -> None:
    browser.open(pages / f"{name}.html", width=width)
    drawn = browser.said(AREAS)
    assert len(drawn) == 1, "one picture, for this width"
    total = sum(size for size, _, _ in drawn[0])
    area = sum(width * height for _, width, height in drawn[0])
    assert (
        total == {"bundle": 111_760_000, "many": sum(one.bytes for one in many(300)), "run": 14_000_000}[name]
    )
    for size, wide, high in drawn[0]:
        # Coordinates are rounded to a hundredth of a unit.
        assert abs(wide * high - size / total * area) <= 0.02 * (wide + high) + 0.01


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("width", "media"), [(375, "screen"), (320, "screen"), (800, "screen"), (690, "print")]
)
def test_nothing_is_cut(browser: Browser, pages: Path, name: str, width: int, media: str) -> None:
    browser.open(pages / f"{name}.html", width=width, media=media)
    assert browser.said("document.documentElement.scrollWidth") <= width
    beyond = browser.said(
        "[...document.querySelectorAll('main *, header *')].filter(one => !one.closest('svg, .scroll') && "
        f"getComputedStyle(one).position !== 'absolute' && one.getBoundingClientRect().right > {width} + 1)"
        ".map(one => one.outerHTML.slice(0, 200))"
    )
    assert beyond == []


@pytest.mark.parametrize("name", ["bundle", "many", "roots"])
def test_graph_is_whole(browser: Browser, pages: Path, name: str) -> None:
    browser.open(pages / f"{name}.html")
    port = "document.querySelector('.scroll')"
    assert browser.said(f"{port}.scrollHeight - {port}.clientHeight") == 0
    assert browser.said(f"{port}.scrollWidth - {port}.clientWidth") == 0
    drawn = browser.said("document.querySelector('.graph text').getBoundingClientRect().height")
    assert drawn > 11, "letters of 10 pixels and more"


CONTRAST = """
(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = parts => {
    const [r, g, b] = parts.slice(0, 3).map(one => {
      one /= 255;
      return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = one => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  let seen = 0;
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || one.closest("script, style, svg") || !one.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    seen += 1;
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(one.outerHTML.slice(0, 120));
  }
  return [seen, poor, light(behind(document.body))];
})()
"""


@pytest.mark.parametrize("name", ["bundle", "run"])
@pytest.mark.parametrize(("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_text_can_be_read(browser: Browser, pages: Path, name: str, scheme: str, media: str) -> None:
    browser.open(pages / f"{name}.html", scheme=scheme, media=media)
    seen, poor, paper = browser.said(CONTRAST)
    assert seen > 50
    assert poor == []
    assert (paper < 0.05) is (scheme == "dark" and media == "screen")


CLICK = (
    "document.querySelector('{}').dispatchEvent(new MouseEvent('click', {{bubbles: true, cancelable: true}}))"
)


@pytest.mark.parametrize("picture", [".graph", ".map.wide"])
def test_click_tells_the_chain(browser: Browser, pages: Path, picture: str) -> None:
    browser.open(pages / "bundle.html")
    assert browser.said("[...document.querySelectorAll('.why')].every(one => one.hidden)")
    browser.said(CLICK.format(f'{picture} a[href="#d-python-dateutil"]'))
    shown = browser.said(
        "[...document.querySelectorAll('.why')].map(one => one.hidden ? '' : one.textContent)"
    )
    assert len(shown) == 2
    assert all("pandas → python-dateutil" in text for text in shown)
    assert "requests" not in shown[0]
    assert browser.said("document.querySelector('tr.picked').id") == "d-python-dateutil"
    assert browser.said("document.querySelectorAll('.graph .lines .on').length") == 1
    assert browser.said("document.querySelector('[data-choose]').value") == "d-python-dateutil"


def test_choice_tells_every_chain(browser: Browser, pages: Path) -> None:
    browser.open(pages / "bundle.html")
    browser.said(
        "(one => { one.value = 'd-numpy'; one.dispatchEvent(new Event('change')) })"
        "(document.querySelector('[data-choose]'))"
    )
    shown = browser.said("document.querySelectorAll('.why')[1].innerText")
    assert "asked for" in shown
    assert "pandas → numpy" in shown


def test_without_scripts_links_lead_to_the_row(browser: Browser, pages: Path) -> None:
    browser.open(pages / "bundle.html", scripts=False, fragment="#d-six")
    assert browser.trouble == []
    assert browser.said("document.querySelector('tr:target').innerText.includes('pandas → python-dateutil')")
    for hidden in (".for-script", ".why", ".filter", ".sorter"):
        assert browser.said(f"[...document.querySelectorAll('{hidden}')].every(one => !one.offsetParent)")
    assert browser.said("document.querySelector('.graph a[href=\"#d-six\"]') !== null")


def test_pictures_are_one_stop_of_the_keyboard(browser: Browser, pages: Path) -> None:
    browser.open(pages / "bundle.html")
    assert browser.said("document.querySelectorAll('.map.wide a[tabindex=\"0\"]').length") == 1
    browser.said("document.querySelector('.map.wide a').focus()")
    first = browser.said("document.activeElement.getAttribute('href')")
    browser.press("ArrowRight")
    assert browser.said("document.activeElement.getAttribute('href')") != first
    browser.press("ArrowLeft")
    assert browser.said("document.activeElement.getAttribute('href')") == first
    browser.press("Tab")
    assert browser.said("document.activeElement.closest('.map') === null")


def test_table_can_be_sorted_and_filtered(browser: Browser, pages: Path) -> None:
    browser.open(pages / "many.html")
    names = (
        "[...document.querySelectorAll('#distributions tbody tr:not([hidden])')].map(one => one.dataset.name)"
    )
    assert browser.said(names)[:2] == ["dist-000", "dist-001"]
    browser.said(CLICK.format("#distributions th:nth-child(3) .sorter"))
    assert browser.said(names)[0] == "dist-000"
    browser.said(CLICK.format("#distributions th:nth-child(3) .sorter"))
    assert browser.said(names)[0] == "dist-299"
    assert browser.said("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    browser.said(
        "(one => { one.value = 'DIST-12'; one.dispatchEvent(new Event('input')) })"
        "(document.querySelector('.filter input'))"
    )
    assert {name for name in browser.said(names) if "dist-12" in name} >= {
        f"dist-12{digit}" for digit in range(10)
    }
    assert len(browser.said(names)) < 60


@pytest.mark.parametrize("name", PAGES)
def test_paper(browser: Browser, pages: Path, name: str) -> None:
    browser.open(pages / f"{name}.html", scheme="dark")
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 10_000


def test_remarks_are_printed_unopened(browser: Browser, pages: Path) -> None:
    visible = "document.querySelector('details .finding').checkVisibility()"
    browser.open(pages / "bundle.html", scripts=False)
    assert browser.said(visible) is False
    browser.open(pages / "bundle.html", scripts=False, media="print")
    assert browser.said(visible) is True


def test_picture_is_no_blank(browser: Browser, pages: Path, tmp_path: Path) -> None:
    browser.open(pages / "bundle.html")
    browser.picture(tmp_path / "page.png")
    assert len((tmp_path / "page.png").read_bytes()) > 50_000
