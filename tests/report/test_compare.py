"""Two runs, or the best settings of two studies: what is said of them against what was written into them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from leyden import command_line
from leyden.predictions import PREDICTIONS_FILE, Predictions, read_predictions, write_predictions
from leyden.report.compare import _changes, compare
from leyden.report.words import p_in_words
from leyden.report.write import write_report
from running import FinishedRun
from written_studies import NUM_TEST, write_study

ACCURACY = {"sgd": 0.80, "adam": 0.95}
WORSE = {"sgd": 0.78, "adam": 0.90}


def best(optimizer: str) -> float:
    return ACCURACY[optimizer]


def worse(optimizer: str) -> float:
    return WORSE[optimizer]


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    """Two studies over the same seeds, adam best in both."""
    factors = {"optimizer": ["sgd", "adam"]}
    return write_study(tmp_path / "one", factors, best), write_study(tmp_path / "two", factors, worse, noise=0.01)


def change(directory: Path, **facts: Any) -> None:
    record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    for key, value in facts.items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    (directory / "run.json").write_text(json.dumps(record), encoding="utf-8")


def accuracies(study: Path, places: range) -> list[float]:
    records = [json.loads((study / f"{place:010x}" / "run.json").read_text(encoding="utf-8")) for place in places]
    return [record["metrics"]["test/accuracy"] for record in records]


def answer(directory: Path, right: np.ndarray) -> None:
    """Stores answers that are right where `right` [N] says."""
    labels = np.arange(len(right)) % 10
    write_predictions(directory, Predictions(labels, (labels + ~right) % 10, np.full(len(right), 0.9)))


def points(line: str) -> list[float]:
    """Difference, low and high of a line about shares."""
    found = re.search(r": (−?[\d.]+) points, 95 % interval (−?[\d.]+) to (−?[\d.]+), p", line)
    assert found is not None, line
    return [float(number.replace("−", "-")) for number in found.groups()]


def test_best_settings_of_studies_are_paired_over_their_seeds(studies: tuple[Path, Path]) -> None:
    text = compare(*studies)
    assert f"{studies[0]}: optimizer=adam (best of two settings by val/accuracy; three seeds)" in text
    line = next(line for line in text.splitlines() if ", first minus second: " in line)
    first, second = (accuracies(study, range(3, 6)) for study in studies)
    expected = stats.ttest_rel(first, second).confidence_interval()
    difference = np.mean(first) - np.mean(second)
    assert points(line) == pytest.approx([100 * x for x in (difference, expected.low, expected.high)], abs=0.0501)
    assert "paired over 3 seeds" in line
    assert text.count("McNemar's test") == 3


def test_alike_seeds_have_the_interval_of_the_report(tmp_path: Path) -> None:
    def same(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record["metrics"]["test/accuracy"] = 0.95

    study = write_study(tmp_path / "mine", {}, lambda: 0.9, change=same)
    (told,) = write_report([study])[0]["answer"][:1]
    interval = re.search(r"95\.0 % ± \d+\.\d", told)
    assert interval is not None
    assert not interval[0].endswith(" 0.0")
    assert f"test/accuracy {interval[0]} (95 % interval over 3 seeds)" in compare(study, study)


def test_command_prints_the_comparison_and_an_error_in_one_line(
    studies: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.compare([str(study) for study in studies]) == 0
    assert capsys.readouterr().out == compare(*studies) + "\n"
    assert command_line.compare([str(studies[0]), str(studies[0].parent / "absent")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert command_line.compare([str(studies[0])]) == 1


def test_other_seeds_are_compared_by_welchs_test(studies: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_study(tmp_path / "three", {"optimizer": ["sgd", "adam"]}, worse, seeds=[7, 8, 9, 10])
    text = compare(studies[0], other)
    first, second = accuracies(studies[0], range(3, 6)), accuracies(other, range(4, 8))
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    line = next(line for line in text.splitlines() if ", first minus second: " in line)
    assert points(line)[1:] == pytest.approx([100 * expected.low, 100 * expected.high], abs=0.0501)
    assert "Welch" in line
    assert "McNemar" not in text


def test_two_runs_are_paired_over_their_test_images(studies: tuple[Path, Path]) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000004"
    generator = np.random.default_rng(0)
    first, second = generator.random(NUM_TEST) < 0.95, generator.random(NUM_TEST) < 0.85
    answer(one, first)
    answer(other, second)
    text = compare(one, other)
    line = next(line for line in text.splitlines() if ", first minus second: " in line)
    expected = stats.ttest_rel(first.astype(float), second.astype(float))
    low, high = expected.confidence_interval()
    assert points(line)[1:] == pytest.approx([100 * low, 100 * high], abs=0.0501)
    discordant = int((first & ~second).sum()), int((second & ~first).sum())
    assert f"{discordant[0]} are right in the first alone, {discordant[1]} in the second alone" in text
    assert "seed: 0 → 1" in text
    # McNemar 1947 with Edwards' correction
    statistic = (abs(discordant[0] - discordant[1]) - 1) ** 2 / sum(discordant)
    p_value = stats.chi2.sf(statistic, 1)
    assert p_in_words(p_value) in text.split("McNemar")[1]


def test_mcnemars_test_of_few_images_is_the_sign_test(studies: tuple[Path, Path]) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000003"
    right = np.ones(NUM_TEST, bool)
    first, second = right.copy(), right.copy()
    first[:3], second[3:12] = False, False
    answer(one, first)
    answer(other, second)
    expected = stats.binomtest(3, 12).pvalue  # 0.146
    assert (
        f"McNemar's test (exact): of {NUM_TEST} test images 9 are right in the first alone, "
        f"3 in the second alone, p = {expected:.2f}"
    ) in compare(one, other)


def test_a_run_against_itself_differs_in_nothing(studies: tuple[Path, Path]) -> None:
    text = compare(studies[0] / "0000000003", studies[0] / "0000000003")
    assert "p = 1.00" in text
    assert text.endswith("settings: the same\ncode and machine: the same\ndata: the same")


def test_run_against_study_has_a_difference_without_interval(studies: tuple[Path, Path]) -> None:
    text = compare(studies[0] / "0000000003", studies[1])
    assert "one run on a side: nothing tells the noise of seeds" in text
    assert "McNemar's test, seed 0" in text


def test_single_runs_have_their_interval_over_test_images(studies: tuple[Path, Path]) -> None:
    run = studies[0] / "0000000003"
    change(run, metrics={"test/accuracy": 0.95}, intervals={"test/accuracy": [0.921, 0.969]})
    text = compare(run, studies[0] / "0000000004")
    assert "test/accuracy 95.0 %, 95 % interval 92.1 % to 96.9 % over the test images" in text


def test_settings_code_and_data_that_differ_are_named(studies: tuple[Path, Path]) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000003"
    (one / "config.yaml").write_text(
        "seed: 0\nname: a\nruns_dir: x\nlogger:\n  mode: auto\noptimizer:\n  lr: 0.1\n  nesterov: true\n"
    )
    (other / "config.yaml").write_text(
        "seed: 0\nname: b\nruns_dir: y\nlogger:\n  mode: off\noptimizer:\n  lr: 0.01\n  betas:\n  - 0.9\n"
    )
    change(other, git_commit="2" * 40, git_dirty=True, versions={"torch": "2.7.0"}, data={"split_seed": 3})
    text = compare(one, other)
    assert text.split("settings that differ:\n")[1].splitlines() == [
        "  optimizer.lr: 0.1 → 0.01", "  optimizer.nesterov: true → (none)", "  optimizer.betas: (none) → [0.9]",
        "code and machine that differ:", f"  git_commit: {'1' * 40} → {'2' * 40}", "  git_dirty: false → true",
        "  torch: 2.6.0 → 2.7.0", "data that differ:", "  split_seed: 0 → 3",
    ]  # fmt: skip
    assert "data.split_seed differs" in text.split("settings that differ")[0]


def test_numbers_that_differ_late_are_told_to_the_digit_that_differs() -> None:
    assert _changes({"lr": 0.1}, {"lr": 0.1000001}) == ["lr: 0.1 → 0.1000001"]


def test_settings_that_change_alike_are_all_told() -> None:
    one, other = ({"deterministic": now, "trainer.deterministic": now, "optimizer.nesterov": now} for now in (0, 1))
    assert _changes(one, other) == ["deterministic: 0 → 1", "optimizer.nesterov: 0 → 1"]


def test_other_data_is_refused_with_both_fingerprints(studies: tuple[Path, Path]) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000003"
    change(other, data={"fingerprint": "b" * 64})
    with pytest.raises(ValueError, match=rf"{'a' * 64}.*{'b' * 64}"):
        compare(one, other)


def test_other_test_images_are_refused(studies: tuple[Path, Path]) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000003"
    answer(other, np.ones(NUM_TEST - 10, bool))
    with pytest.raises(ValueError, match=r"has 360 .* has 350 .*fingerprint a{64}"):
        compare(one, other)


@pytest.mark.parametrize("status", ["failed", "interrupted", "running", "pruned"])
def test_unfinished_run_is_refused_with_its_status(studies: tuple[Path, Path], status: str) -> None:
    run = studies[0] / "0000000003"
    change(run, status=status)
    told = "interrupted" if status == "running" else status  # nobody is at work in it
    with pytest.raises(ValueError, match=rf"{run} cannot be compared: its status is {told}, not finished"):
        compare(run, studies[1])


def test_runs_without_or_with_damaged_predictions(studies: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000003"
    (other / PREDICTIONS_FILE).unlink()
    text = compare(one, other)
    assert f"McNemar's test: there is no {PREDICTIONS_FILE} in {other.resolve()}" in text
    assert "nothing tells the noise" in text
    (other / PREDICTIONS_FILE).write_bytes((one / PREDICTIONS_FILE).read_bytes()[:-40])
    with pytest.raises(ValueError, match=PREDICTIONS_FILE):
        compare(one, other)
    with pytest.raises(ValueError, match=r"is no run directory"):
        compare(one, tmp_path)


def test_runs_chosen_by_other_metrics_are_compared_by_test_accuracy(studies: tuple[Path, Path]) -> None:
    one, other = studies[0] / "0000000003", studies[1] / "0000000003"
    record = json.loads((other / "run.json").read_text(encoding="utf-8"))
    record["metrics"] = {"best/epoch": 1, "best/val/loss": 0.3, "test/loss": 0.2, "test/accuracy": 0.9}
    (other / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert "test/accuracy 90.0 %" in compare(one, other)
    change(other, metrics={"test/accuracy": None})
    with pytest.raises(ValueError, match=r"reports test/accuracy and .* test/loss"):
        compare(one, other)


def test_really_trained_runs_are_compared(train_run: Callable[..., FinishedRun]) -> None:
    one, other = train_run("seed=0", "optimizer.lr=0.01"), train_run("seed=0", "optimizer.lr=0.0001")
    text = compare(one.directory, other.directory)
    first, second = (read_predictions(run.directory) for run in (one, other))
    assert first is not None
    assert second is not None
    difference = np.mean(first.predictions == first.labels) - np.mean(second.predictions == second.labels)
    assert difference == pytest.approx(one.metrics["test/accuracy"] - other.metrics["test/accuracy"], abs=1e-6)
    line = next(line for line in text.splitlines() if ", first minus second: " in line)
    assert points(line)[0] == pytest.approx(100 * difference, abs=0.0501)
    assert "  optimizer.lr: 0.01 → 0.0001" in text
    assert "code and machine: the same\ndata: the same" in text
