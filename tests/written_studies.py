"""Directories of studies as runs leave them, written in an instant: tests and benchmarks of the report read them."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leyden.predictions import Predictions, write_predictions

NUM_TEST = 360


def write_study(
    directory: Path,
    factors: Mapping[str, Sequence[Any]],
    value: Callable[..., float],
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 12,
    noise: float = 0.004,
    change: Callable[[dict[str, Any], dict[str, Any]], None] = lambda record, levels: None,
) -> Path:
    """Writes a full factorial with a run per seed; `value(**factors)` is the accuracy without noise.

    Dots in the factors' names are underscores in its arguments. `change` may alter a run's record, given its levels.
    """
    generator = np.random.default_rng(0)
    jobs = {}
    for number, (*levels, seed) in enumerate(itertools.product(*factors.values(), seeds)):
        place = dict(zip(factors, levels, strict=True))
        mean = value(**{name.replace(".", "_"): level for name, level in place.items()})
        words = [f"{name}={level}" for name, level in place.items()]
        jobs[f"{number:010x}"] = {
            "factors": {**place, "seed": seed}, "overrides": [*words, f"seed={seed}"], "seed": seed, "devices": 1,
        }  # fmt: skip
        accuracies = mean + noise * generator.normal(size=2)
        _write_run(directory / f"{number:010x}", {**place, "seed": seed}, words, accuracies, epochs, generator, change)
    study = {
        "format": 1, "name": directory.name, "working_directory": str(directory), "code": "0" * 12,
        "factors": [*factors, "seed"], "settings": {"batch_size": 64, "monitor": "val/accuracy"}, "commands": [],
        "jobs": jobs,
    }  # fmt: skip
    (directory / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return directory


def _write_run(
    directory: Path, levels: dict[str, Any], words: Sequence[str], accuracies: Any, epochs: int,
    generator: np.random.Generator, change: Callable[[dict[str, Any], dict[str, Any]], None],
) -> None:  # fmt: skip
    directory.mkdir(parents=True)
    val, test = (float(min(max(accuracy, 0.0), 1.0)) for accuracy in accuracies)
    record: dict[str, Any] = {
        "overrides": [*words, f"seed={levels['seed']}"], "status": "finished", "reason": None, "seconds": 12.5,
        "attempt": 1, "attempts": [], "seed": levels["seed"],
        "command": " ".join(["leyden train", *words]), "git_commit": "1" * 40, "git_dirty": False,
        "versions": {"leyden": "0.0.1", "torch": "2.6.0"},
        "data": {"name": "digits", "task": "single_label", "fingerprint": "a" * 64, "split_seed": 0,
                 "num_train": 1169, "num_val": 269, "num_test": NUM_TEST},
        "metrics": {"best/epoch": epochs - 2, "best/val/accuracy": val, "test/accuracy": test, "test/loss": 1 - test},
        "intervals": {"test/accuracy": [test - 0.01, test + 0.01]},
        "timings": {"training_images_per_second": 9000.0},
    }  # fmt: skip
    change(record, levels)
    (directory / "run.json").write_text(json.dumps(record), encoding="utf-8")
    falling = np.exp(-np.arange(epochs) / 4)
    losses = falling + 0.2 + 0.005 * generator.normal(size=epochs)
    names = ["epoch", "step", "train/loss", "val/loss", "val/accuracy", "train/accuracy", "test/accuracy"]
    rows = [
        [epoch, 18 * epoch + 18, falling[epoch], losses[epoch], val - falling[epoch] / 2, 1 - falling[epoch], ""]
        for epoch in range(epochs)
    ]
    text = "\n".join(",".join(map(str, row)) for row in [names, *rows, [epochs, 18 * epochs, "", "", "", "", test]])
    (directory / "metrics.csv").write_text(text + "\n", encoding="utf-8")
    (directory / "config.yaml").write_text("".join(f"{key}: {level}\n" for key, level in levels.items()))
    labels = np.arange(NUM_TEST) % 10
    wrong = generator.permutation(NUM_TEST) < round((1 - test) * NUM_TEST)
    write_predictions(directory, Predictions(labels, (labels + wrong) % 10, generator.uniform(0.5, 1, NUM_TEST)))
