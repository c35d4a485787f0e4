"""Command line > config > **check** > data: refuses a wrong config before anything is built or read.

Hydra never looks inside a `_target_` node, so a misspelt key there would pass in silence: each is held against the
signature of what it names.
"""

import functools
import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from leyden.config import Config, Origin, suggest
from leyden.metric_names import is_of_one_class

PLAIN = {bool, int, float, str}
LISTS = (list, tuple, Sequence)
HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}

# What the composition root passes beside a node's own keys: the facts of the data and of the parts built before.
PASSED_BY_TRAIN = {
    "augment": {"num_classes", "mean", "std", "seed", "image_size"},
    "backbone": {"channels", "image_size"},
    "head": {"num_features", "num_classes"},
    "loss": {"num_classes"},
    "optimizer": {"params"},
    "schedule": {"optimizer", "total_steps"},
    "test_time": {"task"},
    "trainer": {
        "callbacks", "logger", "plugins", "enable_progress_bar", "enable_checkpointing", "enable_model_summary",
        "num_sanity_val_steps", "use_distributed_sampler",
    },
    "logger": {"run_directory"},
}  # fmt: skip
GROUPS = tuple(item.name for item in fields(Config) if item.default_factory is dict)


def check(config: DictConfig, origin: Origin | None = None, groups: Sequence[str] = GROUPS) -> None:
    """Refuses a wrong config before anything is built or read; of its groups only these are looked into.

    Raises:
        ValueError: names the key, what was given, what is expected, and the override or file it came from.
    """
    origin = origin or Origin()
    _check_root(config, origin)
    check_groups(config, groups, origin)
    _check_rules(config, origin)


def check_groups(config: DictConfig, groups: Sequence[str], origin: Origin) -> None:
    """Holds every `_target_` node of some groups against the signature of what it names."""
    _check_parts(config, groups, origin)
    for group in groups:
        if "_target_" not in config[group] and group not in ("logger", "callbacks"):
            raise ValueError(f"{group} has no _target_{origin.of(group)}: choose one, as in {group}=…")
        for path, node in _targets(config[group], group):
            _check_node(path, node, PASSED_BY_TRAIN.get(path, set()), origin)


def _check_parts(config: DictConfig, groups: Sequence[str], origin: Origin) -> None:
    """Refuses a part that names no class, as one does whose name is misspelt: it would be an empty new one."""
    for path in ("callbacks", "augment.operations", "augment", "data", "logger"):
        parts = OmegaConf.select(config, path)
        if path.split(".")[0] not in groups or not parts:
            continue
        if not isinstance(parts, DictConfig):
            raise ValueError(f"{path}={parts!s}{origin.of(path)}: expected parts by their names")
        single = {"augment": ("mix",), "data": ("source",), "logger": ()}.get(path)
        for name in map(str, parts) if single is None else [name for name in single if name in parts]:
            if parts[name] is not None and not (isinstance(parts[name], DictConfig) and "_target_" in parts[name]):
                known = [str(other) for other in parts if other != name] if single is None else []
                hint = f"{suggest(name, known)}, or " if known else ""
                raise ValueError(f"{path}.{name}{origin.of(f'{path}.{name}')} names no class: {hint}give it a _target_")
        if path == "logger" and "_target_" not in parts:
            raise ValueError(
                f"logger.{next(iter(parts))!s}{origin.of('logger')}: this logger has no keys: give logger=wandb"
            )


def _check_root(config: DictConfig, origin: Origin) -> None:
    known = [item.name for item in fields(Config)]
    for key in map(str, config):
        if key not in known:
            raise ValueError(f"unknown key '{key}'{origin.of(key)}: {suggest(key, known)}")
    try:
        if OmegaConf.get_type(config) is not Config:  # read from a file; a composition is typed from its beginning
            OmegaConf.merge(OmegaConf.structured(Config), config)
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {str(error).splitlines()[0]}{origin.of(str(error.full_key))}") from error
    missing = [key for key in known if OmegaConf.is_missing(config, key)]
    if missing:
        raise ValueError(f"{missing[0]} has no value: give one on the command line, as in {missing[0]}=…")


