"""Which files are opened, against what Pillow knows of formats, and what their heads say."""

import io
import subprocess
import sys

import pytest
from PIL import Image, UnidentifiedImageError

from leyden.image_formats import FORMATS, SUFFIXES, open_image, orientation_of


def stored(kind: str, **settings: object) -> io.BytesIO:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), (10, 90, 120)).save(stream, kind, **settings)
    return stream


def test_suffixes_are_of_formats_that_are_opened_and_each_has_one() -> None:
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in SUFFIXES} == set(FORMATS)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_opened(kind: str) -> None:
    with open_image(stored(kind)) as file:
        assert (file.format, file.size) == (kind, (32, 24))


@pytest.mark.parametrize("kind", ["EPS", "ICO"])
def test_other_formats_are_not_opened(kind: str) -> None:
    with pytest.raises(UnidentifiedImageError):
        open_image(stored(kind))


def test_file_of_more_pixels_than_memory_is_meant_to_hold_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="its head announces more pixels than the 200 that memory is meant to hold"):
        open_image(stored("PNG"))


@pytest.mark.parametrize(("exif", "expected"), [(None, 1), (6, 6), (b"Exif\0\0no EXIF", 1)])
def test_orientation_is_what_exif_says_and_upright_where_it_says_nothing(exif: object, expected: int) -> None:
    if isinstance(exif, int):
        told = Image.Exif()
        told[0x0112] = exif
        exif = told
    with open_image(stored("JPEG", **({} if exif is None else {"exif": exif}))) as file:
        assert orientation_of(file) == expected


def test_processes_of_the_doctor_start_without_torch() -> None:
    code = "import sys, leyden.doctor.facts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
