"""Space > **samplers** > search: who chooses the values of the next trial, without a state of its own.

A sampler is made anew for each trial, from the search's seed and the trial's number: a search that goes on after its
process was killed neither repeats itself nor needs a saved generator. What else a sampler knows, it reads in the
storage.
"""

import importlib.util
import logging
import math
import random
from collections.abc import Mapping
from typing import Any

from leyden.config import suggest
from leyden.study.space import Parameter
from leyden.study.storage import build, optuna

log = logging.getLogger(__name__)

SAMPLERS = ("tpe", "cmaes", "random", "qmc", "grid")
PACKAGES = {"cmaes": "cmaes", "qmc": "scipy"}  # that Optuna itself does not bring along


class Grid(optuna.samplers.BaseSampler):
    """Gives trial `n` the `n`th combination of all values; the last key changes fastest."""

    def __init__(self, space: Mapping[str, Parameter]) -> None:
        for parameter in space.values():
            if parameter.cells is None:
                raise ValueError(
                    f"hydra.sweeper.sampler=grid: {parameter.key} is an interval, which has no end of values: "
                    "give a choice or a range"
                )
        self.columns = {key: parameter.cells or [] for key, parameter in space.items()}

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        names, cells = list(self.columns), self.columns[param_name]
        repeats = math.prod(len(self.columns[name]) for name in names[names.index(param_name) + 1 :])
        return cells[trial.number // repeats % len(cells)]


def check_sampler(name: str, space: Mapping[str, Parameter], num_objectives: int) -> None:
    """Refuses a sampler that cannot search this space, or whose package is missing."""
    if name not in SAMPLERS:
        raise ValueError(f"hydra.sweeper.sampler={name}: {suggest(name, SAMPLERS)}")
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        raise ValueError(f"hydra.sweeper.sampler={name} needs the package {package}: pip install {package}")
    if name != "cmaes":
        return
    if num_objectives > 1:
        raise ValueError(
            "hydra.sweeper.sampler=cmaes is for one objective: choose tpe, random, qmc or grid for several"
        )
    chosen = [key for key, parameter in space.items() if _is_choice(parameter)]
    if len(chosen) == len(space):
        raise ValueError("hydra.sweeper.sampler=cmaes needs a range or an interval: choose tpe for choices alone")
    if chosen:
        log.warning("hydra.sweeper.sampler=cmaes is for numbers: %s is drawn at random", ", ".join(chosen))


def make_sampler(
    name: str, seed: int, number: int, arguments: Mapping[str, Any], space: Mapping[str, Parameter]
) -> optuna.samplers.BaseSampler:
    """The sampler of trial `number`."""
    drawn = random.Random(f"{seed}/{number}").getrandbits(32)
    sampler: optuna.samplers.BaseSampler
    match name:
        case "grid":
            sampler = build("sampler", name, Grid, arguments, space=space)
        case "random":
            sampler = build("sampler", name, optuna.samplers.RandomSampler, arguments, seed=drawn)
        case "tpe":  # other trials that run count as bad ones, so that several at a time do not try the same
            sampler = build("sampler", name, optuna.samplers.TPESampler, arguments, seed=drawn, constant_liar=True)
        case "cmaes":
            more: dict[str, Any] = {"seed": drawn, "warn_independent_sampling": False}
            sampler = build("sampler", name, optuna.samplers.CmaEsSampler, arguments, **more)
        case _:  # one sequence for all trials; how far it has come stands in the storage
            first = optuna.samplers.RandomSampler(seed=drawn)
            more = {"seed": seed, "independent_sampler": first, "warn_independent_sampling": False}
            sampler = build("sampler", name, optuna.samplers.QMCSampler, arguments, **more)
    return sampler


def _is_choice(parameter: Parameter) -> bool:
    return isinstance(parameter.distribution, optuna.distributions.CategoricalDistribution)
