"""Summary > **figures**: a run's learning curves and what it answered, as PNG. Matplotlib is imported on first use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from leyden.metric_names import HEADLINES, NUM_CALIBRATION_BINS, is_percentage, read_metrics
from leyden.scores import calibration_bins

if TYPE_CHECKING:
    from leyden.examples import Example

# Okabe & Ito's palette: told apart by the colour-blind, and in grey by lightness and dash.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#666666"
NAMED_CLASSES = 30  # more classes than this are shown without names and counts
NAMED_BARS = 80  # and so are more bars than this
NUM_LETTERS = 16  # of a class above a small image
DOTS_PER_INCH = 150


def learning_curves(metrics: Path, path: Path, test: dict[str, float], best_epoch: int | None = None) -> None:
    """Draws loss and the task's headline against epochs from a metrics.csv, with the test result as a line."""
    rows = [row for row in read_metrics(metrics) if row.get("val/loss") or row.get("train/loss")]
    figure = new_figure(9, 3.6)
    headline = next(name for name in HEADLINES.values() if f"test/{name}" in test)
    for axes, name in zip(figure.subplots(1, 2), ("loss", headline), strict=True):
        scale = 100 if is_percentage(name) else 1
        for split, colour, style in (("train", ORANGE, "--"), ("val", BLUE, "-")):
            points = [
                (int(row["epoch"]), scale * float(row[f"{split}/{name}"])) for row in rows if row.get(f"{split}/{name}")
            ]
            if points:
                marker = "o" if len(points) < 40 else ""
                label = "training" if split == "train" else "validation"
                axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, markersize=3, label=label)
        value = scale * test[f"test/{name}"]
        text = f"test: {value:.2f} %" if is_percentage(name) else f"test: {value:.3f}"
        axes.axhline(value, color=GREY, linewidth=1, linestyle=":", label=text)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREY, linewidth=0.8, alpha=0.6, label=f"best epoch: {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " ") + " (%)" * is_percentage(name))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="upper right" if name == "loss" else "lower right")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def confusion_matrix(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix [K, K], rows true classes: shades are shares of a row, numbers are images."""
    num_classes = len(class_names)
    size = min(12.0, 2.5 + 0.55 * num_classes)
    figure = new_figure(size, size)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the true class")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if num_classes <= NAMED_CLASSES:
        turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if max(map(len, class_names)) > 3 else {}
        axes.set_xticks(range(num_classes), class_names, **turned)
        axes.set_yticks(range(num_classes), class_names)
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")  # long class names differ in what they need


def average_precisions(classes: Sequence[tuple[str, float, float, float]], path: Path) -> None:
    """Draws the average precision of each class with its 95 % interval, the best first."""
    names, *columns = zip(*sorted(classes, key=lambda row: row[1]), strict=True)
    values, lows, highs = (100 * np.array(column) for column in columns)
    figure = new_figure(7, min(24.0, 1.2 + 0.28 * len(names)))
    axes = figure.subplots()
    places = np.arange(len(names))
    axes.barh(places, values, color=BLUE, alpha=0.75)
    axes.hlines(places, lows, highs, color="black", linewidth=1.2)
    axes.set_xlim(0, 100)
    axes.set_xlabel("average precision (%), with 95 % interval")
    axes.set_yticks(*((places, names) if len(names) <= NAMED_BARS else ([],)))
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")


