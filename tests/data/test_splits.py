"""Splits: stratified, disjoint, a function of the split seed alone; small training parts lie within larger ones."""

import itertools

import numpy as np
import pytest

from leyden.data.splits import Fold, Indices, Splits, find_leak, split, stratify, subset

OFFICIAL = np.repeat([0, 2], [800, 200])
LABELS = np.random.default_rng(0).choice(5, size=1000, p=[0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.mark.parametrize("parts", [None, OFFICIAL])
def test_every_image_is_in_one_split(parts: Indices | None) -> None:
    splits = split(LABELS, parts, None, 0.15, 0.2, split_seed=3)
    assert np.array_equal(np.sort(np.concatenate(splits)), np.arange(1000))


def test_official_test_part_stays_the_test_split() -> None:
    assert np.array_equal(split(LABELS, OFFICIAL, None, 0.15, 0.2, 0).test, np.arange(800, 1000))


@pytest.mark.parametrize("parts", [None, OFFICIAL])
def test_each_class_gives_its_share(parts: Indices | None) -> None:
    splits = split(LABELS, parts, None, 0.15, 0.2, 0)
    whole = LABELS if parts is None else LABELS[:800]
    for label in range(5):
        of_class = (whole == label).sum()
        assert abs((LABELS[splits.val] == label).sum() - 0.15 * of_class) <= 1
        if parts is None:
            assert abs((LABELS[splits.test] == label).sum() - 0.2 * of_class) <= 1


def test_split_seed_alone_decides() -> None:
    first, again, other = (split(LABELS, None, None, 0.15, 0.2, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.val, again.val)
    assert not np.array_equal(first.val, other.val)


def test_test_split_does_not_depend_on_the_validation_fraction() -> None:
    assert np.array_equal(split(LABELS, None, None, 0.1, 0.2, 0).test, split(LABELS, None, None, 0.3, 0.2, 0).test)


def test_smaller_training_parts_lie_within_larger_ones() -> None:
    train = split(LABELS, None, None, 0.15, 0.2, 0).train
    parts = [set(subset(LABELS, train, fraction, None, 0)) for fraction in (0.01, 0.1, 0.5, 1.0)]
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(parts))
    assert parts[-1] == set(train)
    few = [set(subset(LABELS, train, 1.0, count, 0)) for count in (1, 5, 20)]
    assert few[0] < few[1] < few[2]
    assert [np.bincount(LABELS[list(part)]).tolist() for part in few] == [[1] * 5, [5] * 5, [20] * 5]


def test_fraction_keeps_at_least_one_image_of_each_class() -> None:
    train = split(LABELS, None, None, 0.15, 0.2, 0).train
    assert set(LABELS[subset(LABELS, train, 1e-4, None, 0)]) == set(range(5))


def test_more_labels_than_exist_are_refused() -> None:
    train = split(LABELS, None, None, 0.15, 0.2, 0).train
    with pytest.raises(ValueError, match=r"labels_per_class=500, but class \d has only \d+ training images"):
        subset(LABELS, train, 1.0, 500, 0)
    fewest = int(np.bincount(LABELS[train]).argmin())
    with pytest.raises(ValueError, match=rf"class {'abcde'[fewest]} has only \d+ .* in a study too"):
        subset(LABELS, train, 1.0, 500, 0, [*"abcde"])


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [((0.6, 0.4), "leave nothing to train on"), ((0.001, 0.2), "no validation image"), ((0.7999, 0.2), "no training")],
)
def test_split_without_images_is_refused(fractions: tuple[float, float], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        split(LABELS[:100], None, None, *fractions, split_seed=0)


def test_test_fraction_does_not_count_beside_an_official_test_part() -> None:
    assert len(split(LABELS, OFFICIAL, None, 0.85, 0.2, 0).val) == pytest.approx(680, abs=5)


def test_official_validation_part_stays_the_validation_split() -> None:
    parts = np.repeat([0, 1, 2], [700, 100, 200])
    splits = split(LABELS, parts, None, 0.15, 0.2, 0)
    assert [len(indices) for indices in splits] == [700, 100, 200]
    assert np.array_equal(splits.val, np.arange(700, 800))
    splits = split(LABELS, np.repeat([0, 1], [900, 100]), None, 0.15, 0.2, 0)
    assert len(splits.test) == pytest.approx(180, abs=3)  # of what is left
    with pytest.raises(ValueError, match="of its own, which folds would replace"):
        split(LABELS, parts, None, 0.15, 0.2, 0, Fold(0, 5))


def test_each_image_is_tested_in_one_fold_and_classes_are_alike_in_all() -> None:
    folds = [split(LABELS, None, None, 0.15, 0.2, 0, Fold(number, 7)) for number in range(7)]
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(1000))
    assert {len(fold.test) for fold in folds} == {142, 143}
    for label in range(5):
        counts = [(LABELS[fold.test] == label).sum() for fold in folds]
        assert max(counts) - min(counts) <= 1
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate(fold)), np.arange(1000))
        assert len(fold.val) == pytest.approx(150, abs=3)


