"""Pictures are drawn from what a run has recorded, at its end or later."""

import json
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


def test_run_that_trains_longer_keeps_no_other_from_being_drawn(train_run: Callable[..., FinishedRun]) -> None:
    done, longer = train_run("seed=0"), train_run("seed=1")
    path = longer.directory / "run.json"
    record = {key: value for key, value in longer.record.items() if key != "metrics"} | {"status": "running"}
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"was tested before it went on: its run is running, not finished"):
        draw(longer.directory)
    assert done.directory.parent == longer.directory.parent
    (done.directory.parent / "study.json").write_text("{}", encoding="utf-8")
    assert {picture.parent for picture in draw(done.directory.parent)} == {done.directory}
