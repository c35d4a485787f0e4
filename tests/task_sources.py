"""Real digits with other questions: which of some properties each has, and how much it is worth."""

from pathlib import Path

import torch

from leyden.data import Digits, Images
from leyden.data.sources import Task

# Columns of properties of the digits from 0 to 9.
EVEN, LARGE, PRIME = [1, 0] * 5, [0] * 5 + [1] * 5, [0, 0, 1, 1, 0, 1, 0, 1, 0, 0]

TESTS = Path(__file__).parent  # on the path of a process that is to find these
OF_SEVERAL_LABELS = ["data.source._target_=task_sources.DigitProperties", "monitor=val/mean_average_precision"]
OF_NUMBERS = ["data.source._target_=task_sources.DigitValues", "monitor=val/mae"]
MULTI_LABEL = [*OF_SEVERAL_LABELS, "loss=binary_cross_entropy"]
REGRESSION = [*OF_NUMBERS, "loss=mse"]
DATA_OF_LOSSES = {"binary_cross_entropy": OF_SEVERAL_LABELS, "mse": OF_NUMBERS, "huber": OF_NUMBERS}


def with_data(part: str) -> list[str]:
    """A word of the command line, and data that it can be tried with."""
    group, _, option = part.partition("=")
    return [part, *(DATA_OF_LOSSES.get(option, []) if group == "loss" else [])]


class DigitProperties(Digits):
    """Is it even, is it larger than four, is it prime: any number of them, or none."""

    name = "digit_properties"
    task: Task = "multi_label"
    class_names = ("Even", "larger than 4", "prime")

    def load(self, root: Path) -> Images:
        images, labels = super().load(root)[:2]
        return Images(images, torch.tensor([EVEN, LARGE, PRIME]).float()[:, labels].T.contiguous())


class DigitValues(Digits):
    """Its value, times a thousand and far from zero, as a price would be."""

    name = "digit_values"
    task: Task = "regression"
    class_names = ()

    def load(self, root: Path) -> Images:
        images, labels = super().load(root)[:2]
        return Images(images, 1000 * labels.float() + 20_000)
