"""Files > **pixels**: one image file, decoded to bytes at the size that training wants."""

import contextlib
from typing import BinaryIO

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from leyden.data.colours import to_grey_or_rgb
from leyden.image_formats import UPRIGHT, open_image, orientation_of

REDUCTION = 2  # a JPEG is decoded at 1/2, 1/4 or 1/8 while that leaves so many times the size asked for


def read_image(path: str | BinaryIO, image_size: int, channels: int) -> Tensor:
    """uint8 [C, image_size, image_size]: upright, grey or RGB, the centre square, resized (bicubic, antialiased).

    Raises:
        Exception: whatever Pillow raises for a file that it cannot read; `ValueError` for one too large to be true, or
            with pixels of 32 bits.
    """
    mode = "L" if channels == 1 else "RGB"
    with open_image(path) as file:
        file_size, orientation = file.size, orientation_of(file)
        is_plain = orientation == UPRIGHT and is_plain_jpeg(file, image_size)
        if is_plain and (pixels := read_plain_jpeg(file, image_size, mode)) is not None:
            return pixels
        draft = file.draft(mode, (REDUCTION * image_size, REDUCTION * image_size))
        file.load()
        width, height = draft[1][2:] if draft else file.size  # a reduced size may be fractional: 853 / 2 = 426.5
        is_grey = file.mode == "L" and not file.has_transparency_data  # a third of the work until it is resized
        image = to_grey_or_rgb(file, "L" if is_grey else mode)
        left, top, side = centre_of(*file_size, orientation)
        scale = width / file_size[0]
        box = (scale * left, scale * top, min(scale * (left + side), width), min(scale * (top + side), height))
        square = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box).convert(mode)
    with contextlib.suppress(SyntaxError):  # of EXIF that is none, which says nothing
        ImageOps.exif_transpose(square, in_place=True)
    return torch.from_numpy(np.array(square)).view(image_size, image_size, channels).permute(2, 0, 1)


def is_plain_jpeg(file: Image.Image, image_size: int) -> bool:
    """Whether a file of which only the head was read is a JPEG, grey or in colour, and too small to be reduced."""
    return file.format == "JPEG" and file.mode in ("L", "RGB") and min(file.size) < 2 * REDUCTION * image_size


def centre_of(width: int, height: int, orientation: int) -> tuple[int, int, int]:
    """Left, top and side of the middle square of a stored image.

    Of an odd number of pixels to spare, the larger half is cut from the right and the bottom, once it is upright.
    """
    side = min(width, height)
    from_right, from_bottom = orientation in (2, 3, 7, 8), orientation in (3, 4, 6, 7)
    return (width - side + from_right) // 2, (height - side + from_bottom) // 2, side


def read_plain_jpeg(file: Image.Image, image_size: int, mode: str) -> Tensor | None:
    """As `read_image`, in half the time: simplejpeg decodes to Pillow's very pixels, torch resizes bytes quickly.

    None for a file that it cannot read: Pillow has the better words for why.
    """
    stream: BinaryIO = file.fp  # type: ignore[attr-defined]
    stream.seek(0)
    try:
        pixels = simplejpeg.decode_jpeg(stream.read(), "GRAY" if mode == "L" else "RGB")  # [H, W, C]
    except ValueError:
        return None
    left, top, side = centre_of(pixels.shape[1], pixels.shape[0], UPRIGHT)
    square = torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1)
    return F.interpolate(square[None], (image_size, image_size), mode="bicubic", antialias=True)[0]
