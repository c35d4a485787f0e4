"""Answers > **slices** > evaluate: how good a network is for each value of a column of the data's table."""

import itertools
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leyden.data import ImageDataModule
from leyden.data.facts import DataFacts
from leyden.evaluate.number import number
from leyden.intervals import Interval, mean_interval, multi_label_intervals, wilson
from leyden.scores import average_precisions, mean_of_known
from leyden.trained import Answers

log = logging.getLogger(__name__)

MOST_VALUES = 50
NUM_RANGES = 4  # that many different numbers are cut into
MOST_PLAIN_NUMBERS = 10  # different ones that stand for themselves
EMPTY = "(empty)"


def read_column(data: ImageDataModule, name: str) -> list[Any]:
    """The cells of a column of the data's table, one for each image.

    Raises:
        ValueError: the data has no table, or the table no such column.
    """
    if not hasattr(data.source, "column"):
        raise ValueError(
            f"slice={name}: {data.name} has no table to take it from; data=table and data=huggingface have"
        )
    try:
        found: list[Any] = data.source.column(name)
    except KeyError as error:
        raise ValueError(f"slice={name}: {data.name} has no such column") from error
    return found


def values_of(cells: Sequence[Any]) -> list[str]:
    """A value in words for each cell; many different numbers become the quarters that they lie in."""
    texts = [EMPTY if cell is None or cell != cell or not str(cell).strip() else str(cell).strip() for cell in cells]
    numbers = [_number(text) for text in texts if text != EMPTY]
    known = [value for value in numbers if value is not None]
    if len(known) < len(numbers) or len(set(known)) <= MOST_PLAIN_NUMBERS:
        return texts
    edges = np.unique(np.quantile(known, np.linspace(0, 1, NUM_RANGES + 1)))
    names = [f"{low} to {high}" for low, high in itertools.pairwise(_told_apart(edges))]
    return [text if text == EMPTY else names[int(np.searchsorted(edges[1:-1], float(text)))] for text in texts]


def _told_apart(numbers: NDArray[np.float64]) -> list[str]:
    """Different numbers with so many digits, four or more, that no two read alike."""
    texts = ([f"{number:.{digits}g}" for number in numbers] for digits in range(4, 18))  # 17 tell any two apart
    return next(found for found in texts if len(set(found)) == len(numbers))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def slices(
    column: str, values: Sequence[str], answers: Answers, answered: NDArray[Any], facts: DataFacts
) -> list[dict[str, Any]]:
    """The headline metric with its interval for the images of each value, the most frequent values first; of more
    than 50 values the others are left out, with a warning.

    `values` [N] are those of the answers, `answered` [N] or [N, K] what was answered.
    """
    array = np.array(values)
    names, counts = np.unique(array, return_counts=True)
    if len(names) > MOST_VALUES:
        log.warning("slice=%s: of %s values the %s most frequent are looked at", column, len(names), MOST_VALUES)
    rows = []
    for place in np.lexsort((names, -counts))[:MOST_VALUES]:
        chosen = np.flatnonzero(array == names[place])
        part = Answers(*(tensor[torch.from_numpy(chosen)] for tensor in answers))
        value, interval = _headline(part, answered[chosen], facts)
        rows.append({"value_of_column": str(names[place]), "images": len(chosen), **number(value, interval)})
    return rows


def _headline(answers: Answers, answered: NDArray[Any], facts: DataFacts) -> tuple[float, Interval]:
    if facts.task == "single_label":
        right = int((answered == answers.labels.numpy()).sum())
        return right / len(answered), wilson(right, len(answered))
    if facts.task == "regression":
        errors = np.abs(answered - answers.labels.double().numpy())
        return float(errors.mean()), mean_interval(errors)
    logits, labels = answers.outputs.numpy(), answers.labels.numpy()
    once = np.ones((1, len(labels)))
    precision = float(mean_of_known(average_precisions(logits, labels, once)[0]))
    bounds = multi_label_intervals(logits, labels, answered, np.zeros(len(labels)), facts.class_names)
    return precision, bounds["mean_average_precision"]
