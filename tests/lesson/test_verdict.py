"""The rule by which a verdict follows from the numbers."""

from typing import Any

import numpy as np
import pytest

from leyden.lesson.verdict import MIXED, REFUTED, SUPPORTED, verdict_of_claim, verdict_of_effect
from leyden.report.model import Estimate
from leyden.report.statistics import estimate


def effect(low: float | None, high: float | None) -> Estimate:
    return {"n": 5, "mean": 0.0 if low is None or high is None else (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("low", "high", "side", "bound", "expected"),
    [
        (0.1, 0.3, "above", 0, SUPPORTED),
        (-0.1, 0.3, "above", 0, MIXED),
        (-0.3, -0.1, "above", 0, REFUTED),
        (0.1, 0.3, "above", 0.05, SUPPORTED),
        (0.01, 0.3, "above", 0.05, MIXED),
        (0.01, 0.04, "above", 0.05, REFUTED),  # there, but smaller than was predicted
        (-0.3, -0.1, "below", 0, SUPPORTED),
        (-0.3, 0.1, "below", 0, MIXED),
        (0.1, 0.3, "below", 0, REFUTED),
        (0.0, 0.3, "above", 0, MIXED),  # an interval that ends at the bound
        (-0.3, 0.0, "above", 0, MIXED),
        (2.0, 2.0, "below", 3, SUPPORTED),  # a count, the same in all repeats
        (2.0, 2.0, "below", 2, MIXED),
        (None, None, "above", 0, None),
    ],
)
def test_verdict_is_where_the_interval_lies(low: Any, high: Any, side: Any, bound: float, expected: Any) -> None:
    assert verdict_of_effect(effect(low, high), side, bound) == expected


def test_above_and_below_are_mirror_images() -> None:
    generator = np.random.default_rng(0)
    for low, width, bound in generator.normal(size=(200, 3)):
        ends = low, low + abs(width)
        above = verdict_of_effect(effect(*ends), "above", bound)
        assert above == verdict_of_effect(effect(-ends[1], -ends[0]), "below", -bound)
        assert {SUPPORTED: REFUTED, REFUTED: SUPPORTED, MIXED: MIXED}[above] == verdict_of_effect(  # type: ignore[index]
            effect(*ends), "below", bound
        )


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([SUPPORTED], SUPPORTED),
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([REFUTED, REFUTED], REFUTED),
        ([SUPPORTED, REFUTED], MIXED),
        ([SUPPORTED, MIXED], MIXED),
        ([REFUTED, MIXED], MIXED),
        ([SUPPORTED, None], None),
    ],
)
def test_claim_is_what_all_its_contrasts_say(verdicts: Any, expected: Any) -> None:
    assert verdict_of_claim(verdicts) == expected


def test_one_in_forty_effects_at_the_bound_is_called_supported() -> None:
    generator = np.random.default_rng(0)
    found = [verdict_of_effect(estimate(values), "above", 0) for values in generator.normal(size=(4000, 5))]
    for verdict in (SUPPORTED, REFUTED):
        assert found.count(verdict) / len(found) == pytest.approx(1 / 40, abs=3.5 * (1 / 40 * 39 / 40 / 4000) ** 0.5)
