"""Data > **batch**: cuts images held in memory into batches, one index operation each.

The order of an epoch is a function of (seed, epoch), so a run needs to remember only where it was. `decoding.py` does
the same for images that lie in files.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from leyden.random import mix_seed


class Batch(NamedTuple):
    """What every loader yields."""

    images: Tensor  # uint8 [B, C, H, W]
    labels: Tensor  # int64 [B], or as the task says
    indices: Tensor  # int64 [B]: the image's own number in its data set, whatever the split or batch


class EpochOrder:
    """The order of `num_images` positions in each epoch; shuffled when it has a seed.

    With `weights` [num_images] as many are drawn as there are, each as often as its share of their sum, rounded up or
    down at random.
    """

    def __init__(self, num_images: int, seed: int | None, weights: Tensor | None = None) -> None:
        assert weights is None or len(weights) == num_images
        self.num_images, self.seed, self.weights, self.epoch = num_images, seed, weights, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the begin of every epoch."""
        self.epoch = epoch

    def positions(self) -> Tensor:
        """int64 [num_images], on the CPU."""
        if self.seed is None:
            return torch.arange(self.num_images)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        shuffled = torch.randperm(self.num_images, generator=generator)
        if self.weights is None:
            return shuffled
        # Systematic sampling (Madow 1949): one draw shifts a comb over the weights, laid end to end in random order.
        ends = self.weights[shuffled].double().cumsum(0)
        teeth = torch.arange(self.num_images) + torch.rand(1, generator=generator, dtype=torch.float64)
        drawn = torch.searchsorted(ends, teeth * (ends[-1] / self.num_images), right=True)
        again = torch.randperm(self.num_images, generator=generator)
        return shuffled[drawn.clamp_max(self.num_images - 1)][again]


def sampling_weights(weights: Tensor | None, classes: Tensor | None, name: str) -> Tensor | None:
    """How often each of M images is drawn, float64 [M]: by its weight, and, given `classes` [M], all of them alike.

    Raises:
        ValueError: there is none to draw, at all or of a class.
    """
    if classes is not None:
        weights = torch.ones(len(classes), dtype=torch.float64) if weights is None else weights
        sums = torch.zeros(int(classes.max()) + 1, dtype=torch.float64).index_add_(0, classes, weights)
        weights = weights / torch.where(sums.isfinite(), sums, torch.nan)[classes]
    if weights is not None and not (weights.isfinite().all() and 0 < weights.sum() < math.inf):
        raise ValueError(
            f"{name}: the weights of the training images, or of those of one class, are all 0 or too large to add up: "
            "there is none to draw"
        )
    return weights


class EpochLoader:
    """What loaders share: who gets which image when; `batch_size` counts all ranks' images.

    With a seed `indices` [M] are shuffled and the last incomplete batch is dropped (other images in each epoch);
    without, every image comes exactly once over all ranks, in as many batches on each. The state is where it stands:
    loaded before an epoch that was begun already, it goes on there. `weights` [M] say how often each is drawn.
    """

    def __init__(
        self,
        indices: Tensor,
        batch_size: int,
        seed: int | None,
        rank: int,
        world_size: int,
        weights: Tensor | None = None,
    ) -> None:
        self.indices = indices
        self.batch_size = min(batch_size, len(indices)) if seed is not None else batch_size
        self.rank, self.world_size = rank, world_size
        self.sampler = EpochOrder(len(indices), seed, weights)
        self.batch_sampler = None  # Lightning asks every loader with a sampler
        self.next_batch = 0
        self.resumed = {"epoch": -1, "next_batch": 0}

    def state_dict(self) -> dict[str, int]:
        """The epoch and the batches of it that are done: what Lightning wants of a loader that can go on."""
        return {"epoch": self.sampler.epoch, "next_batch": self.next_batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Leaves out what is done of that epoch."""
        self.resumed = state_dict

    def refuse_empty(self, count: int, path: str, reason: str) -> None:
        """Ends training where none of a batch's `count` images can be read: there is no step without images."""
        if self.sampler.seed is not None:
            raise ValueError(
                f"none of the {count} images of a batch can be read, {path} for one ({reason}): "
                "is the disk still there? mend or delete them"
            )

    def __len__(self) -> int:
        whole, left = divmod(len(self.indices), self.batch_size)
        return whole + (self.sampler.seed is None and left > 0)

    def shares(self) -> Iterator[tuple[int, Tensor]]:
        """The number of each batch that is left of the epoch, and this rank's indices in it."""
        start = self.resumed["next_batch"] if self.resumed["epoch"] == self.sampler.epoch else 0
        order = self.indices[self.sampler.positions().to(self.indices.device)]
        for number in range(start, len(self)):
            begin = number * self.batch_size
            size = min(self.batch_size, len(order) - begin)
            mine = slice(begin + size * self.rank // self.world_size, begin + size * (self.rank + 1) // self.world_size)
            yield number, order[mine]


class InMemoryLoader(EpochLoader):
    """Yields `Batch`es of images [N, C, H, W] and labels [N] at `indices` [M]."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        indices: Tensor,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(indices, batch_size, seed, rank, world_size, weights)
        self.rows = images.flatten(1)  # [N, C·H·W]: gathering rows is faster than gathering images
        self.shape = images.shape[1:]
        self.labels = labels

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing happens before the first batch, when the epoch is known.
        for number, chosen in self.shares():
            self.next_batch = number + 1
            images = self.rows.index_select(0, chosen).view(-1, *self.shape)
            yield Batch(images, self.labels.index_select(0, chosen), chosen)
