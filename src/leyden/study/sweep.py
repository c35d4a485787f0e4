"""Config > **study** > plan > loop: `leyden train -m …` from its overrides to its results."""

import contextlib
import functools
import logging
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from leyden.config import suggest
from leyden.errors import Interrupted, command, explain, shown
from leyden.lock import Lock
from leyden.run import DONE, STUDY_FILE
from leyden.signals import Signals
from leyden.study.display import Display, print_table
from leyden.study.estimate import describe_plan, describe_search, measure, measure_one
from leyden.study.job import Executor, Job, in_words, preload
from leyden.study.loop import Loop, Planned, Source
from leyden.study.plan import Composer, Plan, PlannedJob, make_plan, plan_of, what_is_shared
from leyden.study.record import (
    RESULTS_FILE,
    Row,
    check_same_study,
    keep_plan,
    planned_jobs,
    read_row,
    read_study,
    write_results,
)

log = logging.getLogger(__name__)

REPORT_FILE = "report.html"
SEARCH_LOCK = ".search"  # one process at a time asks for trials; the jobs have locks of their own
ON_ERROR = ("continue", "stop", "retry")
SECONDS_BETWEEN_WRITES = 1.0  # of results.csv while jobs end


class Sweep:
    """What a study has before its jobs are known: its directory, who composes them and who runs them.

    Raises:
        ValueError: an option is wrong, or there is nothing to vary.
    """

    def __init__(self, config: DictConfig, loader: ConfigLoader, words: Sequence[str]) -> None:
        check_options(config)
        self.config = config
        self.directory = Path(config.hydra.sweep.dir).resolve()
        if config.hydra.runtime.choices["hydra/launcher"] == "local" or config.plan:
            preload(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]  # while we plan
        self.composer = Composer(loader, config, self.directory)
        self.overrides = with_devices(self.composer, words, config.devices_per_run)
        if not any(override.is_sweep_override() for override in self.overrides):
            preset = config.hydra.runtime.choices.get("study")
            raise ValueError(_nothing_to_sweep(preset, self.composer.config_directories))

    def make_executor(self) -> Executor:
        """Where the jobs will run."""
        executor: Executor = instantiate(self.config.hydra.launcher.executor, directory=self.directory, _convert_="all")
        return executor

    def settings_of(self, planned: PlannedJob) -> dict[str, Any]:
        """What a job of the study is made of; nothing where its config, or what it is made of, has changed since."""
        try:
            job = self.composer.make_job(planned.overrides)
        except ValueError:
            return {}
        return what_is_shared(job) if job.id == planned.id else {}

    def check_same_study(self, plan: Plan) -> None:
        """Refuses a plan of which nothing is to run for what its runs would be refused for.

        Raises:
            ValueError: the study in this directory has other settings, or is of other code.
        """
        if not self.config.mixed and (self.directory / STUDY_FILE).is_file():
            check_same_study(self.directory, read_study(self.directory), plan)


def run_study(
    config: DictConfig, loader: ConfigLoader, arguments: Sequence[str], presets: Sequence[str], signals: Signals
) -> None:
    """Plans and runs every combination of the values in `arguments` and `presets`, all of them overrides.

    Raises:
        ValueError: an option or a job's config is wrong (nothing was started), or not every run finished.
        Interrupted: a signal asked the study to end; all that ran is saved.
    """
    sweep = Sweep(config, loader, [*presets, *arguments])
    composer, directory = sweep.composer, sweep.directory
    with signals.at_once():
        plan = make_plan(composer, sweep.overrides)
    with contextlib.closing(sweep.make_executor()) as executor:
        for devices in {job.devices for job in plan.jobs}:
            executor.check(devices)
        rows = {job.id: read_row(directory / job.id, job) for job in plan.jobs}
        at_once = executor.at_once or executor.slots
        if config.plan:
            sweep.check_same_study(plan)
        print(describe_plan(directory, plan, rows, at_once, config.on_error), flush=True)
        if config.plan:
            with signals.at_once():
                print(measure(composer, plan, rows, at_once), flush=True)
            return
        keep_plan(directory, plan, composer.command_line(arguments), config.mixed, sweep.settings_of)
        waiting = [row.job for row in rows.values() if must_run(row, config.on_error)]
        waiting.sort(key=lambda job: rows[job.id].status == "running")  # which may have ended when its turn comes
        source = Planned(waiting, lambda planned: composer.make_job(planned.overrides, planned.factors))
        rows = run_source(source, executor, sweep, len(waiting), signals, rows)
    raise_unless_finished([rows[job.id] for job in plan.jobs], directory, signals)


