"""Studies on Ray: real clusters on this machine, whose jobs fail, die and go on as those of any launcher."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from leyden.config import CONFIG_DIRECTORY
from leyden.lock import is_held
from leyden.run import read_record
from leyden.study.job import Ended, Job
from leyden.study.ray import RayExecutor
from running import SHORT, FinishedRun, compose_config, differences
from wandb_files import STRIKES, STRUCK_STUDY, states_at_wandb

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

Leyden = Callable[..., subprocess.CompletedProcess[str]]

HEADS = """
import os, signal
from pathlib import Path
from leyden.heads import LinearHead

class Plain(LinearHead):
    steps = 0

    def forward(self, features):
        self.steps += self.training
        mark = Path(type(self).__name__ + ".struck")
        if self.steps == 30 and not mark.exists():
            mark.touch()
            self.strike()
        return super().forward(features)

    def strike(self):
        pass

class Local(Exception):
    def __init__(self, first, second):
        super().__init__("of no pickle")

class Failing(Plain):
    def forward(self, features):
        raise Local(1, 2)

class Exiting(Plain):
    def strike(self):
        os._exit(3)

class Killed(Plain):
    def strike(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Interrupted(Plain):
    def strike(self):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
"""
STRUCK = "head._target_=heads.Plain,heads.Failing,heads.Exiting,heads.Killed,heads.Interrupted"
LONG = "epochs=2000"


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayExecutor]:
    """Two jobs at a time on a Ray of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = RayExecutor(tmp_path, jobs=2)
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster that runs already, of two CPUs and, as it believes, a GPU."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # said to both sides: a user's own settings are not this test's
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ["start", "--head", "--block", "--num-cpus=2", "--num-gpus=1"]
    arguments += [f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", "--disable-usage-stats"]
    command = [sys.executable, "-m", "ray.scripts.scripts", *arguments]
    with (tmp_path / "cluster.txt").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd="/")
        wait_until(lambda: "ray stop" in (tmp_path / "cluster.txt").read_text() or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "cluster.txt").read_text()
        yield address
        process.terminate()
        process.wait(60)


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def make_job(directory: Path, name: str, *overrides: str) -> Job:
    config = compose_config(*SHORT, *overrides)
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    words = ("name=test", *SHORT, *overrides)
    return Job(name, directory / name, words, {}, plain, {}, (CONFIG_DIRECTORY,), config.trainer.devices)


def status(job: Job) -> str | None:
    return read_record(job.directory)["status"] if (job.directory / "run.json").is_file() else None


def is_training(job: Job) -> bool:
    return (job.directory / "run.json").is_file() and "step" in read_record(job.directory)["heartbeat"]


def wait_for(executor: RayExecutor, count: int, seconds: float = 60) -> dict[str, Ended]:
    ended: list[Ended] = []
    deadline = time.monotonic() + seconds
    while len(ended) < count:
        assert time.monotonic() < deadline, f"only {len(ended)} of {count} jobs ended"
        ended += executor.wait(0.2)
    return {one.job.id: one for one in ended}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def processes_in(directory: Path) -> list[str]:
    """All processes that work in a directory, but for two of Ray's own that look for their dead master for a minute."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").resolve() == directory:
                found.append((place / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in found if not line.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))]


def sweep(leyden: Leyden, study: str, *overrides: str, launcher: str = "ray") -> subprocess.CompletedProcess[str]:
    return leyden(
        "train", "-m", f"study={study}", f"hydra/launcher={launcher}", "jobs=2", *SHORT, *overrides, timeout=400
    )


def test_study_of_jobs_that_fail_and_die_is_finished_by_the_same_line_with_undisturbed_bits(
    leyden: Leyden, tmp_path: Path
) -> None:
    (tmp_path / "heads.py").write_text(HEADS)
    line = [STRUCK, "epochs=4", "callbacks.checkpoints.every_n_steps=7"]
    first = sweep(leyden, "struck", *line)
    assert first.returncode == 1
    assert "to run     5, 2 at once" in first.stdout
    for said in ("1 finished", "of no pickle", "it was killed by SIGKILL", "exit code 3"):
        assert said in first.stdout, first.stdout + first.stderr
    second = sweep(leyden, "struck", *line)
    assert "finished   1" in second.stdout, second.stdout
    assert "4 finished" in second.stdout, second.stdout
    whole = sweep(leyden, "whole", *line, launcher="local")  # the marks are there: nothing strikes
    assert "4 finished" in whole.stdout, whole.stdout
    studies = tmp_path / "runs" / "digits_mlp"
    attempts = {}
    for directory in sorted(path for path in (studies / "whole").iterdir() if path.is_dir()):
        struck = FinishedRun(studies / "struck" / directory.name)
        head = next(word for word in struck.record["overrides"] if "heads." in word).rpartition(".")[2]
        attempts[head] = struck.record["attempt"]
        if head != "Failing":
            assert differences(FinishedRun(directory), struck) == [], head
    assert attempts == {"Plain": 1, "Failing": 1, "Exiting": 2, "Killed": 2, "Interrupted": 2}


def test_job_that_loses_its_place_is_killed_or_fails_is_one_wandb_run_each(leyden: Leyden, tmp_path: Path) -> None:
    (tmp_path / "strikes.py").write_text(STRIKES, encoding="utf-8")
    study = tmp_path / "runs" / "digits_mlp" / "struck"
    for struck in ("failed", "finished"):  # and gone on with
        done = leyden("train", *STRUCK_STUDY, "hydra/launcher=ray", "jobs=2", timeout=400)
        assert done.returncode == 1, done.stdout + done.stderr
        assert states_at_wandb(study) == {
            "optimizer=sgd seed=0": struck, "optimizer=sgd seed=1": struck,
            "optimizer=adamw seed=0": "finished", "optimizer=adamw seed=1": "failed",
        }, done.stdout + done.stderr  # fmt: skip
    attempts = [read_record(path.parent)["attempt"] for path in study.glob("*/run.json")]
    assert sorted(attempts) == [1, 1, 2, 2]  # one that has failed is left alone


def test_runs_on_one_and_two_devices_share_the_cluster(leyden: Leyden, tmp_path: Path) -> None:
    done = sweep(
        leyden, "mixed", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1,2", "seed=0,1", "epochs=1"
    )
    assert "4 finished" in done.stdout, done.stdout + done.stderr
    ranks = [len(list(path.glob("log_rank1.txt"))) for path in tmp_path.glob("runs/digits_mlp/mixed/*/")]
    assert sorted(ranks) == [0, 0, 1, 1]


def test_jobs_that_are_stopped_are_saved_and_those_that_wait_never_begin(executor: RayExecutor, tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, f"job{number}", LONG, f"seed={number}") for number in range(3)]
    executor.start(jobs)
    wait_until(lambda: (executor.wait(0.1) == []) and sum(map(is_training, jobs)) == 2)
    executor.stop()
    ended = wait_for(executor, 3)
    assert {one.how for one in ended.values()} == {None}
    assert sorted(str(status(job)) for job in jobs) == ["None", "interrupted", "interrupted"]
    saved = [(job.directory / "checkpoints" / "last.ckpt").is_file() for job in jobs]
    assert saved == [status(job) == "interrupted" for job in jobs]


def test_job_whose_worker_is_killed_is_saved_and_leaves_the_other_alone(executor: RayExecutor, tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "struck", LONG), make_job(tmp_path, "other", "epochs=100", "seed=1")]
    executor.start(jobs)
    wait_until(lambda: all(map(is_training, jobs)) or executor.wait(0.1) != [])
    os.kill(parent(parent(read_record(jobs[0].directory)["pid"])), signal.SIGKILL)
    ended = wait_for(executor, 2)
    assert "place on the Ray cluster was lost" in str(ended["struck"].how)
    assert (status(jobs[0]), is_held(jobs[0].directory)) == ("interrupted", False)
    assert (status(jobs[1]), ended["other"].how) == ("finished", None)


def test_job_that_takes_too_long_is_ended_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    executor = RayExecutor(tmp_path, jobs=1, time_limit=4.0)
    job = make_job(tmp_path, "long", LONG)
    executor.start([job])
    assert "time_limit=4 s" in str(wait_for(executor, 1)["long"].how)
    assert status(job) == "interrupted"
    executor.close()


def test_kill_of_the_study_saves_its_jobs_and_leaves_no_process(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "leyden",
        "train",
        "-m",
        "study=killed",
        "hydra/launcher=ray",
        "seed=0,1",
        *SHORT,
        LONG,
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    studies = tmp_path / "runs" / "digits_mlp" / "killed"

    def records() -> list[dict[str, object]]:
        return [read_record(path.parent) for path in studies.glob("*/run.json")]

    wait_until(lambda: sum("step" in record["heartbeat"] for record in records()) == 2)  # type: ignore[operator]
    process.kill()
    process.wait()
    wait_until(lambda: not processes_in(tmp_path), 30)
    assert [record["status"] for record in records()] == ["interrupted", "interrupted"]


def test_fractions_of_a_gpu_on_a_cluster_that_goes_on(leyden: Leyden, tmp_path: Path, cluster: str) -> None:
    (tmp_path / "heads.py").write_text(
        "import os\nfrom leyden.heads import LinearHead\n"
        "class Telling(LinearHead):\n"
        "    def forward(self, features):\n"
        "        print('sees GPUs', os.environ['CUDA_VISIBLE_DEVICES'], 'in', os.getcwd())\n"
        "        return super().forward(features)\n"
    )
    options = [f"address={cluster}", "cpus_per_device=0.5", "gpus_per_device=0.25"]
    for study in ("first", "second"):
        done = leyden(
            "train", "-m", f"study={study}", "hydra/launcher=ray", "seed=0,1,2,3,4", "jobs=auto", "epochs=1", *SHORT,
            "trainer=auto", "head._target_=heads.Telling", *(f"hydra.launcher.executor.{option}" for option in options),
        )  # fmt: skip
        assert "to run     5, 4 at once" in done.stdout, done.stdout + done.stderr
        assert "5 finished" in done.stdout, done.stdout + done.stderr
        told = [path.read_text() for path in tmp_path.glob(f"runs/digits_mlp/{study}/*/output.txt")]
        assert ["sees GPUs 0 in " + str(tmp_path) in text for text in told] == [True] * 5


def test_what_no_node_has_is_refused_in_a_sentence(leyden: Leyden) -> None:
    ranks = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=500", "batch_size=500", "seed=0,1"]
    done = sweep(leyden, "large", *ranks)
    assert done.returncode == 1
    assert "no node of the Ray cluster has 500 CPU" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_address_where_no_cluster_answers_is_refused_in_a_sentence(leyden: Leyden) -> None:
    done = sweep(leyden, "nowhere", "seed=0,1", "hydra.launcher.executor.address=127.0.0.1:9")
    assert done.returncode == 1
    assert "address=127.0.0.1:9: no Ray cluster answers there" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
