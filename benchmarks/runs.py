"""Command line > **runs** > benchmarks of them: the directories that it names, and what is said of each run in them."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def said_of_runs(program: str, text: str, score: Callable[[Path], T | None], none: str) -> list[T]:
    """What `score` says of each run below the directories that are given; where that is nothing, the program ends.

    `text` is the program's own docstring, which `--help` shows.
    """
    about, _, more = text.partition("\n\n")
    parser = argparse.ArgumentParser(
        f"python -m benchmarks.{program}",
        description=about,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directories", nargs="+", type=Path, help="runs, studies, or directories of them")
    directories: list[Path] = parser.parse_args().directories
    found = [score(path.parent) for directory in directories for path in sorted(directory.rglob("run.json"))]
    if not (known := [one for one in found if one is not None]):
        sys.exit(f"no finished run {none} there: give directories of runs")
    return known
