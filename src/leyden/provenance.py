"""Code > **provenance** > run directory: which versions and commits have produced a run."""

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from leyden import __version__
from leyden.config import PACKAGE

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


def code_version(names: Collection[str] | None = None) -> str:
    """A hash of this package's code and of the user's own: two runs by different code may differ for that alone.

    With `names`, of modules or packages, that of what a run is made of, whatever else its process has imported.
    """
    own = b"".join(path.name.encode() + path.read_bytes() for path in sorted(_own_modules(names)))
    return hashlib.sha256(_code_of_the_package() + own).hexdigest()[:12]


def code_by_file() -> dict[str, str]:
    """A hash of this package's code as `leyden`, and one of each file of the user's own that has been imported."""
    code = {str(path.relative_to(Path.cwd())): path.read_bytes() for path in sorted(_own_modules(None))}
    code["leyden"] = _code_of_the_package()
    return {name: hashlib.sha256(text).hexdigest()[:12] for name, text in code.items()}


@functools.cache
def _code_of_the_package() -> bytes:
    return b"".join(path.name.encode() + path.read_bytes() for path in sorted(PACKAGE.rglob("*.py")))


def _own_modules(names: Collection[str] | None) -> set[Path]:
    """The files of the user's own parts, which lie where the command is typed and have been imported by the check."""
    imported = [module for name, module in [*sys.modules.items()] if names is None or name.partition(".")[0] in names]
    named = [str(getattr(module, "__file__", None) or "") for module in imported]
    # By their names first: to resolve those of torch, which are thousands, takes as long as a short run's test.
    installed = tuple(f"{place}{os.sep}" for place in (PACKAGE, sys.prefix, sys.base_prefix))
    files = {Path(name).resolve() for name in named if name.endswith(".py") and not name.startswith(installed)}
    here, others = Path.cwd(), (PACKAGE.resolve(), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    mine = {path for path in files if path.is_relative_to(here) and path.is_file()}
    return {path for path in mine if not any(path.is_relative_to(other) for other in others)}


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
