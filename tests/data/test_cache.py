"""Images decoded once: the very batches of the decoding loader, from memory and from a file."""

import logging
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leyden import command_line
from leyden.data import Batch, CachedLoader, DecodingLoader, Files, ImageFolder
from leyden.data.cache import Cached, cache_in_memory
from leyden.data.cache_file import CacheFile
from running import SHORT, FinishedRun, differences

SHAPE = (1, 9, 9)
INDICES = torch.arange(5, 108)  # 103 of the 120
KINDS = ["memory", "disk"]
Train = Callable[..., FinishedRun]


@pytest.fixture
def files(write_digits: Callable[..., Path], tmp_path: Path) -> Files:
    """120 digits in PNG files, enlarged to 9 x 9."""
    return ImageFolder(str(write_digits(end=120)), 9, [0.3], [0.4], channels=1).load(tmp_path)


def cached(files: Files, kind: str, directory: Path, skipped: dict[str, str] | None = None) -> Cached:
    if kind == "memory":
        return cache_in_memory(files, SHAPE, 2, skipped)
    return CacheFile(directory / "cache", files, SHAPE).open_or_build(2, skipped)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))


def spoil(files: Files, *positions: int) -> list[str]:
    """Cuts files in the middle; returns their paths."""
    paths = [files.directory / files.paths[position] for position in positions]
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])
    return [str(path) for path in paths]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [{}, {"rank": 1, "world_size": 3}], ids=["alone", "second of three"])
@pytest.mark.parametrize("seed", [None, 0])
def test_batches_are_those_of_the_decoding_loader(
    files: Files, tmp_path: Path, kind: str, seed: int | None, place: dict[str, int]
) -> None:
    ours = CachedLoader(cached(files, kind, tmp_path), files, INDICES, 10, seed, **place)
    theirs = DecodingLoader(files, SHAPE, INDICES, 10, seed, **place)
    assert len(ours) == len(theirs)
    for epoch in (0, 1):
        for one in (ours, theirs):
            one.sampler.set_epoch(epoch)
        assert all(same(*pair) for pair in zip(ours, theirs, strict=True))


def test_resumed_loader_goes_on_where_it_was(files: Files, tmp_path: Path) -> None:
    images = cached(files, "disk", tmp_path)
    whole, resumed = (CachedLoader(images, files, INDICES, 10, 0) for _ in range(2))
    resumed.load_state_dict({"epoch": 3, "next_batch": 7})
    for one in (whole, resumed):
        one.sampler.set_epoch(3)
    assert all(same(*pair) for pair in zip(list(whole)[7:], resumed, strict=True))
    assert resumed.state_dict() == {"epoch": 3, "next_batch": 10}


def test_file_is_let_go_of_and_still_read(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leyden.data.cache.BYTES_TO_STAY_MAPPED", 1000)
    images, memory = (cached(files, kind, tmp_path) for kind in ("disk", "memory"))
    for _ in range(3):
        for chosen in torch.arange(120).split(17):
            images.read_ahead(chosen)
            assert torch.equal(images.gather(chosen), memory.gather(chosen))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [None, 0])
