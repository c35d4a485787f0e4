"""Calibration before and after a temperature, against torchmetrics and a search over temperatures."""

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from leyden.data.facts import DataFacts
from leyden.evaluate.calibration import calibration
from leyden.trained import Answers

FACTS = DataFacts("three", "single_label", ("a", "b", "c"), 1, 8, 1.0, (0.5,), (0.5,))


def answers(count: int, sharpness: float, seed: int) -> Answers:
    """Logits of a network that is too sure by a factor."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return Answers(logits * sharpness, labels, torch.arange(count))


def test_errors_are_those_of_torchmetrics_and_the_temperature_the_likeliest() -> None:
    test, validation = answers(400, 3.0, 0), answers(500, 3.0, 1)
    found = calibration(test, validation, FACTS)
    losses = {
        step: float(F.cross_entropy(validation.outputs / step, validation.labels)) for step in (2.0, 3.0, 4.0, 5.0)
    }
    at_found = float(F.cross_entropy(validation.outputs / found["temperature"], validation.labels))
    assert at_found <= min(losses.values()) + 1e-6
    assert found["temperature"] == pytest.approx(3, rel=0.2)
    assert found["is_told_apart"]
    for when, temperature in (("before", 1.0), ("after", found["temperature"])):
        probabilities = (test.outputs / temperature).softmax(1)
        theirs = float(multiclass_calibration_error(probabilities, test.labels, 3, n_bins=15))
        assert found[when]["ece"]["value"] == pytest.approx(theirs, abs=1e-5)
        assert found[when]["loss"]["value"] == pytest.approx(
            float(F.cross_entropy(test.outputs / temperature, test.labels)), rel=1e-5
        )
    assert found["after"]["ece"]["value"] < found["before"]["ece"]["value"]


def test_a_temperature_of_chance_is_not_told_apart_from_one() -> None:
    found = calibration(answers(400, 1.0, 0), answers(500, 1.0, 1), FACTS)
    assert found["temperature"] == pytest.approx(1, abs=0.15)
    assert not found["is_told_apart"]


def test_several_labels_have_a_loss_and_no_calibration_error() -> None:
    logits = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    labels = (logits.sigmoid() > 0.5).float()
    several = Answers(logits, labels, torch.arange(100))
    found = calibration(several, several, FACTS._replace(task="multi_label"))
    assert found["before"].keys() == {"loss"}
    assert found["after"]["loss"]["value"] < found["before"]["loss"]["value"]
    expected = F.binary_cross_entropy_with_logits(logits, labels)
    assert found["before"]["loss"]["value"] == pytest.approx(float(expected), rel=1e-5)
