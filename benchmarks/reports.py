"""What a report costs: seconds, memory, size of the page, and how long a browser takes to show it."""

import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.written_studies import write_study

LARGE: dict[str, Sequence[Any]] = {
    "optimizer": ["sgd", "adam", "rmsprop", "adagrad"],
    "optimizer.lr": [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1],
    "head.dropout": [0.0, 0.2, 0.5],
    "optimizer.weight_decay": [0.0, 1e-4, 1e-2, 1e-1, 1.0],
}  # times three seeds: 1,080 runs
SMALL: dict[str, Sequence[Any]] = {  # 36 runs
    "optimizer": ["sgd", "adam", "rmsprop"],
    "head.dropout": [0.0, 0.2, 0.5, 0.7],
}
CHROMIUM = "/usr/bin/chromium"

TIMED = """
import sys, time
from pathlib import Path
from benchmarks.processes import highest
import leyden.report.write as write, leyden.report.page
begin = time.perf_counter()
write.write_report([Path(sys.argv[1])])
print("measured", time.perf_counter() - begin, highest())
"""


def value(**levels: object) -> float:
    """An accuracy that each factor moves a little."""
    return 0.9 - sum(0.01 * (len(str(level)) % 4) for level in levels.values())


def report_of(directory: Path) -> tuple[float, float]:
    """Seconds, without imports, and peak MiB, with them."""
    done = subprocess.run([sys.executable, "-c", TIMED, str(directory)], capture_output=True, text=True, check=True)
    seconds, peak = re.findall(r"measured (\S+) (\S+)", done.stdout)[0]
    return float(seconds), float(peak)


def small_report() -> float:
    """Seconds for 36 runs of 12 epochs, beside imports."""
    with tempfile.TemporaryDirectory() as directory:
        return report_of(write_study(Path(directory) / "small", SMALL, value))[0]


def large_report() -> tuple[float, float, float, float | None]:
    """Seconds, MiB, MB of the page and seconds until Chromium shows it, for 1,080 runs of 50 epochs."""
    with tempfile.TemporaryDirectory() as directory:
        study = write_study(Path(directory) / "large", LARGE, value, epochs=50)
        seconds, peak = report_of(study)
        page = study / "report.html"
        return seconds, peak, page.stat().st_size / 1e6, seconds_to_show(page)


def seconds_to_show(page: Path) -> float | None:
    """From the address to a page whose first chart and table are drawn and answer; None without Chromium."""
    if not Path(CHROMIUM).exists():
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        begin = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("table tbody tr")
        tab.wait_for_selector(".main-svg")
        tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shown = time.perf_counter() - begin
        browser.close()
    return shown


def num_runs() -> int:
    """Of the large study."""
    return 3 * math.prod(map(len, LARGE.values()))
