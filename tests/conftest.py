"""What tests share: runs as processes, in a directory of their own, without a network."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture
def leyden(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `leyden <arguments>` in tmp_path as a user would; returns its exit code and what it printed."""

    def run(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "leyden", *arguments],
            cwd=tmp_path,
            env=os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
