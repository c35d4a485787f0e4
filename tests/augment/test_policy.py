"""The operations of RandAugment and TrivialAugment against torchvision's, and what is drawn against the papers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference
from torchvision.transforms.v2._auto_augment import RandAugment as ReferenceRandAugment
from torchvision.transforms.v2._auto_augment import TrivialAugmentWide

from leyden.augment import RandAugment, TrivialAugment
from leyden.augment.policy import FUNCTIONS, NAMES, NUM_STRENGTHS
from leyden.random import uniform

BILINEAR = InterpolationMode.BILINEAR


def as_bytes(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What a uint8 operation of torchvision makes of a float image."""
    return lambda image: function((image * 255).round().byte()).float() / 255


def moved(image: Tensor, **given: object) -> Tensor:
    settings = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | given
    return reference.affine(image, **settings, interpolation=BILINEAR)


REFERENCES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda image, _: image,
    "shear_x": lambda image, degrees: moved(image, shear=[degrees, 0.0]),
    "shear_y": lambda image, degrees: moved(image, shear=[0.0, degrees]),
    "translate_x": lambda image, pixels: moved(image, translate=[int(pixels), 0]),
    "translate_y": lambda image, pixels: moved(image, translate=[0, int(pixels)]),
    "rotate": lambda image, degrees: reference.rotate(image, degrees, BILINEAR),
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "saturation": reference.adjust_saturation,
    "sharpness": reference.adjust_sharpness,
    "posterize": lambda image, bits: as_bytes(lambda pixels: reference.posterize(pixels, int(bits)))(image),
    "solarize": lambda image, threshold: reference.solarize(image, threshold),
    "autocontrast": lambda image, _: reference.autocontrast(image),
    "equalize": lambda image, _: as_bytes(reference.equalize)(image),
}
MAGNITUDES = {"rotate": 25.0, "translate_x": 3.0, "translate_y": -4.0, "posterize": 3.0, "solarize": 0.5}
MAGNITUDES |= {"shear_x": 15.0, "shear_y": -20.0}


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_equals_torchvisions(name: str, images: Tensor) -> None:
    magnitudes = torch.full((len(images),), MAGNITUDES.get(name, 1.6))
    magnitudes[::2] = {"rotate": -10.0, "posterize": 6.0, "solarize": 0.9}.get(name, float(magnitudes[0].round()))
    for image, result, magnitude in zip(images, FUNCTIONS[name](images, magnitudes), magnitudes, strict=True):
        torch.testing.assert_close(result, REFERENCES[name](image, float(magnitude)), atol=2e-4, rtol=0)


def test_strengths_are_torchvisions() -> None:
    theirs = {"rand": ReferenceRandAugment(), "trivial": TrivialAugmentWide()}
    names = {
        "rotate": "Rotate", "brightness": "Brightness", "saturation": "Color", "contrast": "Contrast",
        "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    }  # fmt: skip
    for key, ours in {"rand": RandAugment(), "trivial": TrivialAugment()}.items():
        table = ours.magnitudes(224, 224)
        for name, their_name in names.items():
            values, _ = theirs[key]._AUGMENTATION_SPACE[their_name]  # type: ignore[attr-defined]
            expected = torch.as_tensor(values(NUM_STRENGTHS, 224, 224)).float()
            torch.testing.assert_close(table[NAMES.index(name)], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("policy", [RandAugment(3, 15), TrivialAugment()])
def test_policy_applies_what_was_drawn(policy: RandAugment | TrivialAugment, images: Tensor) -> None:
    drawn = policy.draw(uniform(1, torch.arange(12), policy.num_draws), images)
    results = policy.apply(images, **drawn)
    for position, image in enumerate(images):
        expected = image[None]
        for number, magnitude in zip(drawn["operation"][position], drawn["magnitude"][position], strict=True):
            expected = FUNCTIONS[NAMES[number]](expected, magnitude[None])
        torch.testing.assert_close(results[position], expected[0], atol=1e-6, rtol=0)


def test_every_operation_is_drawn_equally_often() -> None:
    policy = TrivialAugment()
    drawn = policy.draw(uniform(1, torch.arange(28_000), policy.num_draws), torch.empty(1, 1, 28, 28))
    counts = torch.bincount(drawn["operation"][:, 0], minlength=len(NAMES))
    assert (counts - 2000).abs().max() < 4.5 * 2000**0.5


def test_geometry_goes_both_ways() -> None:
    policy = RandAugment(1, 30)
    drawn = policy.draw(uniform(1, torch.arange(5000), policy.num_draws), torch.empty(1, 1, 28, 28))
    turns = drawn["magnitude"][drawn["operation"] == NAMES.index("rotate")]
    assert turns.unique().tolist() == [-30.0, 30.0]


def test_blends_are_factors_about_1_and_geometry_goes_both_ways() -> None:
    policy, images = RandAugment(1, 20), torch.zeros(1, 3, 32, 32)
    choice, strength = torch.arange(len(NAMES))[None], torch.full((1, len(NAMES)), 20)
    table = policy.magnitudes(32, 32)[:, 20].tolist()
    for sign in (0.2, 0.7):
        found = policy._parameters(choice, strength, torch.full((1, len(NAMES)), sign), images)[0].tolist()
        direction = -1 if sign < 0.5 else 1
        for name, parameter, magnitude in zip(NAMES, found, table, strict=True):
            if name in ("brightness", "contrast", "saturation", "sharpness"):
                assert parameter == pytest.approx(1 + direction * magnitude), name
            elif name.startswith(("shear", "translate", "rotate")):
                assert parameter == direction * magnitude, name
            else:
                assert parameter == magnitude, name
