"""Evaluation > **page** > evaluation.html: one file that needs no network, from the numbers of evaluation.json.

The template is page.html.j2; page.css adds to the style of the report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from leyden.metric_names import direction, is_of_one_class, is_percentage
from leyden.pages import STYLE, fill, image_address, sources, write_html
from leyden.report.words import date_in_words, value_in_words

HERE = Path(__file__).parent
MOST_ROWS = 200  # of a table on the page; evaluation.json has all
Facts = Mapping[str, Any]


class Table(NamedTuple):
    """Cells in words; the first column names the rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


class Picture(NamedTuple):
    """A file beside the page, and what it shows, for who cannot see it."""

    file: str
    words: str


class Section(NamedTuple):
    """A part of the page."""

    id: str
    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def write_page(facts: Facts, directory: Path) -> Path:
    """Writes evaluation.html; pictures that are not there are left out."""
    data = facts["data"]
    path = directory / "evaluation.html"
    found = [(section, _addresses(section, facts, directory)) for section in sections(facts)]
    html = fill(
        HERE / "page.html.j2",
        title=f"{Path(facts['run']).name}: {data['name']}, {data['split']}",
        run=facts["run"],
        created=facts["created"],
        date=date_in_words(facts["created"]),
        answer=answer(facts),
        sections=[(section, pictures) for section, pictures in found if pictures or section.tables],
        skipped=facts["skipped"],
        css=sources(STYLE, HERE / "page.css"),
    )
    write_html(path, html)
    return path


def _addresses(section: Section, facts: Facts, directory: Path) -> list[tuple[str, str]]:
    """The section's pictures, as far as they were drawn, as data: addresses, with their words."""
    found = []
    for picture in section.pictures:
        if picture.file in facts["pictures"]:
            found.append((image_address((directory / picture.file).read_bytes()), picture.words))
    return found


def told(found: Facts, is_share: bool, interval: str = "") -> str:
    """A value with its interval in words; `interval` says before it which one."""
    value = value_in_words(found["value"], is_share)
    if found["interval"] is None:
        return value
    low, high = (value_in_words(end, is_share) for end in found["interval"])
    return f"{value} ({interval}{low} to {high})"


def answer(facts: Facts) -> str:
    """The whole in a sentence."""
    data, name = facts["data"], facts["headline"]
    value = told(facts["metrics"][name], is_percentage(name))
    which = f"the {data['split']} images" if data["split"] != "all" else "all images"
    return f"{name.replace('_', ' ').capitalize()} {value} on {which} of {data['name']}, {data['images']:,} of them."


def sections(facts: Facts) -> list[Section]:
    """The parts of the page that the numbers have."""
    found = [_metrics(facts), _classes(facts), _errors()]
    if facts["task"] == "single_label" or "calibration" in facts:
        found.append(_calibration(facts))
    if "selective" in facts:
        found.append(_selective(facts["selective"]))
    for number, (column, rows) in enumerate(facts.get("slices", {}).items()):
        found.append(_slices(column, rows, facts["headline"], number))
    if "corruptions" in facts:
        found.append(_corruptions(facts["corruptions"]))
    if "outside" in facts:
        found.append(_outside(facts["outside"], facts["data"]["name"]))
    return found


def _metrics(facts: Facts) -> Section:
    rows = [
        [name.replace("_", " "), told(value, is_percentage(name)), "more" if direction(name) == "max" else "less"]
        for name, value in facts["metrics"].items()
        if not is_of_one_class(name)
    ]
    head = ["metric", "value (95 % interval)", "better"]
    return Section("metrics", "Metrics", tables=[Table(head, rows)])


def _classes(facts: Facts) -> Section:
    if not facts["classes"]:
        words = "What was answered against what is true, a dot for each image"
        return Section("answers", "Answers", pictures=[Picture("answers.png", words)])
    measures = [name for name in ("precision", "recall", "f1", "average_precision") if name in facts["classes"][0]]
    rows = [
        [row["class"], f"{row['images']:,}", f"{row['answers']:,}", *(told(row[name], True) for name in measures)]
        for row in facts["classes"][:MOST_ROWS]
    ]
    head = ["class", "images", "answers", *(name.replace("_", " ") for name in measures)]
    more = len(facts["classes"]) - len(rows)
    caption = f"{more} more classes stand in evaluation.json." if more else ""
    pictures = [
        Picture("confusion_matrix.png", "Confusion matrix: true classes in rows, answers in columns"),
        Picture("average_precision.png", "Average precision of each class with its interval"),
    ]
    return Section("classes", "Classes", tables=[Table(head, rows, caption)], pictures=pictures)


