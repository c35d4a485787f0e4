"""Command line > **where a run begins** > train: at its first step, or where an earlier attempt left off."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from leyden.build import instantiate
from leyden.check import check
from leyden.checkpoint import Saved, newest_whole, put_in_order
from leyden.config import FREE, Origin, is_among, leaves, suggest
from leyden.run import DONE, rank, read_record
from leyden.schedules import first_step_that_differs
from leyden.transfer_table import DIGEST

log = logging.getLogger(__name__)

# What may differ beside FREE has rules of its own: images that cannot be read may be left out from here on, training
# may be longer.
RULED = ("data.on_error", "epochs", "trainer.max_epochs")


class Start(NamedTuple):
    """Where a run begins: what is recorded of it so far, empty for a new one, and the state to go on from."""

    record: dict[str, Any]
    found: Saved
    is_finished: bool  # or pruned: nothing is left to do

    def recorded(self, key: str) -> Any:
        """What run.json says of the attempt before, or its checkpoint where that is lost."""
        return self.record.get(key) or (self.found.state or {}).get("run", {}).get(key)

    def describe(self) -> str:
        """Where training goes on, in words."""
        if self.found.state is None:
            return "no checkpoint is whole: training begins at the start"
        place = self.found.state["position"]
        return f"going on from {self.found.path}: epoch {place['epoch']}, step {self.found.state['global_step']}"


def what_is_saved(directory: Path) -> Saved:
    """The checkpoints of the run in a directory, as far as they are whole."""
    return newest_whole(directory / "checkpoints", record_or_nothing(directory).get("run_id"))


def starting_point(config: DictConfig, directory: Path, found: Saved, origin: Origin) -> Start:
    """Decides where the run of this config begins in `directory`, where `found` lies.

    Raises:
        ValueError: another run lies there, or this one may not go on with these settings; says what to do.
    """
    record = record_or_nothing(directory)
    if found.state is not None:
        record.setdefault("run_id", found.state["run"]["run_id"])
    is_ended = record.get("status") in DONE
    is_begun = is_ended or found.is_anything
    stored = config_of(found) or written_config(directory)
    is_longer = is_begun and stored is not None and config.trainer.get("max_epochs") != stored.trainer.get("max_epochs")
    is_finished = is_ended and not is_longer
    if rank() > 0:  # the first rank sees to all that follows; those that a scheduler starts end by themselves
        return Start(record, found, is_finished)
    if is_begun and config.resume != "auto":
        raise ValueError(
            f"{directory} holds a run already ({record.get('status', 'its record is lost')}): "
            "give resume=auto to go on with it, or another directory"
        )
    if is_begun and stored is not None:
        _check_settings(stored, config, origin)
        if is_longer:
            _check_longer(stored, config, found)
            if found.state and not found.state["global_step"]:
                found = Saved(None, None, found.damaged)  # no step is taken yet, and the schedule has begun as another
    put_in_order(directory / "checkpoints", found)
    return Start(record if config.resume == "auto" else {}, found, is_finished)


def config_of(found: Saved) -> DictConfig | None:
    """The config that a checkpoint was written with."""
    if found.state is None:
        return None
    config = OmegaConf.create(found.state["run"]["config"])
    assert isinstance(config, DictConfig)
    return config


def written_config(directory: Path) -> DictConfig | None:
    """What config.yaml says; None where it is absent or damaged, which is named."""
    path = directory / "config.yaml"
    try:
        config = OmegaConf.load(path) if path.is_file() else None
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException):
        config = None
    if path.is_file() and not isinstance(config, DictConfig):
        log.warning("%s is damaged", path)
    return config if isinstance(config, DictConfig) and config else None


def config_to_resume(directory: Path, found: Saved, changes: Sequence[str]) -> tuple[DictConfig, Origin]:
    """The config of a run that is to go on, with changes of the form key=value.

    That of the checkpoint counts; config.yaml only in what an attempt since may have changed.

    Raises:
        ValueError: no run is there, its config is lost, or a change is none.
    """
    record = record_or_nothing(directory)
    kept, config = config_of(found), written_config(directory)
    if kept is not None and (config is None or any(not _is_ruled(key) for key in _differing(kept, config))):
        log.warning("%s is not what the run began with: it is restored from %s", directory / "config.yaml", found.path)
        config = kept
    if config is None:
        raise ValueError(f"{directory} holds no run to go on with: neither config.yaml nor a checkpoint is whole")
    known = record or (found.state or {}).get("run", {})
    overrides = [*known.get("overrides", []), *changes]
    for change in changes:
        apply_change(change, config)
    config.resume = "auto"
    origin = Origin(overrides, known.get("choices", {}))
    check(config, origin)
    return config, origin


def apply_change(change: str, config: DictConfig) -> None:
    """Sets a key of a run's config, and what was made from it.

    Raises:
        ValueError: `change` is not of the form key=value, or its key is none.
    """
    key = change.partition("=")[0]
    keys = [name for name, _ in leaves(config)]
    if "=" not in change:
        raise ValueError(f"{change}: expected key=value, as in epochs=40")
    if key not in keys:
        hint = suggest(key, keys, "expected a key of its config.yaml that has a plain value")
        raise ValueError(f"unknown key '{key}' (override {change}): {hint}")
    before = OmegaConf.select(config, "data.root")
    config.merge_with_dotlist([change])
    if key == "data.root" and OmegaConf.select(config, "data.source.directory") == before:
        config.data.source.directory = config.data.root
    if key == "epochs" and config.trainer.max_epochs is not None:
        config.trainer.max_epochs = config.epochs


def record_or_nothing(directory: Path) -> dict[str, Any]:
    """What run.json says, or nothing where it is absent or damaged; the damaged one is kept beside its place."""
    path = directory / "run.json"
    if not path.is_file():
        return {}
    try:
        return read_record(directory)
    except ValueError as error:
        log.warning("%s", error)
        if rank() == 0:
            path.replace(path.with_name("run.json.damaged"))
        return {}


def check_same_data(start: Start, facts: Mapping[str, Any]) -> None:
    """Holds the data against that of the attempt before.

    Raises:
        ValueError: other images, labels or classes, so that other ones would be in each split.
    """
    before = start.recorded("data")
    if start.found.state is None or not before:
        return
    if before["layout"] != facts["layout"]:
        counts = " and ".join(
            f"{data['num_train']}, {data['num_val']} and {data['num_test']}" for data in (before, facts)
        )
        raise ValueError(
            f"{facts['name']} is not the data that this run began with (images to train, validate and test: {counts}): "
            "put the old images back, or train anew in another directory"
        )
    if before["fingerprint"] != facts["fingerprint"]:
        log.warning("files of %s have changed since the attempt before: the result is that of neither", facts["name"])


def check_same_weights(start: Start, loaded: Mapping[str, Any] | None) -> None:
    """Holds the file of weights against that of the attempt before: some ways of fine-tuning go by it to the end.

    Raises:
        ValueError: its content has changed.
    """
    before = (start.recorded("transfer") or {}).get(DIGEST)
    if start.found.state is not None and before and loaded and before != loaded["digest"]:
        raise ValueError(
            f"{loaded['source']} holds other weights than those that this run began with "
            f"(SHA-256 {before[:12]}…, now {loaded['digest'][:12]}…): put them back, or train anew in another directory"
        )


def warn_of_what_is_other(found: Saved, facts: Mapping[str, Any]) -> None:
    """Says when bits may differ because the attempt before ran elsewhere, or all because code has changed."""
    before = found.state["run"] if found.state else facts
    if before.get("code") not in (None, facts["code"]):  # of which a checkpoint before 0.1.0 says nothing
        log.warning("the code of Leyden or of your own parts has changed since: the result is that of neither")
    for key in ("device", "precision", "torch"):
        if before[key] != facts[key]:
            then, now = (_words(value) for value in (before[key], facts[key]))
            log.warning("%s was %s before and is %s now: the last bits may differ", key, then, now)


def _words(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _check_settings(stored: DictConfig, config: DictConfig, origin: Origin) -> None:
    before, now = dict(leaves(stored)), dict(leaves(config))
    for key in _differing(stored, config):
        if not _is_ruled(key):
            raise ValueError(
                f"{key}={now.get(key)}{origin.of(key)}, but the run in this directory has {before.get(key)}: "
                "go on with its own settings, or give another directory"
            )


def _check_longer(stored: DictConfig, config: DictConfig, found: Saved) -> None:
    """Lets training be longer where each step taken so far, and the next, would have been the same."""
    old, new = (item.trainer.get("max_epochs") for item in (stored, config))
    if config.steps is not None or new is None or old is None:
        raise ValueError(f"epochs={new}: steps={stored.steps} decides when this run ends, and its last epoch is cut")
    if new < old:
        raise ValueError(f"epochs={new} is less than the {old} that the run has: it may only be raised")
    if found.state is None:
        raise ValueError(f"epochs={new}: the run's checkpoints are lost: train anew")
    before, done = found.state["total_steps"], found.state["global_step"]
    if new > old and done and config.finetune.get("epochs_per_stage", new) is None:
        raise ValueError(
            f"epochs={new}: finetune.epochs_per_stage=null shares all epochs out among the stages, and those behind "
            "would have been longer: train anew, or begin with finetune.epochs_per_stage=…"
        )
    make_schedule = instantiate(config.schedule)
    # The rate of the next step is set already, and goes with the optimizer's state.
    differs = first_step_that_differs(make_schedule, before, before // old * new, done + 1) if done else None
    if differs is not None:
        raise ValueError(
            f"epochs={new}: this schedule spreads over all of training, so with more epochs step {differs} of the "
            f"{done} taken would have had another learning rate: train anew, or choose schedule=constant or plateau"
        )


def _is_ruled(key: str) -> bool:
    return is_among(key, (*FREE, *RULED))


def _differing(first: DictConfig, second: DictConfig) -> list[str]:
    """The keys whose values differ, those nearest to the root first: what others are made from."""
    ours, theirs = dict(leaves(first)), dict(leaves(second))
    keys = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    return sorted(keys, key=lambda key: (key.count("."), key))
