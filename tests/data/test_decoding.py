"""Decoding: the batches of the in-memory loader from files, for any number of workers, whatever happens to them."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.data import Batch, DecodingLoader, Digits, Files, ImageFolder, InMemoryLoader, write_skipped
from running import FinishedRun

WriteDigits = Callable[..., Path]
SHAPE = (1, 8, 8)
GREY = {"image_size": 8, "channels": 1, "mean": [0.3], "std": [0.4]}
INDICES = torch.arange(5, 108)  # 103 of the 120


@pytest.fixture
def files(write_digits: WriteDigits, tmp_path: Path) -> Files:
    """120 digits in PNG files, whose indices go by class, then number."""
    return ImageFolder(str(write_digits(end=120)), **GREY).load(tmp_path)


def loader(files: Files, batch_size: int = 10, seed: int | None = None, **settings: Any) -> DecodingLoader:
    return DecodingLoader(files, SHAPE, INDICES, batch_size, seed, **settings)


def in_memory(files: Files, batch_size: int = 10, seed: int | None = None, **settings: Any) -> InMemoryLoader:
    images, _ = Digits().load(Path())[:2]
    numbers = [int(Path(path).stem) for path in files.paths]
    return InMemoryLoader(images[numbers], files.labels, INDICES, batch_size, seed, **settings)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))


def workers() -> set[int]:
    return {process.pid for process in multiprocessing.active_children() if process.pid}


@pytest.fixture
def started(files: Files) -> tuple[Iterator[Batch], list[int]]:
    """A loader with two workers after its first batch, and the workers' process ids."""
    before = workers()
    batches = iter(loader(files, batch_size=4, num_workers=2))
    next(batches)
    return batches, sorted(workers() - before)


