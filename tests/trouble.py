"""Heads that take their time or end a run, for tests of studies; what they compute is a linear head's."""

import os
import signal
import time

from torch import Tensor

from leyden.heads import LinearHead
from leyden.run import rank


class Slow(LinearHead):
    """Takes `seconds` for each batch, but none once Slurm has queued the run again or where FAST is set."""

    def __init__(self, num_features: int, num_classes: int, seconds: float, dropout: float = 0.0) -> None:
        super().__init__(num_features, num_classes, dropout)
        is_fast = "FAST" in os.environ or os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        self.seconds = 0.0 if is_fast else seconds

    def forward(self, features: Tensor) -> Tensor:
        time.sleep(self.seconds)
        logits: Tensor = super().forward(features)
        return logits


class Raising(LinearHead):
    """Raises at its first batch."""

    def forward(self, features: Tensor) -> Tensor:
        raise ArithmeticError("this head only raises")


class Killing(LinearHead):
    """Kills its process at its first batch, as nobody can prevent."""

    def forward(self, features: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return features


class Rank1(LinearHead):
    """Raises or is killed in the second process of a run."""

    def __init__(self, num_features: int, num_classes: int, how: str, dropout: float = 0.0) -> None:
        super().__init__(num_features, num_classes, dropout)
        self.how = how

    def forward(self, features: Tensor) -> Tensor:
        if rank() == 1 and self.how == "raise":
            raise ArithmeticError("rank 1 raises")
        if rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        logits: Tensor = super().forward(features)
        return logits
