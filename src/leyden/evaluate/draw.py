"""Evaluation > **draw** > page: which pictures an evaluation has, and what is in them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from leyden import figures
from leyden.data.facts import DataFacts
from leyden.evaluate import pictures
from leyden.evaluate.corruptions import corrupted
from leyden.evaluate.evaluation import Evaluation
from leyden.evaluate.quality import is_wrong
from leyden.evaluate.subject import fitted
from leyden.examples import DIRECTORY, read_examples


def draw_pictures(made: Evaluation, facts: DataFacts, directory: Path) -> list[str]:
    """Draws all pictures that an evaluation has into its directory; returns their names."""
    drawn: list[str] = []

    def new(name: str) -> Path:
        drawn.append(name)
        return directory / name

    _draw_answers(made, facts.class_names, new)
    found, headline = made.facts, made.facts["headline"]
    if "selective" in found:
        pictures.risk_coverage(found["selective"]["curve"], new("risk_coverage.png"))
    for number, rows in enumerate(found.get("slices", {}).values()):
        shown = [(f"{row['value_of_column']} ({row['images']})", row["value"], row["interval"]) for row in rows]
        pictures.bars(shown, found["metrics"][headline]["value"], headline, new(f"slices_{number}.png"))
    if "corruptions" in found:
        pictures.corruption_errors(found["corruptions"], new("corruptions.png"))
        _draw_samples(made, facts, new("corruption_samples.png"))
    if made.scores is not None:
        inside, others = made.scores
        names = (found["data"]["name"], found["outside"]["name"])
        for name in inside:
            path = new(f"outside_{name}.png")
            pictures.two_histograms(inside[name], others[name], names, name.replace("_", " "), path)
    figures.example_images(read_examples(directory), directory / DIRECTORY, new("examples.png"))
    return drawn


def _draw_answers(made: Evaluation, class_names: Sequence[str], new: Callable[[str], Path]) -> None:
    """What suits the task."""
    outcome = made.quality.outcome
    if outcome.matrix is not None:
        figures.confusion_matrix(outcome.matrix, class_names, new("confusion_matrix.png"))
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


def _draw_samples(made: Evaluation, facts: DataFacts, path: Path) -> None:
    """The first image, spoilt in all ways."""
    data, index = made.subject.data, made.answers.indices[:1]
    image = fitted(data.images_at(index).images, facts).cpu().numpy()
    found = made.facts["corruptions"]
    samples = {
        name: [
            corrupted(name, severity, image, index.tolist())[0].transpose(1, 2, 0) for severity in found["severities"]
        ]
        for name in found["corruptions"]
    }
    pictures.corruption_samples(samples, found["severities"], path)
