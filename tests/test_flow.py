"""The chart in README is drawn from the code's imports, and no part uses one above it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def flow() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flow", ROOT / "docs" / "flow.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_chart_in_readme_is_of_this_code() -> None:
    begin, end = flow().MARKS
    found = re.search(f"{begin}\n(.*?)\n{end}", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert found[1] == flow().chart(), "python docs/flow.py"


def test_every_module_belongs_to_one_part() -> None:
    names = [name for part in flow().PARTS.values() for name in part]
    assert len(set(names)) == len(names)
    members = {path.stem for path in (ROOT / "src" / "leyden").iterdir() if path.suffix == ".py"}
    members |= {path.parent.name for path in (ROOT / "src" / "leyden").glob("*/*.py")}
    assert members - {"__init__"} == set(names)
