"""Layers > **histograms** > loggers: how a layer's weights and gradients are spread, in a file for each logged step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leyden.metric_names import is_of_one_layer
from leyden.run import HISTOGRAMS, in_place_of

if TYPE_CHECKING:
    from torch import Tensor

NUM_BINS = 64

Values = Sequence["Tensor"]
Histogram = tuple[NDArray[np.int64], NDArray[Any]]  # counts [NUM_BINS] and the edges of their bins [NUM_BINS + 1]


def write_histograms(run_directory: Path, step: int, values: Mapping[str, Values]) -> None:
    """Writes how the values of each name are spread, from the least to the greatest; without those not finite."""
    arrays: dict[str, Any] = {}
    for name, tensors in values.items():
        flat = np.concatenate([tensor.float().flatten().cpu().numpy() for tensor in tensors])
        if np.isfinite(flat).all():
            # In double precision: NumPy refuses bins that are narrower than the values' own steps.
            arrays[f"{name}/counts"], arrays[f"{name}/edges"] = np.histogram(flat.astype(np.float64), NUM_BINS)
    place = run_directory / HISTOGRAMS
    place.mkdir(exist_ok=True)
    with in_place_of(_path(run_directory, step), is_lasting=False) as beside:  # training waits
        np.savez_compressed(beside, allow_pickle=False, **arrays)


def read_histograms(run_directory: Path, step: int) -> dict[str, Histogram]:
    """The histograms of a step by their names, as `histograms/head/weights`; none where none were written."""
    path = _path(run_directory, step)
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        names = [name.removesuffix("/counts") for name in arrays.files if name.endswith("/counts")]
        return {f"{HISTOGRAMS}/{name}": (arrays[f"{name}/counts"], arrays[f"{name}/edges"]) for name in names}


def read_of_row(run_directory: Path, row: Mapping[str, float]) -> dict[str, Histogram]:
    """The histograms of the step that a row of metrics.csv is of, where it tells of layers."""
    return read_histograms(run_directory, int(row["step"])) if any(map(is_of_one_layer, row)) else {}


def _path(run_directory: Path, step: int) -> Path:
    return run_directory / HISTOGRAMS / f"{step:08}.npz"  # 00000100.npz of step 100
