"""Config > **build** > train: makes the parts of a run from their nodes, each from plain arguments.

The network, the loss and the metrics are built before the data is read, so that their errors come early.
"""

import contextlib
import functools
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from pytorch_lightning.profilers import PassThroughProfiler, Profiler
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn

from leyden.augment import Augmentation
from leyden.callbacks import Checkpoints, Ema, Heartbeat, Layers, Pruning, StepBoundary
from leyden.callbacks.trial import trial_of
from leyden.check import check_monitor, import_target
from leyden.checkpoint import WholeFiles
from leyden.classifier import ImageClassifier
from leyden.config import Origin
from leyden.data import ImageDataModule
from leyden.data.facts import DataFacts
from leyden.data.sources import Task
from leyden.finetune import L2SP, LAST_EPOCH, Finetune
from leyden.hardware import keep_freed_memory, skip_needless_search_for_gpus, train_depthwise_in_float32
from leyden.heads import Number
from leyden.loggers import Follower, MetricsCsv
from leyden.metric_names import HEADLINES, is_of_one_class, metric_names
from leyden.metrics import metrics_for
from leyden.optim import build_optimizer, check_hyperparameters
from leyden.preprocessing import for_channels, preprocessing_of
from leyden.run import RunRecord
from leyden.signals import Signals
from leyden.test_time import TestTime
from leyden.weights import keep_head, load_weights, read_weights

log = logging.getLogger(__name__)

T = TypeVar("T")

LOSSES: dict[Task, str] = {
    "single_label": "cross_entropy",
    "multi_label": "binary_cross_entropy",
    "regression": "mse",
}

HOOKS_OF_A_STEP = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end",
)  # fmt: skip


def instantiate(node: Any, **facts: Any) -> Any:
    """Calls what a node names with its arguments as plain lists and dictionaries, never as config nodes."""
    return hydra.utils.instantiate(node, _convert_="all", **facts)


def build_data(config: DictConfig) -> ImageDataModule:
    """The data, which knows its facts and has read nothing yet; normalised as the weights want it."""
    data: ImageDataModule = instantiate(config.data)
    asked = preprocessing_of(config)
    if asked is not None and "mean" not in config.data.source:  # which is no choice there
        data.mean, data.std = for_channels(asked, data.channels)
    return data


def build_classifier(config: DictConfig, data: ImageDataModule | DataFacts) -> ImageClassifier:
    """The network with all that its training step needs; its first weights are drawn from torch's generator."""
    check_loss(config, data)
    make_optimizer = instantiate(config.optimizer)
    check_hyperparameters(make_optimizer)
    finetune: Finetune = instantiate(config.finetune)
    facts = {"channels": data.channels, "image_size": data.image_size}
    if "pretrained" in config.backbone and (config.weights or not finetune.uses_weights):
        facts["pretrained"] = False
    backbone: nn.Module = instantiate(config.backbone, **facts)
    if not isinstance(getattr(backbone, "num_features", None), int):
        raise ValueError(
            f"backbone: {type(backbone).__name__} has no num_features, the number of features that it gives"
        )
    head: nn.Module = instantiate(config.head, num_features=backbone.num_features, num_classes=data.num_outputs)
    loaded = begin_with_weights(config, data, backbone, head) if finetune.uses_weights else None
    train_depthwise_in_float32(backbone)
    if config.compile:
        backbone.compile()
        head.compile()
    if data.task == "regression":
        head = Number(head)
    finetune.begin(backbone, head, None if config.steps else config.epochs)
    warn_of_stages_that_never_come(finetune, config.trainer.get("max_epochs"))
    of_classes = {} if data.task == "regression" else {"num_classes": data.num_classes}
    classifier = ImageClassifier(
        augment=build_augment(config, data),
        backbone=backbone.to(memory_format=torch.channels_last),  # convolutions are up to 1.6 times as fast so
        head=head,
        loss=instantiate(config.loss, **of_classes),
        finetune=finetune,
        make_optimizer=functools.partial(build_optimizer, make_optimizer),
        make_schedule=instantiate(config.schedule),
        metrics=metrics_for(data.task, data.class_names),
        test_time=build_test_time(config, data),
        seed=config.seed,
        monitor=config.monitor,
        log_every_n_steps=config.trainer.log_every_n_steps,
    )
    classifier.loaded = loaded
    return classifier


def build_augment(config: DictConfig, data: ImageDataModule | DataFacts) -> Augmentation:
    """The augmentation of these images, which draws by the run's seed."""
    facts = {"num_classes": data.num_classes, "mean": data.mean, "std": data.std, "image_size": data.image_size}
    augment: Augmentation = instantiate(config.augment, **facts, seed=config.seed)
    return augment


