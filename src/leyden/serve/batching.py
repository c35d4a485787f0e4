"""Application > **batching** > network: images of many requests, looked at together by one thread.

An image waits for others at most so long after it came; while the network is at work, those that come gather by
themselves.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import torch
from torch import Tensor

from leyden.predict.answers import Answer

WAITING = 32  # batches that may wait; more are turned away


class Busy(Exception):
    """More images wait than can be answered soon."""


class Waiting(NamedTuple):
    """An image that waits for its answer."""

    image: Tensor  # uint8 [C, H, W]
    answer: "Future[Answer]"
    since: float


class Batcher:
    """Answers images in batches of up to `max_batch`, in a thread of its own; as a context manager it lets it end.

    `answer` gives those of uint8 images [B, C, H, W]; `seen` is told each batch's size and seconds.
    """

    def __init__(
        self,
        answer: Callable[[Tensor], list[Answer]],
        max_batch: int,
        max_wait_ms: float,
        seen: Callable[[int, float], None],
    ) -> None:
        self.answer, self.max_batch, self.max_wait, self.seen = answer, max_batch, max_wait_ms / 1000, seen
        self.waiting: queue.Queue[Waiting | None] = queue.Queue(WAITING * max_batch)
        self.thread = threading.Thread(target=self._work, args=(torch.get_num_threads(),), name="network", daemon=True)

    def __enter__(self) -> "Batcher":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.waiting.put(None)  # behind all that wait
        self.thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self.thread.is_alive()

    def submit(self, image: Tensor) -> "Future[Answer]":
        """The answer about an image, once it is there.

        Raises:
            Busy: too many wait.
        """
        future: Future[Answer] = Future()
        try:
            self.waiting.put_nowait(Waiting(image, future, time.perf_counter()))
        except queue.Full as error:
            raise Busy from error
        return future

    def _work(self, num_threads: int) -> None:
        torch.set_num_threads(num_threads)  # a thread has its own number, and those that decode have one each
        while batch := self._gather():
            batch = [one for one in batch if one.answer.set_running_or_notify_cancel()]
            if not batch:
                continue
            begin = time.perf_counter()
            try:
                answers = self.answer(torch.stack([one.image for one in batch]))
            except Exception as error:  # it is that of these requests, and of no others
                for one in batch:
                    one.answer.set_exception(error)
                continue
            for one, answer in zip(batch, answers, strict=True):
                one.answer.set_result(answer)
            self.seen(len(batch), time.perf_counter() - begin)

    def _gather(self) -> list[Waiting]:
        """The next batch, in the order in which they came; nothing at the end."""
        first = self.waiting.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < self.max_batch:
            left = first.since + self.max_wait - time.perf_counter()
            try:
                one = self.waiting.get(timeout=left) if left > 0 else self.waiting.get_nowait()
            except queue.Empty:
                break
            if one is None:
                self.waiting.put(None)  # for the next look
                break
            batch.append(one)
        return batch
