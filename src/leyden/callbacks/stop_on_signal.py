"""Command line > **signals** > checkpoint: SIGINT and SIGTERM end a run cleanly after the step at hand."""

import signal
from types import FrameType
from typing import Any, Self

import pytorch_lightning as pl

from leyden.checkpoint import Checkpoints
from leyden.errors import Interrupted
from leyden.training_metrics import is_last_batch

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(pl.Callback):
    """Saves `last.ckpt` and raises `Interrupted` at the first step boundary after a signal; a second one ends at once.

    As a context manager it catches the signals. Lightning by itself would end with exit code 0 on SIGTERM, which looks
    like success. Without `checkpoints` nothing is saved, and the message says so.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self.checkpoints = checkpoints
        self.received: int | None = None
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise self._interrupted(number)
        self.received = number

    def _is_asked_to_stop(self, trainer: pl.Trainer) -> bool:
        """Whether any rank has received a signal: all of them stop at the same step, since they save together."""
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            self.received = self.received or signal.SIGTERM
        return self.received is not None

    def _interrupted(self, number: int) -> Interrupted:
        is_saved = self.checkpoints and self.checkpoints.last_path.is_file()
        return Interrupted(number, self.checkpoints.last_path.parent.parent if self.checkpoints and is_saved else None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has put a handler of its own before ours, which would raise SystemExit where it sees fit.
        for number in self.previous:
            signal.signal(number, self._receive)

    on_test_start = on_train_start

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # After an epoch's last step Lightning would resume without the validation: that is done first.
        if not is_last_batch(trainer, batch_idx) and self._is_asked_to_stop(trainer):
            if self.checkpoints:
                self.checkpoints.save(trainer, self.checkpoints.last_path)
            raise self._interrupted(self.received or signal.SIGTERM)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # last.ckpt of the epoch before was written a moment ago; before the first epoch the first step is waited for
        if trainer.current_epoch > 0 and self._is_asked_to_stop(trainer):
            raise self._interrupted(self.received or signal.SIGTERM)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._is_asked_to_stop(trainer):
            raise self._interrupted(self.received or signal.SIGTERM)
