"""Tables in three formats, read again by others."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from leyden.data.facts import DataFacts
from leyden.data.labels import read_cells
from leyden.data.table_file import TableFile
from leyden.predict.answers import Answer, cells_of, columns_of
from leyden.predict.tables import ROWS_AT_ONCE, check_format, write_table

NAMES = ("a, b", 'é "c"', "d")


def facts(task: Any) -> DataFacts:
    return DataFacts("x", task, () if task == "regression" else NAMES, 1, 8, 1.0, (0.5,), (0.5,))


ANSWERS = {
    "single_label": [Answer(list(NAMES[:2]), [0.75, 0.125]), None],
    "multi_label": [Answer([NAMES[1], NAMES[0]], [0.75, 0.5]), Answer([], []), None],
    "regression": [Answer([], [], -1.5), None],
}


def write(task: str, output: Path) -> list[list[Any]]:
    rows = [
        cells_of(f"ä {number}.png", answer, None if answer else "no image", facts(task), 2)
        for number, answer in enumerate(ANSWERS[task])
    ]
    write_table(rows, columns_of(facts(task), 2), output)
    return rows


@pytest.mark.parametrize("task", ANSWERS)
def test_other_readers_find_what_was_written(task: str, tmp_path: Path) -> None:
    rows, columns = write(task, tmp_path / "t.json"), columns_of(facts(task), 2)
    expected = [dict(zip(columns, row, strict=True)) for row in rows]
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == expected
    write(task, tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == expected
    write(task, tmp_path / "t.CSV")
    with (tmp_path / "t.CSV").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["path"] for row in found] == [row[0] for row in rows]
    assert found[-1]["error"] == "no image"
    first = {"single_label": ("class", NAMES[0]), "regression": ("value", "-1.5")}
    name, cell = first.get(task, ("classes", json.dumps([NAMES[1], NAMES[0]], ensure_ascii=False)))
    assert found[0][name] == cell
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.CSV", "t.json", "t.parquet"]


def test_a_table_of_several_labels_is_one_to_train_with(tmp_path: Path) -> None:
    write("multi_label", tmp_path / "t.csv")
    cells = TableFile(tmp_path / "t.csv").read(["classes"])["classes"]
    assert read_cells(cells[:2], "multi_label", str) == [[NAMES[1], NAMES[0]], []]


def test_names_that_are_no_utf8_are_written_all_the_same(tmp_path: Path) -> None:
    columns = columns_of(facts("regression"), 1)
    for suffix in ("csv", "json", "parquet"):
        write_table([["\udcff.png", 1.0, None]], columns, tmp_path / f"t.{suffix}")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1] == "\\udcff.png,1.0,"
    assert parquet.read_table(tmp_path / "t.parquet")["path"].to_pylist() == ["\\udcff.png"]
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))[0]["path"] == "\udcff.png"


def test_a_table_of_no_rows_is_one_all_the_same(tmp_path: Path) -> None:
    columns = columns_of(facts("regression"), 1)
    for suffix in ("csv", "json", "parquet"):
        write_table([], columns, tmp_path / f"t.{suffix}")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines() == ["path,value,error"]
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == []
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == []


def test_parquet_is_written_in_groups(tmp_path: Path) -> None:
    rows = ([str(number), 1.0, None] for number in range(ROWS_AT_ONCE + 1))
    write_table(rows, columns_of(facts("regression"), 1), tmp_path / "t.parquet")
    table = parquet.ParquetFile(tmp_path / "t.parquet")
    assert (table.num_row_groups, table.metadata.num_rows) == (2, ROWS_AT_ONCE + 1)
    assert table.schema_arrow.field("value").type == pyarrow.float64()


def test_another_format_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"output=x\.xlsx: expected a name that ends with \.csv, \.parquet, "):
        check_format(Path("x.xlsx"))
