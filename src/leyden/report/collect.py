"""Run directories > **collect** > settings: reads what runs have recorded, and refuses what cannot be compared.

A study knows its factors; of runs of other origin they are the settings in which they differ.
"""

import csv
import functools
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from leyden.config import FREE, REPEATS, follows_the_root, is_among, leaves
from leyden.metric_names import HEADLINES, direction, is_percentage
from leyden.report.curves import FEWEST_EPOCHS, epochs_of_both, start_of_overfitting
from leyden.report.model import Level, Metric, Unreadable, sure
from leyden.report.words import count
from leyden.run import is_study, read_record, run_directories
from leyden.study.record import planned_jobs, read_study, standing

CURVES = ("train/loss", "val/loss", "train/accuracy", *(f"val/{name}" for name in HEADLINES.values()))
NOT_COMPARED = (*REPEATS, "data.seed", "data.fold", "name", *FREE)
NOT_A_FACTOR = (*NOT_COMPARED, "monitor")
TARGET = "_target_"
NUMBER = (int, float, type(None))
KINDS: dict[str, Any] = {
    "timings": dict, "intervals": dict, "wandb": dict, "command": str, "seconds": NUMBER, "seed": int,
}  # fmt: skip
MOST_EPOCHS = 1_000_000  # more are a damaged file's
Repeat = tuple[int | str, str | None, int | None]  # a seed, the fold if there is one, the seed of the split


@dataclass
class Found:
    """A run as its directory tells of it."""

    id: str
    directory: Path
    status: str  # of the record, unreadable, or unmeasured: finished without a number to compare
    factors: dict[str, Level]
    seed: int | None
    reason: str | None = None
    overrides: Sequence[str] = ()
    batch_size: int | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # [E] by epoch, NaN where nothing was said

    def value(self, name: str) -> float | None:
        """A recorded metric, where it is a number."""
        value = self.record.get("metrics", {}).get(name)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def figure(self, metric: str) -> float | None:
        """What the run is compared by: a test metric, or another one in its best epoch."""
        return self.value(metric if metric.startswith("test/") else f"best/{metric}")

    @property
    def fold(self) -> str | None:
        """Which fold it has tested, "0 of 5"."""
        found: str | None = self.record.get("data", {}).get("fold")
        return found

    @property
    def split_seed(self) -> int | None:
        """What decided who trains, who validates and who tests; None where the data has no such choice."""
        found: int | None = self.record.get("data", {}).get("split_seed")
        return found

    @property
    def repeat(self) -> Repeat:
        """What tells it from others of its setting; of a run whose seed is not known, itself."""
        return (self.seed if isinstance(self.seed, int) else self.id, self.fold, self.split_seed)

    @property
    def is_judged(self) -> bool:
        """Whether its curves are long enough to say if it overfits."""
        has_losses = {"train/loss", "val/loss"} <= self.curves.keys()
        return has_losses and len(epochs_of_both(self.curves["train/loss"], self.curves["val/loss"])) >= FEWEST_EPOCHS

    @functools.cached_property
    def overfit_from(self) -> int | None:
        """The epoch in which the run begins to overfit, by its curves."""
        if {"train/loss", "val/loss"} <= self.curves.keys():
            return start_of_overfitting(self.curves["train/loss"], self.curves["val/loss"])
        return None


@dataclass
class Collection:
    """All runs of a report."""

    title: str
    directory: Path  # where the report goes
    file_name: str
    factors: list[str]
    runs: list[Found]
    unreadable: list[Unreadable]
    metric: Metric

    @property
    def finished(self) -> list[Found]:
        """The runs that have something to compare."""
        return [run for run in self.runs if run.status == "finished"]

    @property
    def data(self) -> Mapping[str, Any]:
        """What is known of the images, which are the same for all."""
        found: Mapping[str, Any] = self.finished[0].record["data"]
        return found

    def best_first(self) -> list[Found]:
        """The finished runs, those first that validation likes best."""
        sign = -1 if self.metric["direction"] == "max" else 1
        return sorted(self.finished, key=lambda run: sign * sure(run.figure(self.metric["selection"])))

    @property
    def by_id(self) -> dict[str, Found]:
        """The finished runs by what they are called."""
        return {run.id: run for run in self.finished}


