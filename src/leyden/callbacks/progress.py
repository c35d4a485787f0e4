"""Beside the steps: **one display** of how training goes, live on a terminal, one line per epoch elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl

from leyden.training_metrics import is_last_batch

LEAST_SECONDS_BETWEEN_UPDATES = 0.2


class Progress(pl.Callback):
    """Shows epoch, step, speed and the newest metrics; keeps `images_per_second` of the training steps."""

    def __init__(self) -> None:
        self.num_images, self.seconds = 0, 0.0
        self.first_step_time: float | None = None  # seconds since 1970
        self.live: Any = None
        self.next_update = 0.0

    @property
    def images_per_second(self) -> float:
        """Training images per second, validation and checkpoints left out."""
        return self.num_images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)  # Lightning does not, where a run goes on within an epoch
        if trainer.is_global_zero and sys.stdout.isatty():
            self._begin_live(trainer)
        elif trainer.is_global_zero:
            print("epoch  train loss  train acc.  val loss  val acc.  images/s", flush=True)

    def _begin_live(self, trainer: pl.Trainer) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn()]
        self.live = Progress(*columns, TextColumn("{task.description}"), expand=True)
        self.task = self.live.add_task("training", total=trainer.estimated_stepping_batches)
        self.live.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_began, self.epoch_images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        now = time.perf_counter()
        if self.first_step_time is None:
            self.first_step_time = time.time()
        self.epoch_images += len(batch.labels)
        if is_last_batch(trainer, batch_index):
            self.num_images += self.epoch_images * trainer.world_size
            self.seconds += now - self.epoch_began
        if self.live and now >= self.next_update:
            self.live.update(self.task, completed=trainer.global_step)
            self.next_update = now + LEAST_SECONDS_BETWEEN_UPDATES

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        metrics = trainer.callback_metrics | pl_module.train_metrics.compute(trainer)
        shown = [metrics.get(name) for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy")]
        if self.live:
            text = f"epoch {trainer.current_epoch}"
            for name, loss, accuracy in (("train", *shown[:2]), ("val", *shown[2:])):
                if loss is not None and accuracy is not None:
                    text += f"  {name} {float(loss):.4f} {float(accuracy):.1%}"
            self.live.update(self.task, completed=trainer.global_step, description=text)
        elif trainer.is_global_zero:
            loss, accuracy, val_loss, val_accuracy = (
                "-" if value is None else f"{float(value):.4f}" for value in shown
            )
            print(
                f"{trainer.current_epoch:5}  {loss:>10}  {accuracy:>10}  {val_loss:>8}  {val_accuracy:>8}  "
                f"{self.images_per_second:8,.0f}",
                flush=True,
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_live()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._end_live()

    def _end_live(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None
