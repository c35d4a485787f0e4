"""Command line > **sync** > W&B: sends there, once, whatever of the runs below a directory it does not have yet.

W&B is asked about each run first. One that it knows nothing of and that lies whole in W&B's own files is sent by W&B's
own `sync`, with all that was noted beside it. That would send rows twice of a run that is there in part (a connection
was lost, a run was killed, or has gone on), so such a run, and one without whole files, is handed over by the logger
from its run directory, from the first missing row on. Then W&B is asked again: a run is sent when it says so.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from leyden.config import Origin
from leyden.errors import explain
from leyden.lock import Lock
from leyden.loggers.lineage import logger_of
from leyden.loggers.weights_and_biases import WandbLogger, exit_code
from leyden.metric_names import ROW, read_numbers
from leyden.run import read_record, run_directories, working_directory, write_atomically
from leyden.study.job import environment_of_a_job
from leyden.study.record import KILLED
from leyden.wandb_names import ENDED, check_key, host

log = logging.getLogger(__name__)

DEPTH = 3  # of runs/<name>/<study>/<id>
AT_ONCE = 5  # runs that W&B's own sync sends side by side
SECONDS_TO_SETTLE = 20.0  # until W&B tells what it was sent
SECONDS_TO_ANSWER = 20
MOST_TRIES = "8"  # of W&B's own sync for a piece, some minutes in all
# Our mark beside W&B's file, `run-<id>.wandb.sent`: W&B sets its own also where it has sent less than all.
SENT = ".sent"


class AtWandb(NamedTuple):
    """What W&B has of a run."""

    num_rows: int
    ended: str | None  # when the attempt ended that is there whole
    state: str
    address: str


@dataclass
class Pending:
    """A run that W&B may lack something of."""

    directory: Path
    record: dict[str, Any]  # as it ended, though it was killed and could not say so itself
    logger: WandbLogger
    before: AtWandb | None = None

    @property
    def files(self) -> list[Path]:
        """W&B's own directories of the run."""
        return sorted((self.logger.directory / "wandb").glob(f"*run-*-{self.record['run_id']}*"))

    @property
    def num_rows(self) -> int:
        return len(read_numbers(self.directory / "metrics.csv"))

    def whole_files(self) -> list[Path]:
        """Those that hold all of the run's last attempt."""
        return [place for place in self.files if _ended_in(place / "files" / "leyden") == self.record["ended"]]

    def is_marked(self) -> bool:
        """Whether it was sent, by what lies here."""
        return any(any(place.glob(f"*{SENT}")) for place in self.whole_files())

    def mark(self, is_sent: bool) -> None:
        """Notes beside W&B's files whether W&B has said that the run is there whole."""
        for file in (file for place in self.files for file in place.glob("*.wandb")):
            mark = file.with_name(file.name + SENT)
            mark.touch() if is_sent else mark.unlink(missing_ok=True)

    def is_whole(self, found: AtWandb | None) -> bool:
        state = "failed" if exit_code(self.record) else "finished"
        if found is None or found.num_rows < self.num_rows:  # more where the run went on from before its last row
            return False
        return (found.ended, found.state) == (self.record["ended"], state)


def sync(directories: Sequence[Path]) -> None:
    """Sends every run of these directories that W&B does not have whole, and prints what was sent.

    Raises:
        ValueError: there is no run, no key or no answer, or W&B has not taken all.
    """
    check_key()
    import wandb

    runs = run_directories(directories, DEPTH)
    wandb.setup(wandb.Settings(silent=True))
    with _told_in_a_sentence():
        api = wandb.Api(timeout=SECONDS_TO_ANSWER)
    counts: Counter[str] = Counter()
    for begin in range(0, len(runs), AT_ONCE):
        with contextlib.ExitStack() as locks:
            counts += _sync_some(api, runs[begin : begin + AT_ONCE], locks)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    if counts["not sent"]:
        raise ValueError(f"W&B has not taken all of {counts['not sent']} runs: give the same line again")


def _sync_some(api: Any, directories: Sequence[Path], locks: contextlib.ExitStack) -> Counter[str]:
    """Sends some runs, which nobody else may go on with meanwhile; how many fared how."""
    counts: Counter[str] = Counter()
    pending: list[Pending] = []
    for directory in directories:
        try:
            locks.enter_context(Lock(directory))
            run = _pending(directory)
        except Exception as error:  # one damaged run is not to hide all others
            counts["left alone"] += 1
            print(f"{os.path.relpath(directory)}  left alone: {explain(error)}", flush=True)
            continue
        if not run.is_marked():
            run.before = _ask(api, run.logger, run.record["run_id"])
        if run.is_marked() or run.is_whole(run.before):
            counts["there already"] += 1
            run.mark(is_sent=True)
        else:
            pending.append(run)
    whole = [run for run in pending if not (run.before and run.before.num_rows) and run.whole_files()]
    _send_files([run.whole_files()[-1] for run in whole])
    for run in pending:
        counts[_finish(api, run, is_sent=run in whole)] += 1
    return counts


