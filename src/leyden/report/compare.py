"""Run directories > **compare** > terminal: how two runs, or the best settings of two studies, differ, and in what.

It stands beside the report and reads runs as that does; all differences are the first minus the second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

from leyden.config import follows_the_root, is_among
from leyden.intervals import paired_precision_difference
from leyden.metric_names import HEADLINES, is_percentage
from leyden.predictions import PREDICTIONS_FILE, Predictions, read_predictions
from leyden.report.collect import NOT_COMPARED, Found, Repeat, as_level, collect, read_config
from leyden.report.model import Estimate, sure
from leyden.report.settings import fold_seeds, repeats_in_words, resolution
from leyden.report.statistics import Difference, difference, estimate
from leyden.report.words import count, difference_in_words, in_words, level_in_words, p_in_words, value_in_words
from leyden.run import is_study, read_record
from leyden.study.record import standing

EXACT_BELOW = 25  # images that the two answer differently: fewer are too few for the chi-squared distribution
TESTED = tuple(f"test/{name}" for name in HEADLINES.values())
CODE = ("code", "git_commit", "git_dirty", "project_commit", "project_dirty", "precision")
DATA = ("name", "fingerprint", "split_seed")


@dataclass
class Side:
    """One of the two: its runs, which differ by their seed, fold or split alone, and how it is called."""

    directory: Path
    name: str
    metric: str
    is_share: bool
    runs: list[Found]

    @property
    def by_repeat(self) -> dict[Repeat, Found]:
        return {run.repeat: run for run in self.runs}

    @property
    def data(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.runs[0].record.get("data", {})
        return found


def compare(first: Path, second: Path) -> str:
    """What `leyden compare` prints of two run directories, studies, or one of each; of a study its best setting.

    Raises:
        ValueError: a run has not finished, a file is damaged, or the two were not tested on the same images.
    """
    sides = _side(first), _side(second)
    _check_same_data(*sides)
    metric, is_share = _common_metric(*sides)
    pairs = _pairs(*sides)
    answers = {
        repeat: (read_predictions(one.directory), read_predictions(other.directory))
        for repeat, (one, other) in pairs.items()
    }
    for repeat, (before, after) in answers.items():
        _check_same_labels(*sides, pairs[repeat], before, after)
    lines = []
    for place, side in zip(("first ", "second"), sides, strict=True):
        lines += [f"{place}  {side.name}", f"        {_result(side, metric, is_share)}"]
    lines += ["", *_differences(*sides, metric, is_share, answers)]
    shows_split = len({repeat[2] for repeat in pairs if repeat}) > 1
    lines += [
        _mcnemar(repeat, found, pairs[repeat], shows_split)
        for repeat, found in answers.items()
        if all(one is None or one.is_single_label for one in found)
    ]
    if pairs and sides[0].data.get("split_seed") != sides[1].data.get("split_seed"):
        lines.append(
            "data.split_seed differs: image for image they compare only if the data has test images of its own"
        )
    return "\n".join([*lines, "", *_what_differs(*sides)])


def _side(directory: Path) -> Side:
    if not is_study(directory):
        record = read_record(directory)
        status = standing(directory, record)[0]
        if status != "finished":
            raise ValueError(f"{directory} cannot be compared: its status is {status}, not finished")
        collection = collect([directory])
        runs, name = collection.runs, str(directory)
    else:
        collection = collect([directory])
        settings = fold_seeds(collection)
        chosen = collection.by_id
        runs = [chosen[identity] for identity in settings[0]["runs"]]
        how = f"best of {count(len(settings), 'setting')} by {collection.metric['selection']}"
        noun = repeats_in_words(run.repeat for run in runs)
        name = f"{directory}: {settings[0]['label']} ({how}; {count(len(runs), noun)})"
    return Side(directory, name, collection.metric["reported"], collection.metric["is_share"], runs)


def _check_same_data(first: Side, second: Side) -> None:
    one, other = first.data, second.data
    if one.get("fingerprint") != other.get("fingerprint"):
        raise ValueError(
            f"different images are not compared: {first.directory} has {one.get('name')} with fingerprint "
            f"{one.get('fingerprint')}, {second.directory} has {other.get('name')} with {other.get('fingerprint')}"
        )


def _check_same_labels(
    first: Side, second: Side, runs: Sequence[Found], one: Predictions | None, other: Predictions | None
) -> None:
    if one is None or other is None or np.array_equal(one.labels, other.labels):
        return
    told = [
        f"{side.directory} has {len(found.labels):,} (data.split_seed={run.record.get('data', {}).get('split_seed')})"
        for side, run, found in zip((first, second), runs, (one, other), strict=True)
    ]
    raise ValueError(
        f"different test images are not compared: {told[0]}, {told[1]}; both are of data with fingerprint "
        f"{first.data.get('fingerprint')}"
    )


def _common_metric(first: Side, second: Side) -> tuple[str, bool]:
    """What both report; of runs chosen by different metrics the headline of their task, as their test accuracy."""
    if first.metric == second.metric:
        return first.metric, first.is_share
    for name in TESTED:
        if all(run.value(name) is not None for side in (first, second) for run in side.runs):
            return name, is_percentage(name)
    raise ValueError(
        f"{first.directory} reports {first.metric} and {second.directory} {second.metric}, and not both have "
        f"{' or '.join(TESTED)}: there is nothing to compare"
    )


def _pairs(first: Side, second: Side) -> dict[Repeat | None, tuple[Found, Found]]:
    """The runs of both sides with the same seed; two single runs whatever their seeds."""
    if len(first.runs) == len(second.runs) == 1:
        return {None: (first.runs[0], second.runs[0])}
    others = second.by_repeat
    return {seed: (run, others[seed]) for seed, run in first.by_repeat.items() if seed in others}


def _values(side: Side, metric: str) -> list[float]:
    return [sure(run.figure(metric)) for run in side.runs]


def _result(side: Side, metric: str, is_share: bool) -> str:
    """The metric with its interval: over seeds, or of a single run over the test images."""
    found: Estimate = estimate(_values(side, metric), resolution(side.data, metric), is_share)
    if found["n"] > 1:
        over = f"{found['n']} {repeats_in_words(side.by_repeat)}s"
        return f"{metric} {in_words(found, is_share)} (95 % interval over {over})"
    told = f"{metric} {value_in_words(found['mean'], is_share)}"
    interval = side.runs[0].record.get("intervals", {}).get(metric)
    if not interval:
        return told
    low, high = (value_in_words(end, is_share) for end in interval)
    return f"{told}, 95 % interval {low} to {high} over the test images"


def _differences(
    first: Side,
    second: Side,
    metric: str,
    is_share: bool,
    answers: Mapping[Repeat | None, Sequence[Predictions | None]],
) -> list[str]:
    """The difference over the seeds of both, else between samples, else over the test images of two single runs."""
    grain = resolution(first.data, metric)
    ours, theirs = first.by_repeat, second.by_repeat
    shared = [seed for seed in ours if seed in theirs]
    if len(shared) > 1:
        one, other = ([sure(runs[seed].figure(metric)) for seed in shared] for runs in (ours, theirs))
        found = difference(one, other, is_paired=True, resolution=grain)
        return [_told(metric, found, is_share, f"paired over {len(shared)} {repeats_in_words(shared)}s")]
    found = difference(_values(first, metric), _values(second, metric), is_paired=False, resolution=grain)
    if found.p_value is not None:
        how = f"Welch's test: fewer than two {repeats_in_words([*ours, *theirs])}s are shared"
        return [_told(metric, found, is_share, how)]
    lines = [_told(metric, found, is_share, "one run on a side: nothing tells the noise of seeds")]
    before, after = answers.get(None, (None, None))
    if before is None or after is None:
        return lines
    name, over_images = _over_images(before, after)
    how = f"paired over {len(before.labels):,} test images; noise of seeds is not in it"
    told = _told(name, over_images, is_percentage(name), how)
    return [told] if metric == name else [*lines, told]


def _over_images(first: Predictions, second: Predictions) -> tuple[str, Difference]:
    """The headline of the task and its difference in two runs' answers to the same images."""
    if first.is_single_label:
        right = [(each.predictions == each.labels).astype(np.float64) for each in (first, second)]
        return "test/accuracy", difference(right[0], right[1], is_paired=True)
    if first.confidences is not None and second.confidences is not None:
        mean, (low, high), p_value = paired_precision_difference(first.labels, first.confidences, second.confidences)
        return "test/mean_average_precision", Difference(mean, low, high, p_value, len(first.labels))
    errors = [np.abs(each.predictions - each.labels) for each in (first, second)]
    return "test/mae", difference(errors[0], errors[1], is_paired=True)


