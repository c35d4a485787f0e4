"""Answers > **answers table** > evaluate: what was answered for each image, as Parquet, or as CSV without pyarrow."""

import csv
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from leyden.data.facts import DataFacts
from leyden.errors import printable
from leyden.metric_names import per_class_names
from leyden.predictions import Predictions
from leyden.run import in_place_of

log = logging.getLogger(__name__)

STEM = "predictions"


def columns_of(
    indices: Tensor, names: Sequence[str] | None, predictions: Predictions, probabilities: Tensor, facts: DataFacts
) -> dict[str, Any]:
    """The table's columns: who the image is, its label, what was answered, and the probability of each class."""
    columns: dict[str, Any] = {"index": indices.numpy()}
    if names is not None:
        columns["path"] = [printable(name) for name in names]
    if facts.task == "regression":
        return columns | {"label": predictions.labels, "prediction": predictions.predictions}
    classes = np.array(facts.class_names, dtype=object)
    if facts.task == "single_label":
        columns |= {
            "label": predictions.labels,
            "label_name": classes[predictions.labels].tolist(),
            "prediction": predictions.predictions,
            "prediction_name": classes[predictions.predictions].tolist(),
            "confidence": predictions.confidences,
        }
    else:
        for word, values in (("label", predictions.labels), ("prediction", predictions.predictions)):
            columns |= dict(zip(per_class_names(word, facts.class_names), values.T, strict=True))
    return columns | dict(zip(per_class_names("probability", facts.class_names), probabilities.numpy().T, strict=True))


def write_columns(columns: dict[str, Any], directory: Path) -> Path:
    """Writes the columns, whole or not at all; returns the file."""
    has_parquet = importlib.util.find_spec("pyarrow") is not None
    path = directory / f"{STEM}.{'parquet' if has_parquet else 'csv'}"
    if not has_parquet:
        log.warning("%s: not Parquet, for pyarrow is missing: pip install 'leyden[parquet]'", path)
    with in_place_of(path) as beside:
        (_write_parquet if has_parquet else _write_csv)(columns, beside)
    return path


def _write_csv(columns: dict[str, Any], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(columns: dict[str, Any], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    plain = {
        name: column if isinstance(column, list) else np.ascontiguousarray(column) for name, column in columns.items()
    }
    parquet.write_table(pyarrow.table(plain), path)
