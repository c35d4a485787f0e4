"""Shards: the samples that WebDataset reads, in any process and from any moment on; wrong ones are named."""

import json
import logging
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from webdataset.tariterators import group_by_keys, tar_file_expander

from leyden import command_line
from leyden.data import DecodingLoader, Digits, Files, ImageDataModule, Shards
from leyden.data.sources import TEST, TRAINING, VALIDATION
from running import FinishedRun

WriteShards = Callable[..., Path]
SHAPE = (1, 8, 8)


def source(directory: Path | str, **settings: Any) -> Shards:
    facts = {"image_size": 8, "channels": 1, "mean": [0.3], "std": [0.4]}
    return Shards(**{"directory": str(directory)} | facts | settings)


def path_of(files: Files, number: int) -> str:
    return os.path.join(files.directory, files.paths[number])


def test_samples_are_those_that_webdataset_reads(write_shards: WriteShards) -> None:
    directory = write_shards(kind="json", label=lambda label: {"label": label, "other": [1]})
    files = source(directory).load(Path("unused"))
    theirs = []
    for shard in sorted(directory.glob("*.tar")):
        with shard.open("rb") as stream:  # which WebDataset's own opener would leave open
            theirs += group_by_keys(tar_file_expander([{"url": str(shard), "stream": stream}]))
    assert len(theirs) == len(files.paths) == 300
    for number, sample in enumerate(theirs):
        path = path_of(files, number)
        assert files.open_file(path).read() == sample["png"]
        assert path.startswith(f"{sample['__url__']}: {sample['__key__']}.png [")
        assert int(files.labels[number]) == json.loads(sample["json"])["label"]


def test_images_are_those_of_the_package(write_shards: WriteShards) -> None:
    files = source(write_shards(end=100)).load(Path("unused"))
    images, labels = Digits().load(Path("unused"))[:2]
    assert torch.equal(torch.stack([files.read(path_of(files, number)) for number in range(100)]), images[:100])
    assert torch.equal(files.labels, labels[:100])
    assert files.labels.dtype == torch.int64


def test_patterns_choose_the_parts(write_shards: WriteShards) -> None:
    for part, begin, end in [("train", 0, 150), ("val", 150, 200), ("test", 200, 300)]:
        directory = write_shards(part, begin, end)
    files = source(directory).load(Path("unused"))
    assert files.parts is not None
    for part, number in {"train": TRAINING, "val": VALIDATION, "test": TEST}.items():
        chosen = [path for path, its_part in zip(files.paths, files.parts.tolist(), strict=True) if its_part == number]
        assert chosen == [path for path in files.paths if path.startswith(part)]
    assert source(directory, validation="none-*.tar", test="none-*.tar").load(Path("unused")).parts is None
    other = source(directory, train="[vt]*-01?0.tar", validation="x", test="train-0000.tar")
    assert {path.split(":")[0] for path in other.load(Path("unused")).paths} == {
        "train-0140.tar", "val-0150.tar", "train-0000.tar",
    }  # fmt: skip


def test_shards_may_lie_in_directories_with_any_name(write_shards: WriteShards, tmp_path: Path) -> None:
    write_shards(end=20, name="shards")
    place = tmp_path / "a b: c\n [1 bytes at 2]" / "train"
    place.parent.mkdir()
    (tmp_path / "shards").rename(place)
    files = source(place.parent, train="train/*.tar").load(Path("unused"))
    assert torch.equal(files.read(path_of(files, 7)), Digits().load(Path("unused")).images[7])


