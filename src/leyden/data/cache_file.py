"""Files > **cache file** > batch: decoded images on a disk, built by one process, whole or not there at all.

Below the cache's directory lie <hash>.images (the bytes), <hash>.json (what they are) and, while it is built,
<hash>.building/ with the images so far and a byte for each that is done: a build that was killed goes on from there.
"""

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from leyden.data.cache import Cached, decode_once
from leyden.data.sources import Files
from leyden.lock import Held, Lock
from leyden.run import sync, write_atomically

log = logging.getLogger(__name__)

FORMAT = 2  # another one for every change of what `read_image` makes of a file
BYTES_BETWEEN_SYNCS = 256 * 2**20


class CacheFile:
    """The file that holds the images of `files`, each of `shape` (C, H, W), in `directory`.

    Its name is a hash of each file's path, size and time, and of how it is decoded: another set, or the same after a
    change, has another file.
    """

    def __init__(self, directory: Path, files: Files, shape: tuple[int, int, int]) -> None:
        self.directory, self.files, self.shape = directory, files, shape
        self.num_images, self.row = len(files.paths), math.prod(shape)
        self.name = content_hash(files, shape)
        self.path, self.description = directory / f"{self.name}.images", directory / f"{self.name}.json"
        self.building = directory / f"{self.name}.building"

    @property
    def num_bytes(self) -> int:
        """Of all images."""
        return self.num_images * self.row

    def open(self) -> Cached | None:
        """The images, where they are all there."""
        try:
            told: dict[str, Any] = json.loads(self.description.read_text(encoding="utf-8"))
            unreadable = {int(index): str(reason) for index, reason in told["unreadable"].items()}
            if self.path.stat().st_size != self.num_bytes:
                return None
            return Cached.of_file(self.path, self.num_images, self.shape, unreadable)
        except (OSError, ValueError, LookupError, AttributeError, TypeError):  # absent, or not what this class writes
            return None

    def _open_as_of_today(self) -> Cached | None:
        """The images, unless one can be read that could not: what failed once, as a disk may, is then decoded anew."""
        cached = self.open()
        return None if cached is None or any(map(self._is_readable, cached.unreadable)) else cached

    def _is_readable(self, index: int) -> bool:
        try:
            self.files.read(self.files.path(index))
        except Exception:  # whatever a format's reader meets
            return False
        return True

    def open_or_build(self, num_workers: int, skipped: dict[str, str] | None) -> Cached:
        """The images, which are decoded first where they are not all there; one process does that, others wait for it.

        Raises:
            ValueError: a file cannot be read, and there is no `skipped` to note it in.
            OSError: the disk is full, or cannot be written.
        """
        if cached := self._open_as_of_today():
            return cached
        self.building.mkdir(parents=True, exist_ok=True)
        with self._alone():
            cached = self._open_as_of_today()  # by another process, meanwhile
            if cached is None:
                try:
                    self._build(num_workers, skipped)
                except (OSError, ValueError):  # a full disk, an unreadable file
                    shutil.rmtree(self.building, ignore_errors=True)  # gives the room back
                    raise
                cached = self.open()
        shutil.rmtree(self.building, ignore_errors=True)
        assert cached, "a cache that was just built is whole"
        return cached

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                try:
                    stack.enter_context(Lock(self.building, patience=0))
                except Held:
                    log.warning("another process is decoding these images into %s: waiting for it", self.path)
                    stack.enter_context(Lock(self.building, patience=math.inf))
            except ValueError as error:  # the disk takes no file, or no lock: told in its own words
                raise (error.__cause__ or error) from None
            yield

    def _build(self, num_workers: int, skipped: dict[str, str] | None) -> None:
        self.building.mkdir(exist_ok=True)  # whoever was waited for may have failed, and taken it away
        part, progress = self.building / "images", self.building / "done"
        done, begin = self._done_before(part, progress), time.monotonic()
        unreadable: dict[int, str] = {}
        with part.open("r+b" if part.exists() else "w+b") as file:
            _reserve(file.fileno(), self.num_bytes)
            written = 0
            missing = torch.from_numpy(np.flatnonzero(done == 0))
            try:
                for batch in decode_once(self.files, self.shape, missing, num_workers, skipped, unreadable):
                    rows = batch.images.permute(0, 2, 3, 1).flatten(1).numpy()
                    for index, row in zip(batch.indices.tolist(), rows, strict=True):
                        file.seek(index * self.row)
                        file.write(row.data)
                    done[batch.indices.numpy()] = 1
                    written += batch.images.nbytes
                    if written >= BYTES_BETWEEN_SYNCS:
                        self._keep(file, progress, done)
                        written = 0
            finally:
                self._keep(file, progress, done)
        told = {"images": self.num_images, "shape": self.shape, "source": str(self.files.directory.resolve())}
        self.path.unlink(missing_ok=True)  # of a cache that lacks images: it must not stand beside this description
        write_atomically(self.description, json.dumps(told | {"unreadable": unreadable}, indent=2) + "\n")
        part.replace(self.path)
        sync(self.directory)
        log.info("decoded %s images into %s in %.1f s", len(missing), self.path, time.monotonic() - begin)

    def _done_before(self, part: Path, progress: Path) -> np.ndarray:
        """A byte for each image, 1 where an earlier attempt wrote it, uint8 [N]."""
        with contextlib.suppress(OSError):
            done = np.fromfile(progress, dtype=np.uint8)
            if len(done) == self.num_images and part.stat().st_size == self.num_bytes:
                return done
        return np.zeros(self.num_images, dtype=np.uint8)

    def _keep(self, file: Any, progress: Path, done: np.ndarray) -> None:
        """Puts on the disk first the images, then the word that they are there."""
        file.flush()
        os.fsync(file.fileno())
        beside = progress.with_suffix(".new")
        beside.write_bytes(done.tobytes())
        sync(beside)
        beside.replace(progress)


def content_hash(files: Files, shape: tuple[int, int, int]) -> str:
    """SHA-256, shortened, of where the files lie, their paths, sizes and times, and of how they become pixels."""
    place = os.fsencode(files.directory.resolve())  # files elsewhere may be alike in all else
    known_by = (FORMAT, PIL.__version__, torch.__version__, shape, place, _how(files.read))
    digest = hashlib.sha256(repr(known_by).encode())
    if files.digest:
        digest.update(files.digest.encode())
        return digest.hexdigest()[:32]
    for path in files.paths:
        try:
            told = os.stat(os.path.join(files.directory, path))
            state = f"{told.st_size}\0{told.st_mtime_ns}"
        except OSError:  # it has vanished since it was listed, which is for the decoder to tell
            state = "absent"
        digest.update(os.fsencode(f"{path}\0{state}\n"))
    return digest.hexdigest()[:32]


def _how(read: Callable[..., Any]) -> str:
    """A function's name with the arguments that are given to it already."""
    if isinstance(read, functools.partial):
        return f"{_how(read.func)}{read.args}{sorted(read.keywords.items())}"
    name = read if hasattr(read, "__qualname__") else type(read)
    given = "" if name is read else str(sorted(vars(read).items()))
    return f"{name.__module__}.{name.__qualname__}{given}"


def _reserve(descriptor: int, num_bytes: int) -> None:
    """Takes the room that a file needs, so that a full disk is met at the begin."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:  # macOS
        os.ftruncate(descriptor, num_bytes)