def run_search(
    config: DictConfig, loader: ConfigLoader, arguments: Sequence[str], presets: Sequence[str], signals: Signals,
    options: Mapping[str, Any],
) -> None:  # fmt: skip
    """Runs the jobs that Optuna chooses among the values in `arguments` and `presets`, `n_trials` in all.

    Raises:
        ValueError: an option or a value is wrong (nothing was started), or not every run finished.
        Interrupted: a signal asked the study to end; all that ran is saved.
    """
    from leyden.study.search import Search

    sweep = Sweep(config, loader, [*presets, *arguments])
    composer, directory = sweep.composer, sweep.directory
    typed = sweep.overrides[len(presets) :]
    overruled = {override.get_key_element() for override in typed}
    preset = [override for override in sweep.overrides[: len(presets)] if override.get_key_element() not in overruled]
    swept = [override for override in [*preset, *typed] if override.is_sweep_override()]
    fixed = [str(override.input_line) for override in [*preset, *typed] if not override.is_sweep_override()]
    with contextlib.closing(sweep.make_executor()) as executor:
        if executor.at_once is None:
            raise ValueError("jobs=auto: a search learns from runs that have ended: say how many run together, jobs=…")

        def make_job(words: Sequence[str]) -> Job:
            keys = {override.key_or_group for override in swept}
            parsed = [composer.parse(word) for word in words]
            levels = {override.key_or_group: override.value() for override in parsed if override.key_or_group in keys}
            job = composer.make_job(words, levels)
            executor.check(job.devices)
            return job

        plain: Any = OmegaConf.to_container(OmegaConf.create(dict(options)))
        search = Search(directory, make_job, fixed, swept, is_plan=config.plan, **plain)
        # One that has trials was compared when it began: now settings that follow from those it chooses differ.
        compared = Plan([], {}, {}, []) if search.counts else plan_of(search.example)._replace(jobs=[])
        if config.plan:
            sweep.check_same_study(compared)
        print(describe_search(directory, search, swept), flush=True)
        if config.plan:
            with signals.at_once():
                print(measure_one(search.example, executor.at_once), flush=True)
            return
        words = composer.command_line(arguments)
        keep = functools.partial(keep_plan, directory, arguments=words, settings_of=sweep.settings_of)
        with Lock(directory / SEARCH_LOCK):
            keep(compared, allow_changes=config.mixed)
            rows = run_source(
                search, executor, sweep, search.num_left, signals, {},
                on_start=lambda job: keep(plan_of(job), allow_changes=True),  # it has looked at that itself
            )  # fmt: skip
    for best in search.best():
        values = "  ".join(f"{name} {value:.4f}" for name, value in best.values.items())
        print(f"best: {values}  with {' '.join(best.overrides)}  [{shown(directory / best.job)}]")
    raise_unless_finished(list(rows.values()), directory, signals, can_retry=False)


def must_run(row: Row, on_error: str) -> bool:
    """Whether a job is to run when its study is given again.

    Raises:
        ValueError: it has failed, and the study is to stop at that.
    """
    if row.status == "failed" and on_error == "stop":
        raise ValueError(
            f"{row.job.id} ({in_words(row.job.factors)}) has failed ({row.reason}), and on_error=stop: "
            "give on_error=retry to run it again, or on_error=continue to leave it"
        )
    return row.status not in DONE and (row.status != "failed" or on_error == "retry")


def run_source(
    source: Source, executor: Executor, sweep: Sweep, total: int, signals: Signals, known: Mapping[str, Row],
    on_start: Callable[[Job], object] = lambda job: None,
) -> dict[str, Row]:  # fmt: skip
    """Runs the jobs of a source, `total` at most, keeps `results.csv` true meanwhile and ends with the table.

    `known` are rows that have been read already. Returns how every job of the study stands then, by its id.
    """
    directory, config = sweep.directory, sweep.config
    asked_for = planned_jobs(read_study(directory))  # by this line and by earlier ones
    rows = {job.id: known.get(job.id) or read_row(directory / job.id, job) for job in asked_for}
    display = Display(total, executor.at_once or executor.slots, config.monitor)
    written, ended = 0.0, set[str]()

    def note(row: Row) -> None:
        nonlocal written
        rows[row.job.id] = row
        ended.add(row.job.id)
        if time.monotonic() - written > SECONDS_BETWEEN_WRITES:
            _write_results(directory, rows)
            written = time.monotonic()

    try:
        Loop(source, executor, signals, display, on_start, note).run(config.retry, config.on_error == "stop")
    except Interrupted as stopped:  # by a second signal
        stopped.directory, stopped.is_saved = directory, True
        raise
    finally:
        display.close()
        study = read_study(directory)
        settled = ended | {identity for identity, row in rows.items() if row.status in DONE}
        others = [job for job in planned_jobs(study) if job.id not in settled]
        rows |= {job.id: read_row(directory / job.id, job) for job in others}
        _write_results(directory, rows)
    print_table(directory, study["factors"], list(rows.values()), config.monitor)
    if signals.received is None and (ended or not (directory / REPORT_FILE).is_file()):
        _write_report(directory)
    return rows