def _errors() -> Section:
    words = "Images with what was answered and what they are: the worst errors, the least sure answers, some by chance"
    return Section("errors", "Worst errors", pictures=[Picture("examples.png", words)])


def _calibration(facts: Facts) -> Section:
    words = "Reliability: the share of right answers against confidence"
    pictures = [Picture("reliability.png", words)]
    if "calibration" not in facts:
        return Section("calibration", "Calibration", pictures=pictures)
    found = facts["calibration"]
    if not found["is_told_apart"]:
        verdict = "which they do not tell from 1"
    else:
        verdict = "answers are surer than they are right" if found["temperature"] > 1 else "answers could be surer"
    sentence = (
        f"The {found['validation_images']:,} validation images want logits divided by {found['temperature']:.3g}: "
        f"{verdict}."
    )
    rows = [
        [
            name.replace("ece", "calibration error (ECE)"),
            *(told(found[when][name], name == "ece") for when in ("before", "after")),
        ]
        for name in found["before"]
    ]
    table = Table(["", "as it is", "with the temperature"], rows)
    return Section("calibration", "Calibration", [sentence], [table], pictures)


def _selective(found: Facts) -> Section:
    names = {
        "aurc": "area under the curve (AURC)",
        "excess_aurc": "of that, above the best order",
        "coverage_at_95": "coverage with 95 % right",
        "coverage_at_99": "coverage with 99 % right",
    }
    rows = [[words, told(found[name], name.startswith("coverage"))] for name, words in names.items()]
    sentence = "Where the least sure images may be left to someone else: how many it can answer, and how often wrongly."
    picture = Picture("risk_coverage.png", "Share of wrong answers against the share of images answered")
    return Section(
        "selective", "Selective prediction", [sentence], [Table(["", "value (95 % interval)"], rows)], [picture]
    )


def _slices(column: str, rows: Sequence[Facts], headline: str, number: int) -> Section:
    cells = [[row["value_of_column"], f"{row['images']:,}", told(row, is_percentage(headline))] for row in rows]
    table = Table([column, "images", headline.replace("_", " ") + " (95 % interval)"], cells)
    picture = Picture(f"slices_{number}.png", f"{headline} for each value of {column}, with intervals")
    return Section(f"slices-{number}", f"By {column}", [], [table], [picture])


def _corruptions(found: Facts) -> Section:
    is_share = found["cost"] != "mae"
    severities = [str(severity) for severity in found["severities"]]
    rows = [
        [
            name.replace("_", " "), row["family"], told(row, is_share),
            *(value_in_words(row["severities"][severity]["value"], is_share) for severity in severities),
        ]
        for name, row in found["corruptions"].items()
    ]  # fmt: skip
    rows += [
        [f"all {family}", family, told(row, is_share), *[""] * len(severities)]
        for family, row in found["families"].items()
    ]
    sentence = (
        f"Mean corruption error: {found['cost']} {told(found['mean_corruption_error'], is_share)}, against "
        f"{told(found['clean'], is_share)} of the images as they are."
    )
    pictures = [
        Picture("corruptions.png", f"The {found['cost']} at each severity of each corruption"),
        Picture("corruption_samples.png", "An image under each corruption at each severity"),
    ]
    head = ["corruption", "family", "mean (95 % interval)", *(f"severity {severity}" for severity in severities)]
    return Section("corruptions", "Corrupted images", [sentence], [Table(head, rows)], pictures)


def _outside(found: Facts, name: str) -> Section:
    rows = [[score.replace("_", " "), told(area, False)] for score, area in found["auroc"].items()]
    sentence = (
        f"The chance that an image of {name} has more of a score than one of {found['name']} "
        f"({found['images']:,} images): 1 tells all apart, 0.5 none."
    )
    pictures = [
        Picture(f"outside_{score}.png", f"{score} of both data sets".replace("_", " ")) for score in found["auroc"]
    ]
    return Section("outside", "Other data", [sentence], [Table(["score", "AUROC (95 % interval)"], rows)], pictures)
