"""What a study costs beside the training of its runs: time of each run, of the plan, memory of the parent."""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.processes import ENVIRONMENT, LEYDEN, MEBIBYTE, quietly

# About a second each on two cores of an AMD EPYC; more epochs of it without checkpoints, which are written after each.
RUN = ["backbone=mlp", "epochs=10"]
CSV_ONLY = ["logger=csv", "~callbacks.checkpoints", "epochs=25"]
NUM_RUNS, NUM_FRESH_RUNS = 32, 5


class FinishedStudy:
    """A study that has run to its end, `jobs` at a time: when each of its runs ended, and how long each trained."""

    def __init__(self, directory: Path, num_runs: int, jobs: int, *arguments: str) -> None:
        self.jobs = jobs
        command = [*LEYDEN, "train", "-m", "study=bench", f"seed=range({num_runs})", *RUN, f"jobs={jobs}", *arguments]
        quietly(*command, cwd=directory)
        paths = sorted(directory.glob("runs/*/bench/*/run.json"), key=lambda path: path.stat().st_mtime)
        assert len(paths) == num_runs
        self.ends = [path.stat().st_mtime for path in paths]
        self.loops = [json.loads(path.read_text())["timings"]["training_loop"] for path in paths]

    @property
    def seconds_per_run(self) -> float:
        """From one run's end to the next one's, once those that began together have ended."""
        return (self.ends[-1] - self.ends[self.jobs - 1]) / (len(self.ends) - self.jobs)


def seconds_per_run_and_loop(extra: Sequence[str]) -> tuple[float, float]:
    """Runs one after the other: seconds from end to end, and of their training loops alone."""
    with tempfile.TemporaryDirectory() as directory:
        study = FinishedStudy(Path(directory), NUM_RUNS, 1, *extra)
        return study.seconds_per_run, statistics.mean(study.loops[1:])


def runs_per_second_and_with_fresh_interpreters() -> tuple[float, float]:
    """Runs one after the other by a study, and by a command each."""
    with tempfile.TemporaryDirectory() as directory:
        ours = FinishedStudy(Path(directory), NUM_FRESH_RUNS * 2, 1).seconds_per_run
        begin = time.perf_counter()
        for seed in range(NUM_FRESH_RUNS):
            quietly(*LEYDEN, "train", *RUN, "pictures=false", f"seed={seed}", cwd=Path(directory))  # as in a study
        return 1 / ours, NUM_FRESH_RUNS / (time.perf_counter() - begin)


def runs_per_second_of_two_and_one_at_a_time() -> tuple[float, float]:
    """The same runs two at a time and one at a time."""
    with tempfile.TemporaryDirectory() as two, tempfile.TemporaryDirectory() as one:
        ours = FinishedStudy(Path(two), NUM_RUNS, 2).seconds_per_run
        return 1 / ours, 1 / FinishedStudy(Path(one), NUM_RUNS, 1).seconds_per_run


PLAN = """
import sys, time
from benchmarks.processes import highest, highest_from_now_on
from leyden import command_line
from leyden.study import sweep

original = sweep.make_plan
def timed(*arguments):
    begin, before = time.perf_counter(), highest_from_now_on()
    plan = original(*arguments)
    took, grown = time.perf_counter() - begin, highest() - before
    print("measured", took, grown, " ".join(job.id for job in plan.jobs), flush=True)
    return plan
sweep.make_plan = timed
sys.exit(command_line.train(sys.argv[1:]))
"""
THOUSAND = [
    "-m", "study=thousand", "backbone=mlp", "epochs=1", "optimizer=sgd,adam,rmsprop,adagrad,nadam",
    "head.dropout=0,0.1,0.2,0.3,0.5", "optimizer.weight_decay=0,1e-5,1e-4,1e-3,1e-2", "seed=range(8)", "logger=csv",
]  # fmt: skip


def plan_of_a_thousand() -> tuple[float, float, float]:
    """Seconds and MiB for composing and checking 1,000 jobs; and seconds of the whole command when all are finished."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        command = [LEYDEN[0], "-c", PLAN, *THOUSAND, "plan=true"]
        done = subprocess.run(command, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        words = next(line for line in done.stdout.splitlines() if line.startswith("measured")).split()
        one = [*THOUSAND[2:4], "logger=csv", "pictures=false", "hydra.run.dir=one"]
        quietly(*LEYDEN, "train", *one, cwd=place)
        for identity in words[3:]:
            run = place / "runs" / "digits_mlp" / "thousand" / identity
            run.mkdir(parents=True)
            for name in ("run.json", "metrics.csv"):
                shutil.copy(place / "one" / name, run / name)
        (place / "runs" / "digits_mlp" / "thousand" / "report.html").touch()  # as a finished study has one
        begin = time.perf_counter()
        quietly(*LEYDEN, "train", *THOUSAND, cwd=place)
        return float(words[1]), float(words[2]), time.perf_counter() - begin


def growth_of_the_parent(early: int = 10, late: int = 200) -> float:
    """Resident MiB of a study's own process after `late` runs minus after `early` ones."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["study=bench", f"seed=range({late})", "backbone=mlp", "epochs=1", "logger=csv"]
        process = subprocess.Popen(
            [*LEYDEN, "train", "-m", *arguments], cwd=directory, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        watched, sizes = psutil.Process(process.pid), {}
        for line in process.stdout:
            if line.startswith("["):
                sizes[int(line[1:].split("/")[0])] = watched.memory_info().rss
        assert process.wait() == 0
        return (sizes[late] - sizes[early]) / MEBIBYTE
