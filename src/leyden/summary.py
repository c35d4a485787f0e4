"""Checkpoint > **summary** > run directory: what came of a run: numbers with intervals, pictures, a few lines."""

import os
import shlex
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor

from leyden.callbacks import Checkpoints, Progress
from leyden.classifier import ImageClassifier
from leyden.config import given_directories, is_among
from leyden.data import ImageDataModule
from leyden.draw import draw_run
from leyden.errors import command
from leyden.examples import write_examples
from leyden.gather import of_all_ranks
from leyden.loggers import followers, wandb_of
from leyden.metric_names import HEADLINES, is_percentage
from leyden.metrics import check_numbers
from leyden.outcomes import OUTCOMES
from leyden.predictions import write_predictions
from leyden.preview import draw_in_run
from leyden.run import RunRecord, say

CHANGES = (("optimizer=sgd", "head.dropout=0.2"), ("optimizer=adam", "augment=affine"))  # worth a try after a run


def summarise(
    run: RunRecord,
    trainer: Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    checkpoints: Checkpoints | None,
    progress: Progress | None,
    pictures: bool,
) -> None:
    """Records test metrics with 95 % intervals, draws pictures if asked for and prints the end of the run (rank 0)."""
    test = {f"test/{name}": value for name, value in classifier.test_metrics.compute().items()}
    test |= {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/ema_")}
    check_numbers(test)
    outputs, labels, indices = gather_test_outputs(classifier)
    if not trainer.is_global_zero:
        return
    outcome = OUTCOMES[data.task](classifier.test_metrics, outputs, labels, data.class_names)
    outcome.write_tables(data.class_names, run.directory)
    bounds = {f"test/{name}": list(pair) for name, pair in outcome.intervals.items()}
    best = best_metrics(checkpoints)
    speed = progress.images_per_second if progress else None
    timings: dict[str, Any] = {}
    if progress:
        timings = {"first_step": progress.first_step_time, "training_loop": round(progress.loop_seconds, 3)}
    run.update(metrics=test | best, intervals=bounds, timings={"training_images_per_second": speed, **timings})
    if wandb := wandb_of(trainer.loggers):
        run.update(wandb=wandb.describe())
    write_predictions(run.directory, outcome.predictions)
    if pictures or followers(trainer.loggers):
        write_examples(run.directory, data, data.class_names, indices, outcome.predictions, outcome.losses)
    drawn = [*draw_run(run.directory), *draw_in_run(classifier.augment, data, run.directory)] if pictures else []
    print_end(run, trainer.loggers, HEADLINES[data.task], test, bounds, best, speed, [path.name for path in drawn])


def end_pruned(run: RunRecord, checkpoints: Checkpoints | None, reason: str) -> None:
    """Records and prints the end of a run that a search has given up: its test images were not looked at."""
    run.update(metrics=best_metrics(checkpoints))
    run.prune(reason)
    if run.is_first_rank:
        say(f"\n{reason}\ndirectory       {run.directory}")


def best_metrics(checkpoints: Checkpoints | None) -> dict[str, Any]:
    """The best epoch and its monitored value, where a validation has named one."""
    if checkpoints is None or checkpoints.best_value is None:
        return {}
    return {"best/epoch": checkpoints.best_epoch, f"best/{checkpoints.monitor}": checkpoints.best_value}


def gather_test_outputs(classifier: ImageClassifier) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, labels and numbers of all test images from all ranks, in the order of those numbers."""
    ours = [torch.cat(parts).cpu() for parts in zip(*classifier.test_outputs, strict=True)]
    outputs = [torch.cat(parts) for parts in zip(*of_all_ranks(ours), strict=True)]
    order = outputs[2].argsort()
    found, labels, indices = (part[order] for part in outputs)
    return found, labels, indices


def print_end(
    run: RunRecord,
    loggers: Sequence[Logger],
    headline: str,
    test: dict[str, float],
    bounds: dict[str, list[float]],
    best: dict[str, Any],
    speed: float | None,
    pictures: Sequence[str],
) -> None:
    """The last lines of a run: the result, how it came about, where it is, what to do next."""
    form = ".2%" if is_percentage(headline) else ".4g"
    value, low, high = (f"{number:{form}}" for number in (test[f"test/{headline}"], *bounds[f"test/{headline}"]))
    lines = [f"{f'test {headline}':15} {value}  (95 % interval {low} to {high})"]
    if best:
        (_, epoch), (name, number) = best.items()
        lines.append(f"best epoch      {epoch}  ({name.removeprefix('best/')} {number:.4f})")
    seconds = f"{run.seconds:.1f} s"
    lines.append(f"time            {seconds}" + (f", {speed:,.0f} images/s in training" if speed else ""))
    lines.append(f"directory       {run.directory}")
    look = f"{', '.join(pictures)} and metrics.csv there"
    lines.append(f"look at it      {look if pictures else 'metrics.csv there; `leyden draw` draws pictures'}")
    lines += [f"{'' if number else 'next':16}{words}" for number, words in enumerate(next_commands(run, loggers))]
    say("\n" + "\n".join(lines))


def next_commands(run: RunRecord, loggers: Sequence[Logger]) -> list[str]:
    """Three commands worth trying now: look at the run, change a word, compare settings over seeds."""
    overrides = [word for word in run.facts["overrides"] if not word.startswith("hydra.")]
    places = given_directories(shlex.split(run.facts["command"]))
    train = " ".join([f"{command('leyden')} train", *(f"--config-dir={shlex.quote(place)}" for place in places)])

    def changed(*words: str) -> str:
        keys = [word.split("=")[0] for word in words]  # other options of groups have other keys
        kept = [shlex.quote(word) for word in overrides if not is_among(word.split("=")[0].lstrip("+~"), keys)]
        return " ".join([*kept, *words])

    another = next((words for words in CHANGES if not {*words} <= {*overrides}), CHANGES[0])
    look = (
        f"{command('wandb')} leet {shlex.quote(os.path.relpath(wandb.directory) + '/wandb')}"
        if (wandb := wandb_of(loggers))
        else f"{train} {changed('logger=wandb')}"
    )
    return [
        look,
        f"{train} {changed(*another)}",
        f"{train} -m {changed('optimizer=sgd,adam,rmsprop', 'seed=0,1,2')}",
    ]
