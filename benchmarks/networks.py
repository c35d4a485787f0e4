"""The networks and images that the throughput lines share."""

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer

from leyden.build import (
    build_callbacks,
    build_classifier,
    build_loggers,
    build_trainer,
    callback_of,
    instantiate,
    without_empty_hooks,
)
from leyden.callbacks import Layers
from leyden.classifier import ImageClassifier
from leyden.config import Origin, compose
from leyden.data import ImageDataModule, Images
from leyden.data.sources import Task, official_parts
from leyden.hardware import choose_precision
from leyden.loggers import begin, finish
from leyden.run import RunRecord
from leyden.signals import Signals

RECORD = {"run_id": "benchmark", "status": "finished"}
SECONDS_FOR_WANDB_TO_SETTLE = 3  # its process looks around the machine first, which is no part of the steady speed


class RandomImages:
    """Bytes of the shape of a real set: what is in them changes no timing."""

    name = "random"
    task: Task = "single_label"
    class_names = tuple(str(number) for number in range(10))
    channels = 1
    mean, std = (0.2860,), (0.3530,)

    def __init__(self, image_size: int, num_images: int) -> None:
        self.image_size, self.num_images = image_size, num_images

    def load(self, root: Path) -> Images:
        """As many random images and labels."""
        generator = torch.Generator().manual_seed(0)
        size = (self.num_images, 1, self.image_size, self.image_size)
        images = torch.randint(256, size, dtype=torch.uint8, generator=generator)
        parts = official_parts(round(0.98 * self.num_images), self.num_images)
        return Images(images, torch.arange(self.num_images) % 10, parts)


@dataclass(frozen=True)
class Case:
    """One line's network, images, batch size and steps, in blocks that are timed one by one."""

    name: str
    overrides: tuple[str, ...]
    image_size: int
    batch_size: int
    num_blocks: int
    block: int = 50

    @property
    def num_steps(self) -> int:
        """Steps in all; the first block is left out of the timing."""
        return (1 + self.num_blocks) * self.block

    def images_per_second(self, seconds: float) -> float:
        """The speed of a block that took so long."""
        return self.block * self.batch_size / seconds

    def config(self, *more: str) -> DictConfig:
        """The composed config of `leyden train`, on random images."""
        source = [
            "data.source._target_=benchmarks.networks.RandomImages",
            f"+data.source.image_size={self.image_size}",
            f"+data.source.num_images={round((self.num_steps + 1) * self.batch_size / 0.9)}",
        ]
        config = compose([
            *source, f"batch_size={self.batch_size}", f"steps={self.num_steps}", "data.validation_fraction=0.01",
            "trainer=cpu", *self.overrides, *more,
        ])  # fmt: skip
        OmegaConf.resolve(config)
        return config


QUIET = "logger=csv"  # both sides are runs of ours, and W&B would serve both from one process
RESNET = Case("ResNet-18, 28 x 28, b128", ("backbone=resnet",), 28, 128, num_blocks=5, block=1)
CNN = Case("CNN, 28 x 28, b256", ("backbone=cnn",), 28, 256, num_blocks=5, block=10)
EXACT = Case("CNN, 28 x 28, b256", ("backbone=cnn", "augment=flip_crop", "head.dropout=0.1", QUIET), 28, 256, 9, 10)
LOGGING = Case("CNN, 28 x 28, b64", ("backbone=cnn",), 28, 64, num_blocks=6, block=100)
SAVING = Case("CNN, 28 x 28, b256", ("backbone=cnn", QUIET), 28, 256, num_blocks=3, block=100)
MLP = Case("MLP 784-512-512-10, b256", ("backbone=mlp",), 28, 256, num_blocks=9)
MLP_B64 = Case("MLP 784-512-512-10, b64", ("backbone=mlp",), 28, 64, num_blocks=19)
DIGITS = Case(
    "digits: MLP 64-64-10, b64", ("backbone=mlp", "backbone.depth=1", "backbone.width=64"), 8, 64, num_blocks=49
)


