"""A study from its command line to its results: nothing is lost, nothing is run twice, failures are named."""

import json
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leyden import command_line
from leyden.config import CONFIG_DIRECTORY
from running import SHORT, FinishedRun, differences, read_wandb_run
from studies import ENDS, Study

HOW = "callbacks.ends.how"
WriteDigits = Callable[..., Path]


def test_every_combination_is_run_and_has_a_row(study: Study) -> None:
    assert study("optimizer=sgd,adam", "head.dropout=0,0.5", "seed=0,1") == 0
    rows = study.results
    found = {(row["optimizer"], row["head.dropout"], row["seed"]) for row in rows}
    assert found == {(name, rate, seed) for name in ("sgd", "adam") for rate in ("0", "0.5") for seed in "01"}
    for row in rows:
        record = json.loads((Path(row["directory"]) / "run.json").read_text(encoding="utf-8"))
        assert row["status"] == record["status"] == "finished"
        assert float(row["test/accuracy"]) == record["metrics"]["test/accuracy"]
        assert float(row["best/val/accuracy"]) == record["metrics"]["best/val/accuracy"]
        assert record["study"]["factors"]["optimizer"] == row["optimizer"]
        assert float(row["final/val/accuracy"]) > 0
    assert "8 finished" in study.out


def test_run_of_a_study_has_the_bits_of_a_run_of_its_own(study: Study, train_run: Callable[..., FinishedRun]) -> None:
    assert study("optimizer=sgd", "seed=0,1", "backbone.width=16") == 0
    alone = train_run("epochs=3", "optimizer=sgd", "seed=1", "pictures=false")
    assert not differences(study.run(seed="1"), alone)


def test_finished_runs_are_not_run_again_and_new_levels_are_added(study: Study) -> None:
    assert study("optimizer=sgd,adam", "seed=0") == 0
    before = {path: path.stat().st_mtime_ns for path in study.directory.glob("*/run.json")}
    assert study("seed=0", "optimizer=adam,sgd,rmsprop") == 0
    assert "finished   2, which are not run again" in study.out
    assert len(study.results) == 3
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert {row["attempt"] for row in study.results} == {"1"}


def test_paths_loggers_and_workers_do_not_make_another_run(study: Study) -> None:
    assert study("study=mine", "seed=0,1") == 0
    assert study("study=mine", "seed=0,1", "jobs=1", "logger=wandb", "debug=true") == 0
    assert "finished   2" in study.out
    assert study("study=mine", "seed=0,1", "optimizer.lr=0.5", "mixed=true") == 0
    assert "finished" not in study.out.split("to run")[0]


def test_each_way_of_ending_is_named_and_the_others_finish(study: Study) -> None:
    ends = ["none", "raise", "unpicklable", "sys.exit", "os._exit", "kill", "term", "full"]
    assert study(ENDS, f"{HOW}={','.join(ends)}", "logger=csv") == 1
    rows = {row[HOW]: row for row in study.results}
    assert {end: rows[end]["status"] for end in ends} == {
        "none": "finished", "raise": "failed", "unpicklable": "failed", "sys.exit": "failed", "full": "failed",
        "os._exit": "interrupted", "kill": "interrupted", "term": "interrupted",
    }  # fmt: skip
    for end, reason in {
        "raise": "RuntimeError: a part broke", "unpicklable": "not to be pickled", "sys.exit": "sys.exit(3)",
        "os._exit": "exit code 3", "kill": "it was killed by SIGKILL", "term": "stopped by SIGTERM",
        "full": "/full/disk: the disk is full",
    }.items():  # fmt: skip
        assert reason in rows[end]["reason"]
        assert reason in study.out
    assert os.path.relpath(study.run(**{"callbacks.ends.how": "raise"}).directory / "error.txt") in study.out
    assert "7 of 8 runs are not finished (4 failed, 3 interrupted)" in study.err
    assert study(ENDS, f"{HOW}={','.join(ends)}") == 1
    assert {row[HOW]: row["attempt"] for row in study.results} == {
        "none": "1", "raise": "1", "unpicklable": "1", "sys.exit": "1", "full": "1",
        "os._exit": "2", "kill": "2", "term": "2",
    }  # fmt: skip
    assert study.statuses(HOW)["term"] == "finished"


