"""The report as a whole: three files whose sentences follow from the numbers."""

import itertools
import json
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from leyden import command_line
from leyden.report.findings import failures
from leyden.report.tables import runs_table, settings_table
from leyden.report.write import write_report
from running import SHORT
from studies import Study
from written_studies import write_study

FACTORS = {"optimizer": ["sgd", "adam"], "optimizer.lr": [0.001, 0.01, 0.1], "head.dropout": [0.0, 0.5]}


def value(optimizer: str, optimizer_lr: float, head_dropout: float) -> float:
    best = {"sgd": 0.1, "adam": 0.01}[optimizer]
    return 0.95 - 0.03 * abs(np.log10(optimizer_lr / best)) - 0.01 * (head_dropout > 0)


def test_three_files_hold_the_same_figures(tmp_path: Path) -> None:
    report, page = write_report([write_study(tmp_path / "mine", FACTORS, value)])
    assert page == tmp_path / "mine" / "report.html"
    stored = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(report))
    markdown, html = page.with_suffix(".md").read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    assert all(sentence in markdown and sentence in html for sentence in report["answer"])
    figures = [cell.text for row in settings_table(report).rows for cell in row]
    figures += [cell.text for row in runs_table(report).rows for cell in row if not cell.address]
    assert all(escape(text) in html and text in markdown.replace("\\", "") for text in figures)
    assert page.stat().st_size < 6 * 2**20


def test_answer_follows_from_the_runs(tmp_path: Path) -> None:
    report, _ = write_report([write_study(tmp_path / "mine", FACTORS, value, noise=0.001)])
    first, second, third = report["answer"]
    assert first.startswith("With three seeds, optimizer=")
    assert "is best on val/accuracy: test/accuracy" in first
    assert second.startswith("Of the variance of val/accuracy, optimizer")
    assert third == "No run overfits."
    assert report["command"].startswith("leyden train optimizer=")
    assert report["data"] == "digits: 1,169 training, 269 validation, 360 test images"
    assert report["responses"][0]["factor"] == "optimizer.lr"
    assert report["responses"][0]["by"] == "optimizer"


@pytest.mark.parametrize(("seeds", "told"), [([0], "one seed"), ([0, 1, 2], "three seeds")])
def test_runs_that_have_not_begun_are_neither_splits_nor_runs_of_their_own(
    tmp_path: Path, seeds: list[int], told: str
) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam", "rmsprop"]}, lambda optimizer: 0.9, seeds)
    (study / f"{3 * len(seeds) - 1:010x}" / "run.json").unlink()
    report, _ = write_report([study])
    assert report["answer"][0].startswith(f"With {told}, optimizer=")
    assert "split seed" not in [column.name for column in runs_table(report).columns]


def test_first_sentence_can_be_checked_by_hand_from_results_csv(study: Study) -> None:
    assert study("optimizer=sgd,adam", "optimizer.lr=0.001,0.1", "seed=0,1,2", "study=mine") == 0, study.err
    rows = study.results
    means: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        means.setdefault((row["optimizer"], row["optimizer.lr"]), []).append(row)
    best = max(means.values(), key=lambda found: statistics.mean(float(row["best/val/accuracy"]) for row in found))
    values = [float(row["test/accuracy"]) for row in best]
    half = stats.t.ppf(0.975, 2) * statistics.stdev(values) / 3**0.5
    report = json.loads((study.directory / "report.json").read_text(encoding="utf-8"))
    told = f"optimizer={best[0]['optimizer']} optimizer.lr={float(best[0]['optimizer.lr']):g} is best on val/accuracy"
    assert told in report["answer"][0]
    assert f"{100 * statistics.mean(values):.1f} %" in report["answer"][0]
    assert report["settings"][0]["reported"]["high"] == pytest.approx(statistics.mean(values) + half)
    assert report["answer"][0] in study.out
    assert "report.html" in study.out


def test_report_of_a_study_whose_runs_all_failed_says_why_there_is_none(study: Study) -> None:
    from studies import ENDS

    assert study(ENDS, "callbacks.ends.how=raise", "seed=0,1") == 1
    assert "there is no report" in study.err
    assert command_line.report([str(study.directory)]) == 1
    assert "no run has finished (2 failed), so there is nothing to report" in study.capture.readouterr().err


