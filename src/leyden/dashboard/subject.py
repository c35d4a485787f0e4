"""Study > report > **what a dashboard is of** > panels: a study's factors and figures, and its runs' place at W&B."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from leyden.config import CONFIG_DIRECTORY, REPEATS
from leyden.report.collect import as_level, read_config
from leyden.report.model import Factor, Report
from leyden.report.settings import describe_factor
from leyden.report.write import FORMAT
from leyden.run import read_record
from leyden.study.record import planned_jobs, read_study
from leyden.wandb_names import group_of, place_of

REPORT_FILE = "report.json"
OF_THE_LOGGER = ("entity", "project", "group")  # where it puts runs


@dataclass(frozen=True)
class Subject:
    """A study, as far as its dashboard shows it."""

    name: str
    directory: Path
    project: str
    entity: str | None  # the user or team; None where no run has been there yet: the key's own
    group: str  # of its runs at W&B
    factors: list[Factor]  # that vary
    monitor: str  # "val/accuracy"
    reported: str | None  # "test/accuracy"; None where runs tested nothing
    num_runs: int
    report: Report | None
    num_sent: int  # runs that were online

    @property
    def best(self) -> str:
        """What settings are compared by: the monitored metric in the epoch whose weights a run keeps."""
        return f"best/{self.monitor}"


def read_subject(directory: Path) -> Subject:
    """Reads a study's directory; a report that was not written yet is None.

    Raises:
        ValueError: there is no study, or what is there is damaged.
    """
    study = read_study(directory)
    jobs = planned_jobs(study)
    records = [*_records(directory, study)]
    logger = _logger(directory, study)
    addresses = [address for record in records if (address := (record.get("wandb") or {}).get("address"))]
    entity, project = place_of(addresses[0]) if addresses else (logger["entity"], logger["project"])
    monitor = study["settings"].get("monitor") or logger["monitor"]
    report = read_report(directory)
    tested = f"test/{monitor.partition('/')[2]}"
    is_tested = any(tested in record.get("metrics", {}) for record in records)
    keys = [key for key in study["factors"] if key not in REPEATS] or study["factors"]
    factors = [describe_factor(key, [as_level(job.factors.get(key)) for job in jobs]) for key in keys]
    return Subject(
        name=study["name"],
        directory=directory,
        project=project,
        entity=entity or os.environ.get("WANDB_ENTITY"),
        group=logger["group"] or group_of(directory, study["name"]),
        factors=[factor for factor in factors if len(factor["levels"]) > 1],
        monitor=monitor,
        reported=tested if is_tested else None,
        num_runs=len(jobs),
        report=report,
        num_sent=len(addresses),
    )


def read_report(directory: Path) -> Report | None:
    """The figures of a study's report, None where there is none yet.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    path = directory / REPORT_FILE
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): `leyden report {directory}` writes it anew") from error
    is_whole = isinstance(report, dict) and report.keys() >= Report.__annotations__.keys()
    if not is_whole or report["format"] != FORMAT:
        raise ValueError(f"{path} is of another version of leyden: `leyden report {directory}` writes it anew")
    return report


def _records(directory: Path, study: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for identity in study["jobs"]:
        try:
            yield read_record(directory / identity)
        except ValueError:  # not begun, or damaged, which the study's own table tells
            continue


def _logger(directory: Path, study: Mapping[str, Any]) -> dict[str, Any]:
    """Where runs were logged to, by the first that has gone to W&B; what none says is as conf/ has it."""
    default: Any = OmegaConf.load(CONFIG_DIRECTORY / "logger" / "wandb.yaml")
    root = yaml.safe_load((CONFIG_DIRECTORY / "train.yaml").read_text(encoding="utf-8"))
    found = {key: default[key] for key in OF_THE_LOGGER} | {"monitor": root["monitor"]}
    for identity in study["jobs"]:
        try:
            config = read_config(directory / identity / "config.yaml")
        except ValueError:
            continue
        if "logger.project" in config:
            return found | {key: config.get(f"logger.{key}") for key in OF_THE_LOGGER}
    return found
