"""The range test: its rule against curves whose steepest place is known, and what comes of a real one."""

from pathlib import Path

import numpy as np
import pytest

from leyden.config import Origin
from leyden.find.learning_rate import LOWEST, Tried, find_learning_rate, smooth, suggest_rate
from leyden.metric_names import read_metrics
from running import SHORT, compose_config

RATES = np.logspace(-6, 1, 141)


def test_suggested_is_where_the_loss_falls_fastest() -> None:
    falling = 2.3 - 2 / (1 + np.exp(-4 * (np.log10(RATES) + 2.5)))  # a logistic fall, steepest at 10 ** -2.5
    rising = np.where(RATES > 0.1, (RATES / 0.1 - 1) * 0.1, 0)
    found = suggest_rate(Tried(RATES, falling + rising))
    assert found.steepest == pytest.approx(10**-2.5, rel=1e-6)
    assert found.tenth_of_lowest == pytest.approx(RATES[np.argmin(falling + rising)] / 10)


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    with pytest.raises(ValueError, match="the loss falls at no learning rate that was tried"):
        suggest_rate(Tried(RATES, np.linspace(1, 2, len(RATES))))


def test_smoothing_is_the_weighted_mean_of_what_was() -> None:
    losses = np.random.default_rng(0).normal(size=30)
    weights = 0.85 ** np.arange(29, -1, -1)
    assert smooth(losses.tolist())[-1] == pytest.approx(np.average(losses, weights=weights))


@pytest.mark.parametrize("words", [[], ["optimizer=sgd", "trainer.accumulate_grad_batches=2"]])
def test_a_rate_is_found_for_a_real_network(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = find_learning_rate(compose_config(*SHORT, *words), tmp_path, Origin())
    assert 1e-4 < found.steepest < 1
    assert f"suggested       optimizer.lr={found.steepest:.2g}" in capsys.readouterr().out
    rows = read_metrics(tmp_path / "lr_range.csv")
    rates = np.array([float(row["lr"]) for row in rows])
    assert rates[0] == LOWEST
    np.testing.assert_allclose(rates[1:] / rates[:-1], 1e7 ** (1 / 119), rtol=1e-9)
    assert (tmp_path / "lr_range.png").stat().st_size > 10_000
