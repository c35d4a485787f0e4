"""The command line: bad input gets one sentence and a failed run; signals end cleanly; help answers at once."""

import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leyden import command_line
from leyden.errors import command
from running import SHORT, read_wandb

Leyden = Callable[..., subprocess.CompletedProcess[str]]
MLP = ["backbone=mlp", "backbone.width=16", "trainer=cpu", "epochs=2"]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `leyden train` in this process, in tmp_path; returns its exit code, error lines and run directory."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> tuple[int, list[str], Path]:
        directory = tmp_path / "run"
        network = [] if any(override.startswith("backbone=") for override in overrides) else MLP
        code = command_line.train([f"hydra.run.dir={directory}", *network, *overrides])
        return code, capfd.readouterr().err.strip().splitlines(), directory

    return run


BAD_INPUT = {
    "misspelt group key": (["++optimizer.weight_dcay=1"], "did you mean 'weight_decay'?"),
    "misspelt class": (["head._target_=leyden.heads.LinearHed"], "did you mean 'LinearHead'?"),
    "misspelt metric": (["monitor=val/acuracy"], "did you mean 'val/accuracy'?"),
    "wrong type": (["optimizer.lr=fast"], "expected a number"),
    "dropout": (["head.dropout=1.5"], "head.dropout=1.5 is out of range"),
    "learning rate": (["optimizer.lr=-1"], "optimizer.lr=-1 is out of range"),
    "batch size": (["batch_size=0"], "batch_size=0 is out of range"),
    "more labels than exist": (["data.labels_per_class=1000"], "training images: give at most"),
    "absent data": (["data=mnist"], "could not be downloaded"),
    "loss turns NaN": (["optimizer=sgd", "optimizer.lr=1e30"], "at step"),
    "timm network": (["backbone=timm", "backbone.name=resnet81"], "did you mean 'resnet"),
    "accelerator": (["trainer.accelerator=tpu"], "expected one of auto, cpu"),
    "precision": (["trainer.precision=bf15"], "expected auto, 32"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gets_one_sentence_and_a_failed_run(
    name: str, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):  # a port where nobody listens
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request._opener", None)
    overrides, expected = BAD_INPUT[name]
    code, lines, directory = train(*overrides)
    assert code == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "failed"
    assert record["reason"] == lines[0].removeprefix("error: ")
    wandb = read_wandb(directory.parent / "runs")
    assert (wandb["state"], wandb["exit_code"]) == ("failed", 1)


COMPOSITION_MISTAKES = {
    "misspelt root key": (["epchs=3"], "did you mean 'epochs'?"),
    "misspelt option": (["optimizer=adma"], "did you mean 'adam"),
    "misspelt group": (["optimiser=adam"], "did you mean 'optimizer'?"),
    "no assignment": (["epochs"], "expected key=value"),
}


@pytest.mark.parametrize("name", COMPOSITION_MISTAKES)
def test_what_cannot_be_composed_gets_one_sentence_and_no_run(name: str, train: Callable[..., Any]) -> None:
    overrides, expected = COMPOSITION_MISTAKES[name]
    code, lines, directory = train(*overrides)
    assert code == 1
    assert len(lines) == 1, lines
    assert expected in lines[0]
    assert not (directory / "run.json").exists()


def test_debug_shows_the_traceback(train: Callable[..., Any]) -> None:
    code, lines, _ = train("head.dropout=1.5", "debug=true")
    assert code == 1
    assert lines[0] == "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("report", ["absent"]), ("compare", ["absent", "absent"]), ("sync", ["absent"]),
        ("dashboard", ["absent"]), ("lesson", ["absent"]), ("quiz", ["99"]),
    ],
)  # fmt: skip
def test_every_command_takes_the_word_that_shows_where(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    errors = []
    for word in ([], ["debug=true"], ["debug=True"]):
        assert getattr(command_line, name)([*arguments, *word]) == 1
        errors.append(capsys.readouterr().err)
    assert errors[0].startswith("error: ")
    for shown in errors[1:]:
        assert shown.startswith("Traceback (most recent call last):")
        assert shown.endswith(errors[0])


def test_run_directory_that_cannot_be_written_is_told_before_training(
    train: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code = command_line.train([f"hydra.run.dir={tmp_path}/file/run", *MLP])
    assert code == 1


def test_disk_without_room_is_told_before_training(train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leyden.run.LEAST_FREE_BYTES", 2**60)
    code, lines, directory = train()
    assert code == 1
    assert "MiB are free at" in lines[0]
    assert not (directory / "metrics.csv").exists()


def test_file_that_cannot_be_written_in_training_keeps_what_was_done(leyden: Leyden, tmp_path: Path) -> None:
    """A limit of 300 kB on every file (RLIMIT_FSIZE) stops the checkpoint of a network that needs 2 MB."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "sys.argv = ['leyden', *sys.argv[1:]]; from leyden.__main__ import main; sys.exit(main())"
    )
    arguments = ["train", f"hydra.run.dir={tmp_path / 'run'}", "backbone=mlp", "epochs=2", "trainer=cpu", "logger=csv"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "could not be written" in done.stderr
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "failed"
    assert not list((tmp_path / "run" / "checkpoints").iterdir())  # nothing half written


def stop_in_training(directory: Path, number: int) -> tuple[int, str]:
    """Starts a long run, sends it a signal once it has trained an epoch; returns exit code and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "leyden", "train", f"hydra.run.dir={directory}", *MLP, "epochs=100000"],
        cwd=directory.parent, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (directory / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    return process.returncode, messages


@pytest.mark.whole
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_cleanly_and_says_how_to_go_on(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    monkeypatch.chdir(tmp_path)  # `command` names a program as it is called from here
    returned, messages = stop_in_training(directory, number)
    assert returned == code
    assert messages.strip().splitlines() == [
        f"{signal.Signals(number).name}: stopping as soon as nothing is half done",
        f"stopped by {signal.Signals(number).name}, the state is saved; "
        f"go on with: {command('leyden')} resume {directory}",
    ]
    record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "interrupted"
    assert read_wandb(tmp_path / "runs")["state"] == "failed"


@pytest.mark.parametrize(
    "hook", ["on_fit_start", "on_train_epoch_start", "on_train_batch_end", "on_validation_end", "on_train_epoch_end"]
)
def test_sigterm_anywhere_in_training_is_an_interruption(hook: str, leyden: Leyden, tmp_path: Path) -> None:
    (tmp_path / "sending.py").write_text(
        "import os, signal, pytorch_lightning as pl\n"
        "class Send(pl.Callback):\n"
        "    def __init__(self, hook):\n"
        "        setattr(self, hook, self.send)\n"
        "        self.hook = hook\n"
        "    def send(self, *arguments):\n"
        "        setattr(self, self.hook, None)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    sending = f"+callbacks.send={{_target_: sending.Send, hook: {hook}}}"
    done = leyden("train", f"hydra.run.dir={tmp_path / 'run'}", *MLP, "logger=csv", sending, PYTHONPATH=str(tmp_path))
    assert done.returncode == 143, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.whole
def test_interruption_without_checkpoints_says_that_nothing_is_saved(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "leyden", "train", f"hydra.run.dir={directory}", *MLP, "epochs=100000",
         "callbacks.checkpoints=null", "logger=csv"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == ["0"]:  # the first epoch's line
            break
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by SIGINT, no state is saved; begin again with: " in messages
    assert messages.strip().endswith(f"resume {directory}")
    assert json.loads((directory / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"


def test_options_may_follow_overrides(leyden: Leyden) -> None:
    done = leyden("train", "head.dropout=0.1", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "dropout: 0.1" in done.stdout
    assert leyden("train", "--foo").returncode == 1


def test_config_is_printed_without_torch(leyden: Leyden, tmp_path: Path) -> None:
    script = (
        "import sys; from leyden.__main__ import main; sys.argv = ['leyden', 'train', '--cfg', 'job']; main();"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert "_target_: torch.optim.AdamW" in done.stdout
    assert done.stderr.strip() == "False"
    assert not (tmp_path / "runs").exists()


def test_help_names_commands_groups_and_examples(leyden: Leyden) -> None:
    for arguments in (["--help"], []):
        done = leyden(*arguments)
        assert done.returncode == 0
        for name in ("train", "resume", "preview"):
            assert f"  {name}" in done.stdout
    done = leyden("train", "--help")
    assert done.returncode == 0
    for words in ("optimizer: adagrad, adam, adamw", "experiment=digits", "usage: leyden train"):
        assert words in done.stdout


def test_unknown_command_gets_a_suggestion(leyden: Leyden) -> None:
    done = leyden("trian")
    assert done.returncode == 1
    assert "did you mean 'train'?" in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("leyden tr", ["train"]),
        ("leyden train optimizer=ada", ["optimizer=adagrad", "optimizer=adam", "optimizer=adamw"]),
        ("leyden train data=digits optimizer.weight", ["optimizer.weight_decay="]),
        ("leyden preview augm", ["augment=", "augment."]),
    ],
)
def test_shell_completes_commands_groups_and_keys(line: str, expected: list[str], tmp_path: Path) -> None:
    """A real bash loads the completion script and asks it what Tab would show."""
    executable = Path(sys.executable).with_name("leyden")
    script = f"""
        eval "$({executable} train --shell-completion install=bash)"
        COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_CWORD={line.count(" ")}
        hydra_bash_completion
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{executable.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path},
        cwd=tmp_path,
        timeout=60,
    )
    assert sorted(done.stdout.split()) == sorted(expected), done.stderr


@pytest.mark.parametrize("command", ["doctor", "preview", "profile"])
def test_help_of_a_command_is_of_that_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert getattr(command_line, command)(["data=digits", "--help"]) == 0
    told = capsys.readouterr().out
    assert f"usage: leyden {command} " in told
    assert "Train one image classifier" not in told


@pytest.mark.parametrize(("arguments", "code"), [([], 1), (["--help"], 0), (["rate"], 1), (["lr", "--help"], 0)])
def test_find_says_what_can_be_found(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.find(arguments) == code
    assert "usage: leyden find lr" in capsys.readouterr().out


@pytest.mark.whole
def test_what_a_config_may_be_trained_with_is_found_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line.find(["batch_size", *SHORT, "data.labels_per_class=2"]) == 0
    assert command_line.profile([*SHORT, "batch_size=16"]) == 0
    told = capsys.readouterr().out
    assert "suggested       batch_size=" in told
    assert "a step in all" in told


@pytest.mark.parametrize("words", [["preview"], ["find", "lr"], ["profile"], ["doctor"]])
def test_studies_are_trained_by_train_alone(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = getattr(command_line, words[0])
    assert command([*words[1:], "augment=standard,strong"]) == 1
    assert "several values make a study, `leyden train -m`" in capsys.readouterr().err
    assert command([*words[1:], "augment=standard,strong", "-m"]) == 1
    assert "give each key one value here" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_that_is_read_in_part_leaves_no_error(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "leyden", *arguments], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.stderr == b""


def test_a_run_goes_on_to_its_end_where_nobody_reads_what_it_says(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ["train", f"hydra.run.dir={tmp_path / 'run'}", *MLP, "logger=csv"]
    done = subprocess.run([sys.executable, "-m", "leyden", *words], stdout=writer, stderr=writer, cwd=tmp_path)
    os.close(writer)
    assert done.returncode == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["status"] == "finished"


@pytest.mark.parametrize("words", [["evaluate", "run=x"], ["report", "runs/x"], ["resume", "x"], ["sync", "x"]])
def test_help_is_given_wherever_it_is_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name, *arguments = [*words, "--help"]
    of_a_run = functools.partial(command_line.of_a_run, name)
    assert getattr(command_line, name, of_a_run)(arguments) == 0
    assert f"leyden {name}" in capsys.readouterr().out


def test_signal_ends_a_command_about_directories_where_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(*directories: Path) -> None:
        signal.raise_signal(signal.SIGTERM)
        print("went on")

    monkeypatch.setattr(command_line, "_report_job", report)
    assert command_line.report([str(tmp_path)]) == 143
    assert "went on" not in capsys.readouterr().out


def test_what_a_study_goes_on_with_lies_where_that_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "study.json").touch()
    monkeypatch.chdir(tmp_path)
    given: list[str] = []
    monkeypatch.setattr(command_line, "_resume_study", lambda signals, directory, changes: given.extend(changes))
    assert command_line.resume([".", "data.root=photos", "jobs=1"]) == 0
    assert given == [f"data.root={tmp_path / 'photos'}", "jobs=1"]


def test_checkpoints_of_what_is_no_run_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.checkpoints([str(tmp_path)]) == 1
    assert f"error: {tmp_path} holds no run" in capsys.readouterr().err


def test_status_of_what_holds_runs_names_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "optimizers").mkdir(parents=True)
    (tmp_path / "runs" / "optimizers" / "study.json").write_text("{}", encoding="utf-8")
    assert command_line.status([str(tmp_path / "runs")]) == 1
    assert f"give one of those in it, as {tmp_path / 'runs' / 'optimizers'}" in capsys.readouterr().err
