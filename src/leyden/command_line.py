"""**Command line** > config > train: the commands, each from its arguments to an exit code.

Torch is imported only once a config has been composed, so that `--help`, `--cfg job` and completion answer at once.
"""

import contextlib
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from leyden.composition import MULTIRUN, is_override, origin_of_keys, see_own_parts, with_hydra
from leyden.config import Origin
from leyden.errors import Interrupted, explain, typed_here
from leyden.options import help_of, parse, with_absolute_path
from leyden.run import describe_state, is_study, membership, rank, say, show_warnings
from leyden.signals import Signals

HELP = {"-h", "--help"}
RESUME_HELP = """Go on with a run that was stopped, from its last checkpoint, with its own config.

usage: leyden resume <run directory> [epochs=40] [data.num_workers=4] …

Epochs may be raised where the schedule allows it; beside that only what changes no result may be changed.
`leyden train … resume=auto` does the same where its run directory holds a run, and trains anew where it does not."""
OF_TRAIN = "The words are those of `leyden train --help`, which lists them all."
PREVIEW_HELP = f"""Draw what an augmentation does to some training images, as a picture below runs/.

usage: leyden preview [data=…] [augment=…] …

{OF_TRAIN}"""
DOCTOR_HELP = f"""Tell what is wrong with a data set, on a page below runs/: damage, copies, labels, sizes, speed.

usage: leyden doctor [data=…] …
       leyden doctor <directory>    which labels may be wrong, by the stored answers of a run or of a study over folds

{OF_TRAIN}"""
PROFILE_HELP = f"""Tell where the time of a training step goes, and what to do about the largest part.

usage: leyden profile [data=…] [backbone=…] [optimizer=…] …

It trains 60 steps, and keeps nothing but a directory below runs/ with profile.json and, of a few steps more, trace.json
for https://ui.perfetto.dev. {OF_TRAIN}"""
FOUND = {"lr": "find.learning_rate.find_learning_rate", "batch_size": "find.batch_size.find_batch_size"}
FIND_HELP = """Find a learning rate, or the batch sizes that fit, for the config that the other words choose.

usage: leyden find lr [data=…] [backbone=…] [optimizer=…] …
       leyden find batch_size [data=…] [backbone=…] …

lr: the rate rises from 1e-6 to 10 in 120 steps; suggested is the one where the smoothed loss falls fastest.
batch_size: 8, 16, 32, … images a step; suggested is the smallest with 95 % of the best speed.
Both write what they saw to a directory below runs/, and train nothing that is kept. Their words are those of
`leyden train --help`."""
SYNC_HELP = """Send to W&B what it does not have yet of runs that were logged offline or without it, or were killed.

usage: leyden sync [<runs, a study or a run> …]

Without a directory: runs. The same line again sends what is missing, and nothing twice; runs that are at work are left
alone. A key is needed: `wandb login`, or WANDB_API_KEY."""


def train(arguments: Sequence[str]) -> int:
    """`leyden train …`: one run, or with -m one for each combination."""
    return _run(lambda signals: with_hydra(functools.partial(_train_job, signals), signals, arguments), arguments)


def train_composed(settings: Mapping[str, Any], directory: Path, origin: Origin) -> int:
    """One job of a study, whose config was composed and checked before."""
    from leyden.train import train as train_one

    config = OmegaConf.create(dict(settings))
    config.resume = "auto"
    return _run(lambda signals: train_one(config, directory, origin, signals, is_checked=True), origin.overrides)


def preview(arguments: Sequence[str]) -> int:
    """`leyden preview …`: a picture of what the chosen augmentation does to the chosen data."""
    return _of_a_config(PREVIEW_HELP, "preview.preview", arguments)


def doctor(arguments: Sequence[str]) -> int:
    """`leyden doctor …`: of the chosen data; `leyden doctor <directory>`: of the labels that runs were tested with."""
    if arguments and not arguments[0].startswith("-") and not is_override(arguments[0]):
        what = "Tell which labels may be wrong, by the stored answers of a run or of a study over folds."
        return _about_directory(what, "doctor", _doctor_directory_job, arguments)
    return _of_a_config(DOCTOR_HELP, "doctor.examine.examine", arguments)