def _write_report(directory: Path) -> None:
    """Says which setting is better; that it cannot be said is not worth a study's failure."""
    try:
        from leyden.report.write import write_report

        made, _ = write_report([directory])
    except Exception as error:
        log.warning("there is no report: %s", explain(error))
    else:
        print("\n".join(["", *made["answer"], *made["warnings"]]))
        print(f"report     {shown(directory / REPORT_FILE)}")


def _write_results(directory: Path, rows: dict[str, Row]) -> None:
    """Writes a row of each job, with all its factors: those of other command lines may be mere settings of this one.
    `rows` then has them, too.

    A disk that is full for a moment is not worth the end of all runs.
    """
    study = read_study(directory)
    rows |= {job.id: rows[job.id]._replace(job=job) for job in planned_jobs(study) if job.id in rows}
    try:
        write_results(directory, study["factors"], list(rows.values()))
    except OSError as error:
        log.warning("%s could not be written: %s", directory / RESULTS_FILE, error.strerror)


def raise_unless_finished(rows: Sequence[Row], directory: Path, signals: Signals, can_retry: bool = True) -> None:
    """Makes the end of a study an error where it is not what was asked for.

    Raises:
        ValueError: some runs did not finish.
        Interrupted: a signal asked the study to end; all that ran is saved.
    """
    if signals.received is not None:
        raise Interrupted(signals.received, directory, is_saved=True)
    unfinished = [row for row in rows if row.status not in DONE]
    if unfinished:
        raise ValueError(_describe_unfinished(unfinished, len(rows), directory, can_retry))


def _describe_unfinished(unfinished: Sequence[Row], num_wanted: int, directory: Path, can_retry: bool) -> str:
    counts = Counter("at work elsewhere" if row.status == "running" else row.status for row in unfinished)
    how = ", ".join(f"{count} {status}" for status, count in counts.items())
    again = f"{command('leyden')} resume {shlex.quote(shown(directory))}"
    again += " on_error=retry" if counts["failed"] else ""
    told = f"{len(unfinished)} of {num_wanted} runs are not finished ({how})"
    return told if counts["failed"] == len(unfinished) and not can_retry else f"{told}; go on with: {again}"


def _nothing_to_sweep(preset: str | None, directories: Sequence[Path]) -> str:
    presets = sorted({path.stem for place in directories for path in (place / "study").glob("*.yaml")})
    if preset is None or preset in presets:
        why = "there is nothing to vary"
    else:
        why = f"study={preset} is no preset, {suggest(preset, presets)}"
    return f"{why}: give values, as in optimizer=sgd,adam seed=0,1,2, or a preset, as study=optimizers"


def check_options(config: DictConfig) -> None:
    """Refuses options of a study that are out of range.

    Raises:
        ValueError: names the option.
    """
    if config.on_error not in ON_ERROR:
        raise ValueError(f"on_error={config.on_error}: expected {', '.join(ON_ERROR)}")
    if config.jobs != "auto" and (not isinstance(config.jobs, int) or isinstance(config.jobs, bool) or config.jobs < 1):
        raise ValueError(f"jobs={config.jobs}: expected auto or a whole number from 1")
    for key, lowest in {"devices_per_run": 0, "runs_per_device": 1, "retry": 0}.items():
        if config[key] is not None and config[key] < lowest:
            raise ValueError(f"{key}={config[key]} is out of range: give a whole number from {lowest}")
    if config.time_limit is not None and config.time_limit <= 0:
        raise ValueError(f"time_limit={config.time_limit} is out of range: give seconds above 0, or null")


def with_devices(composer: Composer, words: Sequence[str], devices_per_run: int | None) -> list[Override]:
    """The overrides of a sweep, with what `devices_per_run` says of the trainer among them.

    Raises:
        ValueError: the trainer is told otherwise.
    """
    overrides: list[Override] = composer.parser.parse_overrides(list(words))
    if devices_per_run is None:
        return overrides
    key, value = ("trainer.accelerator", "cpu") if devices_per_run == 0 else ("trainer.devices", str(devices_per_run))
    for override in overrides:
        if override.key_or_group == key and override.get_value_element_as_str() != value:
            raise ValueError(f"{override.input_line} and devices_per_run={devices_per_run}: give one of them")
    return [*overrides, composer.parser.parse_override(f"{key}={value}")]
