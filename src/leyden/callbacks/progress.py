"""Beside the steps: **one display** of how training goes, live on a terminal, one line per epoch elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl

from leyden.metric_names import is_percentage
from leyden.run import say
from leyden.training_metrics import is_last_batch

LEAST_SECONDS_BETWEEN_UPDATES = 0.2


class Progress(pl.Callback):
    """Shows epoch, step, speed and the newest metrics; keeps `images_per_second` of the training steps."""

    def __init__(self) -> None:
        self.num_images, self.seconds = 0, 0.0
        self.first_step_time: float | None = None  # seconds since 1970
        self.loop_began, self.loop_seconds = 0.0, 0.0  # all of training, with validation and checkpoints
        self.live: Any = None
        self.next_update = 0.0

    @property
    def images_per_second(self) -> float:
        """Training images per second, validation and checkpoints left out."""
        return self.num_images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.loop_began = time.perf_counter()
        self.on_train_epoch_start(trainer, pl_module)  # Lightning does not, where a run goes on within an epoch
        if trainer.is_global_zero and sys.stdout.isatty():
            self._begin_live(trainer)
        elif trainer.is_global_zero:
            say("  ".join(["epoch", *_columns(pl_module).values(), "images/s"]))

    def _begin_live(self, trainer: pl.Trainer) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn()]
        self.live = Progress(*columns, TextColumn("{task.description}"), expand=True)
        self.task = self.live.add_task("training", total=trainer.estimated_stepping_batches)
        self.live.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_began, self.epoch_images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self.first_step_time is None:
            self.first_step_time = time.time()
        self.epoch_images += len(batch.labels)
        if is_last_batch(trainer, batch_idx):
            self.num_images += self.epoch_images * trainer.world_size
            self.seconds += now - self.epoch_began
        if self.live and now >= self.next_update:
            self.live.update(self.task, completed=trainer.global_step)
            self.next_update = now + LEAST_SECONDS_BETWEEN_UPDATES

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        metrics = trainer.callback_metrics | pl_module.train_metrics.compute(trainer)
        columns = _columns(pl_module)
        if self.live:
            told = [
                f"{words.strip()} {float(metrics[name]):{'.1%' if is_percentage(name) else '.4f'}}"
                for name, words in columns.items()
                if name in metrics
            ]
            words = "  ".join([f"epoch {trainer.current_epoch}", *told])
            self.live.update(self.task, completed=trainer.global_step, description=words)
        elif trainer.is_global_zero:
            cells = [
                f"{f'{float(metrics[name]):.4f}' if name in metrics else '-':>{len(words)}}"
                for name, words in columns.items()
            ]
            say("  ".join([f"{trainer.current_epoch:5}", *cells, f"{self.images_per_second:8,.0f}"]))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.loop_seconds = time.perf_counter() - self.loop_began
        self._end_live()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._end_live()

    def _end_live(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None


def _columns(pl_module: Any) -> dict[str, str]:
    """The metrics that are shown, and what stands above each."""
    headline = pl_module.val_metrics.headline
    if headline == "accuracy":
        both = {"train/loss": "train loss", "train/accuracy": "train acc."}
        return both | {"val/loss": "val loss", "val/accuracy": "val acc."}
    wide = f"{f'val {headline}':>10}"  # numbers may be large
    return {"train/loss": "train loss", "val/loss": "val loss", f"val/{headline}": wide}
