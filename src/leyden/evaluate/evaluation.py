"""Subject > **evaluation** > page: asks the network and puts together all that its answers say.

Each part that a task or the data does not allow is named, with the reason, in `skipped`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hydra.errors import HydraException

from leyden.errors import explain
from leyden.evaluate.calibration import calibration
from leyden.evaluate.outside import scores_of, separation
from leyden.evaluate.quality import Quality, is_wrong, quality
from leyden.evaluate.robustness import robustness
from leyden.evaluate.selective import points, selective
from leyden.evaluate.slices import read_column, slices, values_of
from leyden.evaluate.subject import Subject, answers_of, called_ood, open_subject
from leyden.metric_names import HEADLINES
from leyden.trained import Answers, Network, Trained

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
    quality: Quality
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    scores: tuple[Scores, Scores] | None = None  # of the run's own images and of others


def evaluation_of(network: Network, subject: Subject, wanted: Wanted) -> Evaluation:
    """Asks for all images and measures."""
    facts = network.facts
    cells = {name: values_of(read_column(subject.data, name)) for name in wanted.columns}  # a misspelt one is told now
    answers = answers_of(network, subject)
    outside = None if facts.task == "regression" else wanted.outside
    with called_ood():
        others = None if outside is None else answers_of(network, outside)
    validation, reason = validation_of(network, subject, answers)
    measured = quality(network, answers, validation)
    made = Evaluation(subject, answers, measured)
    made.facts = {
        "task": facts.task,
        "headline": HEADLINES[facts.task],
        "data": {
            "name": subject.data.name, "split": subject.split, "is_own": subject.is_own,
            "fingerprint": subject.data.fingerprint, "images": len(answers.labels),
            "unreadable": len(subject.data.skipped),
        },
        "metrics": measured.metrics,
        "classes": measured.classes,
    }  # fmt: skip
    _calibration(made, network, validation, reason)
    _selective(made)
    for column, values in cells.items():
        own = [values[index] for index in answers.indices.tolist()]
        found = slices(column, own, answers, measured.outcome.predictions.predictions, facts)
        made.facts.setdefault("slices", {})[column] = found
    if wanted.corruptions:
        made.facts["corruptions"] = robustness(
            network, subject, wanted.corruptions, wanted.severities, measured.thresholds
        )
    if wanted.outside is not None:
        _outside(made, network, wanted.outside, others)
    made.facts["skipped"] = made.skipped
    return made


def validation_of(network: Network, subject: Subject, answers: Answers) -> tuple[Answers | None, str]:
    """The answers to the validation images of the network's own data, if any; and why no temperature is fitted to
    them, empty where one is.
    """
    if network.facts.task == "regression":
        return None, "it is for classes, and the labels are numbers"
    if subject.is_own:
        validation = answers if subject.split == "val" else answers_of(network, subject, subject.data.val_indices.cpu())
        tried_where_fitted = "the temperature would be tried on the images that it was fitted on: give split=test"
        return validation, "" if subject.split == "test" else tried_where_fitted
    if not isinstance(network, Trained):
        return None, "the run's own validation images are not known here"
    try:
        own = open_subject([], network.config, network.run["data"], network.facts, "val")
        return answers_of(network, own), ""
    except (ValueError, OSError, ImportError, HydraException) as error:
        return None, f"the run's own validation images cannot be read ({explain(error)})"


def _calibration(made: Evaluation, network: Network, validation: Answers | None, reason: str) -> None:
    if reason:
        made.skipped["calibration"] = reason
        return
    assert validation is not None
    made.facts["calibration"] = calibration(made.answers, validation, network.facts)
    if network.facts.task == "multi_label":
        made.skipped["calibration error"] = (
            "it is for one class per image; the loss says how well several are calibrated"
        )


def _selective(made: Evaluation) -> None:
    if made.facts["task"] != "single_label":
        made.skipped["selective prediction"] = "it is for one class per image"
        return
    confidences = made.quality.outcome.predictions.confidences
    assert confidences is not None
    found, curve = selective(confidences, is_wrong(made.quality.outcome))
    made.facts["selective"] = {**found, "curve": points(curve)}


def _outside(made: Evaluation, network: Network, outside: Subject, answers: Answers | None) -> None:
    if answers is None:
        made.skipped["other data"] = "numbers do not say how sure they are"
        return
    task, logits = network.facts.task, answers.outputs
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
