"""Plan > **sweep** > W&B's agent: a study's values as the YAML of a W&B Sweep, for those who want that agent to choose.

It knows fewer words than Hydra's grammar and has no conditions; what it cannot say stands as a comment in the file, or
is refused.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from leyden.config import CONFIG_DIRECTORY, STUDY_KEYS, own_directories, suggest
from leyden.metric_names import direction
from leyden.run import write_atomically
from leyden.study.record import read_study

if TYPE_CHECKING:  # it imports Optuna, which a grid needs not
    from leyden.study.space import Parameter

METHODS = {"grid": "grid", "tpe": "bayes", "cmaes": "bayes", "random": "random", "qmc": "random"}
GOALS = {"max": "maximize", "min": "minimize"}
OF_A_STUDY = ("study", "resume", "hydra/launcher", "hydra/sweeper", *STUDY_KEYS)  # words that a trial does not take
WIDTH = 110


@dataclass
class Wish:
    """What a study has asked for: the words of its commands, and of its preset before them."""

    name: str
    options: list[str] = field(default_factory=list)  # --config-dir=…
    commands: list[dict[str, Override]] = field(default_factory=list)  # by their keys
    sweeper: dict[str, Any] = field(default_factory=dict)  # options of Hydra's sweeper
    preset: Path | None = None
    monitor: str | None = None
    num_jobs: int | None = None  # that were asked for; None of a preset that nobody has begun
    notes: list[str] = field(default_factory=list)

    @property
    def swept(self) -> list[str]:
        """The keys that a command varies."""
        words = [override for command in self.commands for override in command.values()]
        return list(dict.fromkeys(word.key_or_group for word in words if word.is_sweep_override()))

    @property
    def fixed(self) -> dict[str, str]:
        """What all trials have in common, by key; of two commands the later one counts."""
        words = [override for command in self.commands for override in command.values()]
        return {word.key_or_group: str(word.input_line) for word in words if word.key_or_group not in self.swept}


def write_sweep(what: str) -> Path:
    """Writes the sweep of a study's directory there as `sweep.yaml`, or that of a preset, `study=optimizers`, here.

    Raises:
        ValueError: there is no such study, or a sweep cannot say what it varies.
    """
    if what.startswith("study="):
        wish = wish_of_preset([what])
        path = Path(f"{wish.name}_sweep.yaml")
    else:
        wish, path = wish_of_study(Path(what).resolve()), Path(what) / "sweep.yaml"
    write_atomically(path, sweep_yaml(wish, path))
    return path


def wish_of_study(directory: Path) -> Wish:
    """What all commands of a study have asked for together; of what they fix differently the last one counts."""
    study = read_study(directory)
    wish = Wish(study["name"], monitor=study["settings"].get("monitor"), num_jobs=len(study["jobs"]))
    for kept in study["commands"]:
        _add(wish, kept["arguments"])
    return wish


def wish_of_preset(words: Sequence[str]) -> Wish:
    """What `leyden train -m study=<preset> …` would ask for."""
    name = next(word.partition("=")[2] for word in words if word.startswith("study="))
    if _preset(name, words) is None:
        presets = sorted({path.stem for place in _places(words) for path in (place / "study").glob("*.yaml")})
        raise ValueError(f"study={name} is no preset: {suggest(name, presets)}")
    wish = Wish(name)
    _add(wish, words)
    return wish


def _places(options: Sequence[str]) -> list[Path]:
    return [CONFIG_DIRECTORY, *own_directories(options)]


def _preset(name: str, options: Sequence[str]) -> Path | None:
    """The file of a preset; of two of one name Hydra reads the first."""
    files = (place / "study" / f"{name}.yaml" for place in _places(options))
    return next((file for file in files if file.is_file()), None)


def sweep_yaml(wish: Wish, path: Path) -> str:
    """The file: comments that say what to do with it and what it leaves out, then W&B's own keys.

    Raises:
        ValueError: nothing is swept, or it is searched for several objectives at once.
    """
    settings = configuration(wish)
    comments = [
        f"A W&B sweep of what the study {wish.name} varies. Begin it with `wandb sweep {path.name}`, and then, where "
        "`leyden` is found, as many agents as you like with the `wandb agent …` that it prints.",
        *wish.notes,
    ]
    wrapped = [f"# {line}\n" for comment in comments for line in textwrap.wrap(comment, WIDTH)]
    return "".join(wrapped) + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=WIDTH)


def configuration(wish: Wish) -> dict[str, Any]:
    """W&B's own keys of a sweep; adds what it cannot say to the wish's notes."""
    if not wish.swept:
        raise ValueError(f"{wish.name} varies nothing that a sweep could choose: give keys values, or a preset")
    method = METHODS[wish.sweeper.get("sampler", "tpe")] if wish.sweeper["is_search"] else "grid"
    metric = _metric(wish)
    parameters = _of_search(wish) if wish.sweeper["is_search"] else _of_grid(wish)
    settings: dict[str, Any] = {
        "name": f"{wish.name}_sweep",
        "program": "leyden",
        "command": ["${env}", "${program}", "train", *_words(wish), "${args_no_hyphens}"],
        "method": method,
        "metric": {"name": metric, "goal": GOALS[direction(metric)]},
        "parameters": parameters,
    }
    if wish.sweeper.get("n_trials"):
        settings["run_cap"] = wish.sweeper["n_trials"]
    if wish.sweeper.get("pruner", "none") != "none":
        wish.notes.append(f"The study's pruner, {wish.sweeper['pruner']}, is left out: every trial runs to its end.")
    return settings


def _words(wish: Wish) -> list[str]:
    """What every trial has in common; of a preset also what it changes besides, as a study of this one run."""
    fixed = [word for word in wish.fixed.values() if word != "logger=csv"]
    if len(fixed) < len(wish.fixed):
        wish.notes.append("The study was logged with logger=csv, which is left out: the agent needs W&B's runs.")
    if wish.preset is None:
        return [*wish.options, *fixed]
    if "by_choice:" in wish.preset.read_text(encoding="utf-8"):
        wish.notes.append(
            f"Settings that follow from a choice ({wish.preset.name}: by_choice) are worked out by leyden in each run: "
            "the sweep has no conditions of its own, and W&B shows what came of them in the run's config."
        )
    # Beside the study's own directory, where a run that has finished would not be repeated.
    place = f"hydra.sweep.dir='${{runs_dir}}/${{name}}/{wish.name}_sweep'"
    # What follows from the values chosen, as a rate by_choice, differs between trials too: hence mixed=true.
    return ["-m", *wish.options, f"study={wish.preset.stem}", *fixed, "mixed=true", place]


def _add(wish: Wish, arguments: Sequence[str]) -> None:
    """Adds what one command asks for."""
    options = [word for word in arguments if word.startswith("-") and word not in ("-m", "--multirun")]
    words = [word for word in arguments if not word.startswith("-")]
    name = next((word.partition("=")[2] for word in words if word.startswith("study=")), None)
    found = _preset(name, options) if name else None
    preset: dict[str, Any] = yaml.safe_load(found.read_text(encoding="utf-8")) if found else {}
    of_preset = dict(preset.get("hydra", {}).get("sweeper", {}))
    params = of_preset.pop("params", None) or {}
    words = [*(f"{key}={'null' if value is None else value}" for key, value in params.items()), *words]
    parsed = OverridesParser.create().parse_overrides(words)
    sweeper = {override.key_or_group.rpartition(".")[2]: override.value() for override in parsed
               if override.key_or_group.startswith("hydra.sweeper.")}  # fmt: skip
    chosen = [override.value() for override in parsed if override.key_or_group == "hydra/sweeper"]
    chosen += [option for entry in preset.get("defaults", []) if isinstance(entry, Mapping)
               for group, option in entry.items() if group.endswith("/hydra/sweeper")]  # fmt: skip
    wish.options = list(dict.fromkeys([*wish.options, *options]))
    wish.preset = found or wish.preset
    wish.monitor = wish.monitor or preset.get("monitor")
    wish.sweeper |= of_preset | sweeper | {"is_search": "optuna" in chosen}
    wish.commands.append({override.key_or_group: override for override in parsed if not _is_of_a_study(override)})


def _is_of_a_study(override: Override) -> bool:
    key = override.key_or_group
    return key in OF_A_STUDY or (key.startswith("hydra.") and key != "hydra.searchpath")


def _metric(wish: Wish) -> str:
    objectives = wish.sweeper.get("objectives") or []
    if len(objectives) > 1:
        raise ValueError(f"{wish.name} has the objectives {', '.join(objectives)}, and a W&B sweep has one metric")
    given = wish.fixed.get("monitor", "").partition("=")[2]
    default = yaml.safe_load((CONFIG_DIRECTORY / "train.yaml").read_text(encoding="utf-8"))["monitor"]
    metric = str(next(iter(objectives), given or wish.monitor or default))
    if "/" not in metric:
        raise ValueError(f"{wish.name} has the objective {metric}, which runs do not log: a W&B sweep needs a metric")
    return metric


def _of_grid(wish: Wish) -> dict[str, Any]:
    """Every value that a command has named, of each key."""
    values: dict[str, list[str]] = {key: [] for key in wish.swept}
    for override in (command[key] for key in wish.swept for command in wish.commands if key in command):
        values[override.key_or_group] += _values(override)
    parameters = {key: {"values": _typed(dict.fromkeys(found))} for key, found in values.items()}
    num_cells = math.prod(len(parameter["values"]) for parameter in parameters.values())
    if wish.num_jobs is not None and wish.num_jobs < num_cells:
        wish.notes.append(
            f"The study asked for {wish.num_jobs} of the {num_cells} combinations below: a sweep has no conditions, so "
            "what went with some values alone is tried with all; take out by hand what makes no sense."
        )
    return parameters


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise ValueError(f"{override.input_line}: a grid needs values, as in {override.key_or_group}=1,2,3")
    return list(override.sweep_string_iterator())


def _of_search(wish: Wish) -> dict[str, Any]:
    """The distribution of each key of a search."""
    from leyden.study.space import parse_space

    words = [override for command in wish.commands for override in command.values() if override.is_sweep_override()]
    by_key = {override.key_or_group: override for override in words}  # of two commands the later one counts
    is_grid = wish.sweeper.get("sampler") == "grid"
    return {key: _distribution(parameter, is_grid) for key, parameter in parse_space([*by_key.values()]).items()}


def _distribution(parameter: "Parameter", is_grid: bool) -> dict[str, Any]:
    """A search's parameter in W&B's words; in a grid they are values alone."""
    given: Any = parameter.distribution
    if parameter.cells is not None and (is_grid or hasattr(given, "choices") or given.step != 1):
        return {"values": _typed(str(parameter.override(cell)).partition("=")[2] for cell in parameter.cells)}
    is_whole, ends = parameter.cells is not None, {"min": given.low, "max": given.high}
    if given.log and is_whole:
        return {"distribution": "q_log_uniform_values", "q": 1, **ends}
    if is_whole:
        return {"distribution": "int_uniform", **ends}
    return {"distribution": "log_uniform_values" if given.log else "uniform", **ends}


def _typed(texts: Iterable[str]) -> list[Any]:
    """Numbers as numbers; all else as one would type it, for Hydra reads it again: `null` would come back as None."""
    return [_number(text) for text in texts]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text
