"""**Command line** > config > train: the commands, each from its arguments to an exit code.

Torch is imported only once a config has been composed, so that `--help`, `--cfg job` and completion answer at once.
"""

import functools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from leyden.config import CONFIG_DIRECTORY, Origin, register
from leyden.errors import Interrupted, explain
from leyden.run import rank, show_warnings
from leyden.signals import Signals

RESUME_HELP = """Go on with a run that was stopped, from its last checkpoint, with its own config.

usage: leyden resume <run directory> [epochs=40] [data.num_workers=4] …

Epochs may be raised where the schedule allows it; beside that only what changes no result may be changed.
`leyden train … resume=auto` does the same where its run directory holds a run, and trains anew where it does not."""


def train(arguments: Sequence[str]) -> int:
    """`leyden train …`: one run, or with -m one for each combination."""
    return _report(lambda signals: _with_hydra(functools.partial(_train_job, signals), arguments), arguments)


def preview(arguments: Sequence[str]) -> int:
    """`leyden preview …`: a picture of what the chosen augmentation does to the chosen data."""
    return _report(lambda signals: _with_hydra(functools.partial(_preview_job, signals), arguments), arguments)


def resume(arguments: Sequence[str]) -> int:
    """`leyden resume <run directory>`: goes on from its last checkpoint with its own config."""
    if not arguments or arguments[0].startswith("-"):
        print(RESUME_HELP)
        return 0 if arguments and arguments[0] in ("-h", "--help") else 1
    directory = Path(arguments[0]).resolve()
    sys.argv = [sys.argv[0], "resume", str(directory), *arguments[1:]]  # for other ranks, whom Lightning starts so
    return _report(lambda signals: _resume_job(signals, directory, arguments[1:]), arguments)


def checkpoints(arguments: Sequence[str]) -> int:
    """`leyden checkpoints <run directory>`: what is saved there."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Tell what is saved of a run, and whether it is whole.\n\nusage: leyden checkpoints <run directory>")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 1
    return _report(lambda signals: _checkpoints_job(Path(arguments[0])), arguments)


def _with_hydra(job: Callable[[DictConfig], Any], arguments: Sequence[str]) -> None:
    """Composes the config from the command line and calls `job` with it, as often as a multirun asks.

    A job that fails leaves the others of its sweep alone; the first error is raised when all are done.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us whole; `explain` makes the sentence
    register()
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's own parts lie where the command is typed, as `python -m leyden` has it
    whole = sys.argv
    sys.argv = [whole[0], *sorted(arguments, key=_is_override)]  # argparse wants options first
    failures: list[BaseException] = []

    def guarded(config: DictConfig) -> Any:
        sys.argv = whole  # Lightning starts the other ranks of a run by repeating its command line
        if failures and isinstance(failures[-1], Interrupted):
            return None  # a signal ended the job before: it meant the sweep
        try:
            return job(config)
        except (Exception, Interrupted) as error:  # raised through Hydra, it would be printed a second time
            failures.append(error)
            return None

    hydra.main(version_base="1.3", config_path=str(CONFIG_DIRECTORY), config_name="train")(guarded)()
    if failures and isinstance(failures[-1], Interrupted):
        failures.insert(0, failures.pop())  # its exit code is the sweep's
    for error in failures[1:]:
        print(f"error: {explain(error, arguments)}", file=sys.stderr)
    if failures:
        raise failures[0]


def _is_override(word: str) -> bool:
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def _train_job(signals: Signals, config: DictConfig) -> Any:
    from leyden.train import train as train_one

    signals.check()  # libraries take seconds to import, and break where that is interrupted
    return train_one(config, Path(HydraConfig.get().runtime.output_dir), _origin(), signals)


def _preview_job(signals: Signals, config: DictConfig) -> None:
    from leyden.preview import preview as preview_one

    with signals.at_once():
        preview_one(config, Path(HydraConfig.get().runtime.output_dir), _origin())


def _resume_job(signals: Signals, directory: Path, changes: Sequence[str]) -> None:
    from leyden.train import resume as resume_one

    signals.check()
    resume_one(directory, changes, signals)


def _checkpoints_job(directory: Path) -> None:
    from leyden.checkpoint import describe
    from leyden.run import describe_state

    print(f"{directory}: {describe_state(directory)}")
    print(describe(directory / "checkpoints"))


def _origin() -> Origin:
    settings = HydraConfig.get()
    directories = [Path(source.path) for source in settings.runtime.config_sources if source.schema == "file"]
    return Origin(list(settings.overrides.task), dict(settings.runtime.choices), directories)


def _report(command: Callable[[Signals], None], arguments: Sequence[str]) -> int:
    """Runs a command; an error becomes one sentence and an exit code."""
    show_warnings()
    try:
        with Signals() as signals, signals.clearly():
            command(signals)
    except Interrupted as stopped:
        if rank() == 0:  # all ranks stop together
            print(stopped, file=sys.stderr)
        return stopped.exit_code
    except SystemExit as ended:  # argparse has printed what is wrong with an option
        return 1 if ended.code else 0
    except Exception as error:
        if any(argument.lstrip("+") == "debug=true" for argument in arguments):
            traceback.print_exc()
        if rank() == 0:  # which tells of the others' errors too
            print(f"error: {explain(error, arguments)}", file=sys.stderr)
        return 1
    return 0
