"""Files > **metrics** > runs, curves: a metrics.csv that grows, of which only what is new is read and sent."""

import contextlib
import csv
import io
import math
import os
import secrets
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

from leyden.live.files import Stamp, stamp_in, stamp_of
from leyden.metric_names import is_of_one_class, is_of_one_layer, is_percentage

MOST_FILES = 512  # that are kept in memory
ENDING_BYTES = 256  # of what was read last: where they still stand there, the file was continued
PLACES = ("epoch", "step")  # of a row


class MetricsFile:
    """The columns of one metrics.csv, as long as all whole rows that it has.

    `version` changes when rows may have: where the file was written anew, with a new column or by a resumed run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp: Stamp | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.version = secrets.token_hex(6)
        self.offset, self.ending = 0, b""
        self.names: list[str] = []
        self.columns: dict[str, list[float | None]] = {}

    @property
    def num_rows(self) -> int:
        return len(self.columns[self.names[0]]) if self.names else 0

    def refresh(self) -> None:
        """Takes in what has been written since the last time."""
        stamp = stamp_of(self.path)
        if stamp == self.stamp:
            return
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())  # another may have taken its place since
                if not self._is_continued(file, found):
                    self._begin_anew()
                file.seek(self.offset)
                self._take(file.read())
                self.stamp = stamp_in(found)
        except OSError:
            self.stamp = None
            self._begin_anew()

    def _is_continued(self, file: BinaryIO, found: os.stat_result) -> bool:
        if self.stamp is None or found.st_ino != self.stamp[2] or found.st_size < self.offset:
            return False
        file.seek(self.offset - len(self.ending))
        return file.read(len(self.ending)) == self.ending

    def _take(self, written: bytes) -> None:
        whole = written[: written.rfind(b"\n") + 1]  # the rest is a row that is being written
        self.offset += len(whole)
        self.ending = (self.ending + whole)[-ENDING_BYTES:]
        with contextlib.suppress(csv.Error):  # of what is no row at all: those before it are shown
            for row in csv.reader(io.StringIO(whole.decode(errors="replace"), newline="")):
                self._take_row(row)

    def _take_row(self, row: list[str]) -> None:
        if not self.names:
            self.names = list(dict.fromkeys(row))
            self.columns = {name: [] for name in self.names}
        else:
            cells = row + [""] * (len(self.names) - len(row))
            for name, cell in zip(self.names, cells, strict=False):
                self.columns[name].append(_number(cell))

    def last(self, name: str) -> float | None:
        """The last value of a column that is one."""
        return next((value for value in reversed(self.columns.get(name, [])) if value is not None), None)

    def since(self, have: str, with_classes: bool, with_layers: bool = False) -> dict[str, Any]:
        """The rows that come after those that a page has, told by `have`: "version:number of rows"."""
        version, _, number = have.partition(":")
        begin = min(int(number), self.num_rows) if version == self.version and number.isdigit() else 0
        names = [name for name in self.names if not name.startswith("test/")]
        shown = [
            name
            for name in names
            if (with_classes or not is_of_one_class(name)) and (with_layers or not is_of_one_layer(name))
        ]
        return {
            "version": self.version, "begin": begin, "rows": self.num_rows,
            "columns": {name: self.columns[name][begin:] for name in shown},
            "shares": [name for name in shown if is_percentage(name)],
            "has_classes": any(is_of_one_class(name) for name in names),
            "has_layers": any(is_of_one_layer(name) for name in names),
        }  # fmt: skip


class MetricsFiles:
    """The files asked for last, by their paths."""

    def __init__(self) -> None:
        self.known: OrderedDict[Path, MetricsFile] = OrderedDict()

    def __call__(self, path: Path) -> MetricsFile:
        file = self.known.setdefault(path, MetricsFile(path))
        self.known.move_to_end(path)
        if len(self.known) > MOST_FILES:
            self.known.popitem(last=False)
        file.refresh()
        return file


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:  # empty, or cut short by a kill
        return None
    return value if math.isfinite(value) else None
