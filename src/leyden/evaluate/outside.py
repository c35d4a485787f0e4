"""Answers > **other data** > evaluate: are images of another kind told from the run's own by how sure answers are?

Shapes: M images of the run's own data (inside), N of others (outside), K classes.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

from leyden.data.sources import Task
from leyden.evaluate.number import number
from leyden.intervals import NORMAL_975, Interval, wilson
from leyden.trained import probabilities_of

Array = NDArray[np.float64]


def scores_of(logits: Tensor, task: Task, is_one_look: bool) -> dict[str, Array]:
    """How much each image [N] looks like the run's own, by logits [N, K].

    The greatest probability (Hendrycks and Gimpel 2017); and the negative energy: log Σ exp of the logits (Liu et al.
    2020), of several labels the sum of log(1 + exp) (Wang et al. 2021). Logits that are averaged over several looks
    are log-probabilities, whose energy is always zero.
    """
    logits = logits.double()  # in single precision many a greatest probability would be 1
    found = {"max_probability": probabilities_of(logits, task).max(1).values.numpy()}
    if task == "multi_label":
        return found | {"energy": F.softplus(logits).sum(1).numpy()}
    return found | ({"energy": logits.logsumexp(1).numpy()} if is_one_look else {})


def separation(inside: dict[str, Array], outside: dict[str, Array]) -> dict[str, Any]:
    """By each score, the chance that one of the run's own images has more of it than one of the others (AUROC)."""
    return {name: number(*auroc(inside[name], outside[name])) for name in inside}


def auroc(inside: Array, outside: Array) -> tuple[float, Interval]:
    """The area under the ROC curve of scores [M] against [N], and its 95 % interval.

    Mann–Whitney's statistic, equal scores counting half; DeLong et al. 1988 for the variance, by midranks (Sun and Xu
    2014), about the logit. Where all lie on one side the variance is zero and known to be wrong: the interval is then
    that of a proportion, of as many trials as the smaller set has images.
    """
    ranks = rankdata(np.concatenate([inside, outside]))
    above = (ranks[: len(inside)] - rankdata(inside)) / len(outside)  # share of the others below each of ours
    below = 1 - (ranks[len(inside) :] - rankdata(outside)) / len(inside)
    area = float(above.mean())
    smaller = min(len(inside), len(outside))
    if not 0 < area < 1 or smaller < 2:
        return area, wilson(round(area * smaller), smaller)
    deviation = math.sqrt(above.var(ddof=1) / len(inside) + below.var(ddof=1) / len(outside))
    centre, half = math.log(area / (1 - area)), NORMAL_975 * deviation / (area * (1 - area))
    return area, (_logistic(centre - half), _logistic(centre + half))


def _logistic(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))
