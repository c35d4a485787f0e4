"""Labels: what is written in a cell against scikit-learn's encoders, and cells that cannot be labels."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import LabelEncoder, MultiLabelBinarizer

from leyden.data.labels import check_classes, find_classes, number_groups, read_cells, to_labels


def where(row: int) -> str:
    return f"a.csv, line {row + 2}"


def test_words_become_the_classes_of_scikit_learn() -> None:
    cells = ["owl", "cat", " dog ", "cat", "Ünder", "owl"]
    read = read_cells(cells, "single_label", where)
    names = find_classes(read, None)
    encoder = LabelEncoder().fit([cell.strip() for cell in cells])
    assert names == tuple(encoder.classes_)
    labels = to_labels(read, "single_label", names, where)
    assert labels.dtype == torch.int64
    assert labels.tolist() == encoder.transform([cell.strip() for cell in cells]).tolist()


def test_several_labels_become_the_zeros_and_ones_of_scikit_learn() -> None:
    cells: list[Any] = ["cat;dog", "", "owl", '["dog", "owl"]', ["cat"], [], None, "dog; cat;dog", math.nan]
    several = [["cat", "dog"], [], ["owl"], ["dog", "owl"], ["cat"], [], [], ["dog", "cat"], []]
    read = read_cells(cells, "multi_label", where)
    binarizer = MultiLabelBinarizer().fit(several)
    names = find_classes(read, None)
    assert names == tuple(binarizer.classes_)
    labels = to_labels(read, "multi_label", names, where)
    assert labels.dtype == torch.float32
    assert np.array_equal(labels.numpy(), binarizer.transform(several))


def test_separator_is_what_is_said() -> None:
    assert read_cells(["a;b|c"], "multi_label", where, "|") == [["a;b", "c"]]


def test_whole_numbers_are_in_their_order_and_other_names_in_that_of_text() -> None:
    assert find_classes([["10"], ["9"], ["-1"]], None) == ("-1", "9", "10")
    assert find_classes([["10"], ["9"], ["b"]], None) == ("10", "9", "b")
    assert find_classes(read_cells([10, 9, True], "single_label", where), None) == ("10", "9", "True")


def test_given_classes_keep_their_order_and_others_are_refused() -> None:
    read = read_cells(["b", "a", "c"], "single_label", where)
    assert to_labels(read, "single_label", find_classes(read, ["c", "b", "a"]), where).tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match=r"a\.csv, line 4: 'c' is none of the 2 classes that were given"):
        to_labels(read, "single_label", find_classes(read, ["b", "a"]), where)


def test_numbers_are_what_they_are() -> None:
    labels = to_labels(read_cells(["1.5", -2, " 3e-1 "], "regression", where), "regression", (), where)
    assert labels.dtype == torch.float32
    assert torch.equal(labels, torch.tensor([1.5, -2.0, 0.3]))


@pytest.mark.parametrize(
    ("task", "cell", "expected"),
    [
        ("single_label", "  ", "the label is empty"),
        ("single_label", None, "the label is empty"),
        ("single_label", math.nan, "the label is empty"),
        ("single_label", ["a"], r"the label is \['a'\], expected one class: is it data.source.task=multi_label\?"),
        ("multi_label", "a;;b", "the label is empty"),
        ("multi_label", "[a, b", r"the labels '\[a, b' begin as a JSON list and are none"),
        ("regression", "high", "the label is 'high', expected a number"),
        ("regression", "", "the label is '', expected a number"),
        ("regression", "inf", "the label is 'inf', expected a number"),
        ("regression", None, "the label is 'None', expected a number"),
    ],
)
def test_cell_that_is_no_label_is_named(task: Any, cell: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.csv, line 3: {expected}"):
        read_cells(["1", cell], task, where)


@pytest.mark.parametrize(
    ("names", "task", "expected"),
    [
        ((), "single_label", "here holds no class, at least 2"),
        (("a",), "single_label", "here holds the class a alone, at least 2"),
        ((), "multi_label", "here holds no class, at least 1"),
        (("a", "b", "a"), "single_label", "has a twice"),
    ],
)
def test_classes_that_nothing_can_be_learnt_of_are_refused(names: Any, task: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_classes(names, task, "here")


def test_groups_are_the_same_where_their_names_are() -> None:
    assert number_groups(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]
