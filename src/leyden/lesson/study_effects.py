"""Study > **effects of a study** > verdict: what a claim's contrasts are in the runs, by the statistics of the report.

Shapes: R runs of a setting, which differ by their seed alone; E epochs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leyden.lesson.claims import METRIC, Contrast, StudyPicture
from leyden.lesson.model import Line, Picture, line, line_of_estimates, picture_of_lines
from leyden.metric_names import is_percentage
from leyden.report.collect import Collection, Found
from leyden.report.curves import bands
from leyden.report.model import Estimate, Level, Setting
from leyden.report.settings import describe_factors, resolution
from leyden.report.statistics import difference, estimate
from leyden.report.words import level_in_words

GAP = "gap"  # training minus validation accuracy


def effect_of(contrast: Contrast, collection: Collection, settings: Sequence[Setting]) -> Estimate | None:
    """The effect over the seeds that all its sides have; None where there is none.

    The interval is that of the paired t-test, as in the report.
    """
    first = [_values_of(side, contrast, collection, settings) for side in contrast.of]
    second = [_values_of(side, contrast, collection, settings) for side in contrast.minus]
    shared = sorted(set.intersection(*(set(values) for values in [*first, *second])), key=str)
    if not shared:
        return None
    one, other = (
        np.sum([[values[seed] for seed in shared] for values in sides] or [[0.0] * len(shared)], axis=0)
        for sides in (first, second)
    )
    grain = resolution(collection.data, metric_of(contrast))
    if not second:
        return estimate(one, grain)
    found = difference(one, other, is_paired=True, resolution=grain)
    return {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high}


def metric_of(contrast: Contrast) -> str:
    """The metric that it is of, or that its first side names."""
    return str(contrast.of[0].get(METRIC, contrast.metric))


def is_difference_of_shares(contrast: Contrast) -> bool:
    """Whether an effect is told in points of a per cent."""
    return bool(contrast.of) and _is_share(metric_of(contrast))


def picture_of(asked: StudyPicture, collection: Collection, settings: Sequence[Setting]) -> Picture:
    """A metric along a factor, each other factor at its best by validation; or curves over epochs, with bands."""
    chosen = fitting(asked.at, settings)
    if asked.curves:
        return _curves(asked, collection, chosen)
    factors = {factor["name"]: factor for factor in describe_factors(collection)}
    along = factors[asked.along]
    lines: list[Line] = []
    for level in factors[asked.by]["levels"] if asked.by else [None]:
        points: list[tuple[Level, Estimate]] = []
        for place in along["levels"]:
            wanted = {asked.along: place, **({asked.by: level} if asked.by else {})}
            found = fitting(wanted, chosen)
            values = metric_by_seed(found[0], asked.metric, collection) if found else {}
            if values:
                points.append((place, estimate(list(values.values()), resolution(collection.data, asked.metric))))
        if points:
            lines.append(_line(level_in_words(level) if asked.by else "", points, along["is_numeric"]))
    is_share = _is_share(asked.metric)
    return picture_of_lines(asked.title, asked.along, asked.metric, lines, is_share, is_log_x=along["is_log"])


def fitting(wanted: Mapping[str, Any], settings: Sequence[Setting]) -> list[Setting]:
    """The settings with these levels, or one of those listed for a factor, the best by validation first."""
    return [
        setting
        for setting in settings
        if all(
            setting["factors"].get(key) in (level if isinstance(level, list) else [level])
            for key, level in wanted.items()
        )
    ]


def metric_by_seed(setting: Setting, metric: str, collection: Collection) -> dict[Any, float]:
    """A metric of each run of a setting: one of its record, or of a moment of its curves, as in `last val/loss`."""
    runs = [collection.by_id[name] for name in setting["runs"]]
    found = {run.repeat: _value(run, metric) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def _values_of(
    side: Mapping[str, Any], contrast: Contrast, collection: Collection, settings: Sequence[Setting]
) -> dict[Any, float]:
    """A side's metric by seed."""
    metric = side.get(METRIC, contrast.metric)
    found = fitting({key: level for key, level in side.items() if key != METRIC}, settings)
    if not found:
        return {}
    if contrast.over == "best":
        return metric_by_seed(found[0], metric, collection)
    columns = [metric_by_seed(setting, metric, collection) for setting in found]
    shared = set.intersection(*map(set, columns))
    return {seed: float(np.mean([column[seed] for column in columns])) for seed in shared}


def _value(run: Found, metric: str) -> float | None:
    moment, _, name = metric.rpartition(" ")
    if not moment:
        return run.value(metric)
    if name == GAP:
        train, val = (_value(run, f"{moment} {split}/accuracy") for split in ("train", "val"))
        return None if train is None or val is None else train - val
    curve = run.curves.get(name, np.empty(0))
    known = curve[np.isfinite(curve)]
    if not len(known):
        return None
    # The moments of a run that a metric may be of.
    place = {"first": 0, "quarter": len(known) // 4, "half": len(known) // 2, "last": len(known) - 1}[moment]
    return float(known[place])


def _is_share(metric: str) -> bool:
    name = metric.split(" ")[-1]
    return name == GAP or is_percentage(name)


def _line(name: str, points: Sequence[tuple[Level, Estimate]], is_numeric: bool) -> Line:
    xs: Any = [level if is_numeric else level_in_words(level) for level, _ in points]
    return line_of_estimates(name, xs, [of for _, of in points])


def _curves(asked: StudyPicture, collection: Collection, settings: Sequence[Setting]) -> Picture:
    lines = []
    levels = {level_in_words(setting["factors"].get(asked.by)): setting for setting in reversed(settings)}
    for level, setting in (levels if asked.by else {"": settings[0]}).items() if settings else ():
        epochs, found = bands([collection.by_id[name].curves for name in setting["runs"]])
        for metric in asked.curves:
            band = found.get(metric)
            if band:
                name = f"{level} {'training' if metric.startswith('train/') else 'validation'}".strip()
                lines.append(line(name, [1.0 + epoch for epoch in epochs], band["mean"], band["low"], band["high"]))
    metric = asked.curves[0]
    return picture_of_lines(asked.title, "epoch", metric.split("/")[-1], lines, _is_share(metric), is_curve=True)
