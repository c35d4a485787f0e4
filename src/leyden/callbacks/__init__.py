"""Beside the steps: progress, early stopping, pruning, averaged weights, norms, checkpoints; what is between two."""

from leyden.callbacks.checkpoints import Checkpoints
from leyden.callbacks.early_stopping import EarlyStopping
from leyden.callbacks.ema import Ema
from leyden.callbacks.heartbeat import Heartbeat
from leyden.callbacks.layers import Layers
from leyden.callbacks.progress import Progress
from leyden.callbacks.pruning import Pruning
from leyden.callbacks.step_boundary import StepBoundary

__all__ = ["Checkpoints", "EarlyStopping", "Ema", "Heartbeat", "Layers", "Progress", "Pruning", "StepBoundary"]
