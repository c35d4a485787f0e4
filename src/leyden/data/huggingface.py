"""Config > **data**: a data set of the Hugging Face hub, or one in a directory that the `datasets` library can read."""

import functools
import io
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from leyden.data.image_file import read_image
from leyden.data.labels import check_classes, check_task, find_classes, number_groups, read_cells, to_group, to_labels
from leyden.data.sources import PART_NAMES, TRAINING, Files, Task, check_facts

log = logging.getLogger(__name__)

SAVED = ("dataset_dict.json", "dataset_info.json")  # what `save_to_disk` leaves
ROWS_AT_ONCE = 1000


class HuggingFace:
    """The images and labels of a data set, `path` being a directory, or a name on the hub, with its `configuration`.

    A directory holds what `save_to_disk` wrote, Parquet files, or image files by class. The splits train, validation
    and test, or those there are, stay what they are. Images stay encoded in files that are mapped into memory, and are
    decoded when they are needed, as those of a folder.
    """

    def __init__(
        self,
        path: str,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        channels: int = 3,
        task: Task = "single_label",
        image_column: str = "image",
        label_column: str = "label",
        group_column: str | None = None,
        configuration: str | None = None,
        separator: str = ";",
    ) -> None:
        check_task(task)
        check_facts(image_size, channels, mean, std)
        self.path, self.name, self.task = path, Path(path).name, task
        self.channels, self.image_size, self.mean, self.std = channels, image_size, tuple(mean), tuple(std)
        self.parts = _parts(_load(path, configuration), path)
        columns = [image_column, label_column] + ([group_column] if group_column else [])
        for split, rows in self.parts.items():
            if absent := [column for column in columns if column not in rows.column_names]:
                known = ", ".join(map(repr, rows.column_names))
                raise ValueError(f"data.source.path={path}: {split} has no column {absent[0]!r}, but {known}")
        self.images = {split: _undecoded(rows, image_column, f"{path}/{split}") for split, rows in self.parts.items()}
        self.places = [f"{split}/{row}" for split, rows in self.parts.items() for row in range(len(rows))]
        cells, names = self._labels(label_column)
        groups = self.column(group_column) if group_column else None
        self.groups = None if groups is None else [to_group(cell, self._where, row) for row, cell in enumerate(groups)]
        self.contents = read_cells(cells, task, self._where, separator)
        self.class_names = () if task == "regression" else find_classes(self.contents, names)
        check_classes(self.class_names, task, f"data.source.path={path}, column {label_column!r}")

    def load(self, root: Path) -> Files:
        """Names the images, each by its split, row and size; `root` is not used."""
        sizes = [size for images in self.images.values() for size in _sizes(images)]
        paths = [f"{place} ({size} bytes)" for place, size in zip(self.places, sizes, strict=True)]
        labels = to_labels(self.contents, self.task, self.class_names, self._where)
        state = ", ".join(str(getattr(images, "_fingerprint", "")) for images in self.images.values())
        rows = RowReader(self.images, state)
        read = functools.partial(rows, image_size=self.image_size, channels=self.channels)
        groups = None if self.groups is None else number_groups(self.groups)
        parts = None
        if len(self.parts) > 1:
            parts = torch.tensor([PART_NAMES[split] for split, held in self.parts.items() for _ in range(len(held))])
        return Files(Path(self.path), paths, labels, read, parts, groups, open_file=rows.open_file)

    def _where(self, row: int) -> str:
        return f"{self.path}, {self.places[row]}"

    def column(self, name: str) -> list[Any]:
        """The cells of a column, for the images in the order of `load`."""
        return [cell for rows in self.parts.values() for cell in rows.select_columns([name])[:][name]]

    def _labels(self, column: str) -> tuple[list[Any], Sequence[str] | None]:
        """The labels of all rows, and the names of their classes where the data set has them."""
        from datasets import ClassLabel

        def name(cell: Any, names: Sequence[str]) -> Any:
            if isinstance(cell, list):
                return [name(item, names) for item in cell]
            return names[cell] if cell is not None and cell >= 0 else None  # -1 is the library's word for no label

        cells: list[Any] = []
        first: Sequence[str] | None = None
        for split, rows in self.parts.items():
            feature = rows.features[column]
            kind = getattr(feature, "feature", feature)  # of a list, that of its items
            held = rows.select_columns([column])[:][column]
            if not isinstance(kind, ClassLabel) or self.task == "regression":
                cells += held
                continue
            first = kind.names if first is None else first
            if others := sorted({*kind.names} - {*first}):
                raise ValueError(
                    f"data.source.path={self.path}: split {split} has classes that {next(iter(self.parts))} has not: "
                    f"{', '.join(others[:5])}"
                )
            cells += [name(cell, kind.names) for cell in held]  # which each split numbers for itself
        return cells, first


