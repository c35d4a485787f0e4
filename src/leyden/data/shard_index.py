"""Source > **index of shards** > pixels: where each sample of tar files lies, found once and kept beside them.

An index is a directory of three files, 32 bytes and a name per sample, that are mapped into memory, not read: all
processes share one copy, and ten million samples cost a process no memory of its own.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from leyden.image_formats import SUFFIXES

log = logging.getLogger(__name__)

VERSION = 1
# Where an image begins in its shard, its bytes, where its name ends in the file of names, its shard, its label's text.
SAMPLE = np.dtype([("offset", "<i8"), ("size", "<i8"), ("name_end", "<i8"), ("shard", "<i4"), ("label", "<i4")])
# A key ends at the first dot, as WebDataset has it.
KEY_AND_SUFFIX = re.compile(r"((?:.*/)?[^./]+)(\.[^/]*)", re.DOTALL)
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
END_OF_ARCHIVE = 512  # bytes of zeros at least
SECONDS_BETWEEN_WORDS = 20.0
MOST_OF_THE_END = 2**20  # bytes behind the last sample that are looked at


class Sample(NamedTuple):
    """An image in a shard: its name, its place and the text of its label."""

    name: str
    offset: int
    size: int
    label: str


class ShardIndex:
    """The samples of `shards`, in their order; `labels` are the texts that samples have as labels.

    `digest` covers names, sizes, places and labels, but not pixels; `state` is another when a shard was written again.
    """

    def __init__(self, directory: Path) -> None:
        try:
            facts = json.loads((directory / "index.json").read_text(encoding="utf-8"))
            self._open(directory, facts)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(f"{directory} is damaged ({error}): delete it, and it is built again") from error

    def _open(self, directory: Path, facts: dict[str, Any]) -> None:
        self.shards: list[str] = facts["shards"]
        self.labels: list[str] = facts["labels"]
        self.digest: str = facts["digest"]
        self.state = directory.name
        self.samples = np.memmap(directory / "samples.bin", dtype=SAMPLE, mode="r")
        self.names = np.memmap(directory / "names.bin", dtype=np.uint8, mode="r")
        if len(self.samples) != facts["num_samples"] or self.samples["name_end"][-1] != len(self.names):
            raise ValueError("its parts do not fit together")

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, number: int) -> str:
        """The name that a sample's image has in its shard."""
        begin = self.samples["name_end"][number - 1] if number else 0
        return os.fsdecode(self.names[begin : self.samples["name_end"][number]].tobytes())


def open_index(directory: Path, shards: Sequence[str], label_field: str, index_directory: Path) -> ShardIndex:
    """The index of `shards` below `directory`, built where there is none for files of these sizes and times of change.

    It appears in one step when it is whole, whatever kills its builder; of several processes one builds.

    Raises:
        ValueError: a shard is no whole tar file of samples, or the index cannot be written.
    """
    states = [(name, (directory / name).stat()) for name in shards]
    known_by = (VERSION, label_field, [(name, state.st_size, state.st_mtime_ns) for name, state in states])
    place = index_directory / hashlib.sha256(repr(known_by).encode()).hexdigest()[:16]
    if not place.is_dir():
        try:
            index_directory.mkdir(parents=True, exist_ok=True)
            with (index_directory / ".lock").open("a") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX)  # waits for another builder; freed with its process
                if not place.is_dir():
                    log.info("%s: finding the samples of %s shards, once", directory, len(shards))
                    _build(directory, shards, label_field, place)
        except OSError as error:
            raise ValueError(
                f"the index of the shards cannot be built ({error}): give a directory that can be written with "
                "data.source.index_directory"
            ) from error
    return ShardIndex(place)


def _build(directory: Path, shards: Sequence[str], label_field: str, place: Path) -> None:
    """Writes an index beside its place and moves it there; the memory it takes is that of one shard's samples."""
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a builder that was killed
    partial.mkdir()
    labels: dict[str, int] = {}
    num_samples, name_end, digest, told = 0, 0, hashlib.sha256(), time.monotonic()
    with (partial / "samples.bin").open("wb") as samples_file, (partial / "names.bin").open("wb") as names_file:
        for shard, name in enumerate(shards):
            try:
                found = scan(directory / name, label_field)
            except OSError as error:  # not for the index's place
                raise ValueError(
                    f"{directory / name} cannot be read ({error.strerror or error}): mend it, or give patterns that "
                    "leave it out"
                ) from error
            names = [os.fsencode(sample.name) for sample in found]
            samples = np.empty(len(found), dtype=SAMPLE)
            samples["offset"] = [sample.offset for sample in found]
            samples["size"] = [sample.size for sample in found]
            samples["name_end"] = name_end + np.cumsum([len(name) for name in names])
            samples["shard"] = shard
            samples["label"] = [labels.setdefault(sample.label, len(labels)) for sample in found]
            num_samples, name_end = num_samples + len(found), int(samples["name_end"][-1])
            for file, data in ((samples_file, samples.tobytes()), (names_file, b"".join(names))):
                digest.update(data)
                file.write(data)
            if time.monotonic() - told > SECONDS_BETWEEN_WORDS:
                told = time.monotonic()
                log.info("%s of %s shards are done, %s samples", shard + 1, len(shards), num_samples)
        digest.update(repr((tuple(shards), tuple(labels))).encode())
        for file in (samples_file, names_file):
            file.flush()
            os.fsync(file.fileno())
    facts = {
        "shards": list(shards),
        "labels": list(labels),
        "num_samples": num_samples,
        "digest": digest.hexdigest(),
    }
    with (partial / "index.json").open("w", encoding="utf-8") as facts_file:
        json.dump(facts, facts_file)
        facts_file.flush()
        os.fsync(facts_file.fileno())
    partial.rename(place)


