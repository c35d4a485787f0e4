"""Splits: stratified, disjoint, a function of the split seed alone; small training parts lie within larger ones."""

import itertools

import numpy as np
import pytest

from leyden.data.splits import split, subset

LABELS = np.random.default_rng(0).choice(5, size=1000, p=[0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.mark.parametrize("num_train", [None, 800])
def test_every_image_is_in_one_split(num_train: int | None) -> None:
    parts = split(LABELS, num_train, 0.15, 0.2, split_seed=3)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))


def test_official_test_part_stays_the_test_split() -> None:
    assert np.array_equal(split(LABELS, 800, 0.15, 0.2, 0).test, np.arange(800, 1000))


@pytest.mark.parametrize("num_train", [None, 800])
def test_each_class_gives_its_share(num_train: int | None) -> None:
    parts = split(LABELS, num_train, 0.15, 0.2, 0)
    whole = LABELS[:num_train]
    for label in range(5):
        of_class = (whole == label).sum()
        assert abs((LABELS[parts.val] == label).sum() - 0.15 * of_class) <= 1
        if num_train is None:
            assert abs((LABELS[parts.test] == label).sum() - 0.2 * of_class) <= 1


def test_split_seed_alone_decides() -> None:
    first, again, other = (split(LABELS, None, 0.15, 0.2, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.val, again.val)
    assert not np.array_equal(first.val, other.val)


def test_test_split_does_not_depend_on_the_validation_fraction() -> None:
    assert np.array_equal(split(LABELS, None, 0.1, 0.2, 0).test, split(LABELS, None, 0.3, 0.2, 0).test)


def test_smaller_training_parts_lie_within_larger_ones() -> None:
    train = split(LABELS, None, 0.15, 0.2, 0).train
    parts = [set(subset(LABELS, train, fraction, None, 0)) for fraction in (0.01, 0.1, 0.5, 1.0)]
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(parts))
    assert parts[-1] == set(train)
    few = [set(subset(LABELS, train, 1.0, count, 0)) for count in (1, 5, 20)]
    assert few[0] < few[1] < few[2]
    assert [np.bincount(LABELS[list(part)]).tolist() for part in few] == [[1] * 5, [5] * 5, [20] * 5]


def test_fraction_keeps_at_least_one_image_of_each_class() -> None:
    train = split(LABELS, None, 0.15, 0.2, 0).train
    assert set(LABELS[subset(LABELS, train, 1e-4, None, 0)]) == set(range(5))


def test_more_labels_than_exist_are_refused() -> None:
    train = split(LABELS, None, 0.15, 0.2, 0).train
    with pytest.raises(ValueError, match=r"labels_per_class=500, but class \d has only \d+ training images"):
        subset(LABELS, train, 1.0, 500, 0)


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [((0.6, 0.4), "leave nothing to train on"), ((0.001, 0.2), "no validation image"), ((0.7999, 0.2), "no training")],
)
def test_split_without_images_is_refused(fractions: tuple[float, float], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        split(LABELS[:100], None, *fractions, split_seed=0)


def test_test_fraction_does_not_count_beside_an_official_test_part() -> None:
    assert len(split(LABELS, 800, 0.85, 0.2, 0).val) == pytest.approx(680, abs=5)