KILLED = "process {}, one of 2 that decode images, was killed by SIGKILL.*lower data.num_workers.*leyden resume"


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
def test_batches_are_those_of_the_in_memory_loader(files: Files, num_workers: int, seed: int | None) -> None:
    ours, theirs = loader(files, seed=seed, num_workers=num_workers), in_memory(files, seed=seed)
    assert len(ours) == len(theirs)
    for epoch in (0, 1):
        for one in (ours, theirs):
            one.sampler.set_epoch(epoch)
        assert all(same(*pair) for pair in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_batches_as_in_memory(files: Files, world_size: int) -> None:
    for rank in range(world_size):
        place = {"rank": rank, "world_size": world_size}
        for seed in (None, 0):
            ours, theirs = loader(files, 17, seed, **place), in_memory(files, 17, seed, **place)
            assert all(same(*pair) for pair in zip(ours, theirs, strict=True))


def test_rank_without_an_image_of_a_batch_gets_an_empty_one(files: Files) -> None:
    *_, last = loader(files, 34, rank=0, world_size=2)  # 103 = 3 · 34 + 1
    assert last.images.shape == (0, *SHAPE)


def test_epoch_is_looked_at_with_the_first_batch(files: Files) -> None:
    late, early = loader(files, seed=0, num_workers=2), loader(files, seed=0, num_workers=2)
    batches = iter(late)
    late.sampler.set_epoch(4)
    early.sampler.set_epoch(4)
    assert same(next(batches), next(iter(early)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumed_loader_yields_what_remains_of_the_epoch(files: Files, num_workers: int) -> None:
    whole, resumed = loader(files, seed=0), loader(files, seed=0, num_workers=num_workers)
    resumed.load_state_dict({"epoch": 3, "next_batch": 7})
    for one in (whole, resumed):
        one.sampler.set_epoch(3)
    assert all(same(*pair) for pair in zip(list(whole)[7:], resumed, strict=True))
    resumed.sampler.set_epoch(4)
    assert len(list(resumed)) == len(resumed)


def test_resumed_loader_decodes_nothing_that_was_done(files: Files) -> None:
    decoded: list[str] = []

    def read(path: str) -> torch.Tensor:
        decoded.append(path)
        return files.read(path)

    resumed = loader(files._replace(read=read), seed=0)
    resumed.load_state_dict({"epoch": 0, "next_batch": 8})
    assert len(list(resumed)) == 2
    assert len(decoded) == 20


def test_state_counts_batches_handed_out_not_decoded_ahead(files: Files) -> None:
    training = loader(files, seed=0, num_workers=2)
    batches = iter(training)
    for _ in range(3):
        next(batches)
    assert training.state_dict() == {"epoch": 0, "next_batch": 3}


def test_workers_stay_for_the_next_epoch_even_if_one_is_left_early(files: Files) -> None:
    training = loader(files, seed=0, num_workers=2)
    next(iter(training))
    first = workers()
    training.sampler.set_epoch(1)
    expected = in_memory(files, seed=0)
    expected.sampler.set_epoch(1)
    assert all(same(*pair) for pair in zip(training, expected, strict=True))
    assert workers() == first


def test_loading_leaves_the_generator_of_the_weights_alone(files: Files) -> None:
    state = torch.get_rng_state()
    for num_workers in (0, 2):
        list(loader(files, seed=0, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), state)


def spoil(files: Files, *positions: int) -> list[str]:
    """Cuts files in the middle; returns their paths."""
    paths = [files.directory / files.paths[position] for position in positions]
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])
    return [str(path) for path in paths]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_file_is_named_with_what_to_do(files: Files, num_workers: int) -> None:
    (path,) = spoil(files, 50)
    with pytest.raises(ValueError, match="cannot be read") as caught:
        list(loader(files, num_workers=num_workers))
    message = str(caught.value)
    assert message.startswith(path)
    assert "truncated" in message
    assert "mend or delete it, or leave such images out with data.on_error=skip" in message
    assert "\n" not in message


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:60]), "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "no image of a known format"),
    "no image": (lambda path: path.write_text("<html>not found</html>"), "no image of a known format"),
    "vanished": (Path.unlink, "No such file or directory"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_has_its_reason(files: Files, damage: str) -> None:
    change, reason = DAMAGES[damage]
    change(files.directory / files.paths[50])
    skipped: dict[str, str] = {}
    list(loader(files, skipped=skipped))
    ((path, told),) = skipped.items()
    assert path == str(files.directory / files.paths[50])
    assert reason in told
    assert path not in told


def test_failing_disk_has_its_reason(files: Files) -> None:
    def read(path: str) -> torch.Tensor:
        raise OSError(5, "Input/output error", path)

    with pytest.raises(ValueError, match=r"cannot be read \(Input/output error\)"):
        list(loader(files._replace(read=read)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_skipped_files_are_left_out_and_told_once(
    files: Files, num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    expected = list(in_memory(files))
    paths = spoil(files, 5, 50, 51)
    skipped: dict[str, str] = {}
    skipping = loader(files, num_workers=num_workers, skipped=skipped)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for ours, theirs in zip(skipping, expected, strict=True):
                kept = [index not in (5, 50, 51) for index in theirs.indices.tolist()]
                assert same(ours, Batch(*(tensor[kept] for tensor in theirs)))
    assert sorted(skipped) == sorted(paths)
    assert len(caplog.records) == 3


def test_training_batch_without_a_readable_file_is_an_error_and_another_is_empty(files: Files) -> None:
    spoil(files, *range(len(files.paths)))
    with pytest.raises(ValueError, match=r"none of the \d+ images of a batch can be read"):
        list(loader(files, skipped={}, seed=0))
    assert {len(batch.labels) for batch in loader(files, skipped={})} == {0}


@pytest.mark.parametrize(("number", "pause"), [(0, 0.0), (1, 0.3)])
def test_killed_worker_ends_the_iteration_in_one_sentence(
    started: tuple[Iterator[Batch], list[int]], number: int, pause: float
) -> None:
    batches, pids = started
    time.sleep(pause)  # tasks under way, or decoded but not handed over
    os.kill(pids[number], signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(ValueError, match=KILLED.format(pids[number])):
        list(batches)
    assert time.monotonic() - begin < 20


def test_worker_killed_between_epochs_is_told_too(files: Files) -> None:
    before = workers()
    training = loader(files, seed=0, num_workers=2)
    list(training)
    first = min(workers() - before)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ValueError, match=KILLED.format(first)):
        list(training)


def test_workers_leave_signals_to_the_main_process(started: tuple[Iterator[Batch], list[int]]) -> None:
    batches, pids = started
    for pid in pids:
        for number in (signal.SIGINT, signal.SIGTERM):  # as a scheduler sends them: not by the main process
            subprocess.run(["kill", f"-{int(number)}", str(pid)], check=True)
    time.sleep(0.2)
    assert len(list(batches)) == 25


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


PROGRAM = """
import multiprocessing, os, sys, torch
from pathlib import Path
from leyden.data import DecodingLoader, ImageFolder
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    files = ImageFolder(sys.argv[1], 8, [0.3], [0.4], channels=1).load(Path())
    batches = iter(DecodingLoader(files, (1, 8, 8), torch.arange(120), 4, 0, num_workers=2))
    next(batches)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    {end}
"""
ENDS = {"exit": ("sys.exit(3)", 3), "kill": ("os.kill(os.getpid(), 9)", -9)}


@pytest.mark.whole
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_end_with_the_main_process(end: str, method: str, write_digits: WriteDigits, tmp_path: Path) -> None:
    line, code = ENDS[end]
    (tmp_path / "program.py").write_text(PROGRAM.replace("{end}", line))
    command = [sys.executable, str(tmp_path / "program.py"), str(write_digits(end=120)), method]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == code
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) >= 2
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def test_skipped_files_become_a_table(tmp_path: Path) -> None:
    write_skipped({"b/2.png": 'it is "cut", short', "a/1.png": "empty"}, tmp_path / "skipped.csv")
    assert (tmp_path / "skipped.csv").read_text().splitlines() == [
        "path,reason", "a/1.png,empty", 'b/2.png,"it is ""cut"", short"',
    ]  # fmt: skip


def overrides(directory: Path) -> list[str]:
    return [
        "data=image_folder", f"data.root={directory}", "data.source.image_size=8",
        "data.source.channels=1", "data.source.mean=[0.3]", "data.source.std=[0.4]", "augment=flip_crop",
    ]  # fmt: skip


def test_run_ends_in_the_same_weights_for_any_number_of_workers(
    train_run: Callable[..., FinishedRun], write_digits: WriteDigits
) -> None:
    directory = write_digits()
    none, two = (train_run(*overrides(directory), f"data.num_workers={number}") for number in (0, 2))
    for name, weights in none.checkpoint()["state_dict"].items():
        assert torch.equal(weights, two.checkpoint()["state_dict"][name]), name
    assert none.metrics == two.metrics
    assert two.record["data"]["num_skipped"] == 0


def test_run_records_what_it_left_out(train_run: Callable[..., FinishedRun], write_digits: WriteDigits) -> None:
    directory = write_digits()
    paths = sorted(directory.rglob("*.png"))[100:105]
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])
    run = train_run(*overrides(directory), "data.on_error=skip")
    lines = (run.directory / "skipped_images.csv").read_text().splitlines()
    assert lines[0] == "path,reason"
    assert [line.split(",")[0] for line in lines[1:]] == [str(path) for path in paths]
    assert run.record["data"]["num_skipped"] == 5
