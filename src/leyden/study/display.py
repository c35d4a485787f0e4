"""Loop > **display**: how a study goes, live on a terminal, a line per run elsewhere; and the table of its runs."""

import csv
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leyden.config import REPEATS
from leyden.errors import shown
from leyden.metric_names import HEADLINES, direction
from leyden.run import DONE, say
from leyden.study.job import Job, in_words, short
from leyden.study.record import RESULTS_FILE, Row

SECONDS_BETWEEN_UPDATES = 0.5
MOST_ROWS = 60  # of a table on the terminal; results.csv has all
TAIL_BYTES = 2**16  # of a metrics.csv: more than a row, of many classes too


class Display:
    """Shows how `total` jobs go, `at_once` of them running together."""

    def __init__(self, total: int, at_once: int, monitor: str) -> None:
        self.total, self.num_ended, self.at_once, self.monitor = total, 0, at_once, monitor
        self.seconds_of_timed, self.num_timed = 0.0, 0
        self.next_update = 0.0
        self.live: Any = None
        if sys.stdout.isatty() and total:
            self._begin_live()

    def say(self, text: str) -> None:
        """Prints a line, above what is live."""
        if self.live:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def ended(self, row: Row) -> None:
        """Tells what has become of a job."""
        self.num_ended += 1
        if row.seconds is not None and row.status in DONE:
            self.seconds_of_timed, self.num_timed = self.seconds_of_timed + row.seconds, self.num_timed + 1
        result = _result(row, self.monitor)
        left = self.time_left()
        text = f"[{self.num_ended:{len(str(self.total))}}/{self.total}] {row.status:11}  {in_words(row.job.factors)}"
        text += f"  {result}" if result else ""
        text += f"  {row.seconds:.1f} s" if row.seconds else ""
        text += f"  ({left} left)" if left and not self.live and self.num_ended < self.total else ""
        self.say(text)

    def time_left(self) -> str:
        """An estimate from the jobs that have ended, in words; empty before one has."""
        if not self.num_timed:
            return ""
        rounds = max(0, self.total - self.num_ended) / self.at_once
        return duration(rounds * self.seconds_of_timed / self.num_timed)

    def update(self, jobs: Sequence[Job]) -> None:
        """Shows the jobs that are under way, each with its last metrics."""
        now = time.monotonic()
        if self.live is None or now < self.next_update:
            return
        self.next_update = now + SECONDS_BETWEEN_UPDATES
        from rich.console import Group
        from rich.text import Text

        self.bar.update(self.task, completed=self.num_ended, description=self.time_left())
        shown = jobs[: self.at_once]  # one more may be ready
        lines = [
            Text(f"  {in_words(job.factors) or job.id}  {last_metrics(job.directory)}", overflow="ellipsis")
            for job in shown
        ]
        self.live.update(Group(self.bar, *lines))

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self.live:
            self.bar.update(self.task, completed=self.num_ended, description="")
            self.live.update(self.bar)
            self.live.stop()
            self.live = None

    def _begin_live(self) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.bar = Progress(
            TextColumn("runs"), BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.description}"),
            expand=True,
        )  # fmt: skip
        self.task = self.bar.add_task("", total=self.total, completed=self.num_ended)
        self.live = Live(self.bar, refresh_per_second=4)
        self.live.start()


def duration(seconds: float) -> str:
    """Seconds in words that one grasps: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def last_metrics(directory: Path) -> str:
    """The newest row of a run's metrics.csv, in words; empty where it has none yet."""
    try:
        with (directory / "metrics.csv").open("rb") as file:
            (header,) = csv.reader([file.readline().decode()])
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            whole = file.read().decode(errors="replace").rpartition("\n")[0]  # the rest is a row being written
        (cells,) = csv.reader([whole.rpartition("\n")[2]])
    except (OSError, UnicodeDecodeError, csv.Error):
        return ""
    if len(cells) != len(header) or cells == header:  # a row that begins before what was read, or none yet
        return ""
    row = dict(zip(header, cells, strict=True))
    wanted = ("train/loss", "val/loss", *(f"val/{name}" for name in HEADLINES.values()))
    shown = [name for name in wanted if row.get(name) not in (None, "")]
    return "  ".join([f"epoch {row.get('epoch')}", *(f"{name} {float(row[name]):.4f}" for name in shown)])


def print_table(directory: Path, factors: Sequence[str], rows: Sequence[Row], monitor: str) -> None:
    """One line per run, then one per setting where seeds tell how sure it is; of very many runs the settings alone."""
    wanted = (f"best/{monitor}", *(f"test/{name}" for name in HEADLINES.values()))
    names = [name for name in wanted if any(name in row.metrics for row in rows)]
    if len(rows) <= MOST_ROWS:
        lines = [["id", *factors, "status", "try", "seconds", *names]]
        for row in rows:
            levels = [short(row.job.factors.get(factor, "")) for factor in factors]
            results = [f"{row.metrics[name]:.4f}" if name in row.metrics else "" for name in names]
            seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
            lines.append([row.job.id, *levels, row.status, str(row.attempt or ""), seconds, *results])
        _print_columns(lines)
    else:
        print(f"{len(rows)} runs, each of which has a row in {shown(directory / RESULTS_FILE)}\n")
    swept = [factor for factor in factors if factor not in REPEATS]
    if swept and (len(swept) < len(factors) or len(rows) > MOST_ROWS):
        _print_columns(settings_table(swept, rows, monitor)[: MOST_ROWS + 1])
    for row in rows:
        if row.status in ("failed", "interrupted"):
            print(f"{row.status} {row.job.id} ({in_words(row.job.factors)}): {row.reason}{_where(row)}")
    counts = Counter(row.status for row in rows)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))


def settings_table(swept: Sequence[str], rows: Sequence[Row], monitor: str) -> list[list[str]]:
    """A table of the settings, the best first: mean and standard deviation of the monitored value over their seeds."""
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        if f"best/{monitor}" in row.metrics and row.status in DONE:
            setting = tuple(short(row.job.factors.get(factor, "")) for factor in swept)
            values.setdefault(setting, []).append(row.metrics[f"best/{monitor}"])
    sign = -1 if direction(monitor) == "max" else 1
    lines = [[*swept, "runs", f"best/{monitor}, mean ± standard deviation"]]
    for setting, found in sorted(values.items(), key=lambda item: sign * statistics.mean(item[1])):
        spread = f" ± {statistics.stdev(found):.4f}" if len(found) > 1 else ""
        lines.append([*setting, str(len(found)), f"{statistics.mean(found):.4f}{spread}"])
    return lines if len(lines) > 1 else []


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    if lines:
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        print()


def _where(row: Row) -> str:
    for name in ("error.txt", "output.txt"):
        if (row.directory / name).is_file():
            return f"  [{shown(row.directory / name)}]"
    return ""


def _result(row: Row, monitor: str) -> str:
    if row.status not in DONE:
        return str(row.reason or "")
    best = row.metrics.get(f"best/{monitor}")
    return "" if best is None else f"{monitor} {best:.4f}"
