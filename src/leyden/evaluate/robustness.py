"""Corruptions > **robustness** > evaluate: how often answers to spoilt images are wrong.

The errors of ImageNet-C, not in shares of AlexNet's, which has not learnt these classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.data.sources import Task
from leyden.evaluate.corruptions import CORRUPTIONS, corrupted
from leyden.evaluate.number import Number, number
from leyden.evaluate.subject import Subject, batches
from leyden.intervals import mean_interval, wilson
from leyden.trained import Network

Costs = NDArray[np.float64]
COST_NAMES = {"single_label": "error", "multi_label": "share of wrong labels", "regression": "mae"}


def costs_of(outputs: Tensor, labels: Tensor, task: Task, thresholds: Tensor | None) -> Costs:
    """What each answer [N] costs: 1 if it is wrong, the share of its labels that are, or how far off a number is."""
    if task == "regression":
        return (outputs - labels).abs().double().numpy()
    if task == "single_label":
        return (outputs.argmax(1) != labels).double().numpy()
    assert thresholds is not None
    return ((outputs >= thresholds) != labels.bool()).double().mean(1).numpy()


def robustness(
    network: Network, subject: Subject, names: Sequence[str], severities: Sequence[int], thresholds: Tensor | None
) -> dict[str, Any]:
    """The mean cost at each severity of each corruption, of each over its severities, and of all: the mean corruption
    error, with the cost of the images as they are. Each image is decoded once.
    """
    task = network.facts.task
    parts: dict[tuple[str, int], list[Costs]] = {(name, severity): [] for name in names for severity in severities}
    clean: list[Costs] = []
    for batch in batches(subject, network.facts):
        if not len(batch.indices):  # none of them could be read
            continue
        clean.append(costs_of(network.logits(batch.images), batch.labels.cpu(), task, thresholds))
        images, indices = batch.images.cpu().numpy(), batch.indices.tolist()
        for (name, severity), found in parts.items():
            outputs = network.logits(torch.from_numpy(corrupted(name, severity, images, indices)))
            found.append(costs_of(outputs, batch.labels.cpu(), task, thresholds))
    costs = {key: np.concatenate(found) for key, found in parts.items()}
    of_corruption = {name: np.mean([costs[name, severity] for severity in severities], axis=0) for name in names}
    whole = np.concatenate(clean)
    families = dict.fromkeys(CORRUPTIONS[name].family for name in names)
    return {
        "cost": COST_NAMES[task],
        "severities": list(severities),
        "clean": _mean(whole),
        "mean_corruption_error": _mean(np.mean([*of_corruption.values()], axis=0)),
        "mean_increase": _mean(np.mean([*of_corruption.values()], axis=0) - whole),
        "families": {
            family: _mean(
                np.mean([of_corruption[name] for name in names if CORRUPTIONS[name].family == family], axis=0)
            )
            for family in families
        },
        "corruptions": {
            name: {
                "family": CORRUPTIONS[name].family,
                **_mean(of_corruption[name]),
                "severities": {str(severity): _mean(costs[name, severity]) for severity in severities},
            }
            for name in names
        },
    }


def _mean(costs: Costs) -> Number:
    """The mean with its interval: of a share of wrong answers Wilson's."""
    if np.isin(costs, (0, 1)).all():
        return number(costs.mean(), wilson(int(costs.sum()), len(costs)))
    return number(costs.mean(), mean_interval(costs))
