"""The table of classes, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from leyden.data.facts import DataFacts
from leyden.evaluate.quality import quality, worst_classes
from leyden.trained import Answers


class Fixed:
    """A network of which only the facts are asked."""

    def __init__(self, task: str) -> None:
        self.facts = DataFacts("three", task, ("a", "b", "c"), 1, 8, 1.0, (0.5,), (0.5,))  # type: ignore[arg-type]

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError


def check(classes: list[dict[str, object]], truth: object, answered: object) -> None:
    precision, recall, f1, counts = precision_recall_fscore_support(truth, answered, labels=[0, 1, 2], zero_division=0)
    for place, row in enumerate(classes):
        theirs = {"precision": precision, "recall": recall, "f1": f1}
        for name, values in theirs.items():
            found = row[name]
            assert found["value"] == pytest.approx(values[place])  # type: ignore[index]
            low, high = found["interval"]  # type: ignore[index]
            assert low <= found["value"] <= high  # type: ignore[index]
        assert row["images"] == counts[place]


def test_classes_of_one_label_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(90, 3, generator=generator), torch.randint(2, (90,), generator=generator)
    found = quality(Fixed("single_label"), Answers(logits, labels, torch.arange(90)), None)
    check(found.classes, labels.numpy(), logits.argmax(1).numpy())
    assert [row["class"] for row in worst_classes(found.classes)] == sorted(
        "ab", key=lambda name: found.classes["ab".index(name)]["recall"]["value"]
    )


def test_several_labels_go_by_the_thresholds_of_the_best_f1_on_validation() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(90, 3, generator=generator), torch.randint(2, (90, 3), generator=generator).float()
    answers = Answers(logits, labels, torch.arange(90))
    found = quality(Fixed("multi_label"), answers, answers)
    assert found.thresholds is not None
    check(found.classes, labels.numpy(), (logits >= found.thresholds).long().numpy())
    for place in range(3):
        scores = [
            precision_recall_fscore_support(
                labels[:, place], logits[:, place] >= value, average="binary", zero_division=0
            )[2]
            for value in np.unique(logits[:, place])
        ]
        assert found.classes[place]["f1"]["value"] == pytest.approx(max(scores))


def test_a_network_that_has_forgotten_its_unit_has_no_loss_of_numbers() -> None:
    values = torch.randn(20)
    found = quality(Fixed("regression"), Answers(values, values + 1, torch.arange(20)), None)
    assert "loss" not in found.metrics
    assert found.metrics["mae"]["value"] == pytest.approx(1)
