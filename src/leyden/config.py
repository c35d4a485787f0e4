"""Command line > **config** > check: the typed root that every composition starts from, and where its keys come from.

Hydra merges recipe files before it locks the tree, so plain YAML lets a misspelt key through in silence; merged onto
`Config`, it is an error. `check.py` does the same for what the groups hold.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

PACKAGE = Path(__file__).resolve().parent
# In a clone conf/ stands beside src/; in a wheel it is packed into the package.
CONFIG_DIRECTORY = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"

OWN = "conf"  # where the command is typed: options of the user's own

STUDY_KEYS = (
    "plan", "jobs", "devices_per_run", "runs_per_device", "on_error", "retry", "time_limit", "mixed",
)  # fmt: skip
REPEATS = ("seed", "fold", "data.split_seed")  # in which runs of one setting differ
# What no bit of a run's result depends on, and so may differ from one attempt to the next: that the images found
# elsewhere are the same is looked at by itself.
FREE = (
    "debug", "runs_dir", "pictures", "resume", "logger", "trainer.profiler", "data.root", "data.source.directory",
    "data.source.file", "data.source.path", "data.source.index_directory", "data.num_workers", "data.cache",
    "data.cache_directory", "data.memory_share", "callbacks.progress",
    "callbacks.checkpoints.every_n_steps", "callbacks.checkpoints.every_n_minutes", *STUDY_KEYS,
)  # fmt: skip


@dataclass
class Config:
    """The root of every run: the keys that each run has, then one node per group in the order of the flow."""

    name: str = MISSING  # names the run's directory: <runs_dir>/<name>/<time>
    seed: int = MISSING
    epochs: int | None = MISSING  # passes over the training images …
    steps: int | None = MISSING  # … or optimizer steps, which take precedence when given
    batch_size: int = MISSING  # images per optimizer step and accumulated batch, over all devices together
    fold: int | None = MISSING  # of a cross-validation, from 0
    folds: int = MISSING  # as many as it has
    monitor: str = MISSING  # the validation metric that picks the best checkpoint
    weights: str | None = MISSING  # a file, run or directory that the backbone begins with
    keep_head: bool = MISSING  # of a run's weights: classes that they know by name keep their rows
    compile: bool = MISSING  # torch.compile of backbone and head
    resume: str = MISSING  # never, or auto: go on with the run that lies in the run directory
    deterministic: bool = MISSING  # only operations that give the same bits each time
    debug: bool = MISSING  # show the traceback of an error
    runs_dir: str = MISSING
    pictures: bool | None = MISSING  # draw them when a run ends; null: unless it is one of a study's
    plan: bool = MISSING  # from here on what only a study (-m) reads: say what would run, and end
    jobs: Any = MISSING  # so many runs at once, or auto: as many as the machine has room for
    devices_per_run: int | None = MISSING  # 0: the CPU
    runs_per_device: int = MISSING
    on_error: str = MISSING  # continue, stop or retry
    retry: int = MISSING  # how often a failed run is tried again at once
    time_limit: float | None = MISSING  # seconds that a run may take
    mixed: bool = MISSING  # lets runs of other settings or code into a study's directory
    data: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    test_time: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)


def own_directories(arguments: Sequence[str] = ()) -> list[Path]:
    """Where options of the user's own lie: conf/ where the command is typed, and what `--config-dir` names.

    In a clone, conf/ is ours.
    """
    places = dict.fromkeys(Path(place).resolve() for place in (OWN, *given_directories(arguments)))
    return [place for place in places if place.is_dir() and place != CONFIG_DIRECTORY]


def words_of_one_run(words: Iterable[str]) -> list[str]:
    """Of a run's command line what trains it once more by itself: a preset stays, which sets more than it varies."""
    return [word for word in words if not _is_of_a_study(word)]


def _is_of_a_study(word: str) -> bool:
    """Whether no run of its own takes this word: where files are found, it needs to know as well."""
    key, _, value = word.partition("=")
    if key == "study":
        places = CONFIG_DIRECTORY, *own_directories()
        return not any((place / "study" / f"{value}.yaml").is_file() for place in places)
    return key == "resume" or key in STUDY_KEYS or (key.startswith("hydra") and key != "hydra.searchpath")


def given_directories(arguments: Sequence[str]) -> list[str]:
    """What `--config-dir` names, as it stands there."""
    given = [word.partition("=")[2] for word in arguments if word.startswith("--config-dir=")]
    return given + [after for word, after in itertools.pairwise(arguments) if word in ("--config-dir", "-cd")]


def register(study: str | None = None, withheld: Sequence[str] = ()) -> None:
    """Puts the schema where the defaults list of conf/train.yaml finds it (`- schema`).

    `study` is a name that need not be a preset's: it is then an option that changes nothing. Overrides that are
    `withheld` from Hydra count in a study's name as the others do.
    """
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config, provider="leyden")
    OmegaConf.register_new_resolver("direction", _direction, replace=True)
    OmegaConf.register_new_resolver("choice", _choice, replace=True)
    OmegaConf.register_new_resolver("study_name", lambda *, _root_: _study_name(withheld, _root_), replace=True)
    OmegaConf.register_new_resolver("by_choice", _by_choice, replace=True)
    OmegaConf.register_new_resolver("at_most", min, replace=True)
    if study is not None:
        ConfigStore.instance().store(group="study", name=study, node={}, package="_global_", provider="leyden")


