"""What `leyden lesson` takes."""

import subprocess
import sys
from pathlib import Path

from leyden.lesson.arguments import parse
from leyden.lesson.claims import read_lesson

HELP = """
import sys
from leyden import command_line
assert command_line.lesson(["--help"]) == 0
assert "torch" not in sys.modules
"""


def test_help_does_not_wait_for_torch() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=60)
    assert "usage: leyden lesson" in done.stdout
    assert all(claim.id in done.stdout for claim in read_lesson().claims)


def test_claims_and_options_are_read_in_any_order() -> None:
    asked = parse(["dropout", "--fast", "layers", "--runs", "elsewhere"])
    assert (asked.claims, asked.fast, asked.runs) == (["dropout", "layers"], True, Path("elsewhere"))
