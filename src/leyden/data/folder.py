"""Config > **data**: a data set of one's own: image files in a directory per class."""

import functools
import logging
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch

from leyden.data.border import Border, is_directory, lies_in
from leyden.data.image_file import read_image
from leyden.data.sources import PART_NAMES, TRAINING, Files, Task, check_facts
from leyden.image_formats import SUFFIXES

log = logging.getLogger(__name__)

KEY = "data.root"  # which data.source.directory is, unless it is given by itself
LAYOUT = "expected a directory for each class with its images in it, or train/, val/ and test/ with such directories"


class ImageFolder:
    """Image files below `directory`/<class>, or below <class> in its train/, val/ and test/, of which train/ must be.

    Each is decoded when it is needed, to its centre square of `image_size` pixels, grey (`channels` 1) or RGB (3).
    `mean` and `std` are those of its channels, for pixels in [0, 1]. Hidden files and directories do not count.
    """

    task: Task = "single_label"

    def __init__(
        self, directory: str, image_size: int, mean: Sequence[float], std: Sequence[float], channels: int = 3
    ) -> None:
        check_facts(image_size, channels, mean, std)
        self.directory, self.name = Path(directory), Path(directory).resolve().name
        self.channels, self.image_size, self.mean, self.std = channels, image_size, tuple(mean), tuple(std)
        self.parts = find_parts(self.directory)
        self.class_names = tuple(subdirectories(self.parts[TRAINING]))
        if len(self.class_names) < 2:
            held = f"one class directory alone, {self.class_names[0]}" if self.class_names else "no class directories"
            raise ValueError(f"{KEY}={directory} holds {held}, at least two are needed: {LAYOUT}")
        for name in self.class_names:
            if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):  # a newline, or no letter at all
                raise ValueError(f"{KEY}={directory} holds {name!r}, no name to print for a class: rename it")

    def load(self, root: Path) -> Files:
        """Lists the files; symbolic links may lead anywhere below `root`, where that holds the directory.

        Raises:
            ValueError: a class, or a part, has no image, a part has a class that the training part has not, or a
                symbolic link leads out of the root or to where it lies.
        """
        border = Border(root if lies_in(os.path.realpath(self.directory), os.path.realpath(root)) else self.directory)
        paths: list[str] = []
        labels: list[int] = []
        parts: list[int] = []
        for part, folder in self.parts.items():
            for name in subdirectories(folder):
                if name not in self.class_names:
                    raise ValueError(f"{folder / name}: there is no class '{name}' in {self.parts[TRAINING]}: {LAYOUT}")
                found = list_images(folder / name, border)
                if not found and part == TRAINING:
                    kinds = ", ".join(sorted(SUFFIXES))
                    raise ValueError(f"{folder / name} holds no image ({kinds}): delete it or put some there")
                prefix = (folder / name).relative_to(self.directory).as_posix()
                paths += [f"{prefix}/{path}" for path in found]
                labels += [self.class_names.index(name)] * len(found)
                parts += [part] * len(found)
            if part not in parts and subdirectories(folder):  # others would be tested on in their place
                kinds = ", ".join(sorted(SUFFIXES))
                raise ValueError(f"{folder} has class directories and no image ({kinds}): delete it or put some there")
        self._warn_of_images_without_a_class()
        read = functools.partial(read_image, image_size=self.image_size, channels=self.channels)
        has_parts = len(self.parts) > 1
        return Files(self.directory, paths, torch.tensor(labels), read, torch.tensor(parts) if has_parts else None)

    def _warn_of_images_without_a_class(self) -> None:
        for folder in dict.fromkeys([self.directory, *self.parts.values()]):
            with os.scandir(folder) as entries:
                count = sum(is_image(entry) for entry in entries)
            if count:
                log.warning("%s: what lies beside the class directories is not used, %s of it images", folder, count)


def find_parts(directory: Path) -> dict[int, Path]:
    """Where class directories lie: in `directory`, or in each part's, where train/ has directories in it.

    Raises:
        ValueError: no such directory, something else beside those of the parts, two of one part, or none to train on.
    """
    if not directory.is_dir():
        raise ValueError(f"{KEY}={directory} is no directory: {LAYOUT}")
    names = subdirectories(directory)
    named = [name for name in names if name in PART_NAMES and subdirectories(directory / name)]
    if not any(PART_NAMES[name] == TRAINING for name in named):
        if named and named == names:
            raise ValueError(f"{KEY}={directory} holds {named[0]}/ and no train/: {LAYOUT}")
        return {TRAINING: directory}
    others = set(names) - set(PART_NAMES)
    if others:
        raise ValueError(f"{KEY}={directory} holds {min(others)}/ beside train/ with its directories: {LAYOUT}")
    parts: dict[int, Path] = {}
    for name in sorted(set(names) & set(PART_NAMES), key=lambda name: (PART_NAMES[name], name)):
        if PART_NAMES[name] in parts:
            raise ValueError(f"{KEY}={directory} holds {parts[PART_NAMES[name]].name}/ and {name}/: keep one of them")
        parts[PART_NAMES[name]] = directory / name
    return parts


def subdirectories(directory: Path) -> list[str]:
    """Names of the directories that are not hidden, sorted."""
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and is_directory(entry))


def list_images(directory: Path, border: Border) -> list[str]:
    """Paths of the files at any depth below `directory` that have the suffix of an image, sorted.

    Raises:
        ValueError: a symbolic link leads out of the border or to where it lies.
    """
    found = []
    # Folders to look into, each with the real ones that lead to it.
    pending: list[tuple[str, tuple[str, ...]]] = [("", (border.follow(str(directory)),))]
    while pending:
        prefix, above = pending.pop()
        with os.scandir(directory / prefix) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = prefix + entry.name
                if is_directory(entry):
                    inner = border.enter(entry.path, above) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                    pending.append((f"{path}/", (*above, inner)))
                elif is_image(entry):
                    if entry.is_symlink():
                        border.follow(entry.path)
                    found.append(path)
    return sorted(found)


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or a symbolic link, that has the suffix of an image and is not hidden."""
    name = entry.name
    has_suffix = os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
    return has_suffix and (entry.is_symlink() or entry.is_file())