def _told(metric: str, found: Difference, is_share: bool, how: str) -> str:
    told = f"{metric}, first minus second: {difference_in_words(found.mean, found.low, found.high, is_share)}"
    return f"{told} ({how})" if found.p_value is None else f"{told}, {p_in_words(found.p_value)} ({how})"


def _mcnemar(
    repeat: Repeat | None,
    answers: tuple[Predictions | None, Predictions | None],
    runs: tuple[Found, Found],
    shows_split: bool,
) -> str:
    """McNemar's test of two runs' answers to the same images (1947), exact where few differ."""
    seed, fold, split = repeat or (None, None, None)
    name = "McNemar's test" + ("" if seed is None else f", seed {seed}") + (f", fold {fold}" if fold else "")
    name += f", split {split}" if shows_split else ""
    one, other = answers
    missing = [run.directory for run, found in zip(runs, answers, strict=True) if found is None]
    if one is None or other is None:
        return f"{name}: there is no {PREDICTIONS_FILE} in {' and '.join(map(str, missing))}"
    first, second = (found.predictions == found.labels for found in (one, other))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    table = [[int((first & second).sum()), only_first], [only_second, int((~first & ~second).sum())]]
    is_exact = only_first + only_second < EXACT_BELOW
    p_value = float(mcnemar(table, exact=is_exact).pvalue)
    return (
        f"{name}{' (exact)' if is_exact else ''}: of {len(first):,} test images {only_first} are right in the first "
        f"alone, {only_second} in the second alone, {p_in_words(p_value)}"
    )


