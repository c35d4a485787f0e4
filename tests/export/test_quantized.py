"""What 8 bits cost, in words and by the run's own rule of what an answer is."""

import torch

from leyden.export.quantized import agreement, in_words


def test_several_labels_are_alike_by_the_thresholds_of_the_run() -> None:
    before = torch.tensor([[-1.0, 2.0], [-3.0, 2.0]])
    after = torch.tensor([[-0.5, 2.0], [-3.0, 2.5]])  # one more label from -0.8 on, and none from 0 on
    assert agreement(before, after, "multi_label", torch.tensor([-0.8, 0.0]))["same"] == 0.5
    assert agreement(before, after, "multi_label", torch.tensor([0.0, 0.0]))["same"] == 1.0


def test_the_likeliest_class_is_the_answer_and_numbers_have_none() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert agreement(logits, logits.flip(0), "single_label", None)["same"] == 0.0
    told = agreement(torch.tensor([1.0]), torch.tensor([1.5]), "regression", None)
    assert told == {"difference": 0.5}
    assert in_words(told, "pieces of photographs", 1).endswith("numbers differ by up to 0.5")
