"""The live page in a real browser: curves that grow while it is open, what one can do with it, whatever names hold."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from browsing import SIZES, needs_browser
from live.pages import NAMES, append_rows, serving, write_rows, write_run
from written_studies import write_study

LENGTH = "document.querySelector('.chart[data-metric=\"{}\"]')?.data?.at(-1).x.length"

pytestmark = needs_browser


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def open_page(browser: Any, runs: Path) -> Iterator[Any]:
    """Opens the page of `runs`; `said` are messages and requests that should not be."""
    contexts = []
    with serving(runs) as address:

        def show(hash: str = "", **settings: Any) -> Any:
            context = browser.new_context(**({"viewport": SIZES["desktop"]} | settings))
            contexts.append(context)
            page = context.new_page()
            page.said = []
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.on("request", lambda one: one.url.startswith((address, "data:")) or page.said.append(one.url))
            page.goto(f"{address}{hash}")
            wait_until(page, "document.getElementById('now').textContent")
            return page

        yield show
        for context in contexts:
            context.close()


def wait_until(page: Any, condition: str, seconds: float = 8.0) -> None:
    """As `page.wait_for_function`, which needs what the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition}: {getattr(page, 'said', None)}"
        page.wait_for_timeout(50)


def wait_for_length(page: Any, length: int, metric: str = "loss") -> None:
    wait_until(page, f"{LENGTH.format(metric)} === {length}")


def names(page: Any) -> list[str]:
    shown: list[str] = page.locator("#runs tbody .name").all_inner_texts()
    return shown


def test_a_curve_gets_longer_while_the_page_is_open(runs: Path, open_page: Any) -> None:
    directory = write_run(runs / "one", epochs=5, status="running", metrics={})
    page = open_page()
    wait_for_length(page, 5)
    append_rows(directory, range(5, 8))
    wait_for_length(page, 8)
    wait_until(page, "document.querySelector('#runs tbody').textContent.includes('57.0 %')")
    assert page.said == []


def test_a_curve_that_was_written_anew_is_drawn_anew(runs: Path, open_page: Any) -> None:
    directory = write_run(runs / "one", epochs=9)
    page = open_page()
    wait_for_length(page, 9)
    write_rows(directory, range(4))
    wait_for_length(page, 4)
    write_rows(directory, range(6), ("epoch", "step", "train/loss", "val/loss", "lr"))
    wait_for_length(page, 6)
    page.wait_for_selector('.chart[data-metric="lr"]')
    assert page.locator('.chart[data-metric="accuracy"]').count() == 0
    assert page.said == []


def test_an_empty_directory_fills_by_itself(runs: Path, open_page: Any) -> None:
    page = open_page()
    assert "make train" in page.locator("#nothing").inner_text()
    write_run(runs / "digits" / "one")
    page.wait_for_selector("#runs tbody tr")
    assert not page.locator("#nothing").is_visible()
    wait_for_length(page, 5)
    assert page.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_page_is_accessible_and_fits(runs: Path, open_page: Any, size: str, scheme: str) -> None:
    write_study(runs / "digits" / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0, 1])
    failed = write_run(runs / "digits" / "one", status="failed", reason="ValueError: no")
    (failed / "error.txt").write_text("Traceback\nValueError: no\n", encoding="utf-8")
    (write_run(runs / "digits" / "bad") / "run.json").write_text("{", encoding="utf-8")
    page = open_page("#runs=digits%2Fmine&open=digits%2Fone", viewport=SIZES[size], color_scheme=scheme)
    page.wait_for_selector("#run-error pre")
    page.locator('.chart[data-metric="loss"]').scroll_into_view_if_needed()
    wait_for_length(page, 12)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()
    assert page.said == []


def test_names_are_text_whatever_they_hold(runs: Path, open_page: Any) -> None:
    name = "<img src=x onerror=alert(1)> & %{y} #?"
    directory = write_run(runs / name, status="failed", reason="<b onclick=alert(2)>no</b>")
    for file in ("log.txt", "error.txt", "config.yaml"):
        (directory / file).write_text("<img src=x onerror=alert(3)>\n", encoding="utf-8")
    write_rows(directory, range(3), ("epoch", "step", "val/loss", "val/<img src=x onerror=alert(4)>"))
    page = open_page()
    wait_for_length(page, 3)
    wait_until(page, "document.getElementById('run-error').textContent.includes('<img')")
    page.locator('.chart[data-metric="loss"] .main-svg').first.hover()
    assert names(page) == [name]
    assert "<b onclick=alert(2)>no</b>" in page.locator("#runs").inner_text()
    assert page.locator("img, b").count() == 0
    assert page.said == []


