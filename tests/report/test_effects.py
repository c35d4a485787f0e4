"""What factors do, against closed forms, brute force, statsmodels and simulation."""

import itertools
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from leyden.report import statistics
from leyden.report.effects import effects, importance, interactions, responses
from leyden.report.model import Factor, Level

RATES: list[Level] = [1e-4, 1e-3, 1e-2, 1e-1]


def factor(name: str, levels: Sequence[Level]) -> Factor:
    numbers = [level for level in levels if isinstance(level, (int, float)) and not isinstance(level, bool)]
    is_numeric = len(numbers) == len(levels)
    is_log = is_numeric and min(numbers) > 0 and max(numbers) > 10 * min(numbers)
    return {"name": name, "levels": list(levels), "is_numeric": is_numeric, "is_log": is_log}


FACTORS = [
    factor("optimizer.lr", RATES),
    factor("optimizer", ["sgd", "adam", None]),
    factor("head.bias", [True, False]),
]


def grid(factors: Sequence[Factor], num_seeds: int) -> list[dict[str, Level]]:
    names = [factor["name"] for factor in factors]
    combinations = itertools.product(*(factor["levels"] for factor in factors))
    return [dict(zip(names, levels, strict=True)) for levels in combinations for _ in range(num_seeds)]


def draw(factors: Sequence[Factor], runs: Sequence[dict[str, Level]], noise: float, seed: int = 0) -> np.ndarray:
    """a_i + b_j + c_k + (ab)_ij + noise."""
    generator = np.random.default_rng(seed)
    mains = [
        dict(zip(factor["levels"], generator.normal(size=len(factor["levels"])), strict=True)) for factor in factors
    ]
    first, second = factors[0], factors[1]
    pairs = {key: generator.normal() for key in itertools.product(first["levels"], second["levels"])}
    means = [
        sum(main[run[factor["name"]]] for factor, main in zip(factors, mains, strict=True))
        + pairs[run[first["name"]], run[second["name"]]]
        for run in runs
    ]
    return np.array(means) + noise * generator.normal(size=len(runs))


def shares(found: Any) -> dict[str, float]:
    return dict(zip(found["names"], found["shares"], strict=True))


def frame(runs: Sequence[dict[str, Level]], values: np.ndarray) -> pd.DataFrame:
    renamed = {"optimizer.lr": "a", "optimizer": "b", "head.bias": "c"}
    table = pd.DataFrame([{renamed[name]: str(level) for name, level in run.items()} for run in runs])
    return table.assign(y=values)


def test_effects_are_means_of_means_with_the_noise_of_seeds() -> None:
    """An unbalanced study: brute force over settings."""
    generator = np.random.default_rng(0)
    every = grid(FACTORS, 4)
    kept = np.flatnonzero(generator.random(len(every)) < 0.7)
    runs, values = [every[place] for place in kept], draw(FACTORS, every, 0.3)[kept]
    table = frame(runs, values).groupby(["a", "b", "c"])["y"].agg(["mean", "size", "var"]).reset_index()
    degrees = (table["size"] - 1).sum()
    variance = (table["var"] * (table["size"] - 1)).sum() / degrees
    found = effects(FACTORS, runs, values)
    assert [effect["factor"] for effect in found] == ["optimizer.lr", "optimizer", "head.bias"]
    for name, effect in zip("abc", found, strict=True):
        for level, estimate in zip(effect["levels"], effect["estimates"], strict=True):
            rows = table[table[name] == str(level)]
            error = np.sqrt(variance * (1 / rows["size"]).sum()) / len(rows)
            assert estimate["n"] == rows["size"].sum()
            assert estimate["mean"] == pytest.approx(rows["mean"].mean())
            assert estimate["low"] is not None
            assert estimate["high"] is not None
            assert (estimate["low"], estimate["high"]) == pytest.approx(
                stats.t.interval(0.95, degrees, rows["mean"].mean(), error)
            )


