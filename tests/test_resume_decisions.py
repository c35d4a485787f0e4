"""What a directory that holds a run is good for: finished, gone on with, made longer, refused, listed."""

import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leyden import command_line
from leyden.callbacks import Progress
from leyden.checkpoint import FORMAT, Saved, write_checkpoint
from leyden.resume import warn_of_what_is_other
from leyden.run import describe_state
from running import SHORT, FinishedRun, Killed, differences, read_wandb_run

Train = Callable[..., FinishedRun]


def test_finished_run_says_so_and_is_left_alone(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert command("epochs=1")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    assert command("epochs=1", "resume=auto")[:2] == (0, f"{directory} is finished: nothing to do\n")
    assert command_line.resume([str(directory)]) == 0
    code, _, error = command("epochs=1")
    assert code == 1
    assert "holds a run already (finished): give resume=auto" in error
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_auto_begins_where_nothing_is_and_goes_on_where_a_run_was_stopped(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(callback: Progress, trainer: Any, *arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", ending)
        for attempt in (1, 2, 3):
            code, _, error = command("epochs=1", "resume=auto")
            assert code == 143
            assert "the state is saved; go on with: " in error
            assert FinishedRun(tmp_path / "run").checkpoint()["global_step"] == attempt
    assert command("epochs=1", "resume=auto")[0] == 0
    record = FinishedRun(tmp_path / "run").record
    assert (record["attempt"], record["status"]) == (4, "finished")


def test_other_settings_than_the_run_s_are_refused_by_name(command: Callable[..., tuple[int, str, str]]) -> None:
    assert command("epochs=1", "optimizer.lr=0.01")[0] == 0
    code, _, error = command("epochs=1", "optimizer.lr=0.02", "resume=auto")
    assert code == 1
    assert "optimizer.lr=0.02 (override optimizer.lr=0.02), but the run in this directory has 0.01" in error
    assert command("epochs=1", "optimizer.lr=0.01", "resume=auto", "debug=true", "callbacks.progress=null")[0] == 0


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_longer_training_ends_as_if_it_had_been_asked_for_at_once(schedule: str, train_run: Train) -> None:
    whole, run = train_run(f"schedule={schedule}", "epochs=5"), train_run(f"schedule={schedule}", "epochs=2")
    assert command_line.resume([str(run.directory), "epochs=5"]) == 0
    assert differences(whole, run) == []
    assert command_line.resume([str(run.directory), "epochs=5"]) == 0


REFUSED_LENGTHS = {
    "schedule=cosine": ("epochs=3", "this schedule spreads over all of training"),
    "schedule=one_cycle": ("epochs=3", "learning rate: train anew, or choose schedule=constant"),
    "schedule=constant": ("epochs=1", "epochs=1 is less than the 2 that the run has"),
    "steps=20": ("epochs=3", "steps=20 decides when this run ends"),
    "seed=0": ("epocs=3", "did you mean 'epochs'?"),
    "seed=1": ("seed=2", "seed=2 (override seed=2), but the run in this directory has 1"),
    "seed=3": ("epochs=abc", "epochs"),
    "seed=4": ("trainer.max_epochs=3", "this schedule spreads over all of training"),
    "seed=5": ("epoch", "expected key=value"),
}


@pytest.mark.parametrize("setting", REFUSED_LENGTHS)
def test_change_that_would_not_be_exact_is_refused_with_the_reason(
    setting: str, train_run: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train_run(setting, "epochs=2")
    change, reason = REFUSED_LENGTHS[setting]
    assert command_line.resume([str(run.directory), change]) == 1
    assert reason in capfd.readouterr().err
    assert run.record["status"] == "finished"


def test_stages_that_all_epochs_share_do_not_become_longer(train_run: Train, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["schedule=constant", "finetune=gradual", "finetune.num_stages=2", "epochs=2"]
    run = train_run(*words)
    assert command_line.resume([str(run.directory), "epochs=4"]) == 1
    assert "those behind would have been longer" in capfd.readouterr().err
    run = train_run(*words, "finetune.epochs_per_stage=1")
    assert command_line.resume([str(run.directory), "epochs=4"]) == 0


def test_what_is_no_run_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.resume([str(tmp_path / "nothing")]) == 1
    assert "holds neither a run nor a study: give the directory of one" in capfd.readouterr().err
    assert not (tmp_path / "nothing").exists()
    assert command_line.resume([str(tmp_path)]) == 1
    assert "holds neither a run nor a study: give the directory of one" in capfd.readouterr().err


def test_what_is_frozen_when_a_run_stops_is_frozen_when_it_goes_on(
    train_run: Train, interrupted: Callable[..., FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "freezing.py").write_text(
        "import pytorch_lightning as pl\n"
        "class Freeze(pl.Callback):\n"
        "    def on_train_epoch_start(self, trainer, module):\n"
        "        module.backbone.requires_grad_(trainer.current_epoch % 2 == 0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["epochs=3", "+callbacks.freeze={_target_: freezing.Freeze}"]
    whole = train_run(*overrides)
    run = interrupted(*overrides, hook="on_train_batch_end", count=25)
    assert len(run.checkpoint()["frozen"]) == 4
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []


def test_checkpoint_of_another_run_is_refused(
    train_run: Train, interrupted: Callable[..., FinishedRun], capfd: pytest.CaptureFixture[str]
) -> None:
    other = train_run("epochs=1", "seed=5")
    run = interrupted("epochs=2", hook="on_train_batch_end", count=25)
    for name in ("last.ckpt", "last.ckpt.sha256"):
        shutil.copy(other.directory / "checkpoints" / name, run.directory / "checkpoints")
    assert command_line.resume([str(run.directory)]) == 1
    assert "last.ckpt is of another run than run.json" in capfd.readouterr().err


def test_checkpoint_of_a_later_format_is_refused(
    interrupted: Callable[..., FinishedRun], capfd: pytest.CaptureFixture[str]
) -> None:
    run = interrupted("epochs=2", hook="on_train_batch_end", count=5)
    path = run.directory / "checkpoints" / "last.ckpt"
    write_checkpoint(run.checkpoint() | {"leyden": {"format": FORMAT + 1}}, path)
    assert command_line.resume([str(run.directory)]) == 1
    assert f"{path} has format {FORMAT + 1}, this version of Leyden reads format {FORMAT}" in capfd.readouterr().err
    assert path.is_file()


def test_checkpoints_are_listed_with_what_they_hold(
    interrupted: Callable[..., FinishedRun], capfd: pytest.CaptureFixture[str]
) -> None:
    run = interrupted("epochs=2", "callbacks.ema.decay=0.9", hook="on_train_batch_end", count=25)
    (run.directory / "checkpoints" / "previous.ckpt").write_bytes(b"damaged")
    capfd.readouterr()
    assert command_line.checkpoints([str(run.directory)]) == 0
    head, _, best, copy, last, previous = capfd.readouterr().out.splitlines()
    assert copy.startswith("best_copy.ckpt")
    assert f"{run.directory}: attempt 1, interrupted" in head
    assert best.split()[:3] == ["best.ckpt", "0", "18"]
    assert last.split()[:3] == ["last.ckpt", "1", "25"]
    assert "optimizer, schedule, averaged weights, training metrics, config" in last
    assert "previous.ckpt is damaged: its SHA-256 differs" in previous


def test_run_that_was_killed_is_told_from_one_that_runs(train_run: Train) -> None:
    run = train_run("epochs=1")
    record = run.record | {"status": "running"}
    (run.directory / "run.json").write_text(json.dumps(record))
    assert "killed: it did not say how it ended" in describe_state(run.directory)


def test_resumed_run_goes_on_in_its_own_wandb_run(interrupted: Callable[..., FinishedRun], tmp_path: Path) -> None:
    logged = ["logger=wandb", f"logger.directory={tmp_path / 'logs'}"]
    run = interrupted("epochs=2", *logged, hook="on_train_batch_end", count=25)
    assert command_line.resume([str(run.directory)]) == 0
    logs = tmp_path / "logs" / "wandb"
    (earlier,), (whole,) = ([*place.glob("offline-run-*")] for place in (logs / "superseded", logs))
    folders = [earlier, whole]  # the first attempt lies out of W&B's sight, for the second holds all that it does
    assert len({path.name.split("-")[3] for path in folders}) == 1  # one id; two of a second have a number after it
    assert [read_wandb_run(path)["state"] for path in folders] == ["failed", "finished"]


def test_longer_training_stays_longer_after_a_kill_before_its_first_checkpoint(
    train_run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = train_run("schedule=constant", "epochs=4"), train_run("schedule=constant", "epochs=2")

    def kill(callback: Progress, *arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", kill)
        with pytest.raises(Killed):
            command_line.resume([str(run.directory), "epochs=4"])
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []


@pytest.mark.parametrize("count", [18, 27, 36, 37])
def test_step_schedule_is_raised_only_before_its_first_milestone(
    count: int, train_run: Train, interrupted: Callable[..., FinishedRun]
) -> None:
    whole = train_run("schedule=step", "epochs=8")
    run = interrupted("schedule=step", "epochs=4", hook="on_train_batch_end", count=count)  # milestones at 36 and 54
    code = command_line.resume([str(run.directory), "epochs=8"])
    assert code == (0 if count < 36 else 1)
    assert code or differences(whole, run) == []


def test_sys_exit_within_a_run_is_a_failure(train_run: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(callback: Progress, *arguments: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(Progress, "on_train_batch_end", leave)
    code = command_line.train([f"hydra.run.dir={tmp_path / 'left'}", *SHORT])
    assert code == 1
    assert "called sys.exit" in FinishedRun(tmp_path / "left").record["reason"]


def test_run_in_another_state_of_its_data_is_refused_or_told(
    command: Callable[..., tuple[int, str, str]], write_digits: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_digits(end=60)
    files = [f"data.root={images}", "data.source.image_size=8", "data.source.channels=1"]
    files += ["data=image_folder", "data.source.mean=[0.3]", "data.source.std=[0.4]", "data.num_workers=0"]

    def ending(callback: Progress, *arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", ending)
        assert command("batch_size=8", "epochs=2", *files)[0] == 143
    moved = images / "0" / "0000.png"
    content = moved.read_bytes()
    moved.unlink()
    code, _, error = command("batch_size=8", "epochs=2", *files, "resume=auto")
    assert code == 1
    assert "is not the data that this run began with" in error
    moved.write_bytes(content)
    assert command("batch_size=8", "epochs=2", *files, "resume=auto")[0] == 0


def test_run_whose_images_have_moved_goes_on_where_they_are(
    train_run: Train, interrupted: Callable[..., FinishedRun], tmp_path: Path, write_digits: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    files = [f"data.root={write_digits('images', end=120)}", "data.source.image_size=8", "data.source.channels=1"]
    files += ["data=image_folder", "data.source.mean=[0.3]", "data.source.std=[0.4]", "epochs=2", "batch_size=8"]
    whole = train_run(*files, "data.num_workers=0")
    run = interrupted(*files, "data.num_workers=0", hook="on_train_batch_end", count=5)
    (tmp_path / "images").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bin/leyden", "resume", "run2", "data.root=moved"])
    assert command_line.resume([str(run.directory), "data.root=moved"]) == 0
    assert differences(whole, run) == []
    of_other_ranks = [str(tmp_path / "bin" / "leyden"), "resume", str(run.directory), f"data.root={tmp_path / 'moved'}"]
    assert sys.argv == of_other_ranks


@pytest.mark.parametrize("workers", ["data.num_workers=0", "data.num_workers=2"])
def test_run_goes_on_from_another_directory_with_any_number_of_workers(
    workers: str, train_run: Train, interrupted: Callable[..., FinishedRun], tmp_path: Path,
    write_digits: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_digits("images", end=120)
    monkeypatch.chdir(tmp_path)
    files = ["data.root=images", "data.source.image_size=8", "data.source.channels=1", "batch_size=8"]
    files += ["data=image_folder", "data.source.mean=[0.3]", "data.source.std=[0.4]", "epochs=2", "augment=strong"]
    whole = train_run(*files, "data.num_workers=0")
    run = interrupted(*files, "data.num_workers=2", hook="on_train_batch_end", count=5)
    monkeypatch.chdir("/")
    assert command_line.resume([str(run.directory), workers]) == 0
    assert differences(whole, run) == []
    assert Path.cwd() == Path("/")


def test_every_rank_of_a_finished_run_finds_nothing_to_do(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a scheduler starts them again, each by itself."""
    assert command("epochs=1")[0] == 0
    monkeypatch.setenv("RANK", "1")
    assert command("epochs=1", "resume=auto")[:2] == (0, "")


def test_run_begins_beside_a_config_of_something_else(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("a: 1\n", encoding="utf-8")
    assert command("epochs=1")[0] == 0


def test_other_code_than_the_attempt_before_had_is_told(caplog: pytest.LogCaptureFixture) -> None:
    alike = {"device": {}, "precision": "32-true", "torch": "2"}
    found = Saved(Path("last.ckpt"), {"run": alike | {"code": "a"}}, [])
    warn_of_what_is_other(found, alike | {"code": "a"})
    assert not caplog.records
    warn_of_what_is_other(found, alike | {"code": "b"})
    assert "the code of Leyden or of your own parts has changed since" in caplog.text
