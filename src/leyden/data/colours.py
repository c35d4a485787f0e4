"""Files > **colours** > pixels: an image of any mode that Pillow opens becomes grey or RGB, 8 bits a channel."""

import numpy as np
from PIL import Image

BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF and what the second may say


def to_grey_or_rgb(file: Image.Image, mode: str) -> Image.Image:
    """A loaded image in Pillow's `mode` L or RGB; what can be seen through lies on white, as on a page.

    Values of up to 16 bits are scaled, so that the largest that the file can hold is white. What the file says of the
    camera (EXIF) stays with the image.

    Raises:
        ValueError: values of 32 bits, of which nobody says how bright they are.
    """
    if file.mode == mode and not file.has_transparency_data:
        return file
    is_deep = file.mode.startswith("I;16") or (file.mode == "I" and file.format in ("PNG", "PPM"))
    if file.mode[0] in "IF" and not is_deep:
        raise ValueError(f"its pixels are of Pillow's mode {file.mode}, expected 8 or 16 bits a channel")
    image = _to_8_bits(file) if is_deep else _on_white(file) if file.has_transparency_data else file
    converted = image if image.mode == mode else image.convert(mode)
    converted.info = {key: value for key, value in file.info.items() if key != "transparency"}
    return converted


def _on_white(file: Image.Image) -> Image.Image:
    page = Image.new("RGBA", file.size, "white")
    page.alpha_composite(file.convert("RGBA"))
    return page


def _to_8_bits(file: Image.Image) -> Image.Image:
    """Grey of 16 bits, or of fewer that are stored in as many; the one value that PNG may call transparent is white."""
    values = np.asarray(file).astype(np.uint32)
    tags = getattr(file, "tag_v2", {})  # of TIFF alone
    (bits, *_) = tags.get(BITS_PER_SAMPLE, (16,))
    largest = (1 << bits) - 1
    if "transparency" in file.info:
        values = np.where(values == file.info["transparency"], largest, values)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = largest - values
    return Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8))
