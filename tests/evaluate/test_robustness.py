"""Mean corruption error, against brute force."""

import numpy as np
import pytest
import torch
from torch import Tensor

from leyden.data import Batch, Digits, ImageDataModule
from leyden.data.facts import DataFacts
from leyden.evaluate.corruptions import corrupted
from leyden.evaluate.robustness import costs_of, robustness
from leyden.evaluate.subject import Subject, batches
from leyden.intervals import wilson

FACTS = DataFacts("digits", "single_label", Digits.class_names, 1, 8, 1.0, (0.3,), (0.4,))


class Template:
    """Answers with the digit whose mean image is nearest."""

    facts = FACTS

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.means = torch.stack([images[labels == digit].float().mean(0).flatten() for digit in range(10)])

    def logits(self, images: Tensor) -> Tensor:
        return -torch.cdist(images.float().flatten(1), self.means)


def test_errors_are_those_of_each_corruption_asked_by_itself() -> None:
    data = ImageDataModule(Digits(), 64, 0)
    data.setup("test")
    assert data.images is not None
    network, indices = Template(data.images, data.labels), data.test_indices[:60]
    subject = Subject(data, indices, "test", True, None)
    found = robustness(network, subject, ["gaussian_noise", "contrast"], [1, 5], None)
    images, labels = data.images[indices], data.labels[indices]
    errors = {}
    for name in ("gaussian_noise", "contrast"):
        for level in (1, 5):
            spoilt = corrupted(name, level, images.numpy(), indices.tolist()).copy()
            errors[name, level] = (network.logits(torch.from_numpy(spoilt)).argmax(1) != labels).double().numpy()
            one = found["corruptions"][name]["severities"][str(level)]
            assert one["value"] == errors[name, level].mean()
            assert one["interval"] == [*wilson(int(errors[name, level].sum()), 60)]
    clean = (network.logits(images).argmax(1) != labels).double().mean().item()
    assert found["clean"]["value"] == clean
    mean = np.mean([*errors.values()])
    assert found["mean_corruption_error"]["value"] == pytest.approx(mean)
    assert found["mean_increase"]["value"] == pytest.approx(mean - clean)
    low, high = found["mean_corruption_error"]["interval"]
    assert low < mean < high
    assert found["families"].keys() == {"noise", "digital"}


def test_a_batch_of_which_no_image_can_be_read_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ImageDataModule(Digits(), 64, 0)
    data.setup("test")
    assert data.images is not None
    subject = Subject(data, data.test_indices[:6], "test", True, None)
    whole, network = list(batches(subject, FACTS)), Template(data.images, data.labels)
    expected = robustness(network, subject, ["fog"], [1], None)
    monkeypatch.setattr(
        "leyden.evaluate.robustness.batches", lambda *_: [*whole, Batch(*(part[:0] for part in whole[0]))]
    )
    assert robustness(network, subject, ["fog"], [1], None) == expected


def test_costs_are_wrong_answers_wrong_labels_and_distances() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert costs_of(logits, torch.tensor([1, 1]), "single_label", None).tolist() == [0, 1]
    several = costs_of(logits, torch.tensor([[0.0, 1.0], [1.0, 1.0]]), "multi_label", torch.tensor([1.5, 0.5]))
    assert several.tolist() == [0, 0.5]
    assert costs_of(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 2.0]), "regression", None).tolist() == [1, 3]
