"""Layout > **write** > W&B: a study's workspace and report are made there, or made anew in their place.

`dashboard.json` in the study's directory remembers which they are. They are written whole: what was changed by hand in
W&B's own pages belongs into a copy there.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from leyden.dashboard.subject import Subject, read_subject
from leyden.run import write_atomically

log = logging.getLogger(__name__)

MEMORY_FILE = "dashboard.json"
DRY_RUN_DIRECTORY = "dashboard"


class Dashboard(NamedTuple):
    """Where the two are: addresses at W&B, or files of a dry run."""

    workspace: str
    report: str

    def __str__(self) -> str:
        return f"workspace  {self.workspace}\nreport     {self.report}"


def dashboard(directory: Path, dry_run: bool = False) -> Dashboard:
    """Creates or updates a study's workspace and report at W&B; a dry run writes what would be sent, and sends nothing.

    Raises:
        ValueError: there is no study, the package wandb-workspaces, a key, the project or the server is missing.
    """
    subject = read_subject(directory.resolve())
    if not subject.num_sent:
        log.warning(
            "no run of %s has been at W&B, as far as their records say: there is nothing to show until `leyden sync` "
            "sends them",
            subject.directory,
        )
    return _write(subject) if dry_run else _send(subject)


def _write(subject: Subject) -> Dashboard:
    """A dry run: the very objects that would be sent, as JSON."""
    from leyden.dashboard.layout import make_report, make_workspace

    entity = subject.entity or ""  # of the key that a dry run does not ask for
    memory = _remembered(subject, entity)
    place = subject.directory / DRY_RUN_DIRECTORY
    place.mkdir(exist_ok=True)
    paths = Dashboard(str(place / "workspace.json"), str(place / "report.json"))
    for path, whole in zip(paths, (make_workspace(subject, entity), make_report(subject, entity)), strict=True):
        if known := memory.get(Path(path).stem):
            _take_the_place_of(whole, known)
        text = whole._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=1)
        write_atomically(Path(path), text + "\n")
    return paths


def _send(subject: Subject) -> Dashboard:
    from leyden.dashboard.layout import make_report, make_workspace
    from leyden.dashboard.remote import check_project, connect, is_there, told_in_a_sentence

    api = connect()
    with told_in_a_sentence():
        entity = subject.entity or str(api.default_entity)
    check_project(api, entity, subject.project)
    memory = _remembered(subject, entity)
    for kind, make in (("workspace", make_workspace), ("report", make_report)):
        whole, known = make(subject, entity), memory.get(kind)
        if known and not is_there(api, known["id"]):
            log.warning("the %s %s is no longer there: another is made", kind, known["url"])
            known = None
        if known:
            _take_the_place_of(whole, known)
        with told_in_a_sentence():
            whole.save()
            memory |= {"entity": entity, "project": subject.project, kind: _identity(whole)}
        write_atomically(subject.directory / MEMORY_FILE, json.dumps(memory, indent=1) + "\n")
    return Dashboard(memory["workspace"]["url"], memory["report"]["url"])


def _remembered(subject: Subject, entity: str) -> dict[str, Any]:
    """What an earlier call has made in this project."""
    path = subject.directory / MEMORY_FILE
    try:
        memory: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_of_this_place = (memory["entity"], memory["project"]) == (entity, subject.project)
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: delete it, and another dashboard is made beside the first") from error
    return memory if is_of_this_place else {}


def _take_the_place_of(whole: Any, known: dict[str, str]) -> None:
    """Lets the library update what is known instead of making another."""
    if "name" in known:  # a workspace
        whole._internal_id, whole._internal_name = known["id"], known["name"]
    else:
        whole.id = known["id"]


def _identity(whole: Any) -> dict[str, str]:
    if hasattr(whole, "_internal_id"):
        return {"id": whole._internal_id, "name": whole._internal_name, "url": whole.url}
    return {"id": whole.id, "url": whole.url}
