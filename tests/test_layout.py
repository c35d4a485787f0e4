"""The repository is what the README says, and small enough to read."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60


def files() -> list[Path]:
    """Files that git knows, or all of them where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("needs a git clone")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def tree() -> list[Path]:
    """The paths of the README's tree."""
    block = next(block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "src/leyden/" in block)
    paths, folder = [], ROOT
    for line in block.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else ROOT / name
        paths.append(folder / name if line.startswith(" ") else folder)
    return paths


def test_readme_tree_is_true() -> None:
    listed = tree()
    for path in listed:
        assert path.exists(), path
    package = ROOT / "src" / "leyden"
    members = {path for path in package.iterdir() if path.name not in ("__pycache__", "__init__.py", "py.typed")}
    assert members <= {Path(str(path).rstrip("/")) for path in listed}
    folders = {path.relative_to(ROOT).parts[0] for path in files() if path.parent != ROOT}
    assert folders - {path.relative_to(ROOT).parts[0] for path in listed} <= {".ci", "docs"}


def test_no_file_is_longer_than_a_sitting() -> None:
    for path in files():
        if path.suffix in (".py", ".yaml", ".toml"):
            text = path.read_text(encoding="utf-8")
            if path.parent == ROOT / "notebooks":  # whose explanations are read in the notebook
                text = re.sub(r'^# %% \[markdown\]\nr""".*?^"""$', "", text, flags=re.MULTILINE | re.DOTALL)
            assert len(text.splitlines()) <= MOST_LINES, path


def test_no_function_is_longer_than_a_screen() -> None:
    for path in files():
        if path.suffix == ".py" and path.parent != ROOT / "notebooks":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert (node.end_lineno or 0) - node.body[0].lineno < MOST_LINES_OF_A_FUNCTION, (path, node.name)


def test_every_module_says_where_it_sits() -> None:
    for path in files():
        if path.suffix == ".py":
            begins = path.read_text(encoding="utf-8").removeprefix("# %% [markdown]\nr")  # a notebook's, with its title
            assert begins.startswith('"""'), path


def test_tests_mirror_the_source() -> None:
    for path in (ROOT / "src" / "leyden").glob("*.py"):
        if path.stem not in ("__init__", "__main__", "build", "classifier", "training_metrics", "summary"):
            assert (ROOT / "tests" / f"test_{path.stem}.py").is_file(), path.name


def test_readme_links_and_options_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for group, options in re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE):
        stems = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        named = set(re.findall(r"`(\w+)`", options))
        assert stems <= named, (group, stems - named)
