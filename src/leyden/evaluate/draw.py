"""Evaluation > **draw** > page: which pictures an evaluation has, and what is in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leyden import figures
from leyden.evaluate import pictures
from leyden.evaluate.corruptions import corrupted
from leyden.evaluate.evaluation import Evaluation
from leyden.evaluate.quality import is_wrong
from leyden.evaluate.subject import Subject, fitted
from leyden.examples import DIRECTORY, read_examples
from leyden.metric_names import HEADLINES
from leyden.trained import Network


def draw_pictures(made: Evaluation, network: Network, directory: Path, outside: Subject | None) -> list[str]:
    """Draws all pictures that an evaluation has into its directory; returns their names."""
    drawn: list[str] = []

    def new(name: str) -> Path:
        drawn.append(name)
        return directory / name

    _draw_answers(made, network, new)
    facts, whole = made.facts, made.facts["metrics"][made.facts["headline"]]["value"]
    if "selective" in facts:
        pictures.risk_coverage(facts["selective"]["curve"], new("risk_coverage.png"))
    for number, rows in enumerate(facts.get("slices", {}).values()):
        shown = [(f"{row['value_of_column']} ({row['images']})", row["value"], row["interval"]) for row in rows]
        pictures.bars(shown, whole, HEADLINES[network.facts.task], new(f"slices_{number}.png"))
    if "corruptions" in facts:
        pictures.corruption_errors(facts["corruptions"], new("corruptions.png"))
        _draw_samples(made, network, new("corruption_samples.png"))
    if made.scores is not None and outside is not None:
        inside, others = made.scores
        names = (made.subject.data.source.name, outside.data.source.name)
        for name in inside:
            path = new(f"outside_{name}.png")
            pictures.two_histograms(inside[name], others[name], names, name.replace("_", " "), path)
    figures.example_images(read_examples(directory), directory / DIRECTORY, new("examples.png"))
    return drawn


def _draw_answers(made: Evaluation, network: Network, new: Callable[[str], Path]) -> None:
    """What suits the task."""
    outcome = made.quality.outcome
    if outcome.matrix is not None:
        figures.confusion_matrix(outcome.matrix, network.facts.class_names, new("confusion_matrix.png"))
        _draw_reliability(made, new("reliability.png"))
    if outcome.classes is not None:
        rows = [(row[0], row[2], row[3], row[4]) for row in outcome.classes]
        figures.average_precisions(rows, new("average_precision.png"))
    if outcome.predictions.confidences is None:
        answered, labels = outcome.predictions.predictions, outcome.predictions.labels
        figures.predicted_against_true(answered, labels, new("answers.png"))


def _draw_reliability(made: Evaluation, path: Path) -> None:
    outcome = made.quality.outcome
    assert outcome.predictions.confidences is not None
    is_right = ~is_wrong(outcome)
    after = None
    if "calibration" in made.facts:
        after = (_confidences(made.answers.outputs / made.facts["calibration"]["temperature"]), is_right)
    pictures.reliability_before_and_after((outcome.predictions.confidences, is_right), after, path)


def _confidences(logits: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = logits.double().softmax(1).max(1).values.numpy()
    return found


def _draw_samples(made: Evaluation, network: Network, path: Path) -> None:
    """The first image, spoilt in all ways."""
    data, index = made.subject.data, made.answers.indices[:1]
    image = fitted(data.images_at(index).images, network.facts).cpu().numpy()
    found = made.facts["corruptions"]
    samples = {
        name: [corrupted(name, level, image, index.tolist())[0].transpose(1, 2, 0) for level in found["severities"]]
        for name in found["corruptions"]
    }
    pictures.corruption_samples({name: [np.ascontiguousarray(one) for one in row] for name, row in samples.items()},
                                found["severities"], path)  # fmt: skip
