"""Colours: what Pillow opens in any mode comes out as grey or RGB of 8 bits, near what Pillow itself makes of it."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from leyden.data.image_file import read_image

SIZE = 24
# Kinds of file with the modes that Pillow writes them in, and how far lossy ones may be from what was written.
KINDS = {
    "jpg": (["L", "RGB", "CMYK"], 8),
    "png": (["1", "L", "LA", "P", "RGB", "RGBA"], 0),
    "webp": (["RGB", "RGBA"], 8),
    "bmp": (["1", "L", "P", "RGB"], 0),
    "tif": (["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"], 1),
    "gif": (["L", "P"], 0),
    "ppm": (["1", "L", "RGB"], 0),
}


def smooth() -> Image.Image:
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)
    return Image.fromarray(fine[0].mul(255).round().byte().permute(1, 2, 0).numpy())


def as_tensor(image: Image.Image, channels: int) -> Tensor:
    """Pillow's own conversion, [C, H, W]."""
    converted = image.convert("L" if channels == 1 else "RGB")
    return torch.from_numpy(np.array(converted)).view(SIZE, SIZE, channels).permute(2, 0, 1)


def opened(path: str, channels: int) -> Tensor:
    """What Pillow alone makes of a file, [C, H, W]."""
    with Image.open(path) as image:
        return as_tensor(image, channels)


def written(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)  # type: ignore[arg-type]
    return str(path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, (modes, _) in KINDS.items() for mode in modes])
def test_every_mode_of_every_kind_is_pillows(kind: str, mode: str, channels: int, tmp_path: Path) -> None:
    image = smooth().convert(mode)
    path = written(tmp_path / f"a.{kind}", image, **({"quality": 100} if kind in ("jpg", "webp") else {}))
    read = read_image(path, SIZE, channels).int()
    # libjpeg makes grey of its own colours, which are not yet rounded to RGB.
    assert (read - opened(path, channels).int()).abs().max() <= (2 if kind == "jpg" else 0)
    assert (read - as_tensor(image, channels).int()).abs().float().mean() <= KINDS[kind][1]


def gradient(bits: int) -> NDArray[np.uint16]:
    """Every 8-bit value at several places of its range of values, [24, 24]."""
    return np.linspace(0, 2**bits - 1, SIZE * SIZE).round().astype(np.uint16).reshape(SIZE, SIZE)


def expected_of(values: NDArray[np.uint16], bits: int) -> Tensor:
    return torch.from_numpy(np.floor(values / (2**bits - 1) * 255 + 0.5)).byte()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_16_bits_are_scaled_to_8(kind: str, channels: int, tmp_path: Path) -> None:
    values = gradient(16)
    image = read_image(written(tmp_path / f"a.{kind}", Image.fromarray(values)), SIZE, channels)
    assert torch.equal(image, expected_of(values, 16).expand(channels, -1, -1))


def tiff(values: NDArray[np.uint16], order: str, bits: int, photometric: int) -> bytes:
    """A TIFF of one strip, written as its specification says, with the values of a row packed into bits."""
    packed = [int(value) for value in values.ravel()]
    if bits == 12:  # two values in three bytes
        pairs = zip(packed[::2], packed[1::2], strict=True)
        strip = b"".join(bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in pairs)
    else:
        strip = struct.pack(f"{order}{len(packed)}H", *packed)
    tags = [(256, SIZE), (257, SIZE), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, SIZE)]
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    entries += struct.pack(f"{order}HHII", 279, 4, 1, len(strip))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(strip))
    return head + strip + struct.pack(f"{order}H", len(tags) + 1) + entries + struct.pack(f"{order}I", 0)


