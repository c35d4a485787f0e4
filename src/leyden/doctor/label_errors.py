"""Stored predictions > **label errors** > findings: labels that networks which never saw the image find unlikely.

Confident learning (Northcutt, Jiang and Chuang 2021): a network is sure of a class if it gives it at least the
probability that it gives the class's own images on average; how often it is sure of another class than the label says
tells how many labels are wrong.
"""

import contextlib
import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from leyden.build import build_data
from leyden.data import ImageDataModule
from leyden.doctor.findings import Finding
from leyden.errors import printable
from leyden.predictions import PREDICTIONS_FILE, read_predictions
from leyden.report.words import many
from leyden.run import is_study, read_record, working_directory

TOLERANCE = 1e-6  # of single precision, in which probabilities are stored
LEAST_KEPT = 5  # labels of a class that are never called wrong: of so few nothing can be counted


class Answers(NamedTuple):
    """What networks said of M images that they had not learnt from."""

    indices: NDArray[np.int64]  # [M]: the images' numbers in the data set
    labels: NDArray[np.int64]  # [M]
    probabilities: NDArray[np.floating]  # [M, K]: of the label and of the answer; those between are not stored


def find_runs(directory: Path) -> list[Path]:
    """The finished runs of a study, or the one run.

    Raises:
        ValueError: there is none with stored predictions.
    """
    has_runs = is_study(directory)
    if not (has_runs or (directory / "run.json").is_file()):
        raise ValueError(
            f"{directory} holds neither a run nor a study; to examine images, give leyden doctor data=image_folder "
            "and where they are"
        )
    candidates = sorted(path.parent for path in directory.glob("*/run.json")) if has_runs else [directory]
    runs = [path for path in candidates if (path / PREDICTIONS_FILE).is_file()]
    if not runs:
        raise ValueError(f"{directory}: no run there has been tested: wait for its end, or give another directory")
    return runs


def read_answers(runs: Sequence[Path]) -> tuple[Answers, ImageDataModule]:
    """The test answers of all runs, averaged where several have answered for an image, and the data set of the last.

    Raises:
        ValueError: a run's data have changed, or are not those of the others, or it kept no probabilities of labels.
    """
    sums: dict[int, NDArray[np.float32]] = {}
    counts: dict[int, int] = {}
    seen: set[tuple[Any, ...]] = set()
    for run in runs:
        data = _data_of(run)
        seen.add((data.name, tuple(data.class_names), data.labels.cpu().numpy().tobytes()))
        if len(seen) > 1:
            raise ValueError(f"{run} has other images or labels than {runs[0]}: give the directories of one of them")
        predictions = read_predictions(run)
        if predictions is None or predictions.label_confidences is None or predictions.confidences is None:
            raise ValueError(
                f"{run} has no {PREDICTIONS_FILE} with what it thinks of each label, of one class per image: "
                "train it again"
            )
        indices = _tested(run, data)
        labels = data.labels.cpu().numpy()[indices]
        if len(indices) != len(predictions.labels) or (labels != predictions.labels).any():
            raise ValueError(f"{run}: its test images are not those of today's data: train it again")
        rows = np.zeros((len(indices), data.num_classes), np.float32)
        rows[np.arange(len(rows)), predictions.predictions] = predictions.confidences
        rows[np.arange(len(rows)), labels] = predictions.label_confidences
        for index, row in zip(indices.tolist(), rows, strict=True):
            sums[index] = sums[index] + row if index in sums else row
            counts[index] = counts.get(index, 0) + 1
    order = np.array(sorted(sums))
    probabilities = np.stack([sums[index] / counts[index] for index in order])
    return Answers(order, data.labels.cpu().numpy()[order], probabilities), data


def _data_of(run: Path) -> ImageDataModule:
    config = OmegaConf.load(run / "config.yaml")
    assert isinstance(config, DictConfig)
    with contextlib.chdir(working_directory(run)):  # its paths may be relative
        data = build_data(config)
        if data.task != "single_label":
            raise ValueError(f"{run}: label errors are looked for where each image is of one class, not in {data.task}")
        data.setup("test")
        if data.files:  # pictures are read from wherever one is
            data.files = data.files._replace(directory=Path(os.path.abspath(data.files.directory)))
        layout = data.layout
    if layout != read_record(run).get("data", {}).get("layout"):
        raise ValueError(f"{run}: its images or labels have changed since: train it again")
    return data


def _tested(run: Path, data: ImageDataModule) -> NDArray[np.int64]:
    """The test images that the run has answered for: all but the files that it left out."""
    indices, table = data.test_indices.cpu().numpy(), run / "skipped_images.csv"
    if data.files is None or not table.is_file():
        return indices
    with table.open(encoding="utf-8", newline="") as file:
        skipped = {printable(os.path.abspath(working_directory(run) / row["path"])) for row in csv.DictReader(file)}
    files = data.files
    paths = [files.path(index) for index in indices.tolist()]
    return indices[np.array([printable(path) not in skipped for path in paths], bool)]


def suspects(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Positions of the labels [M] that are probably wrong by probabilities [M, K], the least likely label first.

    Of each class as many as confident learning counts: those with the least probability of their label ("prune by
    class"), as far as the network answers otherwise.
    """
    everyone, num_classes = np.arange(len(labels)), probabilities.shape[1]
    own, counts = probabilities[everyone, labels], np.bincount(labels, minlength=num_classes)
    shares, found = wrong_shares(labels, probabilities), []
    for label in range(num_classes):
        members = everyone[labels == label]
        num_wrong = min(round(shares[label] * counts[label]), max(0, counts[label] - LEAST_KEPT))
        found.append(members[np.argsort(own[members], kind="stable")[:num_wrong]])
    chosen = np.concatenate(found)
    chosen = chosen[probabilities[chosen].argmax(1) != labels[chosen]]
    return chosen[np.argsort(own[chosen], kind="stable")]


def wrong_shares(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share of each class's labels [K] that are wrong, counted where the network is sure of a class.

    It is sure of a class whose probability reaches the mean over the images that are labelled so.
    """
    everyone, num_classes = np.arange(len(labels)), probabilities.shape[1]
    sums = np.bincount(labels, probabilities[everyone, labels], num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    is_sure = probabilities >= thresholds - TOLERANCE  # [M, K]
    answers = np.where(is_sure, probabilities, -1).argmax(1)
    joint = np.zeros((num_classes, num_classes))  # label by what the network is sure of
    np.add.at(joint, (labels[is_sure.any(1)], answers[is_sure.any(1)]), 1)
    right = np.maximum(joint.diagonal(), 1)
    return 1 - right / (joint.sum(1) - joint.diagonal() + right)


def label_errors(answers: Answers, class_names: Sequence[str]) -> tuple[Finding, dict[int, str]]:
    """The finding, and of each suspect image what it shows instead, with the probabilities of both."""
    found = suspects(answers.labels, answers.probabilities)
    words = {}
    for position in found.tolist():
        row, label = answers.probabilities[position], answers.labels[position]
        answer = int(row.argmax())
        words[int(answers.indices[position])] = f"rather {class_names[answer]} ({row[answer]:.0%} to {row[label]:.0%})"
    share = len(found) / len(answers.labels)
    sentence = f"{many(len(found), 'label')} of {len(answers.labels):,} looked at may be wrong ({share:.1%})."
    advice = "Look at them, the least likely first: an image can also be hard, and its label right." if words else ""
    return Finding(
        "label_errors", "warning" if words else "note", sentence, advice, [[index] for index in words]
    ), words
