"""The report as text: the same figures as on the page."""

import re

import pytest

from leyden.report.curves import OVERFITTING_RULE
from leyden.report.markdown import to_markdown
from leyden.report.words import value_in_words
from report.reports import make_report


def rows_of(markdown: str, heading: str) -> list[list[str]]:
    """The cells of the table of a section."""
    section = markdown.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_figure_of_the_settings_is_there() -> None:
    report = make_report()
    head, _, *rows = rows_of(to_markdown(report), "Settings")
    assert len(rows) == len(report["settings"]) == 12
    for row, setting in zip(rows, report["settings"], strict=True):
        cells = dict(zip(head, row, strict=True))
        assert cells["optimizer"] == setting["factors"]["optimizer"]
        mean, half = cells["test/accuracy (reports)"].split(" % ± ")
        low, high = setting["reported"]["low"], setting["reported"]["high"]
        assert float(mean) == pytest.approx(100 * setting["reported"]["mean"], abs=0.051)
        assert low is not None
        assert high is not None
        assert float(half) == pytest.approx(50 * (high - low), abs=0.051)
        assert float(cells["best epoch"]) == setting["best_epoch"]
    assert rows[0][-1] == "★ best"
    assert "3 (+ 1 unfinished)" in rows[2]


def test_answer_command_failures_and_warnings_come_first() -> None:
    report = make_report()
    markdown = to_markdown(report)
    top = markdown[: markdown.index("## Settings")]
    sentences = [*report["answer"], *report["failures"], *report["warnings"]]
    assert all(sentence in top for sentence in sentences)
    assert f"```bash\n{report['command']}\n```" in top


def test_effects_importance_bests_rule_and_power_are_told() -> None:
    report = make_report()
    markdown = to_markdown(report)
    assert len(rows_of(markdown, "Effects")) == 2 + sum(len(factor["levels"]) for factor in report["factors"])
    assert "- optimizer × optimizer.lr: 12.5 %" in markdown
    assert "optimizer=adam: optimizer.lr is best at 0.1," in markdown
    assert report["power"] is not None
    for sentence in (OVERFITTING_RULE, report["power"]["sentence"]):
        assert sentence in markdown
    assert len(rows_of(markdown, "Runs")) == 2 + 36


def test_sections_with_nothing_to_say_are_left_out() -> None:
    report = make_report({}, num_seeds=1)
    report |= {"importance": None, "effects": [], "responses": [], "curves": [], "power": None, "failures": []}
    report["calibration"] = []
    headings = re.findall(r"^#+ (.*)$", to_markdown(report), re.MULTILINE)
    assert headings == ["dropout_optimizer", "Answer", "Warnings", "Settings", "Runs"]


def test_names_cannot_break_the_text() -> None:
    report = make_report({"a|b": ["<b>x</b>", "*y*", "_z_", "weight_decay"]})
    report["runs"][0]["reason"] = "one\nor | two"
    markdown = to_markdown(report)
    assert {len(row) for row in rows_of(markdown, "Settings")} == {len(rows_of(markdown, "Settings")[0])}
    assert {len(row) for row in rows_of(markdown, "Runs")} == {len(rows_of(markdown, "Runs")[0])}
    assert r"\<b>x\</b>" in markdown
    assert r"| \*y\* |" in markdown
    assert r"| \_z\_ |" in markdown
    assert "| weight_decay |" in markdown
    assert r"one or \| two" in markdown


def test_only_addresses_of_the_web_are_linked() -> None:
    report = make_report(num_seeds=1)
    report["runs"][0]["wandb"] = "javascript:alert(1)"
    report["runs"][1] |= {"wandb": "https://wandb.ai/a", "directory": "a (b)"}
    markdown = to_markdown(report)
    assert "javascript" not in markdown
    assert "[W&B](https://wandb.ai/a)" in markdown
    assert "(a%20%28b%29/)" in markdown


def test_one_metric_stands_in_one_column() -> None:
    report = make_report()
    report["metric"]["reported"] = report["metric"]["selection"]
    markdown = to_markdown(report)
    assert rows_of(markdown, "Settings")[0].count("val/accuracy") == 1
    assert "test reports" not in markdown


def test_curve_that_not_every_epoch_adds_to_ends_where_it_last_did() -> None:
    report = make_report({})
    for band in report["curves"][0]["metrics"].values():
        band["mean"][-2:] = [0.25, None]
    assert rows_of(to_markdown(report), "Curves")[2][2:] == ["0.250", "0.250", "25.0 %", "25.0 %"]


def test_interactions_curves_and_calibration_have_the_figures_of_the_page() -> None:
    report = make_report()
    text = to_markdown(report)
    (pair,) = report["interactions"]
    for level, means in zip(pair["row_levels"], pair["means"], strict=True):
        cells = ["–" if mean is None else f"{100 * mean:.1f} %" for mean in means]
        assert f"| {level} | {' | '.join(cells)} |" in text
    for one in report["curves"]:
        loss = one["metrics"]["val/loss"]["mean"][-1]
        assert loss is not None
        assert f"| {report['settings'][one['setting']]['label']} | 11 |" in text.replace("\\", "")
        assert value_in_words(loss, False) in text
    filled = sum(count > 0 for one in report["calibration"] for count in one["counts"])
    assert text[text.index("## Calibration") : text.index("## How sure")].count("\n| ") == filled + 2
