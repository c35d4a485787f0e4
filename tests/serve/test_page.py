"""The page to drop images on, in a real browser: answers, errors, a phone, and no word to another site."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
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


def test_the_command_that_the_page_shows_is_one_that_the_server_answers(
    browser: Any, address: str, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(digits(1)[0])
    with serving(Trained(small_run(tmp_path / "run")), token="it's right") as guarded:
        for shown in (address, f"{guarded}/?token=it%27s%20right"):
            page = browser.new_page()
            page.goto(shown)
            page.locator("#network", has_text="digits").wait_for()
            words = shlex.split(page.locator("#command").inner_text())
            page.close()
            headers = dict(word.split(": ", 1) for word in words[words.index("-H") + 1 :][:1]) if "-H" in words else {}
            assert words[0] == "curl"
            content = (tmp_path / words[words.index("--data-binary") + 1].removeprefix("@")).read_bytes()
            assert httpx.post(words[-1], content=content, headers=headers).status_code == 200


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
