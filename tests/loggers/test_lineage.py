"""What is made of a run's network stands at W&B with what it was made from, byte for byte as it lies here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from leyden import command_line
from leyden.export.opened import Opened
from leyden.loggers import lineage
from leyden.loggers.lineage import Made, add, model_artifact
from leyden.study.job import WANDB_SERVICE
from leyden.trained import open_network
from running import FinishedRun
from small_runs import small_run
from wandb_server import KEY, Wandb, wandb_server

QUIET = ["pictures=false"]
FINGERPRINT = "f" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[Wandb]:
    """A stand-in for W&B, to which this machine has a key."""
    with pytest.MonkeyPatch.context() as patch, wandb_server() as server:
        wandb.teardown()  # of other tests, who talk to nobody
        patch.delenv(WANDB_SERVICE, raising=False)
        patch.delenv("WANDB_ENTITY", raising=False)
        for key, value in {"BASE_URL": server.address, "API_KEY": KEY, "MODE": "online"}.items():
            patch.setenv(f"WANDB_{key}", value)
        yield server
        wandb.teardown()


@pytest.fixture(scope="module")
def run(server: Wandb, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run that was online, and has sent its best checkpoint."""
    place = tmp_path_factory.mktemp("online")
    return FinishedRun(small_run(place / "run", "logger=wandb", "logger.code=false", f"runs_dir={place}"))


