"""Settings > **labels** > page: how many labels each way to train needs, and how many one is worth beside another.

Curves of the test metric over ever more labelled images, where a study varies how many there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leyden.metric_names import HEADLINES, direction, is_percentage
from leyden.report.collect import Collection
from leyden.report.model import Estimate, Factor, LabelCurve, LabelEfficiency, Setting, exactly, sure
from leyden.report.settings import resolution
from leyden.report.statistics import difference, estimate
from leyden.report.words import difference_in_words, in_words, level_in_words

AMOUNTS = ("data.labels_per_class", "data.train_fraction")
MOST_CURVES = 12
ALMOST = 0.9  # of the most labels: folds and splits leave a few more or less

Values = Mapping[object, float]  # the metric's value by `Found.repeat`


def label_efficiency(
    collection: Collection, factors: Sequence[Factor], settings: Sequence[Setting]
) -> LabelEfficiency | None:
    """The curves, or None where fewer than two amounts of labels were tried.

    Each level of the other named factor that has most levels gets one; whatever varies besides is at its best by
    validation. The metric is that which the task is told by, whatever chose. `reference` is the level that is worst
    with all labels, of those that were run with all.
    """
    amount = next((factor["name"] for factor in factors if factor["name"] in AMOUNTS), None)
    if amount is None:
        return None
    metric = _metric(collection)
    grain = resolution(collection.data, metric)
    by = _by(factors)
    curves: list[LabelCurve] = []
    values: list[list[Values]] = []
    for level in [None] if by is None else by["levels"]:
        of_level = [
            each for each in settings if by is None or exactly(each["factors"].get(by["name"])) == exactly(level)
        ]
        points = _points(collection, of_level, amount, metric)
        if points:
            estimates = [estimate(list(found.values()), grain, is_percentage(metric)) for _, found in points]
            images = [images for images, _ in points]
            curves.append({"level": level, "images": images, "estimates": estimates, "differences": []})
            values.append([found for _, found in points])
    if max((len(curve["images"]) for curve in curves), default=0) < 2:
        return None
    sign = 1 if direction(metric) == "max" else -1
    most = max(curve["images"][-1] for curve in curves)
    whole = [place for place, curve in enumerate(curves) if curve["images"][-1] > ALMOST * most]
    reference = min(whole, key=lambda place: sign * curves[place]["estimates"][-1]["mean"])
    for curve, found in zip(curves, values, strict=True):
        curve["differences"] = [_difference(one, values[reference][-1], grain) for one in found]
    return {
        "amount": amount, "by": None if by is None else by["name"], "metric": metric,
        "is_share": is_percentage(metric), "curves": curves, "reference": reference,
        "sentences": _worth(curves, reference, by, metric) if len(curves) > 1 else [],
    }  # fmt: skip


def _metric(collection: Collection) -> str:
    """The test metric that the task is told by, where all runs have it, else the one that the report is of."""
    task: Any = collection.data.get("task")
    name = f"test/{HEADLINES.get(task)}"
    is_told = all(run.figure(name) is not None for run in collection.finished)
    return name if is_told else collection.metric["reported"]


def _by(factors: Sequence[Factor]) -> Factor | None:
    fit = [
        factor
        for factor in factors
        if factor["name"] not in AMOUNTS and not factor["is_numeric"] and 1 < len(factor["levels"]) <= MOST_CURVES
    ]
    return max(fit, key=lambda factor: len(factor["levels"]), default=None)


def _points(
    collection: Collection, settings: Sequence[Setting], amount: str, metric: str
) -> list[tuple[float, Values]]:
    """Training images, and the runs' values, of each amount of labels, the fewest first; the best setting's of each."""
    best: dict[object, Setting] = {}
    for setting in settings:  # best first
        best.setdefault(exactly(setting["factors"].get(amount)), setting)
    points: list[tuple[float, Values]] = []
    for setting in best.values():
        runs = [run for name in setting["runs"] if (run := collection.by_id[name]).figure(metric) is not None]
        images = [run.record["data"]["num_train"] for run in runs if "num_train" in run.record["data"]]
        if images:
            points.append((float(np.mean(images)), {run.repeat: sure(run.figure(metric)) for run in runs}))
    return sorted(points, key=lambda point: point[0])


def _difference(one: Values, other: Values, grain: float) -> Estimate:
    """By shared seeds, where there are two or more."""
    shared = [key for key in one if key in other]
    is_paired = len(shared) > 1
    first, second = ([side[key] for key in (shared if is_paired else side)] for side in (one, other))
    found = difference(first, second, is_paired, grain)
    return {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high}


def _worth(curves: Sequence[LabelCurve], reference: int, by: Factor | None, metric: str) -> list[str]:
    """For each other curve, from how many images on it is no worse than the reference with all of its own."""
    assert by is not None
    sign, is_share = 1 if direction(metric) == "max" else -1, is_percentage(metric)
    name = f"{by['name']}={level_in_words(curves[reference]['level'])}"
    whole = curves[reference]["images"][-1]
    against = f"{name} with {whole:,.0f} ({in_words(curves[reference]['estimates'][-1], is_share)})"
    sentences = []
    for place, curve in enumerate(curves):
        if place == reference:
            continue
        is_enough = [sign * each["mean"] >= 0 for each in curve["differences"]]
        fewest = next((start for start in range(len(is_enough)) if all(is_enough[start:])), None)
        way = f"{by['name']}={level_in_words(curve['level'])}"
        if fewest is None:
            sentences.append(f"With no amount tried is {way} on average as good on {metric} as {against}.")
            continue
        apart = curve["differences"][fewest]
        told = difference_in_words(apart["mean"], apart["low"], apart["high"], is_share)
        reached = in_words(curve["estimates"][fewest], is_share)
        sentences.append(
            f"Of the amounts tried, {curve['images'][fewest]:,.0f} labelled images are enough for {way} to be on "
            f"average as good on {metric} as {against}: {reached}, a difference of {told}."
        )
    return sentences
