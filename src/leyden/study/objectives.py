"""Search > **objectives** > run directory: what a search makes better, and what a run's directory says of it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from leyden.build import instantiate, validation_names
from leyden.config import suggest
from leyden.metric_names import direction, read_metrics, training_metric_names
from leyden.run import read_record
from leyden.study.record import seconds_of

OF_THE_RUN = ("parameters", "seconds")  # less is better


def check_objectives(objectives: Sequence[str], config: Mapping[str, Any]) -> None:
    """Refuses an objective that runs of this config do not record, or that no choice may be made by.

    Raises:
        ValueError: names the nearest one that may be given.
    """
    if not objectives or len(set(objectives)) < len(objectives):
        raise ValueError(
            f"hydra.sweeper.objectives={list(objectives)}: expected one name of a metric or several, each once"
        )
    data = instantiate(config["data"])  # knows its classes, has read nothing yet
    has_ema = bool((config["callbacks"].get("ema") or {}).get("decay"))
    validation = validation_names(data.task, data.class_names, has_ema)
    known = [*validation, *training_metric_names(data.task), *OF_THE_RUN]
    for name in objectives:
        if name.startswith("test/"):
            raise ValueError(
                f"hydra.sweeper.objectives: {name} is not to choose by: test images are looked at once, when all is "
                f"chosen: give {'val/' + name.removeprefix('test/')}"
            )
        if name not in known:
            raise ValueError(f"hydra.sweeper.objectives: no such metric is recorded: {name}: {suggest(name, known)}")
        if name not in OF_THE_RUN and not config["callbacks"].get("checkpoints"):
            raise ValueError(
                f"hydra.sweeper.objectives: {name} is that of the best epoch, which is not known with "
                "callbacks.checkpoints=null: leave callbacks.checkpoints as it is"
            )


def direction_of(objective: str) -> Literal["minimize", "maximize"]:
    """Optuna's word for whether more or less is better."""
    return "minimize" if objective in OF_THE_RUN or direction(objective) == "min" else "maximize"


def read_values(directory: Path, objectives: Sequence[str]) -> list[float]:
    """The objectives of a finished run.

    Raises:
        ValueError: one is not recorded.
    """
    record = read_record(directory)
    return [_read_value(directory, record, name) for name in objectives]


def _read_value(directory: Path, record: Mapping[str, Any], name: str) -> float:
    metrics = record.get("metrics", {})
    value: Any = None
    if name == "parameters":
        value = record.get("parameters")
    elif name == "seconds":
        value = seconds_of(record)
    elif f"best/{name}" in metrics:
        value = metrics[f"best/{name}"]
    elif (directory / "metrics.csv").is_file():
        epoch = str(metrics.get("best/epoch"))
        found = [
            row[name] for row in read_metrics(directory / "metrics.csv") if row["epoch"] == epoch and row.get(name)
        ]
        value = found[-1] if found else None
    if value is None or math.isnan(float(value)):
        raise ValueError(f"{directory} has no {name}" + ("" if value is None else " that is a number"))
    return float(value)