def test_a_damaged_run_is_listed_with_its_sentence(runs: Path, open_page: Any) -> None:
    write_run(runs / "good")
    (write_run(runs / "bad") / "run.json").write_text("{", encoding="utf-8")
    page = open_page()
    row = page.locator("#runs tbody tr", has_text="bad").first
    assert "damaged" in row.inner_text()
    assert "`leyden resume` restores what it can" in row.inner_text()
    wait_for_length(page, 5)


def test_filter_status_and_columns_order_the_table(runs: Path, open_page: Any) -> None:
    for number, status in enumerate(("finished", "failed", "finished")):
        write_run(runs / f"run{number}", status=status, metrics={"test/accuracy": 0.9 - 0.1 * number})
    page = open_page()
    page.locator("#filter").fill("run2")
    assert names(page) == ["run2"]
    page.locator("#filter").fill("")
    page.locator("#status").select_option("failed")
    assert names(page) == ["run1"]
    assert page.locator("#count").inner_text() == "1 of 3 runs"
    page.locator("#status").select_option("")
    page.get_by_role("button", name="test/accuracy").press("Enter")
    assert names(page) == ["run2", "run1", "run0"]
    page.get_by_role("button", name="test/accuracy").press("Enter")
    assert names(page) == ["run0", "run1", "run2"]


def test_minutes_and_hours_that_are_whole_have_nothing_behind_them(runs: Path, open_page: Any) -> None:
    told = {"59 s": 59, "3 min": 180, "3 min 5 s": 185, "2 h": 7200, "2 h 2 min": 7325}
    for number, seconds in enumerate(told.values()):
        write_run(runs / f"run{number}", seconds=seconds)
    page = open_page()
    page.get_by_role("button", name="progress").press("Enter")
    assert page.locator("#runs tbody td:nth-child(3)").all_inner_texts() == [*told]


def test_a_study_is_found_by_each_status_that_it_has(runs: Path, open_page: Any) -> None:
    study = write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    (study / "0000000001" / "run.json").unlink()
    write_run(runs / "one")
    page = open_page()
    page.locator("#status").select_option("waiting")
    assert names(page) == ["mine"]
    page.locator("#status").select_option("finished")
    assert names(page) == ["one", "mine", "optimizer=sgd seed=0"]
    page.locator("#status").select_option("failed")
    assert names(page) == []


def test_runs_of_a_study_are_grouped_by_a_factor(runs: Path, open_page: Any) -> None:
    write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0, 1, 2])
    page = open_page()
    wait_for_length(page, 12)
    assert page.locator("#legend li").count() == 6
    page.locator("#group").select_option("optimizer")
    wait_until(page, "document.querySelectorAll('#legend li').length === 2")
    assert page.locator("#legend").inner_text().splitlines() == [
        "optimizer=adam – mean of 3 runs, band from least to most",
        "optimizer=sgd – mean of 3 runs, band from least to most",
    ]
    assert "by=optimizer" in page.evaluate("location.hash")
    assert page.evaluate("document.querySelector('.chart').data.length") == 2 * 2 * 2  # levels, splits, line and band


def test_groups_are_of_all_runs_of_a_large_study(runs: Path, open_page: Any) -> None:
    write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=range(35), epochs=3)
    page = open_page()
    wait_for_length(page, 3)
    assert page.locator("#legend li").count() == 60
    assert "The first 60 runs are drawn, 10 more are chosen: of a study" in page.locator("#lines").inner_text()
    page.locator("#group").select_option("optimizer")
    wait_until(page, "document.querySelectorAll('#legend li').length === 2")
    assert page.locator("#legend").inner_text().count("mean of 35 runs") == 2
    assert "more are chosen" not in page.locator("#lines").inner_text()
    assert page.said == []


def test_choice_made_while_an_answer_is_under_way_is_shown_whole(runs: Path, open_page: Any) -> None:
    write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=range(35), epochs=3)
    page = open_page()
    wait_for_length(page, 3)
    page.evaluate("""() => {
        window.legends = [];
        const legend = document.querySelector("#legend");
        new MutationObserver(() => legends.push(legend.innerText)).observe(legend, { childList: true });
    }""")
    held: list[Any] = []
    page.route("**/api/metrics?*", lambda route: held.append(route))
    while not held:
        page.wait_for_timeout(20)
    page.locator("#group").select_option("optimizer")
    for route in held:
        route.continue_()
    page.unroute("**/api/metrics?*")
    wait_until(page, "document.querySelectorAll('#legend li').length === 2")
    page.wait_for_timeout(200)
    assert [legend.count("mean of 35 runs") for legend in page.evaluate("legends")] == [2]