def test_failed_runs_follow_on_error(study: Study, tmp_path: Path) -> None:
    words = [ENDS, f"+callbacks.ends.once={tmp_path}/once", f"{HOW}=none,raise"]
    assert study(*words) == 1
    assert study(*words) == 1
    assert "failed     1, left alone" in study.out
    assert study(*words, "on_error=stop") == 1
    assert "on_error=stop" in study.err
    assert study(*words, "on_error=retry") == 0
    assert study.statuses(HOW) == {"none": "finished", "raise": "finished"}


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_retry_goes_on_with_a_run_that_ended_badly(how: str, study: Study, tmp_path: Path) -> None:
    assert study(ENDS, f"+callbacks.ends.once={tmp_path}/once", f"{HOW}=none,{how}", "retry=1") == 0
    assert study.statuses(HOW) == {"none": "finished", how: "finished"}
    assert study.run(**{HOW: how}).record["attempt"] == 2


def test_stop_on_error_ends_the_others_with_their_state_saved(study: Study) -> None:
    assert study(ENDS, f"{HOW}=raise,none", "seed=0,1,2", "epochs=300", "on_error=stop", "jobs=2") == 1
    counts = [row["status"] for row in study.results]
    assert "finished" not in counts
    assert "waiting" in counts
    assert "failed" in counts


def test_hanging_run_is_ended_by_the_time_limit(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leyden.study.local.SECONDS_TO_SAVE", 1.0)
    assert study(ENDS, f"{HOW}=none,hang", "time_limit=8") == 1
    assert study.statuses(HOW) == {"none": "finished", "hang": "interrupted"}
    assert "it took longer than time_limit=8 s" in study.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=sgd,adma"], "did you mean 'adam'?"),
        (["seed=0,1", "optimizer.lr=0.1,fast"], "optimizer.lr=fast"),
        (["seed=0,1", "optimizer.weight_dcay=0.1"], "did you mean 'weight_decay'?"),
        (["seed=0,1", "+epchs=3"], "did you mean 'epochs'?"),
        (["seed=0,-1"], "seed=-1 is out of range"),
        (["optimizer._target_=torch.optim.SGD,torch.optim.Adma"], "did you mean 'Adam"),
        (["optimizer.lr=interval(0.1,1)"], "hydra/sweeper=optuna"),
        (["seed=0,1", "jobs=0"], "jobs=0"),
        (["seed=0,1", "jobs=many"], "jobs=many"),
        (["seed=0,1", "on_error=go"], "on_error=go"),
        (["seed=0,1", "retry=-1"], "retry=-1"),
        (["seed=0,1", "time_limit=0"], "time_limit=0"),
        (["seed=0,1", "devices_per_run=64"], "a run on 64 devices"),
        (["seed=0,1", "devices_per_run=1", "trainer.devices=2"], "give one of them"),
        (["seed=0,1", "hydra/launcher=basic"], "local, slurm or ray"),
        (["seed=0,1", "head.dropout=0.1,1.5"], "head.dropout=1.5"),
        (["study=optimizers,seeds"], "one study at a time"),
        (["study=my study", "seed=0,1"], "expected a letter, then letters"),
        (["seed=0,1,"], "without one at the end"),
        (["seed=0"], "there is nothing to vary"),
        (["study=optimisers"], "did you mean 'optimizers'?"),
    ],
)
def test_mistake_is_named_before_anything_starts(words: list[str], message: str, study: Study) -> None:
    assert study(*words) == 1
    assert message in study.err
    assert study.err.count("\n") == 1
    assert not study.runs.exists()


def test_wrong_jobs_are_counted_and_named_once(study: Study) -> None:
    assert study("head.dropout=0,0.5", "optimizer=sgd,adma", "seed=0,1") == 1
    assert "4 of the 8 runs cannot be made, so none was started: optimizer=adma" in study.err
    assert study.err.count("adma:") == 1


def test_duplicate_runs_once_and_is_named(study: Study) -> None:
    assert study("head.dropout=0,0.0,0.5") == 0
    assert "head.dropout=0.0 is the same run as an earlier one (head.dropout=0): it runs once" in study.out
    assert len(study.results) == 2


def test_plan_tells_what_would_run_and_runs_nothing(study: Study) -> None:
    assert study("seed=0,1", "head.dropout=0,0.5", "plan=true") == 0
    assert "4: seed (0, 1) × head.dropout (0, 0.5)" in study.out
    told = study.out
    assert not study.runs.exists()
    assert study("seed=0,1") == 0
    run = study.run(seed="0")
    assert f"steps      {run.checkpoint()['global_step']} in each run" in told
    assert f"parameters {run.record['parameters']:,}" in told


def test_study_of_other_settings_or_code_is_refused_unless_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert study("study=mine", "seed=0,1") == 0
    assert study("study=mine", "seed=0,1", "batch_size=32") == 1
    assert "was written with batch_size=64, not batch_size=32" in study.err
    assert study("study=mine", "seed=0,1", "batch_size=32", "plan=true") == 1
    assert "was written with batch_size=64, not batch_size=32" in study.err
    monkeypatch.setattr("leyden.study.record.code_by_file", lambda: {"leyden": "other"})
    assert study("study=mine", "seed=0,1") == 1
    assert "was written by other code, of leyden or of your own parts" in study.err
    assert study("study=mine", "seed=0,1", "batch_size=32", "mixed=true") == 0
    assert len(study.results) == 4


