"""A metrics.csv is read on where it has grown, and anew where anything else has become of it."""

from pathlib import Path

from leyden.live.metrics import MetricsFile, MetricsFiles
from live.pages import NAMES, append_rows, write_rows


def read(file: MetricsFile, have: str = "", with_classes: bool = False) -> dict[str, list[float | None]]:
    file.refresh()
    columns: dict[str, list[float | None]] = file.since(have, with_classes)["columns"]
    return columns


def have(file: MetricsFile) -> str:
    return f"{file.version}:{file.num_rows}"


def test_only_new_rows_are_sent(tmp_path: Path) -> None:
    write_rows(tmp_path, range(5))
    file = MetricsFile(tmp_path / "metrics.csv")
    assert read(file)["epoch"] == [0, 1, 2, 3, 4]
    before = have(file)
    assert read(file, before)["epoch"] == []
    append_rows(tmp_path, range(5, 7))
    assert read(file, before)["epoch"] == [5, 6]
    assert have(file) == before.replace(":5", ":7")


def test_a_shorter_file_is_sent_whole(tmp_path: Path) -> None:
    write_rows(tmp_path, range(5))
    file = MetricsFile(tmp_path / "metrics.csv")
    read(file)
    before = have(file)
    write_rows(tmp_path, range(3))
    assert read(file, before)["epoch"] == [0, 1, 2]


def test_a_file_written_anew_in_its_place_is_sent_whole(tmp_path: Path) -> None:
    write_rows(tmp_path, range(5))
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    read(file)
    before = have(file)
    path.write_text(path.read_text(encoding="utf-8").replace("0.5\r", "0.6\r") + "9,1,1,1,1,1\n", encoding="utf-8")
    append_rows(tmp_path, range(5, 40))  # longer, and the same inode
    path.write_text(path.read_text(encoding="utf-8").replace("4,90", "8,90"), encoding="utf-8")
    assert read(file, before)["epoch"][:5] == [0, 1, 2, 3, 8]


def test_a_new_column_makes_the_file_another(tmp_path: Path) -> None:
    write_rows(tmp_path, range(5))
    file = MetricsFile(tmp_path / "metrics.csv")
    read(file)
    before = have(file)
    write_rows(tmp_path, range(6), (*NAMES, "lr"))
    columns = read(file, before)
    assert len(columns["epoch"]) == len(columns["lr"]) == 6


def test_half_a_row_waits_for_its_end(tmp_path: Path) -> None:
    write_rows(tmp_path, range(2))
    file = MetricsFile(tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open("a", encoding="utf-8") as writer:
        writer.write("2,54,0.3")
        writer.flush()
        assert read(file)["epoch"] == [0, 1]
        writer.write("3,0.5,0.9,\n")
    assert read(file)["train/loss"][2] == 0.33
    assert read(file, with_classes=True)["val/recall/cat"][2] is None


def test_damaged_cells_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,val/loss\n0,nan\n1,inf\n2,?\n3\n4,0.5,7\n", encoding="utf-8")
    file = MetricsFile(tmp_path / "metrics.csv")
    assert read(file) == {"epoch": [0, 1, 2, 3, 4], "val/loss": [None, None, None, None, 0.5]}


def test_rows_before_what_is_no_row_are_shown(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,val/loss\n0,0.5\n1," + "7" * 200_000 + "\n", encoding="utf-8")
    file = MetricsFile(tmp_path / "metrics.csv")
    assert read(file) == {"epoch": [0], "val/loss": [0.5]}
    with (tmp_path / "metrics.csv").open("a", encoding="utf-8") as writer:
        writer.write("2,0.25\n")
    assert read(file)["epoch"] == [0, 2]


def test_classes_come_where_they_are_asked_for(tmp_path: Path) -> None:
    write_rows(tmp_path, range(2))
    file = MetricsFile(tmp_path / "metrics.csv")
    assert "val/recall/cat" not in read(file)
    assert "val/recall/cat" in read(file, with_classes=True)
    assert file.since("", False)["has_classes"]
    assert file.since("", False)["shares"] == ["val/accuracy"]


def test_layers_come_where_they_are_asked_for(tmp_path: Path) -> None:
    write_rows(tmp_path, range(2), (*NAMES, "layers/head/update_ratio"))
    file = MetricsFile(tmp_path / "metrics.csv")
    assert "layers/head/update_ratio" not in read(file, with_classes=True)
    assert file.since("", False)["has_layers"]
    assert "layers/head/update_ratio" in file.since("", False, True)["columns"]


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    files = MetricsFiles()
    assert files(tmp_path / "metrics.csv").since("", True)["rows"] == 0
    write_rows(tmp_path, range(2))
    assert files(tmp_path / "metrics.csv").num_rows == 2
    (tmp_path / "metrics.csv").unlink()
    assert files(tmp_path / "metrics.csv").num_rows == 0
