"""Where a run begins: after any interruption it ends in the bits of the run that was not interrupted."""

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leyden import command_line
from leyden.callbacks import Progress
from leyden.config import CONFIG_DIRECTORY, Origin
from leyden.signals import Signals
from leyden.train import train
from running import TINY, FinishedRun, compose_config, differences
from task_sources import MULTI_LABEL, REGRESSION, with_data

Train = Callable[..., FinishedRun]


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
RICH = [
    "epochs=4", "augment=strong", "backbone.dropout=0.2", "callbacks.ema.decay=0.9", "trainer.log_every_n_steps=4",
    "callbacks.layers.every_n_steps=5",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The run of RICH that nothing disturbs."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    with Signals() as signals:
        train(compose_config(*TINY, *RICH), directory, Origin(RICH), signals)
    return FinishedRun(directory)


def written(run: FinishedRun) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the columns that they leave empty."""
    return [{name: value for name, value in row.items() if value} for row in run.rows]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kill", [False, True], ids=["signal", "kill"])
def test_run_that_goes_on_ends_in_the_same_bits(
    moment: str, kill: bool, whole: FinishedRun, interrupted: Callable[..., FinishedRun]
) -> None:
    hook, count = MOMENTS[moment]
    run = interrupted(*RICH, "callbacks.checkpoints.every_n_steps=7", hook=hook, count=count, kill=kill)
    assert run.record["status"] == ("failed" if kill else "interrupted")
    known = written(run)
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    assert written(run)[: len(known)] == known  # a tool that follows takes each row once
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
    options = {path.stem for path in (CONFIG_DIRECTORY / "backbone").iterdir()}
    of_timm = {f"lite{size}" for size in range(3)}  # with weights of their own
    assert {name[0] for name in BACKBONES} == {f"backbone={option}" for option in options - of_timm}


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
    with_data(f"{group}={path.stem}")
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
    ["data.sampler=balanced", "fold=1"],
    [*MULTI_LABEL, "augment=strong", "loss.class_weights=balanced"],
    [*REGRESSION, "augment=strong"],
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS, ids=" ".join)
def test_every_part_goes_on_exactly(part: list[str], train_run: Train, interrupted: Callable[..., FinishedRun]) -> None:
    overrides = ["epochs=3", "backbone.dropout=0.2", "callbacks.ema.decay=0.9", "trainer.log_every_n_steps=4", *part]
    whole = train_run(*overrides)
    run = interrupted(*overrides, hook="on_train_batch_end", count=11)
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []


# Stages change at batches 19 and 37, counted from 1; a checkpoint lies before each.
WAYS = [f"finetune={path.stem}" for path in sorted((CONFIG_DIRECTORY / "finetune").glob("*.yaml"))]
TURNS = {
    "killed before a stage changes": ("on_train_batch_end", 17, True),
    "stopped where a stage ends": ("on_train_epoch_end", 1, False),
    "stopped where a stage begins": ("on_train_epoch_start", 3, False),
    "killed after a stage changed": ("on_train_batch_end", 38, True),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FinishedRun]:
    """The run of each way of fine-tuning that nothing disturbs, made once."""

    @functools.cache
    def run(way: str) -> FinishedRun:
        directory = tmp_path_factory.mktemp("undisturbed") / "run"
        overrides = [way, *FINE_TUNING]
        with Signals() as signals:
            train(compose_config(*TINY, *overrides), directory, Origin(overrides), signals)
        return FinishedRun(directory)

    return run


FINE_TUNING = [
    "epochs=3", "backbone.batch_norm=true", "backbone.dropout=0.2", "callbacks.ema.decay=0.9", "optimizer.lr=0.01",
    "callbacks.checkpoints.every_n_steps=7", "trainer.gradient_clip_val=1.0",
]  # fmt: skip


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_fine_tuning_goes_on_exactly(
    way: str, turn: str, undisturbed: Callable[[str], FinishedRun], interrupted: Callable[..., FinishedRun]
) -> None:
    hook, count, kill = TURNS[turn]
    run = interrupted(way, *FINE_TUNING, hook=hook, count=count, kill=kill)
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(undisturbed(way), run) == []


def test_interrupted_three_times_it_is_still_the_same(
    whole: FinishedRun, interrupted: Callable[..., FinishedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
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
    name: str, how: str, whole: FinishedRun, interrupted: Callable[..., FinishedRun], caplog: pytest.LogCaptureFixture
) -> None:
    run = interrupted(*RICH, "callbacks.checkpoints.every_n_steps=7", hook="on_train_batch_end", count=45)
    damage(run.directory / name, how)
    caplog.clear()
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    if how != "deleted" and name != "metrics.csv" and "sha256" not in name:
        assert f"{run.directory / name} is " in caplog.text
    if "last" not in name:
        assert run.record["resumed_from"]["file"] == "last.ckpt"


def test_both_checkpoints_damaged_begin_at_the_start(
    whole: FinishedRun, interrupted: Callable[..., FinishedRun]
) -> None:
    run = interrupted(*RICH, hook="on_train_batch_end", count=45)
    for name in ("last.ckpt", "previous.ckpt"):
        damage(run.directory / "checkpoints" / name, "cut")
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    assert (run.directory / "checkpoints" / "last.ckpt.damaged").is_file()
