"""Beside the steps: **between two steps**, where nothing is half done, a state is saved and a run may be left."""

from enum import IntEnum
from typing import Any

import pytorch_lightning as pl
import torch

from leyden.callbacks.checkpoints import Checkpoints, Place
from leyden.loggers import MetricsCsv
from leyden.signals import Signals


class Wish(IntEnum):
    """What a rank asks for between two steps; all ranks do what asks for most."""

    GO_ON, SAVE, STOP = range(3)


class StepBoundary(pl.Callback):
    """Writes `last.ckpt` when it is due, and ends the run where a signal has asked for it.

    Stands before all other callbacks, so that none has begun with the next step yet. Without `checkpoints` nothing is
    saved.
    """

    def __init__(self, signals: Signals, checkpoints: Checkpoints | None) -> None:
        self.signals, self.checkpoints = signals, checkpoints
        self.frozen: set[str] | None = None  # of a run that goes on, until its first step
        self.num_frozen_layers = 0

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.frozen = set(checkpoint["frozen"])
        self.num_frozen_layers = checkpoint.get("num_frozen_layers", 0)  # older ones know of no freezing but callbacks'
        trainer.should_stop = checkpoint["position"]["is_stopped"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self.frozen is not None:
            pl_module.finetune.freeze(self.num_frozen_layers)  # as its next change expects it
            for name, parameter in pl_module.named_parameters():
                parameter.requires_grad = name not in self.frozen

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stand_between_steps(trainer, pl_module, "epoch", is_due=trainer.current_epoch > 0 and self.frozen is None)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.frozen is not None:
            self._be_back(trainer)
        elif batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:  # gradients that add up are not saved
            due = self.checkpoints is not None and self.checkpoints.is_due(trainer.global_step)
            self._stand_between_steps(trainer, pl_module, "batch", due)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        is_whole = batches % trainer.accumulate_grad_batches == 0 or batches == trainer.num_training_batches
        # Lightning would not validate again in a run that has no step left: there its end is waited for.
        if trainer.state.fn == "fit" and is_whole and trainer.global_step != trainer.max_steps:
            self._stand_between_steps(trainer, pl_module, "validation", is_due=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # An epoch gone on with counts as restarted in Lightning, which would keep the plateau schedule from its step.
        trainer.fit_loop._restarting = False
        if self.frozen is not None:
            self._be_back(trainer)

    def _be_back(self, trainer: pl.Trainer) -> None:
        """Ends the way back to where the run was, which Lightning may have counted as a step."""
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        self.frozen = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stand_between_steps(trainer, pl_module, "end", is_due=True)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._agree(trainer, Wish.GO_ON) == Wish.STOP:
            self.signals.check()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        # Validation and an epoch's end add to the last step's row. A run that goes on writes it whole.
        if trainer.validating or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            for log in trainer.loggers:
                if isinstance(log, MetricsCsv):
                    log.leave_out(trainer.current_epoch)

    def _stand_between_steps(self, trainer: pl.Trainer, pl_module: Any, place: Place, is_due: bool) -> None:
        wish = self._agree(trainer, Wish.SAVE if is_due else Wish.GO_ON)
        if wish != Wish.GO_ON and self.checkpoints:
            pl_module.check_finite()
            self.checkpoints.save_last(trainer, place)
        if wish == Wish.STOP:
            self.signals.check()

    def _agree(self, trainer: pl.Trainer, wish: Wish) -> Wish:
        """What all ranks do: they save together, so a signal to one of them is a signal to all."""
        if self.signals.received is not None:
            wish = Wish.STOP
        if trainer.world_size > 1:
            shared = torch.tensor(int(wish), device=trainer.strategy.root_device)
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
            wish = Wish(int(shared))
            if wish == Wish.STOP:
                self.signals.receive_from_another_rank()
        return wish
