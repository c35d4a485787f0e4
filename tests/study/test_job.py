"""The process that runs are forked from answers to nobody but the study."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.whole

INTERRUPTED = """
import os, signal, time
from multiprocessing import forkserver
from leyden.study.job import preload
signal.signal(signal.SIGINT, lambda number, frame: None)
preload({})
time.sleep(0.3)  # it imports now
os.killpg(0, signal.SIGINT)
time.sleep(1)
ended, _ = os.waitpid(forkserver._forkserver._forkserver_pid, os.WNOHANG)
print("it lives" if not ended else "it is gone", signal.getsignal(signal.SIGINT).__name__)
"""


def test_process_that_imports_does_not_hear_ctrl_c() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, start_new_session=True)
    assert (done.stdout, done.stderr) == ("it lives <lambda>\n", "")
