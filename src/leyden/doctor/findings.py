"""Facts, duplicates > **findings** > page: what is wrong with a data set, in sentences, each with what to do.

An error is what training cannot be right with; a warning is worth a look before one trains; a note is good to know.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leyden.doctor.duplicates import Indices, equal_groups, near_groups
from leyden.doctor.facts import Facts, counts_of
from leyden.doctor.subject import Subject
from leyden.report.words import many

Severity = Literal["error", "warning", "note"]

ADVISED_FROM = 3.0  # times as many images as the rarest class: balance the loss …
SAMPLED_FROM = 20.0  # … or the draws, where single images would weigh so much that steps become erratic
LEAST_LEVELS = 4  # grey levels between the darkest and the brightest pixel, below which an image shows nothing
MOST_ASPECT = 4.0
MOST_ENLARGED = 2.0
MOST_PIXELS = 50_000_000
DIFFERENT_MEAN, DIFFERENT_STD = 0.25, 1.25  # in standard deviations, and as a ratio


@dataclass
class Finding:
    """One thing that was found, and the images that show it, in groups."""

    kind: str
    severity: Severity
    sentence: str
    advice: str = ""
    groups: list[list[int]] = field(default_factory=list)


def find(subject: Subject, facts: Facts, is_trainable: Container[int] = ()) -> list[Finding]:
    """All that images and labels tell; `is_trainable` are files that training reads although they are not whole."""
    equal = equal_groups(facts)
    near = near_groups(facts, equal)
    return [
        *unreadable(subject, facts, is_trainable),
        *duplicates(subject, equal, "equal", "have the same pixels"),
        *duplicates(subject, near, "near", "show nearly the same picture"),
        *conflicts(subject, equal),
        *conflicts(subject, near, "near"),
        *constant(facts),
        *sizes(subject, facts),
        *formats(facts),
    ]


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes."""
    return sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))


def unreadable(subject: Subject, facts: Facts, is_trainable: Container[int] = ()) -> Iterator[Finding]:
    """Files that cannot be decoded whole."""
    damaged = [index for index in facts.reasons if index in is_trainable]
    lost = [index for index in facts.reasons if index not in is_trainable]
    if lost and subject.is_skipping:
        advice = "Training leaves out what cannot be read, as data.on_error=skip says; mend it if you can."
        yield _files("unreadable", "warning", "cannot be read", advice, lost, subject, facts)
    elif lost:
        advice = "Mend or delete them, or leave them out with data.on_error=skip."
        yield _files("unreadable", "error", "cannot be read", advice, lost, subject, facts)
    if damaged:
        advice = "Training reads them nevertheless: look whether what it sees is right."
        yield _files("damaged", "warning", "cannot be decoded whole", advice, damaged, subject, facts)


def _files(
    kind: str, severity: Severity, words: str, advice: str, indices: list[int], subject: Subject, facts: Facts
) -> Finding:
    named = "; ".join(f"{subject.name_of(index)} ({facts.reasons[index]})" for index in indices[:5])
    more = f"; and {len(indices) - 5} more" if len(indices) > 5 else ""
    sentence = f"{many(len(indices), 'file')} {words}: {named}{more}."
    return Finding(kind, severity, sentence, advice, [[index] for index in indices])


def duplicates(subject: Subject, groups: Sequence[Indices], kind: str, words: str) -> Iterator[Finding]:
    """Pictures that are there several times, apart by whether they lie on two sides of a split."""
    across = [group for group in groups if len(subject.sides(group)) > 1]
    within = [group for group in groups if len(subject.sides(group)) <= 1]
    if across:
        is_evaluated = subject.is_evaluated()
        evaluated = int(is_evaluated[np.concatenate(across)].sum())
        share = evaluated / max(1, int(is_evaluated.sum()))
        yield Finding(
            f"{kind}_across",
            "warning",
            f"{many(sum(map(len, across)), 'image')} in {many(len(across), 'group')} {words} on different sides of "
            f"the split, among them {evaluated:,} to validate or test with ({share:.1%} of these).",
            "What is learnt of one is known of the other, and figures come out too good: keep one of each group, or "
            "give the images of a group one value in a table's column of groups (data=table): they then stay together.",
            [group.tolist() for group in across],
        )
    if within:
        yield Finding(
            f"{kind}_within",
            "warning",
            f"{many(sum(map(len, within)), 'image')} in {many(len(within), 'group')} {words} within one part.",
            "They count several times: keep one of each, unless that is meant.",
            [group.tolist() for group in within],
        )


def conflicts(subject: Subject, groups: Sequence[Indices], kind: str = "equal") -> Iterator[Finding]:
    """Images that show the same and have different labels: at most one of them is right."""
    differing = [group.tolist() for group in groups if len(np.unique(subject.labels[group], axis=0)) > 1]
    if differing:
        words = "with the same pixels" if kind == "equal" else "that show nearly the same picture"
        yield Finding(
            f"{kind}_conflicting_labels",
            "warning",
            f"{many(sum(map(len, differing)), 'image')} {words}, in {many(len(differing), 'group')}, have different "
            "labels.",
            "At most one label of a group is right: mend or delete the others.",
            differing,
        )


