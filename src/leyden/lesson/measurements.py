"""Claims > **measurements** > effects: what is no study of runs, by the name that a claim calls it by.

Each is made once and kept beside the studies; other code makes it anew.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from leyden.lesson import network_measurements as networks
from leyden.lesson import optimizer_measurements as optimizers
from leyden.lesson.model import Measured
from leyden.provenance import code_version
from leyden.report.collect import Found
from leyden.run import write_atomically

MEASUREMENTS: Mapping[str, Callable[[], Measured]] = {
    "layers": networks.layers, "collapse": networks.collapse, "backpropagation": networks.backpropagation,
    "descent": networks.descent, "ravine": optimizers.ravine, "adagrad": optimizers.adagrad,
    "steps_over_time": optimizers.steps_over_time, "adam_limits": optimizers.adam_limits,
    "memory": optimizers.memory, "decays": optimizers.decays,
}  # fmt: skip
OF_RUNS: Mapping[str, Callable[[Sequence[Found]], Measured]] = {"features": networks.features}


def measure(name: str, directory: Path, runs: Sequence[Found] = ()) -> Measured:
    """What a measurement finds, as kept in a file of `directory` where the same code has made it on the same runs."""
    path = directory / f"{name}.json"
    made_of = [code_version(), *[run.id for run in runs]]
    kept = read_measured(path)
    if kept is not None and kept["made_of"] == made_of:
        measured: Measured = kept["measured"]
        return measured
    measured = OF_RUNS[name](runs) if name in OF_RUNS else MEASUREMENTS[name]()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"made_of": made_of, "measured": measured}) + "\n")
    return measured


def read_measured(path: Path) -> dict[str, Any] | None:
    """What is kept of a measurement, and what it was made of; None where there is none or it is damaged."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.keys() >= {"made_of", "measured"} else None