def compose(overrides: Sequence[str]) -> DictConfig:
    """The config of `leyden train <overrides>` without a run, not yet resolved: for tests, and for a part of it alone.

    Its `name` goes by nothing, unless one is given: only a run knows what it has chosen.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return hydra.compose("train", overrides=["name=composed", *overrides])


def _direction(metric: str) -> str:
    from leyden.metric_names import direction

    return direction(metric)


def _choice(group: str, _root_: DictConfig) -> str:
    """What was chosen for a group; unlike Hydra's own resolver it serves `hydra.sweep.dir` too, before any job."""
    from hydra.core.hydra_config import HydraConfig

    choices = (_root_.get("hydra") or HydraConfig.get()).runtime.choices
    if group not in choices:
        raise ValueError(f"there is no group '{group}' to choose of: {suggest(group, [*map(str, choices)])}")
    return str(choices[group])


def _by_choice(name: str, values: Mapping[Any, Any], *, _root_: DictConfig) -> Any:
    """The value for what was chosen of a group or a dotted key: `${by_choice:optimizer,{sgd: 0.1, adam: 0.001}}`."""
    if "." in name:
        place, _, key = name.rpartition(".")
        holder = OmegaConf.select(_root_, place, default={})
        if key not in holder:
            known = [f"{place}.{other}" for other in holder]
            raise ValueError(f"by_choice: there is no key '{name}': {suggest(name, known)}")
        found = holder[key]
        chosen = str(found)
    else:
        chosen = _choice(name, _root_)
    if not isinstance(values, Mapping):
        raise ValueError(f"by_choice:{name} has {values!r} where a value for each choice is expected, as {{sgd: 0.1}}")
    named = {str(choice): value for choice, value in values.items()}
    if chosen not in named:
        raise ValueError(f"by_choice has no value for {name}={chosen}: it has {', '.join(named)}")
    return named[chosen]


def _study_name(withheld: Sequence[str], root: DictConfig) -> str:
    """The study that was chosen, or the keys that a sweep varies: a name that stays when values are added."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    hydra = root.hydra
    if chosen := hydra.runtime.choices.get("study"):
        return str(chosen)
    overrides = OverridesParser.create().parse_overrides([*map(str, hydra.overrides.task), *withheld])
    keys = [override.key_or_group for override in overrides if override.is_sweep_override()]
    keys += [str(key).lstrip("+") for key in hydra.sweeper.get("params") or ()]
    return "_".join(sorted({key.replace("/", ".").split(".")[-1] for key in keys})) or "study"


@dataclass(frozen=True)
class Origin:
    """Where the keys of a composition came from, to name the override or the file of a wrong one."""

    overrides: Sequence[str] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    directories: Sequence[Path] = (CONFIG_DIRECTORY,)

    def is_given(self, path: str) -> bool:
        """Whether the user gave a key a value, on the command line, in a recipe or in a study's preset."""
        return self._override(path) is not None or any(_sets(file, path) for file in self._recipes())

    def _recipes(self) -> Iterator[Path]:
        """The files of the recipe and of the preset, and of those that they begin with."""
        names = [f"{group}/{self.choices[group]}" for group in ("experiment", "study") if self.choices.get(group)]
        for name in names:  # which grow on the way
            for file in (directory / f"{name}.yaml" for directory in self.directories):
                if file.is_file():
                    yield file
                    begun = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
                    defaults = begun.get("defaults", []) if isinstance(begun, dict) else []
                    words = [word for word in defaults if isinstance(word, str) and word != "_self_"]
                    names += [f"{name.rpartition('/')[0]}/{word}" for word in words]

    def _override(self, path: str) -> str | None:
        """The override of a key; of two, the later one counts."""
        return next((word for word in reversed(self.overrides) if word.lstrip("+~").split("=", 1)[0] == path), None)

    def of(self, path: str) -> str:
        """The override or file that sets `path` (dotted), as words for the end of a message."""
        if (override := self._override(path)) is not None:
            return f" (override {override})"
        group = path.split(".")[0]
        for file, inner in [
            (f"experiment/{self.choices.get('experiment')}.yaml", path),
            (f"{group}/{self.choices.get(group)}.yaml", path.partition(".")[2]),
            ("train.yaml", path),
        ]:
            for directory in self.directories:
                if _sets(directory / file, inner):
                    return f" (file {directory / file})"
        return ""


def _sets(file: Path, path: str) -> bool:
    if not file.is_file():
        return False
    node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def suggest(word: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """The hint "did you mean 'x'?"; where no known word is near, `otherwise`, or all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if otherwise:
        return otherwise
    return f"expected one of {', '.join(sorted(known))}" if known else "there are none"


def require(key: str, value: object, holds: bool, expected: str) -> None:
    """Refuses a value that is out of its range.

    Raises:
        ValueError: names the key, the value and what to give.
    """
    if not holds:
        raise ValueError(f"{key}={value} is out of range: give {expected}")


def follows_the_root(key: str, values: Mapping[str, Any]) -> bool:
    """Whether a key of a group has what the root has under its name: data.batch_size, trainer.max_epochs."""
    group, _, name = key.rpartition(".")
    root = name.removeprefix("max_")
    return bool(group) and root in values and values[root] == values[key]


def is_among(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of these, or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def leaves(node: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Each plain value or list of a config with its dotted path."""
    for key, value in node.items():
        if isinstance(value, Mapping):  # a DictConfig is one
            yield from leaves(value, f"{path}{key!s}.")
        else:
            yield f"{path}{key!s}", value
