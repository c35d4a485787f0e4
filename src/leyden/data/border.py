"""Sources > **border** > files: an image lies below the directory of its data set, wherever symbolic links lead."""

import os
from collections.abc import Sequence
from pathlib import Path


class Border:
    """Around `directory`, which may be a symbolic link itself; what leaves it is told from what stays within."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.real = directory, os.path.realpath(directory)

    def follow(self, path: str) -> str:
        """Where a path really leads.

        Raises:
            ValueError: out of the directory.
        """
        real = os.path.realpath(path)
        if not lies_in(real, self.real):
            raise ValueError(
                f"{path} leads out of data.root={self.directory}, to {real}: put what is there below data.root, or "
                "give a data.root that holds both"
            )
        return real

    def enter(self, path: str, above: Sequence[str]) -> str:
        """Where a symbolic link to a directory leads, from below the real directories `above`.

        Raises:
            ValueError: out of the directory, or back to where it lies.
        """
        real = self.follow(path)
        if any(lies_in(directory, real) for directory in above):
            raise ValueError(f"{path} is a symbolic link to {real}, in which it lies itself, without end: delete it")
        return real


def lies_in(path: str, directory: str) -> bool:
    """Whether a real path is a directory or lies below it."""
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a directory, or a symbolic link to one.

    Raises:
        ValueError: it is a symbolic link that leads nowhere but to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise ValueError(f"{entry.path} cannot be followed ({error.strerror}): delete it") from error
