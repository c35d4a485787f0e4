"""Tables of image files: what their rows become, and rows that contradict each other, the disk, or sense."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from leyden.data import Digits, ImageDataModule, Table
from leyden.data.sources import TEST, TRAINING, VALIDATION
from running import FinishedRun

FACTS: dict[str, Any] = {"image_size": 8, "channels": 1, "mean": [0.3], "std": [0.4]}


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Table]:
    """A source of the table with these lines below its header, all of whose images exist in tmp_path/images."""

    def make(header: str, *lines: str, **settings: Any) -> Table:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels.csv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
        for name in ("a b.png", "c.png", "deep/é.png", "d.png"):
            (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "images" / name).touch()
        return Table(str(tmp_path / "labels.csv"), str(tmp_path / "images"), **(FACTS | settings))

    return make


def test_rows_give_the_images_of_the_package(write_digits: Callable[..., Path], tmp_path: Path) -> None:
    directory = write_digits()
    paths = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.png"))
    frame = pd.DataFrame({"image": paths, "digit": [int(path.split("/")[0]) for path in paths]}).sample(
        frac=1, random_state=0
    )
    images, labels = Digits().load(tmp_path)[:2]
    for name in ("a.csv", "a.parquet"):
        frame.to_parquet(tmp_path / name) if name == "a.parquet" else frame.to_csv(tmp_path / name, index=False)
        source = Table(str(tmp_path / name), str(directory), path_column="image", label_column="digit", **FACTS)
        files = source.load(tmp_path)
        numbers = [int(Path(path).stem) for path in files.paths]
        assert files.paths == frame["image"].tolist()
        assert source.class_names == Digits.class_names
        assert torch.equal(files.labels, labels[numbers])
        read = torch.stack([files.read(str(files.directory / path)) for path in files.paths])
        assert torch.equal(read, images[numbers])
        assert (files.parts, files.groups, files.weights) == (None, None, None)


def test_columns_called_split_group_and_weight_are_read(table: Callable[..., Table], tmp_path: Path) -> None:
    lines = ["a b.png,x,train,p,1", "c.png,y,VAL,q,0.5", "deep/é.png,y,test,r,0", "d.png,x,training,p,2"]
    files = table("path,label,split,group,weight", *lines).load(tmp_path)
    assert files.parts is not None
    assert files.groups is not None
    assert files.weights is not None
    assert files.parts.tolist() == [TRAINING, VALIDATION, TEST, TRAINING]
    assert files.groups.tolist() == [0, 1, 2, 0]
    assert files.weights.tolist() == [1, 0.5, 0, 2]
    assert files.weights.dtype == torch.float64
    assert files.labels.tolist() == [0, 1, 1, 0]


def test_columns_of_other_names_are_read_and_unwanted_ones_are_not(table: Callable[..., Table], tmp_path: Path) -> None:
    lines = ["a b.png,x,nonsense,7", "c.png,y,more,8"]
    columns = {"split_column": "", "group_column": "patient"}
    files = table("path,label,split,patient", *lines, **columns).load(tmp_path)
    assert files.parts is None
    assert files.groups is not None
    assert files.groups.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"labels\.csv has no column 'person'"):
        table("path,label", "a b.png,x", "c.png,y", group_column="person")


def test_several_labels_and_numbers_have_their_tasks(table: Callable[..., Table], tmp_path: Path) -> None:
    several = table("path,label", "a b.png,x;y", "c.png,", "d.png,y", task="multi_label")
    assert (several.task, several.class_names) == ("multi_label", ("x", "y"))
    assert several.load(tmp_path).labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    numbers = table("path,label", "a b.png,0.5", "c.png,2", task="regression")
    assert (numbers.task, numbers.class_names) == ("regression", ())
    assert numbers.load(tmp_path).labels.tolist() == [0.5, 2]


def test_a_file_has_one_path_however_it_is_written(table: Callable[..., Table], tmp_path: Path) -> None:
    absolute = (tmp_path / "images" / "d.png").as_posix()
    files = table("path,label", "./a b.png,x", "deep/../c.png,y", f"{absolute},x", "deep//é.png,y").load(tmp_path)
    assert files.paths == ["a b.png", "c.png", "d.png", "deep/é.png"]


def test_row_that_repeats_another_is_left_out_and_told(
    table: Callable[..., Table], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = table("path,label,split", "c.png,x,train", "d.png,y,train", "./c.png, x,train").load(tmp_path)
    assert files.paths == ["c.png", "d.png"]
    assert files.labels.tolist() == [0, 1]
    (record,) = caplog.records
    assert "1 rows repeat another one and are left out, that on line 4 for one" in record.getMessage()


def test_another_column_is_read_for_the_images_that_are_left(table: Callable[..., Table], tmp_path: Path) -> None:
    source = table("path,label,camera", "c.png,x,north", "c.png,x,north", "d.png,y,south")
    assert source.load(tmp_path).paths == ["c.png", "d.png"]
    assert source.column("camera") == ["north", "south"]
    with pytest.raises(ValueError, match="has no column 'camra': did you mean 'camera'"):
        source.column("camra")


@pytest.mark.parametrize(
    ("header", "lines", "expected"),
    [
        (
            "path,label",
            ["c.png,x", "d.png,y", "c.png,y"],
            r"c\.png has the label 'x' on line 2 and 'y' on line 4",
        ),
        (
            "path,label,split",
            ["c.png,x,train", "c.png,x,test", "d.png,y,train"],
            "has the split 'train' on line 2",
        ),
        ("path,label", ["c.png,x", "../d.png,y"], r"line 3: \.\./d\.png lies outside of data\.root="),
        ("path,label", ["c.png,x", "/etc/passwd,y"], r"line 3: /etc/passwd lies outside of data\.root="),
        ("path,label", ["c.png,x", ",y"], "line 3: the path is empty"),
        ("path,label", ["c.png,x", "d.png,"], "line 3: the label is empty"),
        ("path,label,split", ["c.png,x,train", "d.png,y,dev"], "line 3: the split is 'dev', expected one of train, "),
        ("path,label,split", ["c.png,x,train", "d.png,y,"], "line 3: the split is '', expected one of train, "),
        ("path,label,group", ["c.png,x,1", "d.png,y,"], "line 3: the group is empty"),
        ("path,label,weight", ["c.png,x,1", "d.png,y,-1"], "line 3: the weight is -1, expected 0 or more"),
        ("path,label,weight", ["c.png,x,1", "d.png,y,nan"], "line 3: the weight is 'nan', expected a number"),
        ("path,label,weight", ["c.png,x,1", "d.png,y,inf"], "line 3: the weight is 'inf', expected a number"),
        ("path,label", ["c.png,x", "d.png,x"], "holds the class x alone, at least 2 must be told apart"),
        ("path,label", [], "has no row"),
        ("path,label", ["c.png,x", "deep,y"], r"1 of 2 images do not exist below .*: deep \(line 3\)"),
    ],
)
def test_wrong_row_is_named_with_its_line(
    header: str, lines: list[str], expected: str, table: Callable[..., Table], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=expected):
        table(header, *lines).load(tmp_path)


def test_first_five_of_the_absent_images_are_named(table: Callable[..., Table], tmp_path: Path) -> None:
    lines = [f"{name},x" for name in ("c.png", *(f"no/{number}.png" for number in range(7)))]
    with pytest.raises(ValueError, match=r"7 of 9 images do not exist") as caught:
        table("path,label", *lines, "d.png,y").load(tmp_path)
    named = ", ".join(f"no/{number}.png (line {number + 3})" for number in range(5))
    assert f"{named} and 2 more; mend the paths or give another data.root" in str(caught.value)


def test_link_that_leaves_the_root_is_named_with_its_line(table: Callable[..., Table], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.png").touch()
    (tmp_path / "images" / "out").symlink_to(tmp_path / "other")
    (tmp_path / "images" / "out.png").symlink_to(tmp_path / "other" / "1.png")
    (tmp_path / "images" / "in.png").symlink_to("c.png")
    assert table("path,label", "in.png,x", "d.png,y").load(tmp_path).paths == ["in.png", "d.png"]
    for path in ("out/1.png", "out.png"):
        with pytest.raises(ValueError, match=r"labels\.csv, line 3: .*out.* leads out of data\.root="):
            table("path,label", "c.png,x", f"{path},y").load(tmp_path)


def test_same_image_with_other_labels_says_where_several_go(table: Callable[..., Table], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep one of these rows, with all labels in one cell"):
        table("path,label", "c.png,x", "c.png,y", task="multi_label").load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"task": "detection"}, "data.source.task=detection: expected single_label, multi_label or regression"),
        ({"separator": ""}, "data.source.separator is empty"),
        ({"image_size": 0}, "data.source.image_size=0"),
        ({"class_names": ["x"]}, "holds the class x alone|'y' is none of the 1 classes"),
    ],
)
def test_settings_out_of_range_are_refused(settings: Any, expected: str, table: Callable[..., Table]) -> None:
    with pytest.raises(ValueError, match=expected):
        table("path,label", "c.png,x", "d.png,y", **settings)


def test_group_in_two_parts_is_refused_with_its_images(table: Callable[..., Table], tmp_path: Path) -> None:
    lines = ["c.png,x,train,p", "d.png,y,test,p", "a b.png,y,train,q"]
    module = ImageDataModule(table("path,label,split,group", *lines), batch_size=1, seed=0)
    with pytest.raises(ValueError, match=r"c\.png and d\.png are of one group, but in different parts"):
        module.setup("fit")


def test_class_that_is_tested_and_never_learnt_is_refused(table: Callable[..., Table]) -> None:
    lines = ["c.png,x,train", "a b.png,y,train", "d.png,z,test", "deep/é.png,x,val"]
    with pytest.raises(ValueError, match="class z has 1 test images and none to learn from"):
        ImageDataModule(table("path,label,split", *lines), batch_size=1, seed=0).setup("fit")


def test_table_trains_with_its_groups_kept_together(
    write_digits: Callable[..., Path], train_run: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    directory = write_digits()
    paths = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.png"))
    rows = [{"path": path, "label": path[0], "group": int(path[2:6]) // 3} for path in paths]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    words = ["data.source.mean=[0.3]", "data.source.std=[0.4]", "data.source.channels=1", "data.source.image_size=8"]
    file = f"data.source.file={tmp_path / 'labels.csv'}"
    run = train_run("data=table", f"data.root={directory}", file, *words, "data.num_workers=0")
    assert run.record["status"] == "finished"
    module = ImageDataModule(Table(str(tmp_path / "labels.csv"), str(directory), **FACTS), batch_size=1, seed=0)
    module.setup("fit")
    splits = [module.train_indices, module.val_indices, module.test_indices]
    assert [run.record["data"][f"num_{name}"] for name in ("train", "val", "test")] == [len(split) for split in splits]
    sides = [{int(paths[index][2:6]) // 3 for index in split} for split in splits]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 100
