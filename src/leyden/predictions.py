"""Summary > **stored predictions** > report: what a run answered for each test image, in the images' order."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leyden.run import in_place_of

PREDICTIONS_FILE = "test_predictions.npz"


class Predictions(NamedTuple):
    """One row per test image, as the task says.

    With one class per image its label, the predicted one and the probability given to that, [N]; with any number of
    labels, all three [N, K], labels and predictions of 0 and 1; of numbers, label and prediction, [N].
    """

    labels: NDArray[Any]  # int64, of numbers float64
    predictions: NDArray[Any]
    confidences: NDArray[np.floating[Any]] | None = None  # of classes
    label_confidences: NDArray[np.floating[Any]] | None = None  # of one class per image: given to its label

    @property
    def is_single_label(self) -> bool:
        return self.confidences is not None and self.labels.ndim == 1


def write_predictions(directory: Path, found: Predictions) -> None:
    """Writes the answers to all test images, whole or not at all, as small as labels allow."""
    kind: Any = np.float32
    if found.confidences is not None:
        kind = np.min_scalar_type(int(max(found.labels.max(), found.predictions.max())))
    arrays: dict[str, Any] = {"labels": found.labels.astype(kind), "predictions": found.predictions.astype(kind)}
    for name in ("confidences", "label_confidences"):
        if (probabilities := getattr(found, name)) is not None:
            arrays[name] = probabilities.astype(np.float32)
    with in_place_of(directory / PREDICTIONS_FILE) as beside:
        np.savez_compressed(beside, allow_pickle=False, **arrays)


def read_predictions(directory: Path) -> Predictions | None:
    """The answers of the run in `directory`; None where it has stored none.

    Raises:
        ValueError: the file is damaged.
    """
    path = directory / PREDICTIONS_FILE
    try:
        # numpy would leave a damaged file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in Predictions._fields if name in stored}
        kind = np.int64 if "confidences" in arrays else np.float64
        arrays |= {name: arrays[name].astype(kind) for name in ("labels", "predictions")}
        found = Predictions(**arrays)
        _check(found)
    except FileNotFoundError:
        return None
    except Exception as error:  # zip, its compression and numpy's format each have errors of their own
        raise ValueError(f"{path} is damaged ({error}): test that run again") from error
    return found


def _check(found: Predictions) -> None:
    lengths = {len(values) for values in found if values is not None}
    if len(lengths) > 1 or not min(lengths):
        raise ValueError(f"it has {' and '.join(map(str, sorted(lengths)))} values")
    if not (np.isfinite(found.labels) & np.isfinite(found.predictions)).all():
        raise ValueError("a label or a prediction is no number")
    for values in (found.confidences, found.label_confidences):
        if values is not None and not ((values >= 0) & (values <= 1)).all():  # false for NaN, too
            raise ValueError("a confidence is no number from 0 to 1")
