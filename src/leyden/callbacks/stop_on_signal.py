"""Command line > **signals** > checkpoint: SIGINT and SIGTERM end a run cleanly after the step at hand."""

import signal
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from leyden.checkpoint import Checkpoints
from leyden.errors import Interrupted
from leyden.training_metrics import is_last_batch

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(pl.Callback):
    """Saves `last.ckpt` and raises `Interrupted` at the first step boundary after a signal; a second one ends at once.

    Lightning by itself would end with exit code 0 on SIGTERM, which looks like success.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received: int | None = None
        self.previous: dict[int, Any] = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise self._interrupted(number)
        self.received = number

    def _interrupted(self, number: int) -> Interrupted:
        return Interrupted(number, self.checkpoints.last_path.parent.parent)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.previous = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # After an epoch's last step Lightning would resume without the validation: that is done first.
        if self.received is not None and not is_last_batch(trainer, batch_idx):
            self.checkpoints.save(trainer, self.checkpoints.last_path)
            raise self._interrupted(self.received)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.received is not None:  # last.ckpt of the epoch before was written a moment ago
            raise self._interrupted(self.received)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.received is not None:
            raise self._interrupted(self.received)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
