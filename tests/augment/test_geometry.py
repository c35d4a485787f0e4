"""Geometry against torchvision's functional operations with the same parameters, image by image."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from leyden.augment import Affine, HorizontalFlip, PaddedCrop, QuarterTurn, RandomResizedCrop, VerticalFlip
from leyden.augment.geometry import Flip, cut_centre
from leyden.augment.operation import VALUES_OF_A_LARGE_IMAGE, Operation
from leyden.random import uniform


def draws(num_draws: int, num_images: int = 12) -> Tensor:
    return uniform(1, torch.arange(num_images), num_draws)


@pytest.mark.parametrize("fill", [0.0, 0.6])
@pytest.mark.parametrize("padding", [1, 4])
@pytest.mark.parametrize("as_float", [False, True])
def test_padded_crop_equals_pad_then_crop(byte_images: Tensor, padding: int, fill: float, as_float: bool) -> None:
    images = byte_images.float() / 255 if as_float else byte_images
    operation = PaddedCrop(padding, fill)
    drawn = operation.draw(draws(2), images)
    results = operation.apply(images, **drawn)
    assert results.dtype == images.dtype
    for image, result, top, left in zip(images, results, drawn["top"], drawn["left"], strict=True):
        padded = reference.pad(image, [padding] * 4, fill=fill if as_float else round(255 * fill))
        assert torch.equal(result, reference.crop(padded, int(top), int(left), *image.shape[1:]))


def test_padded_crop_takes_images_whose_channels_go_last(byte_images: Tensor) -> None:
    operation = PaddedCrop(2)
    drawn = operation.draw(draws(2), byte_images)
    last = byte_images.to(memory_format=torch.channels_last)
    assert torch.equal(operation.apply(last, **drawn), operation.apply(byte_images, **drawn))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("operation", [HorizontalFlip(), VerticalFlip(), QuarterTurn(), PaddedCrop()])
def test_large_images_come_out_as_small_ones_do(operation: Operation, memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    large = torch.randint(256, (6, 3, 96, 96), generator=generator, dtype=torch.uint8)
    drawn = operation.draw(draws(operation.num_draws, 6), large)
    results = operation.apply(large.contiguous(memory_format=memory_format), **drawn)
    assert results.is_contiguous(memory_format=memory_format)
    planes = [operation.apply(large[:, [channel]], **drawn) for channel in range(3)]
    assert planes[0][0].numel() < VALUES_OF_A_LARGE_IMAGE <= large[0].numel()
    assert torch.equal(results, torch.cat(planes, 1))


def test_crop_of_images_with_a_margin_moves_in_it_without_padding(byte_images: Tensor) -> None:
    operation = PaddedCrop(4)
    operation.size = 12
    drawn = operation.draw(draws(2), byte_images)
    results = operation.apply(byte_images, **drawn)
    for image, result, top, left in zip(byte_images, results, drawn["top"], drawn["left"], strict=True):
        assert torch.equal(result, image[:, top : top + 12, left : left + 12])
    height, width = byte_images.shape[2:]
    many = operation.draw(draws(2, 5000), byte_images)
    assert many["top"].unique().tolist() == list(range(height - 12 + 1))
    assert many["left"].unique().tolist() == list(range(width - 12 + 1))


def test_random_resized_crop_of_images_with_a_margin_fills_the_window(images: Tensor) -> None:
    operation = RandomResizedCrop(scale=(0.2, 1.0))
    operation.size = 11
    drawn = operation.draw(draws(4), images)
    results = operation.apply(images, **drawn)
    for position, image in enumerate(images):
        box = [int(drawn[name][position]) for name in ("top", "left", "height", "width")]
        expected = reference.resized_crop(image, *box, size=[11, 11], antialias=False)
        torch.testing.assert_close(results[position], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [8, 11, 16])
def test_centre_is_torchvisions_centre_crop(size: int) -> None:
    images = torch.rand(2, 3, 16, 16)
    top = (16 - size) // 2
    assert torch.equal(cut_centre(images, size), reference.crop(images, top, top, size, size))
    assert cut_centre(images, None) is images


def test_padded_crop_draws_every_window() -> None:
    drawn = PaddedCrop(2).draw(draws(2, 5000), torch.empty(5000, 1, 8, 8))
    for values in drawn.values():
        assert values.unique().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("operation", "mirrored"),
    [(HorizontalFlip(0.5), reference.horizontal_flip), (VerticalFlip(0.5), reference.vertical_flip)],
)
def test_flips_mirror_those_that_are_drawn(byte_images: Tensor, operation: Flip, mirrored: object) -> None:
    drawn = operation.draw(draws(1), byte_images)
    assert 0 < drawn["flip"].sum() < len(byte_images)
    for image, result, flip in zip(byte_images, operation.apply(byte_images, **drawn), drawn["flip"], strict=True):
        assert torch.equal(result, mirrored(image) if flip else image)  # type: ignore[operator]


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_flip_happens_as_often_as_asked(probability: float) -> None:
    drawn = HorizontalFlip(probability).draw(draws(1, 20_000), torch.empty(0))
    assert abs(drawn["flip"].double().mean() - probability) < 0.015


def test_quarter_turns_equal_rotations_by_right_angles(byte_images: Tensor) -> None:
    square = byte_images[..., :17, :17]
    drawn = QuarterTurn().draw(draws(1), square)
    assert len(drawn["turns"].unique()) == 4
    for image, result, turns in zip(square, QuarterTurn().apply(square, **drawn), drawn["turns"], strict=True):
        assert torch.equal(result, reference.rotate(image, 90.0 * int(turns)))


def test_quarter_turn_of_an_oblong_image_is_refused() -> None:
    with pytest.raises(ValueError, match="square images"):
        QuarterTurn().apply(torch.zeros(2, 1, 4, 6), turns=torch.tensor([0, 1]))


def test_random_resized_crop_equals_crop_then_resize(images: Tensor) -> None:
    operation = RandomResizedCrop(scale=(0.1, 1.0))
    drawn = operation.draw(draws(4), images)
    results = operation.apply(images, **drawn)
    for position, image in enumerate(images):
        box = [int(drawn[name][position]) for name in ("top", "left", "height", "width")]
        expected = reference.resized_crop(image, *box, size=list(image.shape[1:]), antialias=False)
        torch.testing.assert_close(results[position], expected, atol=1e-5, rtol=0)


def test_random_resized_crop_draws_the_area_and_ratio_it_was_given() -> None:
    drawn = RandomResizedCrop((0.3, 0.5), (0.8, 1.25)).draw(draws(4, 5000), torch.empty(5000, 1, 200, 200))
    area = drawn["height"] * drawn["width"] / 200**2
    ratio = drawn["width"] / drawn["height"]
    assert 0.29 < area.min() < 0.31 < 0.49 < area.max() < 0.51
    assert 0.78 < ratio.min() < 0.82 < 1.22 < ratio.max() < 1.28
    for begin, length in (("top", "height"), ("left", "width")):
        assert (drawn[begin].min(), (drawn[begin] + drawn[length]).max()) == (0, 200)
        place = drawn[begin] / (200 - drawn[length])  # between the two edges
        assert abs(place.mean() - 0.5) < 0.02


def test_parameters_of_affine_are_drawn_evenly_and_each_by_itself() -> None:
    bounds = {"angle": 60, "shift_x": 40, "shift_y": 20, "scale": 0.3, "shear_x": 20, "shear_y": 20}
    drawn = Affine(degrees=60, translate=0.2, scale=(0.7, 1.3), shear=20).draw(
        draws(6, 5000), torch.empty(1, 1, 100, 200)
    )
    drawn["scale"] -= 1
    values = torch.stack([drawn[name] / bound for name, bound in bounds.items()])
    assert ((values >= -1) & (values <= 1)).all()
    assert (values.std(1) - 3**-0.5).abs().max() < 0.02  # of an even distribution from -1 to 1
    assert (torch.corrcoef(values) - torch.eye(6)).abs().max() < 0.06


def test_affine_equals_torchvisions(images: Tensor) -> None:
    operation = Affine(degrees=60, translate=0.2, scale=(0.7, 1.4), shear=20)
    drawn = operation.draw(draws(6), images)
    drawn |= {name: drawn[name].round() for name in ("shift_x", "shift_y")}  # torchvision shifts by whole pixels
    results = operation.apply(images, **drawn)
    for position, image in enumerate(images):
        one = {name: float(values[position]) for name, values in drawn.items()}
        expected = reference.affine(
            image,
            angle=one["angle"],
            translate=[int(one["shift_x"]), int(one["shift_y"])],
            scale=one["scale"],
            shear=[one["shear_x"], one["shear_y"]],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(results[position], expected, atol=2e-4, rtol=0)


def test_affine_without_bounds_leaves_images_alone(images: Tensor) -> None:
    drawn = Affine().draw(draws(6), images)
    torch.testing.assert_close(Affine().apply(images, **drawn), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: PaddedCrop(0), "padding=0"),
        (lambda: PaddedCrop(4, fill=2), "fill=2"),
        (lambda: HorizontalFlip(1.5), "probability=1.5"),
        (lambda: RandomResizedCrop(scale=(0.5, 0.1)), "scale"),
        (lambda: Affine(degrees=400), "degrees=400"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make()  # type: ignore[operator]
