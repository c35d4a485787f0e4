"""How many labels each way needs: curves and differences against scipy, their worth against the truth put in."""

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from leyden.report.collect import Collection, collect
from leyden.report.labels import label_efficiency
from leyden.report.model import LabelEfficiency
from leyden.report.settings import describe_factors, fold_seeds
from written_studies import write_study

FACTORS: dict[str, list[Any]] = {"finetune": ["scratch", "full"], "data.labels_per_class": [5, 10, 50, None]}
TRUTH = {"scratch": [0.60, 0.65, 0.70, 0.80], "full": [0.70, 0.78, 0.85, 0.90]}
IMAGES = {5: 10, 10: 20, 50: 100, None: 1000}


def accuracy(finetune: str, data_labels_per_class: int | None, **_: Any) -> float:
    return TRUTH[finetune][FACTORS["data.labels_per_class"].index(data_labels_per_class)]


def labelled(record: dict[str, Any], levels: dict[str, Any]) -> None:
    record["data"]["num_train"] = IMAGES[levels["data.labels_per_class"]]


def found_in(collection: Collection) -> LabelEfficiency | None:
    factors = [factor for factor in describe_factors(collection) if len(factor["levels"]) > 1]
    return label_efficiency(collection, factors, fold_seeds(collection))


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return collect([write_study(tmp_path / "mine", FACTORS, accuracy, seeds=range(5), change=labelled)])


def test_curves_are_students_intervals_over_labelled_images(collection: Collection) -> None:
    labels = found_in(collection)
    assert labels is not None
    assert (labels["by"], labels["metric"], labels["is_share"]) == ("finetune", "test/accuracy", True)
    assert [curve["level"] for curve in labels["curves"]] == ["scratch", "full"]
    for curve in labels["curves"]:
        assert curve["images"] == [10, 20, 100, 1000]  # null, all labels, comes last
        assert [each["mean"] for each in curve["estimates"]] == pytest.approx(TRUTH[str(curve["level"])], abs=0.01)
    values = [
        run.value("test/accuracy") or 0.0
        for run in collection.finished
        if run.factors == {"finetune": "full", "data.labels_per_class": None}
    ]
    last = labels["curves"][1]["estimates"][-1]
    assert (last["low"], last["high"]) == pytest.approx(stats.t.interval(0.95, 4, last["mean"], stats.sem(values)))


def test_differences_are_from_the_worst_way_with_all_labels_by_shared_seeds(collection: Collection) -> None:
    labels = found_in(collection)
    assert labels is not None
    assert labels["reference"] == 0

    def by_seed(finetune: str, amount: int | None) -> list[float]:
        runs = [run for run in collection.finished if run.factors == {"finetune": finetune, FACTOR: amount}]
        return [run.value("test/accuracy") or 0.0 for run in sorted(runs, key=lambda run: run.seed or 0)]

    expected = stats.ttest_rel(by_seed("full", 50), by_seed("scratch", None)).confidence_interval()
    apart = labels["curves"][1]["differences"][2]
    assert apart["n"] == 5
    assert (apart["low"], apart["high"]) == pytest.approx((expected.low, expected.high))


FACTOR = "data.labels_per_class"


def test_worth_is_the_fewest_images_from_which_on_a_way_is_no_worse(collection: Collection) -> None:
    labels = found_in(collection)
    assert labels is not None
    (sentence,) = labels["sentences"]
    assert sentence.startswith(
        "Of the amounts tried, 100 labelled images are enough for finetune=full to be on average as good on "
        "test/accuracy as finetune=scratch with 1,000 (79.7"
    )
    assert "points, 95 % interval" in sentence


def test_way_that_is_better_with_few_labels_alone_is_not_as_good(tmp_path: Path) -> None:
    def crossing(finetune: str, data_labels_per_class: int | None) -> float:
        return 0.8 if finetune == "scratch" else {5: 0.9, 10: 0.75, 50: 0.75, None: 0.81}[data_labels_per_class]

    labels = found_in(collect([write_study(tmp_path / "mine", FACTORS, crossing, noise=0.001, change=labelled)]))
    assert labels is not None
    assert labels["sentences"][0].startswith("Of the amounts tried, 1,000 labelled images are enough for finetune=full")


def test_way_without_runs_on_all_labels_is_not_what_others_are_compared_with(tmp_path: Path) -> None:
    def scratch_lacks_all(record: dict[str, Any], levels: dict[str, Any]) -> None:
        labelled(record, levels)
        if levels["finetune"] == "scratch" and levels[FACTOR] is None:
            record["status"] = "failed"

    labels = found_in(collect([write_study(tmp_path / "mine", FACTORS, accuracy, change=scratch_lacks_all)]))
    assert labels is not None
    assert labels["reference"] == 1
    assert labels["sentences"][0].startswith("With no amount tried is finetune=scratch on average as good")


def test_whatever_varies_besides_is_at_its_best_by_validation(tmp_path: Path) -> None:
    factors = {**FACTORS, "optimizer.lr": [0.1, 0.01]}

    def value(optimizer_lr: float, **levels: Any) -> float:
        return accuracy(**levels) - (0.2 if optimizer_lr == 0.1 else 0.0)

    labels = found_in(collect([write_study(tmp_path / "mine", factors, value, change=labelled)]))
    assert labels is not None
    assert [each["mean"] for each in labels["curves"][0]["estimates"]] == pytest.approx(TRUTH["scratch"], abs=0.01)


def test_studies_of_something_else_have_no_such_curves(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"finetune": ["scratch", "full"]}, lambda finetune: 0.5)
    assert found_in(collect([study])) is None


def test_one_way_alone_has_a_curve_and_no_comparison(tmp_path: Path) -> None:
    factors = {FACTOR: FACTORS[FACTOR]}
    study = write_study(
        tmp_path / "mine", factors, lambda data_labels_per_class: accuracy("full", data_labels_per_class),
        change=labelled,
    )  # fmt: skip
    labels = found_in(collect([study]))
    assert labels is not None
    assert labels["by"] is None
    assert [curve["level"] for curve in labels["curves"]] == [None]
    assert labels["sentences"] == []
