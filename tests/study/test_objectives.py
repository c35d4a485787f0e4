"""What a search may make better is what its runs record."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from leyden.study.objectives import check_objectives
from running import TINY, compose_config

BASE: Any = OmegaConf.to_container(compose_config(*TINY))


def test_objectives_that_this_config_does_not_record_are_refused() -> None:
    check_objectives(["val/recall/3", "train/accuracy", "parameters"], BASE)
    with pytest.raises(ValueError, match="no such metric is recorded: val/ema_accuracy"):
        check_objectives(["val/ema_accuracy"], BASE)
    averaged = {**BASE, "callbacks": {**BASE["callbacks"], "ema": {"decay": 0.9}}}
    check_objectives(["val/ema_accuracy"], averaged)
    unsaved = {**BASE, "callbacks": {**BASE["callbacks"], "checkpoints": None}}
    with pytest.raises(ValueError, match=r"leave callbacks\.checkpoints as it is"):
        check_objectives(["val/loss"], unsaved)
