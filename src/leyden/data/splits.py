"""Data > **splits**: who trains, who validates, who tests: stratified, and a function of `split_seed` alone.

Every class gives its share of each split, so that runs of a study see the same images whatever their own seed, and a
smaller training share is a part of a larger one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leyden.data.sources import TEST, TRAINING, VALIDATION

Indices = NDArray[np.int64]


class Splits(NamedTuple):
    """Indices of the images of each split, ascending; no image is in two of them."""

    train: Indices
    val: Indices
    test: Indices


class Fold(NamedTuple):
    """One of `num_folds` parts of a cross-validation, from 0."""

    number: int
    num_folds: int


def split(
    strata: Indices,
    parts: Indices | None,
    groups: Indices | None,
    validation_fraction: float,
    test_fraction: float,
    split_seed: int,
    fold: Fold | None = None,
) -> Splits:
    """Splits a data set of N images; an official validation or test part (`parts`) stays what it is.

    Fractions are of the whole for a set without an official test part, else of what is not in that. Each class
    (`strata`) gives its share, rounded: first to the test split, then of what is left to validation. With `groups`
    whole groups are dealt out, so that shares are as near as they can be. A `fold` takes the place of the fraction: of
    the test split where there is no official one, else of validation.

    Raises:
        ValueError: a split would have no image, or nothing is left to fold.
    """
    everyone = np.arange(len(strata))
    parts = np.full_like(everyone, TRAINING) if parts is None else parts
    train, val, test = (everyone[parts == part] for part in (TRAINING, VALIDATION, TEST))
    deal, is_folded = _Deal(strata, groups, split_seed), fold is not None
    if not len(test):
        share = 1 / fold.num_folds if fold else test_fraction
        if validation_fraction + share >= 1:
            which = "folds" if fold else "data.test_fraction"
            raise ValueError(f"data.validation_fraction and {which} leave nothing to train on: change one of them")
        train, test = deal.fold(train, fold, 0) if fold else deal.take(train, share, 0)
        validation_fraction, fold = validation_fraction / (1 - share), None
    if not len(val):
        train, val = deal.fold(train, fold, 1) if fold else deal.take(train, validation_fraction, 1)
    elif fold:
        raise ValueError(
            "fold: the data has validation and test images of its own, which folds would replace: leave it out, or "
            "take the data's own split away (of a table data.source.split_column='')"
        )
    for part, indices in {"training": train, "validation": val, "test": test}.items():
        if not len(indices):
            which = "folds" if is_folded else "data.validation_fraction and data.test_fraction"
            among = "" if groups is None else f" in {len(np.unique(groups))} groups, which stay whole"
            raise ValueError(f"{which} leave no {part} image of {len(strata)}{among}: change them")
    return Splits(train, val, test)


def stratify(labels: NDArray[Any]) -> Indices:
    """What splits are alike in: the class of labels [N], the rarest of several [N, K], the tenth of numbers [N]."""
    if labels.ndim == 2:
        counts = labels.sum(0)
        rarity = np.where(labels > 0, counts, np.inf)
        return np.where(labels.any(1), rarity.argmin(1), labels.shape[1]).astype(np.int64)
    if np.issubdtype(labels.dtype, np.floating):
        return np.searchsorted(np.unique(np.quantile(labels, np.linspace(0.1, 0.9, 9))), labels, side="right")
    return labels.astype(np.int64)


class _Deal:
    """Deals images out, class by class, or whole groups of them: functions of the seed and the stream alone."""

    def __init__(self, strata: Indices, groups: Indices | None, seed: int) -> None:
        self.strata, self.groups, self.seed = strata, groups, seed

    def take(self, among: Indices, fraction: float, stream: int) -> tuple[Indices, Indices]:
        """Splits `among` into what is left and what was taken, `fraction` of each class."""
        if self.groups is not None:
            return _part_at(among, self._hands(among, [1 - fraction, fraction], stream) == 1)
        classes = shuffled_classes(self.strata, among, self.seed, stream)
        taken = [members[: round(fraction * len(members))] for members in classes.values()]
        return _part_at(among, np.isin(among, np.concatenate(taken) if taken else among[:0]))

    def fold(self, among: Indices, fold: Fold, stream: int) -> tuple[Indices, Indices]:
        """Splits `among` into the other folds and the one; every image is in one fold, and folds are of like size."""
        if self.groups is not None:
            return _part_at(among, self._hands(among, [1 / fold.num_folds] * fold.num_folds, stream) == fold.number)
        classes = shuffled_classes(self.strata, among, self.seed, stream)
        row = np.concatenate([*classes.values()])  # class after class, dealt around: shares differ by one at most
        return _part_at(among, np.isin(among, row[fold.number :: fold.num_folds]))

    def _hands(self, among: Indices, shares: Sequence[float], stream: int) -> Indices:
        """Which hand each image of `among` goes to, its whole group with it: to that which lacks its classes most."""
        assert self.groups is not None
        classes, strata = np.unique(self.strata[among], return_inverse=True)
        groups, members = np.unique(self.groups[among], return_inverse=True)
        counts = np.zeros((len(groups), len(classes)))
        np.add.at(counts, (members, strata), 1)
        shuffled = np.random.default_rng([self.seed, stream]).permutation(len(groups))
        order = shuffled[np.argsort(-counts[shuffled].sum(1), kind="stable")]  # large ones first, while there is room
        weights = 1 / np.outer(shares, counts.sum(0) ** 2)  # of squared distances from each class's share
        held, hand = np.zeros((len(shares), len(classes))), np.empty(len(groups), dtype=np.int64)
        for group in order:
            cost = (weights * ((held + counts[group]) ** 2 - held**2)).sum(1)
            hand[group] = cost.argmin()
            held[hand[group]] += counts[group]
        return hand[members]


def _part_at(among: Indices, is_taken: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    return among[~is_taken], among[is_taken]


def find_leak(parts: Indices, groups: Indices) -> tuple[int, int] | None:
    """Two images of one group in different official parts: what is learnt of one would be known of the other."""
    order = np.lexsort((parts, groups))
    (leaks,) = ((np.diff(groups[order]) == 0) & (np.diff(parts[order]) != 0)).nonzero()
    return (int(order[leaks[0]]), int(order[leaks[0] + 1])) if len(leaks) else None


def shuffled_classes(labels: Indices, among: Indices, seed: int, stream: int) -> dict[int, Indices]:
    """The indices of each class in an order of their own, a function of seed, stream and class."""
    of_image = labels[among]
    order = np.argsort(of_image, kind="stable")  # one sort: a search for each class is slow where there are many
    found, begins = np.unique(of_image[order], return_index=True)
    members = np.split(among[order], begins[1:])
    return {
        int(label): np.random.default_rng([seed, stream, int(label)]).permutation(members[number])
        for number, label in enumerate(found)
    }


def subset(
    labels: Indices,
    train: Indices,
    train_fraction: float,
    labels_per_class: int | None,
    split_seed: int,
    class_names: Sequence[str] = (),
) -> Indices:
    """The part of the training split that a run may learn from; smaller parts lie within larger ones.

    Raises:
        ValueError: a class has fewer images than `labels_per_class`; names the one that has fewest.
    """
    kept = []
    classes = shuffled_classes(labels, train, split_seed, stream=2)
    for label, members in sorted(classes.items(), key=lambda item: len(item[1])):
        if labels_per_class is None:
            kept.append(members[: max(1, round(train_fraction * len(members)))])
            continue
        if labels_per_class > len(members):
            name = class_names[label] if class_names else label
            raise ValueError(
                f"data.labels_per_class={labels_per_class}, but class {name} has only {len(members)} training images: "
                f"give at most {len(members)}, in a study too (data.labels_per_class=5,10,null), or null for all"
            )
        kept.append(members[:labels_per_class])
    return np.sort(np.concatenate(kept))