def _targets(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Every mapping below `node` that has a `_target_`, with its dotted path, outer ones first."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield path, node
        for key in map(str, node):
            if not OmegaConf.is_missing(node, key):
                yield from _targets(node[key], f"{path}.{key}")
    elif isinstance(node, ListConfig):
        for position, item in enumerate(node):
            yield from _targets(item, f"{path}.{position}")


def modules_named(node: Any) -> set[str]:
    """The outermost modules, or packages, of all that is named below a node."""
    return {str(target["_target_"]).partition(".")[0] for _, target in _targets(node, "")}


def import_target(name: str, path: str, origin: Origin) -> Callable[..., Any]:
    """Imports the class or function that `name` (dotted) stands for, one part after the other.

    Raises:
        ValueError: no such module or attribute; names the nearest one that exists.
    """

    def where() -> str:
        return f"{path}._target_={name}{origin.of(path + '._target_')}"

    parts = name.split(".")
    if len(parts) < 2 or not all(parts):
        raise ValueError(f"{where()}: expected a class or function with its module, as in torch.optim.AdamW")
    found: Any = None
    for position, part in enumerate(parts):
        so_far = ".".join(parts[: position + 1])
        if found is not None and hasattr(found, part):
            found = getattr(found, part)
            continue
        try:
            found = importlib.import_module(so_far)
        except ModuleNotFoundError as error:
            if error.name is None or not so_far.startswith(error.name):
                raise ValueError(
                    f"{where()}: importing {so_far} failed because module '{error.name}' is missing"
                ) from error
            if found is None:
                raise ValueError(f"{where()}: there is no module '{part}' to import") from error
            names = [item for item in dir(found) if not item.startswith("_")]
            raise ValueError(f"{where()}: {found.__name__} has no '{part}': {suggest(part, names)}") from error
    if not callable(found):
        raise ValueError(f"{where()}: this is a {type(found).__name__}, expected a class or function")
    return found


def _check_node(path: str, node: DictConfig, passed: set[str], origin: Origin) -> None:
    target = import_target(str(node["_target_"]), path, origin)
    parameters = _parameters(target)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    keys = [str(key) for key in node if key not in HYDRA_KEYS]
    for key in keys:
        if key not in parameters and not takes_any:
            names = [name for name in parameters if name not in passed]
            raise ValueError(f"unknown key '{path}.{key}'{origin.of(f'{path}.{key}')}: {suggest(key, names)}")
        if key in passed:
            raise ValueError(f"{path}.{key}{origin.of(f'{path}.{key}')} is Leyden's own to give: leave it out")
        if key in parameters:
            value = _value(node, key, path, origin)
            wrong = _mismatch(value, _annotations(target).get(key), parameters[key].default)
            if wrong:
                shown = "null" if value is None else value
                example = f", as in {path}.{key}=[{value}]" if wrong == "a list" and isinstance(value, str) else ""
                raise ValueError(f"{path}.{key}={shown}{origin.of(f'{path}.{key}')}: expected {wrong}{example}")
    if node.get("_partial_") or "_args_" in node:
        return
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        if required and parameter.kind is not parameter.VAR_KEYWORD and name not in passed and name not in keys:
            raise ValueError(f"{path}.{name} has no value: {node['_target_']} needs one, as in {path}.{name}=…")


def _value(node: DictConfig, key: str, path: str, origin: Origin) -> Any:
    try:
        return node[key]
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} has no value yet: give {error.full_key}=…") from error
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        raise ValueError(f"{path}.{key}: {str(error).splitlines()[0]}{origin.of(f'{path}.{key}')}") from error


def _mismatch(value: Any, annotation: Any, default: Any) -> str | None:
    """What was expected where a value cannot be what an annotation or a default says; None where it can.

    Judges numbers, switches, text, and lists of them; whatever else an annotation allows is not ours to judge.
    """
    members = set(typing.get_args(annotation)) if _is_union(annotation) else {annotation}
    plain = members & PLAIN
    lists = [member for member in members if typing.get_origin(member) in LISTS]
    if not plain and not lists and isinstance(default, bool | int | float):
        plain = {bool} if isinstance(default, bool) else {int, float}
    if not plain and not lists:
        return None
    if isinstance(value, ListConfig) and lists:
        return _mismatch_of_items(value, typing.get_args(lists[0]), is_pair=typing.get_origin(lists[0]) is tuple)
    known_type = isinstance(value, bool | int | float | str | ListConfig | None)
    open_ended = members - PLAIN - set(lists) - {type(None), None} and not isinstance(value, bool | int | float | str)
    if not known_type or open_ended or (value is None and (type(None) in members or default is None)):
        return None
    if value is None or isinstance(value, ListConfig) or not _fits(value, plain):
        return _words(plain, bool(lists))
    return None


def _mismatch_of_items(values: ListConfig, items: tuple[Any, ...], is_pair: bool) -> str | None:
    if is_pair and Ellipsis not in items and len(values) != len(items):
        return f"a list of {len(items)}"
    kinds = (set(typing.get_args(items[0])) if _is_union(items[0]) else set(items[:1])) & PLAIN
    if kinds and not all(_fits(value, kinds) for value in values):
        return f"a list, each item {_words(kinds, False)}"
    return None


