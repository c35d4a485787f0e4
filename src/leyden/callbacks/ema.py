"""Optimizer step > **averaged weights** > metrics: an exponential moving average, evaluated beside the raw weights."""

import copy
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics import Metric

from leyden.classifier import features_of
from leyden.config import require
from leyden.metric_names import is_of_one_class
from leyden.metrics import MultiLabelMetrics
from leyden.test_time import TestTime, calibrate


class Ema(pl.Callback):
    """Keeps θ_ema ← decay · θ_ema + (1 − decay) · θ after every optimizer step (Polyak & Juditsky 1992).

    Batch norm's running statistics are copied, not averaged. Logs `val/ema_accuracy`, `test/ema_accuracy` and all
    other metrics with the prefix `ema_`; `monitor=val/ema_accuracy` picks the best checkpoint by them.
    """

    def __init__(self, decay: float = 0.0) -> None:
        require("callbacks.ema.decay", decay, 0 <= decay < 1, "a number from 0 (off) to below 1")
        self.decay = decay
        self.is_on = decay > 0
        self.average: AveragedModel | None = None
        self.metrics: dict[str, Metric] = {}  # of its own answers: val, test
        self.last_step = 0
        self.stored: dict[str, Any] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if self.average is None:
            network = nn.ModuleDict({"backbone": pl_module.backbone, "head": pl_module.head})
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
            # Together, for the test may go by what validation has chosen.
            self.metrics = copy.deepcopy({"val": pl_module.val_metrics, "test": pl_module.test_metrics})
            self.test_time: TestTime = copy.deepcopy(pl_module.test_time)
        if self.stored is not None:
            self._restore(self.stored)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if isinstance(trainer.strategy, FSDPStrategy):
            raise ValueError(
                f"callbacks.ema.decay={self.decay}: FSDP keeps only pieces of the weights in each process, which are "
                "not averaged as a whole: give callbacks.ema.decay=0, or trainer=ddp"
            )
        assert self.average is not None
        self.average.to(pl_module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.last_step:  # gradients still accumulate
            return
        self.last_step = trainer.global_step
        assert self.average is not None
        network = nn.ModuleDict({"backbone": pl_module.backbone, "head": pl_module.head})
        self.average.update_parameters(network)  # copies buffers, too

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        assert self.average is not None
        if trainer.world_size > 1:  # as the classifier does with its own
            for buffer in self.average.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        images = pl_module.augment.normalize(batch.images)
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            logits = self.test_time.answer(self._network(), images) if trainer.testing else self._network()(images)
        split = "test" if trainer.testing else "val"
        self.metrics[split].to(logits.device).update(logits, batch.labels)

    def _network(self) -> Callable[[torch.Tensor], torch.Tensor]:
        assert self.average is not None
        network: Any = self.average.module.eval()
        return lambda images: network["head"](features_of(images, network["backbone"]))

    def calibrate(self, pl_module: Any) -> dict[str, Any]:
        """Lets validation choose what the test of the averaged weights goes by; what came of it, for the record."""
        assert self.average is not None
        self.average.to(pl_module.device)
        found: dict[str, Any] = {**calibrate(pl_module, self._network(), self.test_time, self.metrics["val"])}
        if isinstance(test := self.metrics["test"], MultiLabelMetrics):
            found["thresholds"] = test.thresholds.logits.double().sigmoid().tolist()
        return {f"ema_{name}": value for name, value in found.items()}

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: pl.Trainer, pl_module: Any, split: str) -> None:
        computed = self.metrics[split].compute().items()
        found = {f"{split}/ema_{name}": value for name, value in computed if not is_of_one_class(name)}
        self.metrics[split].reset()
        pl_module.tell_callbacks(found)
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **found}, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        assert self.average is not None
        metrics = {split: metric.state_dict() for split, metric in self.metrics.items()}
        return {"average": self.average.state_dict(), "metrics": metrics, "last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stored, self.last_step = state_dict, state_dict["last_step"]
        if self.average is not None:
            self._restore(state_dict)

    def _restore(self, state_dict: dict[str, Any]) -> None:
        assert self.average is not None
        self.average.load_state_dict(state_dict["average"])
        for split, state in state_dict.get("metrics", {}).items():  # which older checkpoints have not
            self.metrics[split].load_state_dict(state)
        self.stored = None
