"""Metrics > **early stopping** > checkpoint: ends training when validation stops getting better."""

import pytorch_lightning as pl

from leyden.metric_names import direction


class EarlyStopping(pl.callbacks.EarlyStopping):
    """Lightning's early stopping, with the metric's direction known from its name and `patience=None` for never.

    `patience` counts validations without an improvement of more than `min_delta`.
    """

    def __init__(self, monitor: str, patience: int | None = None, min_delta: float = 0.0) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"callbacks.early_stopping.patience={patience} is out of range: give 1 or more, or null")
        if min_delta < 0:
            raise ValueError(f"callbacks.early_stopping.min_delta={min_delta} is out of range: give 0 or more")
        self.is_on = patience is not None
        super().__init__(monitor, min_delta, patience or 1, mode=direction(monitor), check_finite=True)
