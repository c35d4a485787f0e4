"""Files > **formats** > pixels: which kinds of image files are opened at all, and how they say that they lie.

Torch is not imported here: the processes of the doctor open files as training does, and start without it.
"""

import warnings
from typing import BinaryIO

from PIL import ExifTags, Image

from leyden.errors import why_unreadable

SUFFIXES = frozenset((
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
))  # fmt: skip
# Theirs, by what they hold: an EPS would have Ghostscript run it, an icon hide its size behind a small head.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
UPRIGHT = 1
# Of files between this limit of Pillow's and twice as much, which is refused, `leyden doctor` tells.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: str | BinaryIO) -> Image.Image:
    """Opens a file, or the bytes of one, of which only the head is read.

    Raises:
        ValueError: it announces so many pixels that it is likely made to exhaust memory.
    """
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(why_unreadable(error)) from error


def orientation_of(file: Image.Image) -> int:
    """How the stored image has to be turned, 1 to 8; 1 where EXIF says nothing, or is none."""
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, UPRIGHT))
    except (SyntaxError, TypeError, ValueError):
        return UPRIGHT
