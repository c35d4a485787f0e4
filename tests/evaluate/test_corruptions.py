"""Corruptions are those of ImageNet-C: held against what the package imagecorruptions has made."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leyden.evaluate import corruptions
from leyden.evaluate.corruptions import CORRUPTIONS, SEVERITIES, corrupted, parse_corruptions, parse_severities

_SPEC = importlib.util.spec_from_file_location(
    "reference_corruptions", Path(__file__).with_name("reference_corruptions.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
reference: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)


def made(name: str, level: int, count: int = 1) -> np.ndarray[Any, Any]:
    """Images [N, H, W, C] of the photograph."""
    images = np.stack([reference.photograph().transpose(2, 0, 1)] * count)
    return corrupted(name, level, images, range(count)).transpose(0, 2, 3, 1)


@pytest.fixture
def at_full_size(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lengths as the paper has them for 224 pixels, on 64: the package does not scale them."""
    monkeypatch.setattr(corruptions, "LARGE", 64)
    with np.load(reference.FILE) as stored:
        return {name: stored[name] for name in stored}


@pytest.mark.parametrize("name", reference.EXACT)
def test_what_draws_nothing_gives_the_same_pixels(name: str, at_full_size: Any) -> None:
    for level in reference.LEVELS:
        theirs = at_full_size[f"{name}_{level}"].astype(int)
        difference = np.abs(made(name, level)[0].astype(int) - theirs)  # they cut decimals off
        assert difference.max() <= (6 if name == "jpeg_compression" else 1), level  # other versions of libjpeg
        assert difference.mean() <= 1


@pytest.mark.parametrize("name", reference.DRAWN)
def test_what_draws_looks_the_same(name: str, at_full_size: Any) -> None:
    of_wide_draws = {"fog": 0.25, "motion_blur": 0.1, "frost": 0.1}  # one draw of these is much unlike another
    tolerance = of_wide_draws.get(name, 0.05)
    count = reference.NUM_DRAWS_OF_FROST if name == "frost" else 30
    for level in reference.LEVELS:
        ours = reference.looks(made(name, level, count), reference.photograph())
        np.testing.assert_allclose(ours, at_full_size[f"{name}_{level}"], rtol=tolerance, err_msg=str(level))


def test_glass_moves_pixels_and_keeps_the_mean(at_full_size: Any) -> None:
    photograph = reference.photograph().astype(float)
    changes = []
    for level in (1, 5):
        spoilt = made("glass_blur", level, 2).astype(float)
        assert abs(spoilt.mean() - photograph.mean()) < 2
        changes.append(np.abs(spoilt - photograph).mean())
    assert 1 < changes[0] < changes[1]


@pytest.mark.parametrize("side", [8, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_corruption_takes_small_grey_and_coloured_images(side: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, channels, side, side), dtype=np.uint8)
    for name in CORRUPTIONS:
        for level in (1, 5):
            spoilt = corrupted(name, level, images, [3, 4])
            assert spoilt.shape == images.shape
            assert spoilt.dtype == np.uint8


def test_an_image_is_spoilt_alike_whatever_stands_beside_it() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    for name in CORRUPTIONS:
        whole = corrupted(name, 3, images, [7, 2, 9])
        assert np.array_equal(corrupted(name, 3, images[2:], [9])[0], whole[2]), name
        assert np.array_equal(corrupted(name, 3, images, [7, 2, 9]), whole), name


def test_higher_severities_change_more() -> None:
    for name in ("gaussian_noise", "shot_noise", "impulse_noise", "brightness", "contrast", "pixelate", "zoom_blur"):
        photograph = reference.photograph().astype(float)
        changes = [np.abs(made(name, level) - photograph).mean() for level in SEVERITIES]
        assert changes == sorted(changes), name


def test_words_name_families_and_corruptions_in_their_order() -> None:
    assert parse_corruptions("false") == []
    assert parse_corruptions("true") == list(CORRUPTIONS)
    assert parse_corruptions("fog,noise") == ["gaussian_noise", "shot_noise", "impulse_noise", "fog"]
    assert parse_severities("5, 1,3") == [1, 3, 5]


@pytest.mark.parametrize(
    ("parse", "words", "sentence"),
    [
        (parse_corruptions, "nois", "corruptions=nois: 'nois' is none: did you mean 'noise'?"),
        (parse_severities, "0,6", "severities=0,6: expected numbers from 1 to 5"),
    ],
)
def test_a_wrong_word_gets_a_sentence(parse: Any, words: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        parse(words)
