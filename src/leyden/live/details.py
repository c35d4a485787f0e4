"""Runs > **details** > server: what one run's directory holds beside its curves."""

from pathlib import Path
from typing import Any

from leyden.live.files import SHOWN, relative, tail
from leyden.live.runs import CONFIG_FILE, finite, is_number
from leyden.metric_names import is_of_one_class
from leyden.run import describe_state, read_record

LOG_BYTES, TEXT_BYTES = 8_192, 65_536
# Of run.json, in the order in which they are shown.
FACTS = (
    "command",
    "started",
    "ended",
    "seconds",
    "device",
    "precision",
    "parameters",
    "data",
    "seed",
    "git_commit",
    "project_commit",
    "host",
)


def details(root: Path, directory: Path) -> dict[str, Any]:
    """State, facts, settings, the log's last lines, the error and the pictures of a run below `root`."""
    try:
        record, state = read_record(directory), describe_state(directory)
    except (ValueError, OSError) as error:
        record, state = {}, str(error)
    return {
        "path": relative(root, directory),
        "state": state,
        "facts": {name: _in_words(record[name]) for name in FACTS if record.get(name) is not None},
        "metrics": finite({name: value for name, value in record.get("metrics", {}).items() if _is_told(name, value)}),
        "config": tail(root, directory / CONFIG_FILE, TEXT_BYTES),
        "log": tail(root, directory / "log.txt", LOG_BYTES),
        "error": tail(root, directory / "error.txt", TEXT_BYTES),
        "pictures": [relative(root, path) for path in sorted(directory.iterdir()) if _is_shown(path)],
    }


def _is_told(name: str, value: Any) -> bool:
    """Whether a metric of run.json is a number, and not of one class alone."""
    return is_number(value) and (name.startswith("best/") or not is_of_one_class(name))


def _is_shown(path: Path) -> bool:
    return path.suffix in SHOWN and path.is_file() and not path.is_symlink() and not path.name.startswith(".")


def _in_words(value: Any) -> str:
    """A fact on one line; of a part its name is enough."""
    return str(value.get("name", value.get("kind", ""))) if isinstance(value, dict) else str(value)
