"""The look before a first training: it warns once of what headers and bytes tell."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from doctor.planted import Planted
from leyden.build import instantiate
from leyden.data import ImageDataModule
from leyden.doctor.quick import look, warn_once
from running import FinishedRun, compose_config

WORDS = ("data=image_folder", "data.num_workers=0", "data.on_error=skip")


@pytest.fixture
def data(planted: Planted) -> ImageDataModule:
    made: ImageDataModule = instantiate(compose_config(*WORDS, f"data.root={planted.directory}").data)
    made.setup("fit")
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "leyden" / "doctor"


def test_headers_and_bytes_tell_of_texts_and_of_equal_files(planted: Planted, data: ImageDataModule) -> None:
    assert data.files is not None
    found = {finding.kind: finding for finding in look(data, None)}
    names = {kind: {data.files.paths[i] for group in one.groups for i in group} for kind, one in found.items()}
    assert names["unreadable"] == set(planted.texts)
    assert {name for pair in planted.swapped for name in pair} <= names["equal_conflicting_labels"]


def test_icon_that_is_called_a_photograph_is_told(data: ImageDataModule) -> None:
    assert data.files is not None
    before = {finding.kind: finding for finding in look(data, None)}["unreadable"].groups
    name = data.files.paths[0]
    icon = data.files.directory / name
    whole = icon.read_bytes()
    Image.new("RGB", (32, 32)).save(icon, "ICO")
    found = {finding.kind: finding for finding in look(data, None)}["unreadable"].groups
    icon.write_bytes(whole)  # for the other tests
    assert [0] in [list(group) for group in found]
    assert len(found) == len(before) + 1


def test_same_data_are_warned_of_once_and_others_again(
    data: ImageDataModule, caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    warn_once(data, "one", None)
    assert "cannot be read" in caplog.text
    caplog.clear()
    warn_once(data, "one", None)
    assert not caplog.records
    warn_once(data, "other", None)
    assert caplog.records
    assert {path.name for path in cache.iterdir()} == {"one", "other"}


def test_files_that_training_has_left_out_already_are_not_told_again(planted: Planted, data: ImageDataModule) -> None:
    assert "unreadable" in {finding.kind for finding in look(data, None)}
    data.skipped.update({str(planted.directory / path): "it is no image" for path in planted.texts})
    assert "unreadable" not in {finding.kind for finding in look(data, None)}


def test_images_in_memory_are_passed_over(caplog: pytest.LogCaptureFixture, cache: Path) -> None:
    data = instantiate(compose_config("data=digits").data)
    data.setup("fit")
    caplog.clear()
    warn_once(data, "digits", None)
    assert not caplog.records
    assert not cache.exists()


def test_cache_that_cannot_be_written_stops_no_training(
    data: ImageDataModule, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    warn_once(data, "one", None)
    assert not caplog.records


def test_training_warns_at_its_first_run_alone(
    planted: Planted, train_run: Callable[..., FinishedRun], caplog: pytest.LogCaptureFixture
) -> None:
    words = (*WORDS, f"data.root={planted.directory}", "data.source.image_size=16", "epochs=1")
    told = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            train_run(*words)
        told.append("`leyden doctor` with the same settings" in caplog.text)
    assert told == [True, False]
