"""Pictures are drawn from what a run has recorded, at its end or later."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leyden.draw import draw, read_matrix, write_matrix
from running import FinishedRun


def test_pictures_left_out_are_drawn_later(train_run: Callable[..., FinishedRun]) -> None:
    run = train_run()
    assert not list(run.directory.glob("*.png"))
    pictures = draw(run.directory)
    names = ["confusion_matrix", "learning_curves", "precision_recall", "reliability"]
    assert sorted(path.stem for path in pictures) == names
    for path in pictures:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_matrix_is_the_one_that_was_written(tmp_path: Path) -> None:
    matrix, names = np.arange(9).reshape(3, 3), ["a", 'b "c", d', "é\n"]
    write_matrix(matrix, names, tmp_path / "matrix.csv")
    counts, read = read_matrix(tmp_path / "matrix.csv")
    assert counts.tolist() == matrix.tolist()
    assert read == names


def test_directory_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no run directory"):
        draw(tmp_path)
