"""Interleaved measurements: both sides in one run, several repeats, the median of their ratios.

Timings on a shared machine drift; a ratio of two that were taken one after the other drifts less.
"""

import contextlib
import functools
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from leyden import hardware

REPEATS = 3
RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Line:
    """One row of the table; `ratio`, the median of `ratios` where there are several, is better above `target`, or below
    it where `at_most`.
    """

    name: str
    ours: float
    reference: float
    unit: str
    ratio: float
    target: float
    at_most: bool
    against: str
    ratios: tuple[float, ...] = ()  # of the repeats, the lowest first

    @property
    def met(self) -> bool:
        """Whether the ratio is on the right side of its target."""
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def record(self) -> dict[str, Any]:
        """The row as results.json holds it."""
        where = {"machine": machine(), "date": f"{date.today()}", "commit": commit()}
        return asdict(self) | {"met": self.met, **where}


def compare(
    name: str,
    measure: Callable[[], tuple[float, float]],
    *,
    unit: str,
    target: float,
    against: str,
    at_most: bool = False,
) -> Line:
    """Calls `measure`, which returns our figure and the reference's, `REPEATS` times."""
    pairs = [measure() for _ in range(REPEATS)]
    ratios = sorted(first / second for first, second in pairs)
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    ratio = statistics.median(ratios)
    return Line(name, medians[0], medians[1], unit, ratio, target, at_most, against, tuple(ratios))


def figure(name: str, value: float, unit: str, most: float, against: str = "nothing; the ratio is the figure") -> Line:
    """A row that has no reference: a figure, and what it may be at the most."""
    return Line(name, value, 0.0, unit, value, most, True, against)


def in_turn(ours: Callable[[], float], reference: Callable[[], float]) -> tuple[float, float]:
    """Both sides, one after the other."""
    return ours(), reference()


def is_asked_for(name: str, words: Sequence[str]) -> bool:
    """Whether a line is, or one of those that it gives, `name, more`: by its name or a part of it, all by no words."""
    return not words or any(word in name or word.startswith(f"{name}, ") for word in words)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads of torch in this process, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The processor, its cores and the versions that decide."""
    name = hardware.describe_device("cpu")["name"]
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


@functools.cache
def commit() -> str:
    """The commit of the code that is measured, marked where tracked files differ from it: figures that were written
    by an earlier line are no code.
    """
    but_figures = [".", *(f":(top,exclude){path}" for path in ("benchmarks/results.json", "docs/promises.md"))]
    name, changes = (
        subprocess.run(["git", *words], cwd=RESULTS.parents[1], check=True, capture_output=True, text=True).stdout
        for words in (
            ["rev-parse", "--short=7", "HEAD"],
            ["status", "--porcelain", "--untracked-files=no", "--", *but_figures],
        )
    )
    return name.strip() + ("-dirty" if changes else "")


def show(line: Line) -> str:
    """The row as text."""
    verdict = f"{'≤' if line.at_most else '≥'} {line.target:<6g} {'yes' if line.met else 'NO'}"
    figures = f"{line.ours:12,.5g} {line.reference:12,.5g} {line.unit:9} {line.ratio:8.3f}"
    spread = f"  ({line.ratios[0]:.3f} to {line.ratios[-1]:.3f})" if line.ratios else ""
    return f"{line.name:58} {figures} {verdict}{spread}"
