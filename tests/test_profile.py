"""Where a step's time goes: each part has what is its own, and together they are the whole."""

import json
import re
from pathlib import Path

import pytest
import torch

from leyden import profile as profiling
from leyden.config import Origin
from leyden.profile import ADVICE, PARTS, REST, Part, Stopwatch, describe, parts_of, profile
from running import SHORT, compose_config


def test_an_action_has_the_time_that_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0])
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))
    watch.start("optimizer_step")  # at 1
    watch.start("training_step")  # at 3
    watch.stop("training_step")  # at 7
    watch.start("backward")  # at 15
    watch.stop("backward")  # at 31
    watch.stop("optimizer_step")  # at 63
    assert watch.seconds == {REST: 1, "optimizer_step": 2 + 8 + 32, "training_step": 4, "backward": 16}


def test_parts_are_the_whole_the_largest_first() -> None:
    seconds = {"[Strategy]SingleDeviceStrategy.training_step": 2.0, "augment": 1.0, "run_training_epoch": 1.0}
    parts = parts_of(seconds, num_steps=10)
    assert [(part.name, part.milliseconds, part.share) for part in parts] == [
        ("forward and loss", 200.0, 0.5), ("augmentation", 100.0, 0.25), (REST, 100.0, 0.25),
    ]  # fmt: skip


def test_every_part_has_advice() -> None:
    assert ADVICE.keys() == {*PARTS, REST}


def test_half_precision_is_not_advised_where_it_is_there(tmp_path: Path) -> None:
    parts = [Part("backward", 2.0, 1.0)]
    assert "trainer.precision=bf16-mixed" in describe(parts, 8, tmp_path)
    assert "bf16" not in describe(parts, 8, tmp_path, is_mixed=True)


def test_a_run_is_profiled_part_by_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    parts = profile(compose_config(*SHORT, "augment=standard", "trainer.gradient_clip_val=1"), tmp_path, Origin())
    assert {part.name for part in parts} == {*PARTS, REST}
    assert sum(part.share for part in parts) == pytest.approx(1)
    told = capfd.readouterr()
    assert f"largest         {parts[0].name}: {ADVICE[parts[0].name]}" in told.out
    assert "rofiler" not in told.err  # the tracer's library tells of itself, and of a GPU that is not there
    assert json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))["steps"] == 50
    assert json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]


def test_a_profile_of_a_probe_says_that_training_keeps_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile(compose_config(*SHORT, "finetune=linear_probe"), tmp_path, Origin())
    assert "training does so once, and then reads its features" in capsys.readouterr().out


def test_images_are_counted_where_steps_are_smaller_than_their_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose_config(*SHORT, "batch_size=4096")
    parts = profile(config, tmp_path, Origin())
    told = re.search(r"speed +([\d,]+) images/s", capsys.readouterr().out)
    assert told
    per_step = int(told[1].replace(",", "")) * sum(part.milliseconds for part in parts) / 1000
    assert per_step == pytest.approx(1169, abs=2)
