"""What tests share: runs in this process and as processes, without a network."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from running import TINY, FinishedRun, compose_config

os.environ["WANDB_MODE"] = "offline"
torch.set_num_threads(1)  # small networks are faster so, and their bits do not depend on the machine's cores


@pytest.fixture
def train_run(tmp_path: Path) -> Callable[..., FinishedRun]:
    """Trains in this process with overrides after those of TINY; returns the finished run."""
    from leyden.config import Origin
    from leyden.signals import Signals
    from leyden.train import train

    count = 0

    def run(*overrides: str) -> FinishedRun:
        nonlocal count
        count += 1
        chosen = any(override.startswith("backbone=") for override in overrides)
        tiny = [override for override in TINY if not (chosen and override.startswith("backbone"))]
        directory = tmp_path / f"run{count}"
        with Signals() as signals:
            train(compose_config(*tiny, *overrides), directory, Origin(overrides), signals)
        return FinishedRun(directory)

    return run


@pytest.fixture
def leyden(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `leyden <arguments>` in tmp_path as a user would; returns its exit code and what it printed."""

    def run(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "leyden", *arguments],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
