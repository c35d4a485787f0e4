"""Checkpoint > **summary** > run directory: what came of a run: numbers with intervals, two pictures, a few lines.

Shapes: N test images, K classes.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor
from torch.nn import functional as F

from leyden.callbacks import Checkpoints, Progress
from leyden.classifier import ImageClassifier
from leyden.data import ImageDataModule
from leyden.errors import command
from leyden.figures import confusion_matrix, learning_curves
from leyden.intervals import intervals
from leyden.loggers import WandbLogger
from leyden.run import RunRecord


def summarise(
    run: RunRecord,
    trainer: Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    checkpoints: Checkpoints | None,
    progress: Progress | None,
) -> None:
    """Records test metrics with 95 % intervals, draws the pictures and prints the end of the run (rank 0)."""
    test = {f"test/{name}": value for name, value in classifier.test_metrics.compute().items()}
    test |= {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/ema_")}
    logits, labels = gather_test_outputs(classifier, trainer)
    if not trainer.is_global_zero:
        return
    probabilities = logits.softmax(1)
    confidences, predictions = probabilities.max(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    arrays = labels.numpy(), predictions.numpy(), confidences.double().numpy(), losses.double().numpy()
    bounds = {f"test/{name}": list(pair) for name, pair in intervals(*arrays, data.class_names).items()}
    best: dict[str, Any] = {}
    if checkpoints and checkpoints.best_value is not None:
        best = {"best/epoch": checkpoints.best_epoch, f"best/{checkpoints.monitor}": checkpoints.best_value}
    speed = progress.images_per_second if progress else None
    run.update(
        metrics=test | best,
        intervals=bounds,
        timings={"training_images_per_second": speed, "first_step": progress and progress.first_step_time},
    )
    matrix = classifier.test_metrics.confusion_matrix.cpu().numpy()
    confusion_matrix(matrix, data.class_names, run.directory / "confusion_matrix.png")
    curves = run.directory / "learning_curves.png"
    learning_curves(run.directory / "metrics.csv", curves, test, best.get("best/epoch"))
    print_end(run, trainer.loggers, test, bounds, best, speed)


def gather_test_outputs(classifier: ImageClassifier, trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Logits [N, K] and labels [N] of all test images from all ranks."""
    logits, labels, _ = (torch.cat(parts).cpu() for parts in zip(*classifier.test_outputs, strict=True))
    if trainer.world_size > 1:
        gathered: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(gathered, (logits, labels))
        logits, labels = (torch.cat(parts) for parts in zip(*gathered, strict=True))
    return logits, labels


def print_end(
    run: RunRecord,
    loggers: Sequence[Logger],
    test: dict[str, float],
    bounds: dict[str, list[float]],
    best: dict[str, Any],
    speed: float | None,
) -> None:
    """The last lines of a run: the result, how it came about, where it is, what to do next."""
    low, high = bounds["test/accuracy"]
    lines = [f"test accuracy   {test['test/accuracy']:.2%}  (95 % interval {low:.2%} to {high:.2%})"]
    if best:
        (_, epoch), (name, value) = best.items()
        lines.append(f"best epoch      {epoch}  ({name.removeprefix('best/')} {value:.4f})")
    seconds = f"{run.seconds:.1f} s in all"
    lines.append(f"time            {seconds}" + (f", {speed:,.0f} images/s in training" if speed else ""))
    lines.append(f"directory       {run.directory}")
    lines.append("look at it      learning_curves.png, confusion_matrix.png and metrics.csv there")
    lines += [f"{'' if number else 'next':16}{words}" for number, words in enumerate(next_commands(run, loggers))]
    print("\n" + "\n".join(lines), file=sys.stdout, flush=True)


def next_commands(run: RunRecord, loggers: Sequence[Logger]) -> list[str]:
    """Three commands worth trying now: look at the run, change a word, compare settings over seeds."""
    overrides = [word for word in run.facts["overrides"] if not word.startswith("hydra.")]
    train = f"{command('leyden')} train"

    def changed(*words: str) -> str:
        keys = {word.split("=")[0] for word in words}
        kept = [shlex.quote(word) for word in overrides if word.split("=")[0] not in keys]
        return " ".join([*kept, *words])

    wandb = next((logger for logger in loggers if isinstance(logger, WandbLogger)), None)
    look = (
        f"{command('wandb')} leet {shlex.quote(os.path.relpath(wandb.directory) + '/wandb')}"
        if wandb
        else f"{train} {changed('logger=wandb')}"
    )
    return [
        look,
        f"{train} {changed('optimizer=sgd', 'head.dropout=0.2')}",
        f"{train} -m {changed('optimizer=sgd,adam,rmsprop', 'seed=0,1,2')}",
    ]
