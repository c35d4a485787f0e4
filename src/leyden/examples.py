"""Summary > **examples** > run directory: test images worth a look, with what the run answered.

The worst are those whose answer cost most, the uncertain those of the least confident answer, the random ones are drawn
evenly, alike in every run over the same images.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leyden.data import ImageDataModule
from leyden.data.labels import describe_label
from leyden.predictions import Predictions

DIRECTORY = "examples"  # in that of the run: a PNG per image, and their table
TABLE = "examples.csv"
NUM_OF_A_KIND = 8
SEED = 0


class Example(NamedTuple):
    """A row of the table."""

    why: str  # worst, uncertain, random
    image: str  # the name of its file there
    label: str
    prediction: str
    confidence: str  # empty where a number is learnt
    loss: str


def write_examples(
    directory: Path,
    data: ImageDataModule,
    class_names: Sequence[str],
    indices: Tensor,
    predictions: Predictions,
    losses: NDArray[Any],
) -> None:
    """Writes images and table to the `examples` of a run; `indices` [N] are the test images' numbers in the data."""
    confidences = _confidences(predictions)
    chosen = choose(losses, confidences)
    images = read_images(data, indices[sorted({row for rows in chosen.values() for row in rows})])
    found: list[Example] = []
    place = directory / DIRECTORY
    place.mkdir(exist_ok=True)
    for earlier in place.glob("*.png"):
        earlier.unlink()
    for why, rows in chosen.items():
        for number, row in enumerate(rows):
            name = f"{why}_{number}.png"
            write_image(images[int(indices[row])], place / name)
            confidence = "" if confidences is None else f"{confidences[row]:.4f}"
            label, answer = (_words(values[row], class_names) for values in predictions[:2])
            found.append(Example(why, name, label, answer, confidence, f"{losses[row]:.4g}"))
    with (place / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Example._fields)
        writer.writerows(found)


def read_images(data: ImageDataModule, indices: Tensor) -> dict[int, Tensor]:
    """The images of these numbers, by number; read together, for a reader of files has workers to start."""
    batch = data.images_at(indices)
    return dict(zip(batch.indices.tolist(), batch.images, strict=True))


def read_examples(directory: Path) -> list[Example]:
    """The rows that `write_examples` wrote for a run; none where it did not."""
    path = directory / DIRECTORY / TABLE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Example(**row) for row in csv.DictReader(file)]


def choose(losses: NDArray[Any], confidences: NDArray[Any] | None) -> dict[str, list[int]]:
    """Which of N images are shown, by why; of equal ones the first."""
    chosen = {"worst": np.argsort(-losses, kind="stable")}
    if confidences is not None:
        chosen["uncertain"] = np.argsort(confidences, kind="stable")
    chosen["random"] = np.random.default_rng(SEED).permutation(len(losses))
    return {why: rows[:NUM_OF_A_KIND].tolist() for why, rows in chosen.items()}


def write_image(image: Tensor, path: Path) -> None:
    """Writes an image, uint8 [C, H, W], as PNG."""
    pixels = image.permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)


def _confidences(predictions: Predictions) -> NDArray[Any] | None:
    """How sure each answer is: of one class its probability; of several that of the least sure label's answer."""
    if predictions.confidences is None or predictions.is_single_label:
        return predictions.confidences
    probabilities = predictions.confidences
    return np.where(predictions.predictions == 1, probabilities, 1 - probabilities).min(1)


def _words(value: NDArray[Any], class_names: Sequence[str]) -> str:
    label = torch.as_tensor(value)
    return describe_label(label.float() if label.dtype == torch.float64 and not label.ndim else label, class_names)
