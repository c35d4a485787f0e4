"""Runs for tests: the composed config of a command line, and what a finished run left behind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from leyden.config import CONFIG_DIRECTORY, register
from leyden.metric_names import read_metrics

SHORT = ["backbone=mlp", "backbone.width=16", "trainer=cpu", "logger=csv", "pictures=false"]
TINY = [*SHORT, "epochs=2"]


def compose_config(*overrides: str, directory: Path = CONFIG_DIRECTORY) -> DictConfig:
    """The config of `leyden train <overrides>`, resolved; `name` is given because only a job knows its choices."""
    register()
    with initialize_config_dir(str(directory), version_base="1.3"):
        config = compose("train", overrides=["name=test", *overrides])
    OmegaConf.resolve(config)
    return config


class Killed(BaseException):
    """Ends a run where it stands; nothing is saved any more."""


class FinishedRun:
    """A run's directory and what stands in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
        return record

    @property
    def metrics(self) -> dict[str, float]:
        return self.record["metrics"]

    @property
    def rows(self) -> list[dict[str, str]]:
        return read_metrics(self.directory / "metrics.csv")

    def column(self, name: str) -> list[float]:
        """The values of one metric in their order."""
        return [float(row[name]) for row in self.rows if row.get(name)]

    def checkpoint(self, name: str = "last") -> dict[str, Any]:
        from leyden.checkpoint import read_checkpoint

        return read_checkpoint(self.directory / "checkpoints" / f"{name}.ckpt")


def content(state: Any) -> Any:
    """A checkpoint's content in a form that `==` compares bit for bit."""
    if isinstance(state, torch.Tensor):
        return str(state.dtype), tuple(state.shape), state.contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {key: content(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [content(value) for value in state]
    return state


def differences(first: FinishedRun, second: FinishedRun) -> list[str]:
    """What of two finished runs is not the same bits: rows, checkpoints with all that is in them, final metrics."""
    found = []
    for name in ("last", "best"):
        ours, theirs = content(first.checkpoint(name)), content(second.checkpoint(name))
        found += [
            f"{name}: {key}" for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key) and key != "run"
        ]
    if (first.directory / "metrics.csv").read_bytes() != (second.directory / "metrics.csv").read_bytes():
        found.append("metrics.csv")
    return found + ["metrics"] * (first.metrics != second.metrics)


def read_wandb(directory: Path) -> dict[str, Any]:
    """What W&B's own reader says of the one run below `directory`/wandb: its state, exit code and summary."""
    (run,) = (path for path in (directory / "wandb").iterdir() if path.is_dir() and not path.is_symlink())
    return read_wandb_run(run)


def read_wandb_run(run: Path) -> dict[str, Any]:
    """What W&B's own reader says of the run in a directory."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(run)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return found
