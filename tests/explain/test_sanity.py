"""The sanity check of maps: it passes one that goes by the weights, and fails one that shows the image."""

import torch
from torch import Tensor, nn

from leyden.explain.sanity import check, rank_correlation, with_shuffled_weights


def test_shuffled_weights_are_the_same_values_elsewhere() -> None:
    network = nn.Linear(20, 10)
    shuffled = with_shuffled_weights(network)
    assert not torch.equal(network.weight, shuffled.weight)
    assert torch.equal(network.weight.flatten().sort().values, shuffled.weight.flatten().sort().values)


def test_a_map_of_the_image_fails_and_one_of_the_weights_passes() -> None:
    network = nn.Linear(100, 100)
    images = torch.rand(2, 100, 100)
    assert not check(images, lambda _: images, network).is_passed

    def weights_of(module: nn.Module) -> Tensor:
        return next(module.parameters()).detach()[None]

    assert check(weights_of(network), weights_of, network).is_passed


def test_correlation_is_that_of_ranks() -> None:
    values = torch.arange(9.0).view(3, 3)
    assert rank_correlation(values, values.exp()) == 1
    assert rank_correlation(values, -values) == -1
    assert rank_correlation(values, torch.zeros(3, 3)) == 0
