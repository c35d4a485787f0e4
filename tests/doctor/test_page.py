"""The small copies that the doctor's page shows: as upright and as bright as training sees their files."""

import io

import numpy as np
import pytest
from PIL import Image

from leyden.doctor.page import upright

RAMP = np.linspace(0, 255, 60, dtype=np.uint8).reshape(1, 60).repeat(40, 0)


def stored(image: Image.Image, kind: str, **settings: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_an_image_of_sixteen_bits_is_shown_as_bright_as_its_copy_of_eight(kind: str) -> None:
    deep = upright(stored(Image.fromarray(RAMP.astype(np.uint16) * 257), kind))
    assert np.array_equal(deep, np.dstack([RAMP] * 3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_an_image_stored_sideways_is_shown_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    sideways = Image.fromarray(RAMP).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    shown = upright(stored(sideways, kind, exif=exif))
    assert shown.size == (60, 40)
    np.testing.assert_allclose(np.asarray(shown)[:, :, 0], RAMP, atol=4)
