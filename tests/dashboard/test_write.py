"""A dashboard is made once and then updated; without key or network one sentence says so, and nothing is lost."""

import importlib.abc
import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from leyden.dashboard.write import dashboard
from wandb_server import KEY, Wandb, wandb_server
from written_studies import write_study


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_study(tmp_path / "mine", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9, seeds=(0, 1), epochs=3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandb]:
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.delenv("WANDB_ENTITY", raising=False)
        yield server
        wandb.teardown()  # which has a last word


def test_second_time_updates_the_same_workspace_and_report(directory: Path, server: Wandb) -> None:
    first = dashboard(directory)
    assert dashboard(directory) == first
    assert server.num_saved == 4
    assert [view["type"] for view in server.views.values()] == ["project-view", "runs"]
    for view in server.views.values():
        assert (view["entityName"], view["projectName"], view["displayName"]) == ("me", "leyden", "Study mine")
    assert "/me/leyden?nw=" in first.workspace
    assert "/me/leyden/reports/Study-mine--" in first.report
    assert set(json.loads((directory / "dashboard.json").read_text())) == {"entity", "project", "workspace", "report"}


def test_what_is_sent_is_what_a_dry_run_wrote(directory: Path, server: Wandb) -> None:
    paths = dashboard(directory, dry_run=True)
    dashboard(directory)
    for path, view in zip(paths, server.views.values(), strict=True):
        assert json.loads(Path(path).read_text())["spec"] == json.loads(view["spec"])


def test_one_that_is_gone_is_made_anew_and_told(
    directory: Path, server: Wandb, caplog: pytest.LogCaptureFixture
) -> None:
    first = dashboard(directory)
    known = json.loads((directory / "dashboard.json").read_text())["report"]["id"]
    server.views[f"{known}x"] = server.views.pop(known)  # so that the next has another id
    second = dashboard(directory)
    assert second.workspace == first.workspace
    assert second.report != first.report
    assert f"the report {first.report} is no longer there: another is made" in caplog.text


def test_project_without_a_run_is_refused(directory: Path, server: Wandb) -> None:
    server.projects.clear()
    with pytest.raises(ValueError, match=r"there is no project me/leyden at http.*`leyden sync`"):
        dashboard(directory)
    assert not server.views


def test_refused_key_and_no_answer_are_told_in_a_sentence(
    directory: Path, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 401
    with pytest.raises(ValueError, match=r"W&B at http.* refused, or did not answer \(.*not logged in.*--dry-run"):
        dashboard(directory)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb.Api, "_HTTP_TIMEOUT", 2)
    with pytest.raises(ValueError, match=r"W&B at http://127\.0\.0\.1:9 refused, or did not answer"):
        dashboard(directory)
    assert not (directory / "dashboard.json").exists()


def test_without_a_key_nothing_is_asked(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(directory))
    with pytest.raises(ValueError, match=r"no key for https://api.wandb.ai: run `wandb login` or set WANDB_API_KEY"):
        dashboard(directory)


def test_dry_run_opens_no_connection_and_writes_the_same_bytes_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise AssertionError("a dry run talks to nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(wandb, "Api", refuse)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    first = [Path(path).read_bytes() for path in dashboard(directory, dry_run=True)]
    assert [Path(path).read_bytes() for path in dashboard(directory, dry_run=True)] == first


def test_runs_that_were_never_sent_are_told(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dashboard(directory, dry_run=True)
    assert "there is nothing to show until `leyden sync` sends them" in caplog.text


def test_what_is_no_study_or_damaged_is_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no study: it has no study\.json"):
        dashboard(tmp_path, dry_run=True)
    (directory / "dashboard.json").write_text("{")
    with pytest.raises(ValueError, match=r"dashboard\.json is damaged: delete it"):
        dashboard(directory, dry_run=True)
    (directory / "report.json").write_text("{")
    with pytest.raises(ValueError, match=r"report\.json is damaged .*`leyden report"):
        dashboard(directory, dry_run=True)


def test_missing_library_is_told_with_its_extra(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> None:
            if name.partition(".")[0] == "wandb_workspaces":
                raise ModuleNotFoundError(name)

    for name in [name for name in sys.modules if name.startswith(("wandb_workspaces", "leyden.dashboard."))]:
        if name != "leyden.dashboard.write":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ValueError, match=r"wandb-workspaces: pip install 'leyden\[dashboard\]'"):
        dashboard(directory, dry_run=True)
