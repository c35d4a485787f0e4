"""What a request brings, before the network sees it."""

import io

import pytest
from PIL import Image

from leyden.data.facts import DataFacts
from leyden.serve.bodies import Refused, decode

FACTS = DataFacts("two", "single_label", ("a", "b"), 1, 8, 1.0, (0.5,), (0.5,))


@pytest.mark.parametrize("side", [1_001, 20_000])  # more than is allowed, and more than Pillow opens
def test_an_image_of_too_many_pixels_gets_413_however_many_there_are(side: int) -> None:
    stored = io.BytesIO()
    Image.new("1", (side, side)).save(stored, "PNG")
    with pytest.raises(Refused, match="pixels, it may have 1,000,000") as caught:
        decode(stored.getvalue(), FACTS, 1_000_000)
    assert caught.value.status == 413
