"""Fine-tuning: what trains when, and how fast."""

import pytest
import torch

from leyden.backbones import CNN
from leyden.finetune import Finetune
from leyden.heads import LinearHead


def test_full_trains_everything_at_the_optimizers_rate() -> None:
    backbone, head = CNN(1, 8), LinearHead(128, 10)
    finetune = Finetune()
    finetune.begin(backbone, head, num_epochs=3)
    assert set(finetune.rates()) == {*backbone.parameters(), *head.parameters()}
    assert set(finetune.rates().values()) == {1.0}
    assert not finetune.changes_with_time


def test_batch_norm_that_evaluates_keeps_its_statistics() -> None:
    backbone = CNN(1, 8)
    finetune = Finetune(batch_norm="eval")
    finetune.begin(backbone, LinearHead(128, 10), num_epochs=3)
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.randn(4, 1, 8, 8)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


def test_head_rate_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"finetune\.head_rate=-1"):
        Finetune(head_rate=-1)
