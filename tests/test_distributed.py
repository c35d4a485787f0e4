"""Two processes (gloo, on the CPU) against one: the same weights, the same metrics, every image counted once."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.metric_names import is_of_one_layer
from running import FinishedRun
from task_sources import MULTI_LABEL, REGRESSION, TESTS

Leyden = Callable[..., subprocess.CompletedProcess[str]]
Train = Callable[..., FinishedRun]
VIT = ["backbone=vit", "backbone.width=24", "backbone.depth=2"]  # without batch norm, which sees a rank's share
MLP = ["backbone=mlp", "backbone.width=32"]
WEIGHTED = ["loss.class_weights=[1,9,1,1,5,1,1,1,20,1]"]
COMMON = ["epochs=2", "logger=csv", "trainer.accelerator=cpu"]


def run_in_two(leyden: Leyden, directory: Path, *overrides: str, **environment: str) -> FinishedRun:
    done = leyden("train", f"hydra.run.dir={directory}", "trainer=ddp", *overrides, *COMMON, **environment)
    assert done.returncode == 0, done.stderr
    return FinishedRun(directory)


# Class weights and the freezing of layers are in the others too; sampling and stages are beside them (make test-slow).
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param([], id="plain"),
        pytest.param(["augment=strong", "callbacks.ema.decay=0.9"], id="strong and ema"),
        pytest.param(["finetune=lora", "callbacks.ema.decay=0.9"], id="lora"),
        pytest.param([*WEIGHTED, "loss=focal", "loss.label_smoothing=0.1"], id="focal and weighted"),
        pytest.param([*WEIGHTED, "data.sampler=balanced"], id="weighted", marks=pytest.mark.slow),
        pytest.param(["finetune=gradual", "finetune.num_stages=2"], id="gradual", marks=pytest.mark.slow),
    ],
)
def test_two_processes_give_the_weights_of_one(
    leyden: Leyden, train_run: Train, tmp_path: Path, extra: list[str]
) -> None:
    # Mixing pairs images within a rank's share and dropout draws per rank, so neither can agree: both stay out.
    extra = [*extra, "augment.mix=null"] if extra else extra
    # Not AdamW: attention's key biases have no gradient but rounding errors, which it would scale up to whole steps.
    common = [*VIT, "optimizer=sgd", "trainer.precision=32", "callbacks.layers.every_n_steps=5", *extra]
    one = train_run(*common)
    two = run_in_two(leyden, tmp_path / "two", *common)
    expected = one.checkpoint()["state_dict"]
    for name, value in two.checkpoint()["state_dict"].items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4)
    figures = [name for name in one.rows[0] if is_of_one_layer(name)]
    assert len(figures) >= 6
    for name in figures:
        assert two.column(name) == pytest.approx(one.column(name), rel=1e-2, abs=1e-7), name
    assert two.metrics["test/loss"] == pytest.approx(one.metrics["test/loss"], abs=1e-5)


def test_layers_that_thaw_are_waited_for_where_only_the_devices_are_named(leyden: Leyden, tmp_path: Path) -> None:
    words = ["trainer.devices=2", "finetune=head_then_full", *MLP, *COMMON]
    done = leyden("train", f"hydra.run.dir={tmp_path / 'run'}", *words)
    assert done.returncode == 0, done.stderr


def test_evaluation_counts_every_image_once(leyden: Leyden, tmp_path: Path) -> None:
    two = run_in_two(leyden, tmp_path / "two", "batch_size=100")
    assert two.record["status"] == "finished"
    accuracy, num_test = two.metrics["test/accuracy"], two.record["data"]["num_test"]
    assert num_test == 359  # odd: no two ranks share it evenly
    assert accuracy * num_test == pytest.approx(round(accuracy * num_test), abs=1e-6)
    assert (tmp_path / "two" / "log_rank1.txt").is_file()
    rows = two.rows
    assert len([row for row in rows if row["val/accuracy"]]) == 2  # one process writes, not two


@pytest.mark.parametrize("task", [MULTI_LABEL, REGRESSION], ids=["several labels", "numbers"])
def test_two_processes_gather_the_metrics_of_one(
    leyden: Leyden, train_run: Train, tmp_path: Path, task: list[str]
) -> None:
    settings = [*task, *MLP, "trainer.precision=32", "callbacks.ema.decay=0.9"]
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    one = train_run(*settings)
    two = run_in_two(leyden, tmp_path / "two", *settings, PYTHONPATH=path)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4)
    assert two.record["intervals"].keys() == one.record["intervals"].keys()


def test_failure_of_another_rank_is_a_failure(leyden: Leyden, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "import os\n"
        "from leyden.heads import LinearHead\n"
        "class Faulty(LinearHead):\n"
        "    def forward(self, features):\n"
        "        if os.environ.get('LOCAL_RANK') == '1':\n"
        "            raise ValueError('rank 1 is broken')\n"
        "        return super().forward(features)\n"
    )
    done = leyden(
        "train", "trainer=ddp", f"hydra.run.dir={tmp_path / 'run'}", "head._target_=faulty.Faulty", *COMMON,
        PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode != 0
    record: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["status"] != "finished"
