"""Sets of the datasets library: what it decodes and says itself, from every kind of directory, without a network."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leyden.data import HuggingFace
from leyden.data.sources import TEST, TRAINING, VALIDATION, Files
from running import FinishedRun

datasets = pytest.importorskip("datasets", reason="needs the extra huggingface: pip install datasets")

FACTS: dict[str, Any] = {"image_size": 8, "channels": 1, "mean": [0.3], "std": [0.4]}
NAMES = ["zebra", "ape"]  # not in the order of the alphabet: the set's own counts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library prepares goes to tmp_path, and it looks for nothing on the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def rows(count: int, seed: int = 0, label: Any = None) -> Any:
    """Grey images and their labels, as the library holds them."""
    pixels = np.random.default_rng(seed).integers(256, size=(count, 8, 8), dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    labels = [number % 2 for number in range(count)]
    if label is not None:
        features["label"], labels = label
    return datasets.Dataset.from_dict({"image": list(map(Image.fromarray, pixels)), "label": labels}, features)


def holds(files: Files, *splits: Any) -> None:
    """The files give what the library decodes, row for row."""
    expected = [(np.array(row["image"].convert("L")), row["label"]) for split in splits for row in split]
    assert len(files.paths) == len(expected)
    for path, label, (pixels, label_there) in zip(files.paths, files.labels.tolist(), expected, strict=True):
        assert torch.equal(files.read(os.path.join(files.directory, path))[0], torch.from_numpy(pixels))
        assert label == label_there


def test_saved_set_gives_its_images_its_classes_and_its_parts(tmp_path: Path) -> None:
    splits = {"test": rows(3, 1), "train": rows(10), "validation": rows(4, 2)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    source = HuggingFace(str(tmp_path / "saved"), **FACTS)
    files = source.load(tmp_path)
    assert (source.name, source.class_names) == ("saved", ("zebra", "ape"))
    assert files.parts is not None
    assert files.parts.tolist() == [TRAINING] * 10 + [VALIDATION] * 4 + [TEST] * 3
    holds(files, splits["train"], splits["validation"], splits["test"])


def test_each_split_numbers_its_classes_for_itself(tmp_path: Path) -> None:
    def of(names: list[str], labels: list[int]) -> Any:
        return rows(len(labels), label=(datasets.ClassLabel(names=names), labels))

    train = of(["cat", "dog", "horse"], [0, 1, 2])
    datasets.DatasetDict(train=train, test=of(["cat", "horse"], [1, 0])).save_to_disk(tmp_path / "saved")
    assert HuggingFace(str(tmp_path / "saved"), **FACTS).load(tmp_path).labels.tolist() == [0, 1, 2, 2, 0]
    datasets.DatasetDict(train=train, test=of(["cat", "emu"], [1, 0])).save_to_disk(tmp_path / "others")
    with pytest.raises(ValueError, match="split test has classes that train has not: emu"):
        HuggingFace(str(tmp_path / "others"), **FACTS)


def test_set_without_splits_and_with_chosen_rows_gives_those(tmp_path: Path) -> None:
    chosen = rows(10).select([7, 2, 5, 2])
    chosen.save_to_disk(tmp_path / "saved")
    files = HuggingFace(str(tmp_path / "saved"), **FACTS).load(tmp_path)
    assert files.parts is None
    holds(files, chosen)


def test_parquet_files_are_read_split_by_split(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    for name, split in {"train": rows(6), "test": rows(3, 1)}.items():
        split.to_parquet(tmp_path / "set" / "data" / f"{name}-00000-of-00001.parquet")
    source = HuggingFace(str(tmp_path / "set"), **FACTS)
    assert source.class_names == ("zebra", "ape")
    holds(source.load(tmp_path), rows(6), rows(3, 1))


def test_directories_of_images_are_read_with_their_classes(tmp_path: Path) -> None:
    for part, name, value in [("train", "ape", 1), ("train", "zebra", 2), ("validation", "ape", 3)]:
        (tmp_path / "set" / part / name).mkdir(parents=True)
        Image.new("L", (8, 8), value).save(tmp_path / "set" / part / name / "a b.png")
    source = HuggingFace(str(tmp_path / "set"), **FACTS)
    files = source.load(tmp_path)
    assert source.class_names == ("ape", "zebra")
    assert files.parts is not None
    assert files.parts.tolist() == [TRAINING, TRAINING, VALIDATION]
    assert [int(files.read(os.path.join(files.directory, path)).max()) for path in files.paths] == [1, 2, 3]
    assert files.labels.tolist() == [0, 1, 0]


def test_path_of_an_image_tells_its_size_so_that_another_is_noticed(tmp_path: Path) -> None:
    for number in range(2):
        rows(4, seed=number).save_to_disk(tmp_path / f"saved{number}")
    first, second = (HuggingFace(str(tmp_path / f"saved{number}"), **FACTS).load(tmp_path) for number in range(2))
    sizes = [len(row["image"]["bytes"]) for row in rows(4).cast_column("image", datasets.Image(decode=False))]
    assert first.paths == [f"train/{row} ({size} bytes)" for row, size in enumerate(sizes)]
    assert all(path.startswith(f"train/{row} (") for row, path in enumerate(second.paths))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reader_goes_to_another_process_without_the_images(method: str, tmp_path: Path) -> None:
    many = rows(2000)
    many.save_to_disk(tmp_path / "saved")
    files = HuggingFace(str(tmp_path / "saved"), **FACTS).load(tmp_path)
    path = os.path.join(files.directory, files.paths[1234])
    assert len(pickle.dumps(files.read)) < 10_000
    with torch.multiprocessing.get_context(method).Pool(1) as pool:
        read = pool.apply(files.read, (path,))
    assert torch.equal(read[0], torch.from_numpy(np.array(many[1234]["image"])))


@pytest.mark.parametrize(
    ("task", "label", "names", "expected"),
    [
        ("single_label", (datasets.Value("string"), ["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        ("single_label", (datasets.Value("int64"), [10, 9, 10]), ("9", "10"), [1, 0, 1]),
        (
            "multi_label", (datasets.List(datasets.ClassLabel(names=NAMES)), [[0, 1], [], [1]]), ("zebra", "ape"),
            [[1, 1], [0, 0], [0, 1]],
        ),
        ("multi_label", (datasets.Value("string"), ["b;a", "", "b"]), ("a", "b"), [[1, 1], [0, 0], [0, 1]]),
        ("regression", (datasets.Value("float32"), [0.5, 1.0, -2.0]), (), [0.5, 1.0, -2.0]),
    ],
)  # fmt: skip
def test_labels_of_every_kind_have_their_task(
    task: Any, label: Any, names: tuple[str, ...], expected: list[Any], tmp_path: Path
) -> None:
    rows(3, label=label).save_to_disk(tmp_path / "saved")
    source = HuggingFace(str(tmp_path / "saved"), task=task, **FACTS)
    assert source.class_names == names
    assert source.load(tmp_path).labels.tolist() == expected


def test_column_of_groups_is_read(tmp_path: Path) -> None:
    rows(4).add_column("patient", ["b", "a", "b", "c"]).save_to_disk(tmp_path / "saved")
    files = HuggingFace(str(tmp_path / "saved"), group_column="patient", **FACTS).load(tmp_path)
    assert files.groups is not None
    assert files.groups.tolist() == [0, 1, 0, 2]


def test_row_without_a_group_is_named(tmp_path: Path) -> None:
    rows(4).add_column("patient", ["b", "a", None, None]).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"saved, train/2: the group is empty"):
        HuggingFace(str(tmp_path / "saved"), group_column="patient", **FACTS)


def test_split_that_is_not_used_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datasets.DatasetDict({"train": rows(4), "extra": rows(2)}).save_to_disk(tmp_path / "saved")
    assert HuggingFace(str(tmp_path / "saved"), **FACTS).load(tmp_path).parts is None
    assert "split extra is neither train, validation nor test, and is not used" in caplog.text


@pytest.mark.parametrize(
    ("splits", "settings", "expected"),
    [
        ({"test": 3}, {}, "has no split train to learn from: its splits are test"),
        ({"train": 3, "val": 2, "validation": 2}, {}, "has splits val and validation: rename or join them"),
        ({"train": 3}, {"image_column": "picture"}, "train has no column 'picture', but 'image', 'label'"),
        ({"train": 3}, {"image_column": "label"}, "column 'label' holds ClassLabel.*, expected images"),
        ({"train": 3}, {"task": "nothing"}, "data.source.task=nothing: expected single_label"),
        ({"train": 1}, {"label_column": "image"}, "the label is {.*expected one class|holds the class"),
    ],
)
def test_wrong_set_or_setting_is_named(
    splits: dict[str, int], settings: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    datasets.DatasetDict({name: rows(count) for name, count in splits.items()}).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match=expected):
        HuggingFace(str(tmp_path / "saved"), **(FACTS | settings))


def test_row_without_a_label_is_named(tmp_path: Path) -> None:
    label = (datasets.ClassLabel(names=NAMES), [0, -1, 1])
    rows(3, label=label).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"saved, train/1: the label is empty"):
        HuggingFace(str(tmp_path / "saved"), **FACTS)


def test_directory_without_a_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"data\.source\.path=.*empty cannot be read as a data set"):
        HuggingFace(str(tmp_path / "empty"), **FACTS)


def test_name_without_a_network_gets_one_sentence(
    leyden: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    words = ["data=huggingface", "data.source.path=nobody/nothing", "trainer=cpu", "logger=csv"]
    done = leyden("train", *words, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "data.source.path=nobody/nothing is no directory, and could not be had from the hub (" in line
    assert "give a directory, or run once with a network and the right name" in line


def test_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="data=huggingface needs the package datasets: pip install datasets"):
        HuggingFace("nobody/nothing", **FACTS)


def test_saved_set_trains_in_workers(train_run: Callable[..., FinishedRun], tmp_path: Path) -> None:
    rows(60).save_to_disk(tmp_path / "saved")
    words = ["data.source.mean=[0.3]", "data.source.std=[0.4]", "data.source.channels=1", "data.source.image_size=8"]
    run = train_run("data=huggingface", f"data.source.path={tmp_path / 'saved'}", *words, "data.num_workers=2")
    assert run.record["status"] == "finished"
    assert run.record["data"]["class_names"] == NAMES
