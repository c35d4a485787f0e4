"""The preview: a picture of what training will see, with what was drawn in words."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pytest
import torch

from leyden.augment.geometry import cut_centre
from leyden.build import build_classifier, build_data
from leyden.preview import describe, draw_in_run
from running import compose_config

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


@pytest.mark.parametrize("augment", ["standard", "none"])
def test_a_run_shows_its_images_and_what_epochs_made_of_them(augment: str, tmp_path: Path) -> None:
    config = compose_config("backbone=mlp", f"augment={augment}")
    data = build_data(config)
    data.setup("fit")
    augmentation = build_classifier(config, data).augment
    drawn = draw_in_run(augmentation, data, tmp_path)
    if augment == "none":
        assert drawn == []
        assert list(tmp_path.iterdir()) == []
        return
    assert [path.name for path in drawn] == ["augmentation.png"]
    picture = matplotlib.image.imread(drawn[0])[..., :3]
    left, top, inch = round(0.9 * 110), round(0.5 * 110), 110
    batch = data.some_training_images(8)
    rows = [cut_centre(batch.images, 8).float() / 255, augmentation.show(batch, 0)[0]]
    for row, images in enumerate(rows):
        for column in range(8):
            tile = picture[top + row * inch :, left + column * inch :][:inch, :inch, 0]
            centres = ((torch.arange(8) + 0.5) * inch / 9).long()  # nine pixels to an inch, the last of them the gap
            seen = torch.from_numpy(tile.copy())[centres[:, None], centres[None]]
            assert (seen - images[column, 0].clamp(0, 1)).abs().max() < 0.01
