"""Maps > **sanity check** > page: a map that explains a network changes when the network's weights do.

Adebayo et al. 2018 found maps that hardly do: what they show is the image. Here every parameter's values are shuffled.
"""

import copy
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.stats import ConstantInputWarning, spearmanr
from torch import Tensor, nn

SEED = 0
ALIKE = 0.5  # a rank correlation from which on maps are called alike


class Check(NamedTuple):
    """How alike maps of the network and of one with shuffled weights are."""

    correlation: float  # Spearman's, the mean over the images; of a map without any contrast 0

    @property
    def is_passed(self) -> bool:
        """Whether the map goes by the weights."""
        return self.correlation < ALIKE


def with_shuffled_weights(network: nn.Module) -> nn.Module:
    """A copy of the network in which each parameter has its own values in another order."""
    found = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(SEED)
    for parameter in found.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return found


def check(maps: Tensor, explain: Callable[[nn.Module], Tensor], network: nn.Module) -> Check:
    """Of a way to explain, whose maps [B, H, W] of a network there are, and which makes those of another network."""
    pairs = list(zip(maps, explain(with_shuffled_weights(network)), strict=True))
    return Check(sum(rank_correlation(*pair) for pair in pairs) / len(pairs))


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Of two maps [H, W]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        found = float(spearmanr(first.flatten().cpu(), second.flatten().cpu()).statistic)
    return 0.0 if found != found else found