def constant(facts: Facts) -> Iterator[Finding]:
    """Images that show nothing."""
    levels = facts.table["highest"].astype(int) - facts.table["lowest"]
    (empty,) = (facts.table["is_read"] & (levels < LEAST_LEVELS)).nonzero()
    if len(empty):
        yield Finding(
            "constant",
            "warning",
            f"{many(len(empty), 'image')} of one colour.",
            "Nothing can be learnt of them: was something lost when they were made?",
            [[index] for index in empty.tolist()],
        )


def sizes(subject: Subject, facts: Facts) -> Iterator[Finding]:
    """Images that are much smaller, larger or longer than training expects."""
    width, height = facts.table["width"].astype(np.int64), facts.table["height"].astype(np.int64)
    is_known = width > 0
    short, long = np.minimum(width, height), np.maximum(width, height)
    cases = {
        "tiny": (
            short * MOST_ENLARGED < subject.image_size,
            f"enlarged more than {MOST_ENLARGED:g} times to the training size of {subject.image_size} pixels",
            "Look whether they are thumbnails that slipped in, or lower the image size.",
        ),
        "huge": (
            width * height > MOST_PIXELS,
            f"with more than {MOST_PIXELS:,} pixels",
            "Each takes seconds and gigabytes to decode: scale them down before training.",
        ),
        "long": (
            long > MOST_ASPECT * short,
            f"more than {MOST_ASPECT:g} times as long as wide",
            "Training sees their middle square alone: cut them by hand.",
        ),
    }
    for kind, (is_so, words, advice) in cases.items():
        (those,) = (is_known & is_so).nonzero()
        if len(those):
            groups = [[index] for index in those.tolist()]
            yield Finding(kind, "warning", f"{many(len(those), 'image')} {words}.", advice, groups)


def formats(facts: Facts) -> Iterator[Finding]:
    """Colour modes beside each other, and photographs that their camera says to turn."""
    modes = counts_of(facts.table["mode"][facts.table["is_read"]])
    if len(modes) > 1:
        told = ", ".join(f"{count:,} {mode}" for mode, count in modes.items())
        advice = "All are brought to the channels that training asks for."
        yield Finding("modes", "note", f"Images are stored in {len(modes)} colour modes: {told}.", advice)
    turned = int(facts.table["is_turned"].sum())
    if turned:
        yield Finding("turned", "note", f"{many(turned, 'photograph')} stored sideways, which Leyden sets upright.")


def imbalance(
    counts: NDArray[np.int64], sampler: str, class_weights: object, has_several: bool = False
) -> Iterator[Finding]:
    """Classes with many more training images than others, and what to set against it; counts [K].

    Images with several labels each (`has_several`) cannot be drawn so that all classes come equally often.
    """
    if len(counts) < 2 or not counts.min():
        return
    ratio = float(counts.max() / counts.min())
    has_sampler, has_weights = sampler == "balanced", class_weights == "balanced"
    if has_sampler and has_weights:
        yield Finding(
            "balanced_twice",
            "warning",
            "data.sampler=balanced and loss.class_weights=balanced are both set: rare classes count twice over.",
            "Leave one of them out.",
        )
    if ratio < ADVISED_FROM:
        return
    sentence = f"The largest class has {ratio:.3g} times as many training images as the smallest"
    if has_sampler or class_weights is not None:
        setting = "data.sampler=balanced" if has_sampler else f"loss.class_weights={class_weights}"
        yield Finding("imbalance", "note", f"{sentence}; {setting} is set against it.")
        return
    advice = (
        "Set loss.class_weights=balanced if all classes matter alike."
        if has_several
        else "Set data.sampler=balanced: weights this large in the loss would let single images shake a step."
        if ratio >= SAMPLED_FROM
        else "Set loss.class_weights=balanced or data.sampler=balanced (not both) if all classes matter alike."
    )
    yield Finding("imbalance", "warning", f"{sentence}.", f"{advice} Look at F1 or recall, not at accuracy alone.")


def normalisation(
    found: tuple[NDArray[np.float64], NDArray[np.float64]], mean: Sequence[float], std: Sequence[float]
) -> Iterator[Finding]:
    """Means and standard deviations of the training images [C] that are far from the configured ones."""
    means, stds = found
    far = np.abs(means - mean) > DIFFERENT_MEAN * np.asarray(std)
    ratios = np.maximum(stds, 1e-9) / np.asarray(std)
    far |= (ratios > DIFFERENT_STD) | (ratios < 1 / DIFFERENT_STD)
    told = f"mean {rounded(means)}, std {rounded(stds)}"
    if far.any():
        yield Finding(
            "normalisation",
            "warning",
            f"The training images have {told}; configured are mean {rounded(mean)}, std {rounded(std)}.",
            "Set them in data.source.mean and data.source.std, unless a pretrained network asks for the others.",
        )


def rounded(values: Sequence[float] | NDArray[np.float64]) -> str:
    """As one would type them."""
    return "[" + ",".join(f"{value:.3f}" for value in values) + "]"
