"""Collect > **settings** > effects: runs that differ by seed, fold or split become one line, and how sure it is."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from leyden.metric_names import is_percentage
from leyden.report.collect import Collection, Found, Repeat
from leyden.report.model import Factor, Level, Run, Setting, Standing, exactly, sure
from leyden.report.statistics import estimate, not_distinguishable
from leyden.report.words import level_in_words
from leyden.study.record import seconds_of

NO_FACTORS = "the only setting"
LEAST_DECADES = 1.0  # numbers that span more are read on a logarithmic axis


def describe_factors(collection: Collection) -> list[Factor]:
    """The keys in which runs differ, with their levels: numbers in order, else as they came."""
    return [describe_factor(name, [run.factors.get(name) for run in collection.runs]) for name in collection.factors]


def describe_factor(name: str, found: Sequence[Level]) -> Factor:
    """A key with the values that runs have of it."""
    levels = list({exactly(level): level for level in found}.values())
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    is_numeric = len(numbers) == len(levels)
    is_log = is_numeric and min(numbers) > 0 and math.log10(max(numbers) / min(numbers)) > LEAST_DECADES
    ordered: list[Level] = [*sorted(numbers)] if is_numeric else levels
    return {"name": name, "levels": ordered, "is_numeric": is_numeric, "is_log": is_log}


def describe_runs(collection: Collection, settings: Sequence[Setting]) -> list[Run]:
    """Every run, in the order in which the study asked for them."""
    numbers = {key_of(setting["factors"]): setting["number"] for setting in settings}
    duplicates = {run.id for run in collection.finished} - {name for setting in settings for name in setting["runs"]}
    return [
        _describe(run, collection, None if run.id in duplicates else numbers.get(key_of(run.factors)))
        for run in collection.runs
    ]


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs that the figures are of."""
    return [run for run in runs if run["status"] == "finished" and run["setting"] is not None]


def _describe(run: Found, collection: Collection, number: int | None) -> Run:
    metric, speed = collection.metric, _speed(run)
    epoch = run.value("best/epoch")
    return {
        "id": run.id, "setting": number, "factors": run.factors, "seed": run.seed, "fold": run.fold,
        "split_seed": run.split_seed,
        "status": run.status,
        "reason": run.reason, "directory": os.path.relpath(run.directory, collection.directory),
        "command": run.record.get("command"),
        "wandb": run.record.get("wandb", {}).get("address"),
        "selection": run.figure(metric["selection"]), "reported": run.figure(metric["reported"]),
        "best_epoch": None if epoch is None else int(epoch), "seconds": seconds_of(run.record) if run.record else None,
        "seconds_per_step": run.batch_size / speed if speed and run.batch_size else None,
        "images_per_second": speed, "is_judged": run.is_judged, "overfit_from": run.overfit_from,
    }  # fmt: skip


def _speed(run: Found) -> float | None:
    value = run.record.get("timings", {}).get("training_images_per_second")
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None


def fold_seeds(collection: Collection) -> list[Setting]:
    """The settings that have a finished run, the best by its validation metric first.

    Of runs with the same setting, seed and split, which are the same run twice, the last one counts.
    """
    metric = collection.metric
    groups: dict[Any, dict[Repeat, Found]] = {}
    for run in collection.finished:
        groups.setdefault(key_of(run.factors), {})[run.repeat] = run
    sign = -1 if metric["direction"] == "max" else 1

    def mean(runs: dict[Repeat, Found]) -> float:
        return sign * float(np.mean([run.figure(metric["selection"]) for run in runs.values()]))

    ordered = sorted(groups.values(), key=mean)
    seeds = [{seed: sure(run.figure(metric["reported"])) for seed, run in runs.items()} for runs in ordered]
    standings: list[tuple[Standing, float | None]] = [("best", None)]
    grain = resolution(collection.data, metric["reported"])
    standings += not_distinguishable(seeds[0], seeds[1:], grain, metric["direction"])
    unfinished = Counter(key_of(run.factors) for run in collection.runs if run.status != "finished")
    return [
        _fold(number, [*runs.values()], collection, unfinished, *standing)
        for number, (runs, standing) in enumerate(zip(ordered, standings, strict=True))
    ]


def _fold(
    number: int, runs: Sequence[Found], collection: Collection, unfinished: Mapping[Any, int], standing: Standing,
    p_value: float | None,
) -> Setting:  # fmt: skip
    metric, factors = collection.metric, runs[0].factors
    chosen_by, reported = ([sure(run.figure(metric[key])) for run in runs] for key in ("selection", "reported"))
    grains = [resolution(collection.data, metric[key]) for key in ("selection", "reported")]
    gaps = [gap for run in runs if (gap := _gap(run)) is not None]
    return {
        "number": number, "label": label_of(factors), "factors": factors,
        "runs": [run.id for run in runs], "num_unfinished": unfinished.get(key_of(factors), 0),
        "selection": estimate(chosen_by, grains[0], metric["is_share"]),
        "reported": estimate(reported, grains[1], metric["is_share"]),
        "best_epoch": _mean(run.value("best/epoch") for run in runs), "gap": estimate(gaps) if gaps else None,
        "seconds": _mean(seconds_of(run.record) for run in runs), "standing": standing, "p_value": p_value,
        "num_overfit": sum(run.overfit_from is not None for run in runs),
        "ece": _mean(run.value("test/ece") for run in runs),
    }  # fmt: skip


def repeats_in_words(repeats: Iterable[tuple[object, object, object]]) -> str:
    """What runs of one setting differ by, each a seed, a fold and a split: a seed, fold or split, or a run of many."""
    pairs = [*repeats]
    seeds, folds, splits = (set(column) for column in zip(*pairs, strict=True))
    if folds != {None}:
        return "fold" if len(seeds) == len(splits) == 1 else "run"
    if len({(seed, split) for seed, _, split in pairs}) == len(seeds):
        return "seed"
    return "split" if len(seeds) == 1 else "run"


def label_of(factors: dict[str, Level]) -> str:
    """A setting's name: its factors as one would type them."""
    return " ".join(f"{name}={level_in_words(level)}" for name, level in factors.items()) or NO_FACTORS


def resolution(data: Mapping[str, Any], name: str) -> float:
    """How much one image is worth in a metric from 0 to 1, of those that are no share of all images a lower bound.

    It is 0 in others.
    """
    num_images = data.get("num_test" if name.startswith("test/") else "num_val")
    return 1 / num_images if is_percentage(name) and num_images else 0.0


def _gap(run: Found) -> float | None:
    """Training minus validation accuracy in the last epoch."""
    train, val = (run.curves.get(f"{split}/accuracy", np.array([np.nan])) for split in ("train", "val"))
    gap = float(train[-1] - val[-1]) if len(train) and len(val) else math.nan
    return gap if math.isfinite(gap) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def key_of(factors: Mapping[str, Level]) -> tuple[Any, ...]:
    """What settings are told apart by."""
    return tuple((name, exactly(level)) for name, level in factors.items())
