"""Report > **page** > report.html: one file that needs no network.

The template, page.html.j2, is filled here with all text and tables; page.css says how it looks. In the browser,
charts.js makes figures of the numbers, parallel.js the lines of all runs, and page.js draws them and answers clicks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leyden.metric_names import HEADLINES, is_percentage
from leyden.pages import STYLE, fill, for_script, plotly, sources
from leyden.report.curves import OVERFITTING_RULE
from leyden.report.effects import places_of
from leyden.report.model import (
    Effect,
    Estimate,
    Factor,
    Importance,
    LabelEfficiency,
    Level,
    Report,
    Response,
    Run,
    exactly,
)
from leyden.report.settings import counted
from leyden.report.tables import labels_table, runs_table, settings_table
from leyden.report.words import (
    EFFECTS_IN_WORDS,
    LABELS_IN_WORDS,
    MARKS_IN_WORDS,
    bests_in_words,
    choice_in_words,
    date_in_words,
    in_words,
    level_in_words,
    once_more_in_words,
    value_in_words,
)

HERE = Path(__file__).parent
MOST_BARS = 12  # sources of variance that are named
FIRST_ROWS = 25  # of a table, before one asks for all
SCRIPTS = ("charts.js", "parallel.js", "page.js")


def to_html(report: Report) -> str:
    """The page, with its style, its scripts, plotly.js and the numbers of its charts inside it."""
    return fill(
        HERE / "page.html.j2",
        report=report,
        date=date_in_words(report["created"]),
        once_more=once_more_in_words(report["threads"]),
        choice=choice_in_words(report["metric"]),
        marks=MARKS_IN_WORDS,
        settings=settings_table(report),
        runs=runs_table(report),
        bars=_bars(report["importance"]) if report["importance"] else [],
        effects=[(effect["factor"], _effect_in_words(effect, report)) for effect in report["effects"]],
        responses=[
            (response, list(bests_in_words(response, report["metric"]["is_share"]))) for response in report["responses"]
        ],
        effects_words=EFFECTS_IN_WORDS,
        labels_words=LABELS_IN_WORDS,
        labels_table=labels_table(report["labels"]) if report["labels"] else None,
        num_finished=len(counted(report["runs"])),
        rule=OVERFITTING_RULE,
        headlines=_headlines(report),
        first_rows=FIRST_ROWS,
        numbers=for_script(_numbers(report)),
        css=sources(STYLE),
        plotly=plotly(),
        scripts=[sources(HERE / name) for name in SCRIPTS],
    )


def _headlines(report: Report) -> list[tuple[str, bool, bool]]:
    """The metrics, beside the loss, whose curves are there: whether it is a share, whether training has it, too."""
    known = {name for curves in report["curves"] for name in curves["metrics"]}
    names = [name for name in HEADLINES.values() if f"val/{name}" in known]
    return [(name, is_percentage(name), f"train/{name}" in known) for name in names]


def _bars(importance: Importance) -> list[tuple[str, float]]:
    """The largest shares by name, and what is left in one."""
    bars = list(zip(importance["names"], importance["shares"], strict=True))
    rest = sum(share for _, share in bars[MOST_BARS:])
    return bars[:MOST_BARS] + ([(f"{len(bars) - MOST_BARS} others together", rest)] if bars[MOST_BARS:] else [])


def _effect_in_words(effect: Effect, report: Report) -> str:
    told = [
        f"{level_in_words(level)}: {in_words(estimate, report['metric']['is_share'])}"
        for level, estimate in zip(effect["levels"], effect["estimates"], strict=True)
    ]
    return f"{report['metric']['selection']} by {effect['factor']}. {', '.join(told)}."


def _numbers(report: Report) -> dict[str, Any]:
    """What charts are made of."""
    runs = counted(report["runs"])
    is_log = {factor["name"]: factor["is_log"] for factor in report["factors"]}
    return {
        "metric": report["metric"],
        "names": {setting["number"]: setting["label"] for setting in report["settings"]},
        "effects": [
            {"factor": effect["factor"], "levels": _texts(effect["levels"]), **_points(effect["estimates"])}
            for effect in report["effects"]
        ],
        "interactions": [
            {**pair, "row_levels": _texts(pair["row_levels"]), "column_levels": _texts(pair["column_levels"])}
            for pair in report["interactions"]
        ],
        "labels": _labels(report["labels"]) if report["labels"] else None,
        "responses": [_response(response, is_log.get(response["factor"], False)) for response in report["responses"]],
        "curves": report["curves"],
        "calibration": [
            {**one, "words": value_in_words(one["ece"], True)} for one in report["calibration"]
        ],
        "factors": [
            {**factor, "levels": _texts(factor["levels"]),
             "numbers": factor["levels"] if factor["is_numeric"] else None}
            for factor in report["factors"] if len(factor["levels"]) > 1
        ],
        "runs": {
            "levels": {factor["name"]: _places(runs, factor) for factor in report["factors"]},
            "selection": [run["selection"] for run in runs],
            "reported": [run["reported"] for run in runs],
        },
    }  # fmt: skip


def _response(response: Response, is_log: bool) -> dict[str, Any]:
    curves = [
        {"level": level_in_words(level), "values": values, "best": best, **_points(estimates)}
        for level, values, estimates, best in zip(
            response["levels"], response["values"], response["estimates"], response["best"], strict=True
        )
    ]
    return {"factor": response["factor"], "by": response["by"], "is_log": is_log, "curves": curves}


def _labels(labels: LabelEfficiency) -> dict[str, Any]:
    curves = [
        {"level": level_in_words(curve["level"]), "images": curve["images"], **_points(curve["estimates"])}
        for curve in labels["curves"]
    ]
    return {"metric": labels["metric"], "is_share": labels["is_share"], "curves": curves}


def _points(estimates: Sequence[Estimate]) -> dict[str, list[float | None]]:
    return {
        "means": [estimate["mean"] for estimate in estimates],
        "lows": [estimate["low"] for estimate in estimates],
        "highs": [estimate["high"] for estimate in estimates],
    }


def _texts(levels: Sequence[Level]) -> list[str]:
    return [level_in_words(level) for level in levels]


def _places(runs: Sequence[Run], factor: Factor) -> list[int]:
    """Which of the factor's levels each run has."""
    places = places_of(factor["levels"])
    return [places[exactly(run["factors"][factor["name"]])] for run in runs]
