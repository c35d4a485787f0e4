"""Calibration, quality, robustness, … > **number** > evaluation.json: how it holds what was measured."""

from typing import Any

Number = dict[str, Any]  # a value and the interval it lies in


def number(value: float, interval: tuple[float, float] | None = None) -> Number:
    """A value and its 95 % interval, as evaluation.json has them."""
    return {"value": float(value), "interval": None if interval is None else [float(end) for end in interval]}
