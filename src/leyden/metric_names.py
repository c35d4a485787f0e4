"""**Names of metrics** > metrics > report: what they are called, which way is better."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # this module is read where nothing else needs torch
    from leyden.data.sources import Task

NUM_CALIBRATION_BINS = 15
LAYERS = "layers"  # norms of each layer are below it, `layers/head/weight_norm`
ROW = "row"  # at a tool that follows metrics.csv: the number of the last row that is there
OF_TEST = "row_of_test"  # 1 where that one is of a test, else 0
TOP_5_FROM = 10  # top-5 accuracy says something only for more classes than this

# The one number that a run is told by.
HEADLINES: dict["Task", str] = {
    "single_label": "accuracy",
    "multi_label": "mean_average_precision",
    "regression": "mae",
}


def per_class_names(metric: str, class_names: Sequence[str]) -> list[str]:
    """`<metric>/<class>` for every class, in lower case, with underscores for spaces and slashes.

    Classes whose names are the same then have their number behind them.
    """
    plain = [name.lower().replace(" ", "_").replace("/", "_") for name in class_names]
    counts = Counter(plain)
    return [f"{metric}/{name}" if counts[name] == 1 else f"{metric}/{name}_{label}" for label, name in enumerate(plain)]


def recall_names(class_names: Sequence[str]) -> list[str]:
    """`recall/<class>` for every class."""
    return per_class_names("recall", class_names)


def average_precision_names(class_names: Sequence[str]) -> list[str]:
    """`average_precision/<class>` for every class."""
    return per_class_names("average_precision", class_names)


def is_of_one_class(name: str) -> bool:
    """Whether a metric, with or without its split, is that of one class."""
    return f"/{name}".rpartition("/")[0].endswith(("/recall", "/average_precision"))


def is_of_one_layer(name: str) -> bool:
    """Whether a metric is a norm of one layer of the network."""
    return name.startswith(f"{LAYERS}/")


def metric_names(class_names: Sequence[str], task: "Task" = "single_label") -> list[str]:
    """What `leyden.metrics` computes for these classes and this task."""
    if task == "regression":
        return ["loss", "mae", "rmse", "r2", "spearman"]
    if task == "multi_label":
        return ["loss", "mean_average_precision", "macro_f1", *average_precision_names(class_names)]
    top_5 = ["top5_accuracy"] if len(class_names) > TOP_5_FROM else []
    return ["loss", "accuracy", *top_5, "macro_f1", "ece", *recall_names(class_names)]


def training_metric_names(task: "Task") -> list[str]:
    """What is known of an epoch's training."""
    return ["train/loss", "train/accuracy"] if task == "single_label" else ["train/loss"]


def direction(name: str) -> Literal["max", "min"]:
    """Whether more (`max`) or less (`min`) of a metric is better."""
    return "min" if not is_of_one_class(name) and name.endswith(("loss", "ece", "gap", "mae", "rmse")) else "max"


def is_as_good(name: str, value: float, best: float) -> bool:
    """Whether a value of a metric is better than the best so far, or the same."""
    return value >= best if direction(name) == "max" else value <= best


def is_percentage(name: str) -> bool:
    """Whether a metric goes from 0 to 1, and is told in per cent."""
    return is_of_one_class(name) or name.endswith(("accuracy", "macro_f1", "ece", "average_precision"))


def is_of_the_test(row: Iterable[str]) -> bool:
    """Whether a row of `metrics.csv` is that of a test, by its names."""
    return any(name.startswith("test/") for name in row)


def numbered(index: int, row: Mapping[str, float]) -> dict[str, float]:
    """A row of `metrics.csv` as a tool is given it; its number comes last, and says that the row is there whole."""
    return {**row, OF_TEST: int(is_of_the_test(row)), ROW: index}


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a `metrics.csv`, as text; a cell without a value is empty, a row that was cut off left out.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(line for line in file if line.endswith("\n")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def read_numbers(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.csv`, each with the numbers that it has; none where there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return []
    rows = read_metrics(path)
    try:
        return [{name: _number(text) for name, text in row.items() if text} for row in rows]
    except (ValueError, TypeError, AttributeError) as error:  # more cells than columns come as a list
        raise ValueError(f"{path} is damaged ({error})") from error


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
