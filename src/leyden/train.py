"""Command line > config > **train**: compose, check, build, fit, test, record. Read `classifier.py` next."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything
from pytorch_lightning.loggers import Logger

from leyden import transfer_table
from leyden.build import (
    build_callbacks,
    build_classifier,
    build_data,
    build_loggers,
    build_trainer,
    callback_of,
    fit_labels,
    warn_of_what_makes_no_sense,
)
from leyden.callbacks import Checkpoints, Ema, Progress, Pruning
from leyden.check import check, check_groups, check_shares, modules_named
from leyden.checkpoint import LAST, Saved
from leyden.classifier import ImageClassifier
from leyden.config import Origin
from leyden.data.features import keep_features
from leyden.errors import Interrupted
from leyden.hardware import choose_accelerator, choose_precision, describe_device
from leyden.lock import Lock
from leyden.loggers import begin, finish, wandb_of
from leyden.optim import describe_groups
from leyden.preprocessing import adopt, preprocessing_of
from leyden.provenance import code_version
from leyden.ranks import telling_which_rank_failed, wait_for_ranks
from leyden.resume import (
    Start,
    check_same_data,
    check_same_weights,
    config_to_resume,
    starting_point,
    warn_of_what_is_other,
    what_is_saved,
)
from leyden.run import RunRecord, rank, say, working_directory
from leyden.signals import Signals
from leyden.summary import end_pruned, summarise
from leyden.test_time import choose_by_validation
from leyden.wandb_names import mode_for_this_machine

log = logging.getLogger(__name__)


def train(config: DictConfig, run_directory: Path, origin: Origin, signals: Signals, is_checked: bool = False) -> None:
    """Trains, tests and records one run in `run_directory`.

    With `resume=auto` it goes on where an earlier attempt in that directory left off.
    """
    OmegaConf.resolve(config)
    adopt(config, origin)
    with Lock(run_directory) if rank() == 0 else contextlib.nullcontext():
        _run(config, run_directory, origin, what_is_saved(run_directory), signals, is_checked)


def resume(run_directory: Path, changes: Sequence[str], signals: Signals) -> None:
    """Goes on with the run of a directory, from its own config with changes of the form key=value."""
    if not any((run_directory / name).exists() for name in ("run.json", "config.yaml", "checkpoints")):
        raise ValueError(
            f"{run_directory} holds neither a run nor a study: give the directory of one, as its end names it"
        )
    with Lock(run_directory) if rank() == 0 else contextlib.nullcontext():
        found = what_is_saved(run_directory)
        with contextlib.chdir(working_directory(run_directory)):  # its paths may be relative
            config, origin = config_to_resume(run_directory, found, changes)
            _run(config, run_directory, origin, found, signals, is_checked=True)


def _run(config: DictConfig, directory: Path, origin: Origin, found: Saved, signals: Signals, is_checked: bool) -> None:
    start = starting_point(config, directory, found, origin)
    if start.is_finished:
        is_online = "wandb" in start.record and mode_for_this_machine() == "online"
        rest = f" (what W&B may lack of it, `leyden sync {directory}` sends)" if is_online else ""
        if rank() == 0:
            print(f"{directory} is {start.record.get('status')}: nothing to do{rest}")
        return
    run = RunRecord(directory, origin.overrides, start.record, origin.choices)
    loggers: list[Logger] = []
    try:
        with run:
            if not is_checked:
                check_groups(config, ["logger"], origin)
            loggers = build_loggers(config, directory, origin)
            try:
                with signals.clearly():
                    if not is_checked:
                        check(config, origin)
                    run.begin(config, start.found.describe(), is_new=start.found.state is None)
                    begin(loggers, run.facts)
                    fit_and_test(config, run, loggers, origin, start, signals)
                signals.check()
            except Interrupted as error:
                error.directory, error.is_saved = directory, (directory / "checkpoints" / LAST).is_file()
                raise
            except SystemExit as error:
                raise RuntimeError(f"a part of the run called sys.exit({error.code})") from error
    finally:
        finish(loggers, run.facts)  # which says how it ended
        if wandb := wandb_of(loggers):  # which begins beside training, and may have ended in files
            with contextlib.suppress(OSError):  # of a full disk, of which the run itself has told
                run.update(wandb=wandb.describe())


def fit_and_test(
    config: DictConfig, run: RunRecord, loggers: list[Logger], origin: Origin, start: Start, signals: Signals
) -> None:
    """Builds the parts, trains, puts the best weights back and looks once at the test images."""
    seed_everything(config.seed, verbose=False)
    accelerator = choose_accelerator(config.trainer.accelerator)
    data = build_data(config)
    classifier = build_classifier(config, data)
    warn_of_what_makes_no_sense(classifier.finetune, config)
    num_parameters = sum(parameter.numel() for parameter in classifier.parameters())
    precision = choose_precision(config.trainer.precision, accelerator, num_parameters)
    callbacks = build_callbacks(config, data, run, origin, signals)
    checkpoints, ema = callback_of(callbacks, Checkpoints), callback_of(callbacks, Ema)
    pruning, progress = callback_of(callbacks, Pruning), callback_of(callbacks, Progress)
    changes = classifier.finetune.changes_with_time
    trainer = build_trainer(config, accelerator, precision, callbacks, loggers, start.found.state, changes)
    data.num_ranks = trainer.world_size
    check_shares(config.batch_size, trainer.world_size)  # `devices=auto` says only now how many there are
    with signals.at_once():
        data.prepare_data()
        data.setup("fit")
    fit_labels(classifier, data)
    if (finetune := classifier.finetune).keeps_features:
        where = trainer.strategy.root_device
        with signals.at_once():  # what is kept is written whole or not at all
            data.features = keep_features(classifier, data, finetune.views, where, str(trainer.precision))
    device = describe_device(accelerator)
    facts = {"device": device, "precision": trainer.precision, "seed": config.seed, "parameters": num_parameters}
    facts |= {"data": data.facts(), "torch": str(torch.__version__), "code": code_version(modules_named(config))}
    check_same_data(start, facts["data"])
    if run.is_first_rank and data.files:
        from leyden.doctor.quick import warn_once

        warn_once(data, facts["data"]["fingerprint"], config.loss.get("class_weights"))
    run.update(**facts)
    told = transfer_table.rows(classifier, data, preprocessing_of(config))
    check_same_weights(start, classifier.loaded)
    if checkpoints:
        kept = {key: run.facts.get(key) for key in ("run_id", "overrides", "choices")} | {"transfer": told, **facts}
        checkpoints.run = {"config": OmegaConf.to_yaml(config), **kept}
    if told:
        run.update(transfer=told)
    if run.is_first_rank:
        warn_of_what_is_other(start.found, facts)
        tell_what_begins(classifier, told, start)

    with telling_which_rank_failed(trainer, run):
        trainer.fit(classifier, datamodule=data, ckpt_path=start.found.path, weights_only=True)
        if pruning and pruning.reason:
            end_pruned(run, checkpoints, pruning.reason)
            wait_for_ranks(trainer, run)
            return
        if checkpoints:
            checkpoints.put_best_back(classifier, ema)
        if classifier.test_time.is_chosen:
            chosen = choose_by_validation(classifier)
            run.update(calibration=chosen | (ema.calibrate(classifier) if ema else {}))
        trainer.test(classifier, datamodule=data, verbose=False)
        run.update(data=run.facts["data"] | data.record_skipped(run.directory / "skipped_images.csv"))
        summarise(run, trainer, classifier, data, checkpoints, progress, config.pictures is not False)
        wait_for_ranks(trainer, run)


def tell_what_begins(classifier: ImageClassifier, told: dict[str, str], start: Start) -> None:
    """Prints what to look at before the first step: weights, groups of parameters, where the run goes on."""
    groups = describe_groups(classifier, classifier.finetune.rates(), classifier.finetune.undecayed())
    say("\n".join([transfer_table.as_text(told)] * bool(told) + [groups]))
    if start.record:
        log.info("%s", start.describe())
        say(start.describe())
