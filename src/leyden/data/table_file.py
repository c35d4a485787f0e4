"""Table > **its file** > columns: reads CSV or Parquet, and remembers on which line each row stands."""

import csv
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

COLUMN_KEYS = ("data.source.path_column", "data.source.label_column")
CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")


class TableFile:
    """A table in a file, whose `names` are those of its columns; a delimiter of None is a comma, in .tsv a tab.

    Raises:
        ValueError: there is no such file, its suffix is of no known kind, or it cannot be read.
    """

    def __init__(self, path: Path, delimiter: str | None = None) -> None:
        self.path, self.delimiter = path, delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
        self.is_parquet = path.suffix.lower() in PARQUET
        if not path.is_file():
            raise ValueError(f"data.source.file={path} is no file: expected a table in CSV or Parquet")
        if path.suffix.lower() not in (*CSV, *PARQUET):
            raise ValueError(f"data.source.file={path}: expected a name that ends with {', '.join((*CSV, *PARQUET))}")
        if len(self.delimiter) != 1:
            raise ValueError(f"data.source.delimiter={delimiter!r}: expected one character")
        self.names = self._names()
        self.lines: list[int] = []  # of a CSV file, on which each row begins

    def _names(self) -> list[str]:
        if self.is_parquet:
            return list(self._parquet().schema_arrow.names)
        return next(self._rows(), (0, []))[1]

    def read(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """The cells of some columns.

        Raises:
            ValueError: there is no such column, or two; a row has more or fewer cells than there are columns.
        """
        self.check(names)
        if self.is_parquet:
            columns = self._parquet().read(columns=list(names))
            return {name: columns.column(name).to_pylist() for name in names}
        cells: dict[str, list[Any]] = {name: [] for name in names}
        positions = {name: self.names.index(name) for name in names}
        self.lines = []
        for line, row in self._whole_rows():
            self.lines.append(line)
            for name, position in positions.items():
                cells[name].append(row[position])
        return cells

    def cells(self, name: str) -> Iterator[Any]:
        """The cells of one column, one after the other: the table is not held.

        Raises:
            ValueError: as `read`.
        """
        self.check([name])
        if self.is_parquet:
            for batch in self._parquet().iter_batches(columns=[name]):
                yield from batch.column(0).to_pylist()
            return
        position = self.names.index(name)
        for _, row in self._whole_rows():
            yield row[position]

    def check(self, names: Sequence[str], *keys: str) -> None:
        """Sees that there are such columns, each once; `keys` of the command line name another.

        Raises:
            ValueError: there are not.
        """
        for name in names:
            if self.names.count(name) != 1:
                held = "two columns" if name in self.names else "no column"
                known = ", ".join(repr(other) for other in self.names[:20]) or "none at all"
                near = difflib.get_close_matches(name, self.names, n=1)
                hint = f"did you mean {near[0]!r}? " if near and name not in self.names else ""
                raise ValueError(
                    f"{self.path} has {held} {name!r}: {hint}its columns are {known}; another is named by "
                    f"{' or '.join(keys or COLUMN_KEYS)}"
                )

    def where(self, row: int) -> str:
        """Names a row."""
        return f"{self.path}, {self.place(row)}"

    def place(self, row: int) -> str:
        """Where a row stands within the file."""
        return f"row {row + 1}" if self.is_parquet else f"line {self.lines[row]}"

    def _whole_rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows below the header, each with the line it begins on."""
        rows = self._rows()
        next(rows, None)
        for line, row in rows:
            if len(row) != len(self.names):
                raise ValueError(
                    f"{self.path}, line {line}: {len(row)} cells, expected one in each of {len(self.names)} columns"
                )
            yield line, row

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not empty, each with the line it begins on: a quoted cell may span several."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:  # Excel puts a mark before its UTF-8
                reader = csv.reader(file, delimiter=self.delimiter, strict=True)
                line = 1
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is no table in CSV and UTF-8 ({error}): save it as that") from error

    def _parquet(self) -> Any:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise ValueError(
                f"{self.path} needs the package pyarrow: pip install pyarrow, or save it as CSV"
            ) from error
        try:
            return parquet.ParquetFile(self.path)
        except ArrowException as error:
            raise ValueError(f"{self.path} is no table in Parquet ({' '.join(str(error).split())})") from error
