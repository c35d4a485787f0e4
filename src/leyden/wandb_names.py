"""Loggers > **names at W&B** > dashboard: what runs are logged under there, which both sides have to agree on."""

import re
from collections.abc import Mapping
from typing import Any

FACTORS = "factors"  # in the config of a study's run
PREDICTIONS = "predictions"  # a table
CONFUSION_MATRIX = "confusion_matrix"  # charts of W&B's own kinds, `wandb.plot`
RELIABILITY = "reliability"
PICTURES = "pictures"  # those of the run directory, `pictures/confusion_matrix`
STEP = "step"  # the axis of every curve: optimizer steps, where W&B's own counts what was logged


def plain_factors(factors: Mapping[str, Any]) -> dict[str, Any]:
    """A run's factors as its config at W&B has them below `factors`: `{"optimizer_lr": 0.01}` for `optimizer.lr`.

    W&B takes a dot in a key for a step into a dict, and the config itself cannot stand in for them: a factor such as
    `optimizer` is the choice of a file there, whose name the resolved settings no longer have.
    """
    return {plain_key(key): level for key, level in factors.items()}


def plain_key(factor: str) -> str:
    """The key of a factor below `factors`."""
    return re.sub(r"\W", "_", factor)
