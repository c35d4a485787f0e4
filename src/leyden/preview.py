"""Augment > **preview**: a picture of what an augmentation does: originals, augmented copies, what was drawn.

A run leaves a small one behind, of images alone.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from leyden.augment import Augmentation
from leyden.augment.geometry import cut_centre
from leyden.augment.policy import NAMES
from leyden.build import build_augment, build_data
from leyden.config import Origin
from leyden.data import Batch, ImageDataModule
from leyden.data.labels import describe_label
from leyden.figures import new_figure
from leyden.preprocessing import settle

NUM_IMAGES, NUM_COPIES = 8, 5
RUN_FILE, NUM_COPIES_OF_A_RUN = "augmentation.png", 4
DOTS_PER_INCH = 110
IMAGE_INCHES, LINE_INCHES, NUM_CHARACTERS = 1.5, 0.125, 28  # an image and below it lines of so many characters
NUM_LETTERS = 12  # of a label above an image of an inch
PARAMETERLESS = ("identity", "autocontrast", "equalize")


def preview(config: DictConfig, directory: Path, origin: Origin) -> Path:
    """Draws some training images under the config's augmentation to `directory`/preview.png."""
    settle(config, origin)
    data = build_data(config)
    augment = build_augment(config, data)
    data.setup("fit")
    batch = data.some_training_images(NUM_IMAGES)
    path = directory / "preview.png"
    directory.mkdir(parents=True, exist_ok=True)
    draw_preview(augment, batch, data.class_names, path)
    print(f"{path}: {len(batch.labels)} images, {NUM_COPIES} epochs of augment={origin.choices.get('augment')}")
    return path


def draw_preview(augment: Augmentation, batch: Batch, class_names: tuple[str, ...], path: Path) -> None:
    """A row of originals, then a row for each of the first epochs with what was drawn below every image."""
    num_images = len(batch.labels)
    epochs = [augment.show(batch, epoch) for epoch in range(NUM_COPIES)]
    captions = [[describe(drawn, position) for position in range(num_images)] for _, drawn in epochs]
    num_lines = [1 + max(caption.count("\n") for caption in row) for row in captions]
    height = (1 + NUM_COPIES) * (IMAGE_INCHES + 0.15) + 0.2 + sum(num_lines) * LINE_INCHES
    figure = new_figure(0.4 + num_images * (IMAGE_INCHES + 0.2), height)
    grid = figure.subplots(1 + NUM_COPIES, num_images, squeeze=False)
    grid[0, 0].set_ylabel("original", fontsize=9)
    for axes, image, label in zip(grid[0], batch.images, batch.labels, strict=True):
        _show(axes, image.float() / 255)
        axes.set_title(describe_label(label, class_names), fontsize=9)
    for epoch, (row, (images, _), texts) in enumerate(zip(grid[1:], epochs, captions, strict=True)):
        row[0].set_ylabel(f"epoch {epoch}", fontsize=9)
        for axes, image, text in zip(row, images, texts, strict=True):
            _show(axes, image)
            axes.set_xlabel(text, fontsize=7)
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")  # the layout's own height can clip a title


def draw_in_run(augment: Augmentation, data: ImageDataModule, directory: Path) -> list[Path]:
    """Draws some training images and what the first epochs made of them, as one mosaic; nothing where they are as is.

    Axes of its own for each image, as the preview has, would take seconds.
    """
    if not augment.operations:
        return []
    batch = data.some_training_images(NUM_IMAGES)
    rows = [cut_centre(batch.images, augment.image_size).float() / 255]
    rows += [augment.show(batch, epoch)[0] for epoch in range(NUM_COPIES_OF_A_RUN)]
    gap = 1 + rows[0].shape[-1] // 16
    tiles = F.pad(torch.stack(rows).clamp(0, 1).cpu(), (0, gap, 0, gap), value=1.0)  # [rows, N, C, H, W]
    num_rows, num_images, channels, height, width = tiles.shape
    pixels = tiles.permute(0, 3, 1, 4, 2).reshape(num_rows * height, num_images * width, channels)
    figure = new_figure(0.9 + num_images, 0.5 + num_rows, layout=None)
    axes = figure.add_axes((0.9 / (0.9 + num_images), 0, num_images / (0.9 + num_images), num_rows / (0.5 + num_rows)))
    axes.imshow(np.repeat(pixels.numpy(), 3 // channels, axis=2), interpolation="nearest", aspect="auto")
    words = [describe_label(label, data.class_names) for label in batch.labels]
    axes.set_xticks((np.arange(num_images) + 0.5) * width, [word[:NUM_LETTERS] for word in words], fontsize=8)
    epochs = [f"epoch {epoch}" for epoch in range(NUM_COPIES_OF_A_RUN)]
    axes.set_yticks((np.arange(num_rows) + 0.5) * height, ["original", *epochs], fontsize=8)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.savefig(directory / RUN_FILE, dpi=DOTS_PER_INCH)
    return [directory / RUN_FILE]


def _show(axes: Any, image: Tensor) -> None:
    pixels = image.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    axes.imshow(np.repeat(pixels, 3 // pixels.shape[2], axis=2), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def describe(drawn: Mapping[str, Mapping[str, Tensor]], position: int) -> str:
    """What was drawn for one image of a batch, an operation to a line; what is zero or off is left out."""
    lines = [_words(name, {key: value[position] for key, value in values.items()}) for name, values in drawn.items()]
    return "\n".join("\n".join(textwrap.wrap(line, NUM_CHARACTERS)) for line in lines if line)


def _words(name: str, values: Mapping[str, Tensor]) -> str:
    if "operation" in values:  # a policy: the names of what it chose say more than its own
        chosen = [NAMES[number] for number in values["operation"].tolist()]
        magnitudes = [f"{magnitude:.3g}" for magnitude in values["magnitude"].tolist()]
        return ", ".join(
            word if word in PARAMETERLESS else f"{word} {magnitude}"
            for word, magnitude in zip(chosen, magnitudes, strict=True)
        ).replace("_", " ")
    given = {key: value.item() for key, value in values.items() if value}
    if list(given.values()) in ([], [True]):
        return name if given else ""
    numbers = ", ".join(f"{key.replace('_', ' ')} {value:.2g}" for key, value in given.items())
    return f"{name}: {numbers}"
