"""Rows > **table** > file: CSV, Parquet or JSON, by the file's name, in one step and row by row."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from leyden.errors import printable
from leyden.run import in_place_of

ROWS_AT_ONCE = 10_000  # of Parquet, which writes groups of rows

Rows = Iterable[Sequence[Any]]


def check_format(output: Path) -> None:
    """Refuses a name whose suffix is of no kind that is written, or of one that needs what is not here.

    Raises:
        ValueError: says what is expected.
    """
    if output.suffix.lower() not in WRITERS:
        raise ValueError(f"output={output}: expected a name that ends with {', '.join(WRITERS)}, or -")
    if output.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ValueError(f"output={output} needs the extra parquet: pip install 'leyden[parquet]'") from error


def write_table(rows: Rows, columns: Sequence[str], output: Path) -> None:
    """Writes the table beside its place and puts it there in one step."""
    with in_place_of(output) as beside:
        WRITERS[output.suffix.lower()](rows, columns, beside)


def csv_cells(row: Sequence[Any]) -> list[Any]:
    """The cells of a row as CSV has them: nothing as nothing, lists in JSON."""
    return [
        "" if cell is None
        else printable(cell) if isinstance(cell, str)
        else json.dumps(cell, ensure_ascii=False) if isinstance(cell, list)
        else cell
        for cell in row
    ]  # fmt: skip


def write_csv(rows: Rows, columns: Sequence[str], file: TextIO) -> None:
    """A header, and a line for each row."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(csv_cells, rows))


def _csv(rows: Rows, columns: Sequence[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(rows, columns, file)


def _json(rows: Rows, columns: Sequence[str], path: Path) -> None:
    """A list of objects, one on a line."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("[")
        between = "\n"
        for row in rows:
            file.write(between + json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False))
            between = ",\n"
        file.write("\n]\n")


def _parquet(rows: Rows, columns: Sequence[str], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    number, text = pyarrow.float64(), pyarrow.string()
    kinds = {"classes": pyarrow.list_(text), "probabilities": pyarrow.list_(number), "value": number}
    schema = pyarrow.schema(
        [(name, kinds.get(name, number if name.startswith("probability") else text)) for name in columns]
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _in_groups(rows):
            cells = [[printable(cell) if isinstance(cell, str) else cell for cell in column] for column in group]
            writer.write_table(pyarrow.table(cells, schema=schema))


def _in_groups(rows: Rows) -> Iterator[list[tuple[Any, ...]]]:
    """The columns of some rows at a time."""
    left = iter(rows)
    while group := list(islice(left, ROWS_AT_ONCE)):
        yield list(zip(*group, strict=True))


Writer = Callable[[Rows, Sequence[str], Path], None]
WRITERS: dict[str, Writer] = {".csv": _csv, ".parquet": _parquet, ".json": _json}
