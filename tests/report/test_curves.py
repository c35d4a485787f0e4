"""What epochs say, against SciPy, torchmetrics, simulation and networks that overfit."""

import time

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from torchmetrics.functional.classification import multiclass_calibration_error

from leyden.report.curves import FEWEST_EPOCHS, OVERFITTING_RULE, RISE, bands, calibration, start_of_overfitting


def test_bands_equal_scipys_intervals() -> None:
    curves = np.random.default_rng(0).normal(1, 0.1, size=(4, 6))
    epochs, found = bands([{"val/loss": curve} for curve in curves])
    assert epochs == [0, 1, 2, 3, 4, 5]
    low, high = stats.t.interval(0.95, 3, curves.mean(0), stats.sem(curves))
    assert found["val/loss"]["mean"] == pytest.approx(curves.mean(0), rel=1e-5)
    assert found["val/loss"]["low"] == pytest.approx(low, rel=1e-5)
    assert found["val/loss"]["high"] == pytest.approx(high, rel=1e-5)


def test_bands_leave_out_what_was_not_recorded() -> None:
    missing = np.nan
    epochs, found = bands(
        [
            {"a": np.array([1.0, 2.0, missing, 4.0]), "b": np.array([1.0])},
            {"a": np.array([3.0, missing, missing, np.inf, 5.0])},
        ]
    )
    assert epochs == [0, 1, 2, 3, 4]
    assert found["a"]["mean"] == [2.0, 2.0, None, None, 5.0]
    half = float(stats.t.ppf(0.975, 1))
    assert found["a"]["low"] == [0.0, None, None, None, None]  # a loss is not negative, whatever the interval
    assert found["a"]["high"] == [pytest.approx(2 + half, rel=1e-5), None, None, None, None]
    assert found["b"] == {"mean": [1.0, *[None] * 4], "low": [None] * 5, "high": [None] * 5}


@pytest.mark.parametrize("name", ["val/accuracy", "val/mean_average_precision"])
def test_bands_of_shares_end_at_one(name: str) -> None:
    _, found = bands([{name: np.array([0.9])}, {name: np.array([1.0])}])
    assert found[name]["high"] == [1.0]


def test_bands_of_nothing_are_empty() -> None:
    assert bands([]) == ([], {})
    assert bands([{}, {}]) == ([], {})


def test_bands_keep_six_digits() -> None:
    _, found = bands([{"a": np.array([np.pi * 1e-5])}])
    assert found["a"]["mean"] == [3.14159e-05]


def test_bands_of_a_thousand_runs_take_seconds() -> None:
    generator = np.random.default_rng(0)
    names = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
    start = time.process_time()
    for _ in range(333):
        bands([{name: generator.random(50) for name in names} for _ in range(3)])
    assert time.process_time() - start < 4


SHAPES = {
    "flat": lambda epochs: 0.5 + 0 * epochs,
    "falling": lambda epochs: 0.5 + np.exp(-3 * epochs / len(epochs)),
    "falling at once": lambda epochs: 0.5 + 2 * np.exp(-epochs / 2),
    "falling slowly": lambda epochs: 0.5 - 0.002 * epochs,
}


@pytest.mark.parametrize("tails", ["normal", "heavy"])
@pytest.mark.parametrize("num_epochs", [8, 9, 10, 15, 30, 100])
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_rarely_called_overfitting(shape: str, num_epochs: int, tails: str) -> None:
    generator, trials = np.random.default_rng(num_epochs), 400
    training = np.linspace(1, 0, num_epochs)  # the worst case: it always falls
    called = 0
    for _ in range(trials):
        noise = generator.normal(size=num_epochs) if tails == "normal" else generator.standard_t(4, num_epochs)
        called += start_of_overfitting(training, SHAPES[shape](np.arange(num_epochs)) + 0.03 * noise) is not None
    assert called / trials <= 0.05


