"""Jobs under a real Slurm on this machine, without accounting: none is lost, none waits for ever, each is exact."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from leyden.config import CONFIG_DIRECTORY
from leyden.lock import is_held
from leyden.study.job import WANDB_SERVICE, Job
from leyden.study.slurm import SlurmExecutor
from leyden.study.slurm_commands import outside_of_a_job, states
from running import TINY, FinishedRun, compose_config, differences
from slurm_cluster import Cluster
from wandb_files import STRIKES, STRUCK_STUDY, states_at_wandb

pytestmark = pytest.mark.slurm

Train = Callable[..., FinishedRun]
SLOW = ["epochs=15", "backbone.dropout=0.2", "augment=flip_crop", "head._target_=trouble.Slow", "+head.seconds=0.17"]
PATIENCE = 150.0  # seconds


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        here = [str(Path(__file__).parents[1]), str(CONFIG_DIRECTORY.parent / "src"), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(here))
        patch.setenv("MASTER_ADDR", "127.0.0.1")  # the nodes have no address of their own
        with Cluster() as started:
            yield started


@pytest.fixture
def executor(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., SlurmExecutor]]:
    """Makes executors for the study's directory `study`."""
    made: list[SlurmExecutor] = []

    def make(**options: Any) -> SlurmExecutor:
        made.append(SlurmExecutor(tmp_path / "study", **{"poll_seconds": 0.5, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job of the study with overrides after those of TINY."""

    def make(name: str, *overrides: str, devices: int = 1) -> Job:
        config: Any = OmegaConf.to_container(compose_config(*TINY, *overrides))
        return Job(
            id=name, directory=tmp_path / "study" / name, overrides=(*TINY, *overrides), factors={}, config=config,
            choices={}, config_directories=(CONFIG_DIRECTORY,), devices=devices,
        )  # fmt: skip

    return make


@pytest.fixture
def undisturbed(train_run: Train) -> FinishedRun:
    """The run of SLOW, fast and in this process."""
    return train_run(*SLOW[:-1], "+head.seconds=0")


def ends(executor: SlurmExecutor, count: int, meanwhile: Callable[[], object] = lambda: None) -> dict[str, str | None]:
    """Waits for the ends of jobs; returns how each ended."""
    hows: dict[str, str | None] = {}
    give_up = time.monotonic() + PATIENCE
    while len(hows) < count:
        assert time.monotonic() < give_up, (hows, squeue("%i %T %r"))
        hows |= {ended.job.id: ended.how for ended in executor.wait(0.2)}
        meanwhile()
    return hows


def squeue(form: str, *options: str) -> list[str]:
    return subprocess.run(
        ["squeue", "-h", "-r", "-o", form, *options], capture_output=True, text=True
    ).stdout.splitlines()


def until(is_so: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < give_up, squeue("%i %T %r")
        time.sleep(0.2)


def is_training(job: Job) -> bool:
    run = FinishedRun(job.directory)
    return (job.directory / "run.json").exists() and run.record.get("heartbeat", {}).get("epoch", 0) >= 1


def occupy(*options: str) -> str:
    """Submits a job that only takes place; returns its number."""
    command = ["sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 4", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_six_jobs_two_at_a_time_one_fails_one_is_killed_one_comes_to_its_time_limit(
    executor: Callable[..., SlurmExecutor], job: Callable[..., Job], undisturbed: FinishedRun
) -> None:
    jobs = [
        job("overtime", *SLOW),
        job("failing", "head._target_=trouble.Raising"),
        job("killed", "head._target_=trouble.Killing"),
        *[job(f"seed{seed}", f"seed={seed}") for seed in range(3)],
    ]
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, squeue("%T").count("RUNNING"))

    slurm = executor(jobs=2, timeout_min=1, signal_delay_s=5)
    slurm.start(jobs)
    assert len({number.partition("_")[0] for number in slurm.under_way}) == 1  # one array
    hows = ends(slurm, 6, meanwhile=count)
    assert most == 2
    killed = hows.pop("killed")
    assert killed is not None
    assert killed.startswith("it was killed by SIGKILL")
    assert set(hows.values()) == {None}
    records = {job.id: FinishedRun(job.directory).record for job in jobs}
    assert records.pop("failing")["reason"] == "this head only raises"
    assert records.pop("killed")["status"] == "running"  # as it could not say
    assert {record["status"] for record in records.values()} == {"finished"}
    assert [attempt["reason"][:18] for attempt in records["overtime"]["attempts"]] == ["stopped by SIGUSR2"]
    assert differences(undisturbed, FinishedRun(jobs[0].directory)) == []


def test_preempted_jobs_go_on_exactly(
    executor: Callable[..., SlurmExecutor], job: Callable[..., Job], undisturbed: FinishedRun
) -> None:
    victims = {partition: job(partition, *SLOW) for partition in ("low", "graceful")}  # Slurm queues them, or we do
    executors = [executor(partition=partition) for partition in victims]
    for slurm, victim in zip(executors, victims.values(), strict=True):
        slurm.start([victim])
    until(lambda: all(is_training(victim) for victim in victims.values()))
    occupy("--partition=high", "--nodes=2", "--exclusive")
    for slurm, (name, victim) in zip(executors, victims.items(), strict=True):
        assert ends(slurm, 1) == {name: None}
        run = FinishedRun(victim.directory)
        assert [attempt["reason"][:18] for attempt in run.record["attempts"]] == ["stopped by SIGTERM"]
        assert differences(undisturbed, run) == []


def test_run_on_several_devices_is_several_tasks_on_one_node_or_more(
    executor: Callable[..., SlurmExecutor], job: Callable[..., Job]
) -> None:
    ddp = ["trainer=ddp", "trainer.accelerator=cpu"]
    slurm = executor(partition="low")
    slurm.start(
        [
            job("two_devices", *ddp, "trainer.devices=2", devices=2),
            job("two_nodes", *ddp, "trainer.devices=1", "trainer.num_nodes=2"),
        ]
    )
    assert len({number.partition("_")[0] for number in slurm.under_way}) == 2  # they want other resources
    assert set(ends(slurm, 2).values()) == {None}
    runs = {name: FinishedRun(slurm.directory.parent / name) for name in ("two_devices", "two_nodes")}
    assert {run.record["status"] for run in runs.values()} == {"finished"}
    assert [(run.directory / "log_rank1.txt").exists() for run in runs.values()] == [True, True]
    assert runs["two_devices"].rows == runs["two_nodes"].rows


def test_rank_that_dies_ends_its_run(executor: Callable[..., SlurmExecutor], job: Callable[..., Job]) -> None:
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "head._target_=trouble.Rank1"]
    slurm = executor()
    slurm.start([job("raising", *ddp, "+head.how=raise", devices=2), job("dying", *ddp, "+head.how=die", devices=2)])
    hows = ends(slurm, 2)
    assert hows["raising"] is None
    assert FinishedRun(slurm.directory.parent / "raising").record["reason"].endswith("ArithmeticError: rank 1 raises")
    assert str(hows["dying"]).startswith("it was killed by SIGKILL")


def test_gpus_are_asked_for_where_there_are_any(
    executor: Callable[..., SlurmExecutor], job: Callable[..., Job]
) -> None:
    occupy("--partition=high", "--nodes=2", "--exclusive")
    for options, wish in (
        ({"partition": "gpu"}, "gres:gpu:1"),
        ({"partition": "gpu", "gpus": False}, "N/A"),
        ({}, "N/A"),
    ):
        slurm = executor(**options)
        slurm.start([job("auto", "trainer.accelerator=auto"), job("cpu")])
        (auto,), (cpu,) = (squeue("%b", f"--jobs={number}") for number in slurm.under_way)
        assert (auto, cpu) == (wish, "N/A")
        slurm.close()


def test_stop_leaves_every_job_saved_and_nothing_in_the_queue(
    executor: Callable[..., SlurmExecutor],
    job: Callable[..., Job],
    undisturbed: FinishedRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = [job(name, *SLOW) for name in ("first", "second", "third")]
    slurm = executor(jobs=2)
    slurm.start(jobs)
    until(lambda: is_training(jobs[0]) and is_training(jobs[1]))
    slurm.stop()
    assert set(ends(slurm, 3).values()) == {None}
    assert squeue("%i") == []
    assert [FinishedRun(each.directory).record["status"] for each in jobs[:2]] == ["interrupted"] * 2
    assert not jobs[2].directory.exists()
    monkeypatch.setenv("FAST", "1")
    slurm = executor()
    slurm.start(jobs[:1])
    assert ends(slurm, 1) == {"first": None}
    assert differences(undisturbed, FinishedRun(jobs[0].directory)) == []


def test_jobs_of_a_killed_study_go_on_and_are_found_again(
    executor: Callable[..., SlurmExecutor], job: Callable[..., Job]
) -> None:
    jobs = [job("running", *SLOW), job("waiting")]
    killed = executor(jobs=1, max_num_timeout=0)
    killed.start(jobs)
    until(lambda: is_training(jobs[0]))
    again = executor(jobs=1)
    again.start(jobs)
    assert again.under_way.keys() == killed.under_way.keys()
    killed.under_way.clear()
    subprocess.run(["scancel", "--signal=USR2", next(iter(again.under_way))], check=True)  # as at a time limit
    assert ends(again, 2) == {"running": None, "waiting": None}
    assert not is_held(jobs[0].directory)
    assert [FinishedRun(each.directory).record["status"] for each in jobs] == ["interrupted", "finished"]


def test_what_slurm_refuses_is_one_sentence(executor: Callable[..., SlurmExecutor], job: Callable[..., Job]) -> None:
    with pytest.raises(ValueError, match=r"Slurm did not take the jobs: .*invalid partition"):
        executor(partition="nowhere").start([job("lost")])
    with pytest.raises(ValueError, match=r"give hydra\.launcher\.executor\.timeout_min"):
        executor(time_limit=60.0)
    with pytest.raises(ValueError, match="leaves no time to train"):
        executor(timeout_min=1, signal_delay_s=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(ValueError, match="no sbatch, srun"):
            executor()


def test_job_that_slurm_has_forgotten_or_does_not_answer_for_is_no_error(cluster: Cluster) -> None:
    assert states(["999999"]) == {}
    with pytest.MonkeyPatch.context() as patch:
        lost = cluster.directory / "lost.conf"
        lost.write_text(
            re.sub("SlurmctldPort=.*", "SlurmctldPort=1\nMessageTimeout=2", Path(os.environ["SLURM_CONF"]).read_text())
        )
        patch.setenv("SLURM_CONF", str(lost))
        assert states(["1"]) is None


def test_same_line_as_anywhere_else(cluster: Cluster, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "leyden", "train", "-m", *TINY, "seed=0,1", "study=s", "hydra/launcher=slurm"]
    line.append("hydra.launcher.executor.poll_seconds=1")
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stdout


def test_jobs_do_not_inherit_the_wandb_service_of_the_study(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WANDB_SERVICE, "3-1-tcp-localhost-9")
    told = tmp_path / "told"
    with outside_of_a_job():
        command = ["sbatch", "--output=/dev/null", f"--wrap=env > {told}.new && mv {told}.new {told}"]
        subprocess.run(command, capture_output=True, check=True)
    assert os.environ[WANDB_SERVICE] == "3-1-tcp-localhost-9"
    until(told.exists)
    assert "SLURM_JOB_ID=" in told.read_text()
    assert f"{WANDB_SERVICE}=" not in told.read_text()


def test_job_that_is_queued_again_killed_or_fails_is_one_wandb_run_each(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "strikes.py").write_text(STRIKES, encoding="utf-8")
    line = [sys.executable, "-m", "leyden", "train", *STRUCK_STUDY, "hydra/launcher=slurm"]
    line += ["hydra.launcher.executor.poll_seconds=1", "hydra.launcher.executor.partition=low"]
    study = tmp_path / "runs" / "digits_mlp" / "struck"
    for killed in ("failed", "finished"):  # and gone on with
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE)
        assert done.returncode == 1, done.stdout + done.stderr
        assert states_at_wandb(study) == {
            "optimizer=sgd seed=0": "finished", "optimizer=sgd seed=1": killed,
            "optimizer=adamw seed=0": "finished", "optimizer=adamw seed=1": "failed",
        }, done.stdout + done.stderr  # fmt: skip
    attempts = [FinishedRun(path.parent).record["attempt"] for path in study.glob("*/run.json")]
    assert sorted(attempts) == [1, 1, 2, 2]  # one that has failed is left alone
