"""Subject > **text** > layout: what the report says of a study, in the report's own words."""

from leyden.dashboard.subject import Subject
from leyden.report.markdown import to_markdown
from leyden.report.model import Report

MOST_SETTINGS = 20  # of a table that one reads between panels


def statistics(subject: Subject) -> str:
    """What the report says without its charts, as Markdown."""
    if subject.report is None:
        return (
            f"There are no statistics yet: `leyden report {subject.directory}` writes them, then "
            f"`leyden dashboard {subject.directory}` once more brings them here."
        )
    note = "Means and intervals are leyden's, from the runs' own records; the panels show each run as it is here."
    left_out = len(subject.report["settings"]) - MOST_SETTINGS
    if left_out > 0:
        note += f" The table has the {MOST_SETTINGS} best settings, report.html has {left_out} more."
    return f"{to_markdown(_shortened(subject.report))}\n{note}\n"


def _shortened(report: Report) -> Report:
    """Without what panels show themselves, interactions and what cannot be read; of the settings the best."""
    shorter = report.copy()
    shorter["settings"] = report["settings"][:MOST_SETTINGS]
    shorter["interactions"], shorter["curves"], shorter["calibration"] = [], [], []
    shorter["runs"], shorter["unreadable"] = [], []
    return shorter
