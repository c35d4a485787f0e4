"""The references: a bare PyTorch loop, equally tuned; the loop of tutorials; and the usual template.

All but the usual template yield once they are set up and after every block of a case's steps.
"""

import contextlib
import io
import logging
import math
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import v2

from benchmarks.networks import Case, RandomImages, built, callbacks_of
from leyden.augment import augmentation
from leyden.build import without_empty_hooks
from leyden.callbacks import Heartbeat, StepBoundary
from leyden.classifier import ImageClassifier
from leyden.data import Batch
from leyden.hardware import keep_freed_memory
from leyden.optim import parameter_groups

MEAN, STD = RandomImages.mean[0], RandomImages.std[0]


def network_of(case: Case) -> nn.Module:
    """Backbone and head as one plain module, contiguous.

    What making our run takes back of Lightning's search for GPUs in each step stays so for the references.
    """
    with built(case, "logger=csv") as (classifier, _, _):
        return nn.Sequential(classifier.backbone, classifier.head).to(memory_format=torch.contiguous_format)


def cosine(optimizer: torch.optim.Optimizer, num_steps: int) -> LambdaLR:
    """The schedule of the run it is compared with: warm-up and half a cosine."""
    warmup = round(0.1 * num_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return (1 + math.cos(math.pi * min(1.0, (step - warmup) / (num_steps - warmup)))) / 2

    return LambdaLR(optimizer, factor)


def images_and_labels(case: Case) -> tuple[Tensor, Tensor]:
    """As many uint8 images as the run has for training."""
    source = RandomImages(case.image_size, (case.num_steps + 1) * case.batch_size)
    images, labels = source.load(Path())[:2]
    return images, labels


def bare_loop(case: Case, precision: str) -> Generator[None]:
    """A hand-written loop as fast as we can make it: data in memory, channels last, fused AdamW, autocast, malloc."""
    keep_freed_memory()
    images, labels = images_and_labels(case)
    network = network_of(case).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(parameter_groups(network, weight_decay=0.05), lr=0.005, fused=True)
    schedule = cosine(optimizer, case.num_steps)
    order = torch.randperm(len(images))
    scale, shift, rows = 1 / (255 * STD), -MEAN / STD, images.flatten(1)
    yield
    for step in range(case.num_steps):
        chosen = order[step * case.batch_size : (step + 1) * case.batch_size]
        batch = rows.index_select(0, chosen).view(-1, *images.shape[1:])
        inputs = batch.mul(scale).add_(shift).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(network(inputs), labels.index_select(0, chosen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % case.block == 0:
            yield


def tutorial_loop(case: Case) -> Generator[None]:
    """What tutorials write: float tensors in a TensorDataset and a DataLoader, contiguous, AdamW as it comes."""
    images, labels = images_and_labels(case)
    loader = DataLoader(
        TensorDataset((images.float() / 255 - MEAN) / STD, labels), case.batch_size, shuffle=True, drop_last=True
    )
    network = network_of(case)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005, weight_decay=0.05)
    schedule = cosine(optimizer, case.num_steps)
    yield
    for step, (inputs, targets) in enumerate(loader):
        loss = F.cross_entropy(network(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % case.block == 0:
            yield


def elsewhere(loop: Callable[[Case], Generator[None]], case: Case) -> Generator[None]:
    """Runs a loop block by block in a process of its own, where nothing of our run changes its speed."""
    return _in_turns(_serve, loop, case)


def run_elsewhere(
    prepare: Callable[[ImageClassifier, pl.Trainer], None], overrides: tuple[str, ...], case: Case
) -> Generator[None]:
    """Runs our own training block by block in a process of its own, changed by `overrides` and `prepare`."""
    return _in_turns(_serve_run, prepare, overrides, case)


def as_it_is(classifier: ImageClassifier, trainer: pl.Trainer) -> None:
    """Changes nothing."""


def without_exactness(classifier: ImageClassifier, trainer: pl.Trainer) -> None:
    """Takes away what makes a run go on exactly: draws by position, the look between steps, the sign of life."""

    def begin(batch: Batch, batch_index: int) -> None:
        classifier.train_metrics.begin(trainer.global_step, trainer.optimizers[0].param_groups[0]["lr"])

    classifier.on_train_batch_start = begin  # type: ignore[method-assign]
    augmentation.uniform = lambda key, indices, num_draws: torch.rand(len(indices), num_draws)
    kept = [callback for callback in callbacks_of(trainer) if not isinstance(callback, StepBoundary | Heartbeat)]
    callbacks_of(trainer)[:] = kept


def _in_turns(serve: Callable[..., None], *arguments: object) -> Generator[None]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(*arguments, there), daemon=True)
    process.start()
    try:
        here.recv()
        yield
        while True:
            here.send("next block")
            here.recv()
            yield
    finally:
        process.kill()  # a run of ours, or Lightning, would only note a SIGTERM
        process.join()


def _serve(loop: Callable[[Case], Generator[None]], case: Case, pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for _ in loop(case):
        pipe.send("done")
        pipe.recv()


def _serve_run(
    prepare: Callable[[ImageClassifier, pl.Trainer], None], overrides: tuple[str, ...], case: Case, pipe: Connection
) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)

    def take_turns(trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, index: int) -> None:
        if (index + 1) % case.block == 0:
            pipe.send("done")
            pipe.recv()

    def begin(trainer: pl.Trainer, module: pl.LightningModule) -> None:
        pipe.send("ready")
        pipe.recv()

    with built(case, *overrides) as (classifier, trainer, data), contextlib.redirect_stdout(io.StringIO()):
        prepare(classifier, trainer)
        turns = pl.callbacks.LambdaCallback(on_train_start=begin, on_train_batch_end=take_turns)
        callbacks_of(trainer).extend(without_empty_hooks([turns]))
        trainer.fit(classifier, datamodule=data)


def nothing(case: Case) -> Generator[None]:
    """No reference: to time ours alone."""
    while True:
        yield


class Pictures(Dataset[tuple[Tensor, int]]):
    """A torchvision data set in miniature: an image of PIL, transformed by itself."""

    def __init__(self, case: Case) -> None:
        self.images, self.labels = images_and_labels(case)
        self.transform = v2.Compose(
            [
                v2.RandomCrop(case.image_size, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([MEAN], [STD]),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index, 0].numpy())), int(self.labels[index])


class UsualModule(pl.LightningModule):
    """The LightningModule of the usual template: `self.log` in every step."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.network = case, network_of(case)
        self.times: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", (logits.argmax(1) == labels).float().mean(), on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs: object, batch: object, batch_index: int) -> None:
        if (batch_index + 1) % self.case.block == 0:
            self.times.append(time.perf_counter())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.005, weight_decay=0.05)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": cosine(optimizer, self.case.num_steps), "interval": "step"},
        }


def usual_template(case: Case) -> float:
    """torchvision data, per-sample transforms, DataLoader with two workers, `self.log` in each step: images per second.

    Its workers go on whatever else runs, so it cannot take turns with ours block by block.
    """
    module = UsualModule(case)
    loader = DataLoader(
        Pictures(case), case.batch_size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=case.num_steps, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader)
    blocks = [end - begin for begin, end in zip(module.times, module.times[1:], strict=False)]
    return case.images_per_second(statistics.median(blocks))
