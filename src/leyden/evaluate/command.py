"""Options > **evaluate** > page: opens the network and the images, measures, writes the results and says the first."""

import contextlib
import functools
import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hydra.errors import HydraException

from leyden import __version__
from leyden.data import write_skipped
from leyden.data.facts import DataFacts
from leyden.errors import explain
from leyden.evaluate.answers_table import columns_of, write_columns
from leyden.evaluate.corruptions import SEVERITIES, parse_corruptions, parse_severities
from leyden.evaluate.draw import draw_pictures
from leyden.evaluate.evaluation import Evaluation, Wanted, evaluation_of
from leyden.evaluate.options import Options
from leyden.evaluate.page import told, write_page
from leyden.evaluate.quality import worst_classes
from leyden.evaluate.subject import Subject, open_outside, open_subject, split_words
from leyden.examples import write_examples
from leyden.export.opened import Opened
from leyden.loggers.lineage import Made, add, logger_of
from leyden.metric_names import is_percentage
from leyden.report.words import value_in_words
from leyden.run import is_writable, working_directory, write_atomically
from leyden.trained import Trained, open_network, probabilities_of

log = logging.getLogger(__name__)

FORMAT = 1
FACTS_FILE = "evaluation.json"
LARGE_PAGE = 20 * 2**20  # bytes


def evaluate(asked: Options, words: Sequence[str]) -> None:
    """`leyden evaluate run=…`: tells how good a run's network is, and writes it beside the run.

    Raises:
        ValueError: the network or the images cannot be had, or do not fit each other.
    """
    names, severities = parse_corruptions(asked.corruptions), parse_severities(asked.severities)
    if not names and severities != list(SEVERITIES):
        log.warning("severities=%s is not used: no corruptions are asked for", asked.severities)
    network = open_network(asked.run.absolute() if asked.run.exists() else asked.run, asked.checkpoint)
    of_data, of_outside = split_words(words)
    output, elsewhere = asked.output.absolute() if asked.output else None, Path.cwd()
    source = (network.directory if isinstance(network, Trained) else network.path).absolute()
    if isinstance(network, Opened):
        checkpoint = Path(network.told["checkpoint"]).stem
    else:  # a file is itself, whatever is asked for
        checkpoint = asked.checkpoint if asked.run.is_dir() else network.path.stem
    with contextlib.chdir(working_directory(source) if source.is_dir() else Path.cwd()):  # its paths may be relative
        subject = _open(network, of_data, asked.split)
        outside = open_outside(of_outside, network.config, network.facts) if of_outside else None
        columns = [name.strip() for name in asked.slice.split(",")] if asked.slice else []
        if output:
            _refuse_other_files(output)
        directory = output or _place(network, source, elsewhere, subject.name, checkpoint)
        directory.mkdir(parents=True, exist_ok=True)  # what cannot be written is told before the work
        made = evaluation_of(network, subject, Wanted(columns, names, severities, outside))
        path = write(made, network.facts, checkpoint, source, directory, asked.pictures)
    print(in_words(made, path))
    if isinstance(network, Trained) and (
        place := add(network.record, network.path, logger_of(network.config).artifacts, as_made(made, path))
    ):
        print(f"{'at W&B':15} {place}")


def as_made(made: Evaluation, page: Path) -> Made:
    """What W&B is given: numbers, every answer, and the page unless its pictures make it large."""
    facts, data = made.facts, made.facts["data"]
    names = [FACTS_FILE, facts["predictions"]]
    if page.stat().st_size <= LARGE_PAGE:
        names.append(page.name)
    what = {"checkpoint": facts["checkpoint"], "headline": facts["headline"], **data}
    metrics = {f"{made.subject.name}/{name}": found["value"] for name, found in facts["metrics"].items()}
    files = {name: page.parent / name for name in names}
    used = {key: data[key] for key in ("name", "fingerprint")}
    return Made("evaluation", "evaluation", made.subject.name, files, what, used, metrics)


def _open(network: Trained | Opened, words: Sequence[str], split: str) -> Subject:
    try:
        return open_subject(words, network.config, network.run["data"], network.facts, split)
    except (ValueError, OSError, ImportError, HydraException) as error:
        if words:
            raise
        raise ValueError(
            f"the data of the run cannot be read ({explain(error)}): say where it lies now by "
            "data.root=…, or give other data by data=…"
        ) from error


