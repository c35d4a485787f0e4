"""Answers > **selective prediction** > evaluate: how right it is where it may decline to answer when it is not sure.

Shapes: N images, those of the surest answers first, R resamples of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leyden.evaluate.number import Number, number
from leyden.intervals import percentiles, resamples

Array = NDArray[np.float64]
ACCURACIES = (0.95, 0.99)
MOST_POINTS = 500  # of the curve that is kept


class RiskCoverage(NamedTuple):
    """The share of wrong answers among the surest ones, for each number of them that is answered."""

    coverages: Array  # [N]: 1/N to 1
    risks: Array  # [N]; within answers of one confidence, in any order, what is expected
    is_threshold: NDArray[np.bool_]  # [N]: whether a confidence divides here

    @property
    def area(self) -> float:
        """The mean risk over all coverages, AURC (Geifman, Uziel and El-Yaniv 2019)."""
        return float(self.risks.mean())

    @property
    def excess_area(self) -> float:
        """The area above that of an order with all right answers first."""
        num_images = len(self.risks)
        num_wrong = round(float(self.risks[-1]) * num_images)
        places = np.arange(num_images - num_wrong + 1, num_images + 1)
        return self.area - float(((places - (num_images - num_wrong)) / places).sum() / num_images)

    def coverage_at(self, accuracy: float) -> float:
        """The largest share of images of which so many are right, the surest of them; 0 where there is none."""
        fits = self.is_threshold & (1 - self.risks >= accuracy - 1e-12)
        return float(self.coverages[fits].max(initial=0.0))


def risk_coverage(confidences: NDArray[Any], is_wrong: NDArray[np.bool_], counts: Array | None = None) -> RiskCoverage:
    """The curve of answers [N] with their confidences, each of which counts so often (default: once)."""
    order = np.argsort(-confidences, kind="stable")
    group = np.cumsum(np.append(False, np.diff(confidences[order]) != 0))
    weights = np.ones(len(order)) if counts is None else counts[order]
    wrong, total = np.bincount(group, weights * is_wrong[order]), np.bincount(group, weights)
    expected = np.repeat((wrong / np.maximum(total, 1))[group], weights.astype(np.int64))
    places = np.arange(1, len(expected) + 1)
    is_end = np.isin(places, np.cumsum(total))
    return RiskCoverage(places / len(expected), np.cumsum(expected) / places, is_end)


def selective(confidences: NDArray[Any], is_wrong: NDArray[np.bool_]) -> tuple[dict[str, Number], RiskCoverage]:
    """Area under the risk–coverage curve, its excess, and coverages at accuracies, with intervals; and the curve."""
    order = np.argsort(-confidences, kind="stable")  # once: what is in order already is sorted at once
    confidences, is_wrong = confidences[order], is_wrong[order]
    curve = risk_coverage(confidences, is_wrong)
    rows = (row for weights in resamples(len(confidences)) for row in weights)
    again = np.array([_figures(risk_coverage(confidences, is_wrong, row)) for row in rows])  # [R, 4]
    names = ("aurc", "excess_aurc", *(f"coverage_at_{100 * accuracy:.0f}" for accuracy in ACCURACIES))
    columns = zip(names, _figures(curve), again.T, strict=True)
    found = {name: number(value, percentiles(values)) for name, value, values in columns}
    return found, curve


def _figures(curve: RiskCoverage) -> list[float]:
    return [curve.area, curve.excess_area, *map(curve.coverage_at, ACCURACIES)]


def points(curve: RiskCoverage) -> list[list[float]]:
    """Coverage and risk where a confidence divides, evenly chosen where there are many."""
    places = np.flatnonzero(curve.is_threshold)
    if len(places) > MOST_POINTS:
        places = places[np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).astype(np.int64))]
    return [[round(float(curve.coverages[place]), 6), round(float(curve.risks[place]), 6)] for place in places]
