"""Config > rehearsal > **batch size**: what a step of each size takes, in time and memory, and which sizes fit."""

import itertools
import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig

from leyden.config import Origin
from leyden.data import Batch
from leyden.data.cache_choice import available_memory
from leyden.doctor.speed import images_per_second, training_step
from leyden.hardware import keep_freed_memory
from leyden.rehearsal import KEPT_FEATURES, Rehearsal
from leyden.run import write_atomically

SMALLEST = 8
NUM_SEEN = 256  # images that are read; larger batches hold them again and again
SHARE_OF_BEST = 0.95  # of the best throughput: as good, and an epoch of smaller batches teaches more
SAFE_SHARE = 0.8  # of the memory that is free, for a step to be tried


class Size(NamedTuple):
    """What was measured with one batch size."""

    batch_size: int
    images_per_second: float
    mebibytes: float  # that steps take beside what was there before


def find_batch_size(config: DictConfig, directory: Path, origin: Origin) -> list[Size]:
    """Tries 8, 16, 32, … images a step, up to all or to what memory holds; prints and stores a table."""
    rehearsal = Rehearsal(config, origin)
    device = torch.device(rehearsal.accelerator)
    if device.type == "cpu":
        keep_freed_memory()
    num_train = len(rehearsal.data.train_indices)
    seen = rehearsal.data.some_training_images(NUM_SEEN)
    rehearsal.classifier.to(device)
    memory = Memory(device)
    sizes: list[Size] = []
    why = f"there are {num_train:,} training images"
    doubled = (SMALLEST << number for number in itertools.count())
    for batch_size in [*itertools.takewhile(lambda size: size < num_train, doubled), num_train]:
        if not memory.has_room_after(sizes):
            why = f"{batch_size:,} would need more memory than the {memory.free:,.0f} MiB that are free"
            break
        try:
            batch = repeated(seen, batch_size, device)
            step = training_step(rehearsal.classifier, batch, device, rehearsal.precision)
            step()  # what is made at the first step is made
            speed = images_per_second(step, device)
        except torch.OutOfMemoryError:
            why = f"memory ran out with {batch_size:,}"
            break
        sizes.append(Size(batch_size, speed, memory.peak - memory.base))
    if not sizes:
        raise ValueError(f"{why}: give a smaller backbone or data.source.image_size")
    directory.mkdir(parents=True, exist_ok=True)
    found = {"device": str(device), "precision": rehearsal.precision, "sizes": [size._asdict() for size in sizes]}
    write_atomically(directory / "batch_sizes.json", json.dumps(found, indent=2) + "\n")
    print(describe(sizes, why, config.batch_size, directory))
    if rehearsal.classifier.finetune.keeps_features:
        print(KEPT_FEATURES)
    return sizes


def repeated(batch: Batch, batch_size: int, device: torch.device) -> Batch:
    """A batch of so many images, on the device: those of `batch`, again and again."""
    places = torch.arange(batch_size) % len(batch.labels)
    return Batch(*(part.cpu()[places].to(device) for part in batch))


class Memory:
    """What steps take of the memory of a device, or of this machine."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.base = self.peak

    @property
    def peak(self) -> float:
        """MiB that were held at most so far."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20

    @property
    def free(self) -> float:
        """MiB that nobody holds."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0] / 2**20
        return available_memory() / 2**20

    def has_room_after(self, sizes: Sequence[Size]) -> bool:
        """Whether twice the images of the last step that fitted, which take twice its memory, fit too."""
        return not sizes or sizes[-1].mebibytes < SAFE_SHARE * self.free


def suggest(sizes: Sequence[Size]) -> tuple[Size, Size]:
    """The smallest batch that is nearly as fast as any, and the largest that fits."""
    best = max(size.images_per_second for size in sizes)
    return next(size for size in sizes if size.images_per_second >= SHARE_OF_BEST * best), sizes[-1]


def describe(sizes: Sequence[Size], why: str, configured: int, directory: Path) -> str:
    """The table and what follows from it, in words."""
    fast, largest = suggest(sizes)
    lines = [f"{'batch size':>10}  {'images/s':>10}  {'MiB':>8}"]
    lines += [f"{size.batch_size:10,}  {size.images_per_second:10,.0f}  {size.mebibytes:8,.0f}" for size in sizes]
    ratio = fast.batch_size / configured
    rates = f"; with a rate tuned for {configured}, try {ratio:g} times it with SGD, {ratio**0.5:.2g} with Adam"
    lines += [
        f"suggested       batch_size={fast.batch_size}  (the smallest with {SHARE_OF_BEST:.0%} of the best speed"
        f"{rates if ratio != 1 else ''})",
        f"largest         {largest.batch_size:,}: {why}",
        f"table           {directory / 'batch_sizes.json'}",
    ]
    return "\n".join(lines)