def find(arguments: Sequence[str]) -> int:
    """`leyden find lr …`, `leyden find batch_size …`: what the chosen config may be trained with."""
    if not arguments or arguments[0] not in FOUND:
        print(FIND_HELP)
        return 0 if HELP & {*arguments} else 1
    return _of_a_config(FIND_HELP, FOUND[arguments[0]], arguments[1:])


def profile(arguments: Sequence[str]) -> int:
    """`leyden profile …`: where the time of the chosen config's training steps goes."""
    return _of_a_config(PROFILE_HELP, "profile.profile", arguments)


def resume(arguments: Sequence[str]) -> int:
    """`leyden resume <run directory>`: goes on from its last checkpoint with its own config."""
    if not arguments or arguments[0].startswith("-") or HELP & {*arguments}:
        print(RESUME_HELP)
        return 0 if HELP & {*arguments} else 1
    directory = Path(arguments[0]).resolve()
    changes = [with_absolute_path(word) for word in arguments[1:]]  # for work goes on where the run was called
    if is_study(directory):
        return _run(lambda signals: _resume_study(signals, directory, changes), arguments)
    sys.argv = [os.path.abspath(sys.argv[0]), "resume", str(directory), *changes]  # so Lightning starts other ranks
    return _run(lambda signals: _resume_job(signals, directory, changes), arguments)


def status(arguments: Sequence[str]) -> int:
    """`leyden status <directory>`: how the runs of a study, or a single one, stand, at any time."""
    return _about_directory("Tell how the runs of a study, or a single run, stand.", "status", _status_job, arguments)


def report(arguments: Sequence[str]) -> int:
    """`leyden report <directory>…`: which setting of a study, or of any runs, is better, and how sure that is."""
    what = "Tell which setting of a study, or of some runs, is better, and how sure that is, in report.html there."
    return _about_directories(what, "report <directory> …", _report_job, arguments, fewest=1, most=None)


def compare(arguments: Sequence[str]) -> int:
    """`leyden compare <one> <other>`: two runs, or the best settings of two studies."""
    what = "Compare two runs, or the best settings of two studies."
    return _about_directories(what, "compare <directory> <directory>", _compare_job, arguments, fewest=2, most=2)


def soup(arguments: Sequence[str]) -> int:
    """`leyden soup <directory> …`: one network from the weights of several runs."""
    what = "Average the best weights of the runs of a study, or of runs by their directories, and test the mean."
    return _about_directories(what, "soup <directory> …", _soup_job, arguments, fewest=1, most=None)


def checkpoints(arguments: Sequence[str]) -> int:
    """`leyden checkpoints <run directory>`: what is saved there."""
    what = "Tell what is saved of a run, and whether it is whole."
    return _about_directory(what, "checkpoints", _checkpoints_job, arguments)


def dashboard(arguments: Sequence[str]) -> int:
    """`leyden dashboard`: W&B's files in the terminal; with `web` a live page here; with a study: at W&B, as code."""
    from leyden.dashboard.command import parse, show

    return _run(lambda signals: show(parse(_without_debug(arguments))), arguments)


def of_a_run(command: str, arguments: Sequence[str]) -> int:
    """`leyden <command> run=<dir> key=value …`, whose parts lie in the package of its name.

    Its module `options` has the dataclass `Options` and the config groups `ALSO` that it takes words for; its module
    `command` has the function of the command's name, called with the options and those words.
    """
    options = importlib.import_module(f"leyden.{command}.options")
    if not arguments or HELP & {*arguments}:
        print(help_of(options.Options, command, options.ALSO_HELP))
        return 0 if arguments else 1

    def job(signals: Signals) -> None:
        asked, words = parse(options.Options, arguments, options.ALSO)
        function = getattr(importlib.import_module(f"leyden.{command}.command"), command)
        with signals.at_once():
            function(asked, words)

    return _run(job, arguments)


