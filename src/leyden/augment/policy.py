"""Augment > **policies**: other operations for each image, chosen at random from one list.

RandAugment (Cubuk et al. 2020) applies some of them at one strength, TrivialAugment (Müller & Hutter 2021) one at a
random strength. Strengths follow torchvision's, in 31 steps, but for three things that make small images fit for use:
geometry is about the image's centre, interpolates between pixels, and TrivialAugment's furthest shift of 32 pixels is
meant at a size of 224 and shrinks with the image.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from leyden.augment.colour import Brightness, Contrast, Saturation, blend
from leyden.augment.geometry import affine
from leyden.augment.operation import Operation, check_range, integers, per_image

NUM_STRENGTHS = 31
Function = Callable[[Tensor, Tensor], Tensor]  # images [B, C, H, W] and a magnitude for each [B]


def _affine(images: Tensor, **given: Tensor) -> Tensor:
    zeros = torch.zeros(len(images), device=images.device)
    names = ("angle", "shift_x", "shift_y", "shear_x", "shear_y")
    return affine(images, scale=zeros + 1, **{name: given.get(name, zeros) for name in names})


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the highest `bits` of 8."""
    step = 2 ** (8 - per_image(bits))
    return (images * 255).round().div(step, rounding_mode="floor") * step / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts pixels from `threshold` on."""
    return torch.where(images >= per_image(threshold), 1 - images, images)


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretches each channel to reach from 0 to 1; one of a single value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = low == high
    return torch.where(flat, images, (images - low) / torch.where(flat, 1.0, high - low)).clamp(0, 1)


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Makes each channel's 256 values about equally frequent."""
    pixels = (images * 255).round().long().flatten(2)  # [B, C, H·W]
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, pixels, torch.ones_like(pixels))
    up_to = counts.cumsum(2)
    # The highest value's pixels do not count towards a step, which 255 of them share evenly.
    step = (up_to[..., -1:] - counts.gather(2, pixels.amax(2, keepdim=True))) // 255
    below = F.pad(up_to, (1, 0))[..., :256]
    table = ((below + step // 2) // step.clamp_min(1)).clamp(0, 255)
    return torch.where(step == 0, pixels, table.gather(2, pixels)).view(images.shape) / 255


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with a 3 x 3 smoothed image, whose border stays as it is; above 1 is sharper."""
    if min(images.shape[2:]) < 3:
        return images
    channels = images.shape[1]
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    smooth = images.clone()
    weights = (kernel / 13).expand(channels, 1, 3, 3)
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, weights, groups=channels)
    return blend(images, smooth, factor)


FUNCTIONS: dict[str, Function] = {
    "identity": lambda images, _: images,
    "shear_x": lambda images, degrees: _affine(images, shear_x=degrees),
    "shear_y": lambda images, degrees: _affine(images, shear_y=degrees),
    "translate_x": lambda images, pixels: _affine(images, shift_x=pixels),
    "translate_y": lambda images, pixels: _affine(images, shift_y=pixels),
    "rotate": lambda images, degrees: _affine(images, angle=-degrees),  # against the clock, as torchvision's
    "brightness": lambda images, factor: blend(images, Brightness.other(images), factor),
    "contrast": lambda images, factor: blend(images, Contrast.other(images), factor),
    "saturation": lambda images, factor: blend(images, Saturation.other(images), factor),
    "sharpness": sharpen,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}
NAMES = tuple(FUNCTIONS)


class Policy(Operation):
    """Applies to each image the operations drawn for it; `widest` says how far each goes at full strength."""

    needs_float = True

    def __init__(self, widest: dict[str, float], num_operations: int, posterize_bits: int) -> None:
        self.widest, self.num_operations, self.posterize_bits = widest, num_operations, posterize_bits

    def magnitudes(self, height: int, width: int) -> Tensor:
        """The parameter of each operation at each strength, [operations, NUM_STRENGTHS], for a positive sign.

        Degrees for turns and shears, pixels for shifts, what is added to 1 for blends, bits kept, a threshold.
        """
        line = torch.linspace(0, 1, NUM_STRENGTHS)
        table = torch.zeros(len(NAMES), NUM_STRENGTHS)
        for row, name in enumerate(NAMES):
            if name.startswith("shear"):
                table[row] = torch.atan(line * self.widest["shear"]).rad2deg()
            elif name.startswith("translate"):
                size = width if name == "translate_x" else height
                table[row] = (line * self.widest["translate"] * size).trunc()
            elif name == "rotate":
                table[row] = line * self.widest["rotate"]
            elif name in ("brightness", "contrast", "saturation", "sharpness"):
                table[row] = line * self.widest["colour"]
            elif name == "posterize":
                table[row] = 8 - (line * self.posterize_bits).round()
            elif name == "solarize":
                table[row] = 1 - line
        return table

    def _parameters(self, choice: Tensor, strength: Tensor, sign: Tensor, images: Tensor) -> Tensor:
        """Looks up magnitudes [B, operations per image]; geometry may go both ways, blends are factors about 1."""
        magnitude = self.magnitudes(images.shape[2], images.shape[3]).to(choice.device)[choice, strength]
        rows = torch.arange(len(NAMES), device=choice.device)
        signed, factor = (rows >= 1) & (rows <= 9), (rows >= 6) & (rows <= 9)
        magnitude = torch.where(signed[choice] & (sign < 0.5), -magnitude, magnitude)
        return magnitude + factor[choice]

    def apply(self, images: Tensor, *, operation: Tensor, magnitude: Tensor) -> Tensor:  # type: ignore[override]
        """Operations (numbers of NAMES) and magnitudes, both [B, operations per image]."""
        for column in range(operation.shape[1]):
            changed = images.clone()
            for number, function in enumerate(FUNCTIONS.values()):
                members = (operation[:, column] == number).nonzero()[:, 0]
                if number and len(members):
                    changed[members] = function(images[members], magnitude[members, column])
            images = changed
        return images


class RandAugment(Policy):
    """`num_operations` of fourteen operations, one after the other, all at `magnitude` of 30."""

    def __init__(self, num_operations: int = 2, magnitude: int = 9) -> None:
        check_range("num_operations", num_operations, 1, 10)
        check_range("magnitude", magnitude, 0, NUM_STRENGTHS - 1)
        widest = {"shear": 0.3, "translate": 150 / 331, "rotate": 30, "colour": 0.9}
        super().__init__(widest, num_operations, posterize_bits=4)
        self.num_draws, self.magnitude = 2 * num_operations, magnitude

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        choice = integers(uniform[:, : self.num_operations], len(NAMES))
        strength = torch.full_like(choice, self.magnitude)
        sign = uniform[:, self.num_operations :]
        return {"operation": choice, "magnitude": self._parameters(choice, strength, sign, images)}


class TrivialAugment(Policy):
    """One of fourteen operations at a random strength, in the wide space of the paper."""

    num_draws = 3

    def __init__(self) -> None:
        widest = {"shear": 0.99, "translate": 32 / 224, "rotate": 135, "colour": 0.99}
        super().__init__(widest, num_operations=1, posterize_bits=6)

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        choice, strength = integers(uniform[:, :1], len(NAMES)), integers(uniform[:, 1:2], NUM_STRENGTHS)
        return {"operation": choice, "magnitude": self._parameters(choice, strength, uniform[:, 2:], images)}