@pytest.mark.parametrize(
    ("order", "bits", "photometric"), [("<", 16, 1), (">", 16, 1), ("<", 16, 0), ("<", 12, 1)], ids=str
)
def test_deep_tiff_is_scaled_by_the_bits_it_has(order: str, bits: int, photometric: int, tmp_path: Path) -> None:
    values = gradient(bits)
    (tmp_path / "a.tif").write_bytes(tiff(values, order, bits, photometric))
    seen = values if photometric == 1 else 2**bits - 1 - values  # 0: white is zero
    assert torch.equal(read_image(str(tmp_path / "a.tif"), SIZE, 1)[0], expected_of(seen, bits))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_are_refused(mode: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", smooth().convert("L").convert(mode))
    with pytest.raises(ValueError, match=f"of Pillow's mode {mode}, expected 8 or 16 bits a channel"):
        read_image(path, SIZE, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
def test_what_can_be_seen_through_lies_on_white(kind: str, channels: int, tmp_path: Path) -> None:
    opacity = torch.linspace(0, 255, SIZE * SIZE).round().byte().view(SIZE, SIZE)
    image = smooth()
    image.putalpha(Image.fromarray(opacity.numpy()))
    path = written(tmp_path / f"a.{kind}", image, **({"lossless": True, "exact": True} if kind == "webp" else {}))
    colours, share = torch.from_numpy(np.array(smooth())).permute(2, 0, 1).double(), opacity.double() / 255
    expected = (colours * share + 255 * (1 - share)).round().byte().permute(1, 2, 0).numpy()
    difference = read_image(path, SIZE, channels).int() - as_tensor(Image.fromarray(expected), channels).int()
    assert difference.abs().max() <= 1


def test_grey_with_opacity_lies_on_white(tmp_path: Path) -> None:
    image = Image.merge("LA", [Image.new("L", (SIZE, SIZE), 40), Image.new("L", (SIZE, SIZE), 51)])  # a fifth
    assert read_image(written(tmp_path / "a.png", image), SIZE, 1).unique().tolist() == [212]  # 40 / 5 + 255 * 4 / 5


@pytest.mark.parametrize(("mode", "colour"), [("P", 3), ("L", 90), ("RGB", (9, 8, 7)), ("1", 0)])
def test_colour_that_png_calls_transparent_is_white(mode: str, colour: int | tuple[int, ...], tmp_path: Path) -> None:
    image = Image.new(mode, (SIZE, SIZE), colour)
    if mode == "P":
        image.putpalette([value for number in range(256) for value in (number, number, number)])
    image.putpixel((0, 0), 1 if mode == "1" else (50, 60, 70) if mode == "RGB" else 77)
    read = read_image(written(tmp_path / "a.png", image, transparency=colour), SIZE, 3)
    assert read[:, 1:].unique().tolist() == [255]
    assert read[:, 0, 0].tolist() == {"1": [255] * 3, "RGB": [50, 60, 70]}.get(mode, [77] * 3)


def test_16_bits_that_png_calls_transparent_are_white(tmp_path: Path) -> None:
    image = Image.fromarray(gradient(16))
    read = read_image(written(tmp_path / "a.png", image, transparency=0), SIZE, 1)[0]
    assert read[0, 0] == 255
    assert read[0, 1] == 0  # the next of the gradient: 114 of 65,535


def test_palette_with_opacity_lies_on_white_without_a_warning(tmp_path: Path) -> None:
    palette = smooth().convert("P")
    path = written(tmp_path / "a.png", palette, transparency=bytes(range(256)))
    page = Image.new("RGBA", (SIZE, SIZE), "white")
    with Image.open(path) as image:
        page.alpha_composite(image.convert("RGBA"))
    assert torch.equal(read_image(path, SIZE, 3), as_tensor(page, 3))


def test_first_picture_of_several_counts(tmp_path: Path) -> None:
    others = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "blue")]
    for kind in ("gif", "tif", "webp", "png"):
        path = written(tmp_path / f"a.{kind}", smooth(), save_all=True, append_images=others)
        assert torch.equal(read_image(path, SIZE, 3), opened(path, 3))
