"""Swapped labels of real digits are found by networks that did not learn from them, as cleanlab finds them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from leyden import command_line
from leyden.data import Digits
from leyden.data.decoding import write_skipped
from leyden.data.image_file import read_image
from leyden.data.sources import Files
from leyden.doctor.label_errors import _tested, read_answers, suspects
from running import SHORT, FinishedRun
from studies import Study

Train = Callable[..., FinishedRun]


@pytest.fixture(scope="module")
def swapped() -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Labels of which one in twenty is another, which ones, and out-of-sample probabilities."""
    images, labels = (tensor.numpy() for tensor in Digits().load(Path("unused"))[:2])
    generator = np.random.default_rng(0)
    is_wrong = np.zeros(len(labels), bool)
    is_wrong[generator.choice(len(labels), size=len(labels) // 20, replace=False)] = True
    labels = np.where(is_wrong, (labels + generator.integers(1, 10, len(labels))) % 10, labels)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    network = LogisticRegression(max_iter=500)
    return (
        labels,
        is_wrong,
        cross_val_predict(network, images.reshape(len(images), -1) / 255, labels, cv=folds, method="predict_proba"),
    )


def test_suspects_are_those_of_cleanlab_but_for_rounding(swapped: tuple[NDArray[np.int64], ...]) -> None:
    labels, _, probabilities = swapped
    expected = find_label_issues(
        labels, probabilities, filter_by="prune_by_class", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    ours, theirs = set(suspects(labels, probabilities).tolist()), set(expected.tolist())
    assert len(ours ^ theirs) <= 2  # counts of a class are rounded one by one here, all together there
    assert len(ours) > 80


def test_swapped_labels_are_found_from_what_a_run_stores(swapped: tuple[NDArray[np.int64], ...]) -> None:
    labels, is_wrong, probabilities = swapped
    everyone, answers = np.arange(len(labels)), probabilities.argmax(1)
    stored = np.zeros_like(probabilities)  # of the label and of the answer alone
    for columns in (labels, answers):
        stored[everyone, columns] = probabilities[everyone, columns]
    found = suspects(labels, stored)
    recall, false_alarms = is_wrong[found].sum() / is_wrong.sum(), (~is_wrong[found]).sum() / (~is_wrong).sum()
    print(f"recall {recall:.3f} of {is_wrong.sum()}, false alarms {false_alarms:.4f} of {(~is_wrong).sum()}")
    assert recall >= 0.85
    assert false_alarms <= 0.01
    assert is_wrong[found[:20]].mean() >= 0.95  # the least likely first


def test_doctor_of_a_run_shows_its_suspects(train_run: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train_run("epochs=3")
    capfd.readouterr()
    assert command_line.doctor([str(run.directory)]) == 0
    report = json.loads((run.directory / "doctor.json").read_text(encoding="utf-8"))
    kinds = [finding["kind"] for finding in report["findings"]]
    assert "label_errors" in kinds
    assert "not_tested" in kinds
    assert report["facts"]["labels looked at"] == "359 of 1,797, by 1 run"
    assert str(run.directory / "doctor.html") in capfd.readouterr().out


def test_study_over_folds_looks_at_every_label(
    study: Study, write_digits: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = write_digits("swapped", 0, 600)
    wrong = sorted((directory / "1").iterdir())[:6]
    for path in wrong:
        path.rename(directory / "7" / path.name)
    words = ["data=image_folder", "data.source.image_size=8", "data.source.channels=1", "data.num_workers=0"]
    words += [f"data.root={directory}", "data.source.mean=[0.3]", "data.source.std=[0.4]"]
    command = [
        "-m",
        *SHORT,
        *words,
        "fold=0,1,2",
        "folds=3",
        "epochs=15",
        "study=folds",
        "name=doctored",
        "batch_size=16",
    ]
    assert command_line.train(command) == 0
    place = tmp_path / "runs" / "doctored" / "folds"
    assert command_line.doctor([str(place)]) == 0
    report = json.loads((place / "doctor.json").read_text(encoding="utf-8"))
    assert report["facts"]["labels looked at"] == "600 of 600, by 3 runs"
    found = [group[0]["image"] for group in report["findings"][0]["groups"]]
    expected = {f"7/{path.name}" for path in wrong}
    assert len(expected & set(found[:10])) >= 5
    assert {group[0]["part"] for group in report["findings"][0]["groups"]} == {"test"}
    assert sum(row["test"] for row in report["counts"].values()) == 600
    capfd.readouterr()


def test_data_that_changed_since_the_run_are_refused(
    train_run: Train, write_digits: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    directory = write_digits()
    words = [f"data.root={directory}", "data.source.image_size=8", "data.source.channels=1"]
    run = train_run(
        "data=image_folder", *words, "data.source.mean=[0.3]", "data.source.std=[0.4]", "data.num_workers=0"
    )
    Image.new("L", (8, 8), 99).save(directory / "3" / "new.png")
    assert command_line.doctor([str(run.directory)]) == 1
    assert "changed since" in capfd.readouterr().err


def test_answers_about_other_data_are_not_mixed(train_run: Train, write_digits: Callable[..., Path]) -> None:
    directory = write_digits()
    words = [f"data.root={directory}", "data.source.image_size=8", "data.source.channels=1", "data.num_workers=0"]
    words += ["data.source.mean=[0.3]", "data.source.std=[0.4]"]
    runs = [train_run().directory, train_run("data=image_folder", *words).directory]
    with pytest.raises(ValueError, match="has other images or labels than"):
        read_answers(runs)


def test_left_out_file_whose_name_is_no_text_counts_as_left_out(tmp_path: Path) -> None:
    names = ["a.png", "b\udcff.png", "c.png"]
    files = Files(tmp_path, names, torch.zeros(3, dtype=torch.int64), read_image)
    data: Any = SimpleNamespace(test_indices=torch.arange(3), files=files)
    write_skipped({str(tmp_path / names[1]): "it is no image"}, tmp_path / "skipped_images.csv")
    assert _tested(tmp_path, data).tolist() == [0, 2]


def test_directory_of_neither_run_nor_study_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.doctor([str(tmp_path)]) == 1
    assert "neither a run nor a study" in capfd.readouterr().err
