"""Answers > **calibration** > evaluate: is a network as sure as it is right, and would a temperature make it so?"""

from typing import Any

import numpy as np
from torch import Tensor

from leyden.data.facts import DataFacts
from leyden.evaluate.number import Number, number
from leyden.intervals import intervals, mean_interval
from leyden.metrics import binary_cross_entropy, metrics_for
from leyden.test_time import fit_temperature, is_told_apart_from_one
from leyden.trained import Answers


def calibration(answers: Answers, validation: Answers, facts: DataFacts) -> dict[str, Any]:
    """Loss and calibration error of logits as they are, and divided by the temperature that validation likes best.

    Guo et al. 2017. The temperature is one more, beside that of the network's own test.
    """
    temperature = fit_temperature(validation.outputs, validation.labels, facts.task)
    return {
        "temperature": temperature,
        "is_told_apart": is_told_apart_from_one(temperature, validation.outputs, validation.labels, facts.task),
        "validation_images": len(validation.labels),
        "before": _measured(answers.outputs, answers.labels, facts),
        "after": _measured(answers.outputs / temperature, answers.labels, facts),
    }


def _measured(logits: Tensor, labels: Tensor, facts: DataFacts) -> dict[str, Number]:
    if facts.task == "multi_label":
        losses = binary_cross_entropy(logits.numpy(), labels.numpy())
        return {"loss": number(losses.mean(), mean_interval(losses))}
    metrics = metrics_for(facts.task, facts.class_names)[1]
    metrics.update(logits, labels)
    found = metrics.compute()
    confidences, predictions = logits.softmax(1).double().max(1)
    losses = -logits.double().log_softmax(1).gather(1, labels[:, None]).squeeze(1).numpy()
    arrays = labels.numpy(), predictions.numpy(), confidences.numpy(), np.asarray(losses)
    bounds = intervals(*arrays, facts.class_names)
    return {name: number(found[name], bounds[name]) for name in ("loss", "ece")}