def test_effect_intervals_cover_the_truth_as_often_as_they_say() -> None:
    runs, covered, trials = grid(FACTORS, 2), 0, 400
    truth = effects(FACTORS, runs, draw(FACTORS, runs, 0.0))[0]["estimates"][0]["mean"]
    means = draw(FACTORS, runs, 0.0)
    generator = np.random.default_rng(1)
    for _ in range(trials):
        first = effects(FACTORS, runs, means + generator.normal(size=len(runs)))[0]["estimates"][0]
        assert first["low"] is not None
        assert first["high"] is not None
        covered += first["low"] <= truth <= first["high"]
    assert covered / trials == pytest.approx(0.95, abs=0.03)


def test_one_factors_effects_have_the_pooled_interval_where_settings_have_their_own() -> None:
    """Two settings of two runs: alike noise pools to twice the degrees of freedom, 4.30 in place of 12.7 errors."""
    values = np.array([0.5, 0.52, 0.4, 0.42])
    levels: list[dict[str, Level]] = [{"optimizer": name} for name in ("sgd", "sgd", "adam", "adam")]
    named: Factor = {"name": "optimizer", "levels": ["sgd", "adam"], "is_numeric": False, "is_log": False}
    (pooled,) = effects([named], levels, values, is_share=True)
    for place, found in enumerate(pooled["estimates"]):
        own = statistics.estimate(values[2 * place : 2 * place + 2], is_share=True)
        halves = [(one["high"] or 0) - one["mean"] for one in (found, own)]
        assert halves[0] / halves[1] == pytest.approx(stats.t.ppf(0.975, 2) / stats.t.ppf(0.975, 1))
    wide = np.array([0.9, 1.0, 0.5, 0.6])
    (pooled,) = effects([named], levels, wide, is_share=True)
    assert pooled["estimates"][0]["high"] == 1.0


def test_effects_of_one_seed_have_no_interval() -> None:
    runs = grid(FACTORS, 1)
    for effect in effects(FACTORS, runs, draw(FACTORS, runs, 0.1)):
        assert all(estimate["low"] is None and estimate["high"] is None for estimate in effect["estimates"])


def test_levels_without_runs_and_constant_factors_have_no_effect() -> None:
    factors = [*FACTORS, factor("constant", ["only"])]
    runs = [run for run in grid(factors, 2) if run["optimizer"] != "adam"]
    found = effects(factors, runs, draw(factors, runs, 0.1))
    assert [effect["factor"] for effect in found] == ["optimizer.lr", "optimizer", "head.bias"]
    assert found[1]["levels"] == ["sgd", None]


def test_numbers_of_a_search_are_shown_in_bins_of_equally_many_settings() -> None:
    numbers = sorted(float(10**exponent) for exponent in np.random.default_rng(0).uniform(-5, 0, 100))
    runs = [{"lr": number} for number in numbers]
    values = np.log10(numbers)
    (found,) = effects([factor("lr", numbers)], runs, values)
    assert len(found["levels"]) == 8
    assert found["levels"][0] == f"{numbers[0]:.3g}–{numbers[12]:.3g}"
    assert {estimate["n"] for estimate in found["estimates"]} == {12, 13}
    assert found["estimates"][0]["mean"] == pytest.approx(values[:13].mean())


def test_names_of_many_levels_are_left_out() -> None:
    names = [f"name{number}" for number in range(40)]
    runs = [{"name": name} for name in names]
    assert effects([factor("name", names)], runs, np.arange(40.0)) == []


def test_interactions_are_the_cells_means_of_means() -> None:
    every = grid(FACTORS, 3)
    kept = [place for place, run in enumerate(every) if (run["optimizer"], run["optimizer.lr"]) != ("adam", 1e-2)][1:]
    runs, values = [every[place] for place in kept], draw(FACTORS, every, 0.3)[kept]
    found = interactions(FACTORS, runs, values)
    assert [(pair["rows"], pair["columns"]) for pair in found] == [
        ("optimizer.lr", "optimizer"),
        ("optimizer.lr", "head.bias"),
        ("optimizer", "head.bias"),
    ]
    table = frame(runs, values).groupby(["a", "b", "c"])["y"].mean().reset_index()
    for row, rate in enumerate(RATES):
        for column, optimizer in enumerate(["sgd", "adam", None]):
            cell = table[(table["a"] == str(rate)) & (table["b"] == str(optimizer))]["y"]
            expected = None if (rate, optimizer) == (1e-2, "adam") else pytest.approx(cell.mean())
            assert found[0]["means"][row][column] == expected


