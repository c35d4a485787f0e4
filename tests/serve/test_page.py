"""The page to drop images on, in a real browser: answers, errors, a phone, and no word to another site."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from browsing import SIZES, needs_browser
from leyden.trained import Trained
from serve.serving import digits, serving
from small_runs import small_run

pytestmark = needs_browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(Trained(small_run(tmp_path_factory.mktemp("runs") / "run"))) as address:
        yield address


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_images_are_answered_on_the_page(size: str, scheme: Any, browser: Any, address: str, tmp_path: Path) -> None:
    files = []
    for number, content in enumerate([*digits(6), b"none"]):
        files.append(tmp_path / f"<b>{number}</b>.png".replace("/", "∕"))
        files[-1].write_bytes(content)
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: one.url.startswith((address, "blob:", "data:")) or said.append(one.url))
    page.goto(address)
    page.locator("#files").set_input_files(files)
    page.locator("#count", has_text="7 of 7").wait_for()
    cards = page.locator("#answers li")
    assert cards.count() == 7
    assert "it is no image of a known format" in cards.nth(0).inner_text()  # the last comes first
    assert "<b>5<∕b>.png" in cards.nth(1).inner_text()
    assert cards.nth(1).locator("tr").count() == 5
    assert "%" in cards.nth(1).locator("td").nth(1).inner_text()
    assert "the run has chosen no temperature" in page.locator("#note").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    page.locator("#clear").click()
    assert cards.count() == 0
    assert [words for words in said if "422" not in words] == []  # the browser itself tells of the refused one
    context.close()
