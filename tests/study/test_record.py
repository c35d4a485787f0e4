"""A study's record grows, and says what the directories of its runs say."""

import csv
import importlib
import json
import sys
from pathlib import Path

import pytest

from leyden.study.plan import Plan, PlannedJob
from leyden.study.record import (
    commands_to_finish,
    keep_plan,
    planned_jobs,
    read_row,
    read_study,
    write_results,
    write_study,
)


def plan(*jobs: tuple[str, dict[str, object]], **settings: object) -> Plan:
    planned = [PlannedJob(name, (f"seed={number}",), factors, number, 1) for number, (name, factors) in enumerate(jobs)]
    keys = {key for _, factors in jobs for key in factors}
    return Plan(planned, {key: [] for key in keys}, settings, [])


def test_command_whose_runs_another_has_too_is_not_given_again(tmp_path: Path) -> None:
    keep_plan(tmp_path, plan(("a", {"x": 1})), ["x=1,2"], allow_changes=False)
    keep_plan(tmp_path, plan(("a", {"x": 1}), ("b", {"x": 2})), ["x=1,2", "jobs=2"], allow_changes=False)
    keep_plan(tmp_path, plan(("c", {"x": 3})), ["x=3,4"], allow_changes=False)
    study = read_study(tmp_path)
    place = f"hydra.sweep.dir={tmp_path}"
    assert commands_to_finish(tmp_path, study, ["jobs=4"]) == [
        ["-m", "x=1,2", "jobs=4", place], ["-m", "x=3,4", "jobs=4", place],
    ]  # fmt: skip
    assert [job.id for job in planned_jobs(study)] == ["a", "b", "c"]


def test_key_that_becomes_a_factor_gets_the_value_that_all_had(tmp_path: Path) -> None:
    keep_plan(tmp_path, plan(("a", {"x": 1}), y=5, z=0), ["x=1"], allow_changes=False)
    keep_plan(tmp_path, plan(("b", {"x": 1, "y": 6}), z=0), ["y=6"], allow_changes=False)
    jobs = read_study(tmp_path)["jobs"]
    assert jobs["a"]["factors"] == {"x": 1, "y": 5}
    with pytest.raises(ValueError, match="written with z=0, not z=1"):
        keep_plan(tmp_path, plan(("c", {"x": 2}), z=1), ["x=2"], allow_changes=False)


def test_own_part_that_a_line_adds_is_no_other_code_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    part = tmp_path / "part_of_a_record.py"
    part.write_text("WIDTH = 1\n", encoding="utf-8")
    first, second = plan(("a", {"x": 1})), plan(("b", {"x": 2}))
    keep_plan(tmp_path, first, ["x=1"], allow_changes=False)
    importlib.import_module(part.stem)
    keep_plan(tmp_path, second, ["x=2"], allow_changes=False)
    module = sys.modules.pop(part.stem)
    keep_plan(tmp_path, first, ["x=1"], allow_changes=False)  # by a process that has not imported it
    sys.modules[part.stem] = module
    part.write_text("WIDTH = 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="written by other code"):
        keep_plan(tmp_path, second, ["x=2"], allow_changes=False)
    keep_plan(tmp_path, second, ["x=2"], allow_changes=True)
    keep_plan(tmp_path, second, ["x=2"], allow_changes=False)


def test_study_written_by_a_version_that_hashed_all_code_as_one_is_of_other_code(tmp_path: Path) -> None:
    keep_plan(tmp_path, plan(("a", {"x": 1})), ["x=1"], allow_changes=False)
    write_study(tmp_path, read_study(tmp_path) | {"code": "0123456789ab"})
    with pytest.raises(ValueError, match="written by other code"):
        keep_plan(tmp_path, plan(("b", {"x": 2})), ["x=2"], allow_changes=False)
    keep_plan(tmp_path, plan(("b", {"x": 2})), ["x=2"], allow_changes=True)
    keep_plan(tmp_path, plan(("c", {"x": 3})), ["x=3"], allow_changes=False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "\x00\xff"])
def test_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"study\.json"):
        read_study(tmp_path)


def test_row_of_a_run_that_was_killed_says_so(tmp_path: Path) -> None:
    job = PlannedJob("a", (), {}, 0, 1)
    assert read_row(tmp_path / "a", job).status == "waiting"
    (tmp_path / "a").mkdir()
    record = {"status": "running", "attempt": 2, "attempts": [{"seconds": 1.5}], "seconds": None}
    (tmp_path / "a" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    row = read_row(tmp_path / "a", job)
    assert (row.status, row.attempt, row.seconds, row.is_told) == ("interrupted", 2, 1.5, False)


@pytest.mark.parametrize("row", [b"0,0.5\xff\n", b"0,half\n"])
def test_damaged_metrics_leave_a_finished_run_finished(
    row: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = {"status": "finished", "attempt": 1, "seconds": 2.0, "metrics": {"best/val/accuracy": 0.5}}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "metrics.csv").write_bytes(b"epoch,train/loss\n" + row)
    found = read_row(tmp_path, PlannedJob("a", (), {}, 0, 1))
    assert (found.status, found.metrics) == ("finished", {"best/val/accuracy": 0.5})
    assert str(tmp_path / "metrics.csv") in caplog.text


def test_results_hold_whatever_a_factor_is(tmp_path: Path) -> None:
    job = PlannedJob("a", (), {"scale": [0.5, 1], "name": 'a,"b"', "seed": 3}, 3, 1)
    write_results(tmp_path, ["scale", "name", "seed"], [read_row(tmp_path / "a", job)])
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["scale"], row["name"], row["seed"], row["status"]) == ("[0.5, 1]", 'a,"b"', "3", "waiting")
