"""Whatever strikes a run, resumed it ends as if nothing had happened: `make faults` is the whole campaign."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads /proc")


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a campaign in a process without threads, from which it can fork."""
    return subprocess.run([sys.executable, "-m", "tests.faults", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.whole
def test_one_of_each_quick_fault_is_survived_exactly() -> None:
    done = campaign("--quick")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_twenty_kills_at_random_moments_end_with_the_uninterrupted_bits() -> None:
    done = campaign("--only", "^kill -9 at any moment$", "--injections", "20", "--seed", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| kill -9 at any moment | 20 | 20 | 0 |" in done.stdout


@pytest.mark.slow
def test_two_hundred_faults_are_survived_exactly() -> None:
    done = campaign("--injections", "210")
    assert done.returncode == 0, done.stdout + done.stderr
