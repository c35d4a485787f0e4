"""Where a run begins: after any interruption it ends in the bits of the run that was not interrupted."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leyden import command_line
from leyden.callbacks import Progress
from leyden.checkpoint import FORMAT, write_checkpoint
from leyden.config import CONFIG_DIRECTORY
from leyden.errors import Interrupted
from leyden.run import describe_state
from running import FinishedRun, differences, read_wandb_run

Train = Callable[..., FinishedRun]


class Killed(BaseException):
    """Ends a run where it stands; nothing is saved any more."""


@pytest.fixture
def interrupted(train_run: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FinishedRun]:
    """Trains as `train_run` does until `hook` is called for the `count`th time, then ends; returns the run's directory.

    It ends by a signal, or with `kill` at once.
    """

    def run(*overrides: str, hook: str, count: int, kill: bool = False) -> FinishedRun:
        calls = 0
        original = getattr(Progress, hook, lambda *arguments: None)

        def ending(callback: Progress, *arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == count and kill:
                raise Killed
            if calls == count:
                signal.raise_signal(signal.SIGTERM)
            original(callback, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Progress, hook, ending, raising=False)
            with pytest.raises((Interrupted, Killed)):
                train_run(*overrides)
        newest = max(tmp_path.glob("run*"), key=lambda path: int(path.name.removeprefix("run")))
        return FinishedRun(newest)

    return run


# 18 batches in an epoch of digits
MOMENTS = {
    "in the first epoch": ("on_train_batch_end", 5),
    "at an epoch's last step": ("on_train_batch_end", 18),
    "at an epoch's first step": ("on_train_batch_end", 19),
    "in a later epoch": ("on_train_batch_end", 45),
    "in validation": ("on_validation_batch_start", 2),
    "after validation": ("on_validation_end", 2),
    "at an epoch's end": ("on_train_epoch_end", 2),
    "at an epoch's begin": ("on_train_epoch_start", 3),
    "in the last validation": ("on_validation_batch_start", 4),
    "in the test": ("on_test_batch_start", 1),
}
RICH = ["epochs=4", "augment=strong", "backbone.dropout=0.2", "callbacks.ema.decay=0.9", "trainer.log_every_n_steps=4"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kill", [False, True], ids=["signal", "kill"])
def test_run_that_goes_on_ends_in_the_same_bits(
    moment: str, kill: bool, train_run: Train, interrupted: Callable[..., FinishedRun]
) -> None:
    whole = train_run(*RICH)
    hook, count = MOMENTS[moment]
    run = interrupted(*RICH, "callbacks.checkpoints.every_n_steps=7", hook=hook, count=count, kill=kill)
    assert run.record["status"] == ("failed" if kill else "interrupted")
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    assert run.record["attempt"] == 2


BACKBONES = [
    ["backbone=mlp", "backbone.width=16", "backbone.batch_norm=true"],
    ["backbone=cnn", "backbone.widths=[4,8]"],
    ["backbone=resnet", "data.labels_per_class=10"],
    ["backbone=wide_resnet", "backbone.depth=10", "backbone.widen_factor=1", "backbone.dropout=0.3"],
    ["backbone=vit", "backbone.width=24", "backbone.depth=2", "backbone.dropout=0.1", "backbone.stochastic_depth=0.1"],
    # float32: in bfloat16 oneDNN leaves gradients of weights that only ever meet padding unwritten
    ["backbone=timm", "backbone.name=test_efficientnet", "data.labels_per_class=20", "trainer.precision=32"],
]


def test_every_backbone_family_is_tried() -> None:
    assert {name[0] for name in BACKBONES} == {
        f"backbone={path.stem}" for path in (CONFIG_DIRECTORY / "backbone").iterdir()
    }


@pytest.mark.parametrize("backbone", BACKBONES, ids=[name[0] for name in BACKBONES])
def test_every_backbone_family_goes_on_exactly(
    backbone: list[str], train_run: Train, interrupted: Callable[..., FinishedRun]
) -> None:
    overrides = ["epochs=2", "augment=flip_crop", "head.dropout=0.2", "batch_size=32", *backbone]
    whole = train_run(*overrides)
    run = interrupted(*overrides, hook="on_train_batch_end", count=4)
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []


PARTS = [
    [f"{group}={path.stem}"]
    for group in ("optimizer", "schedule", "loss", "augment")
    for path in sorted((CONFIG_DIRECTORY / group).glob("*.yaml"))
] + [
    ["trainer.accumulate_grad_batches=4"],
    ["trainer.accumulate_grad_batches=4", "+trainer.val_check_interval=6"],
    ["+trainer.val_check_interval=6"],
    ["+trainer.val_check_interval=5", "schedule=plateau"],
    ["trainer.check_val_every_n_epoch=2", "schedule=plateau"],
    ["steps=41", "schedule=plateau"],
    ["steps=41", "trainer.accumulate_grad_batches=2"],
    ["callbacks.early_stopping.patience=1", "optimizer.lr=1e-9"],
    ["monitor=val/loss", "callbacks.early_stopping.patience=2", "optimizer.lr=0.1"],
    ["loss.class_weights=balanced", "loss.label_smoothing=0.1", "trainer.gradient_clip_val=0.1"],
    ["trainer.precision=bf16-mixed"],
    ["data.labels_per_class=20", "batch_size=32"],
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS, ids=" ".join)
def test_every_part_goes_on_exactly(part: list[str], train_run: Train, interrupted: Callable[..., FinishedRun]) -> None:
    overrides = ["epochs=3", "backbone.dropout=0.2", "callbacks.ema.decay=0.9", "trainer.log_every_n_steps=4", *part]
    whole = train_run(*overrides)
    run = interrupted(*overrides, hook="on_train_batch_end", count=11)
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []


def test_interrupted_three_times_it_is_still_the_same(
    train_run: Train, interrupted: Callable[..., FinishedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_run(*RICH)
    run = interrupted(*RICH, hook="on_train_batch_end", count=5)
    original = Progress.on_train_batch_end
    for count in (20, 20):
        calls = iter(range(1000))

        def ending(callback: Progress, *arguments: Any) -> None:
            if next(calls) == count:  # noqa: B023
                signal.raise_signal(signal.SIGUSR1)
            original(callback, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Progress, "on_train_batch_end", ending)
            assert command_line.resume([str(run.directory)]) == 143
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    assert [attempt["status"] for attempt in run.record["attempts"]] == ["interrupted"] * 3


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "emptied": b"", "garbage": b"\xff{\x00" + data[9:]}[how])


@pytest.mark.parametrize("how", ["cut", "emptied", "garbage", "deleted"])
@pytest.mark.parametrize("name", ["config.yaml", "run.json", "metrics.csv", "checkpoints/last.ckpt",
                                  "checkpoints/last.ckpt.sha256", "checkpoints/best.ckpt"])  # fmt: skip
def test_damaged_file_costs_time_and_no_bit(
    name: str, how: str, train_run: Train, interrupted: Callable[..., FinishedRun], caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_run(*RICH)
    run = interrupted(*RICH, "callbacks.checkpoints.every_n_steps=7", hook="on_train_batch_end", count=45)
    damage(run.directory / name, how)
    caplog.clear()
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    if how != "deleted" and name != "metrics.csv" and "sha256" not in name:
        assert f"{run.directory / name} is " in caplog.text


def test_both_checkpoints_damaged_begin_at_the_start(train_run: Train, interrupted: Callable[..., FinishedRun]) -> None:
    whole = train_run(*RICH)
    run = interrupted(*RICH, hook="on_train_batch_end", count=45)
    for name in ("last.ckpt", "previous.ckpt"):
        damage(run.directory / "checkpoints" / name, "cut")
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    assert (run.directory / "checkpoints" / "last.ckpt.damaged").is_file()


SHORT = ["backbone=mlp", "backbone.width=16", "trainer=cpu", "logger=csv"]


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`leyden train` into one directory, in this process; returns exit code, what it printed and its errors."""

    def run(*overrides: str) -> tuple[int, str, str]:
        code = command_line.train([f"hydra.run.dir={tmp_path / 'run'}", *SHORT, *overrides])
        return code, *capfd.readouterr()

    return run


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


def test_what_is_no_run_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.resume([str(tmp_path / "nothing")]) == 1
    assert "is no run directory: it does not exist" in capfd.readouterr().err
    assert not (tmp_path / "nothing").exists()
    assert command_line.resume([str(tmp_path)]) == 1
    assert "holds no run to go on with" in capfd.readouterr().err


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
    head, _, best, last, previous = capfd.readouterr().out.splitlines()
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
    folders = sorted(
        path for path in (tmp_path / "logs" / "wandb").iterdir() if path.is_dir() and not path.is_symlink()
    )
    assert len({path.name.rsplit("-", 1)[1] for path in folders}) == 1  # one id
    assert [read_wandb_run(path)["state"] for path in folders] == ["failed", "finished"]
