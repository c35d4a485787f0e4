"""Summary > **figures**: a run's learning curves and confusion matrix as PNG. Matplotlib is imported on first use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leyden.loggers import read_metrics

# Okabe & Ito's palette: told apart by the colour-blind, and in grey by lightness and dash.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#666666"
NAMED_CLASSES = 30  # more classes than this are shown without names and counts
DOTS_PER_INCH = 150


def learning_curves(metrics: Path, path: Path, test: dict[str, float], best_epoch: int | None = None) -> None:
    """Draws loss and accuracy against epochs from a metrics.csv, with the test result as a line."""
    rows = [row for row in read_metrics(metrics) if row.get("val/loss") or row.get("train/loss")]
    figure = _figure(9, 3.6)
    for axes, name, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("loss", "accuracy (%)"), strict=True):
        scale = 100 if name == "accuracy" else 1
        for split, colour, style in (("train", ORANGE, "--"), ("val", BLUE, "-")):
            points = [
                (int(row["epoch"]), scale * float(row[f"{split}/{name}"])) for row in rows if row.get(f"{split}/{name}")
            ]
            if points:
                marker = "o" if len(points) < 40 else ""
                label = "training" if split == "train" else "validation"
                axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, markersize=3, label=label)
        value = scale * test[f"test/{name}"]
        text = f"test: {value:.2f} %" if name == "accuracy" else f"test: {value:.3f}"
        axes.axhline(value, color=GREY, linewidth=1, linestyle=":", label=text)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREY, linewidth=0.8, alpha=0.6, label=f"best epoch: {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def confusion_matrix(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix [K, K], rows true classes: shades are shares of a row, numbers are images."""
    num_classes = len(class_names)
    size = min(12.0, 2.5 + 0.55 * num_classes)
    figure = _figure(size, size)
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


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
