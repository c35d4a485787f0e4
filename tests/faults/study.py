"""Faults > **a study**: `make faults-study`, or `python -m tests.faults.study --kills 20 --seed 0 --write`.

A study is started and struck at random moments with kill -9, and the same line given again, until all its runs are
finished; then they are held against those of a study that nothing struck.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .__main__ import write_page
from .case import Lost
from .compare import differences, result
from .processes import Process

GRID = ["optimizer=sgd,adam,rmsprop", "head.dropout=0,0.2", "optimizer.weight_decay=0,1e-2", "seed=0,1", "epochs=60"]
QUICK_GRID = ["optimizer=sgd,adam", "seed=0,1", "epochs=60"]
LINE = [
    "train", "-m", "study=campaign", "data=digits", "backbone=mlp", "backbone.width=16", "trainer=cpu",
    "trainer.precision=32", "logger=csv", "callbacks.checkpoints.every_n_steps=20", "jobs=2",
]  # fmt: skip
STUDY = Path("runs", "digits_mlp", "campaign")
BLOWS = ("the study", "one run", "everything")
SHARES = (2, 2, 1)
LONGEST_AFTERLIFE = 40.0  # seconds in which what is left of a killed study must have saved its state and ended
LONGEST_STUDY = 300.0
MOST_RUNS_WITHOUT_A_BLOW = 3  # of the same line, at the end


class Study:
    """A study in a directory of its own, which is struck and given again."""

    def __init__(self, directory: Path, line: list[str]) -> None:
        directory.mkdir()
        self.directory, self.line, self.given = directory, line, 0
        self.process: Process | None = None
        self.finished: dict[str, tuple[int, bytes]] = {}  # run.json as it was when it first said so

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def give(self) -> Process:
        """Types the line, once more."""
        self.given += 1
        self.process = Process(self.line, self.directory / f"output{self.given}.txt", fresh=True)
        return self.process

    def records(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (self.directory / STUDY).glob("*/run.json")}

    def num_finished(self) -> int:
        return sum(json.loads(record)["status"] == "finished" for record in self.records().values())

    def processes(self) -> dict[int, bool]:
        """All living processes that work in its directory, and whether each is the process of a run."""
        runs = {json.loads(record)["pid"] for record in self.records().values()}
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if (place / "cwd").readlink() == self.directory:
                    found[int(place.name)] = int(place.name) in runs
            except OSError:  # it ended meanwhile, or is nobody's business of ours
                continue
        return found

    def strike(self, blow: str, chance: random.Random) -> bool:
        """Kills with -9; False where there is nothing of the kind."""
        assert self.process is not None
        processes = self.processes()
        runs = sorted(pid for pid, is_run in processes.items() if is_run)
        if not self.is_alive or (blow == "one run" and not runs):
            return False
        pids = {"the study": [self.process.pid], "one run": [chance.choice(runs)] if runs else []}
        for pid in pids.get(blow, [self.process.pid, *processes]):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return True

    def check(self) -> None:
        """Holds what is finished against what it was when it was first seen so, and looks for processes left over."""
        if not self.is_alive:
            deadline = time.monotonic() + LONGEST_AFTERLIFE
            while left := self.processes():
                if time.monotonic() > deadline:
                    raise Lost(f"processes outlived their study: {left}")
                time.sleep(0.1)
        for path, text in self.records().items():
            if json.loads(text)["status"] == "finished":
                now = path.stat().st_mtime_ns, text
                if self.finished.setdefault(path.parent.name, now) != now:
                    raise Lost(f"{path} was finished, and something wrote in it again")


def make_study(directory: Path, line: list[str]) -> tuple[Study, float]:
    """A study that nothing strikes, and the seconds that it took."""
    study = Study(directory, line)
    begun = time.monotonic()
    if study.give().wait(LONGEST_STUDY) != 0:
        raise RuntimeError(f"the undisturbed study failed: {study.process.said() if study.process else None}")
    return study, time.monotonic() - begun


def run_campaign(directory: Path, line: list[str], kills: int, seed: int) -> Counter[str]:
    """Strikes a study `kills` times; returns how often by which blow.

    Raises:
        Lost: something is not as in an undisturbed study.
    """
    chance = random.Random(seed)
    whole, seconds = make_study(directory / "whole", line)
    num_runs = len(whole.records())
    busy = sum(json.loads(record)["seconds"] for record in whole.records().values()) / 2  # they run two at a time
    print(f"undisturbed: {num_runs} runs in {seconds:.1f} s", flush=True)
    study, blows = Study(directory / "struck", line), Counter[str]()
    before_runs = 0.0  # seconds until the first run begins, as the first try shows
    while blows.total() < kills:
        if not study.is_alive:
            study.check()
            begun, is_fresh = time.monotonic(), True
            study.give()
        blow = chance.choices(BLOWS, SHARES)[0]
        if is_fresh and (blow == "one run" or chance.random() < 0.7):  # else while it plans
            while study.is_alive and not any(study.processes().values()):
                time.sleep(0.02)
            before_runs = time.monotonic() - begun
        is_fresh = False
        left = (num_runs - len(study.finished)) / num_runs  # so that enough is left for the blows that are to come
        longest = before_runs or seconds
        if any(study.processes().values()):
            longest = left * busy / (kills - blows.total())
        moment = time.monotonic() + chance.uniform(0, longest)
        most_finished = num_runs * (blows.total() + 1) / (kills + 1)  # however fast the machine has become meanwhile
        while time.monotonic() < moment and study.is_alive and study.num_finished() < most_finished:
            time.sleep(0.01)
        if not study.strike(blow, chance):
            study.check()
            if len(study.finished) < num_runs:
                continue
            told = f"all was finished after {blows.total()} of {kills} blows"
            if 2 * blows.total() < kills:
                raise Lost(f"{told}: lower --kills, or take longer runs")
            print(told, flush=True)  # the machine has become faster since
            break
        blows[blow] += 1
        if blow != "one run":
            assert study.process is not None
            study.process.wait()
        study.check()
        print(f"{blows.total():4}  {blow}: {len(study.finished)} runs finished", flush=True)
    finish(study)
    compare(study, whole)
    print(f"the line was given {study.given} times", flush=True)
    return blows


def finish(study: Study) -> None:
    """Lets the study end, gives it again until all is finished, and once more, which must do nothing."""
    assert study.process is not None
    codes = [study.process.wait(LONGEST_STUDY)]
    while codes[-1] != 0:
        if len(codes) > MOST_RUNS_WITHOUT_A_BLOW:
            raise Lost(f"exit codes {codes} without a blow: {study.process.said()[-400:]}")
        study.check()
        codes.append(study.give().wait(LONGEST_STUDY))
    study.check()
    if study.give().wait(LONGEST_STUDY) != 0:
        raise Lost(f"a finished study, given again: {study.process.said()[-400:]}")
    study.check()


def compare(study: Study, whole: Study) -> None:
    """Every run of the undisturbed study is in the other one, finished, with the same bits."""
    ours, theirs = ({path.parent.name for path in one.records()} for one in (study, whole))
    if ours != theirs or set(study.finished) != theirs:
        raise Lost(
            f"{len(study.finished)} of {len(theirs)} runs are finished, {len(ours ^ theirs)} are of one study alone"
        )
    for name in sorted(theirs):
        expected = result(whole.directory / STUDY / name)
        if left := differences(result(study.directory / STUDY / name), expected):
            raise Lost(f"{name}: {', '.join(left)} differ")
    rows = (study.directory / STUDY / "results.csv").read_text(encoding="utf-8").splitlines()
    if len(rows) != len(theirs) + 1 or not all(",finished," in row for row in rows[1:]):
        raise Lost(f"results.csv is not true: {rows}")


def main() -> int:
    """Runs the campaign; the exit code is 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.study", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many (20)")
    parser.add_argument("--seed", type=int, default=0, help="decides blows and moments (0)")
    parser.add_argument("--quick", action="store_true", help="a study of four runs: what the fast tests strike")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    options = parser.parse_args()
    line = [*LINE, *(QUICK_GRID if options.quick else GRID)]
    begun, directory = time.monotonic(), Path(tempfile.mkdtemp(prefix="leyden_faults_study_")).resolve()
    try:
        blows = run_campaign(directory, line, options.kills, options.seed)
    except Lost as error:
        print(f"LOST: {error}\nall lies in {directory}")
        return 1
    shutil.rmtree(directory)
    lines = ["| kill -9 of | blows | survived exactly |", "| --- | ---: | ---: |"]
    lines += [f"| {blow} | {blows[blow]} | {blows[blow]} |" for blow in BLOWS]
    table = "\n".join(lines)
    print(f"\n{table}\n\n{time.monotonic() - begun:.0f} s")
    if options.write:
        write_page("study campaign", "tests.faults.study", f"{blows.total()} blows", table, time.monotonic() - begun)
    return 0


if __name__ == "__main__":
    sys.exit(main())
