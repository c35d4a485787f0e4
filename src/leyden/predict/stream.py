"""Inputs > **stream** > table: paths go to workers, pixels to the network, rows out, batch by batch, in their order."""

import functools
import itertools
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from leyden.data.decoding import Workers
from leyden.data.image_file import read_image
from leyden.predict.answers import Answer, Answering


class Row(NamedTuple):
    """What is told of one image: an answer, or why there is none."""

    path: str
    answer: Answer | None
    error: str | None


def read(path: str, image_size: int, channels: int) -> Tensor:
    """As `read_image`.

    Raises:
        Exception: as there; ValueError for an empty path, as a table's cell may be.
    """
    if not path:
        raise ValueError("no path stands here")
    return read_image(path, image_size, channels)


def stream(answering: Answering, paths: Iterator[str], batch_size: int, num_workers: int | None) -> Iterator[list[Row]]:
    """The rows of each batch of `batch_size` paths; a file that cannot be read has the reason in its row."""
    facts = answering.facts
    size, channels = facts.stored_size, facts.channels
    sent: deque[list[str]] = deque()  # the batches that are with the workers

    def tasks() -> Iterator[list[str]]:
        while batch := list(itertools.islice(paths, batch_size)):
            sent.append(batch)
            yield batch

    workers = Workers(
        functools.partial(read, image_size=size, channels=channels),
        (channels, size, size),
        tasks(),
        torch.get_num_threads() if num_workers is None else num_workers,
        "lower num_workers or batch_size; the same line again goes on",
    )
    try:
        for decoded in workers:
            batch = sent.popleft()
            # Rows of the batch that cannot be read leave none for the network: it never sees an empty batch.
            answers = iter(answering(answering.network.logits(decoded.images)) if len(decoded.images) else [])
            yield [
                Row(path, None, decoded.unreadable[place])
                if place in decoded.unreadable
                else Row(path, next(answers), None)
                for place, path in enumerate(batch)
            ]
    finally:
        workers.close()
