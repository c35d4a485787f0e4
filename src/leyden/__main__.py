"""**Command line** > config > data: `leyden <command> …`, the same as `python -m leyden <command> …`.

Nothing heavy is imported here, so that help, completion and `--cfg job` answer at once.
"""

import os
import signal
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "train a network: leyden train data=digits backbone=mlp optimizer.lr=0.01",
    "resume": "go on with a run that was stopped: leyden resume <run directory>",
    "status": "tell how the runs of a study stand: leyden status <study's directory>",
    "report": "tell which setting of a study is better, and how sure that is: leyden report <study's directory>",
    "compare": "compare two runs, or the best settings of two studies: leyden compare <one> <other>",
    "soup": "average the weights of several runs into one network: leyden soup <study's directory>",
    "checkpoints": "tell what is saved of a run: leyden checkpoints <run directory>",
    "evaluate": "tell how good a run's network is: leyden evaluate run=<run directory> corruptions=true",
    "predict": "say what is on images, however many: leyden predict run=<dir> input=photos output=answers.csv",
    "serve": "answer over HTTP, with a page to drop images on: leyden serve run=<dir>",
    "explain": "show what a network answers by, and how it sees all images: leyden explain run=<run directory>",
    "export": "write a run's network for elsewhere, as ONNX and others: leyden export run=<dir> format=onnx",
    "card": "write what a run has learnt, how well and from what, as a model card: leyden card run=<dir>",
    "draw": "draw the pictures of a run, or of all runs of a study: leyden draw <directory>",
    "doctor": "tell what is wrong with a data set: leyden doctor data=image_folder data.root=photos",
    "dashboard": "show runs: leyden dashboard, live on a page: … web, a study at W&B: leyden dashboard <study>",
    "find": "suggest a learning rate, or a batch size: leyden find lr data=digits backbone=cnn",
    "profile": "tell where the time of a training step goes: leyden profile data=digits backbone=cnn",
    "sync": "send runs to W&B, or what it does not have of them yet: leyden sync runs",
    "lesson": "test what an introduction to deep learning claims, and write a page: leyden lesson --fast",
    "quiz": "ask what the course has taught, and keep what was answered: leyden quiz 3",
    "new": "begin a small project of your own, beside which all that is here is at hand: leyden new birds",
    "preview": "draw what an augmentation does: leyden preview data=fashion_mnist augment=standard",
}

OF_A_RUN = ("evaluate", "predict", "explain", "export", "serve", "card")  # which take words run=… key=value

HELP = """Leyden trains image classifiers and records what came of it.

usage: leyden <command> …

commands:
{commands}

`leyden <command> --help` says more; README.md says it with examples.
"""


def main() -> int:
    """Runs the command named first on the command line; returns the exit code."""
    from leyden import __version__

    command, *arguments = sys.argv[1:] or ["--help"]
    if {"-h", "--help", "help"} & {command, *arguments}:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` reads no further
    if command in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name:11} {text}" for name, text in COMMANDS.items())), end="")
        return 0
    if command == "--version":
        print(f"leyden {__version__}")
        return 0
    if command in ("-sc", "--shell-completion"):
        return complete(arguments)
    if command not in COMMANDS:
        from leyden.config import suggest

        print(f"error: unknown command '{command}': {suggest(command, list(COMMANDS))}", file=sys.stderr)
        return 1
    from leyden import command_line

    if command in OF_A_RUN:
        return command_line.of_a_run(command, arguments)
    return getattr(command_line, command)(arguments)


def complete(query: Sequence[str]) -> int:
    """Answers the shell's Tab: the commands, then what Hydra knows, which must not see the command's name."""
    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 2:
        print(" ".join(COMMANDS))
    elif words[0] in ("train", "doctor", "preview", "profile", "find"):
        os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
        from leyden import command_line

        return command_line.train(["--shell-completion", *query])
    return 0


if __name__ == "__main__":
    sys.exit(main())
