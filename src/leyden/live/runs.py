"""Files > **runs** > server: which runs and studies lie below a directory, and how each of them stands.

Everything is looked at each time, and read again only where it has changed: a thousand finished runs cost a thousand
looks into their directories.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from leyden.live.files import CHECKPOINTS, Remembered, inside, relative
from leyden.live.metrics import MetricsFiles
from leyden.metric_names import HEADLINES, direction, is_percentage
from leyden.report.collect import differences, read_config
from leyden.report.words import level_in_words
from leyden.run import STUDY_FILE, read_record
from leyden.study.record import read_study, seconds_of, standing

RUN_FILE, METRICS_FILE, CONFIG_FILE, REPORT_FILE = "run.json", "metrics.csv", "config.yaml", "report.html"
DEPTH = 4  # below the directory; runs/<name>/<study>/<id> is three
OTHERS = ("wandb", CHECKPOINTS)  # directories without runs
TESTED = [f"test/{name}" for name in (*HEADLINES.values(), "loss")]


class Runs:
    """The runs below `root`. Not for two threads at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.metrics = MetricsFiles()
        self.records = Remembered(_summary)
        self.studies = Remembered(_study)
        self.configs = Remembered(_config)

    def listing(self) -> dict[str, Any]:
        """All runs and studies, as plain data."""
        runs = []
        studies: dict[str, dict[str, Any]] = {}
        plans: dict[Path, dict[str, Any]] = {}
        seen: set[Path] = set()
        for directory, path, files in _walk(self.root, "", DEPTH):
            if STUDY_FILE in files:
                plans[directory] = self.studies(directory / STUDY_FILE)
                studies[path] = self._study(path, plans[directory], REPORT_FILE in files)
            if RUN_FILE in files:
                seen.add(directory / RUN_FILE)
                run = self._run(directory, path, plans.get(directory.parent), METRICS_FILE in files)
                runs.append(run)
                if run["study"] is not None and directory.name in plans[directory.parent]["jobs"]:
                    studies[run["study"]]["waiting"] -= 1
        self.records.keep_only(seen)
        self.configs.keep_only({path.with_name(CONFIG_FILE) for path in seen})
        self.studies.keep_only({directory / STUDY_FILE for directory in plans})
        return {"directory": str(self.root), "runs": runs, "studies": [*studies.values()]}

    def directory(self, path: str) -> Path:
        """The directory of a run, by its path in the listing.

        Raises:
            LookupError: no run lies there.
        """
        record = self._file(inside(self.root, path), RUN_FILE)
        if not record.is_file():
            raise LookupError(path)
        return record.parent

    def _file(self, directory: Path, name: str) -> Path:
        """A file of a run, which a symbolic link does not put elsewhere."""
        return inside(self.root, relative(self.root, directory / name))

    def rows(self, path: str, have: str, with_classes: bool, with_layers: bool) -> dict[str, Any]:
        """The rows of a run's metrics.csv that a page does not have yet."""
        metrics = self.metrics(self._file(self.directory(path), METRICS_FILE))
        return {"path": path, **metrics.since(have, with_classes, with_layers)}

    def settings(self, paths: list[str]) -> list[dict[str, str]]:
        """The settings in which these runs differ, those of each."""
        configs = [self.configs(self._file(self.directory(path), CONFIG_FILE)) for path in paths]
        return [{key: level_in_words(level) for key, level in found.items()} for found in differences(configs)]

    def _study(self, path: str, plan: Mapping[str, Any], has_report: bool) -> dict[str, Any]:
        return {
            "path": path, "name": path or self.root.name, "reason": plan["reason"], "waiting": len(plan["jobs"]),
            "report": f"{path}/{REPORT_FILE}".lstrip("/") if has_report else None,
        }  # fmt: skip

    def _run(self, directory: Path, path: str, plan: Mapping[str, Any] | None, has_metrics: bool) -> dict[str, Any]:
        summary = self.records(directory / RUN_FILE)
        run = summary | {
            "path": path, "name": path or self.root.name,
            "study": None if plan is None else path.rpartition("/")[0],
            "factors": {} if plan is None else plan["jobs"].get(directory.name, {}),
        }  # fmt: skip
        if run["status"] == "damaged":
            return run
        run["status"], run["reason"], _ = standing(directory, summary)
        if has_metrics and run["best"] is None:
            run |= self._so_far(directory)
        return run

    def _so_far(self, directory: Path) -> dict[str, Any]:
        """The best value until now, and how far training has come, of a run that has not said so itself."""
        try:
            config = self.configs(self._file(directory, CONFIG_FILE))
        except LookupError:  # a link to elsewhere, which is not read
            config = {}
        metrics = self.metrics(directory / METRICS_FILE)
        monitor = str(config.get("monitor"))
        values = [value for value in metrics.columns.get(monitor, []) if value is not None]
        best = (max if direction(monitor) == "max" else min)(values, default=None)
        epoch = metrics.last("epoch")
        return {
            "best": None if best is None else _measured(monitor, best),
            "epoch": None if epoch is None else int(epoch) + 1,
            "epochs": config.get("epochs") if isinstance(config.get("epochs"), int) else None,
        }


