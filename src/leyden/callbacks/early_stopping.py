"""Metrics > **early stopping** > checkpoint: ends training when validation stops getting better."""

import pytorch_lightning as pl

from leyden.config import require
from leyden.metric_names import direction


class EarlyStopping(pl.callbacks.EarlyStopping):
    """Lightning's early stopping, with the metric's direction known from its name and `patience=None` for never.

    `patience` counts validations without an improvement of more than `min_delta`.
    """

    def __init__(self, monitor: str, patience: int | None = None, min_delta: float = 0.0) -> None:
        is_count = patience is None or patience >= 1
        require("callbacks.early_stopping.patience", patience, is_count, "1 or more, or null")
        require("callbacks.early_stopping.min_delta", min_delta, min_delta >= 0, "0 or more")
        self.is_on = patience is not None
        super().__init__(monitor, min_delta, patience or 1, mode=direction(monitor), check_finite=True)
