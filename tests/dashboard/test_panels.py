"""Panels ask for what runs have logged, under the very names."""

import json
from pathlib import Path
from typing import Any

import wandb

from leyden.dashboard.panels import CHARTS
from leyden.dashboard.write import dashboard
from leyden.wandb_names import CONFUSION_MATRIX, RELIABILITY
from running import read_wandb_run
from studies import Study


def asked_for(node: Any) -> set[str]:
    """The metrics and config keys that the panels of a workspace name."""
    if isinstance(node, list):
        return {name for value in node for name in asked_for(value)}
    if not isinstance(node, dict):
        return set()
    names = {node[key] for key in ("accessor", "targetKey", "groupBy") if key in node}
    if "viewType" in node and node["viewType"] in ("Run History Line Plot", "Scatter Plot"):
        config = node["config"]
        names |= {*config.get("metrics", []), config["xAxis"], config.get("yAxis", config["xAxis"])}
    return {name for name in names if name} | {name for value in node.values() for name in asked_for(value)}


def test_charts_are_as_wandb_makes_them() -> None:
    """Kind, columns and the name of the table beside it."""
    lines = wandb.plot.line_series([0.5], [[0.5]], keys=["a"])
    for key, chart in ((RELIABILITY, lines), (CONFUSION_MATRIX, wandb.plot.confusion_matrix(y_true=[0], preds=[0]))):
        kind, columns, words = CHARTS[key]
        chart.set_key(key)
        assert (chart.spec.spec_name, list(chart.spec.fields)) == (kind, list(columns))
        assert chart.spec.string_fields.keys() <= {*words, "xname"}
        assert chart.spec.table_key == f"{key}_table"


def test_panels_find_what_a_real_study_has_logged(study: Study) -> None:
    assert study("logger=wandb", "optimizer=sgd,adam", "optimizer.lr=0.01,0.02", "study=mine") == 0, study.err
    (run, *others) = (read_wandb_run(path) for path in (study.runs / "wandb").glob("offline-run-*"))
    assert len(others) == 3
    assert run["config"]["factors"].keys() == {"optimizer", "optimizer_lr"}
    workspace = json.loads(Path(dashboard(study.directory, dry_run=True).workspace).read_text(encoding="utf-8"))
    names = {name for name in asked_for(workspace) if not name.startswith("system/")} - {"_runtime"}
    assert {name.rpartition(".value.")[2] for name in names if ".value." in name} == run["config"]["factors"].keys()
    metrics = {name.removeprefix("summary:") for name in names if ".value." not in name}
    assert metrics <= run["summary"].keys()
    assert {"best/val/accuracy", "test/accuracy", "train/loss", "val/loss", "lr", "step"} <= metrics
