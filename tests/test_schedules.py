"""Schedules against PyTorch's and against their formulas."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler, MultiStepLR

from leyden import schedules

STEPS = 100


def rates(make: Callable[..., LRScheduler], **settings: Any) -> list[float]:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    return walk(optimizer, make(optimizer, total_steps=STEPS, **settings))


def walk(optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> list[float]:
    """The rate of each step."""
    seen = []
    for _ in range(STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def reference(make: Callable[[torch.optim.Optimizer], LRScheduler]) -> list[float]:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    return walk(optimizer, make(optimizer))


def test_constant_is_constant() -> None:
    assert rates(schedules.constant) == [2.0] * STEPS


def test_cosine_without_warm_up_equals_pytorchs() -> None:
    expected = reference(lambda optimizer: CosineAnnealingLR(optimizer, STEPS, eta_min=0.2))
    assert rates(schedules.cosine, warmup_fraction=0.0, final_fraction=0.1) == pytest.approx(expected)


def test_exponential_equals_pytorchs() -> None:
    expected = reference(lambda optimizer: ExponentialLR(optimizer, 0.01 ** (1 / STEPS)))
    assert rates(schedules.exponential, final_fraction=0.01) == pytest.approx(expected)


def test_step_equals_pytorchs() -> None:
    expected = reference(lambda optimizer: MultiStepLR(optimizer, [50, 75], gamma=0.1))
    assert rates(schedules.step, milestones=[0.5, 0.75]) == pytest.approx(expected)


@pytest.mark.parametrize("make", [schedules.constant, schedules.cosine, schedules.step, schedules.exponential])
def test_warm_up_rises_evenly_to_the_rate(make: Callable[..., LRScheduler]) -> None:
    assert rates(make, warmup_fraction=0.1)[:11] == pytest.approx([*(0.2 * step for step in range(1, 11)), 2.0])


def test_cosine_after_warm_up_ends_at_its_last_fraction() -> None:
    seen = rates(schedules.cosine, warmup_fraction=0.2, final_fraction=0.0)
    assert seen[60] == pytest.approx(1.0)
    assert seen[-1] == pytest.approx(2 * (1 + math.cos(math.pi * 79 / 80)) / 2)


def test_one_cycle_rises_and_falls_with_momentum_the_other_way() -> None:
    optimizer = AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = schedules.one_cycle(optimizer, total_steps=STEPS)
    seen, momenta = [], []
    for _ in range(STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        schedule.step()
    assert seen[0] == pytest.approx(0.04)
    assert max(seen) == pytest.approx(1.0, abs=1e-3)
    assert 25 <= seen.index(max(seen)) <= 35
    assert seen[-1] < 1e-3
    assert min(momenta) == pytest.approx(0.85, abs=1e-3)


def test_one_cycle_works_for_an_optimizer_without_momentum() -> None:
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert len(walk(optimizer, schedules.one_cycle(optimizer, total_steps=STEPS))) == STEPS


@pytest.mark.parametrize(("steps", "fraction"), [(9, 0.1), (4, 0.2), (3, 0.25), (19, 0.05), (1, 0.3), (2, 0.3)])
def test_one_cycle_of_few_steps_has_rates_for_all_of_them(steps: int, fraction: float) -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    schedule = schedules.one_cycle(optimizer, total_steps=steps, warmup_fraction=fraction)
    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= 1
        optimizer.step()
        schedule.step()


def test_one_cycle_leaves_a_momentum_of_0_alone() -> None:
    optimizer = torch.optim.RMSprop([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.0)
    walk(optimizer, schedules.one_cycle(optimizer, total_steps=STEPS))
    assert optimizer.param_groups[0]["momentum"] == 0.0


def test_plateau_waits_for_its_patience() -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = schedules.plateau(optimizer, total_steps=STEPS, mode="max", factor=0.5, patience=2)
    seen = []
    for accuracy in (0.1, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6):
        schedule.step(accuracy)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (schedules.cosine, {"warmup_fraction": 1.0}),
        (schedules.cosine, {"final_fraction": -0.1}),
        (schedules.step, {"milestones": [1.5]}),
        (schedules.step, {"factor": 2.0}),
        (schedules.exponential, {"final_fraction": 0.0}),
        (schedules.one_cycle, {"warmup_fraction": 0.0}),
        (schedules.plateau, {"mode": "up"}),
        (schedules.plateau, {"patience": -1}),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[..., Any], settings: dict[str, Any]) -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ValueError, match=f"schedule.{next(iter(settings))}="):
        make(optimizer, total_steps=STEPS, **settings)
