"""Every file of conf/ trains, and the backbone is the one that its paper describes."""

from pathlib import Path

import pytest
import torch

from leyden.config import Origin, compose
from leyden.rehearsal import Rehearsal
from my_project import ConvMixer

PROJECT = Path(__file__).resolve().parents[1]
WORDS = [f"{path.parent.name}={path.stem}" for path in sorted(PROJECT.glob("conf/*/*.yaml"))]


@pytest.mark.parametrize("word", WORDS)
def test_every_file_of_conf_composes_builds_and_trains(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leyden finds conf/ and my_project where it is called, and refuses a key that the class does not have."""
    monkeypatch.chdir(PROJECT)
    words = [word, "trainer=cpu"]
    Rehearsal(compose(words), Origin(words)).run(num_steps=2, callbacks=[])


@pytest.mark.parametrize(("channels", "image_size", "patch_size"), [(1, 8, 1), (3, 32, 4)])
def test_conv_mixer_has_its_papers_number_of_parameters(channels: int, image_size: int, patch_size: int) -> None:
    backbone = ConvMixer(channels, image_size, width=16, depth=3, kernel_size=5, patch_size=patch_size)
    norm = 2 * 16
    patches = 16 * (channels * patch_size**2 + 1) + norm
    block = 16 * (5**2 + 1) + norm + 16 * (16 + 1) + norm
    assert sum(parameter.numel() for parameter in backbone.parameters()) == patches + 3 * block
    assert backbone(torch.rand(2, channels, image_size, image_size)).shape == (2, 16)
