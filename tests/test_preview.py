"""The preview: a picture of what training will see, with what was drawn in words."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pytest
import torch

from leyden.preview import describe

Leyden = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("augment", ["none", "strong"])
def test_preview_writes_its_picture(augment: str, leyden: Leyden, tmp_path: Path) -> None:
    done = leyden("preview", f"augment={augment}")
    assert done.returncode == 0, done.stderr
    path = re.search(r"\S+\.png", done.stdout)
    assert path is not None
    picture = matplotlib.image.imread(tmp_path / path[0])
    assert picture.shape[0] > 800
    assert picture.std() > 0.1


def test_preview_of_bad_settings_says_so(leyden: Leyden) -> None:
    done = leyden("preview", "augment=flip_crop", "augment.operations.flip.probability=2")
    assert done.returncode == 1
    assert "probability=2 is out of range" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_description_says_what_was_drawn() -> None:
    drawn = {
        "crop": {"top": torch.tensor([3, 0]), "left": torch.tensor([1, 2])},
        "brightness": {"factor": torch.tensor([1.25, 0.9])},
    }
    text = describe(drawn, 0)
    assert "3" in text
    assert "1.25" in text or "1.2" in text
