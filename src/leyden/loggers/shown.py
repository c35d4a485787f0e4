"""Run directory > **what is shown** > W&B: tables, charts and pictures of a finished run, from what stands on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leyden.draw import CURVES_FILE, MATRIX_FILE, read_curves, read_matrix
from leyden.examples import DIRECTORY, Example, read_examples
from leyden.figures import reliability_bins
from leyden.predictions import read_predictions
from leyden.wandb_names import CONFUSION_MATRIX, PICTURES, PREDICTIONS, RELIABILITY

MOST_CLASSES = 100  # of a confusion matrix, whose table has a row for each pair of them


def shown_of(run_directory: Path) -> dict[str, Any]:
    """What W&B is to show of a finished run beside its curves, by name."""
    return dict(_shown_of(run_directory))


def _shown_of(directory: Path) -> Iterator[tuple[str, Any]]:
    import wandb

    if examples := read_examples(directory):
        rows = [_row(example, directory / DIRECTORY) for example in examples]
        yield PREDICTIONS, wandb.Table(columns=list(Example._fields), data=rows)
    predictions = read_predictions(directory)
    if predictions and predictions.is_single_label:
        assert predictions.confidences is not None
        is_right = predictions.labels == predictions.predictions
        means, shares, _ = reliability_bins(predictions.confidences, is_right)
        lines = [shares.tolist(), means.tolist()]
        yield RELIABILITY, wandb.plot.line_series(
            means.tolist(), lines, keys=["share of right answers", "as sure as right"],
            title="Reliability", xname="confidence",
        )  # fmt: skip
    if (directory / MATRIX_FILE).is_file():
        matrix, names = read_matrix(directory / MATRIX_FILE)
        if len(names) <= MOST_CLASSES:
            yield CONFUSION_MATRIX, _confusion_matrix(matrix.tolist(), names)
    if curves := read_curves(directory / CURVES_FILE):
        recalls, precisions = zip(*curves.values(), strict=True)
        yield (
            "precision_recall",
            wandb.plot.line_series(
                list(recalls), list(precisions), keys=list(curves), title="Precision and recall", xname="recall"
            ),
        )
    for picture in sorted(directory.glob("*.png")):
        yield f"{PICTURES}/{picture.stem}", wandb.Image(str(picture))


def _row(example: Example, directory: Path) -> list[Any]:
    import wandb

    confidence = float(example.confidence) if example.confidence else None
    image = wandb.Image(str(directory / example.image))
    return [example.why, image, example.label, example.prediction, confidence, float(example.loss)]


def _confusion_matrix(matrix: list[list[int]], names: list[str]) -> Any:
    """W&B's own chart of one, whose rows are pairs of classes."""
    import wandb

    rows = [
        [true, predicted, count]
        for true, counts in zip(names, matrix, strict=True)
        for predicted, count in zip(names, counts, strict=True)
    ]
    table = wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=rows)
    fields: dict[str, Any] = {str(name): name for name in table.columns}
    return wandb.plot_table("wandb/confusion_matrix/v1", table, fields, {"title": "Confusion matrix"})