def sync(arguments: Sequence[str]) -> int:
    """`leyden sync [directory …]`: sends to W&B what it does not have of runs yet."""
    if any(argument.startswith("-") for argument in arguments):
        print(SYNC_HELP)
        return 0 if HELP & {*arguments} else 1
    directories = [*map(Path, _without_debug(arguments))] or [Path("runs")]
    return _run(lambda signals: _sync_job(signals, directories), arguments)


def lesson(arguments: Sequence[str]) -> int:
    """`leyden lesson [--fast] [claim …]`: the claims of the course lesson, tested, on a page."""
    from leyden.lesson.arguments import parse

    def job(signals: Signals) -> None:
        asked = parse(_without_debug(arguments))
        from leyden.lesson.command import teach  # with torch, for which help does not wait

        teach(asked, functools.partial(with_hydra, functools.partial(_train_job, signals), signals), signals)

    return _run(job, arguments)


def quiz(arguments: Sequence[str]) -> int:
    """`leyden quiz [chapter]`: questions of the course, in the terminal."""
    from leyden.quiz import command

    return _run(lambda signals: command.take(command.parse(_without_debug(arguments)), signals), arguments)


def draw(arguments: Sequence[str]) -> int:
    """`leyden draw <directory>`: the pictures of a run, or of all of a study's."""
    return _about_directory("Draw the pictures of a run, or of all runs of a study.", "draw", _draw_job, arguments)


def _of_a_config(help: str, function: str, arguments: Sequence[str]) -> int:
    """A command whose words compose a config, as those of `leyden train` do, for a function of ours, by its address."""
    if HELP & {*arguments}:
        print(help)
        return 0

    def compose_for(signals: Signals) -> None:
        if MULTIRUN & {*arguments}:
            raise ValueError("-m is for studies, `leyden train -m`: give each key one value here")
        with_hydra(functools.partial(job, signals), signals, arguments)

    def job(signals: Signals, config: DictConfig) -> None:
        module, _, name = f"leyden.{function}".rpartition(".")
        work, directory = getattr(importlib.import_module(module), name), Path(HydraConfig.get().runtime.output_dir)
        try:
            with signals.at_once():
                is_right = work(config, directory, origin_of_keys())
        except ValueError:
            with contextlib.suppress(OSError):  # Hydra has made it, and perhaps nothing is in it
                directory.rmdir()
            raise
        if is_right is False:  # says the doctor; others return what they have found
            raise SystemExit(1)

    return _run(compose_for, arguments)


def new(arguments: Sequence[str]) -> int:
    """`leyden new <directory>`: a small project of the user's own."""
    what = "Write a small project of your own: conf/ beside Leyden's, a backbone, a recipe and their test."
    return _about_directory(what, "new", _new_job, arguments)


def _about_directory(what: str, command: str, job: Callable[[Path], None], arguments: Sequence[str]) -> int:
    """A command whose one argument is a directory."""
    return _about_directories(what, f"{command} <directory>", job, arguments, fewest=1, most=1)


def _about_directories(
    what: str, usage: str, job: Callable[..., None], arguments: Sequence[str], fewest: int, most: int | None
) -> int:
    """A command whose arguments are directories."""
    directories = _without_debug(arguments)
    is_too_many = most is not None and len(directories) > most
    if len(directories) < fewest or is_too_many or any(word.startswith("-") for word in directories):
        print(f"{what}\n\nusage: leyden {usage}")
        return 0 if HELP & {*arguments} else 1

    def at_once(signals: Signals) -> None:
        with signals.at_once():
            job(*map(Path, directories))

    return _run(at_once, arguments)


def _train_job(signals: Signals, config: DictConfig) -> None:
    from leyden.train import train as train_one

    signals.check()  # libraries take seconds to import, and break where that is interrupted
    directory, origin = Path(HydraConfig.get().runtime.output_dir), origin_of_keys()
    study, given = origin.choices.get("study"), {word.lstrip("+").partition("=")[0] for word in origin.overrides}
    varied = set(HydraConfig.get().sweeper.get("params") or {})
    is_study = study and not (varied and varied <= given)  # a preset's run by itself has a value of all that it varies
    if (config.plan or is_study) and not membership(directory):
        with contextlib.suppress(OSError):  # Hydra has made it
            directory.rmdir()
        word = "plan=true" if config.plan else f"study={study}"
        raise ValueError(f"{word} is for a study of several runs: add -m")
    train_one(config, directory, origin, signals)


