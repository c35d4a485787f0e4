"""The table of answers, read back by pandas."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from leyden.data.facts import DataFacts
from leyden.evaluate.answers_table import columns_of, write_columns
from leyden.predictions import Predictions

FACTS = DataFacts("two", "single_label", ("a", "b é"), 1, 8, 1.0, (0.5,), (0.5,))
INDICES = torch.tensor([4, 9])
SINGLE = Predictions(np.array([0, 1]), np.array([1, 1]), np.array([0.7, 0.6]))
PROBABILITIES = torch.tensor([[0.3, 0.7], [0.4, 0.6]])


@pytest.mark.parametrize("has_parquet", [True, False])
def test_every_answer_is_a_row(
    has_parquet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not has_parquet:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    path = write_columns(columns_of(INDICES, ["x.png", "y,z.png"], SINGLE, PROBABILITIES, FACTS), tmp_path)
    table = (pandas.read_parquet if has_parquet else pandas.read_csv)(path)
    assert ("pip install 'leyden[parquet]'" in caplog.text) == (not has_parquet)
    assert table["index"].tolist() == [4, 9]
    assert table["path"].tolist() == ["x.png", "y,z.png"]
    assert table["label_name"].tolist() == ["a", "b é"]
    assert table["prediction"].tolist() == [1, 1]
    np.testing.assert_allclose(table[["probability/a", "probability/b_é"]], PROBABILITIES, atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(table: object, path: Path) -> None:
        path.touch()
        raise OSError("the disk is full")

    monkeypatch.setattr("pyarrow.parquet.write_table", fill)
    with pytest.raises(OSError, match="the disk is full"):
        write_columns({"index": INDICES.numpy()}, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_several_labels_and_numbers_have_their_columns(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [1, 1]])
    several = columns_of(INDICES, None, Predictions(labels, labels, PROBABILITIES.numpy()), PROBABILITIES,
                         FACTS._replace(task="multi_label"))  # fmt: skip
    table = pandas.read_parquet(write_columns(several, tmp_path))
    assert table["label/b_é"].tolist() == [0, 1]
    numbers = columns_of(INDICES, None, Predictions(np.array([1.5, 2]), np.array([1.0, 3])), PROBABILITIES,
                         FACTS._replace(task="regression"))  # fmt: skip
    assert pandas.read_parquet(write_columns(numbers, tmp_path)).columns.tolist() == ["index", "label", "prediction"]
