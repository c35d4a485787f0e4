"""Config > **plan** > job: which runs a study has, each composed, checked and identified before any of them starts."""

import functools
import hashlib
import itertools
import json
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from leyden.check import GROUPS, check
from leyden.config import FREE, Origin, is_among, leaves
from leyden.errors import explain
from leyden.study.job import Job, in_words

MOST_ERRORS_SHOWN = 5
# A run may find its data moved, but other ones may lie there.
DATA_PATHS = {"data.root", "data.source.directory", "data.source.file", "data.source.path"}
NOT_IN_THE_ID = ("name", *(key for key in FREE if key not in DATA_PATHS))  # no bit of a result depends on them


class PlannedJob(NamedTuple):
    """A job as the plan and the study's record keep it: its config is composed again when its turn comes."""

    id: str
    overrides: tuple[str, ...]
    factors: dict[str, Any]  # swept key -> this job's value
    seed: int
    devices: int


class Plan(NamedTuple):
    """The jobs of a study in their order, and what they share."""

    jobs: list[PlannedJob]
    factors: dict[str, list[Any]]  # swept key -> its levels
    settings: dict[str, Any]  # dotted key -> value, where all jobs have the same
    duplicates: list[str]  # in words


class Composer:
    """Composes one job after the other; the files of a choice of groups are read once.

    `master` is the config of the whole sweep, as Hydra hands it to a sweeper.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, study_directory: Path) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self.loader, self.directory = loader, study_directory
        self.parser = OverridesParser.create(config_loader=loader)
        self.hydra_overrides = [str(override) for override in master.hydra.overrides.hydra]
        sources = master.hydra.runtime.config_sources
        self.config_directories = tuple(Path(source.path) for source in sources if source.schema == "file")
        given = [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]
        searched = [word for word in self.hydra_overrides if "hydra.searchpath=" in word]
        self.options = (*given, *searched)  # that find files
        self.composed: dict[tuple[str, ...], bytes] = {}  # pickled, by the overrides that decide on files
        self.parsed: dict[str, Override] = {}
        self.are_groups: dict[str, bool] = {}
        self.checked: set[tuple[str, str]] = set()  # groups and what stood in them: most are those of many jobs

    def command_line(self, overrides: Iterable[str]) -> list[str]:
        """The arguments of the sweep with these overrides, but for the place of its study."""
        hydra = [word for word in self.hydra_overrides if not word.startswith(("hydra.mode=", "hydra.sweep.dir="))]
        return [*(word for word in self.options if word not in hydra), *hydra, *overrides]

    def compose(self, overrides: Iterable[str]) -> DictConfig:
        """The config of one job, with the options chosen in each group as all that is left of Hydra's own part."""
        parsed = [self.parse(word) for word in (*self.hydra_overrides, *overrides)]
        on_files = [self._decides_on_files(override) for override in parsed]
        groups = tuple(override.input_line or "" for override, yes in zip(parsed, on_files, strict=True) if yes)
        if groups not in self.composed:
            composed = self.loader.load_configuration("train", list(groups), RunMode.RUN, from_shell=False)
            choices = {str(group): option for group, option in composed.hydra.runtime.choices.items()}
            with open_dict(composed):
                composed.hydra = {"runtime": {"choices": choices}}
            self.composed[groups] = pickle.dumps(composed)
        config: DictConfig = pickle.loads(self.composed[groups])  # a seventh of what copy.deepcopy takes
        values = [override for override, yes in zip(parsed, on_files, strict=True) if not yes]
        ConfigLoaderImpl._apply_overrides_to_config(
            [override for override in values if not override.key_or_group.startswith("hydra.")], config
        )
        return config

    def parse(self, word: str) -> Override:
        """An override by its text; most of them are those of many jobs."""
        if word not in self.parsed:
            self.parsed[word] = self.parser.parse_override(word)
        return self.parsed[word]

    def _decides_on_files(self, override: Override) -> bool:
        key = override.key_or_group
        if key not in self.are_groups:
            self.are_groups[key] = self.loader.repository.group_exists(key)
        is_value = not override.is_delete() and isinstance(override.value(), dict)
        return key == "hydra.searchpath" or (self.are_groups[key] and not is_value)

    def make_job(self, overrides: Sequence[str], factors: Mapping[str, Any] | None = None) -> Job:
        """One job, composed and checked.

        Raises:
            ValueError: its config is wrong; names the key and the override.
        """
        try:
            config = self.compose(overrides)
            choices = {group: option for group, option in config.hydra.runtime.choices.items() if "hydra" not in group}
            OmegaConf.resolve(config)
            with open_dict(config):
                del config["hydra"]
            settings: Any = OmegaConf.to_container(config)
            seen = {group: json.dumps(settings[group], default=str) for group in GROUPS}
            fresh = [group for group in GROUPS if (group, seen[group]) not in self.checked]
            check(config, Origin(list(overrides), choices, self.config_directories), fresh)
            _try_small_parts(config, fresh)
            devices = settings["trainer"].get("devices", 1)
            if devices != "auto" and (not isinstance(devices, int) or devices < 1):
                raise ValueError(
                    f"trainer.devices={devices}: a study hands devices out itself: give how many each run takes"
                )
            self.checked |= seen.items()
        except Exception as error:
            raise ValueError(explain(error, overrides)) from error
        if settings["pictures"] is None:  # they take as long as a small network's training
            settings["pictures"] = False
        identity = job_id(settings)
        return Job(
            id=identity,
            directory=self.directory / identity,
            overrides=tuple(overrides),
            factors=dict(factors or {}),
            config=settings,
            choices=choices,
            config_directories=self.config_directories,
            options=self.options,
            devices=1 if devices == "auto" else devices,
        )


