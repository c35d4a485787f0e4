"""Reports that might be true, of any size: tests and benchmarks of the page need no runs for them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leyden.report.model import Calibration, Curves, Effect, Factor, Interaction, Level, Report, Response, Run, Setting
from leyden.report.settings import NO_FACTORS
from leyden.report.statistics import estimate

FACTORS: Mapping[str, Sequence[Level]] = {
    "optimizer": ["sgd", "adam", "rmsprop"],
    "optimizer.lr": [0.001, 0.01, 0.03, 0.1],
}


def make_report(
    factors: Mapping[str, Sequence[Level]] = FACTORS, num_seeds: int = 3, num_epochs: int = 12, is_share: bool = True
) -> Report:
    """Every combination of levels, `num_seeds` runs each; the figures are drawn, the same in every call."""
    generator = np.random.default_rng(0)
    described = [describe(name, levels) for name, levels in factors.items()]
    levels = [dict(zip(factors, combination, strict=True)) for combination in itertools.product(*factors.values())]
    worth = np.full(len(levels), 0.93)
    for name, found in factors.items():
        moves = generator.normal(0, 0.02, size=len(found))
        worth += [moves[list(found).index(one[name])] for one in levels]
    values = np.clip(worth[:, None] + generator.normal(0, 0.004, size=(len(levels), num_seeds)), 0.02, 0.998)
    order = np.argsort(-values.mean(1))
    levels, values = [levels[place] for place in order], values[order]
    settings = [make_setting(number, levels[number], values[number]) for number in range(len(levels))]
    return {
        "format": 1, "title": "dropout_optimizer", "created": "2026-11-24T19:35+00:00",
        "data": "digits: 1,169 training, 269 validation, 359 test images",
        "metric": {"selection": "val/accuracy", "reported": "test/accuracy", "direction": "max", "is_share": is_share},
        "answer": [
            f"With three seeds, {settings[0]['label']} is best on val/accuracy: test/accuracy 98.9 % ± 0.3; not "
            "distinguishable from the next (difference 0.4 points, 95 % interval −0.2 to 1.0).",
            "Optimizer.lr explains 62 % of the variance of val/accuracy, optimizer 21 %.",
            "Four runs of 36 overfit, the earliest from epoch 5 on.",
        ],
        "command": "leyden train recipe=digits_cnn optimizer=adam optimizer.lr=0.01 seed=0",
        "threads": 1, "failures": ["One run of 36 failed: CUDA out of memory."],
        "warnings": ["The best optimizer.lr, 0.1, is the largest tried: a better may lie beyond."],
        "factors": described, "settings": settings,
        "effects": [make_effect(factor, levels, values) for factor in described],
        "interactions": [make_interaction(rows, columns, levels, values)
                         for rows, columns in itertools.combinations(described, 2)],
        "importance": make_importance([*factors]),
        "responses": [make_response(factor, described[0], levels, values) for factor in described if factor["is_log"]],
        "labels": None,
        "curves": [make_curves(setting, num_seeds, num_epochs, generator) for setting in settings],
        "calibration": [make_calibration(setting["number"], generator) for setting in settings],
        "power": {"difference": 0.004, "low": -0.002, "high": 0.01, "is_paired": True, "seeds": 11,
                  "sentence": "About 11 seeds would tell the two best settings apart with 80 % power at 5 %."},
        "runs": [make_run(setting, seed, values) for setting in settings for seed in range(num_seeds)],
        "unreadable": [],
    }  # fmt: skip


def describe(name: str, levels: Sequence[Level]) -> Factor:
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    is_numeric = len(numbers) == len(levels)
    is_log = is_numeric and min(numbers) > 0 and max(numbers) / min(numbers) > 10
    return {"name": name, "levels": list(levels), "is_numeric": is_numeric, "is_log": is_log}


def make_setting(number: int, levels: dict[str, Level], values: Any) -> Setting:
    label = " ".join(f"{name}={level}" for name, level in levels.items()) or NO_FACTORS
    standing: Any = "unknown" if len(values) < 2 else "best" if number == 0 else "tied" if number < 4 else "worse"
    return {
        "number": number, "label": label, "factors": levels,
        "runs": [f"{number}_{seed}" for seed in range(len(values))],
        "num_unfinished": int(number == 2), "selection": estimate(values), "reported": estimate(values - 0.01),
        "best_epoch": 7.5, "gap": estimate(values / 50), "seconds": 12.0 + number, "standing": standing,
        "p_value": None if standing in ("best", "unknown") else 0.5 / (1 + number) ** 2,
        "num_overfit": int(number % 3 == 0), "ece": 0.012,
    }  # fmt: skip


def make_run(setting: Setting, seed: int, values: Any) -> Run:
    number = setting["number"]
    value = float(values[number, seed])
    return {
        "id": f"{number}_{seed}", "setting": number, "factors": setting["factors"], "seed": seed, "fold": None,
        "split_seed": None, "status": "finished",
        "reason": None, "directory": f"{number}_{seed}", "wandb": "https://wandb.ai/me/it/runs/1" if seed else None,
        "command": "leyden train recipe=digits_cnn " + setting["label"], "selection": value, "reported": value - 0.01,
        "best_epoch": 7, "seconds": 12.0 + number + seed, "seconds_per_step": 0.0123, "images_per_second": 5200.0,
        "is_judged": True, "overfit_from": 6 if number % 3 == 0 and seed == 0 else None,
    }  # fmt: skip


def make_effect(factor: Factor, levels: Sequence[dict[str, Level]], values: Any) -> Effect:
    chosen = [[one[factor["name"]] == level for one in levels] for level in factor["levels"]]
    return {
        "factor": factor["name"], "levels": factor["levels"],
        "estimates": [estimate(values[rows].ravel()) for rows in chosen],
    }  # fmt: skip


def make_interaction(rows: Factor, columns: Factor, levels: Sequence[dict[str, Level]], values: Any) -> Interaction:
    means: list[list[float | None]] = [
        [float(values[[one[rows["name"]] == row and one[columns["name"]] == column for one in levels]].mean())
         for column in columns["levels"]]
        for row in rows["levels"]
    ]  # fmt: skip
    means[0][0] = None
    return {
        "rows": rows["name"], "columns": columns["name"], "row_levels": rows["levels"],
        "column_levels": columns["levels"], "means": means,
    }  # fmt: skip


def make_importance(names: Sequence[str]) -> Any:
    sources = [*names, *(f"{one} × {other}" for one, other in itertools.combinations(names, 2)), "seed"]
    shares = 0.5 ** np.arange(1, len(sources) + 1)
    return {"method": "Exact functional ANOVA of the settings' means.", "names": sources, "shares": shares.tolist()}


def make_response(factor: Factor, by: Factor, levels: Sequence[dict[str, Level]], values: Any) -> Response:
    numbers = [float(level) for level in factor["levels"] if isinstance(level, int | float)]
    estimates = [
        [estimate(max((values[place] for place, one in enumerate(levels)
                       if one[by["name"]] == level and one[factor["name"]] == number), key=np.mean))
         for number in numbers]
        for level in by["levels"]
    ]  # fmt: skip
    best = [int(np.argmax([point["mean"] for point in curve])) for curve in estimates]
    return {
        "factor": factor["name"], "by": by["name"], "levels": by["levels"], "values": [numbers] * len(by["levels"]),
        "estimates": estimates, "best": best, "at_edge": [place in (0, len(numbers) - 1) for place in best],
    }  # fmt: skip


def make_curves(setting: Setting, num_seeds: int, num_epochs: int, generator: np.random.Generator) -> Curves:
    epochs, number = np.arange(num_epochs), setting["number"]
    falling, reached = np.exp(-epochs / (2 + number % 5)), setting["selection"]["mean"]
    begin = 0.6 * num_epochs if number % 3 == 0 else None
    rise = 0.02 * np.maximum(0, epochs - begin) if begin is not None else 0.0
    means = {
        "train/loss": 2 * falling + 0.01, "val/loss": 1.9 * falling + 0.2 + rise,
        "train/accuracy": 1 - 0.9 * falling, "val/accuracy": reached - 0.85 * falling,
    }  # fmt: skip
    metrics = {}
    for name, mean in means.items():
        drawn = mean + generator.normal(0, 0.008, size=num_epochs)
        half = 0.02 + 0.01 * generator.random(num_epochs)
        bounds = (drawn - half, drawn + half) if num_seeds > 1 else (np.full(num_epochs, None),) * 2
        metrics[name] = {"mean": drawn.tolist(), "low": bounds[0].tolist(), "high": bounds[1].tolist()}
    return {"setting": number, "epochs": epochs.tolist(), "metrics": metrics, "overfit_from": begin}  # type: ignore[typeddict-item]


def make_calibration(number: int, generator: np.random.Generator) -> Calibration:
    centres = np.arange(0.05, 1, 0.1)
    accuracies = [None, None, *np.clip(centres[2:] - 0.05 + generator.normal(0, 0.02, 8), 0, 1).tolist()]
    confidences = [None, None, *centres[2:].tolist()]
    counts = [0, 0, 2, 5, 9, 14, 25, 40, 90, 892]
    return {
        "setting": number, "counts": counts, "confidences": confidences, "accuracies": accuracies, "ece": 0.031,
    }  # fmt: skip
