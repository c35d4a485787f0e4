"""The networks and images that the throughput lines share."""

import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from leyden.build import build_callbacks, build_classifier, build_loggers, build_trainer, find, instantiate
from leyden.callbacks import Progress
from leyden.classifier import ImageClassifier
from leyden.config import CONFIG_DIRECTORY, Origin, register
from leyden.data import Images
from leyden.hardware import choose_precision
from leyden.loggers import finish

SECONDS_FOR_WANDB_TO_SETTLE = 5  # its process looks around the machine first, which is no part of the steady speed


class RandomImages:
    """Bytes of the shape of a real set: what is in them changes no timing."""

    name = "random"
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
        return Images(images, torch.arange(self.num_images) % 10, round(0.98 * self.num_images))


@dataclass(frozen=True)
class Case:
    """One line's network, images, batch size and number of timed steps."""

    name: str
    overrides: tuple[str, ...]
    image_size: int
    batch_size: int
    num_steps: int

    def config(self, *more: str) -> DictConfig:
        """The composed config of `leyden train`, on random images."""
        register()
        source = [
            "data.source._target_=benchmarks.networks.RandomImages",
            f"+data.source.image_size={self.image_size}",
            f"+data.source.num_images={round((self.num_steps + 1) * self.batch_size / 0.9)}",
        ]
        with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
            config = compose(
                "train",
                overrides=[
                    "name=benchmark", *source, f"batch_size={self.batch_size}", f"steps={self.num_steps}",
                    "data.validation_fraction=0.01", "trainer=cpu", *self.overrides, *more,
                ],
            )  # fmt: skip
        OmegaConf.resolve(config)
        return config


RESNET = Case("ResNet-18, 28 x 28, b128", ("backbone=resnet",), 28, 128, 6)
CNN = Case("CNN, 28 x 28, b256", ("backbone=cnn",), 28, 256, 80)
MLP = Case("MLP 784-512-512-10, b256", ("backbone=mlp",), 28, 256, 400)
MLP_B64 = Case("MLP 784-512-512-10, b64", ("backbone=mlp",), 28, 64, 800)
DIGITS = Case("digits: MLP 64-64-10, b64", ("backbone=mlp", "backbone.depth=1", "backbone.width=64"), 8, 64, 2000)


@contextlib.contextmanager
def built(case: Case, *overrides: str) -> Iterator[tuple[ImageClassifier, Trainer, DictConfig]]:
    """The classifier and trainer of a run with all its logging, in a directory of its own."""
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
        callbacks = build_callbacks(config, data, Path(directory), Origin())
        trainer = build_trainer(config, "cpu", precision, callbacks, loggers)
        trainer.benchmark_data = data
        try:
            yield classifier, trainer, config
        finally:
            finish(loggers, {}, exit_code=0)


def images_per_second(case: Case, *overrides: str) -> float:
    """Training speed through the Trainer, from the first step's begin to the last one's end, logging included."""
    with built(case, *overrides) as (classifier, trainer, _), contextlib.redirect_stdout(io.StringIO()):
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": 0}, step=0)  # W&B begins at the first metric
        time.sleep(SECONDS_FOR_WANDB_TO_SETTLE)
        trainer.fit(classifier, datamodule=trainer.benchmark_data)
        progress = find(trainer.callbacks, Progress)
        assert progress is not None
        return progress.images_per_second
