"""The whole augmentation: a draw belongs to (seed, epoch, image, operation) and to nothing else."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from leyden.augment import (
    Affine,
    Augmentation,
    Blur,
    Brightness,
    Contrast,
    Greyscale,
    HorizontalFlip,
    Hue,
    Mix,
    Operation,
    PaddedCrop,
    QuarterTurn,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    Saturation,
    TrivialAugment,
    VerticalFlip,
)
from leyden.data import Batch

OPERATIONS: dict[str, Operation] = {
    "crop": PaddedCrop(),
    "resized_crop": RandomResizedCrop(),
    "horizontal_flip": HorizontalFlip(),
    "vertical_flip": VerticalFlip(),
    "quarter_turn": QuarterTurn(),
    "affine": Affine(20, 0.1, (0.8, 1.2), 10),
    "brightness": Brightness(),
    "contrast": Contrast(),
    "saturation": Saturation(),
    "hue": Hue(),
    "greyscale": Greyscale(0.5),
    "blur": Blur(),
    "erase": RandomErasing(0.5),
    "rand": RandAugment(),
    "trivial": TrivialAugment(),
}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def batch_of(*indices: int) -> Batch:
    """The images of these numbers, each a function of its number."""
    images = torch.stack(
        [torch.randint(256, (3, 16, 16), generator=torch.Generator().manual_seed(index)) for index in indices]
    )
    return Batch(images.byte(), torch.tensor([index % 10 for index in indices]), torch.tensor(indices))


def augmentation(operations: dict[str, Operation], seed: int = 0, mix: Mix | None = None) -> Augmentation:
    return Augmentation(operations, mix, num_classes=10, mean=MEAN, std=STD, seed=seed)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", OPERATIONS)
def test_draw_of_an_image_does_not_depend_on_its_batch(name: str) -> None:
    augment = augmentation({name: OPERATIONS[name]})
    images, drawn = augment.show(batch_of(3, 14, 15, 92, 65), epoch=2)
    for indices, position in [((92,), 0), ((7, 8, 92), 2), ((92, 14), 0)]:
        other_images, other_drawn = augment.show(batch_of(*indices), epoch=2)
        for key, values in drawn[name].items():
            assert torch.equal(values[3], other_drawn[name][key][position])
        torch.testing.assert_close(images[3], other_images[position], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_images_of_a_batch_get_different_draws(name: str) -> None:
    _, drawn = augmentation({name: OPERATIONS[name]}).show(batch_of(*range(64)), epoch=0)
    for values in drawn[name].values():
        assert len(values.unique(dim=0)) > 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_epoch_and_seed_change_the_draw(name: str) -> None:
    batch, operations = batch_of(*range(64)), {name: OPERATIONS[name]}
    first = augmentation(operations).show(batch, 0)[1][name]
    assert same(first, augmentation(operations).show(batch, 0)[1][name])
    assert not same(first, augmentation(operations).show(batch, 1)[1][name])
    assert not same(first, augmentation(operations, seed=1).show(batch, 0)[1][name])


@pytest.mark.parametrize("name", OPERATIONS)
def test_autocast_changes_nothing(name: str) -> None:
    augment, batch = augmentation({name: OPERATIONS[name]}), batch_of(*range(16))
    expected, _ = augment(batch, 0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = augment(batch, 0, 0)
    assert torch.equal(found, expected)


def test_other_operations_do_not_change_a_draw() -> None:
    batch = batch_of(*range(16))
    alone = augmentation({"erase": RandomErasing()}).show(batch, 0)[1]["erase"]
    beside = augmentation({"crop": PaddedCrop(), "erase": RandomErasing()}).show(batch, 0)[1]["erase"]
    assert same(alone, beside)


@pytest.mark.parametrize("name", OPERATIONS)
def test_images_stay_within_range(name: str) -> None:
    images, _ = augmentation({name: OPERATIONS[name]}).show(batch_of(*range(64)), epoch=0)
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6


def test_normalisation_equals_torchvisions() -> None:
    batch = batch_of(1, 2, 3)
    expected = reference.normalize(batch.images.float() / 255, list(MEAN), list(STD))
    augment = augmentation({})
    torch.testing.assert_close(augment.normalize(batch.images), expected)
    torch.testing.assert_close(augment.normalize(batch.images.float() / 255), expected)
    images, targets = augment(batch, epoch=0, batch_index=0)
    torch.testing.assert_close(images, expected)
    assert targets is batch.labels
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("operations", [{}, {"flip": HorizontalFlip(0.0)}, {"crop": PaddedCrop()}])
def test_margin_is_for_crops_and_evaluation_takes_the_centre(operations: dict[str, Operation]) -> None:
    batch = batch_of(*range(8))
    augment = Augmentation(operations, num_classes=10, mean=MEAN, std=STD, seed=0, image_size=12)
    centre = augmentation({}).normalize(reference.center_crop(batch.images, [12, 12]))
    assert torch.equal(augment.normalize(batch.images), centre)
    images, _ = augment(batch, 0, 0)
    assert images.shape == centre.shape
    assert torch.equal(images, centre) == ("crop" not in operations)
    assert augment.show(batch, 0)[0].shape == centre.shape


def test_training_sees_what_the_preview_shows() -> None:
    augment, batch = augmentation({"crop": PaddedCrop(), "hue": Hue()}), batch_of(*range(8))
    shown, _ = augment.show(batch, epoch=3)
    torch.testing.assert_close(augment(batch, 3, 0)[0], augment.normalize(shown))


def test_mixing_gives_soft_targets() -> None:
    images, targets = augmentation({}, mix=Mix())(batch_of(*range(8)), 0, 0)
    assert images.shape == (8, 3, 16, 16)
    torch.testing.assert_close(targets.sum(1), torch.ones(8))


def test_stored_images_are_not_changed() -> None:
    batch = batch_of(*range(8))
    before = batch.images.clone()
    augmentation(OPERATIONS, mix=Mix())(batch, 0, 0)
    assert torch.equal(batch.images, before)


def test_bytes_are_parts_of_255_to_operations_that_need_floats() -> None:
    batch = batch_of(1, 2)
    shown, _ = augmentation({"grey": Greyscale(0.0)}).show(batch, epoch=0)
    torch.testing.assert_close(shown, batch.images / 255)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
@pytest.mark.parametrize(
    "operation",
    [Blur, Greyscale, HorizontalFlip, RandomErasing, VerticalFlip],
    ids=lambda operation: operation.__name__,
)
def test_probability_out_of_range_is_refused(operation: type[Operation], wrong: float) -> None:
    with pytest.raises(ValueError, match=f"probability={wrong} is out of range: give a number from 0 to 1"):
        operation(probability=wrong)  # type: ignore[call-arg]
    for possible in (0, 1):
        operation(probability=possible)  # type: ignore[call-arg]
