"""Logits > **answers** > table, server: classes with their probabilities, all labels of an image, or a number.

Shapes: B images of a batch, K classes.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from torch import Tensor

from leyden.data.facts import DataFacts
from leyden.data.sources import Task
from leyden.export.whole import is_calibrated
from leyden.trained import Network, Trained, probabilities_of

log = logging.getLogger(__name__)

TOP = 3  # classes of an image that are told unless more are asked for
DIGITS = 6  # of a probability; what lies behind them depends on the batch that an image comes in
TASKS_IN_WORDS: dict[Task, str] = {"multi_label": "any number of labels", "regression": "a number"}
COLUMNS_OF_A_CLASS = ("class", "probability")


class Answer(NamedTuple):
    """What the network says of one image."""

    classes: list[str]  # the likeliest first; of several labels those that it has, of a number none
    probabilities: list[float]
    value: float | None = None


class Answering:
    """Turns a network's outputs into answers.

    Of one class per image these are the `top` likeliest; of several labels those whose probability reaches the
    threshold that validation has chosen for them.
    """

    def __init__(self, network: Network, top: int | None = None) -> None:
        self.network, self.facts = network, network.facts
        if top is not None and top < 1:
            raise ValueError(f"top={top} is out of range: give 1 or more")
        if top is not None and self.facts.task != "single_label":
            has = TASKS_IN_WORDS[self.facts.task]
            log.warning("top=%s is for one class per image, and the run has %s: not used", top, has)
        self.top = min(top or TOP, max(self.facts.num_classes, 1))
        self.thresholds = thresholds_of(network) if self.facts.task == "multi_label" else []

    def __call__(self, outputs: Tensor) -> list[Answer]:
        """Answers of logits [B, K], or of numbers [B]."""
        values = probabilities_of(outputs.double(), self.facts.task)
        names = self.facts.class_names
        if self.facts.task == "regression":
            return [Answer([], [], number) for number in outputs.tolist()]
        if self.facts.task == "multi_label":
            return [self._labels(row) for row in values.tolist()]
        found = values.topk(self.top)
        return [
            Answer([names[index] for index in indices], [round(number, DIGITS) for number in numbers])
            for indices, numbers in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]

    def _labels(self, probabilities: list[float]) -> Answer:
        rows = zip(self.facts.class_names, probabilities, self.thresholds, strict=True)
        has = sorted((row for row in rows if row[1] >= row[2]), key=lambda row: -row[1])
        return Answer([name for name, *_ in has], [round(number, DIGITS) for _, number, _ in has])


def thresholds_of(network: Network) -> list[float]:
    """The probability of each class from which on an image has it: as the run was tested, else as in its checkpoint.

    An exported network says it itself, or 0.5 is taken, with a warning.
    """
    if not isinstance(network, Trained):
        found = getattr(network, "thresholds", None)
        if found is None:
            log.warning("no thresholds came with the network: an image has the labels whose probability is 0.5 or more")
            return [0.5] * network.facts.num_classes
        return [float(threshold) for threshold in found]
    kept: list[float] = network.kept_thresholds().double().sigmoid().tolist()
    return kept


def calibration_of(network: Network) -> str:
    """What the probabilities are worth, in words; empty where there is nothing to say against them."""
    is_chosen = is_calibrated(network) if isinstance(network, Trained) else getattr(network, "is_calibrated", True)
    if network.facts.task == "regression" or is_chosen:
        return ""
    config = getattr(network, "config", None)  # that of its run, which other networks have not
    if config is not None and OmegaConf.select(config, "test_time.temperature"):
        return "as the network has them: the run's temperature is that of its best weights, in its directory"
    return "as the network has them: the run has chosen no temperature (train with test_time.temperature=true)"


def columns_of(facts: DataFacts, top: int) -> list[str]:
    """The columns of a table of answers."""
    if facts.task == "regression":
        found = ["value"]
    elif facts.task == "multi_label":
        found = ["classes", "probabilities"]
    else:
        found = [
            name + ("" if place == 1 else f"_{place}") for place in range(1, top + 1) for name in COLUMNS_OF_A_CLASS
        ]
    return ["path", *found, "error"]


def cells_of(path: str, answer: Answer | None, error: str | None, facts: DataFacts, top: int) -> list[Any]:
    """A row of that table; without an answer it is empty but for the error."""
    if answer is None:
        return [path, *[None] * (len(columns_of(facts, top)) - 2), error]
    if facts.task == "regression":
        return [path, answer.value, None]
    if facts.task == "multi_label":
        return [path, answer.classes, answer.probabilities, None]
    pairs = zip(answer.classes, answer.probabilities, strict=True)
    return [path, *(cell for pair in pairs for cell in pair), None]


def in_words(answer: Answer, task: Task) -> Sequence[str]:
    """An answer for the terminal, a line for each class."""
    if task == "regression":
        return [f"{answer.value:.6g}"]
    if not answer.classes:
        return ["none of the classes"]
    width = max(map(len, answer.classes))
    pairs = zip(answer.classes, answer.probabilities, strict=True)
    return [f"{name:{width}}  {probability:7.2%}" for name, probability in pairs]
