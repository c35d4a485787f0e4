"""Plan > **the study's directory** > report: `study.json` names every job asked for, `results.csv` has a row of each.

What became of a job is not kept here: its own `run.json` says it.
"""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from leyden.config import is_among
from leyden.lock import Lock, is_held
from leyden.metric_names import HEADLINES, is_of_one_class, read_metrics
from leyden.provenance import code_by_file
from leyden.run import DONE, STUDY_FILE, read_record, write_atomically
from leyden.study.job import quoted
from leyden.study.plan import Plan, PlannedJob

log = logging.getLogger(__name__)

RESULTS_FILE = "results.csv"
FORMAT = 1
KEYS = {"format", "name", "working_directory", "code", "factors", "settings", "commands", "jobs"}
FINAL_METRICS = ("train/loss", "train/accuracy", "val/loss", *(f"val/{name}" for name in HEADLINES.values()))
KILLED = ("interrupted", "killed: it did not say how it ended")  # status and reason of a run that was
SECONDS_FOR_ANOTHER_PLAN = 60.0


class Row(NamedTuple):
    """What is known of a job: its place in the study and how it stands."""

    job: PlannedJob
    directory: Path
    status: str  # waiting, running, finished, pruned, interrupted or failed
    attempt: int
    seconds: float | None  # over all attempts
    metrics: dict[str, float]
    reason: str | None  # of a status that is not an end
    is_told: bool = True  # by the run itself; else it was killed before it could


def read_study(directory: Path) -> dict[str, Any]:
    """Reads `study.json` of a study's directory.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = directory / STUDY_FILE
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{directory} is no study: it has no {STUDY_FILE}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): give the study's own command once more") from error
    if not isinstance(study, dict) or study.get("format") != FORMAT or not study.keys() >= KEYS:
        raise ValueError(f"{path} is not of format {FORMAT}, which this version of leyden writes")
    return study


def planned_jobs(study: Mapping[str, Any]) -> list[PlannedJob]:
    """The jobs of a study in the order in which they were first asked for."""
    return [
        PlannedJob(identity, tuple(job["overrides"]), job["factors"], job["seed"], job["devices"])
        for identity, job in study["jobs"].items()
    ]


def keep_plan(
    directory: Path, plan: Plan, arguments: Sequence[str], allow_changes: bool,
    settings_of: Callable[[PlannedJob], Mapping[str, Any]] = lambda job: {},
) -> None:  # fmt: skip
    """Adds the jobs of a plan to the study in `directory`, which may be new.

    `settings_of` says a job's own settings, where what it shares with others does not tell its level of a factor.

    Raises:
        ValueError: the study was begun with other settings or by other code, and `allow_changes` is not given.
    """
    with Lock(directory, SECONDS_FOR_ANOTHER_PLAN):  # another process may plan the same study
        study = _read_or_begin(directory)
        if not allow_changes:
            check_same_study(directory, study, plan)
        is_first = not study["jobs"]
        study["factors"] += [key for key in plan.factors if key not in study["factors"]]
        for planned in plan.jobs:
            kept = study["jobs"].setdefault(planned.id, {"factors": {}})
            kept |= {"overrides": list(planned.overrides), "seed": planned.seed, "devices": planned.devices}
            kept["factors"] |= planned.factors
        _complete_factors(study, plan, settings_of)
        if is_first:
            study["settings"] = plan.settings
        elif plan.jobs:
            shared = study["settings"].items()
            study["settings"] = {key: value for key, value in shared if plan.settings.get(key, ...) == value}
        same = [kept for kept in study["commands"] if kept["arguments"] == list(arguments)]
        before = [identity for kept in same for identity in kept["jobs"]]
        mine = list(dict.fromkeys([*before, *(job.id for job in plan.jobs)]))
        others = [kept for kept in study["commands"] if not set(kept["jobs"]) <= set(mine)]
        study["commands"] = [*others, {"arguments": list(arguments), "jobs": mine}]
        study["code"] = _code_before(study) | code_by_file()
        write_study(directory, study)


def _complete_factors(
    study: Mapping[str, Any], plan: Plan, settings_of: Callable[[PlannedJob], Mapping[str, Any]]
) -> None:
    """Gives each job a level of every factor: what one line varies is a mere setting of another's jobs."""
    of_plan = {job.id for job in plan.jobs}
    for job in planned_jobs(study):
        shared = plan.settings if job.id in of_plan else study["settings"]
        missing = [key for key in study["factors"] if key not in job.factors]
        known = shared if all(key in shared for key in missing) else {**settings_of(job), **shared}
        study["jobs"][job.id]["factors"] |= {key: known.get(key) for key in missing}


def write_study(directory: Path, study: Mapping[str, Any]) -> None:
    """Replaces `study.json` in one step."""
    write_atomically(directory / STUDY_FILE, json.dumps(study, indent=1) + "\n")


def _read_or_begin(directory: Path) -> dict[str, Any]:
    """What `study.json` says; a damaged one is put aside, for its runs say what they are by themselves."""
    path = directory / STUDY_FILE
    try:
        return read_study(directory) if path.is_file() else _new_study(directory)
    except ValueError as error:
        log.warning("%s: it is kept as %s.damaged", error, path.name)
        path.replace(path.with_name(f"{path.name}.damaged"))
        return _new_study(directory)


