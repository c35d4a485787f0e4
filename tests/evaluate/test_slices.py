"""Slices by the values of a column."""

import itertools
import logging

import numpy as np
import pytest
import torch

from leyden.data.facts import DataFacts
from leyden.evaluate.slices import EMPTY, slices, values_of
from leyden.intervals import wilson
from leyden.trained import Answers

FACTS = DataFacts("two", "single_label", ("a", "b"), 1, 8, 1.0, (0.5,), (0.5,))


def test_values_are_words_and_many_numbers_become_quarters() -> None:
    assert values_of([" x ", "", None, float("nan"), 3]) == ["x", EMPTY, EMPTY, EMPTY, "3"]
    assert values_of([1, 2, 1]) == ["1", "2", "1"]
    quarters = values_of([*range(101), ""])
    assert quarters[-1] == EMPTY
    assert quarters[0] == quarters[25] == "0 to 25"
    assert quarters[26] == "25 to 50"
    assert quarters[100] == "75 to 100"


@pytest.mark.parametrize("first", [20230101, 1000.01, -1e-9])
def test_quarters_of_numbers_that_differ_in_late_digits_have_names_of_their_own(first: float) -> None:
    quarters = values_of([first + 0.01 * step for step in range(101)])
    assert [len([*rows]) for _, rows in itertools.groupby(quarters)] == [26, 25, 25, 25]
    assert len({*quarters}) == 4


def test_each_value_has_its_own_accuracy_with_wilsons_interval() -> None:
    labels, answered = np.array([0, 1, 0, 1, 1]), np.array([0, 1, 1, 0, 1])
    answers = Answers(torch.zeros(5, 2), torch.from_numpy(labels), torch.arange(5))
    rows = slices("site", ["n", "n", "s", "s", "n"], answers, answered, FACTS)
    assert [(row["value_of_column"], row["images"], row["value"]) for row in rows] == [("n", 3, 1.0), ("s", 2, 0.0)]
    assert rows[0]["interval"] == [*wilson(3, 3)]


def test_numbers_and_several_labels_have_theirs() -> None:
    labels = torch.tensor([1.0, 2.0, 4.0])
    rows = slices("site", ["x", "x", "y"], Answers(labels, labels, torch.arange(3)), labels.double().numpy() + 0.5,
                  FACTS._replace(task="regression"))  # fmt: skip
    assert [row["value"] for row in rows] == [0.5, 0.5]
    several = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = slices("site", ["x", "x"], Answers(several * 4 - 2, several, torch.arange(2)), several.long().numpy(),
                  FACTS._replace(task="multi_label"))  # fmt: skip
    assert rows[0]["value"] == 1.0


def test_of_very_many_values_those_left_out_are_told(caplog: pytest.LogCaptureFixture) -> None:
    values = [f"v{number}" for number in range(60)]
    labels = torch.zeros(60, dtype=torch.int64)
    with caplog.at_level(logging.WARNING):
        rows = slices("site", values, Answers(torch.zeros(60, 2), labels, torch.arange(60)), labels.numpy(), FACTS)
    assert len(rows) == 50
    assert "slice=site: of 60 values the 50 most frequent are looked at" in caplog.text
