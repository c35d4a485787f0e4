"""What the default command promises: digits learnt to 98 % on the test images."""

from collections.abc import Callable

import pytest

from running import FinishedRun


@pytest.mark.parametrize("seed", [0, 1])
def test_default_network_learns_digits(train_run: Callable[..., FinishedRun], seed: int) -> None:
    run = train_run("backbone=cnn", "epochs=20", f"seed={seed}")
    assert run.metrics["test/accuracy"] >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_recipe_keeps_its_word(train_run: Callable[..., FinishedRun], seed: int) -> None:
    run = train_run("backbone=cnn", "epochs=60", "experiment=digits", f"seed={seed}")
    assert run.metrics["test/accuracy"] >= 0.985