@pytest.fixture
def nobody(server: Wandb, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B is not reached."""
    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(lineage, "SECONDS_TO_BEGIN", 2)
    yield
    wandb.teardown()


def made_here(directory: Path, server: Wandb, run_id: str, **more: Any) -> tuple[dict[str, Any], Path, Made]:
    """A run that was online, as its record says, its checkpoint, and a file that was made of it."""
    checkpoint = directory / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(run_id.encode())
    (directory / "a").write_bytes(b"made of it")
    record = {"run_id": run_id, "wandb": {"address": f"{server.address}/me/leyden/runs/{run_id}"}}
    return record, checkpoint, Made("export", "model", "a/b", {"a": directory / "a"}, {"format": "a"}, **more)


def content_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_an_evaluation_has_used_the_model_of_the_run_and_its_data(
    run: FinishedRun, server: Wandb, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id, fingerprint = run.record["run_id"], run.record["data"]["fingerprint"]
    assert command_line.of_a_run("evaluate", [f"run={run.directory}", *QUIET]) == 0
    out, err = capfd.readouterr()
    (name, job), said = re.findall(rf"at W&B +(\S+), {server.address}/me/leyden/runs/(\w+)", out)[0], out + err
    assert name == f"me/leyden/evaluation-{run_id}-test:v0"
    (model,), (data,) = server.artefacts.of(f"model-{run_id}"), server.artefacts.of(f"data-{fingerprint[:12]}")
    (sent,) = server.artefacts.of(f"evaluation-{run_id}-test")
    assert (model.type, model.made_by, model.aliases) == ("model", run_id, {"best", "latest"})
    assert job in model.used_by
    assert {run_id, job} <= data.used_by
    assert (sent.type, sent.made_by, sent.aliases) == ("evaluation", job, {"best", "latest"})
    assert (server.runs[job]["jobType"], server.state(job)) == ("evaluation", "finished")
    there, here = server.artefacts.content(sent), content_of(run.directory / "evaluate" / "test")
    assert there.keys() == {"evaluation.json", "evaluation.html", "predictions.parquet"}
    assert there == {name: here[name] for name in there}
    told = json.loads(there["evaluation.json"])
    assert told["data"]["fingerprint"] == fingerprint
    assert server.summaries[job]["test/accuracy"] == told["metrics"]["accuracy"]["value"]
    assert server.artefacts.content(model) == {"best.ckpt": (run.directory / "checkpoints/best.ckpt").read_bytes()}
    assert "warning" not in said
    assert "wandb:" not in said


def test_an_export_has_used_the_model_of_the_run_and_opens_from_there(
    run: FinishedRun, server: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = run.record["run_id"]
    assert command_line.of_a_run("export", [f"run={run.directory}", "format=safetensors"]) == 0
    name, job = re.findall(r"at W&B +(\S+), \S+/runs/(\w+)", capfd.readouterr().out)[0]
    (model,), (sent,) = server.artefacts.of(f"model-{run_id}"), server.artefacts.of(f"model-{run_id}-safetensors")
    assert job in model.used_by
    assert (sent.type, sent.made_by, server.runs[job]["jobType"]) == ("model", job, "export")
    assert server.artefacts.content(sent) == content_of(run.directory / "export" / "safetensors")

    assert isinstance(open_network(Path(f"wandb:{name}")), Opened)
    assert command_line.of_a_run("evaluate", [f"run=wandb:{name}", "output=evaluated", *QUIET]) == 0
    told = json.loads((tmp_path / "evaluated" / "evaluation.json").read_text())
    assert told["run"] == str(tmp_path / "runs/wandb_artefacts/me/leyden" / f"model-{run_id}-safetensors" / "v0")
    assert told["metrics"]["accuracy"]["value"] == pytest.approx(run.metrics["test/accuracy"])
    assert "at W&B" not in capfd.readouterr().out


def test_other_data_are_an_artefact_of_their_own(server: Wandb, run: FinishedRun, tmp_path: Path) -> None:
    server.runs["other"] = {}
    used = {"name": "photos", "fingerprint": FINGERPRINT}
    record, checkpoint, made = made_here(tmp_path, server, "other", data=used, metrics={"photos_all/accuracy": 0.5})
    told = add(record, checkpoint, "best", made)
    assert told is not None
    job = told.rpartition("/")[2]
    (data,), (model,) = server.artefacts.of(f"data-{FINGERPRINT[:12]}"), server.artefacts.of("model-other")
    assert (data.type, data.metadata, data.used_by) == ("dataset", used, {job})
    assert (model.made_by, model.used_by) == (None, {job})  # W&B had no model of a run that was offline once
    assert server.artefacts.of("model-other-a_b")[0].made_by == job
    assert server.summaries[job]["photos_all/accuracy"] == 0.5


def test_a_checkpoint_that_was_replaced_is_not_taken_for_the_one_there(server: Wandb, tmp_path: Path) -> None:
    server.runs["twice"] = {}
    record, checkpoint, made = made_here(tmp_path, server, "twice")
    add(record, checkpoint, "best", made)
    checkpoint.write_bytes(b"others")
    add(record, checkpoint, "best", made)
    first, second = server.artefacts.of("model-twice")
    assert [len(version.used_by) for version in (first, second)] == [1, 1]
    assert server.artefacts.content(second) == {"best.ckpt": b"others"}
    assert len(server.artefacts.of("model-twice-a_b")) == 1  # the same content


@pytest.mark.parametrize("case", ["no key", "offline", "no address", "none", "last", "elsewhere"])
def test_nothing_is_asked_and_nothing_said(
    case: str, server: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.runs["quiet"] = {}
    record, checkpoint, made = made_here(tmp_path, server, "quiet")
    if case == "no key":
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("HOME", str(tmp_path))
    if case == "offline":
        monkeypatch.setenv("WANDB_MODE", "offline")
    if case == "no address":
        record["wandb"] = {"address": None}
    if case in ("last", "elsewhere"):
        checkpoint = checkpoint.rename(tmp_path / ("checkpoints/last.ckpt" if case == "last" else "best.ckpt"))
    num_requests = len(server.requests)
    assert add(record, checkpoint, "none" if case == "none" else "best", made) is None
    assert len(server.requests) == num_requests
    assert not warnings_of(caplog)


def test_a_run_that_was_over_before_wandb_began_says_where_it_is(run: FinishedRun, server: Wandb) -> None:
    assert run.record["wandb"]["address"] == f"{server.address}/me/leyden/runs/{run.record['run_id']}"


def test_a_run_that_wandb_does_not_know_is_left_alone(
    server: Wandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record, checkpoint, made = made_here(tmp_path, server, "unknown")
    assert add(record, checkpoint, "best", made) is None
    assert not server.artefacts.of("model-unknown")
    assert not warnings_of(caplog)


@pytest.mark.usefixtures("nobody")
def test_without_wandb_commands_succeed_with_one_warning(
    run: FinishedRun, server: Wandb, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    num_versions = len(server.artefacts.versions)
    for command, more in {"evaluate": QUIET, "export": ["format=safetensors"]}.items():
        words = [f"run={run.directory}", f"output={tmp_path / command}", *more]
        assert command_line.of_a_run(command, words) == 0
        out, err = capfd.readouterr()
        assert (err.count("warning:"), err.count("W&B: the ev"), "at W&B" in out) == (1, command == "evaluate", False)
        assert err.endswith("it lies here whole, and the same line again sends it\n")
        assert list((tmp_path / command).iterdir())
    assert len(server.artefacts.versions) == num_versions


def test_a_job_that_breaks_is_told_and_reads_as_failed(
    server: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "refuses_artefacts", True)
    server.runs["broken"] = {}
    record, checkpoint, made = made_here(tmp_path, server, "broken")
    known = set(server.exit_codes)
    assert add(record, checkpoint, "best", made) is None
    (message,) = warnings_of(caplog)
    assert message.startswith("W&B: the export is not there (")
    (job,) = set(server.exit_codes) - known
    assert server.state(job) == "failed"


def test_no_key_is_sent(run: FinishedRun, server: Wandb) -> None:
    for name, content in server.files.items():
        assert KEY.encode() not in content, name
    assert KEY not in json.dumps([server.runs, server.summaries, server.history])
    for path in (path for path in run.directory.parent.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


def test_the_artefact_of_a_checkpoint_is_that_of_the_run(run: FinishedRun, server: Wandb) -> None:
    artefact = model_artifact(run.record, run.directory / "checkpoints" / "best.ckpt")
    (sent,) = server.artefacts.of(f"model-{run.record['run_id']}")
    assert (artefact.digest, artefact.metadata) == (sent.digest, sent.metadata)
