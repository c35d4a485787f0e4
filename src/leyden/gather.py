"""Ranks > **gather** > data, metrics, checkpoint: what each process of a run has, on every one."""

from typing import Any, TypeVar

import torch

T = TypeVar("T")


def has_group() -> bool:
    """Whether the processes of a run know each other; a run by itself need not have a group."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def num_ranks() -> int:
    """How many processes a run has; 1 before they know each other."""
    return torch.distributed.get_world_size() if has_group() else 1


def of_all_ranks(part: T) -> list[T]:
    """Each rank's part, in their order, on every rank."""
    if num_ranks() == 1:
        return [part]
    parts: list[Any] = [None] * num_ranks()
    torch.distributed.all_gather_object(parts, part)
    return parts