def test_status_and_resume_work_from_the_directory_alone(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert study(ENDS, f"{HOW}=none,term") == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command_line.status([str(study.directory)]) == 0
    assert "1 finished, 1 interrupted" in capfd.readouterr().out
    assert command_line.resume([str(study.directory), "jobs=1"]) == 0
    assert study.statuses(HOW) == {"none": "finished", "term": "finished"}
    assert command_line.resume([str(study.directory)]) == 0
    assert command_line.draw([str(study.directory)]) == 0
    assert len(list(study.directory.glob("*/learning_curves.png"))) == 2


@pytest.mark.parametrize("preset", sorted(path.stem for path in (CONFIG_DIRECTORY / "study").glob("*.yaml")))
def test_preset_plans(preset: str, study: Study) -> None:
    assert study(f"study={preset}", "plan=true", "pictures=false") == 0
    assert f"runs/digits_mlp/{preset}" in study.out
    assert "seed (" in study.out


def test_preset_of_ones_own_that_varies_nothing_is_a_preset(study: Study, tmp_path: Path) -> None:
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "one_seed.yaml").write_text("# @package _global_\nseed: 3\n", encoding="utf-8")
    assert study("study=one_seed") == 1
    assert "there is nothing to vary" in study.err
    assert study("study=optimizer") == 1
    assert "did you mean 'optimizers'?" in study.err


def test_study_needs_several_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.train(["study=optimizers", f"hydra.run.dir={tmp_path}/run", *SHORT]) == 1
    assert "add -m" in capfd.readouterr().err


