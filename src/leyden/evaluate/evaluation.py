"""Subject > **evaluation** > page: asks the network and puts together all that its answers say.

Each part that a task or the data does not allow is named, with the reason, in `skipped`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from hydra.errors import HydraException

from leyden.errors import explain
from leyden.evaluate.calibration import calibration
from leyden.evaluate.outside import scores_of, separation
from leyden.evaluate.quality import Quality, is_wrong, quality
from leyden.evaluate.robustness import robustness
from leyden.evaluate.selective import points, selective
from leyden.evaluate.slices import read_column, slices, values_of
from leyden.evaluate.subject import Subject, answers_of, fitted, headline_of, open_subject
from leyden.trained import Answers, Network, Trained

log = logging.getLogger(__name__)

Scores = dict[str, Any]


class Wanted(NamedTuple):
    """What is looked at beside what always is."""

    columns: Sequence[str]  # of the data's table
    corruptions: Sequence[str]
    severities: Sequence[int]
    outside: Subject | None  # other data


@dataclass
class Evaluation:
    """All that is known of a network's answers; `facts` are what evaluation.json holds."""

    subject: Subject
    answers: Answers
    validation: Answers | None
    quality: Quality
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    scores: tuple[Scores, Scores] | None = None  # of the run's own images and of others


def evaluation_of(network: Network, subject: Subject, wanted: Wanted) -> Evaluation:
    """Asks for all images and measures."""
    facts = network.facts
    cells = {name: values_of(read_column(subject.data, name)) for name in wanted.columns}  # a misspelt one is told now
    answers = answers_of(network, subject)
    if not len(answers.labels):
        raise ValueError(f"{subject.data.name}: none of its images could be read")
    validation, reason = validation_of(network, subject, answers)
    measured = quality(network, answers, validation)
    made = Evaluation(subject, answers, validation, measured)
    made.facts = {
        "task": facts.task,
        "headline": headline_of(facts),
        "data": {
            "name": subject.data.name, "split": subject.split, "is_own": subject.is_own,
            "fingerprint": subject.data.fingerprint, "images": len(answers.labels),
            "unreadable": len(subject.data.skipped),
        },
        "metrics": measured.metrics,
        "classes": measured.classes,
    }  # fmt: skip
    _calibration(made, network, reason)
    _selective(made, network)
    for column, values in cells.items():
        own = [values[index] for index in answers.indices.tolist()]
        found = slices(column, own, answers, measured.outcome.predictions.predictions, facts)
        made.facts.setdefault("slices", {})[column] = found
    if wanted.corruptions:
        made.facts["corruptions"] = robustness(
            network, subject, wanted.corruptions, wanted.severities, measured.thresholds
        )
    if wanted.outside is not None:
        _outside(made, network, wanted.outside)
    made.facts["skipped"] = made.skipped
    return made


def validation_of(network: Network, subject: Subject, answers: Answers) -> tuple[Answers | None, str]:
    """The answers to the validation images of the network's own data; or None, and why there are none."""
    if network.facts.task == "regression":
        return None, "it is for classes, and the labels are numbers"
    if subject.is_own:
        if subject.split == "val":
            return answers, "the temperature would be tried on the images that it was fitted on: give split=test"
        return answers_of(network, subject, subject.data.val_indices.cpu()), ""
    if not isinstance(network, Trained):
        return None, "the run's own validation images are not known here"
    try:
        own = open_subject([], network.config, network.run["data"], network.facts, "val")
        return answers_of(network, own), ""
    except (ValueError, OSError, ImportError, HydraException) as error:
        return None, f"the run's own validation images cannot be read ({explain(error)})"


def _calibration(made: Evaluation, network: Network, reason: str) -> None:
    if made.validation is None or reason:
        made.skipped["calibration"] = reason
        return
    made.facts["calibration"] = calibration(made.answers, made.validation, network.facts)
    if network.facts.task == "multi_label":
        made.skipped["calibration error"] = (
            "it is for one class per image; the loss says how well several are calibrated"
        )


def _selective(made: Evaluation, network: Network) -> None:
    if network.facts.task != "single_label":
        made.skipped["selective prediction"] = "it is for one class per image"
        return
    confidences = made.quality.outcome.predictions.confidences
    assert confidences is not None
    found, curve = selective(confidences, is_wrong(made.quality.outcome))
    made.facts["selective"] = {**found, "curve": points(curve)}


def _outside(made: Evaluation, network: Network, outside: Subject) -> None:
    task = network.facts.task
    if task == "regression":
        made.skipped["other data"] = "numbers do not say how sure they are"
        return
    data = outside.data
    asked = data.batches(outside.indices, data.evaluation_batch_size)
    logits = torch.cat([network.logits(fitted(batch.images, network.facts)) for batch in asked])
    views = (
        network.test_time.views if isinstance(network, Trained) else getattr(network, "told", {}).get("views", "plain")
    )
    is_one_look = views == "plain"
    if not is_one_look and task == "single_label":
        made.skipped["energy"] = f"answers are means over views (test_time={views}), which have none"
    scores = [scores_of(outputs, task, is_one_look) for outputs in (made.answers.outputs, logits)]
    made.scores = (scores[0], scores[1])
    made.facts["outside"] = {
        "name": outside.data.name, "split": outside.split, "images": len(logits), "auroc": separation(*scores),
    }  # fmt: skip
