"""What would be sent holds against the library's own schema, and shows the study and no other run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from leyden.config import CONFIG_DIRECTORY
from leyden.dashboard.library import reports, workspaces
from leyden.dashboard.panels import OF_LAYERS
from leyden.dashboard.write import dashboard
from leyden.report.write import write_report
from leyden.wandb_names import group_of, plain_key
from written_studies import write_study

FACTORS = {"optimizer": ["sgd", "adam"], "optimizer.lr": [0.001, 0.01, 0.1], "head.dropout": [0.0, 0.5]}
PRESETS = sorted((CONFIG_DIRECTORY / "study").glob("*.yaml"), key=lambda path: path.stem)


def value(**factors: Any) -> float:
    return 0.9 + 0.01 * sum(len(str(level)) for level in factors.values()) / 10


def sent(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Workspace and report of a dry run."""
    workspace, report = (json.loads(Path(path).read_text(encoding="utf-8")) for path in dashboard(directory, True))
    return workspace, report


def panels_of(workspace: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The panels of a workspace by the names of their sections."""
    found = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in found}


def round_trips(workspace: dict[str, Any], report: dict[str, Any]) -> None:
    """The library reads every block and panel as what it is, and would write the same again."""
    from wandb_workspaces.reports.v2.internal import ReportViewspec
    from wandb_workspaces.workspaces.internal import View

    for model, kind, data in ((View, workspaces.Workspace, workspace), (ReportViewspec, reports.Report, report)):
        read = model.model_validate(data)
        text = read.model_dump_json(by_alias=True, exclude_none=True)
        assert json.loads(text.replace(',"inlineComments":[]', "")) == data  # which reading gives to every heading
        again = kind._from_model(read)._to_model()
        assert re.search("Unknown", repr(again)) is None
        assert panel_types(json.loads(again.model_dump_json(by_alias=True))) == panel_types(data)


def panel_types(node: Any) -> list[str]:
    """The types of all panels in their order."""
    if isinstance(node, dict):
        own = [node["viewType"]] if "viewType" in node else []
        return own + [name for value in node.values() for name in panel_types(value)]
    return [name for value in node for name in panel_types(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_has_a_dashboard_that_the_library_reads(preset: Path, tmp_path: Path) -> None:
    params = yaml.safe_load(preset.read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"]
    levels = {key: yaml.safe_load(f"[{text}]") for key, text in params.items() if key != "seed"}
    workspace, report = sent(write_study(tmp_path / preset.stem, levels, value, seeds=(0, 1), epochs=2))
    round_trips(workspace, report)
    sections = panels_of(workspace)
    assert [name for name in sections if name.startswith("Learning curves by")] == [
        f"Learning curves by {key}" for key in levels or ["seed"]
    ]
    (coordinates,) = (one for one in sections["Factors"] if one["viewType"] == "Parallel Coordinates Plot")
    assert [column["accessor"] for column in coordinates["config"]["columns"]] == [
        *(f"config:factors.value.{plain_key(key)}" for key in levels or ["seed"]),
        "summary:best/val/accuracy",
        "summary:test/accuracy",
    ]


def test_every_panel_is_of_this_study_and_this_factor(tmp_path: Path) -> None:
    workspace, report = sent(write_study(tmp_path / "mine", FACTORS, value))
    grids = [block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]
    runs = [*workspace["spec"]["section"]["runSets"], *(grid["runSets"][0] for grid in grids)]
    for one in runs:
        (condition,) = one["filters"]["filters"]
        assert (condition["key"], condition["op"]) == ({"section": "run", "name": "group"}, "=")
        assert condition["value"] == group_of(tmp_path / "mine", "mine")
    curves = panels_of(workspace)["Learning curves by optimizer.lr"]
    assert [one["config"]["metrics"] for one in curves] == [["train/loss"], ["val/loss"], ["val/accuracy"], ["lr"]]
    for one in curves:
        assert one["config"]["groupBy"] == "factors.value.optimizer_lr"
        assert one["config"]["xAxis"] == "step"
        assert one["config"]["aggregate"]
    scatters = [one["config"] for one in panels_of(workspace)["Factors"] if one["viewType"] == "Scatter Plot"]
    assert [one["xAxis"] for one in scatters] == [
        "config:factors.value.optimizer_lr",
        "config:factors.value.head_dropout",
    ]
    assert scatters[0]["xAxisLogScale"]


def test_panels_of_layers_match_what_runs_log(tmp_path: Path) -> None:
    workspace, _ = sent(write_study(tmp_path / "mine", FACTORS, value))
    panels = panels_of(workspace)["Layers"]
    assert all(one["config"]["useMetricRegex"] for one in panels)
    for one, figure in zip(panels, ("update_ratio", "gradient_norm", "weight_norm"), strict=True):
        pattern = re.compile(one["config"]["metricRegex"])
        logged = [f"layers/{layer}/{name}" for layer in ("head", "blocks_0") for name in sorted(OF_LAYERS)]
        assert [name for name in [*logged, "gradient_norm"] if pattern.search(name)] == [
            f"layers/head/{figure}", f"layers/blocks_0/{figure}",
        ]  # fmt: skip


def test_panels_of_a_report_do_not_overlap(tmp_path: Path) -> None:
    _, report = sent(write_study(tmp_path / "mine", FACTORS, value))
    for block in report["spec"]["blocks"]:
        if block["type"] == "panel-grid":
            panels = [panel["layout"] for panel in block["metadata"]["panelBankSectionConfig"]["panels"]]
            corners = [(panel["x"], panel["y"]) for panel in panels]
            assert len(set(corners)) == len(corners)
            assert all(panel["x"] + panel["w"] <= 24 for panel in panels)


def test_statistics_are_those_of_the_report_in_its_words(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "mine", FACTORS, value)
    text = sent(directory)[1]["spec"]["blocks"][2]["content"]
    assert "There are no statistics yet: `leyden report " in text
    made, page = write_report([directory])
    text = sent(directory)[1]["spec"]["blocks"][2]["content"]
    assert made["answer"][0] in text
    assert "With three seeds" in text
    assert "95 % interval" in text
    table = page.with_suffix(".md").read_text(encoding="utf-8").split("## Settings")[1].split("\n## ")[0]
    assert table in text
    assert "## Runs" not in text


def test_long_table_says_how_much_it_leaves_out(tmp_path: Path) -> None:
    many = {"optimizer.lr": [0.001 * number for number in range(1, 24)]}
    directory = write_study(tmp_path / "mine", many, value, seeds=(0,), epochs=2)
    write_report([directory])
    assert (
        "The table has the 20 best settings, report.html has 3 more."
        in panels_of(sent(directory)[0])["Statistics"][0]["config"]["value"]
    )


def test_runs_that_were_online_say_where(tmp_path: Path) -> None:
    def online(record: dict[str, Any], levels: dict[str, Any]) -> None:
        record["wandb"] = {"id": "1", "address": "https://wandb.ai/team/solar/runs/1"}

    workspace, report = sent(write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, value, change=online))
    assert (workspace["entity"], workspace["project"]) == ("team", "solar")
    assert report["project"] == {"name": "solar", "entityName": "team"}


def test_group_that_a_filter_cannot_name_is_refused(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "größe+lr=0.1", {"optimizer": ["sgd", "adam"]}, value, seeds=(0,), epochs=2)
    workspace, report = sent(directory)  # which take other letters for those of the study's own name
    assert (workspace["displayName"], report["displayName"]) == ("Study größe_lr_0.1", "Study größe+lr=0.1")
    for config in directory.glob("*/config.yaml"):
        config.write_text("logger:\n  project: leyden\n  entity: null\n  group: it's\nmonitor: val/accuracy\n")
    with pytest.raises(ValueError, match=r"W&B group \"it's\", which W&B's filters cannot name"):
        dashboard(directory, dry_run=True)
