"""Data > **splits**: who trains, who validates, who tests: stratified, and a function of `split_seed` alone.

Every class gives its share of each split, so that runs of a study see the same images whatever their own seed, and a
smaller training share is a part of a larger one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Splits(NamedTuple):
    """Indices of the images of each split, ascending; no image is in two of them."""

    train: Indices
    val: Indices
    test: Indices


def split(
    labels: Indices, num_train: int | None, validation_fraction: float, test_fraction: float, split_seed: int
) -> Splits:
    """Splits a data set; where it has an official test part (`num_train` not None), that is the test split.

    Fractions are of the whole for a set without official parts, else of the official training part. Each class gives
    its share, rounded: first to the test split, then of what is left to validation.

    Raises:
        ValueError: a split would have no image.
    """
    if num_train is None:
        if validation_fraction + test_fraction >= 1:
            raise ValueError(
                "data.validation_fraction and data.test_fraction leave nothing to train on: lower one of them"
            )
        rest, test = _take(labels, np.arange(len(labels)), test_fraction, split_seed, stream=0)
        validation_fraction = validation_fraction / (1 - test_fraction)
    else:
        rest, test = np.arange(num_train), np.arange(num_train, len(labels))
    train, val = _take(labels, rest, validation_fraction, split_seed, stream=1)
    for part, indices in {"training": train, "validation": val, "test": test}.items():
        if not len(indices):
            raise ValueError(
                f"data.validation_fraction and data.test_fraction leave no {part} image of {len(labels)}: change them"
            )
    return Splits(train, val, test)


def _take(labels: Indices, among: Indices, fraction: float, seed: int, stream: int) -> tuple[Indices, Indices]:
    """Splits `among` into what is left and what was taken, `fraction` of each class."""
    taken = [
        members[: round(fraction * len(members))] for members in shuffled_classes(labels, among, seed, stream).values()
    ]
    chosen = np.sort(np.concatenate(taken)) if taken else among[:0]
    return np.setdiff1d(among, chosen), chosen


def shuffled_classes(labels: Indices, among: Indices, seed: int, stream: int) -> dict[int, Indices]:
    """The indices of each class in an order of their own, a function of seed, stream and class."""
    classes = {}
    for label in np.unique(labels[among]):
        members = among[labels[among] == label]
        classes[int(label)] = np.random.default_rng([seed, stream, int(label)]).permutation(members)
    return classes


def subset(
    labels: Indices, train: Indices, train_fraction: float, labels_per_class: int | None, split_seed: int
) -> Indices:
    """The part of the training split that a run may learn from; smaller parts lie within larger ones.

    Raises:
        ValueError: a class has fewer images than `labels_per_class`.
    """
    kept = []
    for label, members in shuffled_classes(labels, train, split_seed, stream=2).items():
        if labels_per_class is None:
            kept.append(members[: max(1, round(train_fraction * len(members)))])
            continue
        if labels_per_class > len(members):
            raise ValueError(
                f"data.labels_per_class={labels_per_class}, but class {label} has only {len(members)} training images: "
                f"give at most {len(members)}"
            )
        kept.append(members[:labels_per_class])
    return np.sort(np.concatenate(kept))
