"""Factors of a study that grows line by line: every run has a value of each."""

from studies import Study, read_results


def test_new_factor_keeps_the_runs_at_its_old_value(study: Study) -> None:
    assert study("study=mine", "seed=0,1") == 0
    assert study("study=mine", "seed=0,1", "head.dropout=0,0.5") == 0
    assert "finished   2" in study.out
    assert sorted((row["seed"], row["head.dropout"]) for row in study.results) == [
        ("0", "0"), ("0", "0.5"), ("1", "0"), ("1", "0.5"),
    ]  # fmt: skip


def test_factor_that_a_later_line_fixes_is_told_of_its_runs(study: Study) -> None:
    assert study("study=mine", "seed=0", "head.dropout=0,0.5") == 0
    assert study("study=mine", "seed=0,1", "head.dropout=0.5") == 0
    assert "finished   1" in study.out
    assert sorted((row["seed"], row["head.dropout"]) for row in study.results) == [
        ("0", "0"), ("0", "0.5"), ("1", "0.5"),
    ]  # fmt: skip
    assert "0.5           2 " in study.out  # runs of that setting, in the table


def test_group_that_becomes_a_factor_is_told_of_all_runs(study: Study) -> None:
    assert study("study=mine", "seed=0,1") == 0
    assert study("study=mine", "seed=0", "optimizer=sgd,adam") == 0
    found = sorted((row["optimizer"], row["seed"]) for row in study.results)
    assert found == [("adam", "0"), ("adamw", "0"), ("adamw", "1"), ("sgd", "0")]


def test_factor_in_which_the_runs_of_another_line_differed_is_told_of_each(study: Study) -> None:
    default = {"sgd": "0.05", "adam": "0.002"}
    for name, rates_first in (("one", False), ("other", True)):
        lines = [["optimizer=sgd,adam"], ["optimizer=sgd,adam", "optimizer.lr=0.01,0.003"]]
        for line in reversed(lines) if rates_first else lines:
            assert study(f"study={name}", "epochs=1", "seed=0", *line) == 0, study.err
        rows = read_results(next(study.runs.glob(f"*/{name}")))
        assert sorted((row["optimizer"], row["optimizer.lr"]) for row in rows) == sorted(
            (optimizer, rate) for optimizer in default for rate in ("0.01", "0.003", default[optimizer])
        )
