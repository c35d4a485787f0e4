"""Where a run begins: after any interruption it ends in the bits of the run that was not interrupted."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leyden import command_line
from leyden.callbacks import Progress
from leyden.config import CONFIG_DIRECTORY
from leyden.errors import Interrupted
from running import FinishedRun, differences

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
