"""Config > **what a network is told of its data** > build: its facts, which outlast the data itself."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from leyden.data.sources import Task


class DataFacts(NamedTuple):
    """What of the data a network is made from, and what an image must be made into for it."""

    name: str
    task: Task
    class_names: tuple[str, ...]  # none for regression
    channels: int
    image_size: int  # pixels of a side, as the network takes them
    margin: float  # images are decoded so many times as large, and their centre is cut out
    mean: tuple[float, ...]  # of each channel, for pixels in [0, 1]
    std: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """0 for regression."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """What a head has to give of each image: a logit per class, or one number."""
        return 1 if self.task == "regression" else self.num_classes

    @property
    def stored_size(self) -> int:
        """Pixels of a side of the images that files are decoded to: with the margin."""
        return round(self.margin * self.image_size)


def facts_of(recorded: Mapping[str, Any], margin: float) -> DataFacts:
    """The facts that a run has recorded of its data (`ImageDataModule.facts`)."""
    channels, image_size, _ = recorded["image_shape"]
    return DataFacts(
        recorded["name"], recorded["task"], tuple(recorded["class_names"]), channels, image_size, margin,
        tuple(recorded["mean"]), tuple(recorded["std"]),
    )  # fmt: skip