NAMES = ["nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize("told", ["argument", "classes.txt", "dataset.json"])
@pytest.mark.parametrize("label", [str, NAMES.__getitem__], ids=["numbers", "names"])
def test_class_names_come_from_each_place(told: str, label: Callable[[int], str], write_shards: WriteShards) -> None:
    directory = write_shards(label=label)
    if told == "classes.txt":
        (directory / told).write_text("\n".join(NAMES) + "\n")
    elif told == "dataset.json":
        (directory / told).write_text(f'{{"class_names": {NAMES}}}'.replace("'", '"'))
    shards = source(directory, class_names=NAMES if told == "argument" else None)
    assert shards.class_names == tuple(NAMES)
    assert torch.equal(shards.load(Path("unused")).labels, Digits().load(Path("unused")).labels[:300])


def test_classes_are_what_training_labels_are_where_nobody_tells(write_shards: WriteShards) -> None:
    numbers = source(write_shards(label=lambda label: str(min(label, 4) + (label > 3))))
    assert numbers.class_names == ("0", "1", "2", "3", "4", "5")  # 4 has no sample
    names = source(write_shards(name="named", label=NAMES.__getitem__))
    assert names.class_names == tuple(sorted(NAMES))
    labels = names.load(Path("unused")).labels
    assert [names.class_names[label] for label in labels.tolist()] == [
        NAMES[label] for label in Digits().load(Path("unused")).labels[:300].tolist()
    ]


def test_numbers_that_count_no_classes_are_refused(write_shards: WriteShards) -> None:
    with pytest.raises(ValueError, match=r"there is a label 9000000000, with 300 samples: expected numbers of classes"):
        source(write_shards(label=lambda label: str(label * 10**9)))


def test_label_that_is_no_class_is_named_with_its_sample(write_shards: WriteShards) -> None:
    directory = write_shards()
    with pytest.raises(ValueError, match=r"train-0000.tar: 0009.png has the label '9', expected one of a, b"):
        source(directory, class_names=list("abcdefghi")).load(Path("unused"))
    write_shards("test", 300, 310, label=lambda label: str(label + 5))
    with pytest.raises(
        ValueError, match=r"test-0300.tar: \d+.png has the label '1\d', expected one of 0, 1, 2, 3, 4, …"
    ):
        source(directory).load(Path("unused"))
    mixed = write_shards(name="mixed", label=lambda label: str(label) if label else "cat")
    with pytest.raises(ValueError, match=r"mixed/train-0000.tar: 0001.png has the label '1', expected one of cat, dog"):
        source(mixed, class_names=["cat", "dog"]).load(Path("unused"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"directory": "absent"}, "data.root=absent is no directory"),
        (
            {"train": "*.zip"},
            r"data.source.train=\*.zip chooses no shard in .*, which holds classes.txt, train-0000.tar, ",
        ),
        ({"train": "../*.tar"}, r"data.source.train=../\*.tar leaves data.root"),
        ({"test": "/*.tar"}, r"data.source.test=/\*.tar leaves data.root"),
        ({"validation": "train-0070.tar"}, "train-0070.tar is chosen by two of data.source.train, validation, test"),
        ({"test": "*.txt"}, "classes.txt: expected uncompressed tar files whose names end in .tar"),
        ({"class_names": ["a"]}, "holds samples of 1 class"),
        ({"class_names": []}, "holds samples of 0 class"),
        ({"class_names": ["a", "b", "a"]}, "two classes 'a'"),
        ({"image_size": 0}, "data.source.image_size=0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], expected: str, write_shards: WriteShards) -> None:
    directory = write_shards(end=140)
    (directory / "classes.txt").write_text("\n".join(NAMES))
    with pytest.raises(ValueError, match=expected):
        source(**{"directory": directory} | settings)


@pytest.mark.parametrize("text", ["[1]", "{", '{"class_names": [1]}', "{}"])
def test_file_of_class_names_that_holds_none_is_named(text: str, write_shards: WriteShards) -> None:
    directory = write_shards(end=20)
    (directory / "dataset.json").write_text(text)
    with pytest.raises(ValueError, match=r"dataset.json (cannot be read|has no list)"):
        source(directory)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [(b"cat\ndog\n\n", "class 2 has no name"), (b"caf\xe9\ndog\n", r"classes\.txt cannot be read .*in UTF-8")],
)
def test_names_that_are_none_are_told(contents: bytes, expected: str, write_shards: WriteShards) -> None:
    directory = write_shards(end=20)
    (directory / "classes.txt").write_bytes(contents)
    with pytest.raises(ValueError, match=expected):
        source(directory)


def test_spaces_around_names_and_numbers_as_names_do_no_harm(write_shards: WriteShards) -> None:
    directory = write_shards(label=NAMES.__getitem__)
    (directory / "classes.txt").write_text("".join(f"{name} \n" for name in NAMES))
    assert torch.equal(source(directory).load(Path("unused")).labels, Digits().load(Path("unused")).labels[:300])
    numbers = source(write_shards(name="numbers"), class_names=list(range(10)))
    assert numbers.class_names == tuple("0123456789")


def loader(files: Files, batch_size: int = 10, seed: int | None = None, **settings: Any) -> DecodingLoader:
    return DecodingLoader(files, SHAPE, torch.arange(len(files.paths)), batch_size, seed, **settings)


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_sample_comes_once_over_all_ranks_and_in_another_order_in_each_epoch(
    num_workers: int, seed: int | None, write_shards: WriteShards
) -> None:
    files = source(write_shards()).load(Path("unused"))
    images = Digits().load(Path("unused")).images
    orders = []
    for epoch in (0, 1):
        seen: list[int] = []
        for rank in range(3):
            share = loader(files, seed=seed, rank=rank, world_size=3, num_workers=num_workers)
            share.sampler.set_epoch(epoch)
            for batch in share:
                assert torch.equal(batch.images, images[batch.indices])
                seen += batch.indices.tolist()
        assert sorted(seen) == list(range(300))
        orders.append(seen)
    assert (orders[0] == orders[1]) == (seed is None)


def test_resumed_in_the_middle_of_a_shard_nothing_done_is_read_again(write_shards: WriteShards) -> None:
    files = source(write_shards()).load(Path("unused"))
    reads: list[str] = []

    def read(path: str) -> torch.Tensor:
        reads.append(path)
        return files.read(path)

    for seed in (None, 0):
        expected = [batch.indices for batch in loader(files, seed=seed)][12:]
        resumed = loader(files._replace(read=read), seed=seed)
        resumed.load_state_dict({"epoch": 0, "next_batch": 12})
        assert all(torch.equal(batch.indices, indices) for batch, indices in zip(resumed, expected, strict=True))
        assert reads == [path_of(files, index) for index in torch.cat(expected).tolist()]
        reads.clear()


def spoil(files: Files, number: int) -> str:
    """Overwrites what begins a sample's image in its shard; returns what the sample is called."""
    path = path_of(files, number)
    with open(path[: path.index(": ")], "r+b") as shard:
        shard.seek(int(path.split(" at ")[1][:-1]))
        shard.write(b"no image at all")
    return path


def test_image_that_cannot_be_read_is_named_by_shard_and_file_or_left_out(
    write_shards: WriteShards, caplog: pytest.LogCaptureFixture
) -> None:
    files = source(write_shards()).load(Path("unused"))
    path = spoil(files, 123)
    with pytest.raises(
        ValueError, match=r"train-0070.tar: 0123.png \[\d+ bytes at \d+\] cannot be read \(it is no image"
    ):
        list(loader(files, num_workers=2))
    skipped: dict[str, str] = {}
    with caplog.at_level(logging.WARNING):
        seen = torch.cat([batch.indices for batch in loader(files, skipped=skipped)])
    assert seen.tolist() == [number for number in range(300) if number != 123]
    assert skipped == {path: "it is no image of a known format"}


def test_shard_that_was_cut_or_vanished_since_is_told_of_its_images_alone(write_shards: WriteShards) -> None:
    directory = write_shards()
    files = source(directory).load(Path("unused"))
    with (directory / "train-0140.tar").open("r+b") as shard:
        shard.truncate(60_000)
    (directory / "train-0280.tar").unlink()
    skipped: dict[str, str] = {}
    list(loader(files, skipped=skipped))
    reasons = {path.split("/")[-1].split(":")[0]: reason for path, reason in skipped.items()}
    assert reasons == {
        "train-0140.tar": "its shard ends before: it was changed after the start",
        "train-0280.tar": "No such file or directory",
    }
    assert sum("train-0280" in path for path in skipped) == 20


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_reader_keeps_few_shards_open_and_none_when_it_goes(
    write_shards: WriteShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.data.shards.MOST_OPEN_SHARDS", 3)
    files = source(write_shards(size=20)).load(Path("unused"))
    before = open_files()
    for number in [0, 299, *range(0, 300, 10), 5]:
        files.read(path_of(files, number))
    assert open_files() == before + 3
    copy = pickle.loads(pickle.dumps(files.read))  # as for a worker that is not forked
    assert torch.equal(copy(path_of(files, 8)), files.read(path_of(files, 8)))
    del copy
    files = files._replace(read=str, open_file=open)
    assert open_files() == before


def test_fingerprint_is_of_samples_and_their_labels_not_of_place_or_time(write_shards: WriteShards) -> None:
    def fingerprint(directory: Path, **settings: Any) -> str:
        data = ImageDataModule(source(directory, **settings), batch_size=10, seed=0)
        data.setup("fit")
        return str(data.facts()["fingerprint"])

    first, copy = write_shards(), write_shards(name="copy")
    assert fingerprint(first) == fingerprint(copy)
    found = {fingerprint(first), fingerprint(first, class_names=NAMES)}
    found.add(fingerprint(write_shards(name="fewer", end=299)))
    found.add(fingerprint(write_shards(name="other labels", label=lambda label: str(9 - label))))
    found.add(fingerprint(write_shards(name="other shards", size=80)))
    assert len(found) == 5


def overrides(directory: Path) -> list[str]:
    return [
        "data=shards", f"data.root={directory}", "data.source.image_size=8", "data.source.channels=1",
        "data.source.mean=[0.3]", "data.source.std=[0.4]", "augment=flip_crop",
    ]  # fmt: skip


def test_run_killed_within_shards_goes_on_to_the_same_bits(
    train_run: Callable[..., FinishedRun], interrupted: Callable[..., FinishedRun], write_shards: WriteShards
) -> None:
    settings = [*overrides(write_shards()), "batch_size=16", "callbacks.checkpoints.every_n_steps=3"]
    whole = train_run(*settings)
    run = interrupted(*settings, hook="on_train_batch_end", count=19, kill=True)
    assert command_line.resume([str(run.directory)]) == 0
    for name, weights in whole.checkpoint()["state_dict"].items():
        assert torch.equal(weights, run.checkpoint()["state_dict"][name]), name
    assert whole.metrics == run.metrics


def test_shards_give_the_weights_that_their_images_in_memory_give(
    train_run: Callable[..., FinishedRun], write_shards: WriteShards
) -> None:
    directory = write_shards(end=1797, size=200)
    mean, std = list(Digits.mean), list(Digits.std)
    settings = [*overrides(directory), "data.margin=1", f"data.source.mean={mean}", f"data.source.std={std}"]
    shards = train_run(*settings, "data.validation_fraction=0.15")
    memory = train_run("data=digits", "augment=flip_crop")
    for name, weights in memory.checkpoint()["state_dict"].items():
        assert torch.equal(weights, shards.checkpoint()["state_dict"][name]), name


def test_tar_of_the_usual_command_is_read(write_digits: Callable[..., Path], tmp_path: Path) -> None:
    directory = write_digits(end=20)
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "train-0.tar", "w") as tar:
        for path in sorted(directory.rglob("*.png")):
            path.with_suffix(".cls").write_text(path.parent.name)
        tar.add(directory, arcname=".")
    files = source(tmp_path / "shards").load(Path("unused"))
    numbers = [int(path.split("/")[-1].split(".")[0]) for path in files.paths]
    assert sorted(numbers) == list(range(20))
    assert torch.equal(files.labels, Digits().load(Path("unused")).labels[numbers])