class Interleaved(Callback):
    """Times each block of training, and lets the reference run a block of its own in between.

    Neighbours on the machine then slow both sides alike.
    """

    def __init__(self, case: Case, reference: Iterator[None]) -> None:
        self.case, self.reference = case, reference
        self.seconds: list[tuple[float, float]] = []  # ours and the reference's, of each pair of blocks
        self.begin: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.case.block:
            return
        end = time.perf_counter()
        next(self.reference)
        now = time.perf_counter()
        if self.begin is not None:
            self.seconds.append((end - self.begin, now - end))
        self.begin = now


class Muted(Callback):
    """Times each block of training, of which every second one logs nothing: one process, and nothing else differs."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.seconds: tuple[list[float], list[float]] = [], []  # of blocks that log, and of those that do not
        self.settings: tuple[int, int | None] | None = None  # how often, as the run has it
        self.is_muted = False
        self.begin: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.case.block:
            return
        if self.begin is not None:
            self.seconds[self.is_muted].append(time.perf_counter() - self.begin)
            self.is_muted = not self.is_muted
        assert isinstance(pl_module, ImageClassifier)
        layers = callback_of(callbacks_of(trainer), Layers)
        assert layers is not None
        self.settings = self.settings or (pl_module.log_every_n_steps, layers.every_n_steps)
        pl_module.train_metrics.read_interval(trainer)
        pl_module.log_every_n_steps, layers.every_n_steps = (sys.maxsize,) * 2 if self.is_muted else self.settings
        self.begin = time.perf_counter()


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The trainer's own list of callbacks, which Lightning does not declare."""
    found: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return found


@contextlib.contextmanager
def built(case: Case, *overrides: str) -> Iterator[tuple[ImageClassifier, Trainer, ImageDataModule]]:
    """The classifier, trainer and data of a run with all its logging, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        config = case.config(*overrides)
        if config.logger:
            config.logger.directory = directory
        torch.manual_seed(0)
        data = instantiate(config.data)
        classifier = build_classifier(config, data)
        count = sum(parameter.numel() for parameter in classifier.parameters())
        precision = choose_precision(config.trainer.precision, "cpu", count)
        loggers = build_loggers(config, Path(directory))
        callbacks = build_callbacks(config, data, RunRecord(Path(directory), []), Origin(), Signals())
        trainer = build_trainer(config, "cpu", precision, callbacks, loggers)
        try:
            yield classifier, trainer, data
        finally:
            finish(loggers, RECORD)


def speeds(case: Case, reference: Callable[[Case], Generator[None]], *overrides: str) -> tuple[float, float]:
    """Images per second through the Trainer, all logging included, and of a reference: of a median pair of blocks."""
    with built(case, *overrides) as (classifier, trainer, data), contextlib.redirect_stdout(io.StringIO()):
        begin(trainer.loggers, RECORD)
        time.sleep(SECONDS_FOR_WANDB_TO_SETTLE)
        their_blocks = reference(case)
        next(their_blocks)
        interleaved = Interleaved(case, their_blocks)
        callbacks_of(trainer).extend(without_empty_hooks([interleaved]))
        with contextlib.closing(their_blocks):
            trainer.fit(classifier, datamodule=data)
    assert len(interleaved.seconds) == case.num_blocks
    ours, theirs = sorted(interleaved.seconds, key=lambda pair: pair[0] / pair[1])[case.num_blocks // 2]
    return case.images_per_second(ours), case.images_per_second(theirs)


def speeds_with_and_without_logging(case: Case, *overrides: str) -> tuple[float, float]:
    """Images per second while a run logs, and while it does not: of a median pair of neighbouring blocks."""
    muted = Muted(case)
    with built(case, *overrides) as (classifier, trainer, data), contextlib.redirect_stdout(io.StringIO()):
        begin(trainer.loggers, RECORD)
        time.sleep(SECONDS_FOR_WANDB_TO_SETTLE)
        callbacks_of(trainer).extend(without_empty_hooks([muted]))
        trainer.fit(classifier, datamodule=data)
    pairs = sorted(zip(*muted.seconds, strict=True), key=lambda pair: pair[0] / pair[1])
    logging, bare = pairs[len(pairs) // 2]
    return case.images_per_second(logging), case.images_per_second(bare)