def _place(network: Trained | Opened, source: Path, elsewhere: Path, name: str, checkpoint: str) -> Path:
    """Where results of that name go: below the run, or elsewhere where there is none or it cannot be written.

    Those of another checkpoint than the best, of a file alone and of an export have its name.
    """
    is_of_run = isinstance(network, Trained) and source.is_dir()
    if not is_of_run:
        name += f"_{source.name.removesuffix('.ckpt')}"
    elif checkpoint != "best":
        name += f"_{Path(checkpoint).stem}"
    place = source if is_of_run and is_writable(source) else elsewhere
    return place / "evaluate" / re.sub(r"[^\w.-]+", "_", name)


def _refuse_other_files(directory: Path) -> None:
    """Results take the place of an earlier evaluation's, and of nothing else."""
    if directory.is_dir() and any(directory.iterdir()) and not (directory / FACTS_FILE).is_file():
        raise ValueError(
            f"output={directory} holds other files: give a new directory, or that of an earlier evaluation"
        )


def write(made: Evaluation, facts: DataFacts, checkpoint: str, source: Path, directory: Path, pictures: bool) -> Path:
    """Writes numbers, predictions, pictures and the page; returns the page."""
    subject, outcome, class_names = made.subject, made.quality.outcome, facts.class_names
    indices = made.answers.indices
    probabilities = probabilities_of(made.answers.outputs, facts.task)
    files = subject.data.files
    names = [files.paths[index] for index in indices.tolist()] if files else None
    predictions = write_columns(columns_of(indices, names, outcome.predictions, probabilities, facts), directory)
    made.facts = {
        "format": FORMAT,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "run": str(source),
        "checkpoint": checkpoint,
        "leyden": __version__,
        **made.facts,
        "predictions": predictions.name,
        "pictures": [],
    }
    for name in _files_of_before(directory) - {predictions.name}:
        (directory / name).unlink(missing_ok=True)
    outcome.write_tables(class_names, directory)
    if subject.data.skipped:
        write_skipped(subject.data.skipped, directory / "skipped_images.csv")
    else:  # that of an earlier evaluation
        (directory / "skipped_images.csv").unlink(missing_ok=True)
    if pictures:
        write_examples(directory, subject.data, class_names, indices, outcome.predictions, outcome.losses)
        made.facts["pictures"] = draw_pictures(made, facts, directory)
    write_atomically(directory / FACTS_FILE, json.dumps(made.facts, indent=1, allow_nan=False) + "\n")
    return write_page(made.facts, directory)


def _files_of_before(directory: Path) -> set[str]:
    """The pictures and the table of an evaluation that this one takes the place of."""
    try:
        facts = json.loads((directory / FACTS_FILE).read_text(encoding="utf-8"))
        return {Path(name).name for name in (*facts["pictures"], facts["predictions"])}
    except (OSError, ValueError, KeyError, TypeError):  # none is there, or it is damaged
        return set()


def in_words(made: Evaluation, path: Path) -> str:
    """The result in a few lines, as at the end of a run."""
    facts, headline = made.facts, made.facts["headline"]
    in_full = functools.partial(told, interval="95 % interval ")
    data = facts["data"]
    name = f"{data['split']} {headline}".replace("_", " ")
    lines = [("images", f"{data['images']:,} of {data['name']}, {data['split']}")]
    lines.append((name, in_full(facts["metrics"][headline], is_percentage(headline))))
    if worst := worst_classes(facts["classes"]):
        recalls = [f"{row['class']} {value_in_words(row['recall']['value'], True)}" for row in worst]
        lines.append(("weakest", f"{', '.join(recalls)} (recall)"))
    if "calibration" in facts and "ece" in facts["calibration"]["before"]:
        found = facts["calibration"]
        before, after = (found[when]["ece"] for when in ("before", "after"))
        cooled = f"{value_in_words(after['value'], True)} at temperature {found['temperature']:.3g}"
        lines.append(("calibration", f"{in_full(before, True)}, {cooled}"))
    if "selective" in facts:
        lines.append(("at 99 % right", f"answers {in_full(facts['selective']['coverage_at_99'], True)} of the images"))
    if "corruptions" in facts:
        found = facts["corruptions"]
        is_share = found["cost"] != "mae"
        lines.append(("corrupted", f"mean {found['cost']} {in_full(found['mean_corruption_error'], is_share)}"))
    for score, area in facts.get("outside", {}).get("auroc", {}).items():
        lines.append(("other data", f"AUROC {in_full(area, False)} by {score.replace('_', ' ')}"))
    lines += [("skipped", f"{part}: {reason}") for part, reason in made.skipped.items()]
    lines.append(("look at it", str(path)))
    return "\n" + "\n".join(f"{label:15} {text}" for label, text in lines)
