"""Command line > **composition** > config: Hydra, asked in our words: it composes, and its errors come to us whole."""

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from leyden.config import CONFIG_DIRECTORY, Origin, own_directories, register
from leyden.errors import Interrupted
from leyden.signals import Signals

log = logging.getLogger(__name__)

MULTIRUN = {"-m", "--multirun"}


def see_own_parts() -> None:
    """A user's own parts lie where a command works, and where it is typed, as `python -m leyden` has it."""
    for place in (os.getcwd(), ""):
        if place not in sys.path:
            sys.path.insert(0, place)


def with_hydra(job: Callable[[DictConfig], Any], signals: Signals, arguments: Sequence[str]) -> None:
    """Composes the config from the command line and calls `job` with it; a multirun goes to its sweeper instead."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us whole; `explain` makes the sentence
    withheld = _on_swept_groups(arguments) if MULTIRUN & {*arguments} else []
    register(_name_of_study(arguments), withheld)
    warn_of_hidden_files(arguments)
    whole = sys.argv
    shown = [word for word in arguments if word not in withheld]
    sys.argv = [whole[0], *sorted(shown, key=is_override)]  # argparse wants options first
    failures: list[BaseException] = []

    def guarded(config: DictConfig) -> None:
        sys.argv = whole  # Lightning starts the other ranks of a run by repeating its command line
        try:
            job(config)
        except (Exception, Interrupted) as error:  # raised through Hydra, it would be printed a second time
            failures.append(error)

    # For the sweeper, to whom Hydra hands this function.
    guarded.signals, guarded.withheld = signals, withheld  # type: ignore[attr-defined]
    hydra.main(version_base="1.3", config_path=str(CONFIG_DIRECTORY), config_name="train")(guarded)()
    for error in failures:
        raise error


def warn_of_hidden_files(arguments: Sequence[str]) -> None:
    """Says which files of the user's own are not read, as ours of the same names come first."""
    for place in own_directories(arguments):
        for path in sorted(place.rglob("*.yaml")):
            ours = CONFIG_DIRECTORY / path.relative_to(place)
            if ours.is_file() and ours.read_bytes() != path.read_bytes():
                log.warning("%s is not read: Leyden has one of that name, give yours another", path)


def _on_swept_groups(arguments: Sequence[str]) -> list[str]:
    """The overrides inside a group that is swept: Hydra would hold them against the option that it has by default."""
    words = [word for word in arguments if is_override(word)]
    overrides = OverridesParser.create().parse_overrides(words)
    swept = {override.key_or_group for override in overrides if override.is_sweep_override()}
    tops = {override.key_or_group.partition(".")[0] for override in overrides} if "experiment" in swept else swept
    return [
        word
        for word, override in zip(words, overrides, strict=True)
        if "." in override.key_or_group and override.key_or_group.partition(".")[0] in tops - {"hydra"}
    ]


def _name_of_study(arguments: Sequence[str]) -> str | None:
    """The name that `study=…` gives where no preset has it."""
    named = next((word.partition("=")[2] for word in reversed(arguments) if word.startswith("study=")), None)
    places = [CONFIG_DIRECTORY, *own_directories(arguments)]
    is_preset = any((place / "study" / f"{named}.yaml").is_file() for place in places)
    if named is None or is_preset or "," in named:  # of several the plan will tell
        return None
    if not re.fullmatch(r"[^\W\d][\w.-]*", named):
        raise ValueError(f"study={named}: expected a letter, then letters, digits, dots, dashes and underscores")
    return named


def is_override(word: str) -> bool:
    """Whether a word of the command line changes the config, and is no option."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def origin_of_keys() -> Origin:
    """Where the keys of the config that Hydra has composed last came from."""
    settings = HydraConfig.get()
    directories = [Path(source.path) for source in settings.runtime.config_sources if source.schema == "file"]
    return Origin(list(settings.overrides.task), dict(settings.runtime.choices), directories)
