"""Trained network > **whole** > export: from stored bytes to probabilities, as one module; and what it is of.

Shapes: B images, C channels, S pixels of a side as stored, K classes.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leyden import __version__
from leyden.augment.geometry import cut_centre
from leyden.checkpoint import BEST
from leyden.data.facts import DataFacts, facts_of
from leyden.test_time import TestTime
from leyden.trained import Trained, modules_of, probabilities_of

FORMAT = 1  # counts up when older exports can no longer be opened


class WholeNetwork(nn.Module):
    """All of a test but decoding: cut, normalise, ask the network about each view, divide by the temperature."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, facts: DataFacts, test_time: TestTime) -> None:
        super().__init__()
        self.network, self.image_size, self.test_time = network, facts.image_size, test_time
        std, mean = (torch.tensor(values).view(1, -1, 1, 1) for values in (facts.std, facts.mean))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits and probabilities [B, K] of uint8 images [B, C, S, S]; or numbers [B] alone."""
        pixels = cut_centre(images, self.image_size).float() * self.scale + self.shift
        outputs = self.test_time.answer(self.network, pixels)
        if self.test_time.task == "regression":
            return (outputs,)
        return outputs, probabilities_of(outputs, self.test_time.task)


def whole_network(network: Trained) -> WholeNetwork:
    """A run's network, in memory of its own and in single precision, as it is exported."""
    modules = copy.deepcopy(modules_of(network)).float()
    module = WholeNetwork(modules, network.facts, network.test_time)
    return module.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


def is_calibrated(network: Trained) -> bool:
    """Whether validation images have chosen the temperature of these weights: of a run it is that of its best alone."""
    is_best = network.path.name == BEST
    return is_best and network.test_time.fits_temperature and "calibration" in network.record


def describe(network: Trained) -> dict[str, Any]:
    """What an export says of itself, in plain types: how images are made for it, what its answers are, its origin."""
    facts, run = network.facts, network.run
    told = {
        "leyden": __version__,
        "format": FORMAT,
        "task": facts.task,
        "class_names": list(facts.class_names),
        "channels": facts.channels,
        "stored_size": facts.stored_size,  # pixels of a side of what it is given
        "image_size": facts.image_size,  # and of what is cut from its centre
        "margin": facts.margin,
        "mean": list(facts.mean),
        "std": list(facts.std),
        "views": network.test_time.views,
        "temperature": network.test_time.temperature,
        "is_calibrated": is_calibrated(network),
        "data": {key: run["data"][key] for key in ("name", "fingerprint")},
        "checkpoint": network.path.name,
        "run": run,
    }
    if facts.task == "multi_label":  # a class is among the answers from this probability on
        told["thresholds"] = network.kept_thresholds().double().sigmoid().tolist()
    return json.loads(json.dumps(told))


def facts_described(told: Mapping[str, Any]) -> DataFacts:
    """The facts of the data that an export's network was made for."""
    return facts_of(told["run"]["data"], told["margin"])


def test_time_described(told: Mapping[str, Any]) -> TestTime:
    """The views and the temperature of an export."""
    test_time = TestTime(told["task"], told["views"])
    test_time.temperature = told["temperature"]
    return test_time
