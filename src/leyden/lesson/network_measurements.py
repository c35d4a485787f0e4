"""Claims > **measurements of networks** > effects: what holds of layers and gradients, by arithmetic beside torch's.

Shapes: B images, D pixels, F nodes of a layer, K classes.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leyden.backbones import MLP
from leyden.build import build_data
from leyden.data import Digits
from leyden.heads import LinearHead
from leyden.lesson.model import Measured, line, line_of_repeats, picture_of_lines
from leyden.report.collect import Found
from leyden.report.words import value_in_words
from leyden.trained import Trained

NUM_CLASSES = 10
NUM_NETWORKS = 20
NUM_CASES = 100  # of gradients
STEP = 1e-5  # of the central difference, whose error is of its square
NUM_DESCENTS, NUM_STEPS = 5, 60


def layers() -> Measured:
    """Networks of random depth and width, worked out by hand: sums of products, biases, and zero in place of less."""
    differences, miscounted = [], []
    generator = np.random.default_rng(0)
    for number in range(NUM_NETWORKS):
        network = _network(number, int(generator.integers(1, 4)), int(generator.integers(4, 65)))
        images = torch.rand(8, 1, 8, 8, dtype=torch.float64)
        expected = network(images).detach().numpy()
        found = _by_hand(images.numpy().reshape(8, -1), network)
        differences.append(_relative(found, expected))
        sizes = [64, *[len(linear.bias) for linear in _linears(network)]]
        counted = sum((before + 1) * after for before, after in itertools.pairwise(sizes))
        miscounted.append(float(abs(counted - sum(parameter.numel() for parameter in network.parameters()))))
    widths = [4.0, 16.0, 64.0, 256.0, 1024.0]
    counts = [float((64 + 1) * width + (width + 1) * width + (width + 1) * NUM_CLASSES) for width in widths]
    picture = picture_of_lines(
        "Parameters of two hidden layers between 64 pixels and ten classes", "nodes of each hidden layer",
        "parameters", [line("", widths, counts)], is_log_x=True, is_log_y=True,
    )  # fmt: skip
    return {"values": {"difference": differences, "miscounted": miscounted}, "figures": {}, "pictures": [picture]}


def collapse() -> Measured:
    """Layers without a bend, beside the one matrix that is the product of theirs."""
    differences = []
    for number in range(NUM_NETWORKS):
        network = _network(number, depth=3, width=32, activation="identity")
        images = torch.rand(8, 1, 8, 8, dtype=torch.float64)
        matrix, bias = np.eye(64), np.zeros(64)
        for linear in _linears(network):
            weight = linear.weight.detach().numpy()
            matrix, bias = weight @ matrix, weight @ bias + linear.bias.detach().numpy()
        differences.append(_relative(images.numpy().reshape(8, -1) @ matrix.T + bias, network(images).detach().numpy()))
    return {"values": {"difference": differences}, "figures": {}, "pictures": []}


def features(runs: Sequence[Found]) -> Measured:
    """Of each trained network: how often the nearest class mean is the right one, by pixels and by each hidden layer.

    Class means are those of its training images; its test images are asked, which nothing has learnt from.
    """
    shares: list[list[float]] = []
    for run in runs:
        trained = Trained(run.directory, accelerator="cpu")
        backbone = trained.classifier.backbone
        data = build_data(trained.config)
        data.setup("test")
        images, labels = data.images, data.labels
        assert images is not None
        assert isinstance(backbone, MLP)
        with torch.no_grad():
            found = [trained.classifier.augment.normalize(images).flatten(1)]
            for module in backbone.layers[1:]:
                value = module(found[-1])
                found = [*found, value] if isinstance(module, nn.Linear) else [*found[:-1], value]
        shares.append([_nearest_mean(one, labels, data.train_indices, data.test_indices) for one in found])
    names = ["pixels", *[f"hidden layer {1 + number}" for number in range(len(shares[0]) - 1)]]
    columns = [list(column) for column in zip(*shares, strict=True)]
    title = "Test digits whose nearest class mean is their own"
    picture = picture_of_lines(title, "", "test digits", [line_of_repeats("", names, columns)], is_share=True)
    gains = {f"gain {number}": [b - a for a, b in zip(columns[number - 1], column, strict=True)]
             for number, column in enumerate(columns) if number}  # fmt: skip
    return {"values": gains, "figures": {}, "pictures": [picture]}


def backpropagation() -> Measured:
    """A hundred networks and directions: the derivative that backpropagation gives, beside a central difference."""
    errors = []
    for number in range(NUM_CASES):
        network = _network(number, depth=1 + number % 3, width=16, activation=("tanh", "gelu", "sigmoid")[number % 3])
        images, labels = torch.rand(16, 1, 8, 8, dtype=torch.float64), torch.randint(NUM_CLASSES, (16,))
        parameters = list(network.parameters())
        loss = nn.functional.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, parameters)
        directions = [torch.randn_like(parameter) for parameter in parameters]
        slope = sum(float((gradient * way).sum()) for gradient, way in zip(gradients, directions, strict=True))
        ends = [_loss_at(network, directions, sign * STEP, images, labels) for sign in (1, -1)]
        measured = (ends[0] - ends[1]) / (2 * STEP)
        errors.append(abs(slope - measured) / max(abs(slope), abs(measured), 1e-3))
    ordered = sorted(errors)
    cases = line("", [1.0 + place for place in range(NUM_CASES)], [max(error, 1e-17) for error in ordered])
    title = "Relative difference of the two derivatives"
    picture = picture_of_lines(title, "case, in the order of size", "difference", [cases], is_log_y=True)
    figures = {"largest": value_in_words(ordered[-1], False)}
    return {"values": {"difference": errors}, "figures": figures, "pictures": [picture]}


def descent() -> Measured:
    """Full-batch gradient descent on all digits: how often a step lowers the loss, at a small rate and a large one."""
    images, labels = Digits().load(Path())[:2]
    pixels = images.float() / 255
    shares: dict[str, list[float]] = {"small": [], "large": []}
    lines = []
    for name, rate in (("small", 0.1), ("large", 5.0)):
        losses = []
        for seed in range(NUM_DESCENTS):
            torch.manual_seed(seed)
            network = nn.Sequential(MLP(1, 8, width=64), LinearHead(64, NUM_CLASSES))
            optimizer = torch.optim.SGD(network.parameters(), lr=rate)
            path = []
            for _ in range(NUM_STEPS):
                loss = nn.functional.cross_entropy(network(pixels), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                path.append(loss.item())
            losses.append(path)
            shares[name].append(float((np.diff(path) < 0).mean()))
        means = np.mean(losses, axis=0).tolist()
        lines.append(line(f"learning rate {rate:g}", [1.0 + step for step in range(NUM_STEPS)], means))
    title = "Loss on all digits, mean of five networks"
    picture = picture_of_lines(title, "step", "loss", lines, is_log_y=True, is_curve=True)
    return {"values": shares, "figures": {}, "pictures": [picture]}


def _network(seed: int, depth: int, width: int, activation: str = "relu") -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        MLP(1, 8, depth=depth, width=width, activation=activation), LinearHead(width, NUM_CLASSES)
    ).double()


def _linears(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def _by_hand(values: Any, network: nn.Module) -> Any:
    linears = _linears(network)
    for number, linear in enumerate(linears):
        values = values @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        if number < len(linears) - 1:
            values = np.maximum(values, 0)
    return values


def _relative(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _loss_at(network: nn.Module, directions: Sequence[Tensor], far: float, images: Tensor, labels: Tensor) -> float:
    moved = {name: parameter + far * way
             for (name, parameter), way in zip(network.named_parameters(), directions, strict=True)}  # fmt: skip
    with torch.no_grad():
        return float(nn.functional.cross_entropy(torch.func.functional_call(network, moved, (images,)), labels))


def _nearest_mean(values: Tensor, labels: Tensor, known: Tensor, asked: Tensor) -> float:
    """The share of asked rows [B, F] whose nearest mean, of the known rows of a class, is that of their class."""
    means = torch.stack([values[known][labels[known] == label].mean(0) for label in range(NUM_CLASSES)])
    return float((torch.cdist(values[asked], means).argmin(1) == labels[asked]).float().mean())
