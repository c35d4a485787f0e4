"""W&B > **artefact** > opened: a run's checkpoint, or an export, that W&B keeps, as files here."""

import re
from pathlib import Path

from leyden.errors import explain
from leyden.export.opened import GRAPHS

PREFIX = "wandb:"
FORM = "wandb:<entity>/<project>/<artefact>:<alias>"
CACHE = Path("runs", "wandb_artefacts")  # where the files lie that were fetched, by their version
SUFFIXES = (".ckpt", *GRAPHS)


def is_remote(source: Path) -> bool:
    """Whether `run=` names an artefact at W&B and no file."""
    return str(source).startswith(PREFIX) and not source.exists()


def fetch(source: Path) -> Path:
    """Downloads an artefact, once for each version; returns its directory, or the one file in it that is a network.

    Raises:
        ValueError: it is not named as W&B names artefacts, W&B does not give it, or no network is in it.
    """
    found = re.fullmatch(r"wandb:([^/:]+)/([^/:]+)/([^/:]+)(?::([^/:]+))?", str(source))
    if not found:
        raise ValueError(f"run={source}: expected {FORM}")
    entity, project, name, alias = found.groups()
    import wandb

    try:
        artefact = wandb.Api().artifact(f"{entity}/{project}/{name}:{alias or 'latest'}")
        directory = CACHE / entity / project / name / str(artefact.version)
        artefact.download(root=str(directory))
    except Exception as error:  # W&B's client raises many kinds
        raise ValueError(
            f"run={source}: W&B does not give it ({explain(error)}): is it named so there, and is there a key "
            "(`wandb login`)?"
        ) from error
    return network_in(directory)


def network_in(directory: Path) -> Path:
    """What in a directory of files can be opened: it itself, or its one checkpoint or exported file, the best first.

    Raises:
        ValueError: there is none, or there are several.
    """
    if (directory / "checkpoints").is_dir() or (directory / "config.json").is_file():
        return directory
    files = sorted(path for path in directory.rglob("*") if path.suffix in SUFFIXES)
    best = [path for path in files if path.stem in ("best", "model")]
    chosen = files if len(files) == 1 else best
    if len(chosen) != 1:
        names = ", ".join(path.name for path in files[:5]) or "none"
        raise ValueError(
            f"{directory}: expected one checkpoint or exported file of a network there, found {names}: give the one "
            "that you mean by its path"
        )
    return chosen[0]
