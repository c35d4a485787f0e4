"""Evaluation > **pictures** > page: reliability, risk and coverage, slices, corruptions, other data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leyden.figures import BLUE, DOTS_PER_INCH, GREY, ORANGE, new_figure, reliability_bins
from leyden.metric_names import is_percentage

MOST_BARS = 30


def reliability_before_and_after(
    before: tuple[NDArray[Any], NDArray[np.bool_]], after: tuple[NDArray[Any], NDArray[np.bool_]] | None, path: Path
) -> None:
    """Draws how often answers of each confidence are right, with the network's own logits and divided ones."""
    figure = new_figure(5, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="as sure as right")
    drawn = [("as it is", before, BLUE, "o-")]
    if after is not None:
        drawn.append(("with the temperature", after, ORANGE, "s--"))
    for name, (confidences, is_right), colour, style in drawn:
        means, shares, counts = reliability_bins(confidences, is_right)
        axes.plot(means, shares, style, color=colour, markersize=4, label=name)
        axes.scatter(means, shares, s=8 + 120 * counts / counts.sum(), color=colour, alpha=0.35, linewidths=0)
    axes.set_xlabel("confidence (a dot's size: its share of the images)")
    axes.set_ylabel("share of right answers")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def risk_coverage(curve: Sequence[Sequence[float]], path: Path) -> None:
    """Draws the share of wrong answers against the share of images that are answered, the surest first."""
    figure = new_figure(5, 3.8)
    axes = figure.subplots()
    coverages, risks = zip(*curve, strict=True)
    axes.plot(100 * np.array(coverages), 100 * np.array(risks), color=BLUE)
    axes.axhline(100 * risks[-1], color=GREY, linewidth=1, linestyle=":", label="all images answered")
    axes.set_xlabel("coverage: images answered, the surest first (%)")
    axes.set_ylabel("wrong answers among them (%)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def bars(rows: Sequence[tuple[str, float, Sequence[float]]], whole: float, metric: str, path: Path) -> None:
    """Draws a value with its interval for each name, and that of all images as a line."""
    scale = 100 if is_percentage(metric) else 1
    rows = list(rows)[:MOST_BARS][::-1]
    figure = new_figure(6.5, 1.0 + 0.3 * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))
    values, lows, highs = (
        scale * np.array(column) for column in zip(*((v, *ends) for _, v, ends in rows), strict=True)
    )
    axes.hlines(places, lows, highs, color=BLUE, linewidth=2)
    axes.plot(values, places, "o", color=BLUE, markersize=5)
    axes.axvline(scale * whole, color=GREY, linewidth=1, linestyle=":", label="all images")
    axes.set_yticks(places, [name if len(name) <= 40 else name[:39] + "…" for name, _, _ in rows])
    axes.set_xlabel(metric.replace("_", " ") + (" (%)" if scale == 100 else "") + ", with 95 % interval")
    axes.grid(alpha=0.25, axis="x")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")


def corruption_errors(found: Mapping[str, Any], path: Path) -> None:
    """Draws the cost at each severity of each corruption, as shades with numbers."""
    names, severities = list(found["corruptions"]), found["severities"]
    is_share = found["cost"] != "mae"
    table = np.array(
        [
            [found["corruptions"][name]["severities"][str(severity)]["value"] for severity in severities]
            for name in names
        ]
    )
    shown = 100 * table if is_share else table
    figure = new_figure(1.0 + 2.4 + 0.75 * len(severities), 1.2 + 0.33 * len(names))
    axes = figure.subplots()
    clean = found["clean"]["value"] * (100 if is_share else 1)
    image = axes.imshow(shown, cmap="Oranges", aspect="auto", vmin=clean, vmax=max(float(shown.max()), clean + 1e-9))
    for (row, column), value in np.ndenumerate(shown):
        is_dark = value > clean + 0.6 * (image.norm.vmax - clean)
        colour = "white" if is_dark else "black"
        axes.text(
            column,
            row,
            f"{value:.1f}" if is_share else f"{value:.3g}",
            ha="center",
            va="center",
            fontsize=8,
            color=colour,
        )
    axes.set_xticks(range(len(severities)), severities)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_xlabel("severity")
    axes.set_title(f"{found['cost']}{' (%)' if is_share else ''}; {clean:.3g} of images as they are", fontsize=9)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def corruption_samples(
    samples: Mapping[str, Sequence[NDArray[np.uint8]]], severities: Sequence[int], path: Path
) -> None:
    """Draws an image at each severity of each corruption, [H, W, C]."""
    names = list(samples)
    columns = 2 if len(names) > 7 else 1
    rows = -(-len(names) // columns)
    width = len(severities) * columns
    figure = new_figure(0.85 * width + 1.2 * columns, 0.95 * rows, layout=None)
    margins = {"left": 0.2 / columns, "right": 0.99, "bottom": 0.01, "top": 0.98, "wspace": 0.05, "hspace": 0.08}
    grid = figure.subplots(rows, width + columns - 1, squeeze=False, gridspec_kw=margins)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for number, name in enumerate(names):
        column, row = divmod(number, rows)
        first = column * (len(severities) + 1)
        grid[row, first].set_ylabel(name.replace("_", "\n"), fontsize=6, rotation=0, ha="right", va="center")
        for place, image in enumerate(samples[name]):
            shown = image[..., 0] if image.shape[2] == 1 else image
            grid[row, first + place].imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def two_histograms(inside: NDArray[Any], outside: NDArray[Any], names: tuple[str, str], label: str, path: Path) -> None:
    """Draws how a score is distributed over the run's own images and over others."""
    figure = new_figure(5, 3.4)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate([inside, outside]), 40)
    for values, name, colour in ((inside, names[0], BLUE), (outside, names[1], ORANGE)):
        shares = np.ones(len(values)) * 100 / len(values)
        axes.hist(values, edges, weights=shares, color=colour, alpha=0.55, label=name)
    axes.set_xlabel(label)
    axes.set_ylabel("images (%)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper center")
    figure.savefig(path, dpi=DOTS_PER_INCH)
