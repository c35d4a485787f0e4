"""Panels > **layout** > write: a study's workspace and its report at W&B, as objects of W&B's own library.

Nothing here asks the network: what is built is what will be sent, whether it is sent or not. The report's run sets name
no project for that reason; they are then of the report's own.
"""

import hashlib
import re
import unicodedata
from typing import Any

from leyden.dashboard.library import reports, workspaces
from leyden.dashboard.panels import MOST_RUNS, Section, compared, place, sections
from leyden.dashboard.subject import Subject
from leyden.dashboard.text import statistics
from leyden.metric_names import direction
from leyden.wandb_names import FACTORS, NOT_IN_A_FILTER, STEP, plain_key

MOST_LETTERS_OF_A_TITLE = 128


def make_workspace(subject: Subject, entity: str) -> Any:
    """The workspace: a view of the project that holds this study's runs and their panels."""
    metrics = compared(subject)
    # W&B keeps the value of each key at the top of a config below `value`.
    factors = [f"config:{FACTORS}.value.{plain_key(factor['name'])}" for factor in subject.factors]
    workspace = workspaces.Workspace(
        entity=entity,
        project=subject.project,
        name=f"Study {_without_symbols(subject.name)}",
        sections=[_section_of_workspace(section, subject) for section in sections(subject)],
        settings=workspaces.WorkspaceSettings(x_axis=STEP, max_runs=min(max(subject.num_runs, 10), MOST_RUNS)),
        runset_settings=workspaces.RunsetSettings(
            filters=_filter(subject),
            order=[workspaces.Ordering(workspaces.Summary(subject.best), ascending=_is_ascending(subject))],
            pinned_columns=[*factors, *(f"summary:{name}" for name in metrics)],
        ),
    )
    workspace._internal_runset_id = _identity(subject, "runs")
    return workspace


def make_report(subject: Subject, entity: str) -> Any:
    """The report: the statistics as text, then every section of panels under its heading."""
    blocks: list[Any] = [reports.TableOfContents(), reports.MarkdownBlock(text=statistics(subject))]
    for section in sections(subject)[1:]:  # the first is that text
        _name(section, subject, "report")
        place(section.panels, section.columns)
        blocks += [reports.H2(text=section.name), reports.PanelGrid(runsets=[_runset(subject)], panels=section.panels)]
    return reports.Report(
        entity=entity,
        project=subject.project,
        title=f"Study {subject.name}"[:MOST_LETTERS_OF_A_TITLE],
        description=f"{subject.num_runs} runs, written by leyden from {subject.directory.name}/study.json.",
        blocks=blocks,
        width="fluid",
    )


def _without_symbols(name: str) -> str:
    """A name as the library takes it: it refuses `+`, `=`, `$` and their kind as emojis."""
    return "".join("_" if unicodedata.category(letter).startswith("S") else letter for letter in name)


def _section_of_workspace(section: Section, subject: Subject) -> Any:
    _name(section, subject, "workspace")
    return workspaces.Section(
        name=section.name,
        panels=section.panels,
        is_open=section.is_open,
        layout_settings=workspaces.SectionLayoutSettings(columns=section.columns, rows=2),
        panel_settings=workspaces.SectionPanelSettings(x_axis=STEP),
    )


def _name(section: Section, subject: Subject, whole: str) -> None:
    """Gives panels names that stay when the dashboard is made again; the library would draw them by chance."""
    for number, panel in enumerate(section.panels):
        panel._id = _identity(subject, whole, section.name, str(number))


def _runset(subject: Subject) -> Any:
    runs = reports.Runset(
        name=f"runs of {subject.name}",
        filters=_filter(subject),
        order=[reports.OrderBy(reports.SummaryMetric(subject.best), ascending=_is_ascending(subject))],
    )
    runs._id = _identity(subject, "runs")
    return runs


def _filter(subject: Subject) -> str:
    """The runs of this study alone.

    Raises:
        ValueError: they are in a group that a filter cannot name.
    """
    if re.search(NOT_IN_A_FILTER, subject.group):
        raise ValueError(
            f"the runs are in the W&B group {subject.group!r}, which W&B's filters cannot name: give "
            "logger.group a name without quotes, backslashes, =, < and >"
        )
    return f"Metric('Group') == '{subject.group}'"


def _is_ascending(subject: Subject) -> bool:
    return direction(subject.monitor) == "min"


def _identity(subject: Subject, *words: str) -> str:
    return hashlib.sha256("/".join([subject.project, subject.group, *words]).encode()).hexdigest()[:12]
