"""Augment: batched, on the batch's device, with a draw of its own for each image."""

from leyden.augment.augmentation import Augmentation
from leyden.augment.colour import Blur, Brightness, Contrast, Greyscale, Hue, Saturation
from leyden.augment.erase import RandomErasing
from leyden.augment.geometry import Affine, HorizontalFlip, PaddedCrop, QuarterTurn, RandomResizedCrop, VerticalFlip
from leyden.augment.mix import Mix
from leyden.augment.operation import Operation
from leyden.augment.policy import RandAugment, TrivialAugment

__all__ = [
    "Affine",
    "Augmentation",
    "Blur",
    "Brightness",
    "Contrast",
    "Greyscale",
    "HorizontalFlip",
    "Hue",
    "Mix",
    "Operation",
    "PaddedCrop",
    "QuarterTurn",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
    "Saturation",
    "TrivialAugment",
    "VerticalFlip",
]
