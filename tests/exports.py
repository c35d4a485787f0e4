"""Networks for tests of what comes after training: checkpoints without training, and one real run."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from leyden import __version__
from leyden.build import build_classifier
from leyden.checkpoint import FORMAT, write_checkpoint
from leyden.config import Origin
from leyden.data.facts import facts_of
from leyden.data.sources import Task
from leyden.heads import Number
from leyden.signals import Signals
from leyden.train import train
from leyden.trained import Trained
from running import FinishedRun, compose_config

CLASSES = {"single_label": ["cat", "dog", "a jar: é"], "multi_label": ["wet", "warm"], "regression": []}
WORDS: dict[str, list[str]] = {
    "single_label": [],
    "multi_label": ["loss=binary_cross_entropy", "monitor=val/mean_average_precision"],
    "regression": ["loss=mse", "monitor=val/mae"],
}


def untrained(
    directory: Path, *overrides: str, channels: int = 3, image_size: int = 16, task: Task = "single_label"
) -> Trained:
    """A network as a run would have saved it, with statistics that are not those it is made with."""
    config = compose_config("trainer=cpu", "logger=csv", "backbone=mlp", *WORDS[task], *overrides)
    data: dict[str, Any] = {
        "name": "rooms", "task": task, "class_names": CLASSES[task], "image_shape": [channels, image_size, image_size],
        "mean": [0.4] * channels, "std": [0.3] * channels, "fingerprint": "f" * 64, "split_seed": 0, "fold": None,
        "num_train": 10, "num_val": 5, "num_test": 5,
    }  # fmt: skip
    torch.manual_seed(0)
    classifier = build_classifier(config, facts_of(data, 1.0))
    if isinstance(classifier.head, Number):
        classifier.head.fit_labels(torch.tensor([3.0, 5.0, 9.0]))
    images = torch.rand(8, channels, image_size, image_size)
    with torch.no_grad():
        for parameter in classifier.parameters():  # a head of zeros, or an adapter's, would hide what is before it
            parameter.add_(0.02 * torch.randn_like(parameter))
        classifier.train()
        for _ in range(3):
            classifier(classifier.augment.normalize(images))
    run = {
        "config": OmegaConf.to_yaml(config), "run_id": "0123456789abcdef", "overrides": list(overrides), "data": data,
        "precision": "32-true", "parameters": 1, "torch": str(torch.__version__), "transfer": {}, "seed": 0,
        "device": {"kind": "cpu", "name": "a CPU"},
    }  # fmt: skip
    state = {
        "state_dict": classifier.state_dict(), "epoch": 0, "global_step": 0, "callbacks": {}, "run": run,
        "leyden": {"format": FORMAT, "version": __version__, "torch": str(torch.__version__)},
    }  # fmt: skip
    write_checkpoint(state, directory / "checkpoints" / "best.ckpt")
    return Trained(directory, accelerator="cpu")


def train_once(directory: Path, *overrides: str) -> FinishedRun:
    """A real run of digits."""
    quick = ["epochs=1", "trainer=cpu", "logger=csv", "pictures=false", "data.train_fraction=0.3"]
    with Signals() as signals:
        train(compose_config(*quick, *overrides), directory, Origin(overrides), signals)
    return FinishedRun(directory)