def _start(directory: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "leyden", "train", "-m", *SHORT, *words]
    return subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _wait_for_training(directory: Path, num_runs: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(directory.glob("runs/*/*/*/checkpoints/last.ckpt"))) < num_runs:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _processes_of(directory: Path) -> list[str]:
    """Processes that work in a directory, by /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.resolve() == directory.resolve():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_interrupt_saves_every_run_and_says_how_to_go_on(study: Study, tmp_path: Path) -> None:
    words = ["optimizer=sgd,adam", "seed=0,1", "epochs=300", "jobs=2"]  # long enough to be met at work
    process = _start(tmp_path, *words)
    _wait_for_training(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert f"go on with: {sys.executable.removesuffix('python')}leyden resume {study.directory}" in err
    statuses = [row["status"] for row in study.results]
    assert statuses.count("interrupted") == 2
    assert statuses.count("waiting") == 2
    assert command_line.resume([str(study.directory)]) == 0
    assert {row["status"] for row in study.results} == {"finished"}
    assert sorted(row["attempt"] for row in study.results) == ["1", "1", "2", "2"]


def test_no_run_outlives_a_study_that_was_killed(study: Study, tmp_path: Path) -> None:
    words = ["seed=0,1", "epochs=300", "jobs=2", "optimizer=sgd"]
    process = _start(tmp_path, *words)
    _wait_for_training(tmp_path, 2)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while _processes_of(tmp_path) != [str(os.getpid())] * (Path.cwd() == tmp_path):
        assert time.monotonic() < deadline, _processes_of(tmp_path)
        time.sleep(0.1)
    assert study(*words) == 0
    assert {row["attempt"] for row in study.results} == {"2"}


def test_search_of_a_command_line_goes_on_to_its_total(study: Study) -> None:
    words = ["hydra/sweeper=optuna", "study=lr", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "jobs=2"]
    assert study(*words, "plan=true", "hydra.sweeper.n_trials=3") == 0
    assert "0 of 3 trials are over" in study.out
    assert "in a run with optimizer.lr=" in study.out
    assert not list(study.runs.glob("*/lr"))
    assert study(*words, "hydra.sweeper.n_trials=3") == 0
    assert study(*words, "hydra.sweeper.n_trials=5") == 0
    assert "3 of 5 trials are over" in study.out
    rows = study.results
    assert len({row["optimizer.lr"] for row in rows}) == 5
    best = max(float(row["best/val/accuracy"]) for row in rows)
    assert f"best: val/accuracy {best:.4f}" in study.out
    assert study(*words, "hydra.sweeper.n_trials=5") == 0
    assert "nothing to do" in study.out


def test_search_in_a_setting_that_others_are_made_from(study: Study) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "batch_size=32,64", "epochs=1,2", "jobs=2"]
    assert study(*words) == 0, study.err
    found = {(row["batch_size"], row["epochs"]) for row in study.results}
    assert found == {("32", "1"), ("32", "2"), ("64", "1"), ("64", "2")}


def test_search_goes_on_with_a_run_that_was_killed(study: Study, tmp_path: Path) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", ENDS, f"+callbacks.ends.once={tmp_path}/once"]
    assert study(*words, f"{HOW}=none,kill") == 1
    assert study.statuses(HOW) == {"none": "finished", "kill": "interrupted"}
    assert study(*words, f"{HOW}=none,kill") == 0, study.err
    assert study.statuses(HOW) == {"none": "finished", "kill": "finished"}


def test_damaged_record_is_put_aside_and_the_line_goes_on(study: Study) -> None:
    assert study("study=mine", "seed=0,1") == 0
    path = study.directory / "study.json"
    path.write_text('{"form', encoding="utf-8")
    assert study("study=mine", "seed=0,1") == 0
    assert "finished   2" in study.out
    assert path.with_name("study.json.damaged").is_file()
    assert len(study.results) == 2


def test_two_processes_share_a_study_and_both_see_it_finished(study: Study, tmp_path: Path) -> None:
    words = ["optimizer=sgd,adam", "seed=0,1", "epochs=40", "jobs=1"]
    both = [_start(tmp_path, *words) for _ in range(2)]
    ends = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert {(row["status"], row["attempt"]) for row in study.results} == {("finished", "1")}


def test_runs_that_decode_files_fork_their_workers_as_a_run_of_its_own_does(
    study: Study, write_digits: WriteDigits
) -> None:
    words = ["data=image_folder", f"data.root={write_digits()}", "data.num_workers=2", "seed=0,1"]
    assert study(*words, ENDS, f"{HOW}=start_method") == 0
    for row in study.results:
        printed = (Path(row["directory"]) / "output.txt").read_text(encoding="utf-8")
        assert f"workers begin by {multiprocessing.get_start_method()}" in printed


def test_search_with_a_run_that_fails_ends_with_1(study: Study) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid", ENDS]
    assert study(*words, f"{HOW}=none,raise") == 1
    assert study.statuses(HOW) == {"none": "finished", "raise": "failed"}
    assert "a part broke" in study.out


def test_wandb_has_a_run_for_each_grouped_by_study(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    wandb.teardown()  # an earlier test may have left a service, of which the environment says nothing any more
    monkeypatch.setenv("WANDB_SERVICE", "")  # what the next line sets is taken back afterwards
    monkeypatch.delenv("WANDB_SERVICE")
    wandb.setup()  # a service of this process's, which no run is to share: it would keep a killed one for alive
    assert os.environ["WANDB_SERVICE"]
    assert study(ENDS, f"{HOW}=none,raise,kill", "study=mine", "logger=wandb") == 1
    found = {}
    for path in (tmp_path / "runs" / "wandb").glob("offline-run-*/*.wandb"):
        told = read_wandb_run(path.parent)
        if "study" not in told["config"]:  # of one killed while W&B began; its death has a record of its own
            continue
        found[told["config"]["study"]["factors"][HOW]] = told
        record = path.read_bytes()
        assert told["tags"] == [f"{HOW}={told['config']['callbacks']['ends']['how']}"]
        assert b"mine" in record  # the group, which the reader does not tell
    assert {how: (told["state"], told["exit_code"]) for how, told in found.items()} == {
        "none": ("finished", 0), "raise": ("failed", 1), "kill": ("failed", 1),
    }, (study.err, [path.read_text(encoding="utf-8") for path in tmp_path.rglob("output.txt")])  # fmt: skip


CGROUP = Path("/sys/fs/cgroup/memory/leyden_test")  # of the first version of control groups


@pytest.mark.skipif(not os.access(CGROUP.parent, os.W_OK) or os.geteuid() != 0, reason="needs a memory control group")
def test_run_killed_for_memory_is_named_so(study: Study, tmp_path: Path) -> None:
    CGROUP.mkdir(exist_ok=True)
    (CGROUP / "memory.limit_in_bytes").write_text(str(3 * 2**30), encoding="ascii")
    words = [sys.executable, "-m", "leyden", "train", "-m", *SHORT, "epochs=3", ENDS, f"{HOW}=none,memory", "jobs=1"]
    enter = f"echo $$ > {CGROUP}/cgroup.procs && exec {shlex.join(words)}"
    done = subprocess.run(["bash", "-c", enter], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert study.statuses(HOW) == {"none": "finished", "memory": "interrupted"}
    assert "it was killed by the system for memory" in study.results[1]["reason"]
