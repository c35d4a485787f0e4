"""Config > **choice of a cache** > cache: where the images of files are kept decoded, in memory or on a disk."""

import logging
import multiprocessing
import os
from pathlib import Path

from leyden.data.cache import Cached, cache_in_memory
from leyden.data.cache_file import CacheFile
from leyden.data.decoding import tell_unreadable
from leyden.data.sources import Files

log = logging.getLogger(__name__)

KINDS = ("none", "memory", "disk", "auto")


def keep_decoded(
    files: Files,
    shape: tuple[int, int, int],
    kind: str,
    directory: Path,
    memory_share: float,
    num_ranks: int,
    num_workers: int,
    skipped: dict[str, str] | None,
) -> Cached | None:
    """The images of `files`, decoded now or before; None where the disk does not take them.

    `auto` is memory where they take at most `memory_share` of what is free, no other process wants them too, and none
    has put them on the disk before.

    Raises:
        ValueError: a file cannot be read, and there is no `skipped` to note it in.
    """
    if kind == "memory":
        return cache_in_memory(files, shape, num_workers, skipped)
    file = CacheFile(directory, files, shape)
    is_shared = num_ranks > 1 or is_job_of_a_study() or file.path.exists()
    if kind == "auto" and not is_shared and file.num_bytes <= memory_share * available_memory():
        return cache_in_memory(files, shape, num_workers, skipped)
    try:
        cached = file.open_or_build(num_workers, skipped)
    except OSError as error:
        log.warning(
            "data.cache_directory=%s cannot take %.1f GB of decoded images (%s): they are decoded anew in each epoch; "
            "make room or give another place", directory, file.num_bytes / 1e9, error.strerror or error,
        )  # fmt: skip
        return None
    refuse_unreadable(cached, files, skipped)
    return cached


def refuse_unreadable(cached: Cached, files: Files, skipped: dict[str, str] | None) -> None:
    """Notes in `skipped` the files that another run found unreadable, and warns of them.

    Raises:
        ValueError: there are some, and none is to be skipped.
    """
    found = {files.path(index): why for index, why in cached.unreadable.items()}
    if found and skipped is None:
        raise ValueError(tell_unreadable(*next(iter(found.items()))))
    if found and skipped is not None and not found.keys() <= skipped.keys():
        skipped |= found
        log.warning("%s of %s files could not be read, and are left out", len(found), len(files.paths))


def is_job_of_a_study() -> bool:
    """Whether other runs of the same study may want the same images, now or next."""
    return multiprocessing.parent_process() is not None or "SLURM_ARRAY_JOB_ID" in os.environ


def available_memory() -> int:
    """Bytes of memory that the system could give, but no more than the limit of this process's control group."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    group = next((line.removeprefix("0::") for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "")
    for path in (f"/sys/fs/cgroup{group}/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limits = [int(line) for line in _lines(Path(path)) if line.isdigit()]
        free = min([free, *limits])
    return free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
