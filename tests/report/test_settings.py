"""Seeds become one line: chosen by validation, reported on test, with intervals and ties."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from leyden.report.collect import collect
from leyden.report.settings import describe_factors, describe_runs, fold_seeds
from written_studies import write_study

FACTORS = {"optimizer": ["sgd", "adam", "rmsprop"]}
MEANS = {"sgd": 0.80, "adam": 0.95, "rmsprop": 0.951}


def value(optimizer: str) -> float:
    return MEANS[optimizer]


def test_validation_chooses_and_test_reports(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "sgd":  # though its test images look better
            record["metrics"]["test/accuracy"] = 0.99

    collection = collect([write_study(tmp_path / "mine", FACTORS, value, noise=0.0, change=change)])
    settings = fold_seeds(collection)
    assert [setting["label"] for setting in settings] == ["optimizer=rmsprop", "optimizer=adam", "optimizer=sgd"]
    assert settings[2]["reported"]["mean"] == pytest.approx(0.99)


def test_interval_over_seeds_is_students(tmp_path: Path) -> None:
    collection = collect([write_study(tmp_path / "mine", FACTORS, value, seeds=range(5))])
    best = fold_seeds(collection)[0]
    values = [run.value("test/accuracy") for run in collection.runs if run.id in best["runs"]]
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (best["reported"]["low"], best["reported"]["high"]) == pytest.approx(expected)
    assert best["reported"]["n"] == 5


def test_alike_settings_are_tied_and_far_ones_are_worse(tmp_path: Path) -> None:
    settings = fold_seeds(collect([write_study(tmp_path / "mine", FACTORS, value, seeds=range(5), noise=0.01)]))
    assert [setting["standing"] for setting in settings] == ["best", "tied", "worse"]
    assert settings[2]["p_value"] is not None
    assert settings[2]["p_value"] < 0.01


def test_one_seed_tells_nothing_of_noise(tmp_path: Path) -> None:
    settings = fold_seeds(collect([write_study(tmp_path / "mine", FACTORS, value, seeds=[0])]))
    assert [setting["standing"] for setting in settings] == ["best", "unknown", "unknown"]
    assert settings[0]["reported"]["low"] is None


def test_same_run_twice_counts_once(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", FACTORS, value)
    (study / "study.json").unlink()
    shutil.copytree(study / "0000000000", study / "1000000000")
    collection = collect([study])
    assert len(collection.finished) == 10
    assert sum(setting["reported"]["n"] for setting in fold_seeds(collection)) == 9


def test_one_is_the_same_setting_with_and_without_a_point_and_true_is_another(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"scale": [1, 1.0, True, 0.1]}, lambda scale: 0.9, seeds=[0])
    collection = collect([study])
    for place, run in enumerate(collection.runs):
        run.seed = place
    (factor,) = describe_factors(collection)
    assert len(factor["levels"]) == 3
    assert sorted(setting["selection"]["n"] for setting in fold_seeds(collection)) == [1, 1, 2]


def test_less_is_better_where_the_metric_is_a_loss(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record["metrics"] = {
            "best/epoch": 1,
            "best/val/loss": 1 - MEANS[levels["optimizer"]],
            "test/loss": 0.1 * levels["seed"],
        }

    collection = collect([write_study(tmp_path / "mine", FACTORS, value, change=change)])
    assert collection.metric["direction"] == "min"
    assert not collection.metric["is_share"]
    assert fold_seeds(collection)[0]["label"] == "optimizer=rmsprop"


def test_settings_without_a_finished_run_are_left_to_the_list_of_runs(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "sgd" or levels["seed"] == 0:
            record |= {"status": "failed", "reason": "the loss is NaN", "metrics": {}}

    collection = collect([write_study(tmp_path / "mine", FACTORS, value, change=change)])
    settings = fold_seeds(collection)
    assert [setting["num_unfinished"] for setting in settings] == [1, 1]
    runs = describe_runs(collection, settings)
    assert [run["setting"] for run in runs[:3]] == [None] * 3
    assert runs[3]["directory"] == "0000000003"
    assert runs[3]["seconds_per_step"] == pytest.approx(64 / 9000)


def test_factors_know_their_kind(tmp_path: Path) -> None:
    factors = {"optimizer.lr": [0.1, 0.001, 0.01], "epochs": [2, 3], "compile": [True, False]}
    collection = collect([write_study(tmp_path / "mine", factors, lambda **levels: 0.9, seeds=[0])])
    lr, epochs, compiled = describe_factors(collection)
    assert (lr["levels"], lr["is_numeric"], lr["is_log"]) == ([0.001, 0.01, 0.1], True, True)
    assert (epochs["is_numeric"], epochs["is_log"]) == (True, False)
    assert (compiled["levels"], compiled["is_numeric"]) == ([True, False], False)
