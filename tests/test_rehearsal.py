"""Some steps of training, of which nothing is kept."""

from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback

from leyden.config import Origin
from leyden.rehearsal import Rehearsal
from running import SHORT, compose_config


class Counting(Callback):
    """Counts steps and validations."""

    def __init__(self) -> None:
        self.steps = self.validations = 0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.steps = trainer.global_step

    def on_validation_start(self, *_: Any) -> None:
        self.validations += 1


def test_it_takes_so_many_steps_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counting = Counting()
    Rehearsal(compose_config(*SHORT, "epochs=1"), Origin()).run(25, [counting])  # an epoch has 18
    assert (counting.steps, counting.validations) == (25, 0)
    assert not list(tmp_path.iterdir())


def test_a_schedule_that_waits_for_validation_waits_in_vain() -> None:
    counting = Counting()
    Rehearsal(compose_config(*SHORT, "schedule=plateau"), Origin()).run(25, [counting])
    assert counting.steps == 25


def test_a_wrong_config_is_refused_before_anything_is_built() -> None:
    config = compose_config(*SHORT, "+backbone.widht=3")
    with pytest.raises(ValueError, match="did you mean 'width'"):
        Rehearsal(config, Origin())
