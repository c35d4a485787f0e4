"""Loader against network, and the pixels' statistics, which numpy computes as well."""

from pathlib import Path

import numpy as np
import pytest

from doctor.planted import Planted
from leyden.build import build_classifier, instantiate
from leyden.data import Digits
from leyden.doctor import speed
from leyden.doctor.speed import Speed, compare, measure, statistics
from running import SHORT, compose_config


def test_statistics_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SAMPLE", 10_000)
    data = instantiate(compose_config("data=digits").data)
    data.setup("fit")
    means, stds = statistics(data, set())
    pixels = Digits().load(Path("unused")).images.numpy()[data.train_indices.numpy()] / 255
    assert means == pytest.approx([pixels.mean()], rel=1e-9)
    assert stds == pytest.approx([pixels.std()], rel=1e-6)


def test_statistics_of_files_leave_out_what_cannot_be_read(planted: Planted) -> None:
    data = instantiate(compose_config("data=image_folder", f"data.root={planted.directory}").data)
    data.setup("fit")
    unread = {index for index, path in enumerate(data.files.paths) if "text" in path or "truncated" in path}
    means, stds = statistics(data, unread)
    files = data.files
    readable = [index for index in data.train_indices.tolist() if index not in unread]
    pixels = np.stack([files.read(str(Path(files.directory, files.paths[index]))).numpy() for index in readable]) / 255
    assert len(readable) < speed.SAMPLE
    assert means == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-9)
    assert stds == pytest.approx(pixels.std((0, 2, 3)), rel=1e-6)


def test_set_of_which_nothing_can_be_read_has_no_statistics(planted: Planted) -> None:
    data = instantiate(compose_config("data=image_folder", f"data.root={planted.directory}").data)
    data.setup("fit")
    with pytest.raises(ValueError, match="can be read"):
        statistics(data, set(range(len(data.labels))))


@pytest.mark.parametrize("accelerator_precision", ["32-true", "bf16-mixed"])
def test_both_sides_are_measured(accelerator_precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 0.1)
    config = compose_config("data=digits", *SHORT)
    data = instantiate(config.data)
    classifier = build_classifier(config, data)
    data.setup("fit")
    found = measure(data, classifier, "cpu", accelerator_precision)
    assert found.loader > 0
    assert found.network > 0


def test_slower_side_is_named_with_what_to_set(planted: Planted) -> None:
    words = "data=image_folder", f"data.root={planted.directory}"
    data = instantiate(compose_config(*words, "data.cache=none").data)
    data.setup("fit")
    (starving,) = compare(Speed(100, 1000, "cpu", "32-true"), data)
    assert starving.severity == "warning"
    assert "the loader limits" in starving.sentence
    assert "data.num_workers" in starving.advice
    (busy,) = compare(Speed(1000, 100, "cpu", "32-true"), data)
    assert (busy.severity, busy.advice) == ("note", "")
    assert "the network limits" in busy.sentence
    cached = instantiate(compose_config(*words).data)
    cached.setup("fit")
    (once,) = compare(Speed(100, 1000, "cpu", "32-true"), cached)
    assert once.severity == "note"
    assert "with data.cache=auto later ones decode nothing" in once.sentence
    (kept,) = compare(Speed(100, 1000, "cpu", "32-true"), data, keeps_features=True)
    assert kept.severity == "note"
    assert "reads the features that are kept" in kept.sentence
