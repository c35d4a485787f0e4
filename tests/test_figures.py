"""Pictures: they are drawn, of the size they should be, and hold what they are of."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from leyden.figures import confusion_matrix, learning_curves

HEADER = "epoch,step,train/loss,train/accuracy,val/loss,val/accuracy\n"
TEST = {"test/loss": 0.5, "test/accuracy": 0.9}


@pytest.mark.parametrize("num_epochs", [0, 1, 200])
def test_learning_curves_are_drawn_for_any_number_of_epochs(num_epochs: int, tmp_path: Path) -> None:
    rows = [f"{epoch},{epoch},{1 / (epoch + 1)},0.5,{1 / (epoch + 2)},0.6\n" for epoch in range(num_epochs)]
    (tmp_path / "metrics.csv").write_text(HEADER + "".join(rows))
    learning_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", TEST, best_epoch=0)
    assert matplotlib.image.imread(tmp_path / "curves.png").shape[:2] == (540, 1350)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_confusion_matrix_is_drawn_for_any_number_of_classes(num_classes: int, tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).integers(0, 50, (num_classes, num_classes))
    matrix[1] = 0  # a class without images
    confusion_matrix(matrix, [f"class {number}" for number in range(num_classes)], tmp_path / "matrix.png")
    picture = matplotlib.image.imread(tmp_path / "matrix.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.05  # not blank
