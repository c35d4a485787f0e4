"""Data > **quick** > train: a look at files before their first training: what can be seen without decoding them.

It warns once: a mark in the user's cache directory, named by the data's fingerprint, says that these files were looked
at. `leyden doctor` looks at everything.
"""

import contextlib
import hashlib
import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from leyden.data import Files, ImageDataModule
from leyden.doctor.facts import OF_AN_IMAGE, Facts
from leyden.doctor.findings import Finding, conflicts, duplicates, imbalance, in_order, sizes, unreadable
from leyden.doctor.subject import subject_of
from leyden.errors import why_unreadable
from leyden.image_formats import open_image

log = logging.getLogger(__name__)

MOST_FILES = 5000  # that are opened, spread evenly over the set


def warn_once(data: ImageDataModule, fingerprint: str, class_weights: object) -> None:
    """Warns of what is wrong with files, where nobody has for just these; images in memory are passed over."""
    if data.files is None or not _mark(fingerprint):
        return
    found = [finding for finding in look(data, class_weights) if finding.severity != "note"]
    for finding in found:
        log.warning("%s %s", finding.sentence, finding.advice)
    if found:
        log.warning("`leyden doctor` with the same settings says more, and shows the images")


def look(data: ImageDataModule, class_weights: object) -> list[Finding]:
    """Headers, sizes, equal files and classes; files that training has left out already are not told again."""
    assert data.files is not None
    subject, files = subject_of(data), data.files
    paths = [os.path.join(files.directory, path) for path in files.paths]
    spread = np.unique(np.linspace(0, len(paths) - 1, MOST_FILES).astype(int)).tolist()
    facts = _headers(files, paths, [index for index in spread if paths[index] not in data.skipped])
    equal = [np.array(group) for group in equal_files(paths)]
    found = [
        *unreadable(subject, facts),
        *duplicates(subject, equal, "equal", "are the same file"),
        *conflicts(subject, equal),
        *sizes(subject, facts),
    ]
    if subject.class_names:
        found += imbalance(subject.counts()[:, 0], data.sampler, class_weights, subject.labels.ndim == 2)
    return in_order(found)


def _headers(files: Files, paths: list[str], chosen: list[int]) -> Facts:
    table = np.zeros(len(paths), OF_AN_IMAGE)
    reasons = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in chosen:
            try:
                with files.open_file(paths[index]) as stream, open_image(stream) as file:
                    table[index]["width"], table[index]["height"] = file.size
            except Exception as error:  # Pillow raises whatever a format's reader meets
                reasons[index] = why_unreadable(error)
    return Facts(table, reasons)


def equal_files(paths: list[str]) -> Iterator[list[int]]:
    """Files with the same bytes; only of those of one size the bytes are read, and of no more than MOST_FILES."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        with contextlib.suppress(OSError):
            by_size[os.path.getsize(path)].append(index)
    num_left = MOST_FILES
    for group in by_size.values():
        if len(group) < 2 or len(group) > num_left:
            continue
        num_left -= len(group)
        by_bytes: dict[bytes, list[int]] = defaultdict(list)
        for index in group:
            with contextlib.suppress(OSError), open(paths[index], "rb") as file:
                by_bytes[hashlib.file_digest(file, "blake2b").digest()].append(index)
        yield from (same for same in by_bytes.values() if len(same) > 1)


def _mark(fingerprint: str) -> bool:
    """Whether this is the first look; without a place to write, none is: better once less.

    The mark is set before the look, so that of two processes one looks; a look that is interrupted counts.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leyden" / "doctor"
        cache.mkdir(parents=True, exist_ok=True)
        (cache / fingerprint).touch(exist_ok=False)
    except (OSError, RuntimeError):  # or no home
        return False
    return True
