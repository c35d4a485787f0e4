"""Config > **data**: a data set of one's own: image files in a directory per class."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from leyden.data.image_file import SUFFIXES, read_image
from leyden.data.sources import Files

KEY = "data.source.directory"
LAYOUT = "expected a directory for each class with its images in it, or train/ and test/ with such directories"


class ImageFolder:
    """Image files below `directory`/<class>, or below `directory`/train/<class> and `directory`/test/<class>.

    Each is decoded when it is needed, to its centre square of `image_size` pixels, grey (`channels` 1) or RGB (3).
    `mean` and `std` are those of its channels, for pixels in [0, 1]. Hidden files and directories do not count.
    """

    def __init__(
        self, directory: str, image_size: int, mean: Sequence[float], std: Sequence[float], channels: int = 3
    ) -> None:
        if image_size < 1:
            raise ValueError(f"data.source.image_size={image_size} is out of range: give 1 or more")
        if channels not in (1, 3):
            raise ValueError(f"data.source.channels={channels}: expected 1 (grey) or 3 (RGB)")
        for name, values in {"mean": mean, "std": std}.items():
            if len(values) != channels:
                raise ValueError(
                    f"data.source.{name} has {len(values)} numbers, data.source.channels={channels}: give as many"
                )
        if min(std) <= 0:
            raise ValueError(f"data.source.std={list(std)} is out of range: give numbers above 0")
        self.directory, self.name = Path(directory), Path(directory).resolve().name
        self.channels, self.image_size, self.mean, self.std = channels, image_size, tuple(mean), tuple(std)
        self.parts = find_parts(self.directory)
        self.class_names = tuple(subdirectories(self.parts[0]))
        if len(self.class_names) < 2:
            raise ValueError(f"{KEY}={directory} holds {len(self.class_names) or 'no'} class directories: {LAYOUT}")

    def load(self, root: Path) -> Files:
        """Lists the files; `root` is not used.

        Raises:
            ValueError: a class has no image, or the test part has a class that the training part has not.
        """
        paths: list[str] = []
        labels: list[int] = []
        ends = []
        for part in self.parts:
            for name in subdirectories(part):
                if name not in self.class_names:
                    raise ValueError(f"{part / name}: there is no class '{name}' in {self.parts[0]}: {LAYOUT}")
                found = list_images(part / name)
                if not found and part == self.parts[0]:
                    kinds = ", ".join(sorted(SUFFIXES))
                    raise ValueError(f"{part / name} holds no image ({kinds}): delete it or put some there")
                prefix = (part / name).relative_to(self.directory).as_posix()
                paths += [f"{prefix}/{path}" for path in found]
                labels += [self.class_names.index(name)] * len(found)
            ends.append(len(paths))
        read = functools.partial(read_image, image_size=self.image_size, channels=self.channels)
        return Files(self.directory, paths, torch.tensor(labels), ends[0] if len(ends) > 1 else None, read)


def find_parts(directory: Path) -> list[Path]:
    """Where class directories lie: in `directory`, or in its train/ and test/ where train/ has directories in it.

    Raises:
        ValueError: no such directory, or something else beside train/ and test/.
    """
    if not directory.is_dir():
        raise ValueError(f"{KEY}={directory} is no directory: {LAYOUT}")
    names = subdirectories(directory)
    if "train" not in names or not subdirectories(directory / "train"):
        return [directory]
    others = set(names) - {"train", "test"}
    if others:
        raise ValueError(f"{KEY}={directory} holds {min(others)}/ beside train/ with its directories: {LAYOUT}")
    return [directory / name for name in ("train", "test") if name in names]


def subdirectories(directory: Path) -> list[str]:
    """Names of the directories that are not hidden, sorted."""
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def list_images(directory: Path) -> list[str]:
    """Paths of the files at any depth below `directory` that have the suffix of an image, sorted."""
    found = []
    for folder, inner, names in os.walk(directory, onerror=_raise):
        inner[:] = [name for name in inner if not name.startswith(".")]
        below = Path(folder).relative_to(directory).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                found.append(prefix + name)
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
