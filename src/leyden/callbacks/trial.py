"""Search > **trial** > pruning: what a job's directory says of its trial, for the process that trains it.

The search writes `trial.json` before the job starts, wherever that is; it is no setting, and changes no result but by
ending a run early.
"""

import json
from pathlib import Path
from typing import Any

from leyden.callbacks.pruning import Trial
from leyden.run import write_atomically

TRIAL_FILE = "trial.json"


def write_trial(directory: Path, **facts: Any) -> None:
    """Leaves in a job's directory where its trial is kept and how it is judged."""
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / TRIAL_FILE, json.dumps(facts, indent=2) + "\n")


def trial_of(directory: Path) -> Trial | None:
    """The trial that the run in a directory is; None where it is none, or one that is not to be pruned.

    Raises:
        ValueError: the search that it is of cannot be read.
    """
    path = directory / TRIAL_FILE
    if not path.is_file():
        return None
    from leyden.study.storage import StoredTrial

    try:
        return StoredTrial(directory.parent, **json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} names no trial of a search ({' '.join(str(error).split())}): "
            "remove it, and the run is never ended early"
        ) from error