def test_what_is_chosen_stays_in_the_address(runs: Path, open_page: Any) -> None:
    write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    write_run(runs / "one", rate=0.1)
    write_run(runs / "two", rate=0.2, started="2026-11-26T13:00:00+00:00")
    page = open_page()
    wait_for_length(page, 5)
    page.get_by_label("choose one").focus()
    page.keyboard.press("Space")
    page.locator("#log").check()
    page.locator("#place").select_option("step")
    page.wait_for_selector("#settings td")
    assert re.findall("0.[12]", page.locator("#settings").inner_text()) == ["0.2", "0.1"]
    again = open_page(page.evaluate("location.hash"))
    wait_for_length(again, 5)
    assert again.locator("#runs input:checked").count() == 2
    chart = again.evaluate(
        "(({ data, layout }) => [data.at(-1).x[0], layout.yaxis.type])(document.querySelector('.chart'))"
    )
    assert chart == [18, "log"]
    again.get_by_label("choose one").uncheck()
    again.get_by_label("choose two").uncheck()
    again.wait_for_selector("#chosen", state="hidden")
    assert page.said + again.said == []


def test_curves_of_layers_are_drawn_where_they_are_asked_for(runs: Path, open_page: Any) -> None:
    layers = ("layers/blocks_0/update_ratio", "layers/head/update_ratio")
    write_rows(write_run(runs / "one"), range(5), (*NAMES, *layers))
    page = open_page()
    wait_for_length(page, 5)
    assert page.locator(".chart[data-metric^=layers]").count() == 0
    page.get_by_label("of each layer").check()
    wait_for_length(page, 5, layers[1])
    again = open_page(page.evaluate("location.hash"))
    wait_for_length(again, 5, layers[0])
    again.get_by_label("of each layer").uncheck()
    wait_until(again, "!document.querySelector('.chart[data-metric^=layers]')")
    assert page.said + again.said == []


def test_a_job_is_left_out_of_its_study(runs: Path, open_page: Any) -> None:
    write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    page = open_page()
    wait_until(page, "document.querySelectorAll('#legend li').length === 2")
    page.get_by_label("choose mine optimizer=sgd seed=0").uncheck()
    wait_until(page, "document.querySelectorAll('#legend li').length === 1")
    assert page.get_by_label("choose mine", exact=True).evaluate("(box) => box.indeterminate")
    page.get_by_label("choose mine", exact=True).check()
    wait_until(page, "document.querySelectorAll('#legend li').length === 2")
    page.get_by_role("button", name="mine", exact=True).press("Enter")
    assert names(page) == ["mine"]


def test_the_report_of_a_study_opens_in_its_sandbox(runs: Path, open_page: Any) -> None:
    study = write_study(runs / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    script = "fetch('/api/runs').then(() => document.title = 'reached', () => document.title = 'refused')"
    (study / "report.html").write_text(f"<title>report</title><script>{script}</script>", encoding="utf-8")
    page = open_page()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="report of mine").click()
    wait_until(opened.value, "document.title === 'refused'")


def test_a_run_in_the_report_of_a_study_leads_to_its_details(runs: Path, open_page: Any) -> None:
    study = write_study(runs / "my study", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    (study / "report.html").write_text('<title>report</title><a href="0000000001/">adam</a>', encoding="utf-8")
    page = open_page()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="report of my study").click()
    opened.value.get_by_role("link", name="adam").click()
    wait_until(opened.value, "document.getElementById('run-facts')?.textContent.includes('my study/0000000001')")
    assert opened.value.locator("#run-heading").inner_text() == "optimizer=adam seed=0"


def test_an_answer_that_broke_off_is_asked_for_again(runs: Path, open_page: Any) -> None:
    write_run(runs / "one")
    page = open_page()
    wait_for_length(page, 5)

    def break_off(route: Any) -> None:
        write_run(runs / "two")
        route.fulfill(response=route.fetch(), body="{")

    page.route("**/api/runs", break_off, times=1)
    wait_until(page, "document.querySelectorAll('#runs tbody .name').length === 2")
    wait_until(page, "document.getElementById('trouble').textContent === ''")


def test_a_server_that_is_gone_is_told(browser: Any, runs: Path) -> None:
    write_run(runs / "one")
    context = browser.new_context()
    page = context.new_page()
    with serving(runs) as address:
        page.goto(address)
        wait_for_length(page, 5)
    wait_until(page, "document.getElementById('trouble').textContent.includes('does not answer')")
    context.close()


def test_the_token_leaves_the_address(browser: Any, runs: Path) -> None:
    write_run(runs / "one")
    context = browser.new_context()
    page = context.new_page()
    with serving(runs, token="right") as address:
        page.goto(f"{address}?token=right")
        wait_for_length(page, 5)
        assert "token" not in page.url
        page.goto(address)
        wait_for_length(page, 5)
        context.close()
