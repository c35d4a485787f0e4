"""One image file: its pixels are Pillow's, upright and square, and what cannot be shown is refused."""

import io
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch.nn import functional as F

from leyden.data.image_file import read_image

EXIF_ORIENTATION = 0x0112
# What a camera that was held so stores: the inverse of how a viewer has to turn the picture (EXIF 2.3, 4.6.4 A).
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image, 3),
}


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A colour picture [H, W, 3] without an axis of symmetry, smooth enough for JPEG."""
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    return fine[0].mul(255).round().byte().permute(1, 2, 0).numpy()


def test_image_of_the_right_size_keeps_its_bytes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(str(tmp_path / "a.png"), 24, 3)
    assert image.dtype == torch.uint8
    assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize(("height", "width"), [(96, 64), (64, 96), (64, 64)])
def test_shorter_side_is_resized_and_the_middle_cut_out(height: int, width: int, tmp_path: Path) -> None:
    pixels = smooth(height, width)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    scaled = Image.fromarray(pixels).resize((width // 2, height // 2), Image.Resampling.BICUBIC)  # 32 for the shorter
    left, top = (scaled.width - 32) // 2, (scaled.height - 32) // 2
    expected = np.array(scaled.crop((left, top, left + 32, top + 32)))
    assert torch.equal(read_image(str(tmp_path / "a.png"), 32, 3), torch.from_numpy(expected).permute(2, 0, 1))


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
def test_orientation_of_the_camera_is_undone(kind: str, orientation: int, tmp_path: Path) -> None:
    upright, path = smooth(160, 240), tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(path, exif=exif, quality=95)
    Image.fromarray(upright).save(tmp_path / "upright.png")
    difference = read_image(str(path), 20, 3).int() - read_image(str(tmp_path / "upright.png"), 20, 3).int()
    assert difference.abs().float().mean() < (0.1 if kind in ("png", "tif") else 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_decoded_at_a_fraction_of_its_size_is_near_the_whole(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(853, 1280)).save(path, quality=95)  # 853 is no multiple of 4 or 8
    whole = Image.open(path).convert("L" if channels == 1 else "RGB")
    side = min(whole.size)
    left = (whole.width - side) / 2
    square = whole.resize((64, 64), Image.Resampling.BICUBIC, (left, 0, left + side, side))
    expected = torch.from_numpy(np.array(square)).view(64, 64, channels).permute(2, 0, 1)
    assert (read_image(str(path), 64, channels).int() - expected.int()).abs().max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_that_is_not_reduced_has_pillows_pixels_at_its_own_size(mode: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(60, 60)).convert(mode).save(path, quality=90)
    whole = Image.open(path).convert("L" if channels == 1 else "RGB")
    if (mode, channels) == ("RGB", 1):  # the brightness that the file has, not one that is computed from its colours
        whole = Image.open(path)
        whole.draft("L", whole.size)
    expected = torch.from_numpy(np.array(whole)).view(60, 60, channels).permute(2, 0, 1)
    assert torch.equal(read_image(str(path), 60, channels), expected)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (301, 250)])
def test_jpeg_that_is_not_reduced_is_resized_as_pillow_does(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(*size)).save(path, quality=95)
    whole = Image.open(path)
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    square = whole.resize((240, 240), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    difference = read_image(str(path), 240, 3).int() - torch.from_numpy(np.array(square)).permute(2, 0, 1).int()
    assert difference.abs().max() <= 2  # as the reduced one: both round between rows and columns


def test_jpeg_cut_short_is_refused_in_pillows_words(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(60, 60)).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OSError, match="image file is truncated"):
        read_image(str(path), 60, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_grey_or_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(smooth(20, 20)).convert(mode).save(path)
    reopened = Image.open(path)
    for channels, target in [(1, "L"), (3, "RGB")]:
        expected = torch.from_numpy(np.array(reopened.convert(target))).view(20, 20, channels).permute(2, 0, 1)
        assert torch.equal(read_image(str(path), 20, channels), expected)


def png_head(width: int, height: int) -> bytes:
    """The beginning of a PNG that announces so many pixels, with nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_image_that_would_exhaust_memory_is_refused_before_it_takes_any(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_head(50_000, 50_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"its head announces more pixels than the 178,956,970 that"):
        read_image(str(tmp_path / "a.png"), 64, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kilobytes


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "bmp", "tif", "gif"])
def test_truncated_file_is_told_and_not_half_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    Image.fromarray(smooth(300, 300)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for channels in (1, 3):
        with pytest.raises(OSError, match=r"truncated|could not create decoder|unrecognized data stream"):
            read_image(str(path), 32, channels)


def test_text_with_the_name_of_an_image_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a picture", encoding="utf-8")
    (tmp_path / "b.jpg").touch()
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(UnidentifiedImageError):
            read_image(str(tmp_path / name), 32, 3)


def test_image_with_the_name_of_another_kind_is_read(tmp_path: Path) -> None:
    pixels = smooth(24, 24)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    assert torch.equal(read_image(str(tmp_path / "a.jpg"), 24, 3), torch.from_numpy(pixels).permute(2, 0, 1))


def test_bytes_are_read_as_their_file_is(tmp_path: Path) -> None:
    Image.fromarray(smooth(50, 70)).save(tmp_path / "a.jpg")
    content = io.BytesIO((tmp_path / "a.jpg").read_bytes())
    assert torch.equal(read_image(content, 32, 3), read_image(str(tmp_path / "a.jpg"), 32, 3))


def test_exif_that_is_none_does_not_cost_the_image(tmp_path: Path) -> None:
    Image.fromarray(smooth(64, 64)).save(tmp_path / "plain.jpg")
    Image.fromarray(smooth(64, 64)).save(tmp_path / "a.jpg", exif=b"Exif\0\0nothing of the kind")
    assert torch.equal(read_image(str(tmp_path / "a.jpg"), 64, 3), read_image(str(tmp_path / "plain.jpg"), 64, 3))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "I;16"])
