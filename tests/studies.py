"""Studies for tests: as a user types them, in this process, and parts that break."""

import csv
from pathlib import Path

import pytest

from leyden import command_line
from running import SHORT, FinishedRun

PARTS = '''
import multiprocessing, os, signal, sys, time
from pytorch_lightning import Callback

class CannotBePickled(Exception):
    def __init__(self, first, second):
        super().__init__("not to be pickled")
        self.held = lambda: None

def raises(error):
    raise error

ENDS = {
    "none": lambda: None,
    "start_method": lambda: print("workers begin by", multiprocessing.get_start_method()),
    "raise": lambda: raises(RuntimeError("a part broke")),
    "unpicklable": lambda: raises(CannotBePickled(1, 2)),
    "sys.exit": lambda: sys.exit(3),
    "os._exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "hang": lambda: time.sleep(1000),
    "memory": lambda: bytearray(b"x") * (6 * 2**30),
    "full": lambda: raises(OSError(28, "No space left on device", "/full/disk")),
}

class Ends(Callback):
    """Ends its run in some way when the second epoch does, only once where it can leave a file that says so."""
    def __init__(self, how: str, once: str | None = None):
        self.how, self.once = how, once and f"{once}.{how}"

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 1 and not (self.once and os.path.exists(self.once)):
            if self.once:
                open(self.once, "w").close()
            ENDS[self.how]()
'''
ENDS = "+callbacks.ends={_target_: parts_of_a_study.Ends, how: none}"


def read_results(directory: Path) -> list[dict[str, str]]:
    """The rows of a study's results.csv."""
    with (directory / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Study:
    """Runs `leyden train -m …` in a directory of its own and reads what it left behind."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.runs, self.capture = directory / "runs", capture
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        code = command_line.train(["-m", *SHORT, "epochs=3", *arguments])
        self.out, self.err = self.capture.readouterr()
        return code

    @property
    def directory(self) -> Path:
        (found,) = (path.parent for path in self.runs.glob("*/*/study.json"))
        return found

    @property
    def results(self) -> list[dict[str, str]]:
        return read_results(self.directory)

    def statuses(self, factor: str) -> dict[str, str]:
        """Status by the level of a factor."""
        return {row[factor]: row["status"] for row in self.results}

    def run(self, **factors: str) -> FinishedRun:
        """The run with such levels."""
        (row,) = (row for row in self.results if all(row[key.replace("__", ".")] == factors[key] for key in factors))
        return FinishedRun(self.directory / row["id"])
