"""Run directory > **draw** > pictures: learning curves and what suits the task, from what a run has recorded."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leyden import figures
from leyden.examples import DIRECTORY as EXAMPLES
from leyden.examples import read_examples
from leyden.figures import average_precisions, confusion_matrix, learning_curves, predicted_against_true
from leyden.predictions import PREDICTIONS_FILE, read_predictions
from leyden.run import is_study, read_record, write_atomically

MATRIX_FILE = "confusion_matrix.csv"  # of one class per image
CLASSES_FILE = "classes.csv"  # of any number of labels
CURVES_FILE = "precision_recall.csv"  # of each class against the others


def draw(directory: Path) -> list[Path]:
    """Draws the pictures of a finished run, or of every finished run of a study; returns those drawn.

    Raises:
        ValueError: the directory holds no finished run.
    """
    if not is_study(directory):
        return draw_run(directory)
    tested = sorted(path.parent for path in directory.glob(f"*/{PREDICTIONS_FILE}"))
    runs = [run for run in tested if "metrics" in read_record(run)]  # one that trains longer is tested anew
    if not runs:
        raise ValueError(f"{directory} has no finished run yet")
    return [picture for run in runs for picture in draw_run(run)]


def draw_run(directory: Path) -> list[Path]:
    """Draws the pictures of one finished run.

    Raises:
        ValueError: the directory holds none.
    """
    record, predictions = read_record(directory), read_predictions(directory)
    if predictions is None:
        raise ValueError(f"{directory} has no {PREDICTIONS_FILE}: its run is {record['status']}, not finished")
    if "metrics" not in record:
        raise ValueError(f"{directory} was tested before it went on: its run is {record['status']}, not finished")
    metrics = record["metrics"]
    curves = directory / "learning_curves.png"
    learning_curves(directory / "metrics.csv", curves, metrics, metrics.get("best/epoch"))
    if predictions.is_single_label:
        picture = directory / "confusion_matrix.png"
        confusion_matrix(*read_matrix(directory / MATRIX_FILE), picture)
    elif predictions.confidences is not None:
        picture = directory / "average_precision.png"
        average_precisions(read_classes(directory / CLASSES_FILE), picture)
    else:
        picture = directory / "predictions.png"
        predicted_against_true(predictions.predictions, predictions.labels, picture)
    drawn = [curves, picture]
    if predictions.is_single_label:
        reliability = directory / "reliability.png"
        assert predictions.confidences is not None
        figures.reliability(predictions.confidences, predictions.labels == predictions.predictions, reliability)
        drawn.append(reliability)
    if classes := read_curves(directory / CURVES_FILE):
        figures.precision_recall(classes, directory / "precision_recall.png")
        drawn.append(directory / "precision_recall.png")
    if examples := read_examples(directory):
        figures.example_images(examples, directory / EXAMPLES, directory / "examples.png")
        drawn.append(directory / "examples.png")
    return drawn


def write_matrix(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Writes a confusion matrix [K, K] as a table: a row per true class, a column per predicted one."""
    rows = [["true", *class_names], *([name, *counts] for name, counts in zip(class_names, matrix, strict=True))]
    _write_table(rows, path)


def read_matrix(path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """The counts and the class names of a table that `write_matrix` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        (_, *class_names), *rows = csv.reader(file)
    return np.array([row[1:] for row in rows], dtype=np.int64), class_names


def write_curves(curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], path: Path) -> None:
    """Writes precision and recall of each class at falling thresholds."""
    rows = [
        (name, f"{recall:.5f}", f"{precision:.5f}")
        for name, points in curves.items()
        for precision, recall in zip(*points, strict=True)
    ]
    _write_table([("class", "recall", "precision"), *rows], path)


def read_curves(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Recall and precision of each class in a table that `write_curves` wrote; nothing where there is none."""
    classes: dict[str, tuple[list[float], list[float]]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                recalls, precisions = classes.setdefault(row["class"], ([], []))
                recalls.append(float(row["recall"]))
                precisions.append(float(row["precision"]))
    return classes


def write_classes(rows: Sequence[tuple[str, int, float, float, float, float]], path: Path) -> None:
    """Writes a row per class: how many test images it is on, its average precision with the 95 % interval of that, and
    the probability from which on the answer is yes.
    """
    header = ("class", "test_images", "average_precision", "low", "high", "threshold")
    _write_table([header, *rows], path)


def read_classes(path: Path) -> list[tuple[str, float, float, float]]:
    """The name, average precision and its interval of each class in a table that `write_classes` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    return [(row["class"], float(row["average_precision"]), float(row["low"]), float(row["high"])) for row in rows]


def _write_table(rows: Iterable[Sequence[object]], path: Path) -> None:
    """Writes rows as CSV; Python's own writer leaves a carriage return in a name without quotes."""
    write_atomically(path, "".join(",".join(map(_quoted, row)) + "\n" for row in rows))


def _quoted(cell: object) -> str:
    text = str(cell)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text
