"""Config > **data**: a data set of one's own: samples in tar files, in WebDataset's layout; see `shard_index.py`.

A sample is read alone, at its place in its shard. So shards are a source of files like any other: splits, folds, ranks,
workers and resume know nothing of them, and an epoch's order is one permutation of all samples, not of a buffer's.
Reads of single images at random places take a solid-state disk 1.5 times as long as reading shards from end to end, a
small part of what decoding takes; a disk with a moving head or a far file system wants more workers than cores.
"""

import functools
import json
import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from leyden.data.border import Border
from leyden.data.image_file import read_image
from leyden.data.shard_index import ShardIndex, open_index
from leyden.data.sources import TEST, TRAINING, VALIDATION, Files, Task, check_facts

SUFFIX = ".tar"
SEPARATOR = f"{SUFFIX}: "  # of a shard and an image's name
MOST_OPEN_SHARDS = 128  # of a worker
INDEX_DIRECTORY = ".leyden"


class Shards:
    """Samples of an image and a label in the tar files below `directory` that patterns choose, as WebDataset has them.

    `key.jpg` (or another image) goes with `key.cls`, a class's number or name, or with `key.json`, which has that in
    its `label_field`. Without shards for `validation` or `test`, these are taken from the training shards. Classes are
    `class_names`, or the lines of classes.txt, or the "class_names" of dataset.json, or else what the labels of the
    training shards are: names, sorted, or numbers from 0 to the largest.

    Each image is decoded when it is needed, as `ImageFolder` does. The index of the samples is kept in
    `index_directory`, or else beside the shards. A key may come again in another shard.
    """

    task: Task = "single_label"

    def __init__(
        self,
        directory: str,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        channels: int = 3,
        train: str = "train-*.tar",
        validation: str = "val-*.tar",
        test: str = "test-*.tar",
        label_field: str = "label",
        class_names: Sequence[str | int] | None = None,
        index_directory: str | None = None,
    ) -> None:
        check_facts(image_size, channels, mean, std)
        self.directory, self.name = Path(directory), Path(directory).resolve().name
        self.channels, self.image_size, self.mean, self.std = channels, image_size, tuple(mean), tuple(std)
        self.parts = find_shards(self.directory, {"train": train, "validation": validation, "test": test})
        self.label_field = label_field
        self.index_directory = Path(index_directory) if index_directory else self.directory / INDEX_DIRECTORY
        self.index: ShardIndex | None = None
        told = read_class_names(self.directory) if class_names is None else [str(name) for name in class_names]
        self.class_names = tuple(self._found_class_names() if told is None else told)
        if "" in self.class_names:
            raise ValueError(f"{directory}: class {self.class_names.index('')} has no name: give each class one")
        if len(self.class_names) < 2:
            raise ValueError(f"{directory} holds samples of {len(self.class_names)} class: expected 2 or more")
        if len(set(self.class_names)) < len(self.class_names):
            twice = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise ValueError(f"{directory}: there are two classes '{twice}': expected names that differ")

    def load(self, root: Path) -> Files:
        """Opens the index, or builds it; `root` is not used.

        Raises:
            ValueError: a shard is damaged, a sample lacks image or label, or its label is none of the classes.
        """
        index = self._open_index()
        labels = self._class_numbers(index)[torch.from_numpy(index.samples["label"].astype(np.int64))]
        parts = None
        if len(set(self.parts.values())) > 1:
            of_shard = torch.tensor([self.parts[shard] for shard in index.shards])
            parts = of_shard[torch.from_numpy(index.samples["shard"].astype(np.int64))]
        reader = ShardReader(index.state)
        read = functools.partial(reader, image_size=self.image_size, channels=self.channels)
        paths = SamplePaths(index)
        return Files(self.directory, paths, labels, read, parts, digest=index.digest, open_file=reader.open_file)

    def _class_numbers(self, index: ShardIndex) -> Tensor:
        """The class of each text that is a label, int64."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        if not all(label in numbers for label in index.labels) and all(map(str.isdecimal, index.labels)):
            numbers = {label: int(label) for label in index.labels if int(label) < len(self.class_names)}
        for code, label in enumerate(index.labels):
            if label not in numbers:
                sample = int((index.samples["label"] == code).argmax())
                shard = self.directory / index.shards[index.samples["shard"][sample]]
                names = ", ".join(self.class_names[:5]) + (", …" if len(self.class_names) > 5 else "")
                raise ValueError(
                    f"{shard}: {index.name(sample)} has the label '{label}', expected one of {names}, or in all "
                    f"samples numbers from 0 to {len(self.class_names) - 1}: mend it, or give data.source.class_names"
                )
        return torch.tensor([numbers[label] for label in index.labels])

    def _open_index(self) -> ShardIndex:
        if self.index is None:
            self.index = open_index(self.directory, [*self.parts], self.label_field, self.index_directory)
        return self.index

    def _found_class_names(self) -> list[str]:
        index = self._open_index()
        in_training = np.array([self.parts[shard] == TRAINING for shard in index.shards])
        codes = np.unique(index.samples["label"][in_training[index.samples["shard"]]])
        labels = [index.labels[code] for code in codes]
        if not all(label.isdecimal() for label in labels):
            return sorted(labels)
        largest = max(labels, key=int)
        if int(largest) >= len(index):
            raise ValueError(
                f"{self.directory}: there is a label {largest}, with {len(index)} samples: expected numbers of classes "
                "from 0; give another data.source.label_field, or data.source.class_names"
            )
        return [str(number) for number in range(1 + int(largest))]


def find_shards(directory: Path, patterns: dict[str, str]) -> dict[str, int]:
    """The shards below `directory`, sorted, and the part that each belongs to.

    Raises:
        ValueError: there is no such directory, no shard to train with, or one that two patterns choose.
    """
    if not directory.is_dir():
        raise ValueError(f"data.root={directory} is no directory: expected one that holds tar files")
    found: dict[str, int] = {}
    border = Border(directory)
    for part, (key, pattern) in zip((TRAINING, VALIDATION, TEST), patterns.items(), strict=True):
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError(f"data.source.{key}={pattern} leaves data.root: give a pattern below it")
        names = sorted(path.relative_to(directory).as_posix() for path in directory.glob(pattern))
        if not names and part == TRAINING:
            there = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
            raise ValueError(
                f"data.source.train={pattern} chooses no shard in {directory}, which holds "
                f"{', '.join(there[:5]) or 'nothing'}{', …' if len(there) > 5 else ''}: give the pattern of its shards"
            )
        for name in names:
            border.follow(os.path.join(directory, name))
            if name in found:
                raise ValueError(
                    f"{directory / name} is chosen by two of data.source.{', '.join(patterns)}: by one only"
                )
            if not name.endswith(SUFFIX) or SEPARATOR in str(directory / name):
                raise ValueError(
                    f"data.source.{key}={pattern} chooses {directory / name}: expected uncompressed tar files whose "
                    f"names end in {SUFFIX}"
                )
            found[name] = part
    return dict(sorted(found.items()))


def read_class_names(directory: Path) -> list[str] | None:
    """The lines of classes.txt, or the names in dataset.json; None where neither is there.

    Raises:
        ValueError: classes.txt is no text in UTF-8, or dataset.json holds no list of names.
    """
    if (path := directory / "classes.txt").is_file():
        try:
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} cannot be read ({error}): expected a name on each line, in UTF-8") from error
    if (path := directory / "dataset.json").is_file():
        try:
            names = json.loads(path.read_text(encoding="utf-8")).get("class_names")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} cannot be read ({error}): expected an object with class_names") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path} has no list of texts as class_names: add it, or give data.source.class_names")
        return names
    return None


class SamplePaths(Sequence[str]):
    """What each sample is called: its shard, its image's name there and, for the reader, its place.

    Made when one is asked for: ten million texts would take a gigabyte.
    """

    def __init__(self, index: ShardIndex) -> None:
        self.shard_index = index

    def __len__(self) -> int:
        return len(self.shard_index)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        sample = self.shard_index.samples[number]
        shard, name = self.shard_index.shards[sample["shard"]], self.shard_index.name(number)
        return f"{shard}: {name} [{sample['size']} bytes at {sample['offset']}]"

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class OpenShards:
    """Reads at places of shards, which it keeps open; each process its own."""

    def __init__(self) -> None:
        self.descriptors: dict[str, int] = {}  # the latest used last

    def __repr__(self) -> str:
        return "OpenShards()"  # the same whatever is open: a cache of decoded images is known by how they were read

    def read(self, shard: str, size: int, offset: int) -> bytes:
        descriptor = self.descriptors.pop(shard, None)
        if descriptor is None:
            descriptor = os.open(shard, os.O_RDONLY)
            if len(self.descriptors) >= MOST_OPEN_SHARDS:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
        self.descriptors[shard] = descriptor
        return os.pread(descriptor, size, offset)

    def __getstate__(self) -> dict[str, Any]:
        return {"descriptors": {}}

    def __del__(self) -> None:
        for descriptor in self.descriptors.values():
            os.close(descriptor)


class ShardReader:
    """Decodes the image that a path of `SamplePaths` names; `state` is another when a shard is."""

    def __init__(self, state: str) -> None:
        self.state, self.shards = state, OpenShards()

    def __call__(self, path: str, image_size: int, channels: int) -> Tensor:
        return read_image(self.open_file(path), image_size, channels)

    def open_file(self, path: str) -> BytesIO:
        """The file of an image.

        Raises:
            ValueError: its shard ends before it does.
        """
        shard = path[: path.index(SEPARATOR) + len(SUFFIX)]
        size, offset = (int(number) for number in path[path.rindex("[") + 1 : -1].split(" bytes at "))
        contents = self.shards.read(shard, size, offset)
        if len(contents) < size:
            raise ValueError("its shard ends before: it was changed after the start")
        return BytesIO(contents)