def _what_differs(first: Side, second: Side) -> list[str]:
    """The settings, code and data in which the two differ, one a line."""
    runs = first.runs[0], second.runs[0]
    configs = [read_config(run.directory / "config.yaml") for run in runs]
    settings = _changes(
        *({key: value for key, value in config.items() if not is_among(key, NOT_COMPARED)} for config in configs)
    )
    if len(first.runs) == len(second.runs) == 1:
        settings = _changes({"seed": runs[0].seed}, {"seed": runs[1].seed}) + settings
    facts = [_code_and_machine(run) for run in runs]
    data = [{key: side.data.get(key) for key in DATA} for side in (first, second)]
    lines: list[str] = []
    parts = ("settings", settings), ("code and machine", _changes(*facts)), ("data", _changes(*data))
    for what, changes in parts:
        lines += [f"{what} that differ:", *(f"  {line}" for line in changes)] if changes else [f"{what}: the same"]
    return lines


def _code_and_machine(run: Found) -> dict[str, Any]:
    device = run.record.get("device", {})
    machine = {"device": device.get("name"), "threads": device.get("threads")}
    return {key: run.record.get(key) for key in CODE} | run.record.get("versions", {}) | machine


def _changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    told = {
        key: f"{_word(one, key)} → {_word(other, key)}"
        for key in dict.fromkeys([*one, *other])
        if (key in one, one.get(key)) != (key in other, other.get(key))
    }
    return [f"{key}: {change}" for key, change in told.items() if not follows_the_root(key, told)]


def _word(config: Mapping[str, Any], key: str) -> str:
    if key not in config:
        return "(none)"
    value = config[key]
    return str(value) if isinstance(value, float) else level_in_words(as_level(value))  # to the digit that differs
