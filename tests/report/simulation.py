"""Studies whose truth is known: how often the report's intervals hold it, and how often its marks are wrong.

From the repository's root: `python -m tests.report.simulation [--write]`, which puts the table into docs/studies.md.
Shapes: K settings, n seeds.
"""

import argparse
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leyden.report.statistics import difference, estimate, not_distinguishable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "studies.md"
MARKS = "<!-- simulation -->", "<!-- /simulation -->"
SEEDS = (3, 5, 10)
NUM_STUDIES = 4000
NUM_INTERVALS = 10_000  # so that a standard error is 0.2 %
CORRELATION = 0.9  # of a run's validation and test figures
FAR = 50.0  # standard deviations
SEED_EFFECT = 3.0  # standard deviations of what a seed does to all settings alike, where seeds matter

Array = NDArray[np.float64]


def coverage(n: int, generator: np.random.Generator) -> dict[str, float]:
    """How often the 95 % intervals of n seeds hold the truth, which is 0: of a mean, and of both differences."""
    held = np.zeros(3)
    for first, second in generator.normal(size=(NUM_INTERVALS, 2, n)):
        mean = estimate(first)
        paired, welch = (difference(first, second, is_paired) for is_paired in (True, False))
        bounds = [(mean["low"], mean["high"]), (paired.low, paired.high), (welch.low, welch.high)]
        held += [low <= 0 <= high for low, high in bounds if low is not None and high is not None]
    names = ("of a mean", "of a difference over shared seeds", "of a difference over other seeds (Welch)")
    return {f"95 % interval {name}": value for name, value in zip(names, held / NUM_INTERVALS, strict=True)}


def marks(means: Array, noise: Array, n: int, generator: np.random.Generator, seed_effect: float = 0.0) -> Array:
    """Whether each setting [K] is marked as worse than the best, which validation has chosen and test compares."""
    shape = len(means), n
    errors = generator.normal(size=shape)
    validation = CORRELATION * errors + np.sqrt(1 - CORRELATION**2) * generator.normal(size=shape)
    seeds = seed_effect * generator.normal(size=n)
    validation, test = (means[:, None] + noise[:, None] * drawn + seeds for drawn in (validation, errors))
    order = np.argsort(-validation.mean(1))
    best, *others = (dict(enumerate(row)) for row in test[order].tolist())
    found = np.zeros(len(means), bool)
    found[order[1:]] = [standing == "worse" for standing, _ in not_distinguishable(best, others, 0.0)]
    return found


def false_alarms(num_settings: int, n: int, kind: str, generator: np.random.Generator) -> float:
    """In which share of studies a setting is marked as worse that is as good as the best."""
    means, noise = np.zeros(num_settings), np.ones(num_settings)
    if kind == "half":
        means[num_settings // 2 :] = -FAR
    if kind == "noise":
        noise = np.geomspace(0.3, 3, num_settings)
    effect = SEED_EFFECT if kind == "seeds" else 0.0
    return float(np.mean([marks(means, noise, n, generator, effect)[means == 0].any() for _ in range(NUM_STUDIES)]))


def power(num_settings: int, n: int, apart: float, generator: np.random.Generator, seed_effect: float = 0.0) -> float:
    """In which share of studies the one setting that is worse is marked so."""
    means = np.zeros(num_settings)
    means[-1] = -apart
    noise = np.ones(num_settings)
    return float(np.mean([marks(means, noise, n, generator, seed_effect)[-1] for _ in range(NUM_STUDIES)]))


def column(n: int) -> dict[str, float]:
    """All figures of studies with n seeds."""
    generator = np.random.default_rng(n)
    found = coverage(n, generator)
    for num_settings in (2, 6, 24):
        name = f"false alarm, {num_settings} settings"
        found[f"{name} all alike"] = false_alarms(num_settings, n, "alike", generator)
        if num_settings > 2:
            found[f"{name}, half of them far worse"] = false_alarms(num_settings, n, "half", generator)
        found[f"{name}, noise from 0.3 to 3"] = false_alarms(num_settings, n, "noise", generator)
        found[f"{name} all alike, seeds matter"] = false_alarms(num_settings, n, "seeds", generator)
    for num_settings in (2, 6, 24):
        for apart in (1, 2, 4, 8):
            name = f"told apart, one of {num_settings} worse by {apart} s.d."
            found[name] = power(num_settings, n, apart, generator)
        found[f"{name}, seeds matter"] = power(num_settings, n, apart, generator, SEED_EFFECT)
    return found


def table() -> str:
    """The figures in Markdown, a column per number of seeds."""
    columns = [column(n) for n in SEEDS]
    rows = [[name, *(f"{100 * found[name]:.1f} %" for found in columns)] for name in columns[0]]
    head = [["", *(f"{n} seeds" for n in SEEDS)], ["---", *["--:"] * len(SEEDS)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def main() -> None:
    """Prints the table; with --write also puts it between its marks in docs/studies.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/studies.md")
    found = table()
    print(found)
    if parser.parse_args().write:
        begin, end = MARKS
        text = PAGE.read_text(encoding="utf-8")
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        assert len(pattern.findall(text)) == 1, PAGE
        PAGE.write_text(pattern.sub(f"{begin}\n{found}\n{end}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