def _fits(value: Any, plain: set[Any]) -> bool:
    if isinstance(value, bool):
        return bool in plain or str in plain
    if isinstance(value, int):
        return bool(plain & {int, float, str})
    if isinstance(value, float):
        return bool(plain & {float, str}) or (int in plain and value == math.inf)
    return isinstance(value, str) and str in plain


def _words(plain: set[Any], takes_list: bool) -> str:
    words = ["text"] if str in plain else []
    if plain & {int, float}:
        words.append("a number" if float in plain else "a whole number")
    if bool in plain:
        words.append("true or false")
    return " or ".join([*words, "a list"] if takes_list else words)


@functools.cache
def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(target).parameters


@functools.cache
def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # annotations of other libraries may not resolve at run time
        return {}


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _check_rules(config: DictConfig, origin: Origin) -> None:
    """The rules that cross fields or bound a root key; each names the field to change."""
    for group in ("optimizer", "schedule"):
        if config[group].get("_partial_") is not True:
            raise ValueError(f"{group}{origin.of(group)} has no _partial_: true, and is made once the network is there")
    for key, lowest in {"epochs": 1, "steps": 1, "batch_size": 1, "seed": 0}.items():
        value = config[key]
        if value is not None and not lowest <= value < 2**32:
            raise ValueError(f"{key}={value} is out of range{origin.of(key)}: give a whole number from {lowest}")
    if config.epochs is None and config.steps is None:
        raise ValueError("epochs and steps are both null: give one of them, as in epochs=20")
    if config.resume not in ("never", "auto"):
        raise ValueError(f"resume={config.resume}{origin.of('resume')}: expected never or auto")
    if str(config.name).strip() in ("", ".", "..") or "/" in str(config.name):
        raise ValueError(f"name={config.name!r}{origin.of('name')}: expected a name for a directory, without a slash")
    if config.weights and config.backbone.get("pretrained") and origin.is_given("backbone.pretrained"):
        raise ValueError(
            f"weights and backbone.pretrained are both given{origin.of('backbone.pretrained')}: choose one, as by "
            "backbone.pretrained=false"
        )
    _check_trainer(config, origin)
    devices = config.trainer.get("devices")
    if isinstance(devices, int) and devices > 1:
        check_shares(config.batch_size, devices)


def check_shares(batch_size: int, devices: int) -> None:
    """Refuses a batch whose parts on the devices would not be equal, which DDP weighs alike.

    Raises:
        ValueError: says what to give.
    """
    if batch_size % devices:
        raise ValueError(
            f"batch_size={batch_size} does not divide over trainer.devices={devices}: "
            f"give a multiple of {devices}, as batch_size counts the images on all devices together"
        )


def _check_trainer(config: DictConfig, origin: Origin) -> None:
    """Bounds that Lightning leaves open, or meets only once it trains."""
    for key in ("accumulate_grad_batches", "check_val_every_n_epoch", "log_every_n_steps", "devices", "num_nodes"):
        value = config.trainer.get(key, 1)
        if value is None or (isinstance(value, int) and value < 1 and not (key == "devices" and value == -1)):
            path = f"trainer.{key}"
            raise ValueError(
                f"{path}={'null' if value is None else value} is out of range{origin.of(path)}: give 1 or more"
            )
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "gradient_clip_val"):
        value = config.trainer.get(key)
        if isinstance(value, int | float) and not value > 0:
            path = f"trainer.{key}"
            raise ValueError(f"{path}={value} is out of range{origin.of(path)}: give a number above 0, or null")
    longest = config.trainer.get("max_epochs", 1)
    if config.steps is None and (longest is None or longest < 1):
        raise ValueError(f"trainer.max_epochs{origin.of('trainer.max_epochs')} would not end: give epochs=… or steps=…")
    every, epochs = config.trainer.get("check_val_every_n_epoch", 1), config.trainer.get("max_epochs")
    if config.steps is None and isinstance(epochs, int) and isinstance(every, int) and every > epochs > 0:
        raise ValueError(
            f"trainer.check_val_every_n_epoch={every} is more than the {epochs} epochs: give at most {epochs}"
        )


def check_monitor(path: str, monitor: str, names: Sequence[str], origin: Origin) -> None:
    """Refuses a metric to monitor that no part of this run logs; `names` are those it does log."""
    if monitor not in names:
        known = names if is_of_one_class(monitor) else [name for name in names if not is_of_one_class(name)]
        hint = suggest(str(monitor), known)
        raise ValueError(f"{path}={monitor}{origin.of(path)}: no such metric is logged with this data: {hint}")
