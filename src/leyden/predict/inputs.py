"""Predict > **inputs** > stream: the paths that are meant, one after the other, however many there are.

No list of all is held: a folder is read directory by directory, a table row by row.
"""

import fnmatch
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from leyden.data.folder import is_image
from leyden.data.table_file import CSV, PARQUET, TableFile
from leyden.image_formats import SUFFIXES

log = logging.getLogger(__name__)

STANDARD_INPUT = "-"
TABLES = (*CSV, *PARQUET)
MAGIC = frozenset("*?[")


class Inputs(NamedTuple):
    """What to look at."""

    name: str  # for a file that is named after it
    paths: Iterator[str]
    is_one_image: bool = False


def find_inputs(given: str, path_column: str, root: Path | None) -> Inputs:
    """The image, the folder's images, those that a pattern fits, or those that a table or standard input names.

    Raises:
        ValueError: nothing is there, or no image, or no such column; names it.
    """
    if given == STANDARD_INPUT:
        return Inputs("stdin", (_below(root, path) for path in _lines()))
    path = Path(given).expanduser()
    if path.is_file() and path.suffix.lower() in TABLES:
        table = TableFile(path)
        table.check([path_column], "path_column=…")
        beside = path.parent if root is None else root
        cells = (_below(beside, str("" if cell is None else cell)) for cell in table.cells(path_column))
        return Inputs(path.stem, _at_least_one(cells, f"input={given} has no row: expected one for each image"))
    if path.is_dir():
        kinds = ", ".join(sorted(SUFFIXES))
        found = Inputs(path.resolve().name, _at_least_one(walk(str(path)), f"input={given} holds no image ({kinds})"))
    elif path.is_file():
        found = Inputs(path.stem, iter([str(path)]), is_one_image=True)
    elif MAGIC & set(given):
        fitting = _at_least_one(expand(str(path)), f"input={given}: the pattern fits no file; is it in quotes?")
        found = Inputs("pattern", fitting)
    else:
        raise ValueError(
            f"input={given}: nothing is there; give an image, a folder, a pattern in quotes, a table of paths, or - "
            "for paths on standard input"
        )
    if root is not None:
        words = "root=%s is not used: it is for a table of paths or standard input, and input=%s is none of these"
        log.warning(words, root, given)
    return found


def walk(directory: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The images below a directory, by name, those of each directory in their place; hidden ones do not count.

    Symbolic links are followed, but not to a directory in which they lie themselves.
    """
    real = os.path.realpath(directory)
    if real in above:
        return
    for entry in _entries(directory):
        if entry.name.startswith("."):
            continue
        if _is_directory(entry):
            yield from walk(entry.path, (*above, real))
        elif is_image(entry):
            yield entry.path


def expand(pattern: str) -> Iterator[str]:
    """The files that a pattern fits, by name: `*`, `?` and `[…]` within a name, `**` for any directories or none.

    As in a shell, they do not fit a point at the begin of a name.
    """
    parts = Path(pattern).parts
    return _expand(parts[0], parts[1:]) if Path(pattern).is_absolute() else _expand("", parts)


def _expand(base: str, parts: tuple[str, ...]) -> Iterator[str]:
    if not parts:
        if os.path.isfile(base):
            yield base
        return
    first, *others = parts
    left = tuple(others)
    if not MAGIC & set(first):
        if os.path.lexists(os.path.join(base, first)):
            yield from _expand(os.path.join(base, first), left)
        return
    if first == "**":
        yield from _expand(base, left or ("*",))
    for entry in _entries(base or ".") if os.path.isdir(base or ".") else ():
        if entry.name.startswith(".") and not first.startswith("."):
            continue
        if first == "**" and entry.is_dir(follow_symlinks=False):
            yield from _expand(os.path.join(base, entry.name), parts)
        elif first != "**" and fnmatch.fnmatchcase(entry.name, first):
            yield from _expand(os.path.join(base, entry.name), left)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # of a link to itself, or to where one may not look
        log.warning("%s cannot be followed (%s): images below it are left out", entry.path, error.strerror)
        return False


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:  # as of the lost+found of a disk; others are not to wait for it
        log.warning("%s cannot be read (%s): its images are left out", directory, error.strerror)
        return []


def _lines() -> Iterator[str]:
    """Paths of standard input, one on a line."""
    for line in sys.stdin.buffer:
        if path := os.fsdecode(line.rstrip(b"\r\n")):
            yield path


def _below(root: Path | None, path: str) -> str:
    return path if root is None or not path else str(root / path)


def _at_least_one(paths: Iterator[str], otherwise: str) -> Iterator[str]:
    """The paths; the first is looked for now, so that there being none is known before anything is built."""
    first = next(paths, None)
    if first is None:
        raise ValueError(otherwise)
    return itertools.chain([first], paths)
