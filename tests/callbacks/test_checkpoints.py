"""When the last state is due, and that a run whose training is over goes on with its test."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import leyden.callbacks.checkpoints
from leyden import command_line
from leyden.callbacks import Checkpoints
from running import FinishedRun, differences


def trainer(step: int) -> Any:
    return SimpleNamespace(global_step=step, save_checkpoint=lambda path, weights_only: None)


def started(*, at_step: int = 0, **settings: float | None) -> Checkpoints:
    checkpoints = Checkpoints("val/loss", **settings)  # type: ignore[arg-type]
    checkpoints.directory = Path("nowhere")
    checkpoints.on_train_start(trainer(at_step), None)  # type: ignore[arg-type]
    return checkpoints


@pytest.mark.parametrize("at_step", [0, 7])
def test_state_is_due_every_so_many_steps_and_once_at_each(at_step: int) -> None:
    checkpoints, due = started(at_step=at_step, every_n_steps=7, every_n_minutes=None), []
    for step in range(at_step, 30):
        if checkpoints.is_due(step):
            checkpoints.save_last(trainer(step), "batch")
            due.append(step)
        assert not checkpoints.is_due(step)
    assert due == [step for step in (7, 14, 21, 28) if step > at_step]


def test_state_is_due_when_the_minutes_since_the_last_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(leyden.callbacks.checkpoints, "time", clock)
    checkpoints, due = started(every_n_steps=None, every_n_minutes=1.5), []
    for second in range(0, 300, 10):
        clock.monotonic = lambda second=second: float(second)
        if checkpoints.is_due(second + 1):
            checkpoints.save_last(trainer(second + 1), "batch")
            due.append(second)
    assert due == [90, 180, 270]


def test_state_is_never_due_where_neither_steps_nor_minutes_ask_for_it() -> None:
    checkpoints = started(every_n_steps=None, every_n_minutes=None)
    assert not any(checkpoints.is_due(step) for step in range(1000))


def test_validation_that_is_no_number_is_never_the_best(caplog: pytest.LogCaptureFixture) -> None:
    checkpoints, saved = started(), []
    for step, value in enumerate([math.nan, 0.7, math.nan, 0.5]):
        known = {"callback_metrics": {"val/loss": torch.tensor(value)}, "state": SimpleNamespace(fn="fit")}
        place = {"current_epoch": step, "global_step": step}
        save = {"save_checkpoint": lambda path, weights_only, step=step: saved.append(step)}
        checkpoints.on_validation_end(SimpleNamespace(**known, **place, **save), None)  # type: ignore[arg-type]
    assert saved == [1, 3]
    assert "val/loss is no number after epoch 2" in caplog.text


def test_state_of_two_devices_does_not_go_on_on_one() -> None:
    stopped = {"training_metrics": [{}, {}]}
    with pytest.raises(ValueError, match="stopped on 2 devices, and here are 1"):
        started().on_load_checkpoint(SimpleNamespace(world_size=1), None, stopped)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, math.nan])
@pytest.mark.parametrize("name", ["every_n_steps", "every_n_minutes"])
def test_interval_that_is_none_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"callbacks\.checkpoints\.{name}={value} is out of range: give more than 0"):
        Checkpoints("val/loss", **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("kill", [False, True], ids=["signal", "kill"])
def test_run_stopped_early_and_then_interrupted_goes_on_with_its_test_alone(
    kill: bool, train_run: Callable[..., FinishedRun], interrupted: Callable[..., FinishedRun]
) -> None:
    stopping = ["epochs=6", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-9"]
    whole = train_run(*stopping)
    assert len(whole.column("val/loss")) < 6
    run = interrupted(*stopping, hook="on_test_start", count=1, kill=kill)
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
