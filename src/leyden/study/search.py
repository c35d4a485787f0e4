"""Space > **search** > loop: asks Optuna for the settings of the next job, and tells it what came of each.

All that is known of a search lies in its storage and in its jobs' directories, so that after any end the same command
goes on with it. Read `space.py` (what is searched), `samplers.py` (who chooses), `objectives.py` (what is better).
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from leyden.callbacks.trial import TRIAL_FILE, write_trial
from leyden.run import read_record
from leyden.study.job import Job
from leyden.study.objectives import check_objectives, direction_of, read_values
from leyden.study.samplers import check_sampler, make_sampler
from leyden.study.space import parse_space
from leyden.study.storage import STUDY_NAME, make_pruner, open_storage, optuna

log = logging.getLogger(__name__)

COMPLETE, PRUNED, FAIL, RUNNING = (optuna.trial.TrialState[name] for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING"))


class Best(NamedTuple):
    """One of a search's best trials."""

    job: str  # its id
    values: dict[str, float]  # objective -> value
    overrides: tuple[str, ...]  # of the searched keys


class Search:
    """A source of jobs: `next` gives one to run, `tell` takes it back when it has ended for good.

    `make_job` composes and checks a job from its overrides and raises ValueError where they are wrong. `n_trials`
    counts all trials of the search, those of earlier commands too; null is for `sampler=grid`, which has an end.
    With `is_plan` a new search is not kept.

    Raises:
        ValueError: an option or a value that would be searched is wrong, or the directory holds another search.
    """

    is_adaptive = True

    def __init__(
        self,
        directory: Path,
        make_job: Callable[[Sequence[str]], Job],
        fixed: Sequence[str],
        swept: Sequence[Override],
        *,
        n_trials: int | None,
        sampler: str = "tpe",
        seed: int = 0,
        sampler_arguments: Mapping[str, Any] | None = None,
        objectives: Sequence[str] | None = None,
        pruner: str = "none",
        pruner_arguments: Mapping[str, Any] | None = None,
        storage: str = "journal",
        is_plan: bool = False,
    ) -> None:
        self.directory, self.make_job, self.fixed = directory, make_job, list(fixed)
        self.space = parse_space(swept)
        self.sampler, self.seed, self.sampler_arguments = sampler, seed, dict(sampler_arguments or {})
        self.storage, self.pruner, self.pruner_arguments = storage, pruner, dict(pruner_arguments or {})
        judge = make_pruner(pruner, self.pruner_arguments)
        self.example = self._try_values()
        config = self.example.config
        self.objectives = list(objectives or [config["monitor"]])
        check_objectives(self.objectives, config)
        check_sampler(sampler, self.space, len(self.objectives))
        make_sampler(sampler, seed, 0, self.sampler_arguments, self.space)
        self.total = self._number_of_trials(n_trials)
        if pruner != "none" and self.objectives != [config["monitor"]]:
            raise ValueError(
                f"hydra.sweeper.pruner={pruner} judges by monitor={config['monitor']} alone, and the objectives are "
                f"{', '.join(self.objectives)}: make them the same, or choose pruner=none"
            )
        self.study = optuna.create_study(
            study_name=STUDY_NAME, storage=open_storage(directory, storage, is_plan), pruner=judge,
            load_if_exists=True, directions=[direction_of(name) for name in self.objectives],
        )  # fmt: skip
        self._check_same_search()
        self.to_resume: list[optuna.trial.FrozenTrial] | None = None  # not known before nobody else may end one of them
        self.waits = False
        self.under_way: dict[str, list[int]] = {}  # job id -> the trials that it is, when asked for more than once

    def next(self) -> Job | None:
        """The next job, first those that an earlier process had begun; None when all trials are given out."""
        while not self.waits and (trial := self._next_trial()) is not None:
            number, values = trial
            overrides = self._overrides(values)
            try:
                job = self.make_job([*self.fixed, *overrides])
            except ValueError as error:
                log.warning("trial %d (%s) is wrong and counts as failed: %s", number, " ".join(overrides), error)
                self._fail(number, str(error))
                continue
            self._note(number, job=job.id, overrides=overrides)
            trials = self.under_way.setdefault(job.id, [])
            trials.append(number)
            if len(trials) > 1:  # these settings are being tried: what comes of them is told to both, and learned from
                self.waits = True
                return None
            if self.pruner == "none":
                (job.directory / TRIAL_FILE).unlink(missing_ok=True)  # of a command that pruned
            else:
                write_trial(
                    job.directory, storage=self.storage, number=number, pruner=self.pruner,
                    arguments=self.pruner_arguments,
                )  # fmt: skip
            return job
        return None

    def tell(self, job: Job) -> None:
        """Tells the storage what the job's directory says: its values, that it was pruned, or that it failed."""
        self.waits = False
        for number in self.under_way.pop(job.id):
            try:
                record = read_record(job.directory)
                if record["status"] == "finished":
                    self.study.tell(number, read_values(job.directory, self.objectives), COMPLETE)
                elif record["status"] == "pruned":
                    self.study.tell(number, state=PRUNED)
                else:
                    self._fail(number, str(record.get("reason") or record["status"]))
            except ValueError as error:
                self._fail(number, str(error))

    def leave(self, job: Job) -> None:
        """Gives up waiting for a job that is to go on another time: its settings may be chosen, and begun, again."""
        self.waits = False
        del self.under_way[job.id]

    @property
    def num_left(self) -> int:
        """How many trials are not over."""
        return self.total - _num_over(self.counts)

    @property
    def counts(self) -> Counter[str]:
        """How many trials there are of each of Optuna's states, in lower case."""
        return Counter(trial.state.name.lower() for trial in self.study.get_trials(deepcopy=False))

    def describe(self) -> str:
        """How far the search has come, in words."""
        counts = self.counts
        over = _num_over(counts)
        words = ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "fail") if counts[state])
        text = f"{over} of {self.total} trials are over" + (f" ({words})" if words else "")
        if over >= self.total:
            return f"{text}: nothing to do; raise hydra.sweeper.n_trials to search on"
        return text + (f", {counts['running']} were begun and go on" if counts["running"] else "")

    def best(self) -> list[Best]:
        """The best trial; with several objectives those that no other beats in all of them."""
        if not self.counts["complete"]:
            return []
        trials = [self.study.best_trial] if len(self.objectives) == 1 else self.study.best_trials
        return [
            Best(
                trial.user_attrs["job"],
                dict(zip(self.objectives, trial.values, strict=True)),
                tuple(trial.user_attrs["overrides"]),
            )
            for trial in trials
        ]

    def _next_trial(self) -> tuple[int, dict[str, Any]] | None:
        """A trial's number and its values, in the order of the command line."""
        distributions: dict[str, Any] = {key: parameter.distribution for key, parameter in self.space.items()}
        if self.to_resume is None:
            self.to_resume = self.study.get_trials(deepcopy=False, states=(RUNNING,))
        if self.to_resume:
            begun = self.to_resume.pop(0)
            number, values = begun.number, dict(begun.params)
            if values.keys() != distributions.keys():  # killed while its values were chosen
                self.study.sampler = self._sampler_of(number)
                trial = optuna.trial.Trial(self.study, begun._trial_id)
                values = {key: trial._suggest(key, distribution) for key, distribution in distributions.items()}
        else:
            number = len(self.study.get_trials(deepcopy=False))
            if number >= self.total:
                return None
            self.study.sampler = self._sampler_of(number)
            trial = self.study.ask(distributions)
            number, values = trial.number, trial.params
        return number, {key: values[key] for key in self.space}

    def _sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        return make_sampler(self.sampler, self.seed, number, self.sampler_arguments, self.space)

    def _note(self, number: int, **attributes: Any) -> None:
        storage, study = self.study._storage, self.study._study_id
        trial = storage.get_trial_id_from_study_id_trial_number(study, number)
        for key, value in attributes.items():
            storage.set_trial_user_attr(trial, key, value)

    def _fail(self, number: int, reason: str) -> None:
        self._note(number, reason=reason)
        self.study.tell(number, state=FAIL)

    def _number_of_trials(self, n_trials: int | None) -> int:
        if n_trials is None and self.sampler != "grid":
            raise ValueError(
                "hydra.sweeper.n_trials has no value: give the number of trials in all, as in …n_trials=50"
            )
        if n_trials is not None and n_trials < 1:
            raise ValueError(f"hydra.sweeper.n_trials={n_trials} is out of range: give 1 or more")
        if self.sampler != "grid":
            assert n_trials is not None
            return n_trials
        num_cells = math.prod(len(parameter.cells or ()) for parameter in self.space.values())
        return num_cells if n_trials is None else min(n_trials, num_cells)

    def _try_values(self) -> Job:
        """Composes a job with each value of a choice and the ends of each range, so that a wrong one is named before
        anything starts; returns the first job.
        """
        first = {key: parameter.ends[0] for key, parameter in self.space.items()}
        job = self._compose(first)
        for key, parameter in self.space.items():
            for value in parameter.ends[1:]:
                self._compose(first | {key: value})
        return job

    def _compose(self, values: Mapping[str, Any]) -> Job:
        return self.make_job([*self.fixed, *self._overrides(values)])

    def _overrides(self, values: Mapping[str, Any]) -> list[str]:
        return [self.space[key].override(value) for key, value in values.items()]

    def _check_same_search(self) -> None:
        """Holds what the storage was made for against what is asked: trials of two kinds cannot be compared."""
        asked = {
            "objectives": self.objectives,
            "space": {key: str(parameter.distribution) for key, parameter in self.space.items()},
        }
        stored = self.study.user_attrs
        other = f"{self.directory} holds another search: give study=… another name, or search"
        for key, value in asked.items():
            if key not in stored:
                self.study.set_user_attr(key, value)
            elif stored[key] != value:
                raise ValueError(f"{other} {stored[key]} as it did, not {value}")
        for trial in self.study.get_trials(deepcopy=False):
            if "job" in trial.user_attrs:
                job = self.make_job([*self.fixed, *trial.user_attrs["overrides"]])
                if job.id != trial.user_attrs["job"]:
                    raise ValueError(f"{other} with the other settings as they were: {' '.join(self.fixed) or 'none'}")
                return


def _num_over(counts: Counter[str]) -> int:
    return counts.total() - counts["running"]
