"""Layout > **remote** > write: what is asked of W&B's servers, and what went wrong there in one sentence.

Its client is told by what it says, not by the types of its errors, which differ from release to release.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from leyden.dashboard.library import execute_graphql
from leyden.wandb_names import check_key, host

IS_THERE = "query View($id: ID!) { view(id: $id) { id } }"
PROJECT = "query Project($entity: String!, $project: String!) { project(name: $project, entityName: $entity) { id } }"


def connect() -> Any:
    """A client whose key the server has taken.

    Raises:
        ValueError: there is no key, the server refuses it or is not reached.
    """
    check_key(", or give --dry-run, which writes what would be sent")
    import wandb

    with told_in_a_sentence():
        return wandb.Api()


def is_there(api: Any, identity: str) -> bool:
    """Whether a workspace or a report still exists."""
    with told_in_a_sentence():
        return execute_graphql(api, IS_THERE, {"id": identity}).get("view") is not None


def check_project(api: Any, entity: str, project: str) -> None:
    """A dashboard goes where runs are.

    Raises:
        ValueError: there is no such project yet.
    """
    with told_in_a_sentence():
        found = execute_graphql(api, PROJECT, {"entity": entity, "project": project}).get("project")
    if found is None:
        raise ValueError(
            f"there is no project {entity}/{project} at {host()}: train with logger=wandb and a key, or send what was "
            "logged offline with `leyden sync`, or name another entity with WANDB_ENTITY"
        )


@contextlib.contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Makes whatever W&B's client raises the error of one sentence."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"W&B at {host()} refused, or did not answer ({said}): all that it would show is in the study's "
            "directory still, and --dry-run writes what would be sent"
        ) from error
