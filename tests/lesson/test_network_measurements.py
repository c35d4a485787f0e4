"""What is measured of networks: a wrong gradient, or a wrong sum, would show."""

from typing import Any

import pytest
import torch
from torch import nn

from leyden.lesson import network_measurements as networks


def test_hand_made_outputs_are_torchs_and_counts_add_up() -> None:
    measured = networks.layers()
    assert max(measured["values"]["difference"]) < 1e-12
    assert set(measured["values"]["miscounted"]) == {0.0}
    assert measured["pictures"][0]["lines"][0]["means"][2] == 64 * 64 + 64 + 64 * 64 + 64 + 650


def test_layers_without_a_bend_are_one_matrix_and_with_one_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(networks.collapse()["values"]["difference"]) < 1e-12
    make = networks._network
    monkeypatch.setattr(networks, "_network", lambda *a, activation="", **k: make(*a, activation="relu", **k))
    assert min(networks.collapse()["values"]["difference"]) > 0.01


def test_backpropagation_is_the_central_difference_and_a_wrong_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "NUM_CASES", 9)
    assert max(networks.backpropagation()["values"]["difference"]) < 1e-6
    right = torch.autograd.grad

    def wrong(*arguments: Any) -> Any:
        gradients = right(*arguments)
        return (1.01 * gradients[0], *gradients[1:])

    monkeypatch.setattr(torch.autograd, "grad", wrong)
    assert min(networks.backpropagation()["values"]["difference"]) > 1e-6


def test_descent_lowers_the_loss_in_small_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "NUM_DESCENTS", 2)
    monkeypatch.setattr(networks, "NUM_STEPS", 20)
    values = networks.descent()["values"]
    assert values["small"] == [1.0, 1.0]
    assert max(values["large"]) < 0.99


def test_nearest_mean_of_classes_apart_is_right_and_of_noise_is_a_guess() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 10
    noise = torch.randn(2000, 5, generator=generator)
    apart = noise + 100 * nn.functional.one_hot(labels, 10)[:, :5] + 300 * (labels >= 5)[:, None]
    apart = torch.cat([apart, 100.0 * nn.functional.one_hot(labels, 10)], 1)
    known, asked = torch.arange(1000), torch.arange(1000, 2000)
    assert networks._nearest_mean(apart, labels, known, asked) == 1.0
    assert networks._nearest_mean(noise, labels, known, asked) == pytest.approx(0.1, abs=0.04)