class RowReader:
    """Reads the image on a row of a split; the images stay in their files when this goes to another process.

    `state` is another when the data set was written again.
    """

    def __init__(self, images: Mapping[str, Any], state: str) -> None:
        self.images, self.state = images, state

    def __call__(self, path: str, image_size: int, channels: int) -> Tensor:
        with self.open_file(path) as file:
            return read_image(file, image_size, channels)

    def open_file(self, path: str) -> BinaryIO:
        """The file of an image, whether its bytes are stored or its place is.

        Raises:
            ValueError: there is none.
        """
        folder, row = os.path.split(path)
        stored = self.images[os.path.basename(folder)][int(row.split()[0])]["image"]
        if stored is None:
            raise ValueError("there is no image on its row")
        return Path(stored["path"]).open("rb") if stored["bytes"] is None else io.BytesIO(stored["bytes"])


def _load(path: str, configuration: str | None) -> Any:
    """The library's DatasetDict, or Dataset.

    Raises:
        ValueError: the library is not installed, or finds no data set; says what it said.
    """
    spec = find_spec("datasets")
    if spec is None or spec.origin is None:  # a directory of that name is found as well
        raise ValueError("data=huggingface needs the package datasets: pip install datasets")
    import datasets

    is_here = os.path.isdir(path)
    try:
        if is_here and any(os.path.isfile(os.path.join(path, name)) for name in SAVED):
            return datasets.load_from_disk(path)
        return datasets.load_dataset(os.path.abspath(path) if is_here else path, configuration)
    except Exception as error:  # whatever its many readers, and the hub, raise
        said = " ".join(str(error).split())[:300]
        if is_here:
            raise ValueError(f"data.source.path={path} cannot be read as a data set ({said})") from error
        raise ValueError(
            f"data.source.path={path} is no directory, and could not be had from the hub ({said}): give a directory, "
            "or run once with a network and the right name"
        ) from error


def _parts(loaded: Any, path: str) -> dict[str, Any]:
    """Splits by their names, in the order of training, validation and test.

    Raises:
        ValueError: there is none to train on, two stand for the same, or one is empty.
    """
    if not isinstance(loaded, dict):
        return {"train": loaded}
    parts: dict[str, Any] = {}
    for name in sorted(set(loaded) & set(PART_NAMES), key=lambda name: (PART_NAMES[name], name)):
        if same := [other for other in parts if PART_NAMES[other] == PART_NAMES[name]]:
            raise ValueError(f"data.source.path={path} has splits {same[0]} and {name}: rename or join them")
        if not len(loaded[name]):
            raise ValueError(f"data.source.path={path}: its split {name} is empty: delete or fill it")
        parts[name] = loaded[name]
    names = ", ".join(loaded) or "none"
    if not any(PART_NAMES[name] == TRAINING for name in parts):
        raise ValueError(f"data.source.path={path} has no split train to learn from: its splits are {names}")
    if others := [name for name in loaded if name not in parts]:
        log.warning("%s: split %s is neither train, validation nor test, and is not used", path, ", ".join(others))
    return parts


def _undecoded(rows: Any, column: str, where: str) -> Any:
    """The images of a split alone, as they are stored."""
    from datasets import Image

    kind = rows.features[column]
    if not isinstance(kind, Image) and getattr(kind, "dtype", None) not in ("binary", "large_binary"):
        raise ValueError(f"{where}: column {column!r} holds {kind}, expected images: is it the right column?")
    images = rows.select_columns([column]).cast_column(column, Image(decode=False))
    return images if column == "image" else images.rename_column(column, "image")


def _sizes(images: Any) -> list[int]:
    """Bytes of each image, by which one that is replaced is noticed; -1 for one that has vanished."""
    from pyarrow import compute

    sizes: list[int] = []
    for batch in images.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        column = batch.column("image")
        lengths = compute.binary_length(compute.struct_field(column, "bytes")).to_pylist()
        files = compute.struct_field(column, "path").to_pylist()
        sizes += [
            length if length is not None else os.path.getsize(path) if path and os.path.isfile(path) else -1
            for length, path in zip(lengths, files, strict=True)
        ]
    return sizes