def test_failed_runs_and_uneven_losses_are_told(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer.lr"] == 0.1 and levels["seed"] > 0:
            record |= {"status": "failed", "reason": "the loss is NaN", "metrics": {}}

    report, _ = write_report([write_study(tmp_path / "mine", FACTORS, value, change=change)])
    assert report["failures"] == ["Eight runs of 36 failed: the loss is NaN (8 of them)"]
    assert any("8 of 12 with optimizer.lr=0.1, 0 of 24 of the others" in told for told in report["warnings"])
    (told,) = (told for told in report["warnings"] if "one run only" in told)
    assert told.endswith("its noise is unknown; give seed=0,1,2.")  # nobody runs what has failed once more


def test_levels_at_whose_edge_a_best_value_lies_are_told_as_one_types_them(tmp_path: Path) -> None:
    factors = {"head.bias": [True, None], "optimizer.lr": [0.01, 0.1, 1.0]}
    study = write_study(tmp_path / "mine", factors, lambda head_bias, optimizer_lr: 0.8 + 0.1 * optimizer_lr)
    report, _ = write_report([study])
    assert any(told.startswith("With head.bias true, null, optimizer.lr is best") for told in report["warnings"])


def test_best_value_at_the_edge_of_its_range_is_told(tmp_path: Path) -> None:
    factors = {"optimizer.lr": [0.01, 0.1, 1.0]}
    report, _ = write_report([write_study(tmp_path / "mine", factors, lambda optimizer_lr: 0.8 + 0.1 * optimizer_lr)])
    assert any("The best optimizer.lr, 1, is the largest tried" in told for told in report["warnings"])


def test_validation_set_too_small_for_the_effect_is_told(tmp_path: Path) -> None:
    report, _ = write_report([write_study(tmp_path / "mine", FACTORS, value)])
    assert any(told.startswith("269 validation images tell an accuracy only to ±") for told in report["warnings"])


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_single_setting_has_a_report(tmp_path: Path, seeds: list[int]) -> None:
    report, page = write_report([write_study(tmp_path / "mine", {}, lambda: 0.9, seeds=seeds)])
    assert f"With {['one seed', 'two seeds'][len(seeds) - 1]}, test/accuracy" in report["answer"][0]
    assert report["importance"] is None
    assert report["power"] is None
    assert page.is_file()


def test_constant_factor_has_no_effect(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd"], "head.dropout": [0.0, 0.5]}, lambda **levels: 0.9)
    report, _ = write_report([study])
    assert [effect["factor"] for effect in report["effects"]] == ["head.dropout"]
    assert report["interactions"] == []


def test_damaged_predictions_are_listed_and_the_rest_is_reported(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", FACTORS, value)
    (study / "0000000000" / "test_predictions.npz").write_bytes(b"PK\x03\x04no")
    report, _ = write_report([study])
    assert [told["directory"] for told in report["unreadable"]] == [str(study / "0000000000")]
    assert len(report["calibration"]) == 12


def test_report_imports_no_torch(tmp_path: Path) -> None:
    write_study(tmp_path / "mine", FACTORS, value)
    code = "import sys; from leyden import command_line; command_line.report(['mine']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_real_runs_of_their_own_are_reported_together(
    leyden: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    for optimizer, seed in itertools.product(("sgd", "adam"), (0, 1)):
        words = [f"optimizer={optimizer}", f"seed={seed}", f"hydra.run.dir=runs/{optimizer}/seed{seed}"]
        assert leyden("train", *SHORT, "epochs=2", *words).returncode == 0
    done = leyden("report", "runs/sgd", "runs/adam")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "runs" / "report.json").read_text(encoding="utf-8"))
    assert [setting["selection"]["n"] for setting in report["settings"]] == [2, 2]
    best = report["settings"][0]["label"]  # optimizer=Adam, the class
    assert f"With two seeds, {best} is best" in done.stdout
    assert best.lower() in shlex.split(report["command"])
    again = leyden("report", *map(str, (tmp_path / "runs").iterdir()))  # as a shell's runs/* has it, the report with it
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


def test_report_of_runs_of_a_study_leaves_the_studys_own_alone(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", FACTORS, value)
    _, page = write_report([study])
    before = page.read_bytes()
    assert write_report([study / "0000000001"])[1] == study / "0000000001" / "report.html"
    assert write_report([study / "0000000001", study / "0000000002"])[1] == study / "report_of_runs.html"
    assert page.read_bytes() == before


def test_run_that_is_repeated_counts_once_everywhere(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    shutil.copytree(study / "0000000000", study / "again")
    (study / "study.json").unlink()
    report, _ = write_report([study])
    assert "One run repeats another's setting and seed: the last of them counts." in report["warnings"]
    assert [estimate["n"] for estimate in report["effects"][0]["estimates"]] == [1, 1]
    assert report["importance"] is not None
    assert report["importance"]["method"].startswith("Not told: with one run of each setting")


def test_run_whose_metric_is_nan_is_told_and_left_out(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer.lr"] == 0.1:
            record["metrics"]["best/val/accuracy"] = float("nan")
        elif levels["optimizer"] == "sgd" and levels["seed"] == 2:
            del record["metrics"]["test/accuracy"]

    report, _ = write_report([write_study(tmp_path / "mine", FACTORS, value, change=change)])
    assert report["metric"]["reported"] == "test/accuracy"
    (told,) = report["failures"]
    assert told.startswith("16 runs of 36 finished, but cannot be compared: no number as best/val/accuracy (12 of")
    assert any("12 of 12 with optimizer.lr=0.1" in warning for warning in report["warnings"])


def test_reasons_that_differ_in_figures_alone_are_told_once() -> None:
    reasons = ["nan at step 1 (norm 0.05)", "3.jpg is bad", "nan at step 12 (norm 1e-05)", "4.jpg is bad"]
    runs: list[Any] = [{"status": "failed", "reason": reason} for reason in reasons]
    assert failures(runs) == [
        "Four runs of 4 failed: nan at step 1 (norm 0.05) (2 of them, figures differ); 3.jpg is bad; 4.jpg is bad"
    ]


def test_stopped_runs_are_no_failures_and_a_single_failure_is_not_uneven(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "adam" and levels["seed"] > 0:
            record |= {"status": "interrupted", "reason": "stopped by SIGTERM, the state is saved", "metrics": {}}
        if levels == {"optimizer": "sgd", "optimizer.lr": 0.1, "head.dropout": 0.0, "seed": 0}:
            record |= {"status": "failed", "reason": "the loss is NaN", "metrics": {}}

    report, _ = write_report([write_study(tmp_path / "mine", FACTORS, value, change=change)])
    assert not any("unevenly" in told for told in report["warnings"])
    assert any("more are asked for" in told for told in report["warnings"])


def test_runs_too_short_to_judge_are_not_said_not_to_overfit(tmp_path: Path) -> None:
    report, _ = write_report([write_study(tmp_path / "mine", FACTORS, value, epochs=6)])
    assert report["answer"][-1] == "Whether runs overfit is not told: they have fewer than 8 epochs on record."
    study = write_study(tmp_path / "other", FACTORS, value)
    (study / "0000000003" / "metrics.csv").write_bytes(b"\0" * 100)
    report, _ = write_report([study])
    assert report["answer"][-1] == "No run overfits; one other cannot be judged."
    assert [told["directory"] for told in report["unreadable"]] == [str(study / "0000000003")]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(
            "leyden train --config-dir my/conf optimizer=mine hydra.run.dir=/x/y resume=auto study=mine",
            "leyden train --config-dir my/conf optimizer=mine", id="the options of the runs",
        ),
        pytest.param(
            "leyden train study=finetune finetune=full seed=0 data=elpv jobs=2 hydra.run.dir=/x",
            "leyden train study=finetune finetune=full seed=0 data=elpv", id="a preset, which sets more than it varies",
        ),
        pytest.param(
            "leyden train 'hydra.searchpath=[file:///mine]' hydra.run.dir=/x hydra/launcher=ray a=b",
            "leyden train 'hydra.searchpath=[file:///mine]' a=b", id="where files are found",
        ),
    ],
)  # fmt: skip
def test_command_of_the_best_setting_keeps_what_decides(given: str, told: str, tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record["command"] = given

    report, _ = write_report([write_study(tmp_path / "mine", {}, lambda: 0.9, change=change)])
    assert report["command"] == told


def test_a_search_is_not_advised_to_look_for_the_best_seed(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"optimizer.lr": [0.1, 0.2]}, lambda optimizer_lr: optimizer_lr, [0])
    (study / "optuna.journal").touch()
    report, _ = write_report([study])
    assert any("train the best ones again in a study of their own" in told for told in report["warnings"])


def test_sizes_that_differ_by_run_are_told_from_the_fewest_to_the_most(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record["data"]["num_train"] = {1: 10, 5: 50, None: 1169}[levels["data.labels_per_class"]]

    factors = {"data.labels_per_class": [5, None, 1]}
    report, _ = write_report([write_study(tmp_path / "mine", factors, lambda **levels: 0.9, change=change)])
    assert report["data"] == "digits: 10 to 1,169 training, 269 validation, 360 test images"


def test_runs_whose_seed_is_not_known_are_runs_apart(tmp_path: Path) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        del record["seed"]

    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, value_of_optimizer, change=change)
    (study / "study.json").unlink()
    for path in study.glob("*/config.yaml"):
        path.write_text(path.read_text(encoding="utf-8").partition("seed")[0], encoding="utf-8")
    report, _ = write_report([study])
    assert [setting["selection"]["n"] for setting in report["settings"]] == [3, 3]
    assert report["power"] is not None
    assert not report["power"]["is_paired"]


def value_of_optimizer(optimizer: str) -> float:
    return {"sgd": 0.9, "adam": 0.93}[optimizer]


def test_lists_and_infinite_numbers_are_levels(tmp_path: Path) -> None:
    factors = {"optimizer.betas": [[0.9, 0.99], [0.8, 0.9]], "trainer.gradient_clip_val": [float("inf"), 1.0, None]}
    report, _ = write_report([write_study(tmp_path / "mine", factors, lambda **levels: 0.9)])
    assert [factor["levels"] for factor in report["factors"]] == [["[0.9, 0.99]", "[0.8, 0.9]"], ["inf", 1.0, None]]


@pytest.mark.parametrize(
    ("place", "damage"),
    [("wandb", None), ("command", 3), ("seconds", float("nan")), ("data", {}), ("attempts", "none")],
)
def test_record_with_a_wrong_part_is_listed_and_the_rest_is_reported(tmp_path: Path, place: str, damage: Any) -> None:
    def change(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["seed"] == 1:
            record[place] = damage

    report, _ = write_report([write_study(tmp_path / "mine", {}, lambda: 0.9, change=change)])
    assert len(report["unreadable"]) == 1
    assert report["settings"][0]["selection"]["n"] == 2


def test_first_sentence_does_not_contradict_itself(tmp_path: Path) -> None:
    def luck(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "adam":
            record["metrics"]["test/accuracy"] += 0.04  # better where validation does not look

    worth = {"sgd": 0.92, "adam": 0.91, "rmsprop": 0.8}
    factors = {"optimizer": [*worth]}
    report, _ = write_report(
        [write_study(tmp_path / "one", factors, lambda optimizer: worth[optimizer], noise=1e-3, change=luck)]
    )
    assert "on test images optimizer=adam does better (difference −3." in report["answer"][0]
    assert "distinguishable" not in report["answer"][0]

    def single(record: dict[str, Any], levels: dict[str, Any]) -> None:
        if levels["optimizer"] == "adam" and levels["seed"] > 0:
            record |= {"status": "failed", "reason": "it broke"}

    report, _ = write_report(
        [write_study(tmp_path / "two", factors, lambda optimizer: worth[optimizer], noise=1e-3, change=single)]
    )
    assert report["answer"][0].startswith("With three seeds, optimizer=sgd is best")
    assert report["answer"][0].endswith("with one seed of optimizer=adam nothing says whether that is noise.")


def test_splits_are_repeats_of_a_setting(study: Study) -> None:
    assert study("optimizer=sgd,adam", "data.split_seed=0,1,2", "study=mine") == 0, study.err
    table = study.out
    assert "data.split_seed" in table
    report = json.loads((study.directory / "report.json").read_text(encoding="utf-8"))
    assert [factor["name"] for factor in report["factors"]] == ["optimizer"]
    assert [setting["selection"]["n"] for setting in report["settings"]] == [3, 3]
    assert report["answer"][0].startswith("With three splits, optimizer=")
    assert report["power"]["is_paired"]
    assert " splits " in report["power"]["sentence"]
    assert {run["split_seed"] for run in report["runs"]} == {0, 1, 2}
    assert any(told.startswith("Splits learn from the same images in part") for told in report["warnings"])
    assert "split seed" in (study.directory / "report.md").read_text(encoding="utf-8")
    assert command_line.compare([str(study.directory), str(study.directory)]) == 0
    told = study.capture.readouterr().out
    assert "McNemar's test, seed 0, split 2" in told
    assert "(95 % interval over 3 splits)" in told
    assert "paired over 3 splits" in told


def test_folds_are_repeats_of_a_setting(study: Study) -> None:
    assert study("optimizer=sgd,adam", "fold=0,1,2", "folds=3", "study=mine") == 0, study.err
    report = json.loads((study.directory / "report.json").read_text(encoding="utf-8"))
    assert [factor["name"] for factor in report["factors"]] == ["optimizer"]
    assert [setting["selection"]["n"] for setting in report["settings"]] == [3, 3]
    assert report["answer"][0].startswith("With three folds, optimizer=")
    assert report["power"]["is_paired"]
    assert " folds " in report["power"]["sentence"]
    assert {run["fold"] for run in report["runs"]} == {f"{number} of 3" for number in range(3)}
    assert any("narrower than they should be" in told for told in report["warnings"])
    assert command_line.compare([str(study.directory), str(study.directory)]) == 0
    told = study.capture.readouterr().out
    assert "McNemar's test, seed 0, fold 2 of 3" in told
    assert "(95 % interval over 3 folds)" in told
    assert "paired over 3 folds" in told
