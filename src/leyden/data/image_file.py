"""Files > **pixels**: one image file, decoded to bytes at the size that training wants."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = frozenset((
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
))  # fmt: skip
REDUCTION = 2  # a JPEG is decoded at 1/2, 1/4 or 1/8 while that leaves so many times the size asked for


def read_image(path: str, image_size: int, channels: int) -> Tensor:
    """uint8 [C, image_size, image_size]: upright, grey or RGB, the centre square, resized (bicubic, antialiased).

    Raises:
        Exception: whatever Pillow raises for a file that it cannot read; `ValueError` for pixels of more than 8 bits.
    """
    mode = "L" if channels == 1 else "RGB"
    with Image.open(path) as file:
        draft = file.draft(mode, (REDUCTION * image_size, REDUCTION * image_size))
        file.load()
        width, height = draft[1][2:] if draft else file.size  # a reduced size may be fractional: 853 / 2 = 426.5
        if file.mode[0] in "IF":
            raise ValueError(f"its pixels are of Pillow's mode {file.mode}, expected 8 bits a channel")
        # Pillow warns where it has to leave a palette's transparency out in one step.
        opaque = file.convert("RGBA") if "transparency" in file.info else file
        image = opaque if opaque.mode == mode else opaque.convert(mode)
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        square = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box)
    ImageOps.exif_transpose(square, in_place=True)
    return torch.from_numpy(np.array(square)).view(image_size, image_size, channels).permute(2, 0, 1)
