"""Optimizer > **schedule**: the learning rate of every step, as a factor of the optimizer's own.

Each function takes the optimizer and the number of steps in all; step counts from 0. Fractions are of all steps.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from leyden.config import require


def constant(optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0) -> LRScheduler:
    """The same rate throughout, after a linear warm-up."""
    return _scheduler(optimizer, total_steps, warmup_fraction, lambda progress: 1.0)


def cosine(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.1, final_fraction: float = 0.0
) -> LRScheduler:
    """Linear warm-up, then half a cosine down to `final_fraction` of the rate (Loshchilov & Hutter 2017)."""
    require("schedule.final_fraction", final_fraction, 0 <= final_fraction <= 1, "a number from 0 to 1")
    fall = 1 - final_fraction
    return _scheduler(
        optimizer, total_steps, warmup_fraction, lambda t: final_fraction + fall * (1 + math.cos(math.pi * t)) / 2
    )


def step(
    optimizer: Optimizer,
    total_steps: int,
    milestones: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
    warmup_fraction: float = 0.0,
) -> LRScheduler:
    """The rate times `factor` at each milestone, a fraction of training after the warm-up."""
    require("schedule.milestones", list(milestones), all(0 < m < 1 for m in milestones), "fractions between 0 and 1")
    require("schedule.factor", factor, 0 < factor < 1, "a number between 0 and 1")
    return _scheduler(
        optimizer, total_steps, warmup_fraction, lambda progress: factor ** sum(progress >= m for m in milestones)
    )


def exponential(
    optimizer: Optimizer, total_steps: int, final_fraction: float = 0.01, warmup_fraction: float = 0.0
) -> LRScheduler:
    """Linear warm-up, then the same factor at every step, down to `final_fraction` of the rate."""
    require("schedule.final_fraction", final_fraction, 0 < final_fraction <= 1, "a number above 0, up to 1")
    return _scheduler(optimizer, total_steps, warmup_fraction, lambda progress: final_fraction**progress)


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup_fraction: float = 0.3,
    first_fraction: float = 0.04,
    final_fraction: float = 4e-6,
    cycle_momentum: bool = True,
) -> LRScheduler:
    """Up to the rate and down to nearly nothing, momentum the other way round (Smith & Topin 2018).

    Where an optimizer has betas, the first of them is its momentum; a momentum of 0 stays 0.
    """
    require("schedule.warmup_fraction", warmup_fraction, 0 < warmup_fraction < 1, "a number between 0 and 1")
    require("schedule.first_fraction", first_fraction, 0 < first_fraction <= 1, "a number above 0, up to 1")
    require(
        "schedule.final_fraction", final_fraction, 0 < final_fraction <= first_fraction, "above 0, up to first_fraction"
    )
    has_momentum = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0
    all_steps = total_steps + 1  # the step after the last is announced too
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=all_steps,
        pct_start=max(warmup_fraction, 2 / all_steps),  # OneCycleLR divides by the steps of the rise less one
        div_factor=1 / first_fraction,
        final_div_factor=first_fraction / final_fraction,
        cycle_momentum=cycle_momentum and has_momentum,
    )


def plateau(
    optimizer: Optimizer, total_steps: int, mode: str = "max", factor: float = 0.3, patience: int = 3
) -> ReduceLROnPlateau:
    """The rate times `factor` once more than `patience` validations bring no gain of 0.01 % in what is monitored."""
    require("schedule.factor", factor, 0 < factor < 1, "a number between 0 and 1")
    require("schedule.patience", patience, patience >= 0, "0 or more")
    require("schedule.mode", mode, mode in ("min", "max"), "min or max")
    return ReduceLROnPlateau(optimizer, mode=mode, factor=factor, patience=patience)  # type: ignore[arg-type]


def first_step_that_differs(
    make_schedule: Callable[..., LRScheduler | ReduceLROnPlateau], before: int, after: int, num_steps: int
) -> int | None:
    """The first of `num_steps` steps whose rate is another when training has `after` steps in all, not `before`."""
    rates: list[list[float]] = []
    for total_steps in (before, after):
        optimizer = SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
        schedule = make_schedule(optimizer, total_steps=total_steps)
        if isinstance(schedule, ReduceLROnPlateau):
            return None  # it looks at the metric alone
        rates.append([])
        for _ in range(num_steps):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return next((step for step, (old, new) in enumerate(zip(*rates, strict=True)) if old != new), None)


def _scheduler(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float, factor_at: Callable[[float], float]
) -> LRScheduler:
    """Linear warm-up over its share of the steps, then `factor_at` the progress through the rest, 0 to 1."""
    require("schedule.warmup_fraction", warmup_fraction, 0 <= warmup_fraction < 1, "a number from 0 to below 1")
    num_warmup = round(warmup_fraction * total_steps)
    num_rest = max(1, total_steps - num_warmup)

    def factor(index: int) -> float:
        if index < num_warmup:
            return (index + 1) / num_warmup
        return factor_at(min(1.0, (index - num_warmup) / num_rest))

    return LambdaLR(optimizer, factor)
