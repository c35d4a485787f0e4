"""W&B's own reader finds in its files what metrics.csv and run.json say, whatever became of the run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from followed import follow_a_run_trained_longer
from leyden.histograms import read_histograms
from leyden.loggers import WandbLogger
from leyden.metric_names import read_numbers
from leyden.study.job import WANDB_SERVICE
from running import TINY, FinishedRun, read_wandb, read_wandb_run
from studies import Study
from wandb_files import OF_WANDB, files_of, history, records
from wandb_server import KEY, Wandb, wandb_server

pytestmark = pytest.mark.whole


@pytest.fixture(autouse=True)
def own_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in processes of their own have a W&B service of their own, not that of a run in this one."""
    monkeypatch.delenv(WANDB_SERVICE, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandb]:
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_MODE", "online")
        wandb.teardown()  # which knows the server of an earlier test
        yield server
        wandb.teardown()


def start(directory: Path, *words: str) -> subprocess.Popen[str]:
    """A run in a process of its own, in `directory`/run."""
    command = [
        sys.executable, "-m", "leyden", "train", *TINY, "logger=wandb", "logger.artifacts=none", "pictures=false",
        f"runs_dir={directory}", f"hydra.run.dir={directory / 'run'}", *words,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_file(runs: Path, process: subprocess.Popen[str]) -> None:
    """Until W&B has begun."""
    deadline = time.monotonic() + 90
    while not any((runs / "wandb").glob("*run-*/*.wandb")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def wait_for_rows(run: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(read_numbers(run / "metrics.csv")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_number_of_metrics_csv_is_what_wandb_holds(
    train_run: Callable[..., FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layers = ["callbacks.layers.every_n_steps=20", "callbacks.layers.histograms=true"]
    run = train_run("logger=wandb", "epochs=3", "pictures=true", "augment=flip_crop", *layers)
    (place,) = files_of(tmp_path / "runs")
    rows = history(place)
    spread = [{key: row.pop(key) for key in list(row) if key.startswith("histograms/")} for row in rows]
    assert rows == read_numbers(run.directory / "metrics.csv")
    assert [row["step"] for row, of_row in zip(rows, spread, strict=True) if of_row] == [20, 40]
    counts, edges = read_histograms(run.directory, 40)["histograms/head/gradients"]
    (seen,) = (of_row for row, of_row in zip(rows, spread, strict=True) if row["step"] == 40)
    assert seen["histograms/head/gradients.values"] == counts.tolist()
    assert seen["histograms/head/gradients.bins"] == pytest.approx(edges.tolist())
    found = read_wandb(tmp_path / "runs")
    assert (found["state"], found["exit_code"], found["project"]) == ("finished", 0, "leyden")
    assert found["run_id"] == run.record["run_id"]
    summary, config = found["summary"], found["config"]
    assert summary["test/accuracy"] == run.metrics["test/accuracy"]
    assert summary["best/val/accuracy"] == run.metrics["best/val/accuracy"]
    assert summary["best/epoch"] == run.metrics["best/epoch"]
    assert summary["status"] == "finished"
    assert config["optimizer"]["lr"] == 0.005
    assert config["facts"]["data_fingerprint"] == run.record["data"]["fingerprint"]
    assert summary["predictions"]["nrows"] == 24
    assert summary["predictions"]["ncols"] == 6
    assert summary["confusion_matrix_table"]["nrows"] == 100
    assert {
        "reliability_table",
        "precision_recall_table",
        "pictures/examples",
        "pictures/augmentation",
    } <= summary.keys()
    kept = {path.name for path in (place / "files" / "leyden").iterdir()}
    assert {"config.yaml", "run.json", "metrics.csv", "log.txt"} <= kept
    (begun,) = records(place, "run")
    assert begun.get("git", {}).get("commit") == run.record["git_commit"]


def test_killed_and_resumed_is_one_run_with_each_row_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, "epochs=150", "callbacks.checkpoints.every_n_steps=50")
    wait_for_file(tmp_path, process)
    wait_for_rows(run, 6)
    process.kill()
    process.communicate()
    done = subprocess.run([sys.executable, "-m", "leyden", "resume", str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (place,) = files_of(tmp_path)
    assert history(place) == read_numbers(run / "metrics.csv")
    found = read_wandb_run(place)
    assert (found["state"], found["exit_code"]) == ("finished", 0)
    assert found["config"]["choices"]["backbone"] == "mlp"  # config.yaml no longer has them
    assert len(list((tmp_path / "wandb" / "superseded").iterdir())) == 1


def test_failed_run_reads_as_failed(tmp_path: Path) -> None:
    process = start(tmp_path, "optimizer=sgd", "optimizer.lr=1e30")
    process.communicate()
    assert process.returncode == 1
    (place,) = files_of(tmp_path)
    found = read_wandb_run(place)
    assert (found["state"], found["exit_code"]) == ("failed", 1)
    assert found["config"]["choices"]["backbone"] == "mlp"
    assert found["summary"]["status"] == "failed"
    assert "the training loss became" in found["summary"]["reason"]


def wait_for_history(server: Wandb, process: subprocess.Popen[str]) -> None:
    """Until W&B has been told of a row."""
    deadline = time.monotonic() + 90
    while not server.history:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


def without_wandbs_own(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    plain = ({key: value for key, value in line.items() if key not in OF_WANDB} for line in lines)
    return [line for line in plain if "epoch" in line]


@pytest.mark.slow  # W&B's client sends rows every 15 s: a run that is killed after the first must be longer
def test_online_run_is_sent_each_row_once_though_it_was_killed(server: Wandb, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, "epochs=1000")
    wait_for_history(server, process)
    process.kill()
    process.communicate()
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    done = subprocess.run([sys.executable, "-m", "leyden", "resume", str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run_id,) = server.history
    assert without_wandbs_own(server.lines(run_id)) == read_numbers(run / "metrics.csv")
    assert server.exit_codes == {run_id: 0}
    assert run_id == json.loads((run / "run.json").read_text())["run_id"]


def test_run_that_is_trained_longer_has_each_row_of_it_and_both_tests(server: Wandb, tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    follow_a_run_trained_longer(run, lambda: WandbLogger(run, mode="online", directory=str(tmp_path)))
    lines = without_wandbs_own(server.lines("abc"))
    assert [line["step"] for line in lines if "train/loss" in line] == [0, 10, 20, 30, 40, 50]
    assert [line["test/loss"] for line in lines if "test/loss" in line] == [0.5, 1.5]


def test_what_wandb_lacks_of_a_run_killed_at_its_end_is_sent_by_sync(server: Wandb, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, "epochs=2")
    deadline = time.monotonic() + 90
    while not (run / "run.json").is_file() or json.loads((run / "run.json").read_text())["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert not server.exit_codes
    resumed = [sys.executable, "-m", "leyden", "resume", str(run)]
    assert f"leyden sync {run}" in subprocess.run(resumed, capture_output=True, text=True, check=True).stdout
    subprocess.run([sys.executable, "-m", "leyden", "sync", str(run)], check=True)
    (run_id,) = server.history
    assert without_wandbs_own(server.lines(run_id)) == read_numbers(run / "metrics.csv")
    assert server.exit_codes == {run_id: 0}


@pytest.mark.parametrize("trouble", ["away", "refuses"])
def test_without_wandb_training_goes_on_and_all_is_in_files(
    trouble: str, server: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "away":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    else:
        server.status = 401
    output, said = start(tmp_path).communicate()
    assert "test accuracy" in output
    assert said.count("warning: W&B") == 1
    assert "`leyden sync` uploads later" in said
    (place,) = files_of(tmp_path)
    assert history(place) == read_numbers(tmp_path / "run" / "metrics.csv")
    assert read_wandb_run(place)["state"] == "finished"


def test_when_its_service_is_killed_a_new_file_holds_all(tmp_path: Path) -> None:
    import psutil

    process = start(tmp_path, "epochs=150")
    wait_for_file(tmp_path, process)
    for other in psutil.process_iter(["cmdline"]):
        words = other.info["cmdline"] or []
        if words and words[0].endswith("wandb-core") and str(process.pid) in words:
            other.kill()
    _, said = process.communicate()
    assert process.returncode == 0
    assert said.count("warning: W&B") == 1
    (place,) = files_of(tmp_path)
    assert history(place) == read_numbers(tmp_path / "run" / "metrics.csv")
    assert read_wandb_run(place)["state"] == "finished"


def test_online_run_says_where_it_is_and_no_file_has_its_key(
    server: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", f"{KEY}\n")  # as a file with a secret in it has one
    process = start(tmp_path, "epochs=1")  # which ends before W&B has begun
    output, said = process.communicate()
    assert process.returncode == 0, said
    assert KEY not in output + said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["wandb"]["address"].endswith(f"/me/leyden/runs/{record['run_id']}")
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


def test_without_a_key_wandb_is_offline_and_never_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert WandbLogger(tmp_path).mode == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert WandbLogger(tmp_path).mode == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    for machine in ("api.wandb.ai", "api.forge.coreweave.com"):  # W&B's, by its names of old and new
        (tmp_path / ".netrc").write_text(f"machine {machine} login user password " + "0" * 40 + "\n")
        (tmp_path / ".netrc").chmod(0o600)
        assert WandbLogger(tmp_path).mode == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert WandbLogger(tmp_path).mode == "offline"


def test_commit_and_difference_to_it_are_kept_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "code"
    code.mkdir()
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", "-C", str(code)]
    (code / "net.py").write_text("width = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    (code / "net.py").write_text("width = 2\n")
    monkeypatch.setattr("leyden.loggers.weights_and_biases.PACKAGE", code)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    for is_kept in (True, False):
        follower = WandbLogger(tmp_path / "run", mode="offline", directory=str(tmp_path / "runs"), code=is_kept)
        follower.hand_over({"run_id": "abc", "status": "failed", "ended": "now"})
        (place,) = files_of(tmp_path / "runs")
        (begun,) = records(place, "run")
        difference = place / "files" / "diff.patch"
        assert begun.get("git", {}).get("commit") == (commit if is_kept else None)
        assert difference.is_file() == is_kept
        assert not is_kept or "+width = 2" in difference.read_text()
    wandb.teardown()


FAILS = """
from pytorch_lightning import Callback

class Fails(Callback):
    def __init__(self, lr: float, dropout: float, seed: int):
        self.place = (lr, dropout, seed)

    def on_train_start(self, trainer, module):
        if self.place == (0.01, 0.2, 3):
            raise RuntimeError("this one breaks")
"""


@pytest.mark.slow
def test_study_of_24_jobs_is_24_runs_of_one_group(study: Study) -> None:
    Path("failing.py").write_text(FAILS)
    fails = "{_target_: failing.Fails, lr: ${optimizer.lr}, dropout: ${head.dropout}, seed: ${seed}}"
    swept = ["optimizer.lr=0.001,0.01", "head.dropout=0,0.2", "seed=0,1,2,3,4,5"]
    assert study(*swept, "epochs=1", "pictures=false", "logger=wandb", f"+callbacks.fails={fails}") == 1
    rows = {json.loads((study.directory / row["id"] / "run.json").read_text())["run_id"]: row for row in study.results}
    places = files_of(study.runs)
    assert (len(places), len(rows)) == (24, 24)
    states = []
    for place in places:
        found, (begun,) = read_wandb_run(place), records(place, "run")
        row = rows.pop(found["run_id"])
        factors = {key: row[key] for key in ("optimizer.lr", "head.dropout", "seed")}
        words = [f"{key}={level}" for key, level in factors.items()]
        assert begun["run_group"] == f"{study.directory.parent.name} {study.directory.name}"
        assert sorted(begun["display_name"].split()) == sorted(begun["tags"]) == sorted(words)
        assert begun["job_type"].split() == [word for word in begun["display_name"].split() if "seed" not in word]
        at_wandb = {key.replace(".", "_"): float(level) for key, level in factors.items()}
        assert found["config"]["factors"] == at_wandb
        assert found["config"]["study"]["job"] == row["id"]
        states.append(found["state"])
        assert (found["state"], row["status"]) in {("finished", "finished"), ("failed", "failed")}
        assert history(place) == read_numbers(study.directory / row["id"] / "metrics.csv")
    assert states.count("failed") == 1


def test_where_nothing_can_be_written_one_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And W&B does not take the system's temporary directory, where nobody would look."""
    monkeypatch.setattr("leyden.loggers.weights_and_biases.is_writable", lambda place: False)
    follower = WandbLogger(tmp_path / "run", mode="offline", directory=str(tmp_path / "runs"))
    follower.finish({"run_id": "abc", "status": "failed", "ended": "now"})
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"W&B: {tmp_path / 'runs'}: Permission denied")
    assert said.endswith("metrics.csv has every row")
    assert follower.run is None


def test_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"logger\.mode=off"):
        WandbLogger(tmp_path, mode="off")
    with pytest.raises(ValueError, match=r"logger\.artifacts=all"):
        WandbLogger(tmp_path, artifacts="all")
