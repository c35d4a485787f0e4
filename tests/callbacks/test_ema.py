"""Averaged weights are the formula's, beside batch norm's statistics as the network has them."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn

from leyden.callbacks import Ema
from leyden.metrics import metrics_for


def test_a_step_averages_the_weights_and_copies_the_statistics() -> None:
    module: Any = SimpleNamespace(backbone=nn.BatchNorm1d(3), head=nn.Linear(3, 2))
    module.val_metrics = module.test_metrics = module.test_time = None
    ema, trainer = Ema(0.75), SimpleNamespace(global_step=0)
    ema.setup(trainer, module, "fit")  # type: ignore[arg-type]
    weights: list[torch.Tensor] = []
    for step in (1, 1, 2, 3):  # two batches make up the first step
        trainer.global_step = step
        module.backbone(torch.randn(8, 3))
        with torch.no_grad():
            module.head.weight.normal_()
        if step > len(weights):
            weights.append(module.head.weight.detach().clone())
            statistics = {name: value.clone() for name, value in module.backbone.named_buffers()}
        ema.on_train_batch_end(trainer, module, None, None, 0)  # type: ignore[arg-type]
        assert ema.average is not None
        averaged: Any = ema.average.module
        found = dict(averaged["backbone"].named_buffers())
        assert all(torch.equal(found[name], value) for name, value in statistics.items())
    expected = 0.75 * (0.75 * weights[0] + 0.25 * weights[1]) + 0.25 * weights[2]
    torch.testing.assert_close(averaged["head"].weight, expected)


def test_thresholds_are_recorded_so_that_they_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leyden.callbacks.ema.calibrate", lambda *_: {"temperature": 0.5})
    module: Any = SimpleNamespace(backbone=nn.Identity(), head=nn.Linear(3, 2), device=torch.device("cpu"))
    module.val_metrics, module.test_metrics = metrics_for("multi_label", ["wet", "warm"])
    module.test_time = None
    logits = torch.tensor([18.0, -3.0])  # in single precision the first is a probability of 1
    module.test_metrics.thresholds.logits.copy_(logits)
    ema = Ema(0.75)
    ema.setup(SimpleNamespace(), module, "fit")  # type: ignore[arg-type]
    kept = torch.tensor(ema.calibrate(module)["ema_thresholds"], dtype=torch.float64)
    torch.testing.assert_close(kept.logit().float(), logits)


def test_pieces_of_weights_are_not_averaged() -> None:
    with pytest.raises(ValueError, match=r"callbacks\.ema\.decay=0\.9: FSDP keeps only pieces"):
        Ema(0.9).on_fit_start(SimpleNamespace(strategy=FSDPStrategy()), None)  # type: ignore[arg-type]
