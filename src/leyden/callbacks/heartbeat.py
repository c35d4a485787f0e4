"""Beside the steps: **a sign of life** in run.json every few seconds, with the place that training has reached."""

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

SECONDS_BETWEEN_BEATS = 15.0


class Heartbeat(pl.Callback):
    """Calls `beat(stage=…, epoch=…, step=…)` at steps of training, validation and test, every few seconds."""

    def __init__(self, beat: Callable[..., None]) -> None:
        self.beat = beat
        self.next_beat = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *step: Any) -> None:
        self._beat_when_due(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *step: Any) -> None:
        self._beat_when_due(trainer)

    def on_test_batch_end(self, trainer: pl.Trainer, *step: Any) -> None:
        self._beat_when_due(trainer)

    def _beat_when_due(self, trainer: pl.Trainer) -> None:
        now = time.monotonic()
        if now >= self.next_beat:
            self.next_beat = now + SECONDS_BETWEEN_BEATS
            stage = trainer.state.stage.value if trainer.state.stage else None
            self.beat(stage=stage, epoch=trainer.current_epoch, step=trainer.global_step)
