"""A plan's measurement goes on in a process of its own, which does not outlive the interest in it."""

import multiprocessing
import signal
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from leyden.errors import Interrupted
from leyden.study.estimate import _what_decides_on_size, measure_one
from leyden.study.job import Job
from running import compose_config


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Stands for what starts processes; a signal comes while the measurement is waited for."""
    context = MagicMock()
    context.Pipe.return_value = receiver, _ = MagicMock(), MagicMock()
    receiver.recv.side_effect = Interrupted(signal.SIGINT)
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: context)
    return context


def test_ways_of_fine_tuning_are_measured_each_by_itself() -> None:
    def decides(*words: str) -> object:
        config = compose_config("data=elpv", "backbone=lite0", *words)
        return _what_decides_on_size(Job("a", Path("a"), (), {}, config, {}, (), 1))

    assert decides("finetune=full") != decides("finetune=linear_probe")
    assert decides("finetune=full") == decides("finetune=full", "finetune.head_rate=5", "optimizer.lr=0.1")


def test_measurement_is_ended_when_a_signal_ends_the_plan(
    context: MagicMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("MINE", "5")
    with pytest.raises(Interrupted):
        measure_one(Job("a", tmp_path / "a", (), {}, {}, {}, (), 1), at_once=1)
    context.Process.return_value.kill.assert_called_once_with()
    (_, environment, _, _) = context.Process.call_args.kwargs["args"]
    assert "SLURM_NTASKS" not in environment  # it would be one of the allocation's ranks
    assert environment["MINE"] == "5"
