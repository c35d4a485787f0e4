"""Augmentation alone: crop and flip of 28 x 28 images, batches of 128, one thread; images per second."""

import time
from collections.abc import Callable

import torch
from kornia.augmentation import AugmentationSequential, RandomCrop, RandomHorizontalFlip
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.measure import threads
from benchmarks.networks import RandomImages
from leyden.augment import Augmentation, HorizontalFlip, PaddedCrop
from leyden.data import Batch

MEAN, STD = RandomImages.mean[0], RandomImages.std[0]
IMAGES = torch.randint(256, (128, 1, 28, 28), dtype=torch.uint8)
SECONDS = 1.0


def speed(step: Callable[[int], object]) -> float:
    """Images per second of a step over the batch, on one thread."""
    with threads(1):
        step(0)
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            count += 1
            step(count)
        return count * len(IMAGES) / (time.perf_counter() - begin)


def ours() -> float:
    """The whole of what training calls: draws, crop, flip, normalisation."""
    operations = {"crop": PaddedCrop(4), "flip": HorizontalFlip()}
    augment = Augmentation(operations, num_classes=10, mean=(MEAN,), std=(STD,), seed=0)
    batch = Batch(IMAGES, torch.zeros(128, dtype=torch.int64), torch.arange(128))
    return speed(lambda count: augment(batch, count, 0))


def per_sample_torchvision() -> float:
    """torchvision's v2 transforms, image by image, then stacked."""
    transform = v2.Compose(
        [
            v2.RandomCrop(28, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([MEAN], [STD]),
        ]
    )
    return speed(lambda _: torch.stack([transform(image) for image in IMAGES]))


def batched_kornia() -> float:
    """Kornia's transforms on the batch, which also draw for each image."""
    transform = AugmentationSequential(
        RandomCrop((28, 28), padding=4), RandomHorizontalFlip(p=0.5), data_keys=["input"]
    )

    def step(_: int) -> Tensor:
        return (transform(IMAGES.float() / 255) - MEAN) / STD

    return speed(step)