def warn_of_what_makes_no_sense(finetune: Finetune, config: DictConfig) -> None:
    """Says where a way of fine-tuning keeps to weights that are random, or goes by values of another optimizer."""
    has_weights = finetune.uses_weights and (config.weights or config.backbone.get("pretrained"))
    if finetune.builds_on_weights and not has_weights:
        layers = f" with finetune.frozen_layers={finetune.frozen_layers}" if finetune.frozen_layers else ""
        log.warning(
            "finetune=%s%s keeps to the weights that the backbone begins with, and these are random: give weights=<a "
            "file or run> or a pretrained backbone, as backbone=lite0, or let all of it train by finetune=full",
            finetune.way,
            layers,
        )
    if isinstance(finetune, L2SP) and finetune.has_the_papers_values and ".SGD" not in config.optimizer["_target_"]:
        log.warning(
            "finetune=l2sp: alpha and beta are those of the paper, for optimizer=sgd, and this optimizer scales what "
            "they add to the gradients: give optimizer=sgd, or values of your own (finetune.alpha, finetune.beta)"
        )


def warn_of_stages_that_never_come(finetune: Finetune, max_epochs: int | None) -> None:
    """Says where the trainer, apart from `epochs`, ends before all that is to train does."""
    if max_epochs is not None and finetune.num_frozen_layers(max_epochs - 1) > finetune.num_frozen_layers(LAST_EPOCH):
        log.warning("trainer.max_epochs=%s ends training before finetune has let all layers train", max_epochs)


def build_test_time(config: DictConfig, data: ImageDataModule | DataFacts) -> TestTime:
    """What is done with a test image.

    Raises:
        ValueError: it cannot be done with such labels, or with features instead of images.
    """
    test_time: TestTime = instantiate(config.test_time, task=data.task)
    if test_time.views != "plain" and config.finetune.get("cache_features"):
        raise ValueError(
            f"test_time.views={test_time.views} looks at images, and finetune keeps features of them as they are: give "
            "finetune.cache_features=false or test_time=plain"
        )
    return test_time


def begin_with_weights(
    config: DictConfig, data: ImageDataModule | DataFacts, backbone: nn.Module, head: nn.Module
) -> dict[str, Any] | None:
    """Puts into the network what it is to begin with; how it fitted, None where its weights are new.

    `weights` come before those that the backbone's own file names.

    Raises:
        ValueError: the weights cannot be read, or are another network's.
    """
    if not config.weights:
        fit = getattr(backbone, "fit", None)
        return None if fit is None else fit._asdict() | {"head": "new"}
    weights = read_weights(config.weights)
    fit = load_weights(backbone, weights)
    if config.backbone.get("pretrained"):
        log.info("weights=%s stand in for those that backbone.pretrained would load", config.weights)
    kept = keep_head(head, weights, data.class_names) if config.keep_head else "new"
    return fit._asdict() | {"head": kept}


def check_loss(config: DictConfig, data: ImageDataModule | DataFacts) -> None:
    """Refuses a loss that is for other labels than these, before it meets them.

    Raises:
        ValueError: says which loss to give, and what to monitor with it.
    """
    name = str(config.loss["_target_"])
    task = getattr(import_target(name, "loss", Origin()), "task", data.task)
    if task != data.task:
        monitor = f"val/{HEADLINES[data.task]}"
        also = "" if config.monitor == monitor else f" monitor={monitor}"
        raise ValueError(
            f"loss: {name} is for {task} data, and {data.name} is {data.task}: give loss={LOSSES[data.task]}{also}"
        )


def fit_labels(classifier: ImageClassifier, data: ImageDataModule) -> None:
    """Tells each part that asks for it what the training labels are: for class weights, for the unit of numbers."""
    for part in classifier.children():
        if callable(fit := getattr(part, "fit_labels", None)):
            fit(data.training_labels)


def build_callbacks(
    config: DictConfig, data: ImageDataModule, run: RunRecord, origin: Origin, signals: Signals
) -> list[Callback]:
    """The callbacks that are switched on, before them the one that stands between two steps."""
    built = [instantiate(node) for node in config.callbacks.values() if node]
    callbacks = [callback for callback in built if getattr(callback, "is_on", True)]
    names = validation_names(data.task, data.class_names, has_ema=callback_of(callbacks, Ema) is not None)
    check_monitor("monitor", config.monitor, names, origin)
    for key, node in config.callbacks.items():
        if node and "monitor" in node:
            check_monitor(f"callbacks.{key}.monitor", node.monitor, names, origin)
    if checkpoints := callback_of(callbacks, Checkpoints):
        checkpoints.directory = run.directory / "checkpoints"
    if layers := callback_of(callbacks, Layers):
        layers.directory = run.directory
    if trial := trial_of(run.directory):  # this run is one of a search that may end it early
        callbacks.append(Pruning(trial, config.monitor))
    return [StepBoundary(signals, checkpoints), *callbacks, Heartbeat(run.beat)]


