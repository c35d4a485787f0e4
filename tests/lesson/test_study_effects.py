"""Effects of a study are those that its runs would give by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from leyden.lesson.claims import Contrast, StudyPicture
from leyden.lesson.study_effects import effect_of, is_difference_of_shares, metric_by_seed, picture_of
from leyden.report.collect import Collection, collect
from leyden.report.model import Setting
from leyden.report.settings import fold_seeds
from written_studies import write_study

FACTORS = {"optimizer": ["sgd", "adam"], "optimizer.lr": [0.001, 0.1]}
SEEDS = (0, 1, 2, 3, 4)


def accuracy(optimizer: str, optimizer_lr: float) -> float:
    return 0.8 + 0.05 * (optimizer == "adam") + (0.1 if (optimizer == "sgd") == (optimizer_lr == 0.1) else 0.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, list[Setting]]:
    collection = collect([write_study(tmp_path_factory.mktemp("study") / "mine", FACTORS, accuracy, seeds=SEEDS)])
    return collection, fold_seeds(collection)


def by_hand(directory: Path, metric: str = "test/accuracy", **wanted: Any) -> Any:
    """The metric of the runs with these levels, by seed."""
    jobs = json.loads((directory / "study.json").read_text(encoding="utf-8"))["jobs"]
    values = {}
    for name, job in jobs.items():
        if all(job["factors"][key.replace("__", ".")] == level for key, level in wanted.items()):
            values[job["seed"]] = json.loads((directory / name / "run.json").read_text())["metrics"][metric]
    return np.array([values[seed] for seed in SEEDS])


def test_difference_is_the_paired_t_test_of_the_settings_that_validation_likes_best(found: Any) -> None:
    collection, settings = found
    contrast = Contrast("n", above=0, of=[{"optimizer": "adam"}], minus=[{"optimizer": "sgd"}])
    one = by_hand(collection.directory, optimizer="adam", optimizer__lr=0.001)
    other = by_hand(collection.directory, optimizer="sgd", optimizer__lr=0.1)
    expected = stats.ttest_rel(one, other).confidence_interval()
    effect = effect_of(contrast, collection, settings)
    assert effect is not None
    assert (effect["n"], effect["mean"]) == (5, pytest.approx((one - other).mean()))
    assert (effect["low"], effect["high"]) == pytest.approx((expected.low, expected.high))


def test_mean_over_rates_and_lists_of_levels(found: Any) -> None:
    collection, settings = found
    contrast = Contrast("n", above=0, over="mean", of=[{"optimizer": "adam"}], minus=[{"optimizer": "sgd"}])
    means = [
        np.mean([by_hand(collection.directory, optimizer=name, optimizer__lr=rate) for rate in (0.001, 0.1)])
        for name in ("adam", "sgd")
    ]
    effect = effect_of(contrast, collection, settings)
    assert effect is not None
    assert effect["mean"] == pytest.approx(means[0] - means[1])
    contrast = Contrast("n", above=0, of=[{"optimizer": "sgd", "optimizer.lr": [0.001, 0.1]}])
    effect = effect_of(contrast, collection, settings)
    assert effect is not None
    assert effect["mean"] == pytest.approx(by_hand(collection.directory, optimizer="sgd", optimizer__lr=0.1).mean())


def test_difference_of_differences(found: Any) -> None:
    collection, settings = found
    cell = {(name, rate): by_hand(collection.directory, optimizer=name, optimizer__lr=rate)
            for name in ("adam", "sgd") for rate in (0.001, 0.1)}  # fmt: skip
    contrast = Contrast(
        "n", above=0,
        of=[{"optimizer": "adam", "optimizer.lr": 0.001}, {"optimizer": "sgd", "optimizer.lr": 0.1}],
        minus=[{"optimizer": "sgd", "optimizer.lr": 0.001}, {"optimizer": "adam", "optimizer.lr": 0.1}],
    )  # fmt: skip
    per_seed = cell["adam", 0.001] - cell["sgd", 0.001] - (cell["adam", 0.1] - cell["sgd", 0.1])
    expected = stats.ttest_1samp(per_seed, 0).confidence_interval()
    effect = effect_of(contrast, collection, settings)
    assert effect is not None
    assert (effect["low"], effect["high"]) == pytest.approx((expected.low, expected.high))


def test_sides_may_name_metrics_of_their_own(found: Any) -> None:
    sides = [{"optimizer": "sgd", "metric": f"{moment} train/loss"} for moment in ("last", "first")]
    contrast = Contrast("n", below=0, of=sides[:1], minus=sides[1:])
    effect = effect_of(contrast, *found)
    assert effect is not None
    assert effect["mean"] == pytest.approx(np.exp(-11 / 4) - 1)
    assert not is_difference_of_shares(contrast)
    assert is_difference_of_shares(Contrast("n", below=0, metric="last gap", of=[{"optimizer": "sgd"}]))


def test_setting_that_was_not_run_has_no_effect(found: Any) -> None:
    contrast = Contrast("n", above=0, of=[{"optimizer": "adam"}], minus=[{"optimizer": "lion"}])
    assert effect_of(contrast, *found) is None


def test_moments_of_curves_are_rows_of_the_metrics(found: Any) -> None:
    collection, settings = found
    losses = np.exp(-np.arange(12) / 4)  # as `write_study` writes them
    for moment, epoch in {"first": 0, "quarter": 3, "half": 6, "last": 11}.items():
        values = metric_by_seed(settings[0], f"{moment} train/loss", collection)
        assert list(values.values()) == pytest.approx([losses[epoch]] * 5)
    gaps = metric_by_seed(settings[0], "last gap", collection)
    accuracies = metric_by_seed(settings[0], "last val/accuracy", collection)
    assert [1 - losses[11] - value for value in accuracies.values()] == pytest.approx([*gaps.values()])


def test_picture_has_a_point_for_each_level_and_a_line_for_each_of_another_factor(found: Any) -> None:
    picture = picture_of(StudyPicture("t", along="optimizer.lr", by="optimizer"), *found)
    assert [line["name"] for line in picture["lines"]] == ["sgd", "adam"]
    assert picture["lines"][0]["xs"] == [0.001, 0.1]
    assert picture["is_log_x"]
    assert picture["is_share"]
    assert picture["lines"][1]["means"][0] == pytest.approx(
        by_hand(found[0].directory, optimizer="adam", optimizer__lr=0.001).mean()
    )
    curves = picture_of(StudyPicture("t", curves=["train/loss", "val/loss"], at={"optimizer": "sgd"}), *found)
    assert [line["name"] for line in curves["lines"]] == ["training", "validation"]
    assert curves["lines"][0]["xs"][-1] == 12
