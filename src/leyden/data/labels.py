"""Sources > **labels**: what is written of an image (a word, several, a number) turned into classes and labels."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from leyden.data.sources import Files, Images, Task
from leyden.data.splits import find_leak

TASKS = get_args(Task)
Where = Callable[[int], str]  # names the place of a cell

log = logging.getLogger(__name__)


def read_cells(cells: Sequence[Any], task: Task, where: Where, separator: str = ";") -> list[list[str]] | list[float]:
    """Of each cell its classes, or for regression its number.

    A cell of several classes (multi_label) is a list already, a list in JSON, or text with a separator; an empty one
    has none of them.

    Raises:
        ValueError: a cell is empty, or is no number; says which.
    """
    if task == "regression":
        return [to_number(cell, where, row, "label") for row, cell in enumerate(cells)]
    if task == "multi_label":
        return [_several(cell, where, row, separator) for row, cell in enumerate(cells)]
    classes = [[_class(cell, where, row)] for row, cell in enumerate(cells)]
    for row, (name,) in enumerate(classes):
        if separator in name:
            log.warning(
                "%s: the label %r is taken for one class: if it is several, give data.source.task=multi_label",
                where(row), name,
            )  # fmt: skip
            break
    return classes


def to_number(cell: Any, where: Where, row: int, what: str) -> float:
    """The finite number that a cell holds."""
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where(row)}: the {what} is {str(cell)!r}, expected a number: mend it or delete the row")
    return number


def to_group(cell: Any, where: Where, row: int) -> str:
    """The name of the group that a cell holds."""
    if not (name := _text(cell)):
        raise ValueError(f"{where(row)}: the group is empty: give the image one, of its own if it is alone")
    return name


def _text(cell: Any) -> str:
    """What a cell says: nothing, where it holds nothing or NaN, which pandas writes of it."""
    return "" if cell is None or cell != cell else str(cell).strip()


def _class(cell: Any, where: Where, row: int) -> str:
    if isinstance(cell, list | dict):
        raise ValueError(f"{where(row)}: the label is {cell}, expected one class: is it data.source.task=multi_label?")
    if not (name := _text(cell)):
        raise ValueError(f"{where(row)}: the label is empty: give it one or delete the row")
    return name


def _several(cell: Any, where: Where, row: int, separator: str) -> list[str]:
    if cell is None or cell != cell:
        return []
    items = cell
    if isinstance(cell, str):
        items = cell.split(separator) if cell.strip() else []
        if cell.lstrip().startswith("["):
            try:
                items = json.loads(cell)
            except ValueError as error:
                raise ValueError(
                    f"{where(row)}: the labels {cell!r} begin as a JSON list and are none ({error}): mend them"
                ) from error
    return list(dict.fromkeys(_class(item, where, row) for item in (items if isinstance(items, list) else [items])))


def find_classes(contents: list[list[str]] | list[float], given: Sequence[Any] | None) -> tuple[str, ...]:
    """The classes that occur, or those given; in the order of their numbers, if that is what they are, else of text."""
    if given is not None:
        return tuple(str(name).strip() for name in given)
    names = {name for classes in contents if isinstance(classes, list) for name in classes}
    return tuple(sorted(names, key=_by_number if all(map(_is_whole, names)) else str))


def _is_whole(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdecimal()


def _by_number(name: str) -> tuple[int, str]:
    return int(name), name


def to_labels(contents: list[list[str]] | list[float], task: Task, class_names: Sequence[str], where: Where) -> Tensor:
    """Labels as the task has them.

    Raises:
        ValueError: a class is not among the names.
    """
    if task == "regression":
        return torch.tensor(contents, dtype=torch.float32)
    numbers = {name: number for number, name in enumerate(class_names)}
    chosen: list[list[int]] = []  # of each image, the numbers of its classes
    for row, classes in enumerate(contents):
        assert isinstance(classes, list)
        for name in classes:
            if name not in numbers:
                raise ValueError(f"{where(row)}: '{name}' is none of the {len(class_names)} classes that were given")
        chosen.append([numbers[name] for name in classes])
    if task == "single_label":
        return torch.tensor([number for (number,) in chosen], dtype=torch.int64)
    labels = torch.zeros(len(chosen), len(class_names))
    for row, places in enumerate(chosen):
        labels[row, places] = 1.0
    return labels


def check_task(task: str) -> None:
    """Refuses a task that is none."""
    if task not in TASKS:
        raise ValueError(f"data.source.task={task}: expected {', '.join(TASKS[:-1])} or {TASKS[-1]}")


def check_classes(class_names: Sequence[str], task: Task, where: str) -> None:
    """Refuses what cannot be learnt: fewer classes than the task needs, or the same one twice."""
    fewest = {"single_label": 2, "multi_label": 1, "regression": 0}[task]
    if len(class_names) < fewest:
        held = f"the class {class_names[0]} alone" if class_names else "no class"
        raise ValueError(f"{where} holds {held}, at least {fewest} must be told apart: is it the right column?")
    if len(set(class_names)) < len(class_names):
        twice = next(name for name in class_names if list(class_names).count(name) > 1)
        raise ValueError(f"data.source.class_names has {twice} twice: give each class once")


def check_labels(loaded: Images | Files, task: Task, num_classes: int, name: str) -> None:
    """Refuses labels of a data set `name` that are none of its task's, and a group that lies in two parts."""
    labels = loaded.labels
    if task == "regression":
        is_wrong, expected = ~labels.isfinite(), "a number"
    elif task == "multi_label":
        assert labels.shape[1] == num_classes
        is_wrong, expected = ((labels != 0) & (labels != 1)).any(1), "0 or 1 for each class"
    else:
        is_wrong = (labels < 0) | (labels >= num_classes)
        expected = f"0 to {num_classes - 1} for its {num_classes} classes"
    if is_wrong.any():
        first = int(is_wrong.nonzero()[0])
        raise ValueError(
            f"{name}: image {first} has the label {labels[first].tolist()}, expected {expected}: mend the labels"
        )
    if loaded.parts is not None and loaded.groups is not None:
        leak = find_leak(loaded.parts.numpy(), loaded.groups.numpy())
        if leak:
            names = [loaded.paths[index] if isinstance(loaded, Files) else f"image {index}" for index in leak]
            raise ValueError(
                f"{name}: {names[0]} and {names[1]} are of one group, but in different parts: what is learnt of one "
                "would be known of the other; put each group into one part"
            )


def number_groups(names: Iterable[str]) -> Tensor:
    """A number for each name, int64 [N]: the same one for the same name."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(name, len(numbers)) for name in names])


def count_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Images of each class, int64 [K], of labels int64 [N] or of zeros and ones [N, K]."""
    return labels.long().sum(0) if labels.ndim == 2 else torch.bincount(labels, minlength=num_classes)


def describe_label(label: Tensor, class_names: Sequence[str]) -> str:
    """A label in words: a class, several, or a number."""
    if label.ndim:
        return ", ".join(class_names[place] for place in label.nonzero().flatten().tolist()) or "none"
    return f"{float(label):.4g}" if label.is_floating_point() else class_names[int(label)]
