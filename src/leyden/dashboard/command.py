"""Command line > **dashboard**: which of its four things is asked for, and with what."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WEB = "web"
RUNS = Path("runs")
OF_WEB, OF_A_STUDY = ("runs", "host", "port", "token"), ("dry_run", "sweep_yaml")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads `leyden dashboard …`; ends the program where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="leyden dashboard",
        description="Alone: what W&B has in its files of runs, in the terminal. `web`: all runs and studies of a "
        "directory on a page of this machine, live while they train. "
        "A study's directory: its workspace and report at W&B, made or renewed.",
    )
    parser.add_argument("what", nargs="?", help="web, or a study's directory")
    parser.add_argument("runs", nargs="?", type=Path, default=RUNS, help="of web: the runs (default: runs)")
    parser.add_argument("--host", default="127.0.0.1", help="of web: other than this machine wants a token")
    parser.add_argument("--port", type=int, default=8000, help="of web")
    parser.add_argument("--token", help="of web: what a visitor must know; made where none is given and one is needed")
    parser.add_argument("--dry-run", action="store_true", help="of a study: write what would be sent, as JSON")
    parser.add_argument("--sweep-yaml", action="store_true", help="of a study: write a sweep for W&B's agent instead")
    asked = parser.parse_args(list(arguments))
    foreign = {None: (*OF_WEB, *OF_A_STUDY), WEB: OF_A_STUDY}.get(asked.what, OF_WEB)
    for name in foreign:
        if (value := getattr(asked, name)) != parser.get_default(name):
            word = str(value) if name == "runs" else f"--{name.replace('_', '-')}"
            parser.error(f"{word} is of {'web' if name in OF_WEB else 'a study'} alone")
    if asked.dry_run and asked.sweep_yaml:
        parser.error("--dry-run and --sweep-yaml are two things: give one")
    return asked


def show(asked: argparse.Namespace) -> None:
    """Does what was asked for."""
    if asked.what is None:
        browse(RUNS / "wandb")
        return
    if asked.what == WEB:
        from leyden.live import serve

        serve(asked.runs, asked.host, asked.port, asked.token)
        return
    if asked.sweep_yaml:
        from leyden.dashboard.sweep import write_sweep

        print(write_sweep(asked.what))
    else:
        from leyden.dashboard.write import dashboard

        print(dashboard(Path(asked.what), dry_run=asked.dry_run))


def browse(files: Path) -> None:
    """Shows W&B's files in the terminal.

    Raises:
        ValueError: there are none, or there is no terminal.
    """
    if not files.is_dir():
        raise ValueError(f"{files} is not there: train with logger=wandb, or see all runs with `leyden dashboard web`")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ValueError("W&B's files are shown in a terminal, and here is none: try `leyden dashboard web`")
    if subprocess.run([sys.executable, "-m", "wandb", "leet", str(files)], check=False).returncode:
        raise ValueError(f"wandb leet could not show {files}: try `leyden dashboard web`")
