"""Files > **cache** > batch: images decoded once, kept as bytes in memory or in a file that all processes share.

`cache_file.py` builds that file, `cache_choice.py` says which it is to be; `decoding.py` decodes, for the cache as for
a batch.
"""

import contextlib
import math
import mmap
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.data.decoding import DecodingLoader
from leyden.data.loader import Batch, EpochLoader
from leyden.data.sources import Files
from leyden.run import rank

BYTES_OF_A_TASK = 4 * 2**20  # what a worker decodes at a time
BYTES_AROUND = 64 * 2**10  # Linux maps so much more with a page that it has
BYTES_TO_STAY_MAPPED = 128 * 2**20  # pages of the file beyond it are let go of; the system keeps them all the same


class Cached:
    """Images of `shape` (C, H, W) as rows of bytes, the channels of a pixel side by side as networks on a CPU want
    them; those that could not be read are `unreadable`, index and reason.

    Rows of a file are mapped, not read: what is used of them lies once in the system's memory, for all processes.
    """

    def __init__(
        self,
        rows: Tensor,
        shape: tuple[int, int, int],
        unreadable: dict[int, str],
        mapped: mmap.mmap | None = None,
    ) -> None:
        self.rows, self.shape, self.unreadable, self.mapped = rows, shape, unreadable, mapped  # rows: [N, H·W·C]
        self.readable = torch.ones(len(rows), dtype=torch.bool)
        self.readable[torch.tensor(list(unreadable), dtype=torch.int64)] = False
        self.bytes_mapped = 0

    @classmethod
    def of_file(cls, path: Path, num_images: int, shape: tuple[int, int, int], unreadable: dict[int, str]) -> "Cached":
        """Maps a file of `num_images` images."""
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            rows = torch.frombuffer(mapped, dtype=torch.uint8).view(num_images, -1)
        return cls(rows, shape, unreadable, mapped)

    def to(self, device: torch.device) -> "Cached":
        """The same in another device's memory."""
        return Cached(self.rows.to(device), self.shape, self.unreadable)

    def gather(self, indices: Tensor) -> Tensor:
        """Images [B, C, H, W] at `indices` [B], in the memory format `channels_last`."""
        channels, height, width = self.shape
        rows = self.rows.index_select(0, indices.to(self.rows.device))
        images = rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
        if self.mapped:
            self.bytes_mapped += images.nbytes + len(indices) * BYTES_AROUND
            if self.bytes_mapped > BYTES_TO_STAY_MAPPED:
                self.mapped.madvise(mmap.MADV_DONTNEED)
                self.bytes_mapped = 0
        return images

    def read_ahead(self, indices: Tensor) -> None:
        """Asks the system for images that are needed soon; it reads them while this process goes on."""
        if self.mapped:
            length = self.rows.shape[1]
            for index in indices.tolist():
                begin = index * length
                page = begin - begin % mmap.PAGESIZE
                self.mapped.madvise(mmap.MADV_WILLNEED, page, begin - page + length)


class CachedLoader(EpochLoader):
    """Yields the `Batch`es that a `DecodingLoader` of `files` would, from images that were decoded before."""

    def __init__(
        self,
        cached: Cached,
        files: Files,
        indices: Tensor,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
        weights: Tensor | None = None,
    ) -> None:
        device = cached.rows.device
        super().__init__(indices.to(device), batch_size, seed, rank, world_size, weights)
        self.cached, self.files, self.pin_memory = cached, files, pin_memory
        self.labels, self.readable = files.labels.to(device), cached.readable.to(device)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing happens before the first batch, when the epoch is known.
        shares = list(self.shares())
        for position, (number, chosen) in enumerate(shares):
            self.next_batch = number + 1
            if position + 1 < len(shares):
                self.cached.read_ahead(shares[position + 1][1])
            if self.cached.unreadable:
                chosen = self._readable(chosen)
            images = self.cached.gather(chosen)
            images = images.pin_memory() if self.pin_memory else images
            yield Batch(images, self.labels[chosen], chosen)

    def _readable(self, chosen: Tensor) -> Tensor:
        kept = chosen[self.readable[chosen]]
        if not len(kept) and len(chosen):
            first = int(chosen[0])
            self.refuse_empty(len(chosen), self.files.path(first), self.cached.unreadable[first])
        return kept


def cache_in_memory(
    files: Files, shape: tuple[int, int, int], num_workers: int, skipped: dict[str, str] | None
) -> Cached:
    """Decodes all images of `files` into this process's memory.

    Raises:
        ValueError: a file cannot be read, and there is no `skipped` to note it in.
    """
    rows = torch.empty(len(files.paths), math.prod(shape), dtype=torch.uint8)
    unreadable: dict[int, str] = {}
    for batch in decode_once(files, shape, torch.arange(len(rows)), num_workers, skipped, unreadable):
        rows[batch.indices] = batch.images.permute(0, 2, 3, 1).flatten(1)
    return Cached(rows, shape, unreadable)


def decode_once(
    files: Files,
    shape: tuple[int, int, int],
    indices: Tensor,
    num_workers: int,
    skipped: dict[str, str] | None,
    unreadable: dict[int, str],
) -> Iterator[Batch]:
    """The images at `indices`, piece by piece and in order, with a progress bar; notes those that are unreadable."""
    size = max(1, BYTES_OF_A_TASK // math.prod(shape))
    noted = None if skipped is None else dict[str, str]()
    loader = DecodingLoader(files, shape, indices, size, num_workers=num_workers, skipped=noted)
    with contextlib.closing(loader), Bar(f"decoding {len(indices):,} images once", len(indices)) as bar:
        for batch in loader:
            bar.advance(len(batch.indices))
            yield batch
    if noted and skipped is not None:
        for index in indices.tolist():
            if reason := noted.get(files.path(index)):
                unreadable[index] = reason
        skipped |= noted


class Bar:
    """A progress bar on the terminal of a run's first process, nothing elsewhere."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.live: Any = None

    def __enter__(self) -> "Bar":
        if sys.stdout.isatty() and rank() == 0:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            text = TextColumn("{task.description}")
            self.live = Progress(text, BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
            self.task = self.live.add_task(self.title, total=self.total)
            self.live.start()
        return self

    def advance(self, count: int) -> None:
        """So many more are done."""
        if self.live:
            self.live.advance(self.task, count)

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
