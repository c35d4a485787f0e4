"""Config > data > **doctor**: looks at a whole data set, tells what is wrong, and writes doctor.html.

Two commands end here: of a data set, and of runs whose test answers tell which labels may be wrong.
"""

import os
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from leyden.build import build_classifier, build_data
from leyden.config import Origin
from leyden.data import ImageDataModule
from leyden.data.sources import TEST
from leyden.doctor import facts as looked
from leyden.doctor.duplicates import MOST_TURNED
from leyden.doctor.facts import Facts, counts_of
from leyden.doctor.findings import Finding, find, imbalance, in_order, normalisation, rounded
from leyden.doctor.label_errors import find_runs, label_errors, read_answers
from leyden.doctor.page import Examination, write
from leyden.doctor.speed import compare, measure, statistics
from leyden.doctor.subject import PARTS, Subject, subject_of
from leyden.errors import printable, why_unreadable
from leyden.hardware import choose_accelerator, choose_precision, keep_freed_memory
from leyden.preprocessing import settle
from leyden.report.words import many
from leyden.run import num_cores

COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def examine(config: DictConfig, directory: Path, origin: Origin) -> bool:
    """Examines the data of a config, writes doctor.html and doctor.json; whether training on it can be right."""
    settle(config, origin)
    data = build_data(config)
    classifier = build_classifier(config, data)
    data.setup("fit")
    subject = subject_of(data)
    facts, is_trainable = look_at_images(data)
    findings = find(subject, facts, is_trainable)
    if subject.class_names:
        class_weights = config.loss.get("class_weights")
        findings += imbalance(subject.counts()[:, 0], data.sampler, class_weights, subject.labels.ndim == 2)
    has_error = any(finding.severity == "error" for finding in findings)
    told, words = describe_images(subject, facts), dict(facts.reasons)
    if not has_error:
        means, stds = statistics(data, set(facts.reasons))
        told["mean, std of training"] = f"{rounded(means)}, {rounded(stds)}"
        findings += normalisation((means, stds), data.mean, data.std)
        accelerator = choose_accelerator(config.trainer.accelerator)
        num_parameters = sum(parameter.numel() for parameter in classifier.parameters())
        precision = choose_precision(config.trainer.precision, accelerator, num_parameters)
        if accelerator == "cpu":
            keep_freed_memory()
        if data.files:  # what is told already is not told again by the loader
            files = data.files
            for index, reason in facts.reasons.items():
                data.skipped[files.path(index)] = reason
        findings += compare(measure(data, classifier, accelerator, precision), data, classifier.finetune.keeps_features)
    _tell(Examination(subject, data, in_order(findings), told, words), directory)
    return not has_error


def examine_answers(directory: Path) -> None:
    """Tells which labels may be wrong by the stored test answers of a run, or of all runs of a study."""
    runs = find_runs(directory)
    answers, data = read_answers(runs)
    finding, words = label_errors(answers, data.class_names)
    count = f"{len(answers.indices):,} of {len(data.labels):,}, by {many(len(runs), 'run')}"
    findings = [finding]
    if len(answers.indices) < len(data.labels):
        advice = "A study over all folds does, `leyden train -m fold=0,1,2,3,4 …`, if the data has no test part."
        sentence = f"{len(data.labels) - len(answers.indices):,} images were not tested, and so not looked at."
        findings.append(Finding("not_tested", "note", sentence, advice))
    subject = subject_of(data)
    subject.parts[answers.indices] = TEST  # each by the run that has answered for it
    _tell(Examination(subject, data, findings, {"labels looked at": count}, words), directory)


def look_at_images(data: ImageDataModule) -> tuple[Facts, set[int]]:
    """The facts of all images, and which of those that Pillow does not read whole training reads nevertheless."""
    num_processes = num_cores()
    with_turns = len(data.labels) <= MOST_TURNED
    if data.files is None:
        assert data.images is not None
        return looked.of_images(data.images.cpu().numpy(), num_processes, with_turns), set()
    files = data.files
    paths = [os.path.join(files.directory, path) for path in files.paths]
    facts = looked.of_files(files.directory, files.paths, num_processes, with_turns, files.open_file)

    def reason(index: int) -> str | None:
        try:
            files.read(paths[index])
        except Exception as error:  # whatever a format's reader meets
            return why_unreadable(error)
        return None

    is_trainable = {index for index in facts.reasons if reason(index) is None}
    for mode in counts_of(facts.table["mode"][facts.table["is_read"]]):  # a whole mode may be none for training
        (of_mode,) = (facts.table["is_read"] & (facts.table["mode"] == mode)).nonzero()
        if refusal := reason(int(of_mode[0])):
            facts.reasons.update(dict.fromkeys(of_mode.tolist(), refusal))
    return facts, is_trainable


def describe_images(subject: Subject, facts: Facts) -> dict[str, str]:
    """What is told of the images without a verdict."""
    known = facts.table[facts.table["width"] > 0]
    sizes = np.stack([known["width"], known["height"]], 1).astype(np.int64)
    order = np.argsort(sizes.prod(1), kind="stable")
    counts = dict(zip(PARTS, np.bincount(subject.parts, minlength=len(PARTS)).tolist(), strict=True))
    told = {"images": ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)}
    if len(order):
        names = ("smallest", "median", "largest")
        picked = sizes[order[[0, len(order) // 2, -1]]]
        told["size"] = (
            f"all {picked[0][0]} × {picked[0][1]}"
            if (sizes == sizes[0]).all()
            else ", ".join(f"{name} {width} × {height}" for name, (width, height) in zip(names, picked, strict=True))
        )
    for name, column in (("modes", "mode"), ("formats", "format")):
        if found := {value: count for value, count in counts_of(known[column]).items() if value}:
            told[name] = ", ".join(f"{value} {count:,}" for value, count in found.items())
    if not subject.class_names:
        told["labels"] = (
            f"from {subject.labels.min():.4g} to {subject.labels.max():.4g}, mean {subject.labels.mean():.4g}"
        )
    return told


def _tell(examination: Examination, directory: Path) -> None:
    """Writes both files and prints the summary."""
    from rich.console import Console
    from rich.text import Text

    path = write(examination, directory)
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"{examination.subject.name}: {examination.facts.get('images', '')}".rstrip(": ")))
    for finding in examination.findings:
        mark = Text(f"{finding.severity:8}", style=COLOURS[finding.severity])
        console.print(mark + Text(printable(f"{finding.sentence} {finding.advice}".rstrip())))
    console.print(Text(printable(f"{examination.verdict}\n{path}")))
