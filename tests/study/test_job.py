"""The process that runs are forked from answers to nobody but the study."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.whole

INTERRUPTED = """
import os, signal, sys, time
from multiprocessing import forkserver
from leyden.study.job import preload
number = signal.Signals[sys.argv[1]]
signal.signal(number, lambda number, frame: None)
preload({})
time.sleep(0.3)  # it imports now
os.killpg(0, number)
time.sleep(1)
ended, _ = os.waitpid(forkserver._forkserver._forkserver_pid, os.WNOHANG)
print("it lives" if not ended else "it is gone", signal.getsignal(number).__name__)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])  # the latter of `timeout` and of schedulers
def test_process_that_imports_does_not_hear_what_its_group_is_told(number: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, number]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert (done.stdout, done.stderr) == ("it lives <lambda>\n", "")