def test_unreadable_files_are_left_out_as_without_a_cache(
    files: Files, tmp_path: Path, kind: str, seed: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    paths = spoil(files, 5, 50, 51)
    skipped: dict[str, str] = {}
    theirs = DecodingLoader(files, SHAPE, INDICES, 10, seed, skipped={})
    with caplog.at_level(logging.WARNING):
        ours = CachedLoader(cached(files, kind, tmp_path, skipped), files, INDICES, 10, seed)
    assert len(caplog.records) == 3
    assert all(same(*pair) for pair in zip(ours, theirs, strict=True))
    assert sorted(skipped) == sorted(paths)
    assert all("truncated" in reason for reason in skipped.values())


@pytest.mark.parametrize("kind", KINDS)
def test_unreadable_file_is_named_where_none_is_to_be_skipped(files: Files, tmp_path: Path, kind: str) -> None:
    (path,) = spoil(files, 50)
    others = multiprocessing.active_children()  # of loaders of tests before that wait for the garbage collector
    with pytest.raises(ValueError, match="cannot be read") as caught:
        cached(files, kind, tmp_path)
    assert str(caught.value).startswith(path)
    assert "data.on_error=skip" in str(caught.value)
    began = [process for process in multiprocessing.active_children() if process not in others]
    assert not began  # though the error's traceback still holds on to their loader


def test_path_that_is_listed_twice_is_unreadable_twice(files: Files, tmp_path: Path) -> None:
    files = files._replace(paths=[*files.paths, files.paths[7]], labels=torch.cat([files.labels, files.labels[7:8]]))
    spoil(files, 7)
    assert sorted(cached(files, "disk", tmp_path, {}).unreadable) == [7, 120]


def test_training_batch_without_a_readable_file_is_an_error_and_another_is_empty(files: Files, tmp_path: Path) -> None:
    spoil(files, *range(120))
    images = cached(files, "memory", tmp_path, {})
    with pytest.raises(ValueError, match=r"none of the 10 images of a batch can be read, .*png for one"):
        list(CachedLoader(images, files, INDICES, 10, 0))
    assert {len(batch.labels) for batch in CachedLoader(images, files, INDICES, 10)} == {0}


def overrides(directory: Path, cache: str) -> list[str]:
    return [
        "data=image_folder", f"data.root={directory}", "data.source.image_size=8", "data.margin=1.5",
        "data.source.channels=1", "data.source.mean=[0.3]", "data.source.std=[0.4]", "augment=flip_crop",
        f"data.cache={cache}", f"data.cache_directory={directory.parent / 'cache'}",
    ]  # fmt: skip


def test_run_ends_in_the_same_weights_with_and_without_a_cache(
    train_run: Train, write_digits: Callable[..., Path]
) -> None:
    directory = write_digits()
    expected, *others = (train_run(*overrides(directory, kind)) for kind in ("none", "memory", "disk", "disk"))
    for run in others:
        assert run.metrics == expected.metrics
        for name, weights in expected.checkpoint()["state_dict"].items():
            assert torch.equal(weights, run.checkpoint()["state_dict"][name]), name


def test_run_from_a_cache_goes_on_in_the_bits_of_one_without(
    train_run: Train, interrupted: Train, write_digits: Callable[..., Path]
) -> None:
    directory = write_digits()
    whole = train_run(*overrides(directory, "none"))
    stopped = interrupted(*overrides(directory, "disk"), hook="on_train_batch_end", count=4)
    shutil.rmtree(directory.parent / "cache")  # it is built anew
    assert command_line.resume([str(stopped.directory)]) == 0
    assert differences(whole, stopped) == []


def test_two_processes_share_one_cache_and_give_what_they_give_without(
    leyden: Callable[..., subprocess.CompletedProcess[str]], write_digits: Callable[..., Path], tmp_path: Path
) -> None:
    directory = write_digits()
    runs = []
    for kind in ("none", "auto"):
        run = tmp_path / kind
        shared = ["backbone=mlp", "backbone.width=16", "trainer=ddp", "trainer.accelerator=cpu"]
        done = leyden("train", f"hydra.run.dir={run}", *overrides(directory, kind), *shared, "epochs=2", "logger=csv")
        assert done.returncode == 0, done.stderr
        runs.append(FinishedRun(run))
    assert differences(*runs) == []
    assert len(list((tmp_path / "cache").glob("*"))) == 2  # images and what they are


def test_jobs_of_a_study_share_one_cache(
    leyden: Callable[..., subprocess.CompletedProcess[str]], write_digits: Callable[..., Path], tmp_path: Path
) -> None:
    settings = overrides(write_digits(), "auto")
    done = leyden("train", "-m", *settings, "seed=0,1", "jobs=2", "epochs=1", *SHORT, "name=shared")
    assert done.returncode == 0, done.stderr
    logs = [path.read_text() for path in (tmp_path / "runs").rglob("log.txt")]
    assert len(logs) == 2
    assert sum("decoded 300 images into" in log for log in logs) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2  # images and what they are


def test_run_records_what_its_cache_left_out(train_run: Train, write_digits: Callable[..., Path]) -> None:
    directory = write_digits()
    for path in sorted(directory.rglob("*.png"))[100:105]:
        path.write_bytes(path.read_bytes()[:60])
    for _ in range(2):  # built, then found
        run = train_run(*overrides(directory, "disk"), "data.on_error=skip")
        assert len((run.directory / "skipped_images.csv").read_text().splitlines()) == 6
        assert run.record["data"]["num_skipped"] == 5