def _doctor_directory_job(directory: Path) -> None:
    from leyden.doctor.examine import examine_answers

    examine_answers(directory.resolve())


def _resume_job(signals: Signals, directory: Path, changes: Sequence[str]) -> None:
    from leyden.train import resume as resume_one

    signals.check()
    resume_one(directory, changes, signals)


def _resume_study(signals: Signals, directory: Path, changes: Sequence[str]) -> None:
    """Gives the commands of a study once more, which finishes what is missing."""
    from leyden.study.record import commands_to_finish, read_study

    study = read_study(directory)
    there = Path(study["working_directory"])
    errors: list[ValueError] = []
    with contextlib.chdir(there if there.is_dir() else "."):  # its paths may be relative
        for arguments in commands_to_finish(directory, study, changes):
            try:
                with_hydra(functools.partial(_train_job, signals), signals, arguments)
            except ValueError as error:  # the others go on
                errors.append(error)
    for other in errors[1:]:
        print(f"error: {explain(other, changes)}", file=sys.stderr)
    if errors:
        raise errors[0]


def _checkpoints_job(directory: Path) -> None:
    from leyden.checkpoint import describe

    if not any((directory / name).exists() for name in ("run.json", "checkpoints")):
        raise ValueError(f"{directory} holds no run: give the directory of one, as its end names it")
    print(f"{directory}: {describe_state(directory)}\n{describe(directory / 'checkpoints')}")


def _report_job(*directories: Path) -> None:
    from leyden.report.write import write_report

    made, page = write_report(directories)
    print("\n".join([*made["answer"], *made["failures"], *made["warnings"], str(page)]))


def _compare_job(first: Path, second: Path) -> None:
    from leyden.report.compare import compare as compare_two

    print(compare_two(first, second))


def _soup_job(*directories: Path) -> None:
    from leyden.soup import cook

    cook(directories)


def _sync_job(signals: Signals, directories: Sequence[Path]) -> None:
    from leyden.sync import sync as send

    with signals.at_once():
        send(directories)


def _draw_job(directory: Path) -> None:
    from leyden.draw import draw as draw_pictures

    for picture in draw_pictures(directory):
        print(picture)


def _new_job(directory: Path) -> None:
    from leyden.new.write import describe, write_project

    print(describe(directory, write_project(directory)))


def _status_job(directory: Path) -> None:
    from leyden.study.display import print_table
    from leyden.study.record import rows_of

    if is_study(directory):
        print_table(*rows_of(directory))
    elif not (directory / "run.json").is_file():
        inner = sorted(path.parent for name in ("study.json", "run.json") for path in directory.glob(f"*/{name}"))
        hint = f": give one of those in it, as {inner[0]}" if inner else ""
        raise ValueError(f"{directory} holds neither a run nor a study{hint}")
    else:
        print(f"{directory}: {describe_state(directory)}")


def _run(command: Callable[[Signals], Any], arguments: Sequence[str]) -> int:
    """Runs a command; an error becomes one sentence and an exit code."""
    show_warnings()
    see_own_parts()
    try:
        with typed_here(), Signals() as signals, signals.clearly():
            command(signals)
    except Interrupted as stopped:
        if rank() == 0:  # all ranks stop together
            say(stopped, sys.stderr)
        return stopped.exit_code
    except SystemExit as ended:  # whoever raised it has said why
        return 1 if ended.code else 0
    except Exception as error:
        if len(_without_debug(arguments)) < len(arguments):
            traceback.print_exc()
        if rank() == 0:  # which tells of the others' errors too
            say(f"error: {explain(error, arguments)}", sys.stderr)
        return 1
    return 0


def _without_debug(arguments: Sequence[str]) -> list[str]:
    """What a command itself is told: beside that, all take `debug=true`."""
    return [word for word in arguments if word.lstrip("+").lower() != "debug=true"]
