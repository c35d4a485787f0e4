"""What is read of a study or of any runs, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leyden.report.collect import collect, differences, read_curves
from written_studies import write_study

FACTORS = {"optimizer": ["sgd", "adam"], "head.dropout": [0.0, 0.5]}


def value(optimizer: str, head_dropout: float) -> float:
    return 0.9 + 0.05 * (optimizer == "adam") - 0.02 * (head_dropout > 0)


def test_study_is_read_with_its_factors_seeds_and_curves(tmp_path: Path) -> None:
    found = collect([write_study(tmp_path / "mine", FACTORS, value)])
    assert found.title == "mine"
    assert found.factors == list(FACTORS)
    assert [run.seed for run in found.runs] == [0, 1, 2] * 4
    assert found.metric == {
        "selection": "val/accuracy", "reported": "test/accuracy", "direction": "max", "is_share": True,
    }  # fmt: skip
    assert {name: len(values) for name, values in found.runs[0].curves.items()} == {
        "train/loss": 12, "val/loss": 12, "train/accuracy": 12, "val/accuracy": 12,
    }  # fmt: skip


def test_half_finished_study_is_read(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["seed"] == 2:
            record |= {"status": "failed", "reason": "the loss is NaN", "metrics": {}}

    study = write_study(tmp_path / "mine", FACTORS, value, change=change)
    (study / "0000000000" / "run.json").unlink()
    found = collect([study])
    assert [run.status for run in found.runs[:3]] == ["waiting", "finished", "failed"]
    assert len(found.finished) == 7


def test_damaged_record_is_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", FACTORS, value)
    (study / "0000000001" / "run.json").write_text('{"status": "fin', encoding="utf-8")
    found = collect([study])
    assert len(found.finished) == 11
    (told,) = found.unreadable
    assert told["directory"].endswith("0000000001")
    assert "is damaged" in told["reason"]


def test_study_without_a_finished_run_is_refused_with_how_its_runs_stand(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record |= {"status": "failed", "reason": "no", "metrics": {}}

    study = write_study(tmp_path / "mine", FACTORS, value, change=change)
    with pytest.raises(ValueError, match=r"no run has finished \(12 failed\)"):
        collect([study])


def test_different_data_is_refused_and_both_fingerprints_are_named(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "adam":
            record["data"] = {"name": "mnist", "fingerprint": "b" * 64}

    study = write_study(tmp_path / "mine", FACTORS, value, change=change)
    with pytest.raises(ValueError, match=r"has digits with fingerprint aaaaaaaaaaaa, .* has mnist with bbbbbbbbbbbb"):
        collect([study])


def test_different_metrics_are_refused_and_named(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "adam":
            record["metrics"] = {"best/epoch": 1, "best/val/loss": 0.1}

    study = write_study(tmp_path / "mine", FACTORS, value, change=change)
    with pytest.raises(ValueError, match=r"val/accuracy \(six runs\), val/loss \(six runs\)"):
        collect([study])


def test_runs_of_their_own_differ_by_their_configs(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", FACTORS, value)
    (study / "study.json").unlink()
    found = collect([study / f"{number:010x}" for number in range(6)])
    assert found.factors == ["head.dropout"]
    assert found.directory == study
    assert [run.factors["head.dropout"] for run in found.runs] == [0.0] * 3 + [0.5] * 3
    assert len(collect([study]).finished) == 12


def test_directory_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds neither a study nor runs"):
        collect([tmp_path])


def test_class_of_a_part_stands_for_what_belongs_to_it_alone() -> None:
    sgd = {"optimizer._target_": "torch.optim.SGD", "optimizer.lr": 0.1, "optimizer.momentum": 0.9, "seed": 0}
    adam = {"optimizer._target_": "torch.optim.Adam", "optimizer.lr": 0.01, "optimizer.betas": [0.9, 0.99], "seed": 1}
    assert differences([sgd, adam]) == [{"optimizer": "SGD"}, {"optimizer": "Adam"}]
    slow = adam | {"optimizer.lr": 0.001}
    assert differences([sgd, adam, slow])[2] == {"optimizer": "Adam", "optimizer.lr": 0.001}


def test_curves_keep_the_last_value_of_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss,val/loss\n0,1,,3\n0,2,1.5,2\n2,3,nan,1\n3,4,,\n", encoding="utf-8")
    curves = read_curves(path)
    np.testing.assert_array_equal(curves["val/loss"], [2, np.nan, 1])
    np.testing.assert_array_equal(curves["train/loss"], [1.5, np.nan, np.nan])


def test_empty_curves_are_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").touch()
    with pytest.raises(ValueError, match=r"metrics.csv cannot be read \(it is empty\): the run has no curves"):
        read_curves(tmp_path / "metrics.csv")


def test_metric_that_is_no_number_is_not_counted_as_finished(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["seed"] == 0:
            record["metrics"]["best/val/accuracy"] = None

    study = write_study(tmp_path / "mine", FACTORS, value, change=change)
    assert len(collect([study]).finished) == 8
    path = study / "0000000001" / "run.json"
    record = json.loads(path.read_text())
    record["metrics"]["best/val/accuracy"] = float("nan")
    path.write_text(json.dumps(record))
    assert len(collect([study]).finished) == 7


def test_seeds_and_what_follows_a_root_key_are_no_factors(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"epochs": [2, 3]}, lambda epochs: 0.9)
    (study / "study.json").unlink()
    for path in study.glob("*/config.yaml"):
        levels = dict(line.split(": ") for line in path.read_text(encoding="utf-8").splitlines())
        more = f"data: {{seed: {levels['seed']}}}\ntrainer: {{max_epochs: {levels['epochs']}, seed_of_mine: 3}}\n"
        path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    assert collect([study]).factors == ["epochs"]


def test_what_changes_as_a_root_key_does_is_a_factor_unless_it_has_its_name() -> None:
    configs = [{"batch_size": size, "data.batch_size": size, "backbone.width": size} for size in (64, 128)]
    assert differences(configs) == [{"batch_size": size, "backbone.width": size} for size in (64, 128)]


def test_runs_in_directories_of_the_same_name_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    for name, accuracy in (("a", 0.8), ("b", 0.95)):
        study = write_study(tmp_path / name, {"optimizer": [name]}, lambda optimizer, accuracy=accuracy: accuracy)
        (study / "study.json").unlink()
    found = collect([tmp_path])
    assert len({run.id for run in found.runs}) == 6
    assert found.runs[0].id == "a/0000000000"


def test_run_whose_settings_are_not_known_is_listed(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9)
    (study / "study.json").unlink()
    (study / "0000000002" / "config.yaml").unlink()
    (study / "0000000004" / "config.yaml").write_text("a: [", encoding="utf-8")
    found = collect([study])
    assert [Path(told["directory"]).name for told in found.unreadable] == ["0000000002", "0000000004"]
    assert "the run's settings are not known" in found.unreadable[0]["reason"]
    assert len(found.finished) == 4


def test_a_run_without_a_best_value_is_not_the_best(tmp_path: Path) -> None:
    def without(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record["metrics"] = {name.replace("accuracy", "loss"): value for name, value in record["metrics"].items()}
        if levels["rate"] == 1:
            record["metrics"]["best/val/loss"] = None

    study = write_study(tmp_path / "rates", {"rate": [1, 2, 3]}, lambda rate: rate / 10, seeds=[0], change=without)
    assert next(run.factors["rate"] for run in collect([study]).best_first()) == 2
