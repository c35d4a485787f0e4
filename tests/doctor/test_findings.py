"""What is told of a data set: the right images, how grave it is, and what to set."""

import numpy as np
import pytest

from doctor.planted import LABELS, Planted
from leyden.doctor.facts import OF_AN_IMAGE, Facts
from leyden.doctor.findings import Finding, find, imbalance, in_order, normalisation, sizes, unreadable
from leyden.doctor.subject import Subject


def subject(paths: list[str], **settings: object) -> Subject:
    """As an image folder with train/ and test/ has it."""
    labels = np.array([LABELS.index(path.split("/")[1]) for path in paths])
    parts = np.array([2 if path.startswith("test") else 0 for path in paths])
    return Subject("planted", LABELS, labels, parts, 64, paths, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(paths: list[str], facts: Facts) -> dict[str, Finding]:
    return {finding.kind: finding for finding in find(subject(paths), facts)}


def names(finding: Finding, paths: list[str]) -> set[str]:
    return {paths[index] for group in finding.groups for index in group}


def test_each_planted_fault_is_told_with_its_images(
    planted: Planted, paths: list[str], found: dict[str, Finding]
) -> None:
    copies = {name for pairs in planted.copies.values() for pair in pairs for name in pair}
    assert names(found["unreadable"], paths) == {*planted.truncated, *planted.texts}
    assert names(found["constant"], paths) == set(planted.constant)
    assert names(found["equal_across"], paths) == {name for pair in planted.equal for name in pair}
    assert names(found["equal_within"], paths) == {name for pair in planted.swapped for name in pair}
    assert names(found["equal_conflicting_labels"], paths) == {name for pair in planted.swapped for name in pair}
    assert len(names(found["near_across"], paths) & copies) >= 0.95 * len(copies)
    assert "near_conflicting_labels" not in found
    assert "tiny" not in found


def test_only_what_training_cannot_read_is_an_error(found: dict[str, Finding]) -> None:
    assert [kind for kind, finding in found.items() if finding.severity == "error"] == ["unreadable"]
    assert in_order(list(found.values()))[0].kind == "unreadable"


def test_unreadable_files_that_are_skipped_are_no_error(paths: list[str], facts: Facts) -> None:
    (finding,) = unreadable(subject(paths, is_skipping=True), facts)
    assert finding.severity == "warning"


def test_damaged_files_that_training_reads_are_no_error(paths: list[str], facts: Facts) -> None:
    (finding,) = unreadable(subject(paths), facts, set(facts.reasons))
    assert (finding.kind, finding.severity) == ("damaged", "warning")


def test_share_of_evaluation_images_is_counted(paths: list[str], found: dict[str, Finding]) -> None:
    num_test = sum(path.startswith("test") for path in paths)
    assert f"{12 / num_test:.1%} of these" in found["equal_across"].sentence


def test_images_left_out_of_training_are_on_no_side() -> None:
    table = np.zeros(2, OF_AN_IMAGE)
    table["is_read"], table["highest"], table["width"], table["height"] = True, 9, 64, 64
    both = Subject("set", ["a", "b"], np.array([0, 0]), np.array([3, 2]), 64)
    assert [finding.kind for finding in find(both, Facts(table, {}))] == ["equal_within"]


@pytest.mark.parametrize(
    ("counts", "sampler", "class_weights", "severity", "advice"),
    [
        ([100, 40], "shuffle", None, None, ""),
        ([100, 20], "shuffle", None, "warning", "loss.class_weights=balanced"),
        ([100, 4], "shuffle", None, "warning", "Set data.sampler=balanced"),
        ([100, 4], "balanced", None, "note", ""),
        ([100, 4], "shuffle", "balanced", "note", ""),
        ([100, 90], "balanced", "balanced", "warning", "Leave one"),
    ],
)
def test_imbalance_is_told_with_what_to_set(
    counts: list[int], sampler: str, class_weights: str | None, severity: str | None, advice: str
) -> None:
    told = list(imbalance(np.array(counts), sampler, class_weights))
    assert [finding.severity for finding in told] == ([severity] if severity else [])
    assert all(advice in finding.advice for finding in told)


def test_sizes_out_of_proportion_are_told() -> None:
    table = np.zeros(5, OF_AN_IMAGE)
    table["width"], table["height"] = [31, 32, 9000, 400, 0], [64, 64, 6000, 99, 0]
    five = Subject("set", ["a", "b"], np.zeros(5, np.int64), np.zeros(5, np.int64), 64)
    assert {finding.kind: finding.groups for finding in sizes(five, Facts(table, {}))} == {
        "tiny": [[0]], "huge": [[2]], "long": [[3]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mean", "std", "is_told"), [(0.5, 0.25, False), (0.56, 0.25, False), (0.6, 0.25, True), (0.5, 0.35, True)]
)
def test_normalisation_far_from_the_pixels_is_told(mean: float, std: float, is_told: bool) -> None:
    assert bool(list(normalisation((np.array([0.5]), np.array([0.25])), [mean], [std]))) == is_told


def test_labels_of_each_task_are_put_in_words() -> None:
    parts = np.array([0, 2])
    several = Subject("set", ["a", "b"], np.array([[1, 1], [0, 0]], np.float32), parts, 64)
    assert [several.label_of(0), several.label_of(1)] == ["a, b", "none"]
    assert several.counts().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    number = Subject("set", [], np.array([0.25, 2], np.float32), parts, 64)
    assert [number.label_of(0), number.name_of(1)] == ["0.25", "image 1"]