def _try_small_parts(config: DictConfig, groups: Sequence[str]) -> None:
    """Makes the parts that cost nothing, whose own checks know the ranges of their values."""
    from leyden.build import instantiate
    from leyden.optim import check_hyperparameters

    if "head" in groups:
        instantiate(config.head, num_features=64, num_classes=10)
    if "optimizer" in groups:
        check_hyperparameters(instantiate(config.optimizer))


def job_id(settings: Mapping[str, Any]) -> str:
    """A hash of all settings that a result depends on; not of paths, of the loggers or of how many workers decode."""
    kept = {key: _number(value) for key, value in identifying(settings).items()}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:10]


def identifying(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of the settings that a result depends on."""
    return {key: value for key, value in leaves(settings) if _identifies(key)}


@functools.cache
def _identifies(key: str) -> bool:
    return not is_among(key, NOT_IN_THE_ID)


def _number(value: Any) -> Any:
    """0, 0.0 and -0.0 are the same setting."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) + 0.0 if isinstance(value, int | float) and not isinstance(value, bool) else value


def grid(overrides: Sequence[Override]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every combination of the swept values: the overrides of each job, and the factors among them.

    A key stays a factor where one value overrules several: the study may have, or get, the others by other lines.

    Raises:
        ValueError: a value is a range to search in, of which a grid knows no values.
    """
    columns: dict[str, list[tuple[str, Any]]] = {}
    for override in overrides:
        key = override.get_key_element()
        if key == "study" and override.is_sweep_override():
            raise ValueError(f"{override.input_line}: one study at a time")
        if not override.is_sweep_override():
            word = override.input_line or f"{key}={override.get_value_element_as_str()}"
            columns[key] = [(word, columns[key][0][1] if key in columns else None)]
        elif override.is_discrete_sweep():
            columns[key] = [(f"{key}={value}", override.key_or_group) for value in override.sweep_string_iterator()]
        else:
            raise ValueError(
                f"{override.input_line}: a grid needs values, as in {key}=1,2,3: give some, or search in it with "
                "hydra/sweeper=optuna"
            )
        if not columns[key]:
            raise ValueError(f"{override.input_line}: there is no value to try")
    jobs = []
    for combination in itertools.product(*columns.values()):
        words = tuple(word for word, _ in combination)
        jobs.append((words, {factor: word for word, factor in combination if factor is not None}))
    return jobs


def make_plan(composer: Composer, overrides: Sequence[Override]) -> Plan:
    """Composes and checks every job of a grid.

    Raises:
        ValueError: jobs whose config is wrong are named with the reason, the same reason once.
    """
    jobs: dict[str, PlannedJob] = {}
    factors: dict[str, list[Any]] = {}
    shared: dict[str, Any] | None = None
    errors: dict[str, list[str]] = {}
    duplicates = []
    combinations = grid(overrides)
    for words, swept in combinations:
        levels = {key: composer.parse(word).value() for key, word in swept.items()}
        shown = " ".join(swept.values())
        try:
            job = composer.make_job(words, levels)
        except ValueError as error:
            errors.setdefault(str(error), []).append(shown)
            continue
        if job.id in jobs:
            duplicates.append(f"{shown} is the same run as an earlier one ({in_words(jobs[job.id].factors)})")
            continue
        jobs[job.id] = planned(job)
        for key, level in levels.items():
            if level not in factors.setdefault(key, []):
                factors[key].append(level)
        mine = what_is_shared(job)
        shared = mine if shared is None else {key: mine[key] for key in shared if mine.get(key, ...) == shared[key]}
    if errors:
        raise ValueError(_describe_errors(errors, len(combinations)))
    return Plan(list(jobs.values()), factors, shared or {}, duplicates)


def planned(job: Job) -> PlannedJob:
    """What is kept of a job."""
    return PlannedJob(job.id, job.overrides, dict(job.factors), job.config["seed"], job.devices)


def plan_of(job: Job) -> Plan:
    """The plan of one job more."""
    return Plan([planned(job)], {key: [value] for key, value in job.factors.items()}, what_is_shared(job), [])


def what_is_shared(job: Job) -> dict[str, Any]:
    """The settings of a job and the options that it chose, by key, as far as its results depend on them."""
    chosen = {group: option for group, option in job.choices.items() if _identifies(group) and group != "study"}
    return identifying(job.config) | chosen


def _describe_errors(errors: Mapping[str, list[str]], num_jobs: int) -> str:
    num_wrong = sum(len(jobs) for jobs in errors.values())
    if num_wrong == num_jobs and len(errors) == 1:
        return next(iter(errors))
    shown = []
    for reason, jobs in list(errors.items())[:MOST_ERRORS_SHOWN]:
        others = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        shown.append(f"{reason} [{jobs[0]}{others}]")
    more = f"; and {len(errors) - MOST_ERRORS_SHOWN} other reasons" if len(errors) > MOST_ERRORS_SHOWN else ""
    return f"{num_wrong} of the {num_jobs} runs cannot be made, so none was started: {'; '.join(shown)}{more}"
