"""Command line > config > **train**: compose, check, build, fit, test, record. Read `classifier.py` next."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything
from pytorch_lightning.loggers import Logger

from leyden.build import (
    build_callbacks,
    build_classifier,
    build_loggers,
    build_trainer,
    find,
    instantiate,
    wait_for_ranks,
)
from leyden.callbacks import Ema, Progress, StopOnSignal
from leyden.checkpoint import Checkpoints, read_checkpoint
from leyden.config import Origin, check, check_groups
from leyden.hardware import choose_accelerator, choose_precision, describe_device
from leyden.loggers import finish
from leyden.losses import ClassificationLoss
from leyden.optim import describe_groups
from leyden.run import RunRecord
from leyden.summary import summarise


def train(config: DictConfig, run_directory: Path, origin: Origin, resume: bool = False) -> float | None:
    """Trains, tests and records one run in `run_directory`; returns the monitored value of its best epoch.

    With `resume`, training goes on from the directory's `last.ckpt`.
    """
    with RunRecord(run_directory, origin.overrides) as run:
        OmegaConf.resolve(config)
        check_groups(config, ["logger"], origin)
        loggers = build_loggers(config, run_directory)
        try:
            check(config, origin)
            run.write_config(config)
            best = fit_and_test(config, run, loggers, origin, resume)
        except BaseException:
            finish(loggers, {}, exit_code=1)
            raise
        finish(loggers, run.facts.get("metrics", {}), exit_code=0)
    return best


def fit_and_test(
    config: DictConfig, run: RunRecord, loggers: list[Logger], origin: Origin, resume: bool
) -> float | None:
    """Builds the parts, trains, puts the best weights back and looks once at the test images."""
    seed_everything(config.seed, verbose=False)
    accelerator = choose_accelerator(config.trainer.accelerator)
    data = instantiate(config.data)  # knows its facts, has read nothing yet
    classifier = build_classifier(config, data)
    num_parameters = sum(parameter.numel() for parameter in classifier.parameters())
    precision = choose_precision(config.trainer.precision, accelerator, num_parameters)
    callbacks = build_callbacks(config, data, run.directory, origin)
    checkpoints, ema, progress = find(callbacks, Checkpoints), find(callbacks, Ema), find(callbacks, Progress)
    trainer = build_trainer(config, accelerator, precision, callbacks, loggers)
    data.prepare_data()
    data.setup("fit")
    if isinstance(classifier.loss, ClassificationLoss):
        classifier.loss.balance(data.class_counts)
    device = describe_device(accelerator)
    facts = {"device": device, "precision": trainer.precision, "seed": config.seed, "parameters": num_parameters}
    run.update(data=data.facts(), **facts)

    if run.main_process:
        print(describe_groups(classifier))
    last = run.directory / "checkpoints" / "last.ckpt"
    if resume:
        read_checkpoint(last)  # a damaged one is named before anything starts
    stop_on_signal = find(callbacks, StopOnSignal)
    assert stop_on_signal is not None
    with stop_on_signal:
        trainer.fit(classifier, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
        if checkpoints and checkpoints.best_value is not None:
            state = read_checkpoint(checkpoints.best_path)
            classifier.load_state_dict(state["state_dict"])
            if ema:
                ema.load_state_dict(state["callbacks"][ema.state_key])
        trainer.test(classifier, datamodule=data, verbose=False)
        run.update(data=run.facts["data"] | data.record_skipped(run.directory / "skipped_images.csv"))
        summarise(run, trainer, classifier, data, checkpoints, progress)
        wait_for_ranks(trainer)
    return checkpoints.best_value if checkpoints else None
