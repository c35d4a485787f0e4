"""Code > **provenance** > run directory: which versions and commits have produced a run."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from leyden import __version__

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "timm", "numpy", "wandb")


def provenance() -> dict[str, Any]:
    """What produced the run: versions of Python, of the packages and of the code."""
    versions = {"leyden": __version__, "python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, **_commits()}


def _commits() -> dict[str, Any]:
    """The commit of Leyden's code and, where the run is called in another repository, of what lies there."""
    code, nothing = Path(__file__).resolve(), (None, None)
    tracked = _git(code.parent, "ls-files", "--full-name", "--error-unmatch", code.name)  # not in an environment
    commit, is_dirty = _commit(code.parent) if tracked else nothing
    top = _git(Path.cwd(), "rev-parse", "--show-toplevel")
    is_project = top and not (tracked and Path(top[0], tracked[0]) == code)
    project_commit, is_project_dirty = _commit(Path.cwd()) if is_project else nothing
    if top and project_commit and not is_project_dirty:  # new parts train too
        is_project_dirty = bool(_git(Path(top[0]), "status", "--porcelain", "-uall", "--", "*.py", "*.yaml"))
    return {
        "git_commit": commit, "git_dirty": is_dirty,
        "project_commit": project_commit, "project_dirty": is_project_dirty,
    }  # fmt: skip


def _commit(directory: Path) -> tuple[str, bool] | tuple[None, None]:
    """The commit of a directory's repository, and whether tracked files differ from it."""
    lines = _git(directory, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    commit = lines[0].split()[-1] if lines else "(initial)"  # as git calls it where there is none
    return (None, None) if commit == "(initial)" else (commit, any(line[0] != "#" for line in lines or ()))


def _git(directory: Path, *arguments: str) -> list[str] | None:
    """The lines that git answers; None where it fails: no repository, no such file in it, or no git."""
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=True,
            timeout=10,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
