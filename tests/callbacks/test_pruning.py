"""A run that a search gives up ends early and well: it says so, keeps what it has, and is no failure."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from leyden import command_line
from leyden.callbacks import Checkpoints, Progress
from leyden.callbacks.trial import write_trial
from leyden.study.storage import STUDY_NAME, open_storage
from running import FinishedRun, Killed, read_wandb

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["journal", "sqlite"])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> optuna.trial.Trial:
    """A trial whose run is in tmp_path/run and is given up after its second epoch."""
    study = optuna.create_study(
        study_name=STUDY_NAME, storage=open_storage(tmp_path, request.param), direction="maximize"
    )
    trial = study.ask()
    arguments = {"lower": 1.5, "n_warmup_steps": 1}  # no accuracy is that high
    facts = {"storage": request.param, "number": 0, "pruner": "threshold", "arguments": arguments}
    write_trial(tmp_path / "run", **facts)
    return trial


def reported(trial: optuna.trial.Trial) -> dict[int, float]:
    frozen = trial.study.get_trials()[0]
    return dict(frozen.intermediate_values)


def test_a_run_given_up_is_pruned_with_its_best_epoch_and_its_checkpoints(
    trial: optuna.trial.Trial, command: Command, tmp_path: Path
) -> None:
    code, said, _ = command("epochs=4", "logger=wandb", f"logger.directory={tmp_path}")
    run = FinishedRun(tmp_path / "run")
    assert code == 0
    assert (run.record["status"], run.record["attempt"]) == ("pruned", 1)
    assert run.record["reason"] == "pruned after epoch 1: the search's threshold pruner gave trial 0 up"
    assert run.record["reason"] in said
    accuracies = run.column("val/accuracy")
    assert reported(trial) == pytest.approx(dict(enumerate(accuracies)))
    assert len(accuracies) == len(run.column("train/loss")) == 2
    assert run.metrics["best/val/accuracy"] == pytest.approx(max(accuracies))
    assert not [name for name in run.metrics if name.startswith("test/")]  # the test images were not looked at
    assert run.checkpoint("last")["position"]["epoch"] == 2
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    wandb = read_wandb(tmp_path)
    assert (wandb["state"], wandb["exit_code"]) == ("finished", 0)
    again = command("epochs=4", "logger=wandb", f"logger.directory={tmp_path}", "resume=auto")
    assert again == (0, f"{tmp_path / 'run'} is pruned: nothing to do\n", "")
    assert command_line.resume([str(tmp_path / "run")]) == 0
    assert FinishedRun(tmp_path / "run").record == run.record


@pytest.mark.parametrize(
    ("place", "name"), [(Checkpoints, "save_last"), (Progress, "on_train_end")], ids=["after a report", "at the end"]
)
def test_a_run_killed_on_the_way_reports_again_and_ends_where_it_would_have(
    place: Any, name: str, trial: optuna.trial.Trial, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, name, ending)
        with pytest.raises(Killed):
            command("epochs=4", "resume=auto")
    assert reported(trial)
    before = reported(trial)
    assert command("epochs=4", "resume=auto")[0] == 0
    run = FinishedRun(tmp_path / "run")
    assert (run.record["status"], run.record["attempt"]) == ("pruned", 2)
    assert run.record["reason"].startswith("pruned after epoch 1")
    assert reported(trial) == pytest.approx(dict(enumerate(run.column("val/accuracy"))))
    assert before.items() <= reported(trial).items()


def test_a_run_whose_last_epoch_falls_behind_is_finished(
    trial: optuna.trial.Trial, command: Command, tmp_path: Path
) -> None:
    assert command("epochs=2")[0] == 0
    assert FinishedRun(tmp_path / "run").record["status"] == "finished"
    assert list(reported(trial)) == [0, 1]


def test_a_trial_that_is_over_is_neither_changed_nor_judged(
    trial: optuna.trial.Trial, command: Command, tmp_path: Path
) -> None:
    trial.study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert command("epochs=3")[0] == 0
    assert FinishedRun(tmp_path / "run").record["status"] == "finished"
    assert reported(trial) == {}


def test_a_trial_without_its_search_is_refused_in_words(command: Command, tmp_path: Path) -> None:
    facts: dict[str, Any] = {"storage": "journal", "number": 0, "pruner": "median", "arguments": {}}
    write_trial(tmp_path / "run", **facts)
    code, _, error = command("epochs=1")
    assert code == 1
    assert "optuna.journal is gone): remove it, and the run is never ended early" in error


@pytest.mark.slow
def test_all_processes_of_a_run_end_together(
    trial: optuna.trial.Trial, leyden: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    settings = ["backbone=mlp", "logger=csv", "trainer=ddp", "trainer.accelerator=cpu", "epochs=4"]
    done = leyden("train", f"hydra.run.dir={tmp_path / 'run'}", *settings)
    assert done.returncode == 0, done.stderr
    assert FinishedRun(tmp_path / "run").record["status"] == "pruned"
    assert list(reported(trial)) == [0, 1]
