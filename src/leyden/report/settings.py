"""Collect > **settings** > effects: runs that differ by seed, fold or split become one line, and how sure it is."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leyden.metric_names import is_percentage
from leyden.report.collect import Collection, Found, Repeat
from leyden.report.model import Factor, Level, Metric, Run, Setting, Standing
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
    levels = list({(type(level), level): level for level in found}.values())
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    is_numeric = len(numbers) == len(levels)
    is_log = is_numeric and min(numbers) > 0 and math.log10(max(numbers) / min(numbers)) > LEAST_DECADES
    ordered: list[Level] = [*sorted(numbers)] if is_numeric else levels
    return {"name": name, "levels": ordered, "is_numeric": is_numeric, "is_log": is_log}


def describe_runs(collection: Collection, settings: Sequence[Setting], place: Path) -> list[Run]:
    """Every run, in the order in which the study asked for them; `place` is where the report lies."""
    numbers = {key_of(setting["factors"]): setting["number"] for setting in settings}
    duplicates = {run.id for run in collection.finished} - {name for setting in settings for name in setting["runs"]}
    return [
        _describe(run, collection.metric, None if run.id in duplicates else numbers.get(key_of(run.factors)), place)
        for run in collection.runs
    ]


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs that the figures are of."""
    return [run for run in runs if run["status"] == "finished" and run["setting"] is not None]


def _describe(run: Found, metric: Metric, number: int | None, place: Path) -> Run:
    speed = _speed(run)
    epoch = run.value("best/epoch")
    return {
        "id": run.id, "setting": number, "factors": run.factors, "seed": run.seed, "fold": run.fold,
        "split_seed": run.split_seed,
        "status": run.status,
        "reason": run.reason, "directory": os.path.relpath(run.directory, place), "command": run.record.get("command"),
        "wandb": run.record.get("wandb", {}).get("address"),
        "selection": run.value(f"best/{metric['selection']}"), "reported": reported(run, metric),
        "best_epoch": None if epoch is None else int(epoch), "seconds": seconds_of(run.record) if run.record else None,
        "seconds_per_step": run.batch_size / speed if speed and run.batch_size else None,
        "images_per_second": speed, "is_judged": run.is_judged, "overfit_from": run.overfit_from,
    }  # fmt: skip


def _speed(run: Found) -> float | None:
    value = run.record.get("timings", {}).get("training_images_per_second")
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None


def reported(run: Found, metric: Metric) -> float | None:
    """What is reported of a run: its figure on test images where runs have one."""
    is_tested = metric["reported"] != metric["selection"]
    return run.value(metric["reported"] if is_tested else f"best/{metric['selection']}")


def fold_seeds(collection: Collection) -> list[Setting]:
    """The settings that have a finished run, the best by its validation metric first.

    Of runs with the same setting, seed and split, which are the same run twice, the last one counts.
    """
    metric, name = collection.metric, f"best/{collection.metric['selection']}"
    groups: dict[Any, dict[Repeat, Found]] = {}
    for place, run in enumerate(collection.finished):
        groups.setdefault(key_of(run.factors), {})[run.repeat or (-1 - place, None, None)] = run  # unlike any other
    sign = -1 if metric["direction"] == "max" else 1

    def mean(runs: dict[Repeat, Found]) -> float:
        return sign * float(np.mean([run.value(name) for run in runs.values()]))

    ordered = sorted(groups.values(), key=mean)
    seeds = [{seed: _number(reported(run, metric)) for seed, run in runs.items()} for runs in ordered]
    standings: list[tuple[Standing, float | None]] = [("best", None)]
    grain = resolution(collection, metric["reported"])
    standings += not_distinguishable(seeds[0], seeds[1:], grain, metric["direction"])
    finished = {id(run) for run in collection.finished}
    unfinished = Counter(key_of(run.factors) for run in collection.runs if id(run) not in finished)
    settings = []
    for number, (runs, (standing, p_value)) in enumerate(zip(ordered, standings, strict=True)):
        setting = _fold(number, list(runs.values()), collection)
        setting["num_unfinished"] = unfinished[key_of(setting["factors"])]
        setting["standing"], setting["p_value"] = standing, p_value
        settings.append(setting)
    return settings


def _fold(number: int, runs: Sequence[Found], collection: Collection) -> Setting:
    metric = collection.metric
    grains = [resolution(collection, metric[key]) for key in ("selection", "reported")]
    chosen_by = [_number(run.value(f"best/{metric['selection']}")) for run in runs]
    epochs = list(_known(run.value("best/epoch") for run in runs))
    gaps = list(_known(_gap(run) for run in runs))
    seconds = list(_known(seconds_of(run.record) for run in runs))
    errors = list(_known(run.value("test/ece") for run in runs))
    return {
        "number": number, "label": label_of(runs[0].factors), "factors": runs[0].factors,
        "runs": [run.id for run in runs], "num_unfinished": 0,
        "selection": estimate(chosen_by, grains[0], metric["is_share"]),
        "reported": estimate([_number(reported(run, metric)) for run in runs], grains[1], metric["is_share"]),
        "best_epoch": float(np.mean(epochs)) if epochs else None, "gap": estimate(gaps) if gaps else None,
        "seconds": float(np.mean(seconds)) if seconds else None, "standing": "unknown", "p_value": None,
        "num_overfit": sum(run.overfit_from is not None for run in runs),
        "ece": float(np.mean(errors)) if errors else None,
    }  # fmt: skip


def label_of(factors: dict[str, Level]) -> str:
    """A setting's name: its factors as one would type them."""
    return " ".join(f"{name}={level_in_words(level)}" for name, level in factors.items()) or NO_FACTORS


def resolution(collection: Collection, name: str) -> float:
    """How much one image is worth in a metric that is a share of so many images; 0 in others."""
    num_images = collection.finished[0].record["data"].get("num_test" if name.startswith("test/") else "num_val")
    return 1 / num_images if is_percentage(name) and num_images else 0.0


def _gap(run: Found) -> float | None:
    """Training minus validation accuracy in the last epoch."""
    train, val = (run.curves.get(f"{split}/accuracy", np.array([np.nan])) for split in ("train", "val"))
    gap = float(train[-1] - val[-1]) if len(train) and len(val) else math.nan
    return gap if math.isfinite(gap) else None


def _known(values: Iterable[float | None]) -> Iterable[float]:
    return (value for value in values if value is not None)


def _number(value: float | None) -> float:
    assert value is not None
    return value


def key_of(factors: Mapping[str, Level]) -> tuple[Any, ...]:
    """What settings are told apart by: 1 and True and 1.0 are not the same."""
    return tuple((name, type(level), level) for name, level in factors.items())