def collect(directories: Sequence[Path]) -> Collection:
    """Reads a study's directory, or run directories, or directories that hold some.

    Raises:
        ValueError: there is no finished run, or runs differ in their data or in the metric that chooses.
    """
    unreadable: list[Unreadable] = []
    if len(directories) == 1 and is_study(directories[0]):
        place, file_name = directories[0], "report"
        study = read_study(place)
        title, factors = study["name"], [key for key in study["factors"] if key not in REPEATS]
        runs = _runs_of_study(place, study, unreadable)
    else:
        found = run_directories(directories, depth=2)
        place = _place_of(found)
        file_name = "report_of_runs" if is_study(place) else "report"  # the study's own stays
        title = f"{len(found)} runs of {place.name}" if len(found) > 1 else place.name
        runs = _runs_of_their_own(found, place, unreadable)
        factors = list(runs[0].factors) if runs else []
    finished = [run for run in runs if run.status == "finished"]
    if not finished:
        raise ValueError(_nothing_finished(directories, runs, unreadable))
    _check_same_data(finished)
    metric = _metric(finished)
    _set_unmeasured_apart(finished, metric)
    collection = Collection(title, place, file_name, factors, runs, unreadable, metric)
    if not collection.finished:
        raise ValueError(f"no run has a number as its best {metric['selection']}")
    for run in runs:
        if run.record:
            _read_curves_into(run, unreadable)
    return collection


def _place_of(directories: Sequence[Path]) -> Path:
    """Where a report of these runs goes: into the one, or into the directory that holds them all."""
    if len(directories) == 1:
        return directories[0]
    place = Path(os.path.commonpath([path.parent for path in directories]))
    return Path.cwd() if place == place.parent else place  # they have nothing in common but the root


def _set_unmeasured_apart(finished: Sequence[Found], metric: Metric) -> None:
    """A run whose metric became NaN has finished, but there is nothing to compare."""
    names = [f"best/{metric['selection']}", *({metric["reported"]} - {metric["selection"]})]
    for run in finished:
        missing = next((name for name in names if run.value(name) is None), None)
        if missing:
            run.status, run.reason = "unmeasured", f"no number as {missing}"


def _runs_of_study(directory: Path, study: Mapping[str, Any], unreadable: list[Unreadable]) -> list[Found]:
    runs = []
    for job in planned_jobs(study):
        factors = {key: as_level(job.factors.get(key)) for key in study["factors"] if key not in REPEATS}
        run = Found(job.id, directory / job.id, "waiting", factors, job.seed, overrides=job.overrides)
        batch_size = {**study["settings"], **job.factors}.get("batch_size")
        run.batch_size = batch_size if isinstance(batch_size, int) else None
        _read_into(run, unreadable)
        runs.append(run)
    return runs


def _read_into(run: Found, unreadable: list[Unreadable]) -> None:
    """Fills in what the run's record says, if there is one and it can be read."""
    try:
        record = read_record(run.directory)
        _check_record(record, run.directory / "run.json")
        run.record = record
    except ValueError as error:
        if (run.directory / "run.json").exists():
            _leave_out(run, str(error), unreadable)
        return
    run.status, run.reason, _ = standing(run.directory, run.record)


def _check_record(record: Mapping[str, Any], path: Path) -> None:
    for key, kind in KINDS.items():
        value = record.get(key)
        if key in record and (not isinstance(value, kind) or (isinstance(value, float) and not math.isfinite(value))):
            raise ValueError(f"{path} is damaged: {key} is {value!r}")
    if record["status"] == "finished" and not record.get("data", {}).get("fingerprint"):
        raise ValueError(f"{path} is damaged: the run has finished, but on no data")


def _leave_out(run: Found, reason: str, unreadable: list[Unreadable]) -> None:
    run.status, run.reason = "unreadable", reason
    unreadable.append({"directory": str(run.directory), "reason": reason})


