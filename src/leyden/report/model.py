"""Collect > **what a report holds** > page: `report.json`, field by field; everything else reads or writes it.

A setting is all runs that differ by their seed, fold or split (`data.split_seed`) alone. Metrics are plain numbers as
runs record them: an accuracy is a share from 0 to 1. Epochs count from 0. What is not known is None, never NaN.
"""

from typing import Literal, TypedDict

Level = str | int | float | bool | None  # a factor's value
Standing = Literal["best", "tied", "worse", "unknown"]  # unknown: one run tells nothing of its noise


def exactly(level: Level) -> tuple[bool, Level]:
    """What levels are told apart by: True is not 1, but 1.0 is."""
    return isinstance(level, bool), level


def sure(value: float | None) -> float:
    """A figure that every run which counts as finished has."""
    assert value is not None
    return value


class Estimate(TypedDict):
    """A mean over seeds with its 95 % t-interval, which takes two runs at least."""

    n: int
    mean: float
    low: float | None
    high: float | None


class Metric(TypedDict):
    """What settings are compared by: chosen on validation images, reported on test images."""

    selection: str  # "val/accuracy"
    reported: str  # "test/accuracy"; the same as selection where runs tested nothing of that name
    direction: Literal["max", "min"]
    is_share: bool  # shown in per cent


class Factor(TypedDict):
    """A key that the runs differ in, beside seed, fold and split."""

    name: str
    levels: list[Level]  # numbers in order, else as they came
    is_numeric: bool
    is_log: bool  # spread over more than a decade, all above 0


class Setting(TypedDict):
    """The runs of one combination of levels; settings stand best first by their selection metric."""

    number: int  # its place, from 0
    label: str  # "optimizer=adam head.dropout=0.2"; "the only setting" where nothing varies
    factors: dict[str, Level]
    runs: list[str]  # ids of those finished
    num_unfinished: int  # failed, interrupted, pruned, under way or not begun
    selection: Estimate
    reported: Estimate
    best_epoch: float | None  # mean
    gap: Estimate | None  # training minus validation accuracy in the last epoch, where there is accuracy
    seconds: float | None  # mean, of a run
    standing: Standing
    p_value: float | None  # of so large a difference from the best if all were alike, corrected for how many there are
    num_overfit: int
    ece: float | None  # mean expected calibration error on test images


class Run(TypedDict):
    """One run, finished or not."""

    id: str
    setting: int | None  # None where no run of its setting has finished, or another repeats it and counts
    factors: dict[str, Level]
    seed: int | None
    fold: str | None  # "0 of 5"
    split_seed: int | None
    status: str
    reason: str | None
    directory: str  # from where the report lies
    command: str | None
    wandb: str | None  # its address, if online
    selection: float | None
    reported: float | None
    best_epoch: int | None
    seconds: float | None
    seconds_per_step: float | None
    images_per_second: float | None
    is_judged: bool  # whether its curves are long enough to say if it overfits
    overfit_from: int | None  # the epoch in which it began


class Effect(TypedDict):
    """A factor's levels, each with the mean over the other factors: their settings count alike."""

    factor: str
    levels: list[Level]
    estimates: list[Estimate]  # n counts runs


class Interaction(TypedDict):
    """Means of the selection metric for each pair of levels of two factors."""

    rows: str
    columns: str
    row_levels: list[Level]
    column_levels: list[Level]
    means: list[list[float | None]]  # [rows, columns]; None where no run has finished


class Importance(TypedDict):
    """Which share of the selection metric's variance each factor, pair of factors, or seed explains."""

    method: str  # a sentence
    names: list[str]  # "head.dropout", "head.dropout × optimizer", "seed"; largest first
    shares: list[float]


class Response(TypedDict):
    """The selection metric against a number, a curve for each level of another factor, at best over all others."""

    factor: str  # "optimizer.lr"
    by: str | None  # "optimizer"
    levels: list[Level]  # of `by`; one None where there is no such factor
    values: list[list[float]]  # [levels, points], of `factor`
    estimates: list[list[Estimate]]
    best: list[int]  # where each curve is best
    at_edge: list[bool]  # whether that is its first or last value


class LabelCurve(TypedDict):
    """The test metric over ever more labelled training images, of one way to train."""

    level: Level
    images: list[float]  # a mean over seeds, rising
    estimates: list[Estimate]
    differences: list[Estimate]  # from the reference with all of its images, by shared seeds where there are some


class LabelEfficiency(TypedDict):
    """How many labels each way to train needs."""

    amount: str  # "data.labels_per_class"
    by: str | None  # "finetune"
    metric: str  # "test/accuracy"
    is_share: bool
    curves: list[LabelCurve]
    reference: int  # the curve that is worst with all labels
    sentences: list[str]


class Band(TypedDict):
    """A metric over epochs, mean and 95 % t-interval over seeds."""

    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Curves(TypedDict):
    """Learning curves of a setting."""

    setting: int
    epochs: list[int]
    metrics: dict[str, Band]  # train/loss, val/loss, and of the headline: train/accuracy, val/accuracy, val/mae, …
    overfit_from: float | None  # the mean epoch in which its runs began to overfit, where most of them did


class Calibration(TypedDict):
    """Reliability of a setting's stored test predictions, all seeds together, in bins of equal width."""

    setting: int
    counts: list[int]
    confidences: list[float | None]
    accuracies: list[float | None]
    ece: float


class Power(TypedDict):
    """How many seeds would tell the two best settings apart."""

    difference: float
    low: float | None
    high: float | None
    is_paired: bool
    seeds: int | None  # for 80 % power at 5 %; None where the difference is too small to say
    sentence: str


class Unreadable(TypedDict):
    """A directory whose run could not be read."""

    directory: str
    reason: str


class Report(TypedDict):
    """All of it."""

    format: int
    title: str
    created: str
    data: str  # "digits: 1,169 training, 269 validation, 359 test images"
    metric: Metric
    answer: list[str]
    command: str  # of the best setting
    threads: int | None  # with which the command gives the same bits
    failures: list[str]
    warnings: list[str]
    factors: list[Factor]
    settings: list[Setting]
    effects: list[Effect]
    interactions: list[Interaction]
    importance: Importance | None
    responses: list[Response]
    labels: LabelEfficiency | None
    curves: list[Curves]
    calibration: list[Calibration]
    power: Power | None
    runs: list[Run]
    unreadable: list[Unreadable]
