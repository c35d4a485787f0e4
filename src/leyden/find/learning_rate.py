"""Config > rehearsal > **learning rate**: the range test, its picture, and the rate that it suggests.

The rate rises by the same factor at every step, from far too low to far too high, and the loss is watched (Smith 2017).
"""

import csv
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from pytorch_lightning import Callback
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from leyden.config import Origin
from leyden.figures import range_test
from leyden.optim import base_rate
from leyden.rehearsal import Rehearsal

LOWEST, HIGHEST, NUM_STEPS = 1e-6, 10.0, 120
SMOOTHING = 0.85  # share of the mean so far in each next one
DIVERGED = 4.0  # times the lowest loss: higher rates tell nothing more
EDGE = 5  # points at the beginning, whose smoothed loss is still one of few


class Tried(NamedTuple):
    """What a range test has seen, step by step [S]."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]  # smoothed


class Suggestion(NamedTuple):
    """Rates to try."""

    steepest: float  # where the loss falls fastest per decade: the one that is suggested
    tenth_of_lowest: float  # a tenth of the rate with the lowest loss: the usual other rule


def find_learning_rate(config: DictConfig, directory: Path, origin: Origin) -> Suggestion:
    """Tries rates from 1e-6 to 10 in one rise; writes `lr_range.csv` and `lr_range.png` to `directory`.

    Raises:
        ValueError: the loss does not fall at any rate, so that none can be suggested.
    """
    config.optimizer.lr = LOWEST
    rehearsal = Rehearsal(config, origin)
    rehearsal.classifier.make_schedule = functools.partial(rise, factor=(HIGHEST / LOWEST) ** (1 / (NUM_STEPS - 1)))
    watch = _Watch()
    rehearsal.run(NUM_STEPS, [watch])
    tried = Tried(np.array(watch.rates), smooth(watch.losses))
    directory.mkdir(parents=True, exist_ok=True)
    rows = zip(watch.rates, watch.losses, tried.losses, strict=True)
    with (directory / "lr_range.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("lr", "loss", "smoothed_loss"), *rows])
    found = suggest_rate(tried)
    range_test(tried.rates, np.array(watch.losses), tried.losses, found.steepest, directory / "lr_range.png")
    still = ", the last that was tried" if tried.losses.argmin() == len(tried.losses) - 1 else ""
    print(
        f"suggested       optimizer.lr={found.steepest:.2g}  (the loss falls fastest there, per decade of the rate)\n"
        f"another rule    optimizer.lr={found.tenth_of_lowest:.2g}  (a tenth of the rate with the lowest loss{still})\n"
        f"tried           {len(tried.rates)} rates from {LOWEST:g} to {tried.rates[-1]:.2g}, a step each\n"
        f"look at it      {directory / 'lr_range.png'}"
    )
    return found


def rise(optimizer: Optimizer, total_steps: int, factor: float) -> LambdaLR:
    """The rate times `factor` at every step."""
    return LambdaLR(optimizer, lambda step: factor**step)


def smooth(losses: Sequence[float]) -> NDArray[np.float64]:
    """A running mean that forgets by `SMOOTHING`, each value freed of its beginning at zero (Kingma & Ba 2015)."""
    mean, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**number))
    return np.array(found)


def suggest_rate(tried: Tried) -> Suggestion:
    """The rate where the smoothed loss falls fastest per decade, before it is at its lowest.

    Raises:
        ValueError: there is no such rate.
    """
    if not len(tried.losses):
        raise ValueError("the loss is no number from the first step on: look at the data, or give trainer.precision=32")
    lowest = int(tried.losses.argmin())
    slopes = np.gradient(tried.losses, np.log10(tried.rates)) if len(tried.losses) > 2 * EDGE else np.zeros(0)
    falling = slopes[EDGE : max(EDGE, lowest + 1)]
    if not len(falling) or falling.min() >= 0:
        raise ValueError(
            "the loss falls at no learning rate that was tried: look at lr_range.csv; batch_size or the data may be "
            "too small to tell"
        )
    return Suggestion(float(tried.rates[EDGE + int(falling.argmin())]), float(tried.rates[lowest]) / 10)


class _Watch(Callback):
    """Notes rate and loss of every optimizer step, and ends where the loss has left for good."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.part: list[float] = []  # of the batches that one step accumulates
        self.rate, self.step = 0.0, 0  # of the step that is being taken

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.rate, self.step = base_rate(trainer.optimizers[0]), trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        pl_module.train_metrics.reset()  # which would end a run whose loss is no number
        self.part.append(float(outputs["loss"].detach()) if isinstance(outputs, dict) else float(outputs))
        if trainer.global_step == self.step:
            return
        loss, self.part = sum(self.part) / len(self.part), []
        if not math.isfinite(loss):
            trainer.should_stop = True
            return
        self.rates.append(self.rate)
        self.losses.append(loss)
        smoothed = smooth(self.losses)
        trainer.should_stop = trainer.should_stop or bool(smoothed[-1] > DIVERGED * smoothed.min())
