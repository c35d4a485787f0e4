"""Requests > **files** > what may be read of a runs directory: nothing outside it, whatever a path or a link says."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[int, int, int]  # a file that has the same one is the same, unread
SHOWN = (".html", ".png")  # pictures and reports; checkpoints never
CHECKPOINTS = "checkpoints"


def inside(root: Path, path: str) -> Path:
    """The place that `path`, relative to `root`, names there; `root` is resolved.

    Raises:
        LookupError: it lies outside, by its name or by a symbolic link, or is hidden.
    """
    parts = path.split("/") if path else []
    if "\0" in path or any(not part or part.startswith(".") or part == CHECKPOINTS for part in parts):
        raise LookupError(path)
    place = root.joinpath(*parts)
    if not place.resolve().is_relative_to(root):
        raise LookupError(path)
    return place


def to_show(root: Path, path: str) -> Path:
    """A picture or a report below `root`.

    Raises:
        LookupError: it is neither, or there is none.
    """
    place = inside(root, path)
    if place.suffix not in SHOWN or place.resolve().suffix not in SHOWN or not place.is_file():
        raise LookupError(path)
    return place


def relative(root: Path, directory: Path) -> str:
    """The path of a directory or a file as the page knows it: empty for `root` itself."""
    return "" if directory == root else directory.relative_to(root).as_posix()


def stamp_of(path: Path) -> Stamp | None:
    """When a file was written, how long it is and which file it is; None where there is none."""
    try:
        return stamp_in(os.stat(path))
    except OSError:
        return None


def stamp_in(status: os.stat_result) -> Stamp:
    """The stamp of a file whose status is known."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def tail(root: Path, path: Path, most_bytes: int) -> str:
    """The last lines of a text file below `root`; empty where there is none."""
    try:
        with inside(root, relative(root, path)).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            text = file.read(most_bytes).decode(errors="replace")
    except (OSError, LookupError):
        return ""
    return text.partition("\n")[2] if size > most_bytes else text


class Remembered(Generic[T]):
    """What `read` makes of a file; it is read again only where its stamp is another."""

    def __init__(self, read: Callable[[Path], T]) -> None:
        self.read = read
        self.known: dict[Path, tuple[Stamp | None, T]] = {}

    def __call__(self, path: Path) -> T:
        stamp = stamp_of(path)
        if path not in self.known or self.known[path][0] != stamp:
            self.known[path] = stamp, self.read(path)
        return self.known[path][1]

    def keep_only(self, paths: set[Path]) -> None:
        """Forgets the files that are gone."""
        for path in self.known.keys() - paths:
            del self.known[path]
