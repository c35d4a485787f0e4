"""Batch > **augment** > backbone: from uint8 images as stored to normalised floats, changed at random in training.

Shapes: B images of a batch, C channels, H x W pixels, K classes.
"""

import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leyden.augment.geometry import Crop, cut_centre
from leyden.augment.mix import Mix
from leyden.augment.operation import Operation
from leyden.data.loader import Batch
from leyden.random import mix_seed, uniform


class Augmentation(nn.Module):
    """Applies `operations` in their order, then normalises, then mixes.

    What is drawn for an image is a function of seed, epoch, its index and the operation's name, so neither its batch
    nor another operation changes it. `mean` and `std` are of pixels in [0, 1].
    """

    scale: Tensor
    byte_scale: Tensor
    shift: Tensor

    def __init__(
        self,
        operations: Mapping[str, Operation] | None,
        mix: Mix | None = None,
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.operations = {name: operation for name, operation in (operations or {}).items() if operation is not None}
        self.mix, self.num_classes, self.seed, self.image_size = mix, num_classes, seed, image_size
        crops = [operation for operation in self.operations.values() if isinstance(operation, Crop)]
        self.has_crop = bool(crops)
        for crop in crops:
            crop.size = image_size
        mean_, std_ = torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(std).view(1, -1, 1, 1)
        self.register_buffer("scale", 1 / std_, persistent=False)
        self.register_buffer("byte_scale", 1 / (255 * std_), persistent=False)
        self.register_buffer("shift", -mean_ / std_, persistent=False)

    def forward(self, batch: Batch, epoch: int, batch_index: int, rank: int = 0) -> tuple[Tensor, Tensor]:
        """Normalised float32 [B, C, H, W], and targets; features [B, F] pass as they are.

        Targets are the labels; of mixed images probabilities [B, K] for classes int64 [B], else blends of the labels.
        """
        if batch.images.ndim == 2:
            return batch.images, batch.labels
        images = self.normalize(self._change(batch, epoch)[0] if self.operations else batch.images)
        if self.mix is None:
            return images, batch.labels
        labels = batch.labels
        targets = labels if labels.is_floating_point() else F.one_hot(labels, self.num_classes).float()
        return self.mix(images, targets, (self.seed, epoch, batch_index, rank))

    def _change(self, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """The changed images, and what was drawn for each."""
        images, drawn = batch.images if self.has_crop else cut_centre(batch.images, self.image_size), {}
        with torch.autocast(images.device.type, enabled=False):  # half precision would round every pixel
            for name, operation in self.operations.items():
                images = _as_needed(images, operation)
                drawn[name] = self._draw(name, operation, images, batch.indices, epoch)
                images = operation.apply(images, **drawn[name])
        return images, drawn

    def normalize(self, images: Tensor) -> Tensor:
        """(pixel − mean) / std of uint8 images, or of float images in [0, 1], without a margin: all of evaluation."""
        if images.ndim == 2:
            return images  # features of what was normalised before
        images = cut_centre(images, self.image_size)
        if images.is_floating_point():
            return images.mul(self.scale).add_(self.shift).to(memory_format=torch.channels_last)
        # Channels go last while they are bytes, a quarter of the memory, where they are not last already; a row of
        # pixels then meets a row of factors, with which this takes less than half the time.
        pixels = images.contiguous(memory_format=torch.channels_last).float()
        num_images, channels, height, width = pixels.shape
        rows = pixels.permute(0, 2, 3, 1).view(num_images * height, width * channels)
        torch.addcmul(self.shift.flatten().repeat(width), rows, self.byte_scale.flatten().repeat(width), out=rows)
        return pixels

    def _draw(self, name: str, operation: Operation, images: Tensor, indices: Tensor, epoch: int) -> dict[str, Tensor]:
        key = mix_seed(self.seed, epoch, zlib.crc32(name.encode()))
        return operation.draw(uniform(key, indices, operation.num_draws), images)

    def show(self, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """The augmented images, float32 in [0, 1], without normalisation and mixing, and what was drawn for each."""
        images, drawn = self._change(batch, epoch)
        return images if images.is_floating_point() else images.float() / 255, drawn


def _as_needed(images: Tensor, operation: Operation) -> Tensor:
    return images.float() / 255 if operation.needs_float and not images.is_floating_point() else images