def _runs_of_their_own(directories: Sequence[Path], place: Path, unreadable: list[Unreadable]) -> list[Found]:
    runs, configs = [], []
    for directory in directories:
        name = directory.name if directory == place else os.path.relpath(directory, place)
        run = Found(name, directory, "unreadable", {}, None)
        try:
            config = read_config(directory / "config.yaml")
        except ValueError as error:
            _leave_out(run, str(error), unreadable)
            continue
        _read_into(run, unreadable)
        if not run.record:
            continue
        run.seed, run.overrides = run.record.get("seed", config.get("seed")), run.record.get("overrides", [])
        run.batch_size = config.get("batch_size")
        config["soup"] = "soup" in run.record  # which has the settings of one of its runs
        runs.append(run)
        configs.append(config)
    for run, factors in zip(runs, differences(configs), strict=True):
        run.factors = factors
    return runs


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a run by their dotted paths.

    Raises:
        ValueError: the file is absent or damaged: what the run differs in from others is not known.
    """
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no YAML"
        raise ValueError(f"{path} cannot be read ({reason}): the run's settings are not known") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no settings: those of the run are not known")
    return dict(leaves(config))


def differences(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Level]]:
    """The settings in which flattened configs differ, those of each.

    Where a part's class differs, its name stands for the part: `optimizer: SGD`; what merely belongs to the one class
    or the other is left out.
    """
    keys = [
        key for key in dict.fromkeys(key for config in configs for key in config) if not is_among(key, NOT_A_FACTOR)
    ]
    columns = {key: tuple(_frozen(config.get(key)) for config in configs) for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    varying = [key for key in columns if not follows_the_root(key, columns)]
    parts = [key.removesuffix("." + TARGET) for key in varying if key.endswith("." + TARGET)]
    found: list[dict[str, Level]] = [{} for _ in configs]
    for key in varying:
        part = next((part for part in parts if key.startswith(part + ".")), None)
        if key.endswith("." + TARGET):
            for config, factors in zip(configs, found, strict=True):
                factors[key.removesuffix("." + TARGET)] = str(config.get(key, "none")).rpartition(".")[2]
        elif part is None or _differs_within(configs, key, f"{part}.{TARGET}"):
            for config, factors in zip(configs, found, strict=True):
                factors[key] = as_level(config.get(key))
    return found


def _differs_within(configs: Sequence[Mapping[str, Any]], key: str, target: str) -> bool:
    values: dict[Any, set[Any]] = {}
    for config in configs:
        values.setdefault(config.get(target), set()).add(_frozen(config.get(key)))
    return any(len(found) > 1 for found in values.values())


def _frozen(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) else (type(value) is bool, value)


def as_level(value: Any) -> Level:
    """A setting as a report holds it: what is no plain value, as text."""
    is_plain = isinstance(value, str | int | bool | None) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else str(value)


def _read_curves_into(run: Found, unreadable: list[Unreadable]) -> None:
    try:
        run.curves = read_curves(run.directory / "metrics.csv")
    except ValueError as error:
        if run.status == "finished":  # a run under way writes it, a kill may have cut its last row
            unreadable.append({"directory": str(run.directory), "reason": str(error)})


def read_curves(path: Path) -> dict[str, NDArray[np.float64]]:
    """The last value of each epoch [E] of the metrics that learning curves show.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [*csv.reader(file)]
            if not rows:
                raise ValueError("it is empty")
            header, *rows = rows
            if "epoch" not in header:
                raise ValueError("it has no column epoch")
            places = {name: header.index(name) for name in ("epoch", *CURVES) if name in header}
            epochs = [int(row[places["epoch"]]) for row in rows]
            if max(epochs, default=0) > MOST_EPOCHS:
                raise ValueError(f"epoch {max(epochs)}")
            curves = {}
            for name in CURVES:
                if name not in places:
                    continue
                values = np.full(max(epochs, default=-1) + 1, np.nan)
                for epoch, row in zip(epochs, rows, strict=True):
                    if cell := row[places[name]]:
                        values[epoch] = float(cell)
                curves[name] = values
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}): the run has no curves") from error
    known = [np.isfinite(values).nonzero()[0].max(initial=-1) for values in curves.values()]
    return {name: values[: max(known, default=-1) + 1] for name, values in curves.items()}


def _metric(finished: Sequence[Found]) -> Metric:
    """What the runs were chosen by, which must be the same for all.

    Raises:
        ValueError: it is not, or no run has validated.
    """
    names = Counter(_monitored(run) for run in finished)
    if len(names) > 1:
        told = ", ".join(f"{name or 'nothing'} ({count(number, 'run')})" for name, number in names.items())
        raise ValueError(
            f"runs are compared by one metric, but these chose their best epoch by {told}: report them apart"
        )
    selection = next(iter(names))
    if selection is None:
        raise ValueError(
            "no run has chosen a best epoch by a validation metric (callbacks.checkpoints): nothing to compare"
        )
    name = selection.partition("/")[2]
    reported = f"test/{name}" if any(run.value(f"test/{name}") is not None for run in finished) else selection
    return {
        "selection": selection,
        "reported": reported,
        "direction": direction(selection),
        "is_share": is_percentage(name),
    }


def _monitored(run: Found) -> str | None:
    names = [name.removeprefix("best/") for name in run.record.get("metrics", {}) if name.startswith("best/")]
    return next((name for name in names if name != "epoch"), None)


def _check_same_data(finished: Sequence[Found]) -> None:
    seen: dict[str, Found] = {}
    for run in finished:
        seen.setdefault(str(run.record.get("data", {}).get("fingerprint")), run)
    if len(seen) > 1:
        (one, first), (other, second) = list(seen.items())[:2]
        raise ValueError(
            f"runs saw different images: {first.directory} has {_name(first)} with fingerprint {one[:12]}, "
            f"{second.directory} has {_name(second)} with {other[:12]}: report the runs of each data set apart"
        )


def _name(run: Found) -> str:
    return str(run.record.get("data", {}).get("name", "data"))


def _nothing_finished(directories: Sequence[Path], runs: Sequence[Found], unreadable: Sequence[Unreadable]) -> str:
    counts = Counter(run.status for run in runs)
    counts["unreadable"] = len(unreadable)
    told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    places = " ".join(map(str, directories))
    return f"{places}: no run has finished ({told or 'there is none'}), so there is nothing to report"
