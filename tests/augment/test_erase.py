"""Random erasing against torchvision's `erase` at the same place."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from leyden.augment import RandomErasing
from leyden.random import uniform


@pytest.mark.parametrize("as_float", [False, True])
def test_erasing_equals_torchvisions(byte_images: Tensor, as_float: bool) -> None:
    images = byte_images.float() / 255 if as_float else byte_images
    operation = RandomErasing(probability=0.7, value=0.4)
    drawn = operation.draw(uniform(1, torch.arange(12), 5), images)
    assert 0 < (drawn["height"] == 0).sum() < 12
    value = torch.tensor(0.4 if as_float else 102, dtype=images.dtype)
    results = operation.apply(images, **drawn)
    for position, image in enumerate(images):
        top, left, height, width = (int(drawn[name][position]) for name in ("top", "left", "height", "width"))
        assert torch.equal(results[position], reference.erase(image, top, left, height, width, value))


def test_erased_area_ratio_and_frequency_are_those_asked_for() -> None:
    operation = RandomErasing(probability=0.4, scale=(0.05, 0.1), ratio=(0.5, 2.0))
    drawn = operation.draw(uniform(1, torch.arange(20_000), 5), torch.empty(1, 1, 1000, 1000))
    on = drawn["height"] > 0
    assert abs(on.double().mean() - 0.4) < 0.015
    area = (drawn["height"] * drawn["width"])[on] / 1000**2
    ratio = drawn["height"][on] / drawn["width"][on]
    assert 0.048 < area.min() < 0.052 < 0.098 < area.max() < 0.102
    assert 0.48 < ratio.min() < 0.52 < 1.94 < ratio.max() < 2.06
    assert ((drawn["top"] + drawn["height"]) <= 1000).all()
    assert ((drawn["left"] + drawn["width"]) <= 1000).all()
    assert ((drawn["top"] + drawn["height"])[on] == 1000).any()
    assert ((drawn["left"] + drawn["width"])[on] == 1000).any()
    for drawn_of in drawn.values():
        assert (drawn_of[~on] == 0).all()
