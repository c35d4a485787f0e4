"""What is measured of optimizers has closed forms."""

import pytest
import torch

from leyden.lesson import optimizer_measurements as optimizers


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "NUM_REPEATS", 2)
    monkeypatch.setattr(optimizers, "NUM_FITS", 2)
    monkeypatch.setattr(optimizers, "NUM_PARAMETERS", 50)


def test_valley_takes_steps_in_the_ratio_of_theory() -> None:
    """Errors shrink by (κ - 1) / (κ + 1) a step without momentum, by (√κ - 1) / (√κ + 1) with it."""
    ratio = optimizers.ravine()["values"]["ratio"]
    theory = torch.log(torch.tensor(9 / 11)) / torch.log(torch.tensor(99 / 101))
    assert ratio == pytest.approx([float(theory)] * 2, rel=0.6)


def test_steps_shrink_as_a_root_of_time_and_grow_with_the_gradient() -> None:
    values = optimizers.steps_over_time()["values"]
    assert values["AdaGrad steady"] == pytest.approx([(325 / 975) ** 0.5] * 2, rel=0.05)
    assert values["RMSprop steady"] == pytest.approx([1.0] * 2, abs=0.05)
    assert values["SGD growing"] == pytest.approx([10 ** (3 * 650 / 999)] * 2, rel=0.1)
    assert values["RMSprop growing"] == pytest.approx([1.0] * 2, abs=0.1)


def test_adam_becomes_rmsprop_and_adagrad() -> None:
    values = optimizers.adam_limits()["values"]
    assert max(values["RMSprop"]) < 1e-6
    assert max(values["AdaGrad"]) < 1e-6


def test_memory_is_counted_in_values_for_each_parameter() -> None:
    measured = optimizers.memory()
    assert measured["values"]["Adam"] == [2.0] * 5
    assert measured["values"]["more"] == [1.0] * 5
    assert measured["figures"]["kept"] == "SGD 0, with momentum 1, AdaGrad 1, RMSprop 1, Adam 2"
    assert all(0 < share < 0.5 for share in measured["values"]["share"])  # half, if there were no activations


def test_what_layers_keep_is_counted_once() -> None:
    linear = torch.nn.Linear(8, 3)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), linear)
    batch = optimizers.BATCH_SIZE
    # inputs, what ReLU gives (its own output and the next layer's input are one), and the outputs that are squared
    assert optimizers._training_step(network) == batch * (64 + 8 + 3)
    assert linear.weight.grad is not None


def test_decoupled_decay_is_the_same_for_all_weights_and_l2_is_not() -> None:
    values = optimizers.decays()["values"]
    assert values["decoupled"] == pytest.approx([1.0] * 2, abs=0.01)
    assert max(values["L2 in the loss"]) < 0.5


def test_rates_learn_side_by_side_as_they_would_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "FIT_STEPS", 20)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(1797) % 10
    rows = torch.randn(1797, 12, generator=generator) + 3 * torch.nn.functional.one_hot(labels, 12)
    monkeypatch.setattr(optimizers, "RATES", (0.01, 0.1, 1.0))
    together = optimizers._best_accuracy(torch.optim.SGD, rows, labels, 0)
    alone = []
    for rate in (0.01, 0.1, 1.0):
        monkeypatch.setattr(optimizers, "RATES", (rate,))
        alone.append(optimizers._best_accuracy(torch.optim.SGD, rows, labels, 0))
    assert together in [pytest.approx(one) for one in alone]
    assert together >= max(alone) - 0.02