def validation_names(task: Task, class_names: Sequence[str], has_ema: bool) -> list[str]:
    """The validation metrics that a run logs."""
    computed = metric_names(class_names, task)
    names = [f"val/{name}" for name in computed] + ["val/accuracy_gap"] * (task == "single_label")
    if has_ema:
        names += [f"val/ema_{name}" for name in computed if not is_of_one_class(name)]
    return names


def without_empty_hooks(callbacks: list[Callback]) -> list[Callback]:
    """Takes from each callback the hooks of a step that do nothing.

    Lightning calls every hook of every callback in each step, unless it finds None.
    """
    for callback in callbacks:
        for hook in HOOKS_OF_A_STEP:
            if not is_overridden(hook, callback):
                setattr(callback, hook, None)
    return callbacks


def callback_of(callbacks: list[Callback], kind: type[T]) -> T | None:
    """The first callback of a kind."""
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def build_loggers(config: DictConfig, run_directory: Path, origin: Origin | None = None) -> list[Logger]:
    """metrics.csv always, with what follows it; a logger of Lightning's own kind beside it."""
    logger = instantiate(config.logger, run_directory=run_directory) if config.logger else None
    if not isinstance(logger, Follower):
        return [MetricsCsv(run_directory / "metrics.csv"), *([logger] if logger else [])]
    settings: Any = OmegaConf.to_container(config)
    logger.config = settings | {"choices": dict(origin.choices) if origin else {}}
    return [MetricsCsv(run_directory / "metrics.csv", [logger])]


class NoProfiler(PassThroughProfiler):
    """Lightning's profiler that does nothing, without making a context manager for each of forty places of a step."""

    NOTHING = contextlib.nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.NOTHING


class SyncedNorms(TorchSyncBatchNorm):
    """Batch norm over all devices that keeps the activation which a norm of timm's has in it.

    Lightning's way there loses it, and so does its way back, which nothing needs: evaluating, no device asks others.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        from timm.layers import convert_sync_batchnorm

        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        return model


def build_trainer(
    config: DictConfig,
    accelerator: str,
    precision: str,
    callbacks: list[Callback],
    loggers: list[Logger],
    resumed: dict[str, Any] | None = None,
    has_unused_parameters: bool = False,
    profiler: Profiler | None = None,
) -> Trainer:
    """Lightning's Trainer with what this template does itself switched off; `resumed` is the state to go on from.

    `has_unused_parameters` says that some have no gradient in some epochs, which DDP must look for in every step.
    """
    skip_needless_search_for_gpus()
    if accelerator == "cpu":
        keep_freed_memory()
    # What an interval longer than an epoch would lose, we log at the epoch's end.
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    warnings.filterwarnings("ignore", message="You passed .*precision='16-mixed'")  # we warn below
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # a node to log in to may train, too
    warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")  # what is frozen
    warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")  # of other epochs
    length = {"max_epochs": -1, "max_steps": config.steps} if config.steps else {}
    sync_batchnorm = config.trainer.sync_batchnorm
    if sync_batchnorm and accelerator == "cpu":
        log.warning(
            "trainer.sync_batchnorm is left out: PyTorch has it for GPUs only; each process norms its own share"
        )
        sync_batchnorm = False
    trainer: Trainer = instantiate(
        config.trainer,
        sync_batchnorm=sync_batchnorm,
        **length,
        precision=precision,
        profiler=profiler or config.trainer.profiler or NoProfiler(),
        callbacks=without_empty_hooks(callbacks),
        logger=loggers,
        plugins=[WholeFiles(resumed), *([SyncedNorms()] if sync_batchnorm else [])],
        enable_progress_bar=False,
        enable_checkpointing=bool(callback_of(callbacks, Checkpoints)),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # our loaders know their rank
    )
    # Which `auto` chooses for several devices, too.
    if has_unused_parameters and isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs["find_unused_parameters"] = True
    # Lightning's handlers broadcast from within a signal, where other ranks wait for something else.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    if config.deterministic:
        log.info(
            "deterministic: the same bits on devices of this kind, as many of them, with as many threads and the same "
            "versions; an operation that PyTorch has no such implementation of ends the run and is named"
        )
    if precision == "16-mixed" != trainer.precision:
        log.warning("trainer.precision=16-mixed is for GPUs: the CPU trains in %s", trainer.precision)
    return trainer
