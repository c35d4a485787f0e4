"""What a run answered is stored whole, comes back as it was, and a damaged file is named."""

from pathlib import Path

import numpy as np
import pytest

from leyden.predictions import PREDICTIONS_FILE, Predictions, read_predictions, write_predictions


def one_class_per_image() -> Predictions:
    labels, shares = np.array([0, 300, 2]), np.array([0.5, 0.25, 1.0])
    return Predictions(labels, np.array([0, 1, 2]), shares, np.array([0.5, 0.125, 1.0]))


def several_labels() -> Predictions:
    return Predictions(np.array([[0, 1], [1, 1]]), np.array([[0, 0], [1, 1]]), np.array([[0.25, 0.5], [0.75, 1.0]]))


def numbers() -> Predictions:
    return Predictions(np.array([0.5, -3.25]), np.array([1.0, 2.0]))


@pytest.mark.parametrize("make", [one_class_per_image, several_labels, numbers])
def test_answers_come_back_as_they_were_stored(make: type, tmp_path: Path) -> None:
    stored = make()
    write_predictions(tmp_path, stored)
    found = read_predictions(tmp_path)
    assert found is not None
    assert found.is_single_label == (make is one_class_per_image)
    for before, after in zip(stored, found, strict=True):
        np.testing.assert_array_equal(before, after)
    assert [path.name for path in tmp_path.iterdir()] == [PREDICTIONS_FILE]  # nothing half-written beside it


def test_a_run_without_answers_has_none(tmp_path: Path) -> None:
    assert read_predictions(tmp_path) is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), r"\(.*zip"),
        (lambda path: np.savez(path, labels=[0, 1], predictions=[0], confidences=[0.5]), r"\(it has 1 and 2 values"),
        (lambda path: np.savez(path, labels=[0], predictions=[0], confidences=[1.5]), r"\(a confidence is no number"),
        (lambda path: np.savez(path, labels=[np.nan], predictions=[0.0]), r"\(a label or a prediction is no number"),
    ],
)
def test_a_damaged_file_is_named(damage: object, words: str, tmp_path: Path) -> None:
    write_predictions(tmp_path, one_class_per_image())
    damage(tmp_path / PREDICTIONS_FILE)  # type: ignore[operator]
    with pytest.raises(ValueError, match=f"{PREDICTIONS_FILE} is damaged {words}"):
        read_predictions(tmp_path)
