"""`leyden dashboard` alone is W&B's own browser of its files, in a terminal; no word of its others goes unheard."""

import os
import pty
import sys
import time
from pathlib import Path

import pytest

from leyden import command_line
from leyden.loggers import WandbLogger


def test_without_files_or_a_terminal_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line.dashboard([]) == 1
    assert "error: runs/wandb is not there: train with logger=wandb" in capfd.readouterr().err
    (tmp_path / "runs" / "wandb").mkdir(parents=True)
    assert command_line.dashboard([]) == 1
    assert "try `leyden dashboard web`" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--dry-run", "--dry-run is of a study alone"),
        ("--port 9000", "--port is of web alone"),
        ("web --sweep-yaml", "--sweep-yaml is of a study alone"),
        ("runs/digits_cnn/mine other", "other is of web alone"),
        ("runs/digits_cnn/mine --token=x --dry-run", "--token is of web alone"),
        ("runs/digits_cnn/mine --dry-run --sweep-yaml", "--dry-run and --sweep-yaml are two things"),
    ],
)
def test_a_word_that_would_do_nothing_is_refused(words: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.dashboard(words.split()) == 1
    assert said in capfd.readouterr().err


def test_in_a_terminal_the_runs_are_there(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine" / "one"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("epoch,step,val/accuracy\n0,10,0.5\n1,20,0.75\n")
    follower = WandbLogger(run, mode="offline", directory=str(tmp_path / "runs"))
    follower.hand_over({"run_id": "abcdef", "status": "failed", "ended": "now"})
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        os.execv(sys.executable, [sys.executable, "-m", "leyden", "dashboard"])
    seen, deadline = b"", time.monotonic() + 60
    while b"abcdef" not in seen and time.monotonic() < deadline:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"q")
    deadline = time.monotonic() + 30
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert b"abcdef" in seen
