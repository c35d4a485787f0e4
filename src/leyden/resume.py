"""Command line > **where a run begins** > train: at its first step, or where an earlier attempt left off."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from leyden.checkpoint import Found, set_aside
from leyden.config import Origin, suggest
from leyden.run import rank, read_record
from leyden.schedules import first_step_that_differs

log = logging.getLogger(__name__)

# What may differ from the attempt before, for no bit of the result depends on it …
FREE = (
    "debug", "runs_dir", "resume", "logger", "trainer.profiler", "data.root", "data.num_workers", "callbacks.progress",
    "callbacks.checkpoints.every_n_steps", "callbacks.checkpoints.every_n_minutes",
)  # fmt: skip
# … and what has rules of its own: images that cannot be read may be left out from here on, training may be longer.
RULED = ("data.on_error", "epochs", "trainer.max_epochs")


class Start(NamedTuple):
    """Where a run begins: what is recorded of it so far, empty for a new one, and the state to go on from."""

    record: dict[str, Any]
    found: Found
    is_finished: bool


def starting_point(config: DictConfig, directory: Path, found: Found, origin: Origin) -> Start:
    """Decides where the run of this config begins in `directory`, where `found` lies.

    Raises:
        ValueError: another run lies there, or this one may not go on with these settings; says what to do.
    """
    record = record_or_nothing(directory)
    if found.state is not None:
        _check_same_run(record, found)
    if rank() > 0:  # the first rank has seen to all that follows
        return Start(record, found, is_finished=False)
    is_finished = record.get("status") == "finished"
    is_begun = is_finished or found.path is not None
    if is_begun and config.resume != "auto":
        raise ValueError(
            f"{directory} holds a run already ({record.get('status', 'its record is lost')}): "
            "give resume=auto to go on with it, or another directory"
        )
    stored = stored_config(directory, found)
    if is_begun and stored is not None:
        _check_settings(stored, config, origin)
        if config.epochs != stored.epochs:
            _check_longer(stored, config, found)
            is_finished = False
    set_aside(found.damaged)
    return Start(record if config.resume == "auto" else {}, found, is_finished)


def stored_config(directory: Path, found: Found) -> DictConfig | None:
    """The config that a run began with: as its checkpoint has it, else as config.yaml does; None when both are lost."""
    path = directory / "config.yaml"
    try:
        written = OmegaConf.load(path) if path.is_file() else None
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException):
        log.warning("%s is damaged", path)
        written = None
    if found.state is None:
        return written if isinstance(written, DictConfig) else None
    kept = OmegaConf.create(found.state["run"]["config"])
    assert isinstance(kept, DictConfig)
    if written != kept and rank() == 0:
        log.warning("%s is not what the run began with: it is restored from %s", path, found.path)
    return kept


def config_to_resume(directory: Path, found: Found, changes: Sequence[str]) -> tuple[DictConfig, Origin]:
    """The config of a run that is to go on, with changes of the form key=value.

    Raises:
        ValueError: no run is there, its config is lost, or a change names no key.
    """
    record = record_or_nothing(directory)
    if found.state is not None:
        _check_same_run(record, found)
    config = stored_config(directory, found)
    if config is None:
        raise ValueError(f"{directory} holds no run to go on with: neither config.yaml nor a checkpoint is whole")
    for change in changes:
        key = change.partition("=")[0]
        if "=" not in change or key not in dict(_leaves(config)):
            raise ValueError(f"{change}: expected key=value, {suggest(key, [name for name, _ in _leaves(config)])}")
        config.merge_with_dotlist([change])
        if key == "epochs" and config.trainer.max_epochs is not None:
            config.trainer.max_epochs = config.epochs
    config.resume = "auto"
    overrides = record.get("overrides") or (found.state or {}).get("run", {}).get("overrides", [])
    return config, Origin([*overrides, *changes])


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


def warn_of_other_machine(found: Found, facts: Mapping[str, Any]) -> None:
    """Says when bits may differ because the attempt before ran elsewhere."""
    before = found.state["run"] if found.state else facts
    for key in ("device", "precision"):
        if before[key] != facts[key]:
            log.warning("%s was %s before and is %s now: the last bits may differ", key, before[key], facts[key])


def _check_same_run(record: dict[str, Any], found: Found) -> None:
    run_id = found.state["run"]["run_id"] if found.state else None
    if record.setdefault("run_id", run_id) != run_id:
        raise ValueError(f"{found.path} is of another run than run.json: put this run's own back, or delete it")


def _check_settings(stored: DictConfig, config: DictConfig, origin: Origin) -> None:
    before, now = dict(_leaves(stored)), dict(_leaves(config))
    for key in sorted(before.keys() | now.keys()):
        is_ruled = any(key == name or key.startswith(name + ".") for name in (*FREE, *RULED))
        if not is_ruled and before.get(key) != now.get(key):
            raise ValueError(
                f"{key}={now.get(key)}{origin.of(key)}, but the run in this directory has {before.get(key)}: "
                "go on with its own settings, or give another directory"
            )


def _check_longer(stored: DictConfig, config: DictConfig, found: Found) -> None:
    """Lets training be longer where each step taken so far would have been the same."""
    change = f"epochs={config.epochs}"
    if config.steps is not None or config.epochs is None or stored.epochs is None:
        raise ValueError(f"{change}: steps={stored.steps} decides when this run ends, and its last epoch was cut short")
    if config.epochs < stored.epochs:
        raise ValueError(f"{change} is less than the {stored.epochs} that the run has: it may only be raised")
    if found.state is None:
        raise ValueError(f"{change}: the run's checkpoints are lost: train anew")
    before = found.state["total_steps"]
    after = before // stored.trainer.max_epochs * config.trainer.max_epochs
    make_schedule = hydra.utils.instantiate(config.schedule, _convert_="all")
    differs = first_step_that_differs(make_schedule, before, after, found.state["global_step"])
    if differs is not None:
        raise ValueError(
            f"{change}: this schedule spreads over all of training, so with more epochs step {differs}, which is taken "
            "already, would have had another learning rate: train anew, or choose schedule=constant or plateau"
        )


def _leaves(node: DictConfig | dict[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Each plain value or list of a config with its dotted path."""
    for key, value in node.items():
        if isinstance(value, DictConfig | dict):
            yield from _leaves(value, f"{path}{key!s}.")
        else:
            yield f"{path}{key!s}", value
