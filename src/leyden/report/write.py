"""Findings, page > **write** > report.html, report.md and report.json of a study or of any runs."""

import json
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from leyden.config import words_of_one_run
from leyden.predictions import read_predictions
from leyden.report.collect import Collection, Found, collect
from leyden.report.curves import bands, calibration
from leyden.report.effects import effects, importance, interactions, responses
from leyden.report.findings import answer, failures, power, warnings
from leyden.report.labels import label_efficiency
from leyden.report.markdown import to_markdown
from leyden.report.model import Calibration, Curves, Report, Setting
from leyden.report.page import to_html
from leyden.report.settings import counted, describe_factors, describe_runs, fold_seeds, resolution
from leyden.run import write_atomically

FORMAT = 1


def write_report(directories: Sequence[Path]) -> tuple[Report, Path]:
    """Writes the three files into the study's directory, or into the one that holds all runs; returns the page's path.

    Raises:
        ValueError: there is no finished run, or the runs cannot be compared.
    """
    collection = collect([directory.resolve() for directory in directories])
    report, page = make_report(collection), collection.directory / f"{collection.file_name}.html"
    write_atomically(page.with_suffix(".json"), json.dumps(report, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomically(page.with_suffix(".md"), to_markdown(report))
    write_atomically(page, to_html(report))
    return report, page


def make_report(collection: Collection) -> Report:
    """All that the page shows, from the runs."""
    metric, factors = collection.metric, describe_factors(collection)
    varying = [factor for factor in factors if len(factor["levels"]) > 1]
    settings = fold_seeds(collection)
    runs = describe_runs(collection, settings)
    levels = [run["factors"] for run in counted(runs)]
    values = np.array([run["selection"] for run in counted(runs)], float)
    grain, is_share = resolution(collection.data, metric["selection"]), metric["is_share"]
    found_responses = responses(varying, levels, values, metric["direction"], grain, is_share)
    report: Report = {
        "format": FORMAT,
        "title": collection.title,
        "created": datetime.now().astimezone().isoformat(timespec="minutes"),
        "data": describe_data(collection.finished),
        "metric": metric,
        "answer": [],
        "command": command_of(settings[0], collection),
        "threads": _run_of(settings[0], collection).record.get("device", {}).get("threads"),
        "failures": failures(runs),
        "warnings": warnings(collection, varying, settings, found_responses),
        "factors": factors,
        "settings": settings,
        "effects": effects(varying, levels, values, is_share),
        "interactions": interactions(varying, levels, values),
        "importance": importance(varying, levels, values),
        "responses": found_responses,
        "labels": label_efficiency(collection, varying, settings),
        "curves": learning_curves(collection, settings),
        "calibration": calibrations(collection, settings),
        "power": power(collection, settings),
        "runs": runs,
        "unreadable": collection.unreadable,
    }
    report["answer"] = answer(report)
    return report


def describe_data(runs: Sequence[Found]) -> str:
    """The data set and the sizes of its parts, in words: from the fewest to the most, where they differ by run."""
    parts = {"num_train": "training", "num_val": "validation", "num_test": "test"}
    sizes = []
    for key, name in parts.items():
        found = sorted({run.record["data"][key] for run in runs if key in run.record["data"]})
        if found:
            sizes.append(" to ".join(f"{size:,}" for size in dict.fromkeys((found[0], found[-1]))) + f" {name}")
    data: dict[str, Any] = runs[0].record["data"]
    return f"{data.get('name', 'data')}: {', '.join(sizes)} images" if sizes else str(data.get("name", ""))


def command_of(setting: Setting, collection: Collection) -> str:
    """What one would type to train the best setting once more."""
    run = _run_of(setting, collection)
    words = shlex.split(str(run.record["command"]))[2:] if "command" in run.record else run.overrides
    return shlex.join(["leyden", "train", *words_of_one_run(words)])


def _run_of(setting: Setting, collection: Collection) -> Found:
    return collection.by_id[setting["runs"][0]]


def learning_curves(collection: Collection, settings: Sequence[Setting]) -> list[Curves]:
    """Mean and interval over seeds of each setting's curves."""
    by_id = collection.by_id
    found: list[Curves] = []
    for setting in settings:
        runs = [by_id[name] for name in setting["runs"] if by_id[name].curves]
        if not runs:
            continue
        epochs, metrics = bands([run.curves for run in runs])
        begun = [run.overfit_from for run in runs if run.overfit_from is not None]
        most = float(np.mean(begun)) if 2 * len(begun) > len(runs) else None
        found.append({"setting": setting["number"], "epochs": epochs, "metrics": metrics, "overfit_from": most})
    return found


def calibrations(collection: Collection, settings: Sequence[Setting]) -> list[Calibration]:
    """How far each setting's stored confidences can be believed."""
    by_id = collection.by_id
    found = []
    for setting in settings:
        stored = []
        for name in setting["runs"]:
            try:
                stored.append(read_predictions(by_id[name].directory))
            except ValueError as error:
                collection.unreadable.append({"directory": str(by_id[name].directory), "reason": str(error)})
        known = [answers for answers in stored if answers is not None and answers.is_single_label]
        if known:
            columns = zip(*(answers[:3] for answers in known), strict=True)
            labels, predictions, confidences = (np.concatenate(column) for column in columns)
            found.append(calibration(setting["number"], confidences, predictions, labels))
    return found