def test_importance_of_a_full_grid_equals_brute_force() -> None:
    """The closed form: without noise, of orthogonal effects, each share is its mean square."""
    runs = grid(FACTORS, 2)
    a, b, c, ab = [3, 1, -1, -3], [1, 0, -1], [2, -2], np.outer([1, -1, -1, 1], [1, -2, 1])
    places = [[factor["levels"].index(run[factor["name"]]) for factor in FACTORS] for run in runs]
    sign = np.tile([1, -1], len(runs) // 2)  # the two seeds of a setting
    values = np.array([a[i] + b[j] + c[k] + ab[i, j] for i, j, k in places]) + 0.5 * sign
    found = importance(FACTORS, runs, values)
    parts = {
        "optimizer.lr": np.mean(np.square(a)),
        "optimizer": np.mean(np.square(b)),
        "head.bias": np.mean(np.square(c)),
        "optimizer.lr × optimizer": np.mean(np.square(ab)),
        "seed": 0.25,
        "optimizer.lr × head.bias": 0.0,
        "optimizer × head.bias": 0.0,
        "higher orders": 0.0,
    }
    expected = {name: part / sum(parts.values()) for name, part in parts.items()}
    assert shares(found) == pytest.approx(expected, abs=1e-12)
    assert found is not None
    assert found["shares"] == sorted(found["shares"], reverse=True)
    assert sum(found["shares"]) == pytest.approx(1)


def test_importance_of_a_full_grid_equals_statsmodels_sums_of_squares() -> None:
    runs = grid(FACTORS, 3)
    values = draw(FACTORS, runs, 0.7)
    table = anova_lm(ols("y ~ C(a) * C(b) * C(c)", frame(runs, values)).fit(), typ=2)["sum_sq"]
    expected = table / table.sum()
    found = shares(importance(FACTORS, runs, values))
    assert found == pytest.approx(
        {
            "optimizer.lr": expected["C(a)"],
            "optimizer": expected["C(b)"],
            "head.bias": expected["C(c)"],
            "optimizer.lr × optimizer": expected["C(a):C(b)"],
            "optimizer.lr × head.bias": expected["C(a):C(c)"],
            "optimizer × head.bias": expected["C(b):C(c)"],
            "higher orders": expected["C(a):C(b):C(c)"],
            "seed": expected["Residual"],
        }
    )


def test_importance_of_one_seed_names_no_seed() -> None:
    runs = grid(FACTORS, 1)
    found = importance(FACTORS, runs, draw(FACTORS, runs, 0.2))
    assert found is not None
    assert "seed" not in found["names"]
    assert "one run each" in found["method"]
    assert sum(found["shares"]) == pytest.approx(1)


@pytest.mark.parametrize("share", [0.98, 0.5])
def test_importance_of_an_unfinished_grid_is_close_to_that_of_the_whole(share: float) -> None:
    factors = [factor("lr", RATES), factor("name", list("abcdef")), factor("dropout", [0.0, 0.1, 0.2, 0.3, 0.4])]
    runs = grid(factors, 2)
    values = draw(factors, runs, 0.2, seed=3)
    exact = shares(importance(factors, runs, values))
    setting = np.arange(len(runs)) // 2
    kept = np.flatnonzero((np.random.default_rng(0).random(len(runs)) < share) & (setting > 0))
    found = importance(factors, [runs[place] for place in kept], values[kept])
    assert found is not None
    assert "forest" in found["method"]
    assert sum(found["shares"]) == pytest.approx(1)
    for name in ("lr", "name", "dropout"):
        assert shares(found)[name] == pytest.approx(exact[name], abs=0.03 if share > 0.9 else 0.08)


def test_importance_of_a_search_is_that_of_its_function() -> None:
    """Of (log10 lr)² and a uniform number, whose variances are known."""
    generator = np.random.default_rng(0)
    exponents, numbers = generator.uniform(-1, 1, 300), generator.uniform(0, 1, 300)
    runs = [{"lr": float(10**x), "smoothing": float(u)} for x, u in zip(exponents, numbers, strict=True)]
    factors = [factor(name, sorted({run[name] for run in runs})) for name in ("lr", "smoothing")]
    found = shares(importance(factors, runs, exponents**2 + numbers))
    curved, straight = 4 / 45, 1 / 12
    assert found["lr"] == pytest.approx(curved / (curved + straight), abs=0.06)
    assert found["smoothing"] == pytest.approx(straight / (curved + straight), abs=0.06)


def test_importance_says_why_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = grid(FACTORS, 1)[1:]
    values = draw(FACTORS, runs, 0.2)
    few = importance(FACTORS, runs[:7], values[:7])
    assert few is not None
    assert few["names"] == []
    assert "7 runs are too few" in few["method"]
    monkeypatch.setitem(sys.modules, "sklearn", None)
    missing = importance(FACTORS, runs, values)
    assert missing is not None
    assert missing["names"] == []
    assert "sklearn" in missing["method"]


def test_importance_is_none_where_nothing_varies() -> None:
    runs = grid(FACTORS, 2)
    assert importance(FACTORS, runs, np.full(len(runs), 0.1)) is None
    assert importance(FACTORS, runs[:2], np.array([0.1, 0.2])) is None
    assert importance([], runs, np.arange(float(len(runs)))) is None


def test_importance_is_the_same_each_time_and_silent(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    runs = grid(FACTORS, 1)[1:]
    values = draw(FACTORS, runs, 0.2)
    with caplog.at_level(logging.INFO):
        assert importance(FACTORS, runs, values) == importance(FACTORS, runs, values)
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.text) == ("", "", "")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_responses_are_the_best_over_all_other_factors(direction: Any) -> None:
    runs = grid(FACTORS, 3)
    values = draw(FACTORS, runs, 0.1)
    (found,) = responses(FACTORS, runs, values, direction)
    assert (found["factor"], found["by"], found["levels"]) == ("optimizer.lr", "optimizer", ["sgd", "adam", None])
    assert found["values"] == [RATES] * 3
    table = frame(runs, values).groupby(["a", "b", "c"])["y"].mean().reset_index()
    for curve, level in enumerate(found["levels"]):
        cells = table[table["b"] == str(level)].groupby("a")["y"]
        expected = [float((cells.max() if direction == "max" else cells.min())[str(rate)]) for rate in RATES]
        means = [estimate["mean"] for estimate in found["estimates"][curve]]
        assert means == pytest.approx(expected)
        assert {estimate["n"] for estimate in found["estimates"][curve]} == {3}
        best = int(np.argmax(expected) if direction == "max" else np.argmin(expected))
        assert found["best"][curve] == best
        assert found["at_edge"][curve] == (best in (0, 3))


def test_a_curve_of_equals_is_best_inside() -> None:
    runs = grid([FACTORS[0]], 1)
    (found,) = responses([FACTORS[0]], runs, np.array([0.9, 0.8, 0.9, 0.9]), "max")
    assert (found["by"], found["levels"]) == (None, [None])
    assert (found["best"], found["at_edge"]) == ([2], [False])


def test_responses_split_by_the_name_of_most_levels_where_no_optimizer_varies() -> None:
    factors = [factor("lr", RATES), factor("bias", [True, False]), factor("backbone", ["a", "b", "c"])]
    runs = grid(factors, 1)
    (found,) = responses(factors, runs, draw(factors, runs, 0.1), "max")
    assert found["by"] == "backbone"


def test_one_run_says_nothing_of_factors() -> None:
    runs, values = grid(FACTORS, 1)[:1], np.array([0.5])
    for factors in (FACTORS, []):
        assert effects(factors, runs, values) == []
        assert interactions(factors, runs, values) == []
        assert importance(factors, runs, values) is None
        assert responses(factors, runs, values, "max") == []


def test_a_thousand_runs_take_a_second() -> None:
    names = [f"n{number}" for number in range(9)]
    factors = [
        factor("lr", [10.0**-number for number in range(6, -1, -1)]),
        factor("name", names),
        factor("d", range(6)),
    ]
    runs = grid(factors, 3)[3:]
    values = draw(factors, runs, 0.2)
    start = time.process_time()
    effects(factors, runs, values)
    interactions(factors, runs, values)
    responses(factors, runs, values, "max")
    assert time.process_time() - start < 1
    importance(factors, runs, values)
    assert time.process_time() - start < 8
