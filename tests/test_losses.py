"""Losses against PyTorch's, against the papers' sums written out, and labels against their one-hot vectors."""

from typing import Any

import pytest
import torch
from scipy.stats import energy_distance
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from leyden.losses import (
    BinaryCrossEntropy,
    ClassificationLoss,
    CrossEntropy,
    EarthMover,
    Focal,
    Huber,
    MeanSquaredError,
)

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(32, 5, generator=GENERATOR)
LABELS = torch.randint(5, (32,), generator=GENERATOR)
SOFT = torch.rand(32, 5, generator=GENERATOR).softmax(1)
WEIGHTS = [0.5, 1.0, 2.0, 1.5, 0.2]
SETTINGS: list[dict[str, Any]] = [
    {}, {"label_smoothing": 0.1}, {"class_weights": WEIGHTS}, {"label_smoothing": 0.2, "class_weights": WEIGHTS},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS)
def test_cross_entropy_of_labels_equals_pytorchs(settings: dict[str, Any]) -> None:
    weight = torch.tensor(settings["class_weights"]) if "class_weights" in settings else None
    expected = nn.CrossEntropyLoss(weight, label_smoothing=settings.get("label_smoothing", 0.0))(LOGITS, LABELS)
    torch.testing.assert_close(CrossEntropy(5, **settings)(LOGITS, LABELS), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_soft_targets_equals_pytorchs(smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, SOFT, label_smoothing=smoothing)
    torch.testing.assert_close(CrossEntropy(5, label_smoothing=smoothing)(LOGITS, SOFT), expected)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", [CrossEntropy, Focal, EarthMover])
def test_label_and_its_one_hot_vector_give_the_same_loss(
    kind: type[ClassificationLoss], settings: dict[str, Any]
) -> None:
    loss = kind(5, **settings)
    torch.testing.assert_close(loss(LOGITS, LABELS), loss(LOGITS, F.one_hot(LABELS, 5).float()))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("targets", [LABELS, SOFT])
def test_focal_loss_without_focus_is_cross_entropy(settings: dict[str, Any], targets: Tensor) -> None:
    expected = CrossEntropy(5, **settings)(LOGITS, targets)
    torch.testing.assert_close(Focal(5, gamma=0.0, **settings)(LOGITS, targets), expected)


def test_focal_loss_is_the_papers_sum() -> None:
    probabilities = LOGITS.softmax(1)[range(32), LABELS]
    expected = (-((1 - probabilities) ** 2) * probabilities.log()).mean()
    torch.testing.assert_close(Focal(5, gamma=2.0)(LOGITS, LABELS), expected)


def test_focal_loss_of_two_classes_equals_torchvisions() -> None:
    """A softmax over (0, z) is a sigmoid of z; torchvision's loss is the binary one."""
    scores = LOGITS[:, 0]
    labels = (LABELS > 2).long()
    expected = sigmoid_focal_loss(scores, labels.float(), alpha=-1, gamma=2.0, reduction="mean")
    logits = torch.stack([torch.zeros(32), scores], dim=1)
    torch.testing.assert_close(Focal(2, gamma=2.0)(logits, labels), expected)


@pytest.mark.parametrize("targets", [LABELS, SOFT])
def test_earth_movers_distance_is_half_the_squared_energy_distance_of_scipy(targets: Tensor) -> None:
    levels, probabilities = range(5), LOGITS.double().softmax(1)
    soft = F.one_hot(targets, 5).double() if targets.ndim == 1 else targets.double()
    pairs = zip(probabilities.numpy(), soft.numpy(), strict=True)
    expected = [energy_distance(levels, levels, answer, target) ** 2 / 2 for answer, target in pairs]
    torch.testing.assert_close(EarthMover(5)(LOGITS, targets).double(), torch.tensor(expected).mean())


def test_certain_answer_costs_by_how_far_it_is_off() -> None:
    certain = 1000.0 * torch.eye(5)
    costs = [EarthMover(5)(answer[None], torch.tensor([0])).item() for answer in certain]
    assert costs == [0, 1, 2, 3, 4]
    weighted = EarthMover(5, class_weights=WEIGHTS)(certain, torch.zeros(5, dtype=torch.long))
    assert weighted.item() == 2  # one class alone: its weight falls out


def test_balanced_weights_make_every_class_count_the_same() -> None:
    loss = CrossEntropy(5, class_weights="balanced")
    counts = torch.tensor([10, 20, 30, 40, 100])
    loss.fit_labels(torch.arange(5).repeat_interleave(counts))
    assert loss.class_weights is not None
    torch.testing.assert_close(loss.class_weights * counts, torch.full((5,), 200 / 5))


def test_balanced_weights_of_an_empty_class_are_refused() -> None:
    with pytest.raises(ValueError, match="class 1 has no training image"):
        CrossEntropy(3, class_weights="balanced").fit_labels(torch.tensor([0, 0, 2, 2]))


def test_gradient_of_focal_loss_is_finite_for_certain_answers() -> None:
    logits = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]], requires_grad=True)
    Focal(2, gamma=0.5)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"label_smoothing": 1.0}, "loss.label_smoothing=1.0"),
        ({"class_weights": "balance"}, "expected null, balanced"),
        ({"class_weights": [1.0, 2.0]}, "expected 5 numbers above 0"),
        ({"class_weights": [1.0, 2.0, 0.0, 1.0, 1.0]}, "above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        CrossEntropy(5, **settings)
    with pytest.raises(ValueError, match=r"loss\.gamma=-1"):
        Focal(5, gamma=-1)


SEVERAL = (torch.rand(32, 5, generator=GENERATOR) < 0.3).float()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_binary_cross_entropy_equals_pytorchs(weights: list[float] | None) -> None:
    expected = nn.BCEWithLogitsLoss(pos_weight=None if weights is None else torch.tensor(weights))(LOGITS, SEVERAL)
    torch.testing.assert_close(BinaryCrossEntropy(5, class_weights=weights)(LOGITS, SEVERAL), expected)


def test_smoothed_binary_cross_entropy_is_that_of_moved_targets() -> None:
    moved = torch.where(SEVERAL > 0, 0.95, 0.05)
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), moved)
    torch.testing.assert_close(BinaryCrossEntropy(5, label_smoothing=0.1)(LOGITS, SEVERAL), expected)