def test_fold_of_data_with_a_test_part_is_validated() -> None:
    folds = [split(LABELS, OFFICIAL, None, 0.15, 0.2, 0, Fold(number, 4)) for number in range(4)]
    assert np.array_equal(np.sort(np.concatenate([fold.val for fold in folds])), np.arange(800))
    assert all(np.array_equal(fold.test, np.arange(800, 1000)) for fold in folds)


GROUPS = np.random.default_rng(1).integers(0, 120, size=1000) ** 2 // 120  # from 1 to 90 images each


def sides(splits: Splits) -> list[set[int]]:
    return [set(GROUPS[indices].tolist()) for indices in splits]


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_two_sides_and_shares_are_near(seed: int) -> None:
    splits = split(LABELS, None, GROUPS, 0.15, 0.2, seed)
    train, val, test = sides(splits)
    assert not train & val
    assert not train & test
    assert not val & test
    assert len(splits.test) == pytest.approx(200, abs=10)
    assert len(splits.val) == pytest.approx(150, abs=10)
    for label in range(5):
        of_class = (label == LABELS).sum()
        assert (LABELS[splits.test] == label).sum() == pytest.approx(0.2 * of_class, abs=0.04 * of_class + 3)


def test_groups_are_dealt_into_folds_of_like_size() -> None:
    folds = [split(LABELS, None, GROUPS, 0.15, 0.2, 0, Fold(number, 5)) for number in range(5)]
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(1000))
    assert all(not sides(fold)[0] & sides(fold)[2] for fold in folds)
    assert all(len(fold.test) == pytest.approx(200, abs=10) for fold in folds)


def test_too_few_groups_are_named() -> None:
    with pytest.raises(ValueError, match=r"folds leave no .* image of 1000 in 3 groups, which stay whole"):
        split(LABELS, None, np.arange(1000) % 3, 0.15, 0.2, 0, Fold(4, 5))


def test_leak_between_official_parts_is_found() -> None:
    groups = np.arange(1000) % 800
    leak = find_leak(OFFICIAL, groups)
    assert leak is not None
    assert groups[leak[0]] == groups[leak[1]]
    assert OFFICIAL[leak[0]] != OFFICIAL[leak[1]]
    assert find_leak(OFFICIAL, np.arange(1000)) is None


def test_strata_of_several_labels_are_the_rarest_and_those_of_numbers_tenths() -> None:
    several = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    assert stratify(several).tolist() == [1, 0, 2, 0, 3, 1]
    numbers = np.random.default_rng(0).normal(size=1000)
    assert np.bincount(stratify(numbers)).tolist() == [100] * 10
    assert len(np.unique(stratify(np.repeat([0.0, 1 / 3, 2 / 3, 1.0], 50)))) == 4
    assert np.array_equal(stratify(LABELS), LABELS)
