"""Test time: views of an image, and the temperature of an answer."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from leyden import metrics
from leyden.test_time import TestTime, fit_temperature, is_told_apart_from_one
from running import FinishedRun, compose_config
from task_sources import MULTI_LABEL

Train = Callable[..., FinishedRun]


def network_of(num_outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, num_outputs)).eval()


def all_views(image: torch.Tensor) -> list[torch.Tensor]:
    turned = [torch.from_numpy(np.rot90(image.numpy(), turns, (1, 2)).copy()) for turns in range(4)]
    return turned + [torch.from_numpy(np.flip(view.numpy(), 2).copy()) for view in turned]


@torch.no_grad()
def test_eight_views_are_asked_together_as_one_by_one() -> None:
    images, network = torch.randn(3, 1, 8, 8), network_of(5)
    ours = TestTime("single_label", "flips_turns").answer(network, images).softmax(1)
    for image, answer in zip(images, ours, strict=True):
        one_by_one = torch.stack([network(view[None])[0].softmax(0) for view in all_views(image)])
        assert torch.allclose(answer, one_by_one.mean(0), atol=1e-6)


@torch.no_grad()
def test_turned_image_gets_the_same_answer() -> None:
    images, network = torch.randn(3, 1, 8, 8), network_of(5)
    test_time = TestTime("single_label", "flips_turns")
    answer = test_time.answer(network, images)
    for view in (images.rot90(1, (2, 3)), images.flip(2), images.rot90(3, (2, 3)).flip(3)):
        assert torch.allclose(test_time.answer(network, view), answer, atol=1e-5)


@torch.no_grad()
def test_probabilities_of_labels_and_numbers_are_averaged() -> None:
    images, network = torch.randn(3, 1, 8, 8), network_of(4)
    both = torch.stack([network(images), network(images.flip(3))])
    of_labels = TestTime("multi_label", "flips").answer(network, images)
    assert torch.allclose(of_labels.sigmoid(), both.sigmoid().mean(0), atol=1e-6)
    of_numbers = TestTime("regression", "flips").answer(network, images)
    assert torch.allclose(of_numbers, both.mean(0))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_of_labels_drawn_from_scaled_logits_is_found(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(20000, 5, generator=generator)
    labels = torch.multinomial((logits / true_temperature).softmax(1), 1, generator=generator)[:, 0]
    found = fit_temperature(logits, labels, "single_label")
    assert found == pytest.approx(true_temperature, rel=0.05)
    losses = {t: float(F.cross_entropy(logits / t, labels)) for t in (0.99 * found, found, 1.01 * found)}
    assert losses[found] == min(losses.values())


def test_temperature_of_several_labels_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(20000, 5, generator=generator)
    labels = torch.bernoulli((logits / 2).sigmoid(), generator=generator).long()
    assert fit_temperature(logits, labels, "multi_label") == pytest.approx(2, rel=0.05)


def drawn(num_images: int, temperature: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    logits = 4 * torch.randn(num_images, 5, generator=generator)
    return logits, torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]


def test_temperature_of_answers_that_are_all_right_is_not_told() -> None:
    for num_images in (9, 500):  # any number of them: the fit goes to zero
        logits = torch.randn(num_images, 5, generator=torch.Generator().manual_seed(0))
        fitted = fit_temperature(logits, logits.argmax(1), "single_label")
        assert fitted == pytest.approx(0.05, rel=0.01)
        assert not is_told_apart_from_one(fitted, logits, logits.argmax(1), "single_label")


def test_temperature_is_told_from_one_in_a_twentieth_of_the_cases_where_it_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    told = []
    for _ in range(400):
        images = drawn(60, 1.0, generator)
        told.append(is_told_apart_from_one(fit_temperature(*images, "single_label"), *images, "single_label"))
    assert 0.02 < np.mean(told) < 0.09


def test_test_loss_of_temperatures_of_few_images_is_on_average_no_worse_than_without() -> None:
    generator = torch.Generator().manual_seed(0)
    for true_temperature in (1.0, 2.0):
        logits, labels = drawn(4000, true_temperature, generator)
        losses = []
        for _ in range(60):
            nine = drawn(9, true_temperature, generator)
            fitted = fit_temperature(*nine, "single_label")
            chosen = fitted if is_told_apart_from_one(fitted, *nine, "single_label") else 1.0
            losses.append([float(F.cross_entropy(logits / t, labels)) for t in (1.0, chosen, fitted)])
        without, careful, always = np.mean(losses, axis=0)
        assert careful <= without + 0.01
        assert always > without + 0.1  # what there is to guard against


def test_run_with_too_few_validation_images_keeps_its_temperature_and_says_so(
    train_run: Train, caplog: pytest.LogCaptureFixture
) -> None:
    few = ["epochs=4", "optimizer.lr=0.05", "data.validation_fraction=0.01", "trainer.precision=32-true"]
    run = train_run(*few, "test_time.temperature=true")
    assert run.record["calibration"]["temperature"] == 1
    warned = [record.getMessage() for record in caplog.records if "test_time.temperature=true" in record.getMessage()]
    assert len(warned) == 1
    assert "20 validation images do not tell their likeliest temperature" in warned[0]


def test_run_with_a_temperature_keeps_its_answers_and_is_better_calibrated(train_run: Train) -> None:
    settings = ["epochs=4", "optimizer.lr=0.05", "trainer.precision=32-true"]
    plain, scaled = train_run(*settings), train_run(*settings, "test_time.temperature=true")
    calibration = scaled.record["calibration"]
    assert calibration["val_loss_after"] <= calibration["val_loss_before"]
    assert calibration.keys() >= {"val_ece_before", "val_ece_after"}
    ours, before = scaled.record["metrics"], plain.record["metrics"]
    assert ours["test/accuracy"] == before["test/accuracy"]
    assert ours["test/loss"] != before["test/loss"] or calibration["temperature"] == 1


def test_run_with_views_tests_them(train_run: Train) -> None:
    settings = ["epochs=2", "callbacks.ema.decay=0.5", "trainer.precision=32-true"]
    plain, views = train_run(*settings), train_run(*settings, "test_time=flips_turns")
    assert views.record["metrics"]["best/val/accuracy"] == plain.record["metrics"]["best/val/accuracy"]
    for name in ("test/accuracy", "test/ema_accuracy"):
        assert views.record["metrics"][name] < plain.record["metrics"][name]  # a digit on its head is another


def test_temperature_changes_no_answer_of_several_labels(train_run: Train) -> None:
    settings = [*MULTI_LABEL, "epochs=30", "optimizer.lr=0.02", "callbacks.ema.decay=0.9", "trainer.precision=32-true"]
    plain, scaled = train_run(*settings), train_run(*settings, "test_time.temperature=true")
    found = scaled.record["calibration"]
    assert min(abs(found["temperature"] - 1), abs(found["ema_temperature"] - 1)) > 0.1
    assert found["temperature"] != found["ema_temperature"]  # each fits its own
    for name in ("macro_f1", "mean_average_precision", "ema_macro_f1", "ema_mean_average_precision"):
        assert scaled.record["metrics"][f"test/{name}"] == pytest.approx(plain.record["metrics"][f"test/{name}"])


def test_thresholds_of_several_labels_are_those_of_the_answers_they_judge(
    train_run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    chosen = metrics.MultiLabelMetrics.compute

    def compute(self: metrics.MultiLabelMetrics) -> dict[str, float]:
        found = chosen(self)
        seen.append(self.thresholds.logits.clone())
        return found

    monkeypatch.setattr(metrics.MultiLabelMetrics, "compute", compute)
    train_run(*MULTI_LABEL, "epochs=2", "test_time=flips")
    of_one_look, of_the_views, of_the_test = seen[-4], seen[-2], seen[-1]
    assert not torch.equal(of_one_look, of_the_views)
    assert torch.equal(of_the_views, of_the_test)


def test_what_cannot_be_asked_is_refused(train_run: Train) -> None:
    with pytest.raises(ValueError, match=r"test_time\.views=flip: expected plain, flips or flips_turns"):
        TestTime("single_label", "flip")
    with pytest.raises(ValueError, match=r"test_time\.temperature=true is for classes"):
        TestTime("regression", temperature=True)
    with pytest.raises(ValueError, match=r"test_time\.views=flips looks at images, and finetune keeps features"):
        train_run("finetune=linear_probe", "test_time=flips")
    assert compose_config().test_time.views == "plain"
