"""ELPV: the images and labels of the package's own loader, as classes, as two classes, and as numbers."""

import logging
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leyden.data import ELPV
from leyden.data.elpv import say_licence

utils = pytest.importorskip("elpv_dataset.utils", reason="needs the extra elpv: pip install elpv-dataset")

LABELS = Path(utils.__file__).parent / "data" / "labels.csv"
CHANCES = np.genfromtxt(LABELS, usecols=1)  # as the package reads them


def test_images_are_those_of_the_packages_loader(tmp_path: Path) -> None:
    rows = LABELS.read_text(encoding="utf-8").splitlines()[::300]
    (tmp_path / "images").symlink_to(LABELS.parent / "images")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    images, chances, _ = utils.load_dataset(str(tmp_path / "labels.csv"))
    files = ELPV(image_size=300).load(tmp_path)
    read = torch.stack([files.read(str(files.directory / path)) for path in files.paths[::300]])
    assert torch.equal(read[:, 0], torch.from_numpy(images))
    assert np.allclose(CHANCES[::300], chances)


def test_classes_are_the_four_levels() -> None:
    source = ELPV(image_size=32)
    labels = source.load(Path("unused")).labels
    assert labels.dtype == torch.int64
    assert len(source.class_names) == 4
    assert torch.bincount(labels).tolist() == [1508, 295, 106, 715]  # as published
    assert np.allclose(labels.numpy() / 3, CHANCES)


@pytest.mark.parametrize(("threshold", "count"), [(0.3, 1116), (0.5, 821), (1.0, 715)])
def test_threshold_makes_two_classes(threshold: float, count: int) -> None:
    source = ELPV(image_size=32, threshold=threshold)
    labels = source.load(Path("unused")).labels
    assert source.class_names == ("sound", "defective")
    assert int(labels.sum()) == count
    assert np.array_equal(labels.numpy(), threshold <= CHANCES)


def test_chance_is_the_number_to_learn() -> None:
    source = ELPV(image_size=32, task="regression")
    labels = source.load(Path("unused")).labels
    assert (source.class_names, labels.dtype) == ((), torch.float32)
    assert np.allclose(labels.numpy(), CHANCES)


def test_mean_and_deviation_are_those_of_the_images() -> None:
    source = ELPV(image_size=300)
    files = source.load(Path("unused"))
    pixels = torch.stack([files.read(str(files.directory / path)) for path in files.paths[::8]]).double() / 255
    assert abs(pixels.mean() - source.mean[0]) < 5e-3
    assert abs(pixels.std() - source.std[0]) < 5e-3


def test_licence_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    say_licence.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            ELPV(image_size=32).load(Path("unused"))
    assert [record.getMessage().count("CC BY-NC-SA 4.0") for record in caplog.records] == [1]


def test_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(ValueError, match="data=elpv needs the package elpv-dataset: pip install elpv-dataset"):
        ELPV(image_size=32)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"threshold": 0.0}, "data.source.threshold=0.0 is out of range"),
        ({"threshold": 1.1}, "data.source.threshold=1.1 is out of range"),
        ({"threshold": 0.5, "task": "regression"}, "data.source.threshold=0.5 is for classes"),
        ({"task": "multi_label"}, "data.source.task=multi_label: expected single_label or regression"),
        ({"image_size": 0}, "data.source.image_size=0 is out of range"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        ELPV(**({"image_size": 32} | settings))


def test_comparison_with_what_is_published_says_how_it_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["elpv", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "elpv.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "runs, studies, or directories of them" in told
    assert "Deitsch et al. 2019" in told
