"""What tests share: runs in this process and as processes, without a network."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from browsing import CHROMIUM
from leyden import command_line
from leyden.callbacks import Progress
from leyden.data import Digits
from leyden.errors import Interrupted
from running import SHORT, TINY, FinishedRun, Killed, compose_config
from studies import PARTS, Study

Train = Callable[..., FinishedRun]

os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="leyden-tests-")  # no test finds what another session has left
torch.set_num_threads(1)  # small networks are faster so, and their bits do not depend on the machine's cores

TRAINING = {"train_run", "study", "leyden", "interrupted", "browser"}  # fixtures of what takes seconds


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that train, or start a program or a browser, by their fixtures; others say it themselves."""
    for item in items:
        if isinstance(item, pytest.Function) and TRAINING & set(item.fixturenames):
            item.add_marker("whole")


@pytest.fixture(autouse=True)
def no_parts_of_another_test() -> Iterator[None]:
    """A command puts where it is typed on Python's path, as it may with a process of its own."""
    before = sys.path[:]
    yield
    sys.path[:] = before


@pytest.fixture(autouse=True)
def no_service_of_another_test() -> Iterator[None]:
    """W&B leaves the address of its service in the environment, also of one that has ended."""
    yield
    os.environ.pop("WANDB_SERVICE", None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, for tests that say they need it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


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
        if "finetune=linear_probe" in overrides and not any("cache_directory" in override for override in overrides):
            tiny.append(f"++data.cache_directory={tmp_path / 'cache'}")
        with Signals() as signals:
            train(compose_config(*tiny, *overrides), directory, Origin(overrides), signals)
        return FinishedRun(directory)

    return run


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Study:
    """`leyden train -m` with small runs, where `ENDS` names a callback that breaks them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts_of_a_study.py").write_text(PARTS, encoding="utf-8")
    return Study(tmp_path, capfd)


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


@pytest.fixture
def write_digits(tmp_path: Path) -> Callable[..., Path]:
    """Writes digits `begin` to `end` of the package as <directory>/<class>/<number>.png; returns the directory."""

    def write(name: str = "digits", begin: int = 0, end: int = 300) -> Path:
        images, labels = Digits().load(tmp_path)[:2]
        for number in range(begin, end):
            path = tmp_path / name / str(int(labels[number])) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[number, 0].numpy()).save(path)
        return tmp_path / name

    return write


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


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`leyden train` into one directory, in this process; returns exit code, what it printed and its errors."""

    def run(*overrides: str) -> tuple[int, str, str]:
        code = command_line.train([f"hydra.run.dir={tmp_path / 'run'}", *SHORT, *overrides])
        return code, *capfd.readouterr()

    return run
