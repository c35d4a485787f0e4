"""Metrics > **checkpoint** > report: what a checkpoint holds, which validation is the best, when the last is due.

`best.ckpt` holds weights, `last.ckpt` the whole state of training between two steps: whatever is a function of the
position (order, augmentation, dropout) is left out, for it can be had again.
"""

import logging
import math
import time
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from leyden import __version__
from leyden.callbacks.ema import Ema
from leyden.checkpoint import BEST, FORMAT, LAST, read_checkpoint
from leyden.config import require
from leyden.gather import of_all_ranks
from leyden.loggers import MetricsCsv
from leyden.metric_names import is_as_good

log = logging.getLogger(__name__)

# Between which steps a state is taken: before a batch, before an epoch, before a validation, after training.
Place = Literal["batch", "epoch", "validation", "end"]


class Checkpoints(Checkpoint):
    """Keeps the last and the best state of training in `<run directory>/checkpoints`.

    `monitor` is the validation metric that decides what is best; of equal epochs the last one counts, whose weights the
    schedule has brought to rest. The last state is written at each epoch's end, every `every_n_steps` optimizer steps,
    and when `every_n_minutes` have passed; null: not by that count.
    """

    def __init__(self, monitor: str, every_n_steps: int | None = None, every_n_minutes: float | None = 10) -> None:
        super().__init__()
        for name, value in {"every_n_steps": every_n_steps, "every_n_minutes": every_n_minutes}.items():
            require(f"callbacks.checkpoints.{name}", value, value is None or value > 0, "more than 0, or null")
        self.monitor, self.every_n_steps, self.every_n_minutes = monitor, every_n_steps, every_n_minutes
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self.best_step: int | None = None
        self.directory: Path | None = None  # given by the composition root, which knows the run directory
        self.run: dict[str, Any] = {}  # and what the run was called with: enough to go on without its other files
        self.saved_step, self.saved_at = 0, time.monotonic()
        self.place: Place | None = None  # where the state that is being written is taken; None: only its weights are

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.state.fn != "fit" or value is None:
            return
        if math.isnan(value):
            log.warning("%s is no number after epoch %s: it counts for nothing", self.monitor, trainer.current_epoch)
            return
        if self.best_value is None or is_as_good(self.monitor, float(value), self.best_value):
            self.best_value, self.best_epoch = float(value), trainer.current_epoch
            self.best_step = trainer.global_step
            self._save(trainer, BEST, None)

    def is_due(self, step: int) -> bool:
        """Whether steps or minutes since the last writing ask for another, before optimizer step `step`."""
        if step == self.saved_step:
            return False
        if self.every_n_steps is not None and step % self.every_n_steps == 0:
            return True
        return self.every_n_minutes is not None and time.monotonic() - self.saved_at >= 60 * self.every_n_minutes

    def save_last(self, trainer: pl.Trainer, place: Place) -> None:
        """Writes the whole state of training to `last.ckpt`; every rank takes part, rank 0 writes."""
        self._save(trainer, LAST, place)
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()

    def _save(self, trainer: pl.Trainer, name: str, place: Place | None) -> None:
        self.place = place
        trainer.save_checkpoint(self._path(name), weights_only=False)

    def _path(self, name: str) -> Path:
        assert self.directory is not None
        return self.directory / name

    def put_best_back(self, classifier: pl.LightningModule, ema: Ema | None) -> None:
        """Loads the best weights, averaged ones too, where any validation has named them."""
        if self.best_value is not None:
            state = read_checkpoint(self._path(BEST))
            classifier.load_state_dict(state["state_dict"])
            if ema:
                ema.load_state_dict(state["callbacks"][ema.state_key])

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["leyden"] = {"format": FORMAT, "version": __version__, "torch": str(torch.__version__)}
        checkpoint["run"] = self.run
        if self.place is None:
            for part in ("loops", "optimizer_states", "lr_schedulers"):
                checkpoint.pop(part)
            return
        loop = checkpoint["loops"]["fit_loop"]
        _stand_between_steps(loop, self.place)
        loop["state_dict"] = {}
        loop["epoch_loop.state_dict"] = {"_batches_that_stepped": trainer.global_step}
        checkpoint["position"] = {
            "place": self.place,
            "epoch": trainer.current_epoch,
            "next_batch": loop["epoch_loop.batch_progress"]["current"]["completed"],
            "is_stopped": trainer.should_stop and trainer.global_step != trainer.max_steps,  # before its time
        }
        checkpoint["total_steps"] = int(trainer.estimated_stepping_batches)
        checkpoint["training_metrics"] = of_all_ranks(pl_module.train_metrics.state_dict())
        checkpoint["metrics_csv"] = [log.state_dict() for log in trainer.loggers if isinstance(log, MetricsCsv)]
        parts = of_all_ranks(trainer.datamodule.skipped)  # type: ignore[attr-defined]
        checkpoint["skipped"] = {path: reason for skipped in parts for path, reason in skipped.items()}
        checkpoint["num_frozen_layers"] = pl_module.finetune.num_frozen
        checkpoint["frozen"] = [name for name, value in pl_module.named_parameters() if not value.requires_grad]

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        figures = checkpoint["training_metrics"]
        if len(figures) != trainer.world_size:  # of `trainer.devices=auto`, which means others here
            raise ValueError(
                f"the run was stopped on {len(figures)} devices, and here are {trainer.world_size}: go on where there "
                "are as many, for what dropout draws and batch norm sees is of a device's share of a batch"
            )
        pl_module.train_metrics.load_state_dict(figures[trainer.global_rank], trainer.strategy.root_device)
        epoch, next_batch = (checkpoint["position"][key] for key in ("epoch", "next_batch"))
        trainer.datamodule.resumed = {"epoch": epoch, "next_batch": next_batch}  # type: ignore[attr-defined]
        trainer.datamodule.skipped |= checkpoint["skipped"]  # type: ignore[attr-defined]
        for log in trainer.loggers:
            if isinstance(log, MetricsCsv) and trainer.is_global_zero:
                log.load_state_dict(checkpoint["metrics_csv"][0])

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "best_epoch": self.best_epoch, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]
        self.best_step = state_dict["best_step"]


def _stand_between_steps(loop: dict[str, Any], place: Place) -> None:
    """Writes Lightning's account of its fit loop as it stands between two steps: done, or not begun.

    Hooks run while an account is half way, which Lightning 2.6 tries to read back by cases; whole accounts have one.
    """
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    validation = loop["epoch_loop.val_loop.batch_progress"]
    for part in ("total", "current"):
        _settle(batches[part])
        validation[part] = dict.fromkeys(validation[part], 0)
        if place == "epoch":
            _settle(epochs[part])
    if place == "validation":
        validation["total"] |= {"ready": 1, "started": 1}  # begun and not ended: Lightning begins it again
        return
    batches["is_last_batch"] = False
    if place in ("epoch", "end"):
        batches["current"] = dict.fromkeys(batches["current"], 0)


def _settle(progress: dict[str, int]) -> None:
    progress |= dict.fromkeys(progress, progress["completed"])
