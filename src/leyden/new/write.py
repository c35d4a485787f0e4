"""Command line > **new** > files: a small project of the user's own, whose conf/ composes with ours.

The directory `template` is such a project, called `my_project`: it is copied, and only that name is replaced.
"""

import keyword
import re
import shlex
import shutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from leyden.config import CONFIG_DIRECTORY

TEMPLATE = Path(__file__).with_name("template")
NAME = "my_project"  # of the template's package and recipe
FOLDERS = ("conf", "data", "runs", "tests")  # of a project, beside its package


def write_project(directory: Path) -> str:
    """Writes a project; returns the name of its package and recipe, which is made from the directory's.

    Raises:
        ValueError: the directory is not empty, or its name makes no such name.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} is there already and not an empty directory: give a new one")
    name = package_name(directory)
    for path in template_files():
        place = directory / str(path.relative_to(TEMPLATE)).replace(NAME, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path.read_text(encoding="utf-8").replace(NAME, name), encoding="utf-8")
    return name


def template_files() -> list[Path]:
    """The files of the template, without what Python has compiled of them."""
    return sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def package_name(directory: Path) -> str:
    """What a package and a recipe may be called for a directory: `wild_birds` for `Wild-Birds`.

    Raises:
        ValueError: its name makes no name of a package, or one that is taken.
    """
    title = directory.resolve().name
    name = re.sub(r"[ .-]+", "_", title).lower()
    another = "give the directory another name"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"'{title}' cannot name a Python package as well: {another}, a letter and then letters, digits, - and _"
        )
    if name in FOLDERS:
        raise ValueError(f"a project has a directory {name} beside its package, which cannot have that name: {another}")
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != Path.cwd()]
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, elsewhere):
        raise ValueError(f"there is a Python package {name} already, which a project's would hide: {another}")
    if (CONFIG_DIRECTORY / "experiment" / f"{name}.yaml").is_file():
        raise ValueError(f"there is a recipe experiment={name} already: {another}")
    return name


def describe(directory: Path, name: str) -> str:
    """What was written, and what to try first."""
    # A whole path: it is called from the project's directory, not from here.
    program = "leyden" if shutil.which("leyden") else Path(sys.executable).with_name("leyden")
    return (
        f"written         {directory}: conf/, {name}/ with a backbone, tests/, README.md\n"
        f"next            cd {shlex.quote(str(directory))}\n"
        f"                {shlex.quote(str(program))} train experiment={name}"
    )
