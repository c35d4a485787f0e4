"""A search asks for jobs and is told of them, and after any end the same command goes on with it."""

import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from leyden.callbacks.trial import TRIAL_FILE
from leyden.check import check
from leyden.config import CONFIG_DIRECTORY, Origin
from leyden.study.job import Job
from leyden.study.objectives import read_values
from leyden.study.search import Search
from leyden.study.storage import open_storage
from running import TINY, compose_config

pytestmark = pytest.mark.whole

CHOICE, RATE, DROPOUT = (
    "optimizer=adam,sgd",
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
    "head.dropout=range(0,0.5,0.1)",
)
BASE: Any = OmegaConf.to_container(compose_config(*TINY))


class Composer:
    """Stands for the plan: jobs by the hash of their overrides, all with the same config."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, overrides: Sequence[str]) -> Job:
        number = sha256(" ".join(sorted(overrides)).encode()).hexdigest()[:8]
        facts: dict[str, Any] = {"factors": {}, "config": BASE, "choices": {}, "config_directories": (), "devices": 1}
        return Job(number, self.directory / number, tuple(overrides), **facts)


def search(directory: Path, *lines: str, fixed: Sequence[str] = (), make_job: Any = None, **options: Any) -> Search:
    swept = OverridesParser.create().parse_overrides(list(lines or (CHOICE, RATE)))
    return Search(directory, make_job or Composer(directory), fixed, swept, **{"n_trials": 12, **options})


def goodness(job: Job) -> float:
    """Best for sgd at a learning rate of 0.01."""
    values = dict(override.split("=") for override in job.overrides)
    distance = abs(math.log10(float(values.get("optimizer.lr", 0.01))) + 2)
    return 1 - distance / 5 - 0.2 * (values.get("optimizer") == "adam")


def end(job: Job, status: str = "finished", **more: Any) -> None:
    """Leaves behind what a run of that job would."""
    job.directory.mkdir(parents=True, exist_ok=True)
    metrics = {"best/epoch": 1, "best/val/accuracy": goodness(job)}
    record = {"status": status, "metrics": metrics, "seconds": 2.0, "parameters": 7, "attempts": [], **more}
    (job.directory / "run.json").write_text(json.dumps(record))


def play(source: Search, at_once: int = 1, most: int = 10_000) -> list[Job]:
    """What the loop does: keeps `at_once` jobs under way until none is left."""
    begun: list[Job] = []
    under_way: list[Job] = []
    while len(begun) < most:
        while len(under_way) < at_once and (job := source.next()) is not None:
            under_way.append(job)
            begun.append(job)
        if not under_way:
            break
        end(under_way[0])
        source.tell(under_way.pop(0))
    return begun


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "qmc"])
def test_a_seeded_search_is_the_same_again_in_one_go_or_in_three(sampler: str, tmp_path: Path) -> None:
    whole = [job.overrides for job in play(search(tmp_path / "whole", sampler=sampler, seed=3))]
    parts: list[Any] = []
    for n_trials in (4, 5, 12):
        source = search(tmp_path / "parts", sampler=sampler, seed=3, n_trials=n_trials)
        parts += [job.overrides for job in play(source)]
        assert len(parts) == n_trials == source.total
    assert parts == whole
    assert len(set(whole)) == 12
    other = [job.overrides for job in play(search(tmp_path / "other", sampler=sampler, seed=4, n_trials=4))]
    assert other != whole[:4]


def test_a_search_finds_what_is_good_and_names_the_best(tmp_path: Path) -> None:
    source = search(tmp_path, n_trials=40)
    jobs = play(source, at_once=4)
    (best,) = source.best()
    found = max(jobs, key=goodness)
    assert (best.job, best.values, best.overrides) == (found.id, {"val/accuracy": goodness(found)}, found.overrides)
    assert "optimizer=sgd" in best.overrides
    late, early = (sum(map(goodness, part)) / 20 for part in (jobs[20:], jobs[:20]))
    assert late > early


def test_a_finished_search_says_so_and_runs_nothing(tmp_path: Path) -> None:
    play(search(tmp_path, n_trials=3))
    source = search(tmp_path, n_trials=3)
    assert source.next() is None
    assert source.describe() == (
        "3 of 3 trials are over (3 complete): nothing to do; raise hydra.sweeper.n_trials to search on"
    )


def test_a_grid_has_every_cell_once_whatever_fails_and_however_often_it_is_begun(tmp_path: Path) -> None:
    overrides = []
    for number in range(4):
        source = search(tmp_path, CHOICE, DROPOUT, sampler="grid", n_trials=None)
        for _ in range(3):
            if (job := source.next()) is not None:
                overrides.append(job.overrides)
                end(job, "failed" if number == 1 else "finished")
                source.tell(job)
    assert source.total == len(overrides) == len(set(overrides)) == 10
    assert source.counts == {"complete": 7, "fail": 3}
    assert set(overrides) == {
        (f"optimizer={name}", f"head.dropout={rate}") for name in ("adam", "sgd") for rate in (0, 0.1, 0.2, 0.3, 0.4)
    }
    assert source.next() is None


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_trials_under_way_at_a_kill_are_handed_out_again_first(storage: str, tmp_path: Path) -> None:
    first = search(tmp_path, storage=storage)
    begun = [first.next() for _ in range(3)]
    assert begun[1] is not None
    end(begun[1])
    first.tell(begun[1])
    del first  # nothing else is ever written
    second = search(tmp_path, storage=storage)
    assert second.describe() == "1 of 12 trials are over (1 complete), 2 were begun and go on"
    assert [second.next(), second.next()] == [begun[0], begun[2]]
    second = search(tmp_path, storage=storage)
    play(second, at_once=2)
    assert second.counts == {"complete": 12}


def campaign(directory: Path, num_kills: int) -> None:
    """Plays a search in processes that are killed at random moments."""
    moments = random.Random(0)
    for _ in range(num_kills):
        if (child := os.fork()) == 0:
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.01, 0.25))  # nobody handles SIGALRM: it kills
            play(search(directory, n_trials=40, sampler="random"), at_once=2)
            os._exit(0)
        os.waitpid(child, 0)
        moments.random()


def test_a_search_killed_at_any_moment_has_n_trials_in_all_and_none_twice(tmp_path: Path) -> None:
    code = (
        f"import sys; from pathlib import Path; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]}; "
        f"from test_search import campaign; campaign(Path({str(tmp_path)!r}), 12)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    source = search(tmp_path, n_trials=40, sampler="random")
    assert sum(source.counts.values()) > 0
    play(source)
    assert source.counts == {"complete": 40}
    params = [tuple(trial.params.values()) for trial in source.study.get_trials()]
    assert len(set(params)) == 40
    jobs = {trial.user_attrs["job"] for trial in source.study.get_trials()}
    assert len(list(tmp_path.glob("*/run.json"))) == len(jobs) == 40


def test_half_a_line_that_a_dead_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    play(search(tmp_path, n_trials=2))
    with (tmp_path / "optuna.journal").open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    source = search(tmp_path, n_trials=4)
    play(source)
    assert search(tmp_path, n_trials=4).counts == {"complete": 4}


def test_a_trial_killed_while_its_values_were_chosen_gets_the_others(tmp_path: Path) -> None:
    first = search(tmp_path)
    first.study.ask({"optimizer": first.space["optimizer"].distribution})
    second = search(tmp_path)
    job = second.next()
    assert job is not None
    assert [override.split("=")[0] for override in job.overrides] == ["optimizer", "optimizer.lr"]
    assert len(second.study.get_trials()) == 1


def test_settings_that_are_being_tried_are_not_begun_twice_and_told_to_all(tmp_path: Path) -> None:
    source = search(tmp_path, CHOICE, sampler="random", n_trials=8)
    jobs = play(source, at_once=4)
    assert len({job.id for job in jobs}) == 2
    assert len(jobs) < 8
    assert source.counts == {"complete": 8}
    for trial in source.study.get_trials():
        assert trial.value == goodness(Composer(tmp_path)(trial.user_attrs["overrides"]))


def test_settings_of_a_run_that_was_left_can_be_begun_again(tmp_path: Path) -> None:
    source = search(tmp_path, CHOICE, sampler="random", n_trials=8)
    job = source.next()
    assert job is not None
    source.leave(job)  # it was killed, and its trial goes on with the next command
    assert job in play(source)
    assert source.counts == {"complete": 7, "running": 1}


def test_a_trial_that_another_process_ends_meanwhile_is_not_begun_again(tmp_path: Path) -> None:
    first = search(tmp_path)
    job = first.next()
    assert job is not None
    second = search(tmp_path)
    end(job)
    first.tell(job)
    assert second.next() not in (None, job)


@pytest.mark.parametrize(
    ("status", "more", "state", "reason"),
    [
        ("failed", {"reason": "the loss became nan"}, "fail", "the loss became nan"),
        ("interrupted", {"reason": "stopped by SIGTERM"}, "fail", "stopped by SIGTERM"),
        ("running", {"reason": None}, "fail", "running"),
        ("pruned", {"reason": "pruned after epoch 1"}, "pruned", None),
        ("finished", {"metrics": {}}, "fail", "has no val/accuracy"),
        ("finished", {"metrics": {"best/val/accuracy": float("nan")}}, "fail", "that is a number"),
    ],
)
def test_how_a_job_ended_is_how_its_trial_ends(
    status: str, more: Mapping[str, Any], state: str, reason: str | None, tmp_path: Path
) -> None:
    source = search(tmp_path, n_trials=1)
    job = source.next()
    assert job is not None
    end(job, status, **more)
    source.tell(job)
    assert source.counts == {state: 1}
    told = source.study.get_trials()[0].user_attrs.get("reason")
    assert told == reason or reason in told


def test_a_job_that_left_no_record_has_failed(tmp_path: Path) -> None:
    source = search(tmp_path, n_trials=1)
    job = source.next()
    assert job is not None
    source.tell(job)
    assert source.counts == {"fail": 1}
    assert source.best() == []


def test_a_trial_that_cannot_be_composed_has_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    def make_job(overrides: Sequence[str]) -> Job:
        if "head.dropout=0.3" in overrides and "optimizer=sgd" in overrides:
            raise ValueError("sgd does not go with 0.3")
        return Composer(tmp_path)(overrides)

    source = search(tmp_path, CHOICE, DROPOUT, sampler="grid", n_trials=None, make_job=make_job)
    assert len(play(source)) == 9
    assert source.counts == {"complete": 9, "fail": 1}


def test_several_objectives_have_a_front_that_no_trial_beats(tmp_path: Path) -> None:
    source = search(tmp_path, objectives=["val/accuracy", "parameters", "seconds"], n_trials=10)
    rng = random.Random(1)
    jobs, values = [], []
    while (job := source.next()) is not None:
        seconds, parameters = rng.randrange(1, 9), rng.randrange(1, 9)
        attempts = [{"seconds": 1.5}, {"seconds": None}]  # of a killed one it is not known
        end(job, seconds=seconds, parameters=parameters, attempts=attempts)
        source.tell(job)
        jobs.append(job)
        values.append((goodness(job), parameters, seconds + 1.5))
    front = {
        (job.id, value)
        for job, value in zip(jobs, values, strict=True)
        if not any(o != value and o[0] >= value[0] and o[1] <= value[1] and o[2] <= value[2] for o in values)
    }
    assert {(best.job, tuple(best.values.values())) for best in source.best()} == front


def test_other_objectives_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    job = Composer(tmp_path)([])
    end(job)
    rows = "epoch,step,val/loss,train/loss\n0,9,0.9,\n0,10,,1.1\n1,19,0.5,\n1,20,,0.6\n2,29,0.4,0.3\n"
    (job.directory / "metrics.csv").write_text(rows)
    assert read_values(job.directory, ["val/loss", "train/loss", "val/accuracy"]) == [0.5, 0.6, goodness(job)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_trials": None}, "hydra.sweeper.n_trials has no value"),
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0 is out of range"),
        ({"sampler": "tpee"}, "hydra.sweeper.sampler=tpee: did you mean 'tpe'?"),
        ({"sampler": "grid"}, "optimizer.lr is an interval"),
        ({"sampler": "cmaes", "objectives": ["val/loss", "seconds"]}, "is for one objective"),
        ({"sampler_arguments": {"multivariat": True}}, "sampler_arguments.multivariat': did you mean 'multivariate'?"),
        ({"sampler": "qmc", "sampler_arguments": {"qmc_type": "x"}}, "hydra.sweeper.sampler=qmc with"),
        ({"pruner": "medan"}, "hydra.sweeper.pruner=medan: did you mean 'median'?"),
        ({"pruner": "percentile"}, "missing 1 required positional argument: 'percentile'"),
        ({"pruner": "median", "objectives": ["val/accuracy", "seconds"]}, "judges by monitor=val/accuracy alone"),
        ({"pruner": "median", "objectives": ["val/loss"]}, "judges by monitor=val/accuracy alone"),
        ({"storage": "redis"}, "hydra.sweeper.storage=redis: expected one of journal, sqlite"),
        ({"objectives": ["test/accuracy"]}, "is not to choose by"),
        ({"objectives": ["val/acuracy"]}, "did you mean 'val/accuracy'?"),
        ({"objectives": ["val/loss", "val/loss"]}, "each once"),
    ],
)
def test_a_wrong_option_is_named_before_anything_starts(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        search(tmp_path / "study", **options)
    assert words in str(raised.value)
    assert not list(tmp_path.glob("study/*"))


def test_a_wrong_value_among_those_to_choose_from_is_named_before_anything_starts(tmp_path: Path) -> None:
    def make_job(overrides: Sequence[str]) -> Job:
        check(compose_config(*TINY, *overrides), Origin(overrides))
        return Composer(tmp_path)(overrides)

    with pytest.raises(ValueError, match=r"batch_size=0 is out of range \(override batch_size=0\)"):
        search(tmp_path / "study", "batch_size=64,0", make_job=make_job)
    assert not (tmp_path / "study").exists()


def test_another_search_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    play(search(tmp_path, n_trials=2))
    changes: list[tuple[Sequence[str], dict[str, Any]]] = [
        ((), {"objectives": ["val/loss"]}), ((CHOICE,), {}), ((), {"fixed": ["epochs=3"]}),
    ]  # fmt: skip
    for lines, options in changes:
        with pytest.raises(ValueError, match="holds another search: give study=… another name"):
            search(tmp_path, *lines, **options)
    play(search(tmp_path, n_trials=4, sampler="random", seed=9, pruner="median"))  # who chooses may change


def test_search_that_prunes_no_more_leaves_no_pruner_to_its_runs(tmp_path: Path) -> None:
    for pruner, is_there in {"median": True, "none": False}.items():  # the first was killed
        job = search(tmp_path, n_trials=1, pruner=pruner).next()
        assert job is not None
        assert (job.directory / TRIAL_FILE).is_file() == is_there


@pytest.mark.parametrize("pruner", ["median", "percentile", "hyperband", "successive_halving"])
def test_jobs_of_a_pruned_search_run_for_real_and_fall_behind_for_real(
    pruner: str, tmp_path: Path, train_job: Callable[[Job], int]
) -> None:
    """Learning rates far too small after ones that learn: the search gives them up after an epoch or two."""

    def make_job(overrides: Sequence[str]) -> Job:
        config = compose_config(*TINY, "epochs=3", *overrides)
        check(config, Origin(overrides))
        settings: Any = OmegaConf.to_container(config)
        number = sha256(json.dumps(settings).encode()).hexdigest()[:8]
        return Job(number, tmp_path / number, tuple(overrides), {}, settings, {}, (CONFIG_DIRECTORY,), 1)

    arguments = {
        "median": {"n_startup_trials": 1},
        "percentile": {"percentile": 25.0, "n_startup_trials": 1},
        "hyperband": {"min_resource": 1, "max_resource": 3, "reduction_factor": 2},
        "successive_halving": {"min_resource": 1, "reduction_factor": 2},
    }[pruner]
    rates = "optimizer.lr=0.02,0.01,1e-6,2e-6"
    source = search(
        tmp_path, rates, make_job=make_job, sampler="grid", n_trials=None, pruner=pruner, pruner_arguments=arguments
    )
    while (job := source.next()) is not None:
        assert train_job(job) == 0
        source.tell(job)
    states = [trial.state.name for trial in source.study.get_trials()]
    assert states[0] == "COMPLETE"
    assert "PRUNED" in states[1:]
    (best,) = source.best()
    assert best.overrides in (("optimizer.lr=0.02",), ("optimizer.lr=0.01",))


@pytest.fixture
def train_job() -> Callable[[Job], int]:
    from leyden.command_line import train_composed

    return lambda job: train_composed(job.config, job.directory, Origin(job.overrides, {}, job.config_directories))


def test_the_storage_is_one_that_optuna_s_own_tools_read(tmp_path: Path) -> None:
    play(search(tmp_path, storage="sqlite", n_trials=3))
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'optuna.db'}")
    assert (summary.study_name, summary.n_trials, summary.direction.name) == ("search", 3, "MAXIMIZE")
    assert open_storage(tmp_path, "sqlite").get_n_trials(summary._study_id) == 3