def test_orientation_outlives_the_change_of_colours(mode: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # the camera was turned: a viewer turns the picture by 90 degrees, clockwise
    stored = Image.fromarray(smooth(40, 40))
    deep = Image.fromarray(np.array(stored.convert("L")).astype(np.uint16) * 257)
    kept = deep if mode == "I;16" else stored.convert(mode)
    kept.save(tmp_path / "a.png", exif=exif)
    expected = (stored.convert("L") if mode in ("LA", "I;16") else kept).convert("RGB").rotate(-90)
    assert torch.equal(
        read_image(str(tmp_path / "a.png"), 40, 3), torch.from_numpy(np.array(expected)).permute(2, 0, 1)
    )


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("size", [(75, 100), (100, 75)])
def test_middle_is_the_same_pixels_for_every_kind_and_orientation(
    size: tuple[int, int], orientation: int, tmp_path: Path
) -> None:
    """An odd number of pixels to spare, and stripes of one pixel, which half a pixel would blur."""
    upright = np.zeros((*size, 3), np.uint8)
    upright[:, ::2] = 255
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    Image.fromarray(upright).save(tmp_path / "upright.png")
    expected = read_image(str(tmp_path / "upright.png"), 75, 3).int()
    left = 12 if size[1] == 100 else 0
    assert torch.equal(expected[0, 0], torch.from_numpy(upright[0, left : left + 75, 0]).int())
    for kind in ("png", "jpg"):
        stored.save(tmp_path / f"a.{kind}", exif=exif, quality=100, subsampling=0)
        assert (read_image(str(tmp_path / f"a.{kind}"), 75, 3).int() - expected).abs().max() <= 3


def test_a_file_that_would_be_run_is_none(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n{} loop\n")
    with pytest.raises(OSError, match="cannot identify image file"):
        read_image(str(path), 8, 3)
