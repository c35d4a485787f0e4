"""Config > **data**: a data set of one's own: a table (CSV or Parquet) of image files and their labels."""

import functools
import logging
import os
import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.config import suggest
from leyden.data.border import Border
from leyden.data.image_file import read_image
from leyden.data.labels import (
    Where,
    check_classes,
    check_task,
    find_classes,
    number_groups,
    read_cells,
    to_group,
    to_labels,
    to_number,
)
from leyden.data.sources import PART_NAMES, Files, Task, check_facts
from leyden.data.table_file import TableFile

log = logging.getLogger(__name__)

MOST_NAMED = 5
MAY_LACK = ("split", "group", "weight")  # columns that are read where the table has them


class Table:
    """Image files below `directory`, each with its label on a row of `file`.

    Columns go by their names here. That of the split (train, val or test), of the group (whose images stay on one side
    of every split) and of the weight (how often an image is drawn) may lack: null takes the one called split, group or
    weight where the table has it, "" takes none. With `task=multi_label` a cell holds several labels, in JSON or with
    the separator between them; with `task=regression` a number.
    """

    def __init__(
        self,
        file: str,
        directory: str,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        channels: int = 3,
        task: Task = "single_label",
        path_column: str = "path",
        label_column: str = "label",
        split_column: str | None = None,
        group_column: str | None = None,
        weight_column: str | None = None,
        class_names: Sequence[str | int] | None = None,
        separator: str = ";",
        delimiter: str | None = None,
    ) -> None:
        check_task(task)
        check_facts(image_size, channels, mean, std)
        if not separator:
            raise ValueError("data.source.separator is empty: give what stands between labels, as in ';'")
        self.directory, self.name, self.task = Path(directory), Path(file).stem, task
        self.channels, self.image_size, self.mean, self.std = channels, image_size, tuple(mean), tuple(std)
        self.table = TableFile(Path(file), delimiter)
        columns = {"path": path_column, "label": label_column}
        for role, given in zip(MAY_LACK, (split_column, group_column, weight_column), strict=True):
            if given or (given is None and role in self.table.names):
                columns[role] = given or role
        cells = self.table.read(list(dict.fromkeys(columns.values())))
        self.cells = {role: cells[name] for role, name in columns.items()}
        if not self.cells["path"]:
            raise ValueError(f"{file} has no row: expected one for each image")
        self.contents = read_cells(self.cells["label"], task, self.table.where, separator)
        self.class_names = () if task == "regression" else find_classes(self.contents, class_names)
        check_classes(self.class_names, task, f"{file}, column {label_column!r}")
        self.labels = to_labels(self.contents, task, self.class_names, self.table.where)

    def load(self, root: Path) -> Files:
        """Looks for the files; `root` is not used.

        Raises:
            ValueError: a file does not exist or lies elsewhere, two rows contradict each other, or a cell of the
                split, the group or the weight is none; says on which lines.
        """
        paths = [self._below(str(path or ""), row) for row, path in enumerate(self.cells["path"])]
        rows = self.rows = self._rows_of_each_once(paths)
        self._look_for([paths[row] for row in rows], rows)
        read = functools.partial(read_image, image_size=self.image_size, channels=self.channels)
        parts, groups, weights = (None if tensor is None else tensor[rows] for tensor in self._columns())
        return Files(self.directory, [paths[row] for row in rows], self.labels[rows], read, parts, groups, weights)

    def column(self, name: str) -> list[Any]:
        """The cells of another column of the table, for the images in the order of `load`, which comes before.

        Raises:
            ValueError: there is no such column.
        """
        if name not in self.table.names:
            raise ValueError(f"{self.table.path} has no column '{name}': {suggest(name, self.table.names)}")
        cells = self.table.read([name])[name]
        return [cells[row] for row in self.rows]

    def _columns(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Parts, groups and weights of all rows, as far as the table has them."""
        where = self.table.where
        splits, groups, weights = (self.cells.get(role) for role in MAY_LACK)
        return (
            None if splits is None else torch.tensor([_part(cell, where, row) for row, cell in enumerate(splits)]),
            None if groups is None else number_groups(to_group(cell, where, row) for row, cell in enumerate(groups)),
            None
            if weights is None
            else torch.tensor([_weight(cell, where, row) for row, cell in enumerate(weights)], dtype=torch.float64),
        )

    def _below(self, path: str, row: int) -> str:
        """A path of the table, from the directory on and without detours, so that a file has one name."""
        if not path.strip():
            raise ValueError(f"{self.table.where(row)}: the path is empty: give it one or delete the row")
        if os.path.isabs(path):
            path = os.path.relpath(path, os.path.abspath(self.directory))
        normal = posixpath.normpath(path)
        if normal.split("/")[0] == "..":
            raise ValueError(
                f"{self.table.where(row)}: {self.cells['path'][row]} lies outside of data.root={self.directory}: give "
                "paths below it, or a data.root that holds them all"
            )
        return normal

    def _rows_of_each_once(self, paths: list[str]) -> list[int]:
        """The first row of each path; others that say the same are left out with a warning.

        Raises:
            ValueError: two rows of one path differ.
        """
        first: dict[str, int] = {}
        repeated = []
        for row, path in enumerate(paths):
            before = first.setdefault(path, row)
            if before == row:
                continue
            repeated.append(row)
            for role, cells in self.cells.items():
                same = self.contents[before] == self.contents[row] if role == "label" else cells[before] == cells[row]
                if role != "path" and not same:
                    is_several = role == "label" and self.task == "multi_label"
                    hint = ", with all labels in one cell" if is_several else ""
                    raise ValueError(
                        f"{self.table.path}: {path} has the {role} {cells[before]!r} on {self.table.place(before)} and "
                        f"{cells[row]!r} on {self.table.place(row)}: keep one of these rows{hint}"
                    )
        if repeated:
            log.warning(
                "%s: %s rows repeat another one and are left out, that on %s for one",
                self.table.path, len(repeated), self.table.place(repeated[0]),
            )  # fmt: skip
        return list(first.values())

    def _look_for(self, paths: list[str], rows: list[int]) -> None:
        """Refuses files that do not exist, or lie elsewhere by a symbolic link."""
        border = Border(self.directory)
        absent, folders = [], set()
        for path, row in zip(paths, rows, strict=True):
            folder, whole = posixpath.dirname(path), os.path.join(self.directory, path)
            try:
                if folder not in folders:  # looked at once, however many images it holds
                    border.follow(os.path.join(self.directory, folder))
                    folders.add(folder)
                mode = _mode(whole)
                if stat.S_ISLNK(mode):
                    mode = _mode(border.follow(whole))
            except ValueError as error:
                raise ValueError(f"{self.table.where(row)}: {error}") from error
            if not stat.S_ISREG(mode):
                absent.append(f"{path} ({self.table.place(row)})")
        if absent:
            more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
            raise ValueError(
                f"{self.table.path}: {len(absent)} of {len(paths)} images do not exist below data.root="
                f"{self.directory}: {', '.join(absent[:MOST_NAMED])}{more}; mend the paths or give another data.root"
            )


def _mode(path: str) -> int:
    """What kind of thing lies at a path; 0 for nothing."""
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):  # no path has a zero byte in it
        return 0


def _part(cell: Any, where: Where, row: int) -> int:
    word = str(cell).strip().lower()
    if word not in PART_NAMES:
        raise ValueError(f"{where(row)}: the split is {str(cell)!r}, expected one of {', '.join(PART_NAMES)}")
    return PART_NAMES[word]


def _weight(cell: Any, where: Where, row: int) -> float:
    weight = to_number(cell, where, row, "weight")
    if weight < 0:
        raise ValueError(f"{where(row)}: the weight is {cell}, expected 0 or more")
    return weight
