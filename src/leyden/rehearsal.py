"""Config > **rehearsal** > find, profile, plan: some steps of a run's own training, of which nothing is kept."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning import Callback, seed_everything
from pytorch_lightning.profilers import Profiler

from leyden.build import build_classifier, build_data, build_trainer, fit_labels
from leyden.config import Origin
from leyden.hardware import choose_accelerator, choose_precision
from leyden.preprocessing import settle
from leyden.run import without_words_of

KEPT_FEATURES = "note            these steps run the backbone; training does so once, and then reads its features"


class Rehearsal:
    """What a config trains, on one device: data that is read, a network with new weights, and a trainer for some steps.

    The steps are those of training: augmentation, precision, clipping and accumulation are as the config says.
    """

    def __init__(self, config: DictConfig, origin: Origin) -> None:
        settle(config, origin)
        seed_everything(config.seed, verbose=False)
        self.config = config
        self.accelerator = choose_accelerator(config.trainer.accelerator)
        self.data = build_data(config)
        self.classifier = build_classifier(config, self.data)
        self.data.prepare_data()
        self.data.setup("fit")
        fit_labels(self.classifier, self.data)
        self.num_parameters = sum(parameter.numel() for parameter in self.classifier.parameters())
        self.precision = choose_precision(config.trainer.precision, self.accelerator, self.num_parameters)

    def run(self, num_steps: int, callbacks: Sequence[Callback], profiler: Profiler | None = None) -> None:
        """Trains for so many optimizer steps, without validation, checkpoints and records."""
        config: Any = self.config.copy()
        config.steps, config.callbacks = num_steps, {}
        config.trainer.update({"limit_val_batches": 0, "devices": 1, "num_nodes": 1, "strategy": "auto"})
        with without_words_of("pytorch_lightning", "lightning_fabric"):
            trainer = build_trainer(config, self.accelerator, self.precision, list(callbacks), [], profiler=profiler)
            trainer.fit(self.classifier, datamodule=self.data)