def _finish(api: Any, run: Pending, is_sent: bool) -> str:
    """Sends what is still missing of a run, asks W&B whether it is whole there, and says so; how the run fared."""
    name, trouble = os.path.relpath(run.directory), "W&B has not taken all of it"
    try:
        if not is_sent:
            run.logger.hand_over(run.record)
    except Exception as error:
        trouble = explain(error)
    found = _settled(api, run)
    is_whole = run.is_whole(found)
    run.mark(is_sent=is_whole)
    if not is_whole or found is None:
        print(f"{name}  not sent: {trouble}", flush=True)
        return "not sent"
    place = {"id": run.record["run_id"], "address": found.address, "directory": str(run.logger.directory / "wandb")}
    kept = read_record(run.directory) | {"wandb": place}
    write_atomically(run.directory / "run.json", json.dumps(kept, indent=2) + "\n")
    num_before = run.before.num_rows if run.before else 0
    rows = f"{found.num_rows - num_before} of {found.num_rows} rows" if num_before else f"{found.num_rows} rows"
    print(f"{name}  sent, {rows}, {run.record['status']}: {found.address}", flush=True)
    return "sent"


def _pending(directory: Path) -> Pending:
    """The run in a directory, whose lock is held.

    Raises:
        ValueError: it is damaged, or has nothing to send.
    """
    record = _as_ended(read_record(directory))
    path = directory / "config.yaml"
    if not path.is_file():
        raise ValueError("it failed before it began")
    from leyden.build import build_loggers  # which brings torch

    config: Any = OmegaConf.load(path)
    config.logger = logger_of(config)
    config.logger.mode = "online"
    with contextlib.chdir(working_directory(directory)):  # its paths may be relative
        (csv, *_) = build_loggers(config, directory, Origin(record["overrides"], record.get("choices", {})))
    (logger,) = csv.followers  # type: ignore[attr-defined]
    assert isinstance(logger, WandbLogger)
    logger.is_later = True
    logger.directory = _place_of_files(directory, logger.directory, record["run_id"])
    read_numbers(directory / "metrics.csv")  # damaged? then it is told here
    return Pending(directory, record, logger)


def _place_of_files(directory: Path, named: Path, run_id: str) -> Path:
    """Where W&B's files of a run are, or are to be: as its config has it, or near the run if that was moved."""
    above = directory.parents[:DEPTH]
    having = (place for place in (*above, named) if any((place / "wandb").glob(f"*run-*-{run_id}*")))
    near = (place for place in above if named not in above and (place / "wandb").is_dir())
    return next(having, None) or next(near, named)


def _as_ended(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it would be if its run had said how it ended; no process is at work in it."""
    if record["status"] != "running":
        return dict(record)
    status, reason = KILLED  # not by standing(), whose look at the lock would free it
    return {**record, "status": status, "reason": reason, "ended": record.get("heartbeat", {}).get("time")}


def _ended_in(directory: Path) -> str | None:
    """When the attempt ended whose records were copied there; None where there are none."""
    try:
        return str(_as_ended(read_record(directory))["ended"])
    except ValueError:
        return None


def _ask(api: Any, logger: WandbLogger, run_id: str) -> AtWandb | None:
    """What W&B has of a run; None where it does not know it."""
    api.flush()  # it remembers its answers
    path = [logger.settings["entity"], logger.settings["project"], run_id]
    try:
        run = api.run("/".join(filter(None, path)))
    except Exception as error:
        if "Could not find run" in str(error):
            return None
        raise _no_answer(error) from error
    summary = run.summary_metrics
    return AtWandb(int(summary.get(ROW, -1)) + 1, summary.get(ENDED), run.state, run.url)


def _settled(api: Any, run: Pending) -> AtWandb | None:
    """What W&B has of a run that was sent, which it may take a moment to know."""
    deadline = time.monotonic() + SECONDS_TO_SETTLE
    while not run.is_whole(found := _ask(api, run.logger, run.record["run_id"])) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def _send_files(places: Sequence[Path]) -> None:
    """Lets W&B's own sync send whole files; whether that has worked, its server is asked."""
    if not places:
        return
    environment = {key: value for key, value in environment_of_a_job().items() if key != "WANDB_MODE"}
    environment |= {"WANDB__FILE_STREAM_RETRY_MAX": MOST_TRIES, "WANDB__GRAPHQL_RETRY_MAX": MOST_TRIES}
    command = [sys.executable, "-m", "wandb", "sync", "--include-synced", *map(str, places)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    if done.returncode:
        log.warning("wandb sync: %s", (done.stderr.strip().splitlines() or ["it failed without a word"])[-1])


@contextlib.contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _no_answer(error) from error


def _no_answer(error: Exception) -> ValueError:
    said = " ".join(str(error).split())
    return ValueError(f"W&B at {host()} refused, or did not answer ({said}): give the same line again, nothing is lost")
