"""Config > **preprocessing** > data: images as the weights have seen them, unless the user says otherwise."""

import logging
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from leyden.check import check
from leyden.config import Origin

log = logging.getLogger(__name__)


class Preprocessing(NamedTuple):
    """What a network was trained on: pixels of a side, those kept around them, and what was done to their values."""

    image_size: int
    margin: float  # the side of what is resized, in multiples of `image_size`
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    source: str  # in words


def preprocessing_of(config: DictConfig) -> Preprocessing | None:
    """What the weights ask for that a run begins with; None where it begins with new ones."""
    if config.weights:
        from leyden.weights import run_of

        if run := run_of(config.weights):
            return _of_a_run(run, config.weights)
    is_pretrained = bool(config.weights) or bool(config.backbone.get("pretrained"))
    if not is_pretrained or not str(config.backbone.get("_target_")).endswith(".TimmBackbone"):
        return None
    import timm

    name = str(config.backbone.name)
    found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if found is None:
        return None
    return Preprocessing(
        found.input_size[-1], 1 / found.crop_pct, tuple(found.mean), tuple(found.std), found.interpolation, name
    )


def _of_a_run(run: dict[str, Any], source: str) -> Preprocessing:
    data, config = run["data"], OmegaConf.create(run["config"])
    margin = OmegaConf.select(config, "data.margin") or 1.0
    return Preprocessing(data["image_shape"][-1], margin, tuple(data["mean"]), tuple(data["std"]), "bicubic", source)


def settle(config: DictConfig, origin: Origin) -> None:
    """Resolves a config, checks it, and lets its weights say how images are prepared."""
    OmegaConf.resolve(config)
    check(config, origin)
    adopt(config, origin)


def adopt(config: DictConfig, origin: Origin) -> None:
    """Puts into the config of the data what the weights ask for, where it leaves a choice and the user gave nothing.

    What the user gave stays, and is told where it differs.
    """
    asked = preprocessing_of(config)
    if asked is None:
        return
    channels = config.data.source.get("channels", len(asked.mean))
    mean, std = for_channels(asked, channels)
    wanted: dict[str, Any] = {"data.source.image_size": asked.image_size, "data.source.mean": list(mean)}
    wanted |= {"data.source.std": list(std), "data.margin": asked.margin}
    for key, value in wanted.items():
        given = OmegaConf.select(config, key)
        if given is None or given == value:
            continue
        if not origin.is_given(key):
            OmegaConf.update(config, key, value)
        elif key != "data.margin":
            log.warning("%s=%s as you say; the weights of %s were trained with %s", key, given, asked.source, value)
    if asked.interpolation not in ("bicubic", ""):
        log.info("%s was trained on %s images, these are resized bicubically", asked.source, asked.interpolation)


def for_channels(asked: Preprocessing, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of images that may have others; of grey ones, the mean over the colours."""
    if len(asked.mean) == channels:
        return asked.mean, asked.std
    mean, std = ((round(sum(values) / len(values), 6),) * channels for values in (asked.mean, asked.std))
    return mean, std
