"""metrics.csv holds every metric in its row; W&B's own reader sees the run as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from leyden.loggers import MetricsCsv, WandbLogger, finish
from leyden.metric_names import read_metrics
from running import FinishedRun, read_wandb


def test_metrics_of_a_step_share_a_row_and_new_ones_get_a_column(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv")
    logger.log_metrics({"epoch": 0, "train/loss": 1.5}, step=10)
    logger.log_metrics({"epoch": 0, "val/loss": 1.25}, step=10)
    logger.log_metrics({"epoch": 1, "train/loss": 1.0}, step=20)
    logger.log_metrics({"epoch": 1, "lr": 0.1}, step=30)
    logger.finalize("success")
    assert read_metrics(tmp_path / "metrics.csv") == [
        {"epoch": "0", "step": "10", "train/loss": "1.5", "val/loss": "1.25", "lr": ""},
        {"epoch": "1", "step": "20", "train/loss": "1.0", "val/loss": "", "lr": ""},
        {"epoch": "1", "step": "30", "train/loss": "", "val/loss": "", "lr": "0.1"},
    ]


def test_second_logger_appends_to_the_first_ones_file(tmp_path: Path) -> None:
    for epoch, name in enumerate(["a", "b"]):
        logger = MetricsCsv(tmp_path / "metrics.csv")
        logger.log_metrics({"epoch": epoch, name: 1.0}, step=epoch)
        logger.finalize("success")
    assert [row["b"] for row in read_metrics(tmp_path / "metrics.csv")] == ["", "1.0"]


def test_wandb_reads_back_a_finished_run(
    train_run: Callable[..., FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train_run("logger=wandb", "epochs=3")
    found = read_wandb(tmp_path / "runs")
    assert (found["state"], found["exit_code"], found["project"]) == ("finished", 0, "leyden")
    assert found["summary"]["test/accuracy"] == pytest.approx(run.metrics["test/accuracy"])
    assert found["summary"]["val/loss"] == pytest.approx(run.column("val/loss")[-1])
    assert found["config"]["optimizer"]["lr"] == 0.005


def test_wandb_run_is_named_by_its_directory(tmp_path: Path) -> None:
    first, again, other = (WandbLogger(tmp_path / name).run_id for name in ("a", "a", "b"))
    assert first == again != other


def test_failed_run_reads_as_failed(tmp_path: Path) -> None:
    logger = WandbLogger(tmp_path / "run", directory=str(tmp_path))
    logger.log_metrics({"epoch": 0, "train/loss": 1.0}, step=1)
    finish([logger], {}, exit_code=1)
    found = read_wandb(tmp_path)
    assert (found["state"], found["exit_code"]) == ("failed", 1)


def test_without_a_key_wandb_is_offline_and_never_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert WandbLogger(tmp_path).mode == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert WandbLogger(tmp_path).mode == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert WandbLogger(tmp_path).mode == "online"


def test_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"logger\.mode=off"):
        WandbLogger(tmp_path, mode="off")
