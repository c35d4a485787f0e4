"""Report > **Markdown** > report.md: the figures of the page as text, for a terminal, a diff or a pull request."""

import re
from collections.abc import Iterable, Sequence

from leyden.metric_names import is_percentage
from leyden.report.curves import OVERFITTING_RULE
from leyden.report.model import (
    Band,
    Calibration,
    Curves,
    Effect,
    Importance,
    Interaction,
    LabelEfficiency,
    Report,
    Response,
    Setting,
)
from leyden.report.tables import Cell, Table, labels_table, runs_table, settings_table
from leyden.report.words import (
    EFFECTS_IN_WORDS,
    LABELS_IN_WORDS,
    MARKS_IN_WORDS,
    NOTHING,
    bests_in_words,
    choice_in_words,
    date_in_words,
    in_words,
    level_in_words,
    once_more_in_words,
    value_in_words,
)

SPECIAL = re.compile(r"[\\`*\[\]|]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)")


def to_markdown(report: Report) -> str:
    """The report as GitHub's Markdown; it ends with a line break.

    Sections in which there is nothing to say are left out, as on the page.
    """
    is_share, direction = report["metric"]["is_share"], report["metric"]["direction"]
    parts = [
        f"# {_plain(report['title'])}",
        _plain(f"{report['data']} · {date_in_words(report['created'])}".removeprefix(" · ")),
        *_answer(report),
        "## Settings",
        choice_in_words(report["metric"]),
        MARKS_IN_WORDS if len(report["settings"]) > 1 else "",
        _table(settings_table(report)),
        *(_importance(report["importance"]) if report["importance"] else ()),
        *(_effects(report["effects"], report["metric"]["selection"], is_share) if report["effects"] else ()),
        *(_responses(report["responses"], direction, is_share) if report["responses"] else ()),
        *(_labels(report["labels"]) if report["labels"] else ()),
        *(
            _interactions(report["interactions"], report["metric"]["selection"], is_share)
            if report["interactions"]
            else ()
        ),
        *_curves(report["curves"], report["settings"]),
        *_overfitting(report),
        *_calibration(report["calibration"], report["settings"]),
        *(["## How sure", _plain(report["power"]["sentence"])] if report["power"] else ()),
        *(["## Runs", _table(runs_table(report))] if report["runs"] else ()),
        *_unreadable(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _answer(report: Report) -> Iterable[str]:
    yield "## Answer"
    yield " ".join(map(_plain, report["answer"]))
    yield once_more_in_words(report["threads"])
    yield f"```bash\n{report['command']}\n```"
    for heading, sentences in (("Not finished", report["failures"]), ("Warnings", report["warnings"])):
        if sentences:
            yield f"### {heading}"
            yield _list(sentences)


def _importance(importance: Importance) -> list[str]:
    pairs = zip(importance["names"], importance["shares"], strict=True)
    shares = [f"{name}: {share:.1%}".replace("%", " %") for name, share in pairs]
    return ["## Importance", _plain(importance["method"]), _list(shares)]


def _effects(effects: Sequence[Effect], metric: str, is_share: bool) -> list[str]:
    rows = [
        [Cell(effect["factor"]), Cell(level_in_words(level)), Cell(in_words(estimate, is_share)),
         Cell(str(estimate["n"]))]
        for effect in effects
        for level, estimate in zip(effect["levels"], effect["estimates"], strict=True)
    ]  # fmt: skip
    return ["## Effects", f"Each level with its mean over the other factors. {EFFECTS_IN_WORDS}",
            _rows(["factor", "level", metric, "runs"], [False, False, True, True], rows)]  # fmt: skip


def _responses(responses: Sequence[Response], direction: str, is_share: bool) -> list[str]:
    best = "highest" if direction == "max" else "lowest"
    return ["## Best values", f"Where each curve is {best}, with all other factors at their best.",
            _list(line for response in responses for line in bests_in_words(response, is_share))]  # fmt: skip


def _labels(labels: LabelEfficiency) -> Iterable[str]:
    yield "## What labels are worth"
    yield LABELS_IN_WORDS
    if labels["sentences"]:
        yield _list(labels["sentences"])
    yield _table(labels_table(labels))


def _interactions(interactions: Sequence[Interaction], metric: str, is_share: bool) -> Iterable[str]:
    yield "## Interactions"
    yield f"The mean {_plain(metric)} of each pair of levels over the other factors."
    for pair in interactions:
        names = [f"{pair['rows']} × {pair['columns']}", *map(level_in_words, pair["column_levels"])]
        rows = [
            [Cell(level_in_words(level)),
             *(Cell(NOTHING if mean is None else value_in_words(mean, is_share)) for mean in means)]
            for level, means in zip(pair["row_levels"], pair["means"], strict=True)
        ]  # fmt: skip
        yield _rows(names, [False] + [True] * len(pair["column_levels"]), rows)


def _curves(curves: Sequence[Curves], settings: Sequence[Setting]) -> Iterable[str]:
    """Where each curve ends; report.json has all of its epochs."""
    names = list(dict.fromkeys(name for one in curves for name in one["metrics"]))
    if names:
        rows = [
            [Cell(settings[one["setting"]]["label"]), Cell(str(one["epochs"][-1])),
             *(Cell(_last(one["metrics"].get(name), name)) for name in names)]
            for one in curves if one["epochs"]
        ]  # fmt: skip
        yield "## Curves"
        yield "Means over seeds in the last epoch that has one; report.json has every epoch, with intervals."
        yield _rows(["setting", "epoch", *names], [False] + [True] * (1 + len(names)), rows)


def _last(band: Band | None, name: str) -> str:
    last = next((mean for mean in reversed(band["mean"]) if mean is not None), None) if band else None
    return NOTHING if last is None else value_in_words(last, is_percentage(name))


def _calibration(calibration: Sequence[Calibration], settings: Sequence[Setting]) -> Iterable[str]:
    """Accuracy by confidence, of the bins that hold images."""
    if calibration:
        yield "## Calibration"
        yield "How often the test answers of all seeds together are right, by how sure they are."
        rows = [
            [Cell(settings[one["setting"]]["label"]), Cell(value_in_words(confidence, True)),
             Cell(value_in_words(accuracy, True)), Cell(f"{num_images:,}")]
            for one in calibration
            for num_images, confidence, accuracy in zip(
                one["counts"], one["confidences"], one["accuracies"], strict=True
            )
            if confidence is not None and accuracy is not None
        ]  # fmt: skip
        yield _rows(["setting", "confidence", "accuracy", "images"], [False, True, True, True], rows)


def _overfitting(report: Report) -> Iterable[str]:
    overfit = [curves for curves in report["curves"] if curves["overfit_from"] is not None]
    if report["curves"]:
        yield "## Overfitting"
        yield _plain(OVERFITTING_RULE)
        labels = [setting["label"] for setting in report["settings"]]
        told = [f"{labels[curves['setting']]}: from epoch {curves['overfit_from']:.3g}." for curves in overfit]
        yield _list(told) if told else "No setting overfits in most of its runs, as far as they are long enough to say."


def _unreadable(report: Report) -> Iterable[str]:
    if report["unreadable"]:
        yield "## Unreadable"
        yield _list(f"{one['directory']}: {one['reason']}" for one in report["unreadable"])


def _table(table: Table) -> str:
    return _rows([column.name for column in table.columns], [column.is_number for column in table.columns], table.rows)


def _rows(names: Sequence[str], are_numbers: Sequence[bool], rows: Iterable[Sequence[Cell]]) -> str:
    lines = [map(_plain, names), ("--:" if is_number else "---" for is_number in are_numbers)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*lines, *(map(_cell, row) for row in rows)])


def _cell(cell: Cell) -> str:
    if cell.is_code:
        return "`" + cell.text.replace("|", "\\|").replace("`", "'").replace("\n", " ") + "`"
    text = f"{cell.mark} {_plain(cell.text)}".lstrip()
    return f"[{text}]({cell.address.replace('(', '%28').replace(')', '%29')})" if cell.address else text


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(sentence)}" for sentence in sentences)


def _plain(text: str) -> str:
    """Text whose characters mean themselves, on one line."""
    return " ".join(SPECIAL.sub(r"\\\g<0>", text).split())
