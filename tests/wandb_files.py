"""What W&B's own reader finds in its files of runs, and a study that is struck on a cluster, for tests of both."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from leyden.metric_names import OF_TEST, ROW, read_numbers
from running import SHORT, FinishedRun, read_wandb_run

OF_WANDB = {"_step", "_runtime", "_timestamp", ROW, OF_TEST}

STRIKES = '''
import os, signal, subprocess, time
from pathlib import Path
from pytorch_lightning import Callback

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def displace():
    if "SLURM_JOB_ID" in os.environ:
        number = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        subprocess.run(["scontrol", "requeue", number], check=True)
    else:
        os.kill(parent(os.getppid()), signal.SIGKILL)  # Ray's worker, whose child has forked this process

class Strikes(Callback):
    """In the second epoch one job fails; one loses its place and one its process, each once."""

    def __init__(self, optimizer: str, seed: int):
        self.job, self.is_displaced = (optimizer.rpartition(".")[2], seed), False

    def on_train_batch_start(self, trainer, module, batch, number):
        if trainer.current_epoch != 1:
            return
        if self.job == ("AdamW", 1):
            raise RuntimeError("this one breaks")
        if self.job == ("SGD", 0) and not Path("displaced").exists():
            Path("displaced").touch()
            self.is_displaced = True
            displace()
        if self.is_displaced:
            time.sleep(1)  # until it has heard of it
        if self.job == ("SGD", 1) and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
'''
STRUCK_STUDY = [
    "-m", *SHORT, "epochs=3", "optimizer=sgd,adamw", "seed=0,1", "logger=wandb", "logger.mode=offline", "study=struck",
    "+callbacks.strikes={_target_: strikes.Strikes, optimizer: ${optimizer._target_}, seed: ${seed}}",
]  # fmt: skip


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """What is of one kind in W&B's file of a run, by W&B's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True).stdout
    found = [json.loads(line) for line in said.splitlines()]
    return [record[kind] for record in found if record["type"] == kind]


def history(run: Path) -> list[dict[str, Any]]:
    """The lines of scalars."""
    items = [line["item"] for line in records(run, "history")]
    return [{key: value for key, value in item.items() if key not in OF_WANDB} for item in items if "epoch" in item]


def files_of(runs: Path) -> list[Path]:
    return sorted((runs / "wandb").glob("*run-*"))


def states_at_wandb(study: Path) -> dict[str, str]:
    """The state at W&B of each run of the study by its name there, once it is shown that they are what the study has.

    One W&B run for each job, of the study's group, with the id, the factors and each row of its run, once.
    """
    runs = {path.parent.name: FinishedRun(path.parent) for path in study.glob("*/run.json")}
    states = {}
    for place in files_of(study.parents[1]):
        found, (begun,) = read_wandb_run(place), records(place, "run")
        run = runs.pop(found["config"]["study"]["job"])
        factors = found["config"]["factors"]
        assert found["run_id"] == run.record["run_id"]
        assert begun["run_group"] == f"{study.parent.name} {study.name}"
        assert begun["display_name"] == f"optimizer={factors['optimizer']} seed={factors['seed']}"
        assert {f"optimizer={factors['optimizer']}", f"seed={factors['seed']}"} <= set(run.record["overrides"])
        rows = history(place)
        assert rows == read_numbers(run.directory / "metrics.csv")
        assert len({(row["epoch"], row["step"]) for row in rows}) == len(rows)
        assert found["summary"]["status"] == run.record["status"]
        states[begun["display_name"]] = found["state"]
    assert not runs
    return states
