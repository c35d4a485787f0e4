"""Metrics > **pruning** > run directory: tells a search each epoch's value, and ends the run where it falls behind."""

from typing import Any, Protocol

import pytorch_lightning as pl


class Trial(Protocol):
    """A trial of a search, as its run sees it."""

    def report(self, value: float, epoch: int) -> None:
        """Tells the search how good the run is after an epoch; again after a resume, which changes nothing."""

    def judge(self) -> str | None:
        """Why the run should end here; None where it should go on."""


class Pruning(pl.Callback):
    """Reports the monitored value at the end of each epoch that was validated; the last epoch ends by itself.

    `reason` says why the search has given the run up; it is saved with the state, so that a run killed since ends so.
    """

    def __init__(self, trial: Trial, monitor: str) -> None:
        self.trial, self.monitor = trial, monitor
        self.value: float | None = None  # of a validation in this epoch
        self.reason: str | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self.value = float(trainer.callback_metrics[self.monitor])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.value is None:
            return
        reason = None
        if trainer.is_global_zero:
            self.trial.report(self.value, trainer.current_epoch)
            is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
            reason = None if is_last else self.trial.judge()
        self.value = None
        self.reason = trainer.strategy.broadcast(reason)
        trainer.should_stop = trainer.should_stop or self.reason is not None

    def state_dict(self) -> dict[str, Any]:
        return {"reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.reason = state_dict["reason"]
