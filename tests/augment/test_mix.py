"""Mixup and CutMix: the target's shares are those of the pixels, and draws belong to a position."""

import pytest
import torch

from leyden.augment import Mix

IMAGES = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 1, 20, 20)  # image b is all b
TARGETS = torch.eye(16)


def test_mixup_blends_images_and_targets_by_one_share() -> None:
    images, targets = Mix(mixup=1.0, cutmix=0.0)(IMAGES, TARGETS, (0, 1, 2))
    share = targets.diagonal()
    assert share.unique().numel() == 16
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    partner = torch.arange(16.0).roll(-1)
    torch.testing.assert_close(images[:, 0, 0, 0], share * torch.arange(16.0) + (1 - share) * partner)


def test_cutmix_target_is_the_share_of_pixels() -> None:
    images, targets = Mix(mixup=0.0, cutmix=1.0)(IMAGES, TARGETS, (0, 1, 2))
    for position in range(16):
        own = (images[position] == position).float().mean()
        torch.testing.assert_close(targets[position, position], own)
        torch.testing.assert_close(targets[position, (position + 1) % 16], 1 - own)


def test_cutmix_covers_one_box() -> None:
    images, _ = Mix(mixup=0.0, cutmix=1.0)(IMAGES, TARGETS, (0, 1, 3))
    for position in range(16):
        other = (images[position, 0] != position).nonzero()
        if len(other):
            sides = other.amax(0) - other.amin(0) + 1
            assert int(sides.prod()) == len(other)


def test_mean_share_is_that_of_the_beta_distribution() -> None:
    shares = torch.cat([Mix(mixup=0.4, cutmix=0)(IMAGES, TARGETS, (0, 0, step))[1].diagonal() for step in range(400)])
    assert abs(shares.mean() - 0.5) < 0.02
    assert abs(shares.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01  # the variance of Beta(α, α)


def test_position_decides_the_draw() -> None:
    mix = Mix()
    first, again, later = (mix(IMAGES, TARGETS, position)[0] for position in [(0, 1, 2), (0, 1, 2), (0, 1, 3)])
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_probability_counts_batches() -> None:
    mix = Mix(probability=0.25)
    changed = sum(mix(IMAGES, TARGETS, (0, step))[0] is not IMAGES for step in range(1000))
    assert abs(changed / 1000 - 0.25) < 0.05


def test_both_off_is_refused() -> None:
    with pytest.raises(ValueError, match="both 0"):
        Mix(mixup=0, cutmix=0)


@pytest.mark.parametrize("settings", [{"mixup": 1.0, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}])
def test_numbers_are_mixed_as_their_one_hot_columns_would_be(settings: dict[str, float]) -> None:
    images, numbers = torch.rand(16, 1, 8, 8), torch.arange(16.0)
    column = Mix(**settings)(images, numbers[:, None], (3, 1))[1]
    assert torch.equal(Mix(**settings)(images, numbers, (3, 1))[1], column[:, 0])
    assert not torch.equal(column[:, 0], numbers)
