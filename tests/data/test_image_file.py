"""One image file: its pixels are Pillow's, upright and square, and what cannot be shown is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_grey_or_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(smooth(20, 20)).convert(mode).save(path)
    reopened = Image.open(path)
    for channels, target in [(1, "L"), (3, "RGB")]:
        expected = torch.from_numpy(np.array(reopened.convert(target))).view(20, 20, channels).permute(2, 0, 1)
        assert torch.equal(read_image(str(path), 20, channels), expected)


def test_transparent_palette_loses_its_transparency_without_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(smooth(20, 20)).convert("P")
    picture.save(tmp_path / "a.png", transparency=bytes(range(256)))
    expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(read_image(str(tmp_path / "a.png"), 20, 3), expected)


def test_pixels_of_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 5000, dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="mode I;16, expected 8 bits a channel"):
        read_image(str(tmp_path / "a.png"), 8, 1)