def predicted_against_true(predictions: NDArray[Any], labels: NDArray[Any], path: Path) -> None:
    """Draws each test image's number as answered against the true one; on the line they are the same."""
    figure = new_figure(5, 5)
    axes = figure.subplots()
    ends = [min(labels.min(), predictions.min()), max(labels.max(), predictions.max())]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=":")
    size = float(np.clip(4000 / len(labels), 1, 20))
    axes.scatter(labels, predictions, s=size, color=BLUE, alpha=0.4, linewidths=0)
    axes.set_xlabel("true value")
    axes.set_ylabel("predicted value")
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def reliability(confidences: NDArray[Any], is_right: NDArray[np.bool_], path: Path) -> None:
    """Draws how often answers of each confidence are right: on the line, confidence is the chance to be right."""
    means, shares, counts = reliability_bins(confidences, is_right)
    figure = new_figure(5, 5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="as sure as right")
    upper.plot(means, shares, color=BLUE, marker="o", markersize=4, label="this network")
    upper.set_ylabel("share of right answers")
    upper.legend(frameon=False, fontsize=8, loc="upper left")
    lower.bar(means, counts, width=0.8 / NUM_CALIBRATION_BINS, color=ORANGE)
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def reliability_bins(
    confidences: NDArray[Any], is_right: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Mean confidence, share of right answers and images of each bin of the calibration error that has any."""
    bins = calibration_bins(confidences)
    counts = np.bincount(bins, minlength=NUM_CALIBRATION_BINS)
    held = counts > 0
    sums = (np.bincount(bins, values, NUM_CALIBRATION_BINS)[held] for values in (confidences, is_right))
    means, shares = (total / counts[held] for total in sums)
    return means, shares, counts[held]


def precision_recall(classes: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path) -> None:
    """Draws precision against recall of each class; of many, without their names."""
    figure = new_figure(5.5, 5)
    axes = figure.subplots()
    for name, (recalls, precisions) in classes.items():
        axes.plot(recalls, precisions, linewidth=1.2, label=name)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.grid(alpha=0.25)
    if len(classes) <= NAMED_CLASSES:
        axes.legend(frameon=False, fontsize=7, loc="lower left", ncols=1 + len(classes) // 12)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def range_test(
    rates: NDArray[np.float64], losses: NDArray[np.float64], smoothed: NDArray[np.float64], suggested: float, path: Path
) -> None:
    """Draws the loss against the learning rate of a range test, and the rate that it suggests."""
    figure = new_figure(6.5, 3.8)
    axes = figure.subplots()
    axes.plot(rates, losses, color=ORANGE, linewidth=0.8, alpha=0.7, label="loss of each step")
    axes.plot(rates, smoothed, color=BLUE, label="smoothed")
    axes.axvline(suggested, color=GREY, linestyle=":", label=f"suggested: {suggested:.2g}")
    axes.set_xscale("log")
    low, first = float(smoothed.min()), float(smoothed[0])
    axes.set_ylim(low - 0.1 * (first - low), first + 0.6 * (first - low) if first > low else None)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def example_images(examples: "Sequence[Example]", directory: Path, path: Path) -> None:
    """Draws test images with what they are and what was answered, a row for each reason to show them."""
    from PIL import Image

    kinds = list(dict.fromkeys(example.why for example in examples))
    num_columns = max(sum(example.why == kind for example in examples) for kind in kinds)
    figure = new_figure(0.5 + 1.45 * num_columns, 2.05 * len(kinds), layout=None)  # constrained would take a second
    margins = {"left": 0.03, "right": 0.99, "bottom": 0.02, "top": 0.92, "wspace": 0.08, "hspace": 0.3}
    grid = figure.subplots(len(kinds), num_columns, squeeze=False, gridspec_kw=margins)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for row, kind in zip(grid, kinds, strict=True):
        row[0].set_ylabel(kind)
        for axes, example in zip(row, (example for example in examples if example.why == kind), strict=False):
            with Image.open(directory / example.image) as image:
                axes.imshow(np.asarray(image.convert("RGB")), interpolation="nearest")
            sure = f" ({float(example.confidence):.0%})" if example.confidence else ""
            colour = "black" if example.prediction == example.label else ORANGE
            answer = f"{_shortened(example.prediction)}{sure}\nis {_shortened(example.label)}"
            axes.set_title(answer, fontsize=7, color=colour)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _shortened(name: str) -> str:
    return name if len(name) <= NUM_LETTERS else name[: NUM_LETTERS - 1] + "…"


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Any:
    """A figure of so many inches; Matplotlib is imported with the first."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)
