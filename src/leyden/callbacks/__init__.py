"""Beside the steps: progress, early stopping, averaged weights, signals."""

from leyden.callbacks.early_stopping import EarlyStopping
from leyden.callbacks.ema import Ema
from leyden.callbacks.progress import Progress
from leyden.callbacks.stop_on_signal import StopOnSignal

__all__ = ["EarlyStopping", "Ema", "Progress", "StopOnSignal"]
