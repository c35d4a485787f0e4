"""Subject > **panels** > layout: what is drawn of a study, in sections; the workspace and the report share them.

Factors stand in a run's config below `factors` (`leyden.wandb_names`); what is compared are the metrics of the epoch
whose weights a run keeps, which its summary has as `best/…`, and those of its test.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from leyden.dashboard.library import reports
from leyden.dashboard.subject import Subject
from leyden.dashboard.text import statistics
from leyden.metric_names import LAYERS
from leyden.report.model import Factor
from leyden.wandb_names import CONFUSION_MATRIX, FACTORS, PICTURES, PREDICTIONS, RELIABILITY, STEP, plain_key

MOST_RUNS = 500  # that one panel draws
SYSTEM = {
    "system/cpu": "CPU utilisation (%)",
    "system/proc.memory.rssMB": "memory of the process (MB)",
    "system/gpu.0.gpu": "GPU utilisation (%)",
    "system/gpu.0.memoryAllocated": "GPU memory (%)",
}
OF_LAYERS = {
    "update_ratio": "Update ratio of each layer: size of a step against that of the weights",
    "gradient_norm": "Gradient norm of each layer",
    "weight_norm": "Weight norm of each layer",
}
# Chart -> its kind at W&B, the columns of its table and the words on it, as `wandb.plot` makes them.
CHARTS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    CONFUSION_MATRIX: (
        "wandb/confusion_matrix/v1",
        ("Actual", "Predicted", "nPredictions"),
        {"title": "Confusion matrix"},
    ),
    RELIABILITY: (
        "wandb/lineseries/v0",
        ("step", "lineKey", "lineVal"),
        {"title": "Calibration: reliability diagram", "xname": "confidence"},
    ),
}
WIDTH, HEIGHT = 24, 8  # of a row in a report, in its own units

Panel = Any  # one of reports.PanelTypes: the library names no common type


@dataclass(frozen=True)
class Section:
    """Panels that answer one question."""

    name: str
    panels: list[Panel]
    columns: int  # panels side by side
    is_open: bool = True


def sections(subject: Subject) -> list[Section]:
    """All sections in the order in which one reads them."""
    return [
        Section("Statistics", [reports.MarkdownPanel(markdown=statistics(subject))], 1),
        Section("Factors", [*_factors(subject)], 2),
        *(Section(f"Learning curves by {one['name']}", [*_curves(subject, one)], 2) for one in subject.factors),
        Section("Generalisation gap", [*_gap()], 2),
        Section("Layers", [*_layers()], 3, is_open=False),
        Section("Predictions and calibration", [*_answers()], 2, is_open=False),
        Section("Runs side by side", [reports.RunComparer(diff_only="split")], 1, is_open=False),
        Section("System metrics", [*_system()], 2, is_open=False),
    ]


def config(factor: Factor) -> Any:
    """Where a factor stands in a run's config."""
    return reports.Config(f"{FACTORS}.{plain_key(factor['name'])}")


def compared(subject: Subject) -> list[str]:
    """The metrics by which settings are chosen and reported."""
    return [name for name in (subject.best, subject.reported) if name]


def _factors(subject: Subject) -> Iterable[Panel]:
    """All factors at once, which of them matters, and each number against the metric."""
    columns = [
        reports.ParallelCoordinatesPlotColumn(
            metric=config(factor), display_name=factor["name"], log=factor["is_log"] or None
        )
        for factor in subject.factors
    ]
    columns += [
        reports.ParallelCoordinatesPlotColumn(metric=reports.SummaryMetric(name), display_name=name)
        for name in compared(subject)
    ]
    yield reports.ParallelCoordinatesPlot(title="Parallel coordinates: factors and metrics", columns=columns)
    yield reports.ParameterImportancePlot(with_respect_to=subject.best)
    for factor in subject.factors:
        if factor["is_numeric"]:
            yield reports.ScatterPlot(
                title=f"{subject.best} against {factor['name']}",
                x=config(factor),
                y=reports.SummaryMetric(subject.best),
                log_x=factor["is_log"] or None,
            )


def _curves(subject: Subject, factor: Factor) -> Iterable[Panel]:
    """Curves over optimizer steps, one for each level: mean over all of its runs, with their least and greatest."""
    for name in dict.fromkeys(("train/loss", "val/loss", subject.monitor, "lr")):
        yield reports.LinePlot(
            title=f"{name} by {factor['name']}: mean, least to greatest",
            x=STEP,
            y=[name],
            title_x="optimizer step",
            log_y=True if name.endswith("loss") or name == "lr" else None,
            groupby=config(factor),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=min(subject.num_runs, MOST_RUNS),
        )


def _gap() -> Iterable[Panel]:
    """Training beside validation.

    Their difference as an expression of W&B's would be empty: it takes both from one logged row, and each has its own.
    """
    yield reports.LinePlot(
        title="Training and validation loss: where they part, a network begins to overfit",
        x=STEP,
        y=["train/loss", "val/loss"],
        title_x="optimizer step",
        title_y="loss",
        log_y=True,
    )
    yield reports.ScatterPlot(
        title="Generalisation gap of the last epoch: validation against training loss",
        x=reports.SummaryMetric("train/loss"),
        y=reports.SummaryMetric("val/loss"),
    )


def _layers() -> Iterable[Panel]:
    """What the callback of that name logs, a line for each layer of each run."""
    for figure, title in OF_LAYERS.items():
        yield reports.LinePlot(
            title=title,
            x=STEP,
            metric_regex=rf"^{LAYERS}/.*/{figure}$",
            title_x="optimizer step",
            log_y=True,
        )


def _answers() -> Iterable[Panel]:
    """The table of predictions, and W&B's own charts of what they come to, whose numbers are tables beside them."""
    yield reports.WeavePanelSummaryTable(table_name=PREDICTIONS)
    for key, (kind, columns, words) in CHARTS.items():
        yield reports.CustomChart(
            query={"summaryTable": {"tableKey": f"{key}_table"}},
            chart_name=kind,
            chart_fields={name: name for name in columns},
            chart_strings=words,
        )
    yield reports.MediaBrowser(
        title="Confusion matrix of each run",
        media_keys=[f"{PICTURES}/{CONFUSION_MATRIX}"],
        mode="gallery",
        gallery_axis="run",
        num_columns=4,
    )


def _system() -> Iterable[Panel]:
    for name, title in SYSTEM.items():
        yield reports.LinePlot(title=title, x="RelativeTime(Process)", y=[name])


def place(panels: Sequence[Panel], columns: int) -> None:
    """Gives the panels of a report's section their places, row by row."""
    width = WIDTH // columns
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        panel.layout = reports.Layout(x=column * width, y=row * HEIGHT, w=width, h=HEIGHT)
