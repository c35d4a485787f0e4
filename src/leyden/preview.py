"""Augment > **preview**: a picture of what an augmentation does: originals, augmented copies, what was drawn."""

from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from leyden.augment import Augmentation
from leyden.augment.policy import NAMES
from leyden.config import Origin, check
from leyden.data import Batch, ImageDataModule

NUM_IMAGES, NUM_COPIES = 8, 5
DOTS_PER_INCH = 110


def preview(config: DictConfig, directory: Path, origin: Origin) -> Path:
    """Draws the first training images under the config's augmentation to `directory`/preview.png."""
    OmegaConf.resolve(config)
    check(config, origin)
    data: ImageDataModule = instantiate(config.data)
    augment: Augmentation = instantiate(
        config.augment, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=config.seed
    )
    data.prepare_data()
    data.setup("fit")
    assert data.images is not None
    indices = data.train_indices[:NUM_IMAGES]
    batch = Batch(data.images[indices], data.labels[indices], indices)
    path = directory / "preview.png"
    directory.mkdir(parents=True, exist_ok=True)
    draw_preview(augment, batch, data.class_names, path)
    print(f"{path}: {len(indices)} images, {NUM_COPIES} epochs of augment={origin.choices.get('augment')}")
    return path


def draw_preview(augment: Augmentation, batch: Batch, class_names: tuple[str, ...], path: Path) -> None:
    """A row of originals, then a row for each of the first epochs with what was drawn below every image."""
    from matplotlib.figure import Figure

    num_lines = max(1, len(augment.operations))
    height = 1.3 + 0.16 * num_lines
    figure = Figure(figsize=(1.75 * len(batch.labels), 1.6 + NUM_COPIES * height), layout="constrained")
    grid = figure.subplots(
        1 + NUM_COPIES, len(batch.labels), squeeze=False, height_ratios=[1.5] + [height] * NUM_COPIES
    )
    for axes, image, label in zip(grid[0], batch.images, batch.labels, strict=True):
        _show(axes, image.float() / 255)
        axes.set_title(class_names[int(label)], fontsize=9)
    for epoch, row in enumerate(grid[1:]):
        images, drawn = augment.show(batch, epoch)
        row[0].set_ylabel(f"epoch {epoch}", fontsize=9)
        for position, (axes, image) in enumerate(zip(row, images, strict=True)):
            _show(axes, image)
            axes.set_xlabel("\n".join(_words(name, values, position) for name, values in drawn.items()), fontsize=6)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _show(axes: Any, image: Tensor) -> None:
    pixels = image.clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(np.repeat(pixels, 3 // pixels.shape[2], axis=2), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _words(name: str, values: dict[str, Tensor], position: int) -> str:
    """What one operation drew for one image, on one line."""
    if "operation" in values:
        pairs = zip(values["operation"][position].tolist(), values["magnitude"][position].tolist(), strict=True)
        return ", ".join(f"{NAMES[number]} {magnitude:.3g}" for number, magnitude in pairs)
    numbers = {key: value[position].item() for key, value in values.items()}
    return f"{name}: " + " ".join(
        f"{value:.2g}" if isinstance(value, float) else str(int(value)) for value in numbers.values()
    )
