"""What a runs directory holds is listed as it stands, however damaged."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from leyden.live.details import details
from leyden.live.runs import Runs
from leyden.lock import LOCK_FILE
from live.pages import write_run
from written_studies import write_study


def by_path(listing: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {run["path"]: run for run in listing["runs"]}


def test_runs_and_studies_are_found_at_any_depth(tmp_path: Path) -> None:
    write_run(tmp_path / "digits" / "one")
    write_run(tmp_path / "a" / "b" / "c" / "deep")
    write_run(tmp_path / "a" / "b" / "c" / "d" / "deeper")
    write_run(tmp_path / "wandb" / "other")
    write_study(tmp_path / "digits" / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    listing = Runs(tmp_path).listing()
    assert {"digits/one", "a/b/c/deep", "digits/mine/0000000000", "digits/mine/0000000001"} == by_path(listing).keys()
    (study,) = listing["studies"]
    assert (study["path"], study["waiting"]) == ("digits/mine", 0)
    job = by_path(listing)["digits/mine/0000000001"]
    assert (job["study"], job["factors"]) == ("digits/mine", {"optimizer": "adam", "seed": "0"})
    assert job["test"]["name"] == "test/accuracy"


def test_a_study_or_a_run_may_be_the_directory_itself(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    listing = Runs(study).listing()
    assert [one["path"] for one in listing["studies"]] == [""]
    assert {run["study"] for run in listing["runs"]} == {""}
    assert Runs(study / "0000000000").directory("") == study / "0000000000"


def test_jobs_that_have_not_begun_are_waiting(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    (study / "0000000001" / "run.json").unlink()
    assert Runs(tmp_path).listing()["studies"][0]["waiting"] == 1


def test_a_run_that_nobody_works_on_was_killed(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "one", status="running", metrics={})
    (directory / LOCK_FILE).touch()
    (run,) = Runs(tmp_path).listing()["runs"]
    assert (run["status"], run["reason"]) == ("interrupted", "killed: it did not say how it ended")


def test_a_run_under_way_tells_how_far_it_is(tmp_path: Path) -> None:
    write_run(tmp_path / "one", epochs=5, status="running", metrics={})
    (run,) = Runs(tmp_path).listing()["runs"]
    assert (run["epoch"], run["epochs"]) == (5, 30)
    assert run["best"] == {"name": "val/accuracy", "value": 0.54, "is_share": True, "direction": "max"}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"status": "happy"}',
        '{"status": "finished", "metrics": 3}',
        '{"status": "finished", "attempts": [1]}',
        '{"status": "finished", "reason": ["no"]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_record_is_told_beside_the_others(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "good")
    (write_run(tmp_path / "bad") / "run.json").write_text(text, encoding="utf-8")
    runs = by_path(Runs(tmp_path).listing())
    assert runs["bad"]["status"] == "damaged"
    assert runs["bad"]["reason"]
    assert runs["good"]["status"] == "finished"


def test_numbers_that_json_does_not_have_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "one", seconds=float("nan"), metrics={"best/val/loss": float("inf"), "test/accuracy": 0.5})
    listing = Runs(tmp_path).listing()
    json.dumps(listing, allow_nan=False)
    json.dumps(details(tmp_path, tmp_path / "one"), allow_nan=False)


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_damaged_study_still_has_its_runs(tmp_path: Path, text: str) -> None:
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    (study / "study.json").write_text(text, encoding="utf-8")
    listing = Runs(tmp_path).listing()
    assert "is damaged" in listing["studies"][0]["reason"]
    assert [run["study"] for run in listing["runs"]] == ["mine", "mine"]


def test_settings_are_those_that_differ(tmp_path: Path) -> None:
    write_run(tmp_path / "one", rate=0.1)
    write_run(tmp_path / "two", rate=0.2)
    assert Runs(tmp_path).settings(["one", "two"]) == [{"optimizer.lr": "0.1"}, {"optimizer.lr": "0.2"}]


def test_what_is_new_is_seen_and_what_is_gone_forgotten(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    assert runs.listing()["runs"] == []
    directory = write_run(tmp_path / "one", status="running", metrics={})
    study = write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=[0])
    assert len(runs.listing()["runs"]) == 3
    shutil.rmtree(study)
    write_run(directory, status="failed", reason="it broke")
    assert runs.listing()["runs"][0]["reason"] == "it broke"
    (directory / "run.json").unlink()
    assert runs.listing()["runs"] == []
    assert runs.records.known == runs.configs.known == runs.studies.known == {}


def test_details_tell_of_log_error_and_pictures(tmp_path: Path) -> None:
    metrics = {"best/val/accuracy": 0.9, "test/accuracy": 0.875, "test/recall/cat": 0.5, "test/loss": float("nan")}
    directory = write_run(tmp_path / "one", data={"name": "digits"}, metrics=metrics)
    (directory / "error.txt").write_text("Traceback\nValueError: no\n", encoding="utf-8")
    (directory / "learning_curves.png").write_bytes(b"png")
    (directory / "log.txt").write_text("".join(f"line {number}\n" for number in range(5000)), encoding="utf-8")
    found = details(tmp_path, directory)
    assert found["facts"]["data"] == "digits"
    assert found["metrics"] == {"best/val/accuracy": 0.9, "test/accuracy": 0.875, "test/loss": None}
    assert found["error"].endswith("ValueError: no\n")
    assert found["pictures"] == ["one/learning_curves.png"]
    assert found["log"].startswith("line ")
    assert found["log"].endswith("line 4999\n")
    assert len(found["log"]) < 10_000


def test_a_thousand_runs_are_listed_in_a_moment(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "0")
    record = (directory / "run.json").read_bytes()
    for number in range(1, 1000):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "run.json").write_bytes(record)
    runs = Runs(tmp_path)
    assert len(runs.listing()["runs"]) == 1000
    begun = time.perf_counter()
    runs.listing()
    assert time.perf_counter() - begun < 1.0
