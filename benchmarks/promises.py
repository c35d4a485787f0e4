"""Results > **promises** > docs/promises.md: every bar with its command, its last figure, and whether it is met.

`python -m benchmarks.promises` writes the page; with `--quick` it measures the quick lines again first.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import RESULTS

KEPT = Path(__file__).with_name("promises.yaml")
PAGE = Path(__file__).parents[1] / "docs" / "promises.md"
QUICK = ("start:", "throughput: digits", "memory: growth from epoch", "augmentation:", "report: 36 runs")  # 5 minutes
COLUMNS = ("promise", "command", "figure", "met", "measured")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"
INTRODUCTION = """\
# Promises, and whether they hold

What Leyden promises, the command that measures it, the last figure that command gave, and when, where and of which
commit it did: of the lines of `make bench` the one that was measured, of the others the one that wrote the figure
down. A ratio is the median of the repeats in brackets. A promise that is not met says by how much. `make promises`
measures the quick ones again and writes this page anew, from [benchmarks/results.json](../benchmarks/results.json) and
[benchmarks/promises.yaml](../benchmarks/promises.yaml).
"""


def page() -> str:
    """The page's text."""
    chapters: dict[str, list[dict[str, str]]] = yaml.safe_load(KEPT.read_text(encoding="utf-8"))
    parts = [INTRODUCTION]
    for title, promises in chapters.items():
        rows = [
            _row(each["promise"], f"`{each['command']}`", each["figure"], each["met"], _measured(each))
            for each in promises
        ]
        parts.append("\n".join([f"## {title}\n", HEADER, *rows]) + "\n")
    records = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = [_row(*_cells(record)) for record in records]
    parts.append("\n".join(["## Speed and memory\n", HEADER, *rows]) + "\n")
    return "\n".join(parts)


def _cells(record: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """A line of results.json as `COLUMNS`."""
    sign = "≤" if record["at_most"] else "≥"
    is_plain = "the ratio is" in record["against"]  # a figure or a difference, in the line's own unit
    unit = f" {record['unit']}" if is_plain else ""
    promise = f"{record['name']}: {sign} {record['target']:g}{unit}" + ("" if is_plain else f" of {record['against']}")
    missed = abs(record["ratio"] / record["target"] - 1)
    met = "yes" if record["met"] else f"by {100 * missed:.2g} %"
    ratios = record.get("ratios")
    spread = f" ({ratios[0]:.3g} to {ratios[-1]:.3g})" if ratios else ""
    return (
        promise,
        f"`python -m benchmarks '{record['name']}'`",
        f"{record['ratio']:.3g}{unit}{spread}",
        met,
        _measured(record),
    )


def _measured(record: Mapping[str, Any]) -> str:
    """When and where a figure was measured, and of which commit."""
    return f"{record['date']}, {record['machine'].partition(',')[0]}, `{record['commit']}`"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Writes the page, after measuring quick lines if it is asked to; 1 where one of them is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure the quick lines again, minutes")
    is_met = True
    if parser.parse_args().quick:
        from benchmarks.__main__ import measure_lines  # which brings every reference

        is_met = measure_lines(QUICK)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE} is written")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
