"""Faults > **compare**: what a run left behind, in a form in which two runs are equal or not."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

Result = dict[str, Any]


def result(directory: Path) -> Result:
    """All that must not depend on what struck a run: figures, weights, optimizer, average."""
    record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    found = {
        "status": record["status"],
        "metrics of run.json": record["metrics"],
        "metrics.csv": digest((directory / "metrics.csv").read_bytes()),
    }
    for name in ("last", "best"):
        path = directory / "checkpoints" / f"{name}.ckpt"
        state = torch.load(path, map_location="cpu", weights_only=True)
        found[f"weights of {name}.ckpt"] = digest(state["state_dict"])
        if name == "last":
            found["optimizer of last.ckpt"] = digest(state["optimizer_states"])
            found["schedule of last.ckpt"] = digest(state["lr_schedulers"])
            averages = {key: value for key, value in state["callbacks"].items() if "Ema" in key}
            found["average of last.ckpt"] = digest(averages)
    return found


def differences(found: Result, expected: Result) -> list[str]:
    """The names of what differs."""
    return [name for name in expected if found.get(name) != expected[name]]


def digest(value: Any) -> str:
    """SHA-256 over names, types, shapes and bytes, whatever the order of a dictionary."""
    hash_ = hashlib.sha256()
    _add(hash_, value)
    return hash_.hexdigest()


def _add(hash_: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        hash_.update(f"{value.dtype} {tuple(value.shape)}".encode())
        hash_.update(value.detach().contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            hash_.update(f"{key}:".encode())
            _add(hash_, value[key])
    elif isinstance(value, list | tuple):
        hash_.update(f"[{len(value)}".encode())
        for item in value:
            _add(hash_, item)
    elif isinstance(value, bytes):
        hash_.update(value)
    else:
        hash_.update(repr(value).encode())