def _walk(directory: Path, path: str, depth: int) -> Iterator[tuple[Path, str, set[str]]]:
    """Each directory that holds a run or a study, its path, and the names of its files; a study before its runs."""
    try:
        with os.scandir(directory) as entries:
            kinds = [
                (entry.name, entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False))
                for entry in entries
            ]
    except OSError:  # gone meanwhile, or not ours to read
        return
    files = {name for name, is_file, _ in kinds if is_file}
    if RUN_FILE in files or STUDY_FILE in files:
        yield directory, path, files
    if RUN_FILE in files or not depth:
        return
    for name in sorted(name for name, _, is_directory in kinds if is_directory):
        if not name.startswith(".") and name not in OTHERS and _is_text(name):
            yield from _walk(directory / name, f"{path}/{name}".lstrip("/"), depth - 1)


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:  # bytes that are no name in an address
        return False


def _summary(path: Path) -> dict[str, Any]:
    """What a run.json says, without what must be asked each time."""
    nothing = dict.fromkeys(("started", "seconds", "heartbeat", "best", "test", "epoch", "epochs"))
    try:
        record = read_record(path.parent)
        metrics = {name: value for name, value in record.get("metrics", {}).items() if is_number(value)}
        best = next((name for name in metrics if name.startswith("best/") and name != "best/epoch"), None)
        summary = nothing | {
            "status": record["status"], "reason": record.get("reason"), "started": record.get("started"),
            "seconds": seconds_of(record), "heartbeat": record.get("heartbeat"),
            "best": _measured(best.removeprefix("best/"), metrics[best]) if best else None,
            "test": next((_measured(name, metrics[name]) for name in TESTED if name in metrics), None),
        }  # fmt: skip
        return finite(summary)
    except (OSError, ValueError, TypeError, AttributeError) as error:  # one damaged file is not to hide all others
        return nothing | {"status": "damaged", "reason": str(error)}


def _study(path: Path) -> dict[str, Any]:
    """The factors of each job of a study, in words."""
    try:
        study = read_study(path.parent)
        jobs = {
            identity: {key: level_in_words(level) for key, level in job["factors"].items()}
            for identity, job in study["jobs"].items()
        }
        return {"jobs": jobs, "reason": None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {"jobs": {}, "reason": str(error) or f"{path} is damaged"}


def _config(path: Path) -> dict[str, Any]:
    try:
        return read_config(path)
    except ValueError:  # a run that has only begun, or was struck while it did
        return {}


def _measured(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "value": value, "is_share": is_percentage(name), "direction": direction(name)}


def is_number(value: Any) -> bool:
    """Whether a value is a number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list) else value
