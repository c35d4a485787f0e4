"""Integrated gradients, in closed form where the network is linear."""

import pytest
import torch
from torch import nn

from leyden.explain.integrated_gradients import brightness, integrated_gradients

IMAGES = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_of_a_linear_network_a_pixels_share_is_weight_times_pixel() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    answers = torch.tensor([3, 1])
    found = integrated_gradients(network, IMAGES, answers)
    expected = network[1].weight.detach()[answers].view(2, 3, 4, 4) * IMAGES
    torch.testing.assert_close(found.pixels, expected, atol=1e-5, rtol=1e-5)
    assert found.error < 1e-4


def test_shares_add_up_to_the_change_of_the_score() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 5))
    found = integrated_gradients(network, IMAGES, torch.tensor([0, 4]))
    scores = network(IMAGES)[[0, 1], [0, 4]] - network(torch.zeros_like(IMAGES))[[0, 1], [0, 4]]
    torch.testing.assert_close(found.pixels.sum((1, 2, 3)), scores.detach(), atol=1e-3, rtol=1e-3)


def test_of_numbers_the_score_is_the_number() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 1), nn.Flatten(0))
    found = integrated_gradients(network, IMAGES, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(found.pixels[1].flatten(), network[1].weight.detach()[0] * IMAGES[1].flatten())


def test_brightness_is_one_at_the_brightest_percent() -> None:
    found = brightness(torch.randn(1, 2, 30, 30, generator=torch.Generator().manual_seed(0)))
    assert float(found.max()) == 1
    assert float(found.min()) >= 0
    assert float((found == 1).double().mean()) == pytest.approx(0.01, abs=0.002)
