"""Augment > **mix** > backbone: blends each image and its target with another of the batch."""

import numpy as np
import torch
from torch import Tensor

from leyden.augment.operation import check_range


class Mix:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019), or by chance either, with a probability per batch.

    The share of each image is drawn from Beta(α, α), α being `mixup` or `cutmix`; 0 switches one off. An image's
    partner is the next of its batch, which is shuffled already.
    """

    def __init__(self, mixup: float = 0.2, cutmix: float = 1.0, probability: float = 1.0) -> None:
        check_range("mixup", mixup, 0, 100)
        check_range("cutmix", cutmix, 0, 100)
        check_range("probability", probability, 0, 1)
        if mixup == cutmix == 0:
            raise ValueError("augment: mixup and cutmix are both 0: give one of them, or augment.mix=null")
        self.mixup, self.cutmix, self.probability = mixup, cutmix, probability

    def __call__(self, images: Tensor, targets: Tensor, position: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Mixes images [B, C, H, W] and targets [B, K] or [B]; all that is drawn is a function of `position`."""
        generator = np.random.default_rng(position)
        chance, kind = generator.random(2)
        if chance >= self.probability:
            return images, targets
        use_cutmix = self.cutmix > 0 and (self.mixup == 0 or kind < 0.5)
        alpha = self.cutmix if use_cutmix else self.mixup
        share = torch.from_numpy(generator.beta(alpha, alpha, len(images)).astype(np.float32)).to(images.device)
        if not use_cutmix:
            return mix(images, share), mix(targets, share)
        centres = torch.from_numpy(generator.random((2, len(images)), dtype=np.float32)).to(images.device)
        inside = box(share, centres, (images.shape[2], images.shape[3]))  # [B, H, W]
        images = torch.where(inside[:, None], images.roll(-1, 0), images)
        return images, mix(targets, 1 - inside.float().mean((1, 2)))


def mix(values: Tensor, share: Tensor) -> Tensor:
    """share · own + (1 − share) · the next one's; share [B]."""
    return torch.lerp(values.roll(-1, 0), values, share.view(-1, *[1] * (values.ndim - 1)))


def box(share: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """Where the partner shows, bool [B, H, W]: a box of 1 − share of the area, cut off at the border."""
    inside = []
    for length, centre in zip(size, centres, strict=True):
        half = (1 - share).sqrt() * length / 2
        places = torch.arange(length, device=share.device) + 0.5
        inside.append((places - (centre * length)[:, None]).abs() < half[:, None])
    return inside[0][:, :, None] & inside[1][:, None, :]