@pytest.mark.parametrize("lowest", [6, 15, 30])
def test_overfitting_is_found_where_it_begins(lowest: int) -> None:
    """A V of known minimum whose sides rise by twice the noise in an epoch."""
    generator, epochs = np.random.default_rng(lowest), np.arange(45)
    found = []
    for _ in range(200):
        validation = 0.5 + 0.04 * np.abs(epochs - lowest) + generator.normal(0, 0.02, len(epochs))
        found.append(start_of_overfitting(np.exp(-epochs / 10), validation))
    assert None not in found
    distances = np.abs(np.array(found, dtype=float) - lowest)
    assert (distances <= 3).mean() > 0.97


def losses(num_wrong: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both losses of a network that learns 200 digits, some with a wrong label, by heart."""
    images, labels = load_digits(return_X_y=True)
    images, generator = images / 16, np.random.default_rng(seed)
    wrong = generator.random(len(labels)) < num_wrong
    labels = np.where(wrong, generator.integers(10, size=len(labels)), labels)
    order = generator.permutation(len(labels))
    parts = [(images[part], labels[part]) for part in (order[:200], order[1200:])]
    network = MLPClassifier((64,), learning_rate_init=0.01, random_state=seed)
    found = []
    for _ in range(50):
        network.partial_fit(*parts[0], classes=range(10))
        found.append([log_loss(y, network.predict_proba(x), labels=range(10)) for x, y in parts])
    training, validation = np.array(found).T
    return training, validation


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_learns_wrong_labels_by_heart_overfits(seed: int) -> None:
    training, validation = losses(0.3, seed)
    begun = start_of_overfitting(training, validation)
    assert begun is not None
    assert abs(begun - int(validation.argmin())) <= 3


def test_a_network_whose_validation_loss_still_falls_does_not_overfit() -> None:
    training, validation = losses(0.0, 0)
    assert start_of_overfitting(training[:15], validation[:15]) is None


def test_a_rise_in_both_losses_is_no_overfitting() -> None:
    rising = np.abs(np.arange(20.0) - 8)
    assert start_of_overfitting(rising, rising) is None
    assert start_of_overfitting(-np.arange(20.0), rising) == 8


def test_a_wander_of_less_than_a_hundredth_is_no_overfitting() -> None:
    validation = np.r_[np.linspace(2, 1, 20), np.linspace(1, 1.005, 20)]
    assert start_of_overfitting(np.linspace(2, 1, 40), validation) is None


def test_short_runs_are_not_judged() -> None:
    rising = np.abs(np.arange(float(FEWEST_EPOCHS)) - 2)
    assert start_of_overfitting(-np.arange(float(FEWEST_EPOCHS)), rising) is not None
    assert start_of_overfitting(-np.arange(FEWEST_EPOCHS - 1.0), rising[:-1]) is None


def test_epochs_without_validation_do_not_count() -> None:
    validation = np.full(40, np.nan)
    validation[1::2] = np.abs(np.arange(20.0) - 8)
    assert start_of_overfitting(-np.arange(40.0), validation) == 17


def test_the_rule_says_its_numbers() -> None:
    assert f"{RISE:g} standard deviations" in OVERFITTING_RULE
    assert "1%" in OVERFITTING_RULE


def test_calibration_error_equals_torchmetrics() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(5, 0.3), 3000)
    labels = generator.integers(5, size=3000)
    predictions, confidences = probabilities.argmax(1), probabilities.max(1)
    found = calibration(7, confidences, predictions, labels)
    expected = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), 5, n_bins=15, norm="l1")
    assert found["setting"] == 7
    assert found["ece"] == pytest.approx(expected.item(), abs=1e-6)


def test_calibration_bins_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(1)
    confidences = np.r_[generator.uniform(0.5, 1, 200), 0.6, 1.0, 1 / 3]
    predictions, labels = generator.integers(3, size=(2, 203))
    found = calibration(0, confidences, predictions, labels)
    for index in range(15):
        inside = (confidences > index / 15) & (confidences <= (index + 1) / 15)
        assert found["counts"][index] == inside.sum()
        expected = (
            [confidences[inside].mean(), (predictions == labels)[inside].mean()] if inside.any() else [None, None]
        )
        assert [found["confidences"][index], found["accuracies"][index]] == pytest.approx(expected)
    assert sum(found["counts"]) == 203
