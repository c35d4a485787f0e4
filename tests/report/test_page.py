"""The page in a real browser: without a network, on a phone, in the dark, on paper, and what one can do with it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from browsing import SIZES, needs_browser
from leyden.report.page import to_html
from leyden.report.write import write_report
from leyden.run import write_atomically
from report.reports import make_report
from report.test_labels import FACTORS as LABELS
from report.test_labels import accuracy, labelled
from written_studies import write_study

pytestmark = needs_browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    report = make_report({"optimizer": ["sgd", "adam", "rmsprop"], "optimizer.lr": [0.001, 0.01, 0.03, 0.1]})
    write_atomically(path, to_html(report))
    return path


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where CI keeps what the page looks like."""
    place = Path(os.environ.get("LEYDEN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture
def open_page(browser: Any, path: Path) -> Iterator[Any]:
    contexts = []

    def show(path: Path = path, **settings: Any) -> Any:
        context = browser.new_context(offline=True, **({"viewport": SIZES["desktop"]} | settings))
        contexts.append(context)
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or page.said.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".main-svg")
        return page

    yield show
    for context in contexts:
        context.close()


def test_page_shows_what_labels_are_worth(open_page: Any, tmp_path: Path, screenshots: Path) -> None:
    _, path = write_report([write_study(tmp_path / "mine", LABELS, accuracy, seeds=range(5), change=labelled)])
    page = open_page(path)
    chart = page.locator('[data-chart="labels"]')
    chart.scroll_into_view_if_needed()
    page.wait_for_selector('[data-chart="labels"] .main-svg')
    assert chart.locator(".legend text").all_text_contents() == ["scratch", "full"]
    assert chart.locator(".xtick text").all_text_contents() == ["10", "20", "100", "1,000"]
    page.screenshot(path=screenshots / "labels.png", full_page=True)
    assert page.locator("#amounts tbody tr").count() == 8
    assert page.said == []
    assert "100 labelled images are enough" in path.with_suffix(".md").read_text(encoding="utf-8")


def look_at_all(page: Any) -> None:
    """Charts are drawn when they come into sight."""
    for section in page.locator("section").all():
        section.scroll_into_view_if_needed()
        page.wait_for_timeout(50)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_page_is_whole_accessible_and_fits(open_page: Any, screenshots: Path, size: str, scheme: str) -> None:
    page = open_page(viewport=SIZES[size], color_scheme=scheme)
    look_at_all(page)
    page.screenshot(path=str(screenshots / f"report_{size}_{scheme}.png"), full_page=True)
    assert page.said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    wanted = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found = Axe().run(page, options=wanted)
    assert found.violations_count == 0, found.generate_report()


def test_each_column_sorts_both_ways(open_page: Any) -> None:
    page = open_page()
    heads = page.locator("#settings thead th")
    for number in range(heads.count()):
        heads.nth(number).locator("button").click()
        first = heads.nth(number).get_attribute("aria-sort")
        heads.nth(number).locator("button").click()
        assert {first, heads.nth(number).get_attribute("aria-sort")} == {"ascending", "descending"}
    rates = page.locator("#settings tbody tr td:nth-child(3)")
    heads.nth(2).locator("button").click()
    assert heads.nth(2).get_attribute("aria-sort") == "ascending"
    shown = [float(text) for text in rates.all_inner_texts()]
    assert shown == sorted(shown)


def test_filter_keeps_the_rows_that_hold_the_words(open_page: Any) -> None:
    page = open_page()
    page.locator('[data-filter="settings"]').fill("rmsprop")
    shown = [row for row in page.locator("#settings tbody tr").all() if row.is_visible()]
    assert len(shown) == 4
    assert all("rmsprop" in row.inner_text() for row in shown)
    assert "4" in page.locator("#settings-count").inner_text()


def test_curves_are_of_the_setting_chosen(open_page: Any) -> None:
    page = open_page()
    look_at_all(page)
    page.locator("#first").select_option(index=2)
    words = page.locator("#curves-words").inner_text()
    page.locator("#second").select_option(index=1)
    page.wait_for_timeout(200)
    assert words != page.locator("#curves-words").inner_text()
    assert page.said == []


def test_curves_are_lines_where_not_every_epoch_validates(open_page: Any, tmp_path: Path) -> None:
    report = make_report({})
    for name in ("val/loss", "val/accuracy"):
        for values in report["curves"][0]["metrics"][name].values():
            values[::2] = [None] * len(values[::2])
    write_atomically(tmp_path / "report.html", to_html(report))
    page = open_page(tmp_path / "report.html")
    look_at_all(page)
    solid = page.locator('[data-chart="curve"] .scatterlayer path.js-line[style*="stroke-width: 2.2px"]')  # validation
    assert [line.get_attribute("d").count("L") for line in solid.all()] == [5, 5]
    assert page.said == []


def test_brush_keeps_the_runs_that_pass_there(open_page: Any) -> None:
    page = open_page()
    place = page.locator("#parallel")
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    every = page.locator("#brushed").inner_text()
    box = place.locator("svg, canvas").first.bounding_box()
    found = False
    for share in (0.02, 0.04, 0.06, 0.08, 0.1, 0.12):  # the first axis lies somewhere here
        x = box["x"] + share * box["width"]
        page.mouse.move(x, box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(x, box["y"] + 0.95 * box["height"], steps=5)
        page.mouse.up()
        page.wait_for_timeout(100)
        if page.locator("#brushed").inner_text() != every:
            found = True
            break
    assert found, every
    page.locator("#unbrush").click()
    assert page.locator("#brushed").inner_text() == every


def test_names_are_text_whatever_they_hold(open_page: Any, tmp_path: Path) -> None:
    report = make_report({"model": ["<img src=x onerror=alert(1)>", '</script>"', "naïve ☃"]})
    write_atomically(tmp_path / "report.html", to_html(report))
    page = open_page(tmp_path / "report.html")
    look_at_all(page)
    assert page.said == []
    assert page.locator("img").count() == 0
    assert "naïve ☃" in page.locator("#settings").inner_text()


def test_page_prints(open_page: Any, screenshots: Path) -> None:
    page = open_page()
    look_at_all(page)
    paper = page.pdf(path=str(screenshots / "report.pdf"))
    assert paper.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator(".control").first.is_visible()


def test_large_study_stays_small_enough(open_page: Any, tmp_path: Path) -> None:
    factors = {
        "optimizer": list("abcdef"),
        "optimizer.lr": [0.1 / 2**place for place in range(8)],
        "depth": list(range(7)),
    }
    write_atomically(tmp_path / "report.html", to_html(make_report(factors, num_epochs=50)))
    assert (tmp_path / "report.html").stat().st_size <= 12e6
    page = open_page(tmp_path / "report.html")
    page.locator('[data-all="settings"]').click()
    assert page.locator("#settings tbody tr").count() == 6 * 8 * 7
    assert page.said == []
