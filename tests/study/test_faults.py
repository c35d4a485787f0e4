"""Whatever is killed of a study, the same line finishes it: `make faults-study` is the whole campaign."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads /proc")
def test_study_killed_three_times_ends_with_the_undisturbed_bits() -> None:
    command = [sys.executable, "-m", "tests.faults.study", "--quick", "--kills", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
