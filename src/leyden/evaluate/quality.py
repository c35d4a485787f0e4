"""Answers > **quality** > evaluate: metrics with intervals and the table of classes, as at a run's end."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from leyden.data.facts import DataFacts
from leyden.evaluate.number import number
from leyden.intervals import class_f1s, percentiles, resamples, wilson
from leyden.metrics import MultiLabelMetrics, RegressionMetrics, metrics_for
from leyden.outcomes import OUTCOMES, Outcome
from leyden.scores import best_threshold, f1
from leyden.trained import Answers, Network, Trained

Row = dict[str, Any]


class Quality(NamedTuple):
    """What a network's answers are worth."""

    metrics: dict[str, dict[str, Any]]  # value and interval by name
    outcome: Outcome
    classes: list[Row]
    thresholds: Tensor | None  # logits [K], of several labels


def quality(network: Network, answers: Answers, validation: Answers | None) -> Quality:
    """Metrics and intervals by the code of a run's end, with what validation has chosen for the test.

    Of several labels these are the thresholds, of the best F1 on the validation images; where those are not there, the
    ones that the run has kept.
    """
    facts = network.facts
    metric = metrics_for(facts.task, facts.class_names)[1]
    is_scaled = _choose(metric, network, validation)
    metric.update(answers.outputs, answers.labels)
    outcome = OUTCOMES[facts.task](metric, answers.outputs, answers.labels, facts.class_names)
    found = {name: number(value, outcome.intervals.get(name)) for name, value in metric.compute().items()}
    if not is_scaled:  # in units that nobody knows any more
        del found["loss"]
    thresholds = metric.thresholds.logits.cpu() if isinstance(metric, MultiLabelMetrics) else None
    return Quality(found, outcome, _classes(outcome, facts), thresholds)


def _choose(metric: Metric, network: Network, validation: Answers | None) -> bool:
    """Gives the metric what it needs of the run; whether its loss then has the run's unit."""
    if isinstance(metric, RegressionMetrics):
        if not isinstance(network, Trained):
            return False
        own = network.classifier.test_metrics
        assert isinstance(own, RegressionMetrics)
        metric.deviation.copy_(own.deviation)
    elif isinstance(metric, MultiLabelMetrics):
        if validation is not None:
            columns = zip(validation.outputs.numpy().T, validation.labels.numpy().T, strict=True)
            metric.thresholds.logits.copy_(torch.tensor([best_threshold(*column) for column in columns]))
        elif isinstance(network, Trained):
            metric.thresholds.logits.copy_(network.kept_thresholds())
        elif (told := getattr(network, "thresholds", None)) is not None:  # by an export, as probabilities
            metric.thresholds.logits.copy_(torch.tensor(told, dtype=torch.float64).logit())
    return True


def _classes(outcome: Outcome, facts: DataFacts) -> list[Row]:
    """A row for each class: its images, precision, recall and F1; of several labels average precision besides."""
    if facts.task == "regression":
        return []
    labels, answered = outcome.predictions.labels, outcome.predictions.predictions
    if outcome.matrix is not None:
        num_right, num_images, num_answers = outcome.matrix.diagonal(), outcome.matrix.sum(1), outcome.matrix.sum(0)
        again = [class_f1s(labels, answered, weights, facts.num_classes)[0] for weights in resamples(len(labels))]
    else:
        num_right, num_images, num_answers = (labels * answered).sum(0), labels.sum(0), answered.sum(0)
        again = [np.nan_to_num(f1(answered, labels, weights)) for weights in resamples(len(labels))]
    f1s = np.concatenate(again)  # [R, K]
    rows: list[Row] = []
    for place, name in enumerate(facts.class_names):
        right, images, answers = int(num_right[place]), int(num_images[place]), int(num_answers[place])
        row: Row = {"class": name, "images": images, "answers": answers}
        row["precision"] = number(right / answers if answers else 0.0, wilson(right, answers))
        row["recall"] = number(right / images if images else 0.0, wilson(right, images))
        row["f1"] = number(2 * right / (images + answers) if images + answers else 0.0, percentiles(f1s[:, place]))
        if outcome.classes is not None:
            _, _, precision, low, high, _ = outcome.classes[place]
            row["average_precision"] = number(precision, (low, high))
        rows.append(row)
    return rows


def is_wrong(outcome: Outcome) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which answers of one class per image [N] are not the label."""
    wrong: np.ndarray[Any, np.dtype[np.bool_]] = outcome.predictions.labels != outcome.predictions.predictions
    return wrong


def worst_classes(classes: Sequence[Row], count: int = 3) -> list[Row]:
    """The classes of the lowest recall among those that occur."""
    return sorted((row for row in classes if row["images"]), key=lambda row: float(row["recall"]["value"]))[:count]