def _new_study(directory: Path) -> dict[str, Any]:
    return {
        "format": FORMAT, "name": directory.name, "working_directory": str(Path.cwd()),
        "code": code_by_file(), "factors": [], "settings": {}, "commands": [], "jobs": {},
    }  # fmt: skip


class OtherStudy(ValueError):
    """Runs would not compare with those of the study that lies in their place."""


def check_same_study(directory: Path, study: Mapping[str, Any], plan: Plan) -> None:
    """Refuses a plan whose runs would not compare with those of the study.

    Raises:
        OtherStudy: names the setting, or says that the code is another.
    """
    ways = "give study=<another name> to begin anew, or mixed=true to put them side by side knowingly"
    # Parts that only some lines name are imported by those alone.
    before, now = _code_before(study), code_by_file()
    if study["jobs"] and any(before.get(name, code) != code for name, code in now.items()):
        raise OtherStudy(f"{directory} was written by other code, of leyden or of your own parts: {ways}")
    swept = {*study["factors"], *plan.factors}
    if "experiment" in swept or "study" in swept:
        return  # a recipe may change anything
    for key, before in study["settings"].items():
        now = plan.settings.get(key, before)
        if now != before and not is_among(key, swept):
            raise OtherStudy(f"{directory} was written with {key}={before}, not {key}={now}: {ways}")


def _code_before(study: Mapping[str, Any]) -> dict[str, str]:
    """By what code a study was written; before 0.1.0 that was one hash of all."""
    code = study["code"]
    return code if isinstance(code, dict) else {"leyden": code}


def read_row(directory: Path, job: PlannedJob) -> Row:
    """What the run directory of a job says of it."""
    try:
        record = read_record(directory)
    except ValueError as error:
        begun = (directory / "run.json").exists()
        status = "interrupted" if begun else "waiting"
        return Row(job, directory, status, 0, None, {}, str(error) if begun else None, is_told=False)
    status, reason, is_told = standing(directory, record)
    seconds = seconds_of(record)
    metrics = {key: value for key, value in record.get("metrics", {}).items() if not is_of_one_class(key)}
    metrics = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    if status in DONE and (directory / "metrics.csv").is_file():
        metrics |= _final_metrics(directory / "metrics.csv")
    return Row(job, directory, status, record.get("attempt", 1), seconds, metrics, reason, is_told)


def _final_metrics(path: Path) -> dict[str, float]:
    """Those of the last epoch; a damaged file has none, which is not worth the end of a study."""
    try:
        last = {key: value for row in read_metrics(path) for key, value in row.items() if value}
        return {f"final/{key}": float(last[key]) for key in FINAL_METRICS if key in last}
    except ValueError as error:
        log.warning("%s: %s", path, error)
        return {}


def standing(directory: Path, record: Mapping[str, Any]) -> tuple[str, str | None, bool]:
    """A run's status, the reason where it is not an end, and whether the run itself has said so."""
    status, reason = record["status"], record.get("reason")
    is_told = status != "running" or is_held(directory)
    if not is_told:
        status, reason = KILLED
    if reason:
        reason = re.split(r"[;,] (?:go on|begin again) with: ", reason)[0]  # with the study as a whole
    return status, reason, is_told


def seconds_of(record: Mapping[str, Any]) -> float | None:
    """What all attempts of a run have taken."""
    seconds = sum(attempt.get("seconds") or 0.0 for attempt in [*record.get("attempts", []), record])
    return round(seconds, 2) or None


def write_results(directory: Path, factors: Sequence[str], rows: Sequence[Row]) -> None:
    """Writes `results.csv`: a row per job, a column per factor and metric."""
    metrics = sorted({name for row in rows for name in row.metrics}, key=_metric_order)
    swept = [factor for factor in factors if factor != "seed"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", *swept, "seed", "status", "attempt", "seconds", *metrics, "directory", "reason"])
    for row in rows:
        values = [row.metrics.get(name, "") for name in metrics]
        levels = [row.job.factors.get(factor, "") for factor in swept]
        ended = ["" if row.seconds is None else row.seconds, *values, row.directory, row.reason or ""]
        writer.writerow([row.job.id, *levels, row.job.seed, row.status, row.attempt, *ended])
    write_atomically(directory / RESULTS_FILE, text.getvalue())


def _metric_order(name: str) -> tuple[int, str]:
    return {"best": 0, "test": 1}.get(name.split("/")[0], 2), name


def commands_to_finish(directory: Path, study: Mapping[str, Any], changes: Sequence[str]) -> list[list[str]]:
    """The argument lists that, given again, finish all jobs of a study; `changes` replace what they say."""
    keys = {change.partition("=")[0] for change in changes}
    place = f"hydra.sweep.dir={quoted(directory)}"  # it may have been moved since
    return [
        ["-m", *(word for word in kept["arguments"] if word.partition("=")[0] not in keys), *changes, place]
        for kept in study["commands"]
    ]


def rows_of(directory: Path) -> tuple[Path, list[str], list[Row], str]:
    """The study in a directory, its factors, how its jobs stand, and the metric that it looks at."""
    study = read_study(directory)
    rows = [read_row(directory / job.id, job) for job in planned_jobs(study)]
    return directory, study["factors"], rows, study["settings"].get("monitor", "val/accuracy")
