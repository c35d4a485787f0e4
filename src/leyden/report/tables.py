"""Report > **tables** > page, Markdown: settings and runs as rows of text, with what they are sorted by."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from leyden.report.model import Estimate, Factor, LabelEfficiency, Level, Metric, Report, Run, Setting
from leyden.report.settings import label_of
from leyden.report.words import (
    NOTHING,
    STANDINGS,
    difference_in_words,
    in_words,
    level_in_words,
    p_in_words,
    seconds_in_words,
    value_in_words,
)


class Column(NamedTuple):
    """A heading; numbers stand to the right."""

    name: str
    is_number: bool = True


class Cell(NamedTuple):
    """What is read, and the key that the column is sorted by: None comes last."""

    text: str
    key: float | str | None = None
    mark: str = ""  # says the same as the text, to the eye
    address: str = ""  # where the text leads
    is_code: bool = False  # long, and to be copied


class Table(NamedTuple):
    """Rows have as many cells as there are columns."""

    columns: list[Column]
    rows: list[list[Cell]]


def settings_table(report: Report) -> Table:
    """Every setting, the best first; columns in which nothing is known are left out."""
    metric, factors = report["metric"], report["factors"]
    is_tested = metric["reported"] != metric["selection"]
    columns = [
        Column("place"),
        *(Column(factor["name"], factor["is_numeric"]) for factor in factors),
        Column("runs"),
        Column(f"{metric['selection']}{' (chooses)' if is_tested else ''}"),
        Column(f"{metric['reported']} (reports)"),
        Column("gap, training − validation"),
        Column("overfit"),
        Column("calibration error"),
        Column("best epoch"),
        Column("time of a run"),
        Column("p"),
        Column("against the best", is_number=False),
    ]
    return _without_empty(columns, [_setting_row(setting, factors, metric) for setting in report["settings"]])


def _setting_row(setting: Setting, factors: Sequence[Factor], metric: Metric) -> list[Cell]:
    is_tested, is_share = metric["reported"] != metric["selection"], metric["is_share"]
    num_runs, num_unfinished = setting["selection"]["n"], setting["num_unfinished"]
    mark, standing = STANDINGS[setting["standing"]]
    epoch, seconds, p_value, error = (setting[key] for key in ("best_epoch", "seconds", "p_value", "ece"))
    return [
        Cell(str(setting["number"] + 1), setting["number"]),
        *(_level(setting["factors"].get(factor["name"]), factor) for factor in factors),
        Cell(str(num_runs) + (f" (+ {num_unfinished} unfinished)" if num_unfinished else ""), num_runs),
        _estimate(setting["selection"], is_share),
        _estimate(setting["reported"] if is_tested else None, is_share),  # the same figure twice
        _estimate(setting["gap"], True),
        _nothing() if not setting["num_overfit"] else Cell(str(setting["num_overfit"]), setting["num_overfit"]),
        _nothing() if error is None else Cell(value_in_words(error, True), error),
        _nothing() if epoch is None else Cell(f"{epoch:.1f}".removesuffix(".0"), epoch),
        _nothing() if seconds is None else Cell(seconds_in_words(seconds), seconds),
        _nothing() if p_value is None else Cell(p_in_words(p_value), p_value),
        Cell(standing, list(STANDINGS).index(setting["standing"]), mark),
    ]


def runs_table(report: Report) -> Table:
    """Every run, finished or not, in the study's order; columns in which nothing is known are left out."""
    metric = report["metric"]
    columns = [
        Column("run", False), Column("setting", False), Column("seed"), Column("fold", False), Column("split seed"),
        Column("status", False), Column("reason", False), Column(metric["reported"]), Column("overfits from epoch"),
        Column("time"), Column("ms per step"), Column("images per second"), Column("W&B", False),
        Column("command", False),
    ]  # fmt: skip
    shows_split = len({run["split_seed"] for run in report["runs"]} - {None}) > 1  # of one not begun it is not known
    rows = [_run_row(run, metric["is_share"], shows_split) for run in report["runs"]]
    return _without_empty(columns, rows)


def _run_row(run: Run, is_share: bool, shows_split: bool) -> list[Cell]:
    wandb = run["wandb"] or ""
    step, speed = run["seconds_per_step"], run["images_per_second"]
    return [
        Cell(run["id"], run["id"], address=quote(run["directory"]) + "/"),
        Cell(label_of(run["factors"]) if run["factors"] else NOTHING, run["setting"]),
        _number(run["seed"]),
        Cell(run["fold"] or NOTHING, run["fold"]),
        _number(run["split_seed"] if shows_split else None),
        Cell(run["status"], run["status"]),
        Cell(run["reason"] or NOTHING, run["reason"]),
        _nothing() if run["reported"] is None else Cell(value_in_words(run["reported"], is_share), run["reported"]),
        _number(run["overfit_from"]),
        _nothing() if run["seconds"] is None else Cell(seconds_in_words(run["seconds"]), run["seconds"]),
        _nothing() if step is None else Cell(f"{1000 * step:.3g}" if step < 1 else f"{1000 * step:,.0f}", step),
        _nothing() if speed is None else Cell(f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}", speed),
        Cell("W&B", wandb, address=wandb) if wandb.startswith(("https://", "http://")) else _nothing(),
        _nothing() if run["command"] is None else Cell(run["command"], run["command"], is_code=True),
    ]


def _without_empty(columns: Sequence[Column], rows: Sequence[list[Cell]]) -> Table:
    kept = [any(cell.text != NOTHING for cell in cells) for cells in zip(*rows, strict=True)]
    return Table(
        [column for column, keep in zip(columns, kept, strict=True) if keep],
        [[cell for cell, keep in zip(row, kept, strict=True) if keep] for row in rows],
    )


def _nothing() -> Cell:
    return Cell(NOTHING)


def _number(value: int | None) -> Cell:
    return _nothing() if value is None else Cell(str(value), value)


def _level(level: Level, factor: Factor) -> Cell:
    if factor["is_numeric"] and isinstance(level, int | float):
        return Cell(level_in_words(level), level)
    return Cell(level_in_words(level), level_in_words(level))


def _estimate(estimate: Estimate | None, is_share: bool) -> Cell:
    return _nothing() if estimate is None else Cell(in_words(estimate, is_share), estimate["mean"])


def labels_table(labels: LabelEfficiency) -> Table:
    """Every amount of labels of every way to train, and how it compares with the worst way on all labels."""
    reference = labels["curves"][labels["reference"]]
    whole = f"{labels['by']}={level_in_words(reference['level'])} with {reference['images'][-1]:,.0f}"
    columns = [Column(labels["by"] or "way", False), Column("labelled images", True), Column(labels["metric"], True)]
    is_compared = len(labels["curves"]) > 1
    rows = []
    for curve in labels["curves"]:
        points = zip(curve["images"], curve["estimates"], curve["differences"], strict=True)
        for images, estimate, apart in points:
            row = [
                Cell(level_in_words(curve["level"]), level_in_words(curve["level"])),
                Cell(f"{images:,.0f}", images),
                Cell(in_words(estimate, labels["is_share"]), estimate["mean"]),
            ]
            told = difference_in_words(apart["mean"], apart["low"], apart["high"], labels["is_share"])
            told = NOTHING if curve is reference and images == reference["images"][-1] else told
            rows.append([*row, Cell(told, apart["mean"])] if is_compared else row)
    return Table([*columns, Column(f"difference from {whole}", True)] if is_compared else columns, rows)
