"""Data > **batch**: decodes image files into batches, ahead of the training step, in processes of their own.

The main process alone decides what is decoded: it sends the paths of a batch to a worker and gets pixels back. Which
worker decodes what, and how many there are, changes nothing in a batch.
"""

import contextlib
import csv
import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leyden.data.loader import Batch, EpochLoader
from leyden.data.sources import Files
from leyden.errors import why_unreadable

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0  # of a worker at whether the main process is still there, and of that at its workers
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Decoded(NamedTuple):
    """What a worker makes of the paths of a batch."""

    images: Tensor  # uint8 [B, C, H, W] in channels_last, of the files that could be read, in their order
    unreadable: dict[int, str]  # the position of each other one in the batch, and the reason


class DecodingLoader(EpochLoader):
    """Yields `Batch`es of the images in `files` at `indices` [M], each of `shape` (C, H, W), decoded by `num_workers`.

    0 workers decode in this process. An unreadable file is an error; given `skipped`, it is left out of its batch and
    noted there, path and reason.
    """

    def __init__(
        self,
        files: Files,
        shape: tuple[int, int, int],
        indices: Tensor,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        skipped: dict[str, str] | None = None,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(indices, batch_size, seed, rank, world_size, weights)
        self.labels, self.pin_memory, self.skipped = files.labels, pin_memory, skipped
        self.tasks = Tasks(files)
        advice = (
            "lower data.num_workers or batch_size; `leyden resume <run directory>` goes on from the last checkpoint"
        )
        self.workers = Workers(files.read, shape, self.tasks, num_workers, advice)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing happens before the first batch, when the epoch is known.
        shares = list(self.shares())
        self.tasks.shares = [chosen for _, chosen in shares]
        for (number, chosen), decoded in zip(shares, self.workers, strict=True):
            self.next_batch = number + 1
            if decoded.unreadable:
                chosen = self._readable(chosen, decoded.unreadable)
            # Pinned here: DataLoader does it in a thread that waits for ever when a worker is killed while it sends.
            images = decoded.images.pin_memory() if self.pin_memory else decoded.images
            yield Batch(images, self.labels[chosen], chosen)

    def close(self) -> None:
        """Ends the workers now."""
        self.workers.close()

    def _readable(self, chosen: Tensor, unreadable: dict[int, str]) -> Tensor:
        """The indices that are left of a batch.

        Raises:
            ValueError: there is an unreadable file where none is to be skipped, or nothing is left.
        """
        paths = self.tasks.paths_of(chosen)
        first, reason = next((paths[position], reason) for position, reason in unreadable.items())
        if self.skipped is None:
            raise ValueError(tell_unreadable(first, reason))
        for position, reason in unreadable.items():
            if paths[position] not in self.skipped:
                self.skipped[paths[position]] = reason
                log.warning("%s cannot be read (%s): it is left out", paths[position], reason)
        if len(unreadable) == len(paths):
            self.refuse_empty(len(paths), first, reason)
        return chosen[[position for position in range(len(paths)) if position not in unreadable]]


class Tasks:
    """The paths of each batch, in the order in which they are sent out; DataLoader asks for them in every epoch."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.shares: list[Tensor] = []  # the indices of each batch

    def __iter__(self) -> Iterator[list[str]]:
        return map(self.paths_of, self.shares)

    def paths_of(self, chosen: Tensor) -> list[str]:
        return [self.files.path(index) for index in chosen.tolist()]


class Workers:
    """`num_workers` processes that make each list of paths in `tasks` a `Decoded`, in their order.

    0 decode in this process. Tasks are taken as they are wanted, a few ahead of what has come back; each iteration asks
    for them anew. `advice` is what to do where a worker was killed.
    """

    def __init__(
        self,
        read: Callable[[str], Tensor],
        shape: tuple[int, int, int],
        tasks: Iterable[list[str]],
        num_workers: int,
        advice: str,
    ) -> None:
        self.advice = advice
        self.processes: list[BaseProcess] = []
        # Workers that wait for a disk may well be more than there are cores.
        warnings.filterwarnings("ignore", message="This DataLoader will create .* worker processes")
        self.loader: DataLoader[Decoded] = DataLoader(
            Decoder(read, shape),
            batch_size=None,  # a task is a batch already
            sampler=tasks,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            worker_init_fn=begin_worker,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),  # DataLoader draws a seed; from a generator that nothing else draws from
        )

    def __iter__(self) -> Iterator[Decoded]:
        with self._death_in_a_sentence():
            batches = self._begin()
        while True:
            with self._death_in_a_sentence():
                decoded = next(batches, None)
            if decoded is None:
                return
            yield decoded

    def close(self) -> None:
        """Ends the processes now.

        An error's traceback may keep the loader in a cycle of references; the garbage collector, which ends such
        workers some time later, may close their pipes before their queues do.
        """
        del self.loader

    def _begin(self) -> Iterator[Decoded]:
        """Sends the first tasks out, and starts the workers where they do not run yet.

        With them DataLoader sets a handler that raises wherever the main process happens to be when a worker dies, in
        the middle of a checkpoint too. The one before is put back: waiting for a batch, it looks after its workers.
        """
        if not self.loader.num_workers or threading.current_thread() is not threading.main_thread():
            return iter(self.loader)
        others, handler = multiprocessing.active_children(), signal.getsignal(signal.SIGCHLD)
        held = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # workers are born so, and see to it in `begin_worker`
        try:
            batches = iter(self.loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            signal.signal(signal.SIGCHLD, handler)
        if not self.processes:
            self.processes = [process for process in multiprocessing.active_children() if process not in others]
        return batches

    @contextlib.contextmanager
    def _death_in_a_sentence(self) -> Iterator[None]:
        """Tells a worker's death in words that help, whichever error it shows itself by: there are half a dozen."""
        try:
            yield
        except (RuntimeError, OSError, EOFError) as error:
            ended = connection.wait([process.sentinel for process in self.processes], timeout=SECONDS_BETWEEN_LOOKS)
            dead = next((process for process in self.processes if process.sentinel in ended), None)
            if dead is None:
                raise
            dead.join()
            code = dead.exitcode or 0
            end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ValueError(
                f"process {dead.pid}, one of {len(self.processes)} that decode images, {end}, perhaps because memory "
                f"or /dev/shm ran out: {self.advice}"
            ) from error


class Decoder(Dataset[Decoded]):
    """What runs in a worker: paths to pixels; a file that cannot be read is told, not raised."""

    def __init__(self, read: Callable[[str], Tensor], shape: tuple[int, int, int]) -> None:
        self.read, self.shape = read, shape

    def __getitem__(self, paths: list[str]) -> Decoded:
        images = torch.empty(len(paths), *self.shape, dtype=torch.uint8, memory_format=torch.channels_last)
        unreadable: dict[int, str] = {}
        for position, path in enumerate(paths):
            try:
                images[position - len(unreadable)] = self.read(path)
            except Exception as error:  # Pillow raises whatever a format's reader meets
                unreadable[position] = why_unreadable(error)
        return Decoded(images[: len(paths) - len(unreadable)], unreadable)


def tell_unreadable(path: str, reason: str) -> str:
    """The sentence for a file that ends a run."""
    return f"{path} cannot be read ({reason}): mend or delete it, or leave such images out with data.on_error=skip"


def begin_worker(number: int) -> None:
    """Leaves signals to the main process: Ctrl-C and a scheduler's SIGTERM reach every process of a run.

    SIGTERM counts when it comes from the main process, which ends its workers with it; its death counts too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=_end_with_the_main_process, daemon=True).start()
    else:  # macOS does not tell who sent a signal
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _end_with_the_main_process() -> None:
    assert sys.platform == "linux"
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    received = None
    while main_process.is_alive() and (received is None or received.si_pid != main_process.pid):
        received = signal.sigtimedwait({signal.SIGTERM}, SECONDS_BETWEEN_LOOKS)
    os._exit(0)


def _as_it_is(decoded: Any) -> Any:
    return decoded


def write_skipped(skipped: dict[str, str], path: Path) -> None:
    """Writes a table of the files that were left out, with the reasons."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        csv.writer(file).writerows([("path", "reason"), *sorted(skipped.items())])
