"""Run directories > **soup** > run directory: one network from the weights of several, tested as a run is.

"Model soups" (Wortsman et al. 2022): fine-tunes of one network lie so near to each other that the mean of their weights
is a network too, often a better one, for the price of one.
"""

import contextlib
import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from leyden.build import build_classifier, build_data, build_loggers, build_trainer, fit_labels
from leyden.checkpoint import BEST, read_checkpoint, write_checkpoint
from leyden.classifier import ImageClassifier
from leyden.data import Batch, ImageDataModule
from leyden.errors import command
from leyden.finetune import Lora
from leyden.hardware import choose_accelerator, choose_precision, describe_device
from leyden.lock import Lock
from leyden.metric_names import is_as_good
from leyden.report.collect import Found, collect
from leyden.run import RunRecord, is_study, read_record, working_directory
from leyden.summary import summarise
from leyden.test_time import choose_by_validation
from leyden.transfer_table import DIGEST

log = logging.getLogger(__name__)

State = dict[str, Tensor]
ALIKE = (  # of the configs; None where absent
    "backbone", "head", "data.source", "data.margin", "data.split_seed", "data.validation_fraction",
    "data.test_fraction", "data.fold", "data.folds",
)  # fmt: skip


def cook(directories: Sequence[Path]) -> Path:
    """Averages the best weights of finished runs and tests the mean once; returns the directory of the soup.

    The run that validation likes best goes in first, then, in the order of their validation, each other one with which
    the mean is not worse on the validation images (the paper's greedy soup). Batch norm's statistics, which do not
    average, are renewed on the training images. What comes out is a run's directory: `weights=` takes it.

    Raises:
        ValueError: there are fewer than two finished runs, they differ in network, images or split, or the soup's
            directory is there already.
    """
    collection = collect([directory.resolve() for directory in directories])  # their paths may be relative to theirs
    monitor = collection.metric["selection"]
    runs = _without_soups(collection.best_first())
    if len(runs) < 2:
        given = f"{runs[0].directory} is one finished run" if runs else "no finished run is given but soups"
        raise ValueError(f"{given}: a soup takes two or more")
    whole = collection.directory if is_study(collection.directory) else runs[0].directory
    place = whole.with_name(f"{whole.name}_soup")
    configs = [OmegaConf.load(run.directory / "config.yaml") for run in runs]
    _check(runs, configs, monitor, place)
    config = configs[0]
    assert isinstance(config, DictConfig)
    config.logger, config.resume = {}, "never"
    config.trainer.devices, config.trainer.strategy = 1, "auto"
    there = working_directory(runs[0].directory)
    choices = runs[0].record.get("choices")
    with Lock(place), contextlib.chdir(there), RunRecord(place, runs[0].overrides, choices=choices) as record:
        record.begin(config, {}, is_new=True)
        record.update(soup={})
        kitchen = Kitchen(config, record, monitor)
        chosen, value = kitchen.choose(runs)
        kitchen.serve(record, chosen, value)
        warn_of_no_gain(monitor, chosen, value)
    print(f"next            {command('leyden')} train weights={shlex.quote(os.path.relpath(place))} …")
    return place


class Ingredient(NamedTuple):
    """A run, and its best checkpoint."""

    run: Found
    best: dict[str, Any]


