"""Files of tables: their cells are pandas', their lines those of an editor, and what is no table is named."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from leyden.data.table_file import TableFile

NAMES = ["plain", " spaced ", "comma, here", 'a "quote"', "two\nlines", "grün 花"]


def test_csv_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": NAMES, "label": [str(number) for number in range(len(NAMES))]})
    for name, separator in {"a.csv": ",", "a.tsv": "\t"}.items():
        frame.to_csv(tmp_path / name, index=False, sep=separator)
        table = TableFile(tmp_path / name)
        assert table.names == ["path", "label"]
        assert table.read(["label", "path"]) == frame.to_dict("list")
        assert list(table.cells("path")) == NAMES


def test_parquet_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"path": NAMES, "labels": [["a"], [], ["b", "a"]] * 2, "number": [0.5, 1.0, -2.0] * 2})
    frame.to_parquet(tmp_path / "a.parquet")
    table = TableFile(tmp_path / "a.parquet")
    cells = table.read(["path", "labels", "number"])
    assert cells == {"path": NAMES, "labels": frame["labels"].map(list).tolist(), "number": frame["number"].tolist()}
    assert list(table.cells("labels")) == frame["labels"].map(list).tolist()
    assert table.where(4) == f"{tmp_path / 'a.parquet'}, row 5"


def test_line_is_the_one_that_a_row_begins_on_in_an_editor(tmp_path: Path) -> None:
    text = 'path,label\n"a\nb",1\n\nc,2\r\n"d\n\n",3\ne,4'
    (tmp_path / "a.csv").write_bytes(text.encode())
    table = TableFile(tmp_path / "a.csv")
    cells = table.read(["path"])["path"]
    lines = (tmp_path / "a.csv").read_bytes().decode().split("\n")
    for row, cell in enumerate(cells):
        line = int(table.place(row).removeprefix("line "))
        assert lines[line - 1].lstrip('"').startswith(cell.split("\n")[0])
    assert cells == ["a\nb", "c", "d\n\n", "e"]


def test_mark_of_excel_and_another_delimiter_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffpath;label\na.png;1,5\n", encoding="utf-8")
    assert TableFile(tmp_path / "a.csv", ";").read(["path", "label"]) == {"path": ["a.png"], "label": ["1,5"]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name,label\na,b\n", r"a\.csv has no column 'path': its columns are 'name', 'label'"),
        (b"paht,label\na,b\n", r"has no column 'path': did you mean 'paht'\? its columns are 'paht', 'label'"),
        (b"path;label\na;b\n", r"a\.csv has no column 'path': its columns are 'path;label'"),
        (b"", r"a\.csv has no column 'path': its columns are none at all"),
        (b"path,path\na,b\n", r"a\.csv has two columns 'path'"),
        (b"path,label\na,b\nc\n", r"a\.csv, line 3: 1 cells, expected one in each of 2 columns"),
        (b"path,label\na,b,c\n", r"a\.csv, line 2: 3 cells"),
        (b'path,label\n"a,b\n', r"a\.csv is no table in CSV and UTF-8 \(unexpected end of data\)"),
        (b"path,label\nf\xfcr,b\n", r"a\.csv is no table in CSV and UTF-8 \('utf-8' codec"),
    ],
)
def test_wrong_csv_is_named_with_its_line(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        TableFile(tmp_path / "a.csv").read(["path"])


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").touch()
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"data\.source\.file=.*a\.xlsx: expected a name that ends with \.csv"):
        TableFile(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match=r"data\.source\.file=.*absent\.csv is no file"):
        TableFile(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match=r"data\.source\.delimiter='--': expected one character"):
        TableFile(tmp_path / "a.csv", "--")


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"a\.parquet needs the package pyarrow: pip install pyarrow"):
        TableFile(tmp_path / "a.parquet")


def test_text_that_calls_itself_parquet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_text("path,label\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.parquet is no table in Parquet \("):
        TableFile(tmp_path / "a.parquet")