def test_balanced_weights_of_several_labels_make_yes_and_no_count_the_same() -> None:
    loss = BinaryCrossEntropy(5, class_weights="balanced")
    loss.fit_labels(SEVERAL)
    assert loss.class_weights is not None
    torch.testing.assert_close(loss.class_weights * SEVERAL.sum(0), (1 - SEVERAL).sum(0))


@pytest.mark.parametrize(("value", "expected"), [(0, "class 2 has no training"), (1, "class 2 is on every training")])
def test_balanced_weights_of_a_class_that_tells_nothing_are_refused(value: int, expected: str) -> None:
    labels = SEVERAL.clone()
    labels[:, 2] = value
    with pytest.raises(ValueError, match=expected):
        BinaryCrossEntropy(5, class_weights="balanced").fit_labels(labels)


@pytest.mark.parametrize(
    ("loss", "reference"), [(MeanSquaredError(), nn.MSELoss()), (Huber(0.5), nn.HuberLoss(delta=0.5))]
)
def test_losses_of_numbers_are_pytorchs_of_standardised_ones(loss: Any, reference: nn.Module) -> None:
    labels, values = 1000 * LOGITS[:, 0] + 7000, 1000 * LOGITS[:, 1] + 7000
    loss.fit_labels(labels)
    spread = labels.std(correction=0)
    torch.testing.assert_close(loss(values, labels), reference((values - labels) / spread, torch.zeros(32)))


def test_bounds_of_huber_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss\.delta=0 is out of range"):
        Huber(0)
