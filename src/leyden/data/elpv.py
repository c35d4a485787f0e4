"""Config > **data**: photographs of solar cells under current, where defects stay dark; the package elpv-dataset."""

import functools
import importlib.util
import logging
from pathlib import Path

import torch

from leyden.config import require
from leyden.data.image_file import read_image
from leyden.data.sources import Files, Task, check_facts

log = logging.getLogger(__name__)

LEVELS = (0.0, 1 / 3, 2 / 3, 1.0)  # the probabilities of a defect that experts gave


class ELPV:
    """2,624 solar cells, 300 x 300 grey, of 44 modules (Buerhop-Lutz et al. 2018), each with its chance of a defect.

    The classes are the four levels of that chance, or, with a `threshold`, whether it is so high at least. With
    `task=regression` the label is the chance itself. Nobody says which cells are of one module: they may be on both
    sides of a split.
    """

    name = "elpv"
    channels, mean, std = 1, (0.5968,), (0.1606,)

    def __init__(self, image_size: int, threshold: float | None = None, task: Task = "single_label") -> None:
        if task not in ("single_label", "regression"):
            raise ValueError(f"data.source.task={task}: expected single_label or regression")
        if task == "regression" and threshold is not None:
            raise ValueError(f"data.source.threshold={threshold} is for classes: leave it out with task=regression")
        is_share = threshold is None or 0 < threshold <= 1
        require("data.source.threshold", threshold, is_share, "a number above 0, up to 1")
        check_facts(image_size, self.channels, self.mean, self.std)
        self.image_size, self.threshold, self.task = image_size, threshold, task
        names = ("sound", "likely sound", "likely defective", "defective")
        self.class_names = () if task == "regression" else names if threshold is None else ("sound", "defective")
        self.directory = images_directory()

    def load(self, root: Path) -> Files:
        """Lists the files of the package; `root` is not used."""
        say_licence()
        with (self.directory / "labels.csv").open(encoding="utf-8") as file:
            rows = [line.split() for line in file]  # path, probability, and mono or poly
        chances = torch.tensor([float(chance) for _, chance, _ in rows], dtype=torch.float64)
        if self.task == "regression":
            labels = chances.float()
        elif self.threshold is not None:
            labels = (chances >= self.threshold).long()
        else:
            labels = (chances[:, None] - torch.tensor(LEVELS, dtype=torch.float64)).abs().argmin(1)
        read = functools.partial(read_image, image_size=self.image_size, channels=self.channels)
        return Files(self.directory, [path for path, _, _ in rows], labels, read)


def images_directory() -> Path:
    """Where the package has put its images.

    Raises:
        ValueError: it is not installed.
    """
    package = importlib.util.find_spec("elpv_dataset")
    if package is None or not package.submodule_search_locations:
        raise ValueError("data=elpv needs the package elpv-dataset: pip install elpv-dataset (91 MB)")
    return Path(package.submodule_search_locations[0]) / "data"


@functools.cache
def say_licence() -> None:
    """Says once in a process what the images may be used for."""
    log.info("elpv: the images are under CC BY-NC-SA 4.0: name their authors, no commercial use, share alike")