class Kitchen:
    """The network, the images and the trainer that all soups of some runs are tried with."""

    def __init__(self, config: DictConfig, record: RunRecord, monitor: str) -> None:
        seed_everything(config.seed, verbose=False)
        self.config, self.monitor = config, monitor
        accelerator = choose_accelerator(config.trainer.accelerator)
        self.data: ImageDataModule = build_data(config)
        self.classifier: ImageClassifier = build_classifier(config, self.data)
        num_parameters = sum(parameter.numel() for parameter in self.classifier.parameters())
        precision = choose_precision(config.trainer.precision, accelerator, num_parameters)
        loggers = build_loggers(config, record.directory)
        self.trainer: Trainer = build_trainer(config, accelerator, precision, [], loggers)
        self.data.prepare_data()
        self.data.setup("fit")
        fit_labels(self.classifier, self.data)
        self.device = self.trainer.strategy.root_device
        facts = {"device": describe_device(accelerator), "precision": self.trainer.precision, "seed": config.seed}
        record.update(**facts, parameters=num_parameters, data=self.data.facts())

    def choose(self, runs: Sequence[Found]) -> tuple[list[Ingredient], float]:
        """The runs whose mean validation likes best, added greedily, and its value."""
        chosen: list[Ingredient] = []
        best = 0.0
        for run in runs:
            tried = [*chosen, Ingredient(run, read_checkpoint(run.directory / "checkpoints" / BEST))]
            self.mix(tried)
            value = self.validate()
            is_in = not chosen or is_as_good(self.monitor, value, best)
            if is_in:
                chosen, best = tried, value
            alone = run.value(f"best/{self.monitor}")
            print(f"{'+' if is_in else ' '} {run.id}  {self.monitor} alone {alone:.4f}, in the soup {value:.4f}")
        return chosen, best

    def mix(self, ingredients: Sequence[Ingredient]) -> None:
        """Puts the mean of the runs' best weights into the network."""
        states = [best["state_dict"] for _, best in ingredients]
        self.classifier.load_state_dict(mean_of(states))
        self.classifier.to(self.device).eval()
        names = [name for name, module in self.classifier.named_modules() if isinstance(module, _BatchNorm)]
        moved = [name for name in names if not _agree(states, f"{name}.running_mean")]
        if moved:
            renew_statistics(self.classifier, self.data, moved)

    @torch.no_grad()
    def validate(self) -> float:
        """The metric that chooses, on the validation images."""
        metrics = self.classifier.val_metrics.to(self.device)
        for batch in self.data.val_dataloader():
            images = self.classifier.augment.normalize(batch.images.to(self.device))
            with self.trainer.precision_plugin.val_step_context():
                logits = self.classifier(images)
            metrics.update(logits, batch.labels.to(self.device))
        found = metrics.compute()
        metrics.reset()
        return float(found[self.monitor.removeprefix("val/")])

    def serve(self, record: RunRecord, chosen: Sequence[Ingredient], value: float) -> None:
        """Writes the soup as a run's best checkpoint, and tests it once."""
        self.mix(chosen)
        record.update(soup={"runs": [str(run.directory) for run, _ in chosen], self.monitor: value})
        self.trainer.validate(self.classifier, datamodule=self.data, verbose=False)  # which chooses thresholds, too
        classifier = self.classifier
        if classifier.test_time.is_chosen:
            record.update(calibration=choose_by_validation(classifier))
        state = chosen[0].best
        kept = state["run"] | {"config": OmegaConf.to_yaml(self.config), "run_id": record.facts["run_id"]}
        kept["soup"] = [str(run.directory) for run, _ in chosen]
        state = state | {"state_dict": classifier.state_dict(), "callbacks": {}, "run": kept}
        write_checkpoint(state, record.directory / "checkpoints" / BEST)
        self.trainer.test(classifier, datamodule=self.data, verbose=False)
        summarise(record, self.trainer, classifier, self.data, None, None, self.config.pictures is not False)
        record.update(metrics=record.facts["metrics"] | {"best/epoch": 0, f"best/{self.monitor}": value})
        print(f"soup            of {len(chosen)} runs, {self.monitor} {value:.4f}")


def warn_of_no_gain(monitor: str, chosen: Sequence[Ingredient], value: float) -> None:
    """Says where the mean is no better than the run that validation likes best alone."""
    best = chosen[0].run
    alone = best.value(f"best/{monitor}") or 0.0
    if len(chosen) == 1:
        log.warning("no other run made the mean better: the soup is %s alone", best.id)
    elif is_as_good(monitor, alone, value):
        log.warning("the soup is no better than %s alone: %s %.4f, against %.4f", best.id, monitor, value, alone)


def mean_of(states: Sequence[State]) -> State:
    """The mean of each tensor; of counts, which have none, the first."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }


@torch.no_grad()
def renew_statistics(classifier: ImageClassifier, data: ImageDataModule, names: Sequence[str]) -> None:
    """Gives the batch norms of these names the statistics of the training images, augmented as in training.

    As after stochastic weight averaging (Izmailov et al. 2018).
    """
    norms: list[Any] = [classifier.get_submodule(name) for name in names]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # a mean over all batches
    for number, batch in enumerate(data.train_dataloader()):
        if len(batch.labels) < 2:
            continue  # nothing varies within one image
        on_device = Batch(*(part.to(classifier.device) for part in batch))
        images, _ = classifier.augment(on_device, 0, number, 0)
        classifier(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _agree(states: Sequence[State], name: str) -> bool:
    return all(torch.equal(state[name], states[0][name]) for state in states)


def _without_soups(runs: Sequence[Found]) -> list[Found]:
    for run in runs:
        if "soup" in run.record:
            log.warning("%s is left out: it is a soup, whose runs would count twice", run.directory)
    return [run for run in runs if "soup" not in run.record]


def _check(runs: Sequence[Found], configs: Sequence[Any], monitor: str, place: Path) -> None:
    if monitor == "val/accuracy_gap":
        raise ValueError(
            f"monitor={monitor} is of training too, and a soup is not trained: give runs of another metric"
        )
    if monitor.startswith("val/ema_"):
        raise ValueError(f"monitor={monitor} is of averaged weights, and a soup averages those that training has")
    for run, config in zip(runs, configs, strict=True):
        if config.finetune["_target_"].endswith(f".{Lora.__name__}"):
            raise ValueError(f"{run.directory} is of finetune=lora: means of factors make no mean of products")
        for key in ALIKE:
            first, this = (OmegaConf.select(one, key) for one in (configs[0], config))
            if first != this:
                raise ValueError(
                    f"{runs[0].directory} and {run.directory} differ in {key} ({first}, {this}): a soup takes "
                    "runs of one network and one split"
                )
        if run.record["data"]["layout"] != runs[0].record["data"]["layout"]:
            raise ValueError(
                f"{runs[0].directory} and {run.directory} have other images: a soup takes runs of one split"
            )
    left = read_record(place) if (place / "run.json").is_file() else {}
    is_left_half = "soup" in left and left["status"] != "finished"
    if (place / "checkpoints").exists() and not is_left_half:
        raise ValueError(f"{place} is there already: move it or delete it")
    if len(starts := {run.record.get("transfer", {}).get(DIGEST) for run in runs}) > 1 or None in starts:
        log.warning("the runs did not all begin with the same weights: the mean of such is seldom any good")
