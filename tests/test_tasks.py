"""Several labels of an image, or a number: the whole road, from the loss to the report, held against scikit-learn."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error, r2_score, root_mean_squared_error

from leyden.build import build_classifier, fit_labels, instantiate
from leyden.draw import draw
from leyden.metric_names import metric_names
from leyden.predictions import read_predictions
from leyden.preview import describe_label
from leyden.report.compare import compare
from leyden.report.write import write_report
from leyden.study.objectives import check_objectives
from running import TINY, FinishedRun, compose_config
from task_sources import MULTI_LABEL, OF_NUMBERS, OF_SEVERAL_LABELS, REGRESSION, DigitProperties

Train = Callable[..., FinishedRun]
WIDE = ["backbone.width=64", "epochs=8"]


def stored(run: FinishedRun) -> Any:
    found = read_predictions(run.directory)
    assert found is not None
    return found


def test_several_labels_are_learnt_and_what_is_stored_gives_what_is_recorded(train_run: Train) -> None:
    run = train_run(*MULTI_LABEL, *WIDE)
    assert run.metrics["test/mean_average_precision"] > 0.98
    answers = stored(run)
    expected = average_precision_score(answers.labels, answers.confidences, average=None)
    recorded = [run.metrics[f"test/average_precision/{name}"] for name in ("even", "larger_than_4", "prime")]
    assert recorded == pytest.approx(expected.tolist(), abs=1e-6)
    assert run.metrics["test/mean_average_precision"] == pytest.approx(expected.mean(), abs=1e-6)
    assert run.metrics["test/macro_f1"] == pytest.approx(f1_score(answers.labels, answers.predictions, average="macro"))
    with (run.directory / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [row["class"] for row in rows] == list(DigitProperties.class_names)
    assert [int(row["test_images"]) for row in rows] == answers.labels.sum(0).tolist()
    thresholds = np.array([float(row["threshold"]) for row in rows])
    assert (answers.predictions == (answers.confidences >= thresholds - 1e-7)).all()
    for name in metric_names(DigitProperties.class_names, "multi_label"):
        low, high = run.record["intervals"][f"test/{name}"]
        assert low <= run.metrics[f"test/{name}"] <= high, name


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_numbers_far_from_zero_are_learnt_and_what_is_stored_gives_what_is_recorded(
    train_run: Train, loss: str
) -> None:
    run = train_run(*OF_NUMBERS, f"loss={loss}", *WIDE, "optimizer=sgd")
    assert run.metrics["test/r2"] > 0.7
    answers = stored(run)
    assert answers.confidences is None
    expected = {
        "mae": mean_absolute_error(answers.labels, answers.predictions),
        "rmse": root_mean_squared_error(answers.labels, answers.predictions),
        "r2": r2_score(answers.labels, answers.predictions),
        "spearman": spearmanr(answers.labels, answers.predictions).statistic,
    }
    for name, value in expected.items():
        assert run.metrics[f"test/{name}"] == pytest.approx(value, rel=1e-6), name
        low, high = run.record["intervals"][f"test/{name}"]
        assert low < value < high, name


@pytest.mark.parametrize("settings", [MULTI_LABEL, REGRESSION], ids=["several labels", "numbers"])
def test_training_loss_is_that_of_validation_and_there_is_no_accuracy(train_run: Train, settings: list[str]) -> None:
    run = train_run(*settings, *WIDE)
    assert run.column("train/loss")[-1] == pytest.approx(run.column("val/loss")[-1], rel=0.8)
    assert not {name for row in run.rows for name in row if "accuracy" in name}
    assert run.column("train/loss")[-1] < 0.4 * run.column("train/loss")[0]


def test_thresholds_are_those_of_the_best_epoch(train_run: Train) -> None:
    run = train_run(*MULTI_LABEL, "monitor=val/loss", "backbone.width=128", "optimizer.lr=0.02", "epochs=16")
    assert run.metrics["best/epoch"] < 15, "these settings were to overfit"
    best, last = (run.checkpoint(name)["state_dict"]["test_metrics.thresholds.logits"] for name in ("best", "last"))
    assert not torch.equal(best, last)
    with (run.directory / "classes.csv").open(newline="", encoding="utf-8") as file:
        assert [float(row["threshold"]) for row in csv.DictReader(file)] == pytest.approx(best.sigmoid().tolist())


@pytest.mark.parametrize("settings", [MULTI_LABEL, REGRESSION], ids=["several labels", "numbers"])
def test_mixed_images_have_mixed_labels(train_run: Train, settings: list[str]) -> None:
    mixed = train_run(*settings, *WIDE, "augment=strong", "augment.operations=null", "callbacks.ema.decay=0.9")
    assert mixed.column("val/loss")[-1] < 0.7 * mixed.column("val/loss")[0]
    assert mixed.column("val/ema_loss")


def test_averaged_weights_may_choose_the_best_epoch(train_run: Train) -> None:
    monitor = ["monitor=val/ema_mean_average_precision", "schedule=plateau", "callbacks.early_stopping.patience=5"]
    run = train_run(*MULTI_LABEL, *monitor, "callbacks.ema.decay=0.9")
    assert run.metrics["best/val/ema_mean_average_precision"] == pytest.approx(
        max(run.column("val/ema_mean_average_precision"))
    )
    assert run.metrics["test/ema_macro_f1"] > 0.3


def test_balanced_weights_come_from_the_training_labels_alone() -> None:
    config = compose_config(*TINY, *MULTI_LABEL, "loss.class_weights=balanced")
    data = instantiate(config.data)
    classifier = build_classifier(config, data)
    data.setup("fit")
    fit_labels(classifier, data)
    labels = data.labels[data.train_indices]
    assert classifier.loss.class_weights.tolist() == pytest.approx(((1 - labels).sum(0) / labels.sum(0)).tolist())


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (OF_SEVERAL_LABELS, r"CrossEntropy is for single_label data, .*: give loss=binary_cross_entropy$"),
        (OF_NUMBERS[:1], r"CrossEntropy is for single_label data, .*: give loss=mse monitor=val/mae$"),
        (["loss=huber"], r"Huber is for regression data, and digits is single_label: give loss=cross_entropy$"),
        ([*REGRESSION, "monitor=val/accuracy"], r"monitor=val/accuracy.*no such metric .* val/mae, "),
        ([*MULTI_LABEL, "monitor=val/accuracy"], r"monitor=val/accuracy.*no such metric .*val/mean_average_precision"),
        ([*MULTI_LABEL, "monitor=val/average_precision/odd"], r"did you mean 'val/average_precision/even'"),
        ([*MULTI_LABEL, "data.sampler=balanced"], r"data.sampler is for images of one class each"),
        ([*REGRESSION, "data.labels_per_class=4"], r"data.labels_per_class is for images of one class each"),
    ],
)
def test_what_does_not_suit_the_task_is_refused(train_run: Train, overrides: list[str], expected: str) -> None:
    with pytest.raises(Exception, match=expected):
        train_run(*overrides)


@pytest.mark.parametrize(
    ("settings", "picture"), [(MULTI_LABEL, "average_precision.png"), (REGRESSION, "predictions.png")]
)
def test_pictures_suit_the_task_and_can_be_drawn_later(
    train_run: Train, settings: list[str], picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_run(*settings, "pictures=true")
    assert (run.directory / picture).stat().st_size > 5000
    assert not (run.directory / "confusion_matrix.csv").exists()
    told = capsys.readouterr().out
    assert picture in told
    assert "train acc." not in told
    drawn = ["learning_curves.png", picture, *["precision_recall.png"] * (settings == MULTI_LABEL), "examples.png"]
    assert [path.name for path in draw(run.directory)] == drawn


def test_two_runs_of_several_labels_are_compared_over_their_test_images(train_run: Train) -> None:
    first, second = train_run(*MULTI_LABEL, "epochs=4"), train_run(*MULTI_LABEL, "epochs=1", "seed=1")
    text = compare(first.directory, second.directory)
    expected = first.metrics["test/mean_average_precision"] - second.metrics["test/mean_average_precision"]
    assert f"test/mean_average_precision, first minus second: {100 * expected:.1f} points, 95 % interval " in text
    assert "paired over 359 test images" in text
    assert "McNemar" not in text


def test_two_runs_of_numbers_are_compared_by_their_errors(train_run: Train) -> None:
    first, second = train_run(*REGRESSION, "epochs=4"), train_run(*REGRESSION, "monitor=val/loss", "epochs=1")
    text = compare(first.directory, second.directory)
    expected = first.metrics["test/mae"] - second.metrics["test/mae"]
    assert f"test/mae, first minus second: −{abs(expected):.0f}, 95 % interval " in text
    assert "paired over 359 test images" in text


@pytest.mark.parametrize(("settings", "headline"), [(MULTI_LABEL, "mean_average_precision"), (REGRESSION, "mae")])
def test_report_is_by_the_metrics_of_the_task(
    train_run: Train, tmp_path: Path, settings: list[str], headline: str
) -> None:
    runs = [train_run(*settings, f"optimizer.lr={rate}") for rate in (0.0001, 0.005)]
    report, path = write_report([run.directory for run in runs])
    assert report["metric"]["reported"] == f"test/{headline}"
    assert report["metric"]["is_share"] == (headline != "mae")
    assert report["settings"][0]["factors"] == {"optimizer.lr": 0.005}
    assert report["calibration"] == []
    assert report["settings"][0]["gap"] is None
    page = path.read_text(encoding="utf-8")
    assert f'data-metric="{headline}"' in page
    assert 'data-metric="accuracy"' not in page


def test_objectives_are_metrics_of_the_task() -> None:
    config = compose_config(*TINY, *REGRESSION)
    check_objectives(["val/mae", "train/loss"], config)
    with pytest.raises(ValueError, match="no such metric is recorded: train/accuracy"):
        check_objectives(["train/accuracy"], config)


def test_labels_are_told_in_words() -> None:
    names = DigitProperties.class_names
    assert describe_label(torch.tensor([1.0, 0.0, 1.0]), names) == "Even, prime"
    assert describe_label(torch.zeros(3), names) == "none"
    assert describe_label(torch.tensor(2.5), ()) == "2.5"
    assert describe_label(torch.tensor(1), names) == "larger than 4"


def test_half_precision_keeps_numbers_in_full(train_run: Train) -> None:
    run = train_run(*REGRESSION, "trainer.precision=bf16-mixed", *WIDE)
    assert len({math.floor(value) % 8 for value in stored(run).predictions}) == 8  # bfloat16 counts by 128 there
    assert run.metrics["test/r2"] > 0.7
