"""docs/dependencies.md names every dependency, and the code imports nothing else."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPS = {"every run": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn", "hydra-core": "hydra", "mlflow-skinny": "mlflow"}
BROUGHT_ALONG = {"yaml", "safetensors", "huggingface_hub", "lightning_fabric", "markupsafe", "starlette"}
OWN = {"leyden", "hydra_plugins", "my_project", "pytest"}  # the last two in the template of `leyden new`


def name_of(requirement: str) -> str:
    """`pytorch-lightning` of `pytorch-lightning>=2.6,<3`."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None, requirement
    return found[0]


@pytest.mark.parametrize("group", GROUPS)
def test_every_dependency_is_explained(group: str) -> None:
    explained = {cell.strip() for line in PAGE.splitlines() if line.startswith("|") for cell in line.split("|")[1:3]}
    explained |= {name.strip() for name in explained}
    assert {name_of(word) for word in GROUPS[group]} <= explained
    assert group == "every run" or f"`{group}`" in PAGE


def test_every_dependency_is_measured() -> None:
    _, measured, _ = PAGE.split("<!-- measured -->")
    rows = {line.split(" | ")[0].removeprefix("| ") for line in measured.splitlines()}
    names = {name_of(word).lower() for words in GROUPS.values() for word in words}
    assert names <= rows
    assert "`python -m benchmarks.dependencies --write`, 20" in measured


def test_what_the_code_imports_is_a_dependency() -> None:
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    names = {name_of(word) for group, words in GROUPS.items() if group not in ("test", "bench") for word in words}
    known = {MODULES.get(name, name.replace("-", "_")) for name in names} | BROUGHT_ALONG | OWN
    assert imported - known - sys.stdlib_module_names == set()
    for module in BROUGHT_ALONG:
        assert {"yaml": "PyYAML"}.get(module, module) in PAGE
