"""Faults > **inside**: what is put into a run's own process, in its forked child before the command begins.

Each function returns another, which the child calls. A "place" is a point of the program that a run passes many times:
in a training step, in validation, within a write. `count_places` counts the passes of the uninterrupted run, and the
faults strike at one of them, drawn at random.
"""

import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from leyden.classifier import ImageClassifier

PLACES = ("training step", "validation step", "checkpoint write", "small write")
Visit = Callable[[str], None]


def count_places(directory: Path) -> Callable[[], None]:
    """Adds a byte to `<directory>/<place>` at each pass."""

    def visit(place: str) -> None:
        with (directory / place).open("ab", buffering=0) as file:
            file.write(b".")

    return lambda: _watch(visit)


def kill_at(kind: str, number: int, struck: Path, share: float) -> Callable[[], None]:
    """SIGKILL at the `number`th pass of a place; of a checkpoint being written, a `share` of its bytes is there."""
    passes = _Passes(kind, number)

    def visit(place: str) -> None:
        if passes.reached(place):
            struck.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: _watch(visit, share)


def break_step(what: Callable[[], object], number: int, struck: Path) -> Callable[[], None]:
    """`what` happens in the `number`th training step; a number that it returns is a factor of the loss."""
    passes = _Passes("training step", number)

    def install() -> None:
        step = ImageClassifier.training_step

        def broken(self: Any, batch: Any, batch_index: int) -> torch.Tensor:
            if not passes.reached("training step"):
                return step(self, batch, batch_index)
            struck.touch()
            factor, forward = what(), self.loss.forward
            self.loss.forward = lambda *arguments: forward(*arguments) * factor
            try:
                return step(self, batch, batch_index)
            finally:
                del self.loss.forward

        ImageClassifier.training_step = broken  # type: ignore[method-assign]

    return install


def turn_clock_back(number: int, seconds: float = 24 * 3600.0) -> Callable[[], None]:
    """From the `number`th training step on, the clock on the wall is a day late."""
    passes = _Passes("training step", number)
    now = time.time

    def visit(place: str) -> None:
        if passes.reached(place):
            time.time = lambda: now() - seconds

    return lambda: _watch(visit)


def out_of_memory() -> object:
    """What an allocation beyond the machine's memory raises."""
    return torch.empty(2**60)


def not_a_number() -> object:
    return float("nan")


class _Passes:
    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.left = kind, number

    def reached(self, place: str) -> bool:
        """Counts a pass; true at the one that was asked for."""
        self.left -= place == self.kind
        return place == self.kind and self.left == 0


def _watch(visit: Visit, share: float = 1.0) -> None:
    """Calls `visit` at all places of this process."""
    for name, place in (("training_step", "training step"), ("validation_step", "validation step")):
        _before(ImageClassifier, name, lambda *arguments, place=place: visit(place))
    for name in ("fsync", "replace", "rename", "link"):
        _around(os, name, visit)
    save = torch.save

    def save_in_pieces(state: Any, file: Any, *arguments: Any, **options: Any) -> None:
        whole = io.BytesIO()
        save(state, whole, *arguments, **options)
        content = whole.getvalue()
        cut = int(len(content) * share)
        file.write(content[:cut])
        file.flush()
        visit("checkpoint write")
        file.write(content[cut:])

    setattr(torch, "save", save_in_pieces)  # noqa: B010 a plain assignment would have to repeat its whole signature


def _before(owner: Any, name: str, look: Callable[..., None]) -> None:
    function = getattr(owner, name)

    def patched(*arguments: Any, **options: Any) -> Any:
        look(*arguments)
        return function(*arguments, **options)

    setattr(owner, name, patched)


def _around(owner: Any, name: str, visit: Visit) -> None:
    function = getattr(owner, name)

    def patched(target: Any, *arguments: Any, **options: Any) -> Any:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)
        place = "checkpoint write" if "/checkpoints" in path else "small write"
        visit(place)
        done = function(target, *arguments, **options)
        visit(place)
        return done

    setattr(owner, name, patched)