def scan(path: Path, label_field: str) -> list[Sample]:
    """The samples of a shard, in the order of their images in it.

    Members belong together whose names are alike up to the first dot, wherever they stand in the shard. The label is
    the text in .cls, or else what .json has in `label_field`.

    Raises:
        ValueError: it is no whole, uncompressed tar file, a name is there twice, or a sample lacks image or label.
    """
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, dict[str, tarfile.TarInfo]] = {}
    with path.open("rb") as file:
        for member in read_members(path, file):
            match = KEY_AND_SUFFIX.fullmatch(member.name)
            if match is None:
                continue  # a hidden file, or one without a suffix
            key, suffix = match[1], match[2].lower()
            kind = images if suffix in SUFFIXES else labels.setdefault(key, {})
            name = key if suffix in SUFFIXES else suffix
            if name in kind:
                raise ValueError(
                    f"{path}: sample {key} has both {kind[name].name} and {member.name}, expected each key once: "
                    "leave one of them out"
                )
            kind[name] = member
        if alone := next((key for key in labels if key not in images), None):
            raise ValueError(
                f"{path}: sample {alone} has no image ({', '.join(sorted(SUFFIXES))}): put one there, or leave the "
                "sample out"
            )
        if not images:
            raise ValueError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))}): delete it, or put some there")
        return [
            Sample(image.name, image.offset_data, image.size, _label(path, file, key, labels.get(key, {}), label_field))
            for key, image in images.items()
        ]


def _label(path: Path, file: BinaryIO, key: str, members: dict[str, tarfile.TarInfo], field: str) -> str:
    """The text of a sample's label."""
    expected = f"expected a class's number or name in {key}.cls, or in '{field}' of {key}.json"
    member = members.get(".cls") or members.get(".json")
    if member is None:
        raise ValueError(f"{path}: sample {key} has no label: {expected}")
    contents = os.pread(file.fileno(), member.size, member.offset_data)
    try:
        label = contents.decode().strip() if ".cls" in members else json.loads(contents)[field]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: {member.name} holds no label ({error}): {expected}") from error
    if not isinstance(label, str | int) or isinstance(label, bool) or label == "":
        raise ValueError(f"{path}: {member.name} holds the label {label!r}: {expected}")
    return str(label)


def read_members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The files in a shard; Python's `tarfile` stops at a damaged header as if the archive ended there, this does not.

    Raises:
        ValueError: the shard is compressed, cut short or damaged, or holds something that is not a plain file.
    """
    start = os.pread(file.fileno(), 8, 0)
    for magic, compression in COMPRESSIONS.items():
        if start.startswith(magic):
            raise ValueError(f"{path} is compressed ({compression}), where no sample can be found alone: unpack it")
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - closed below
    except tarfile.TarError as error:
        raise ValueError(f"{path} is no tar file ({error}): delete it, or write it again") from error
    with tar:
        member: tarfile.TarInfo | None = None
        while (member := _next(path, tar, member)) is not None:
            if member.issym() or member.islnk() or member.issparse():
                kind = "sparse" if member.issparse() else "a link"
                raise ValueError(
                    f"{path}: {member.name} is {kind}, expected plain files: write the shard with "
                    "`tar --dereference --hard-dereference` and without --sparse"
                )
            if member.isreg():
                yield member
        _check_end(path, os.pread(file.fileno(), MOST_OF_THE_END, tar.offset), tar.offset)


def _next(path: Path, tar: tarfile.TarFile, last: tarfile.TarInfo | None) -> tarfile.TarInfo | None:
    try:
        member = tar.next()
        if member and member.size < 0:  # `tarfile` would go back by it, and round and round
            raise tarfile.ReadError("a file of negative size")
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        place = f"at or behind {last.name}, which begins at byte {last.offset}" if last else "at its begin"
        raise ValueError(f"{path} is cut short or damaged {place} ({error}): write it again") from error
    return member


def _check_end(path: Path, end: bytes, offset: int) -> None:
    if len(end) < END_OF_ARCHIVE:
        raise ValueError(f"{path} is cut short: its end is missing at byte {offset}: write it again")
    if end[:END_OF_ARCHIVE].strip(b"\0"):
        raise ValueError(f"{path} is damaged at byte {offset}, where a file's header is expected: write it again")
    if end.strip(b"\0"):
        raise ValueError(
            f"{path} goes on after its end at byte {offset}: write joined tar files as shards of their own"
        )
