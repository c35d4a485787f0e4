"""Optimizers: what decays, that the fast implementation gives the plain one's weights, that settings are sane."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from omegaconf import OmegaConf
from torch import nn

from leyden.backbones import CNN, ResNet, ViT
from leyden.build import instantiate
from leyden.config import CONFIG_DIRECTORY
from leyden.optim import (
    build_optimizer,
    check_hyperparameters,
    describe_groups,
    fastest_implementation,
    parameter_groups,
)

CPU = torch.device("cpu")
OPTIMIZERS = sorted(path.stem for path in (CONFIG_DIRECTORY / "optimizer").glob("*.yaml"))


def from_file(name: str, **changes: Any) -> functools.partial[torch.optim.Optimizer]:
    path: Path = CONFIG_DIRECTORY / "optimizer" / f"{name}.yaml"
    return instantiate(OmegaConf.merge(OmegaConf.load(path), changes))


@pytest.mark.parametrize("make", [lambda: CNN(1, 16), lambda: ResNet(3, 32), lambda: ViT(3, 32)])
def test_weights_decay_and_biases_norms_and_embeddings_do_not(make: Callable[[], nn.Module]) -> None:
    module = make()
    decayed, kept = parameter_groups(module, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    for parameter in kept["params"]:
        assert parameter.ndim == 1 or names[id(parameter)] in ("position_embedding", "class_token")
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


@pytest.mark.parametrize("name", ["levit_128s", "swin_tiny_patch4_window7_224", "deit_tiny_distilled_patch16_224"])
def test_what_timm_exempts_from_decay_is_exempt(name: str) -> None:
    network = timm.create_model(name)
    module = nn.ModuleDict({"backbone": network})
    decayed, _ = parameter_groups(module, 0.1)
    exempt = {id(parameter) for key, parameter in network.named_parameters() if key in network.no_weight_decay()}
    assert exempt
    assert exempt.isdisjoint(id(parameter) for parameter in decayed["params"])


def test_optimizers_own_weight_decay_stands_where_none_is_given() -> None:
    optimizer = build_optimizer(functools.partial(torch.optim.AdamW, lr=0.1), nn.Linear(2, 2), CPU)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(module, 0.1)) == 2


def test_description_counts_what_decays() -> None:
    text = describe_groups(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(8, 4)))
    assert text.splitlines() == [
        "weight decay: 50 values (Conv2d.weight ×1, Linear.weight ×1)",
        "no weight decay: 10 values (Conv2d.bias ×1, BatchNorm2d.weight ×1, BatchNorm2d.bias ×1, Linear.bias ×1)",
    ]


def trained(make_optimizer: functools.partial[torch.optim.Optimizer], **implementation: bool) -> list[torch.Tensor]:
    """Weights after ten steps on a fixed problem."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    inputs, labels = torch.randn(32, 6), torch.arange(32) % 3
    optimizer = make_optimizer(parameter_groups(module, make_optimizer.keywords["weight_decay"]), **implementation)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    return [parameter.detach() for parameter in module.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fast_implementation_gives_the_plain_ones_weights(name: str) -> None:
    make_optimizer = from_file(name)
    fast = fastest_implementation(make_optimizer, CPU)
    plain = dict.fromkeys(fast, False)
    for ours, expected in zip(trained(make_optimizer, **fast), trained(make_optimizer, **plain), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameter_that_trains_later_starts_as_if_it_were_new(name: str) -> None:
    """Two layers of which one is frozen for three steps, against each in an optimizer of its own."""
    make_optimizer = from_file(name)
    ways = []
    for has_one_optimizer in (True, False):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        inputs, labels = torch.randn(32, 6), torch.arange(32) % 3
        parts = [module] if has_one_optimizer else [module[2], module[0]]
        optimizers = [build_optimizer(make_optimizer, part, CPU, changes_with_time=True) for part in parts]
        for step in range(6):
            module[0].requires_grad_(step >= 3)
            for optimizer in optimizers:
                optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), labels).backward()
            for optimizer in optimizers[: None if step >= 3 else 1]:
                optimizer.step()
        ways.append([parameter.detach() for parameter in module.parameters()])
    for ours, expected in zip(*ways, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_makes_the_loss_smaller(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    inputs = torch.randn(64, 10)
    labels = inputs[:, :4].argmax(1)
    optimizer = build_optimizer(from_file(name), module, CPU)
    first = None
    for _ in range(300):
        loss = nn.functional.cross_entropy(module(inputs), labels)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * first  # type: ignore[operator]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_weights_and_leaves_biases(name: str) -> None:
    """Two runs that differ in weight decay alone, with a gradient of zero for the weights' direction."""
    norms = []
    for weight_decay in (0.0, 0.1):
        torch.manual_seed(0)
        module = nn.Linear(16, 16)
        optimizer = build_optimizer(from_file(name, weight_decay=weight_decay), module, CPU)
        for _ in range(20):
            optimizer.zero_grad()
            (module.weight.sum() * 1e-3 + module.bias.sum() * 1e-3).backward()
            optimizer.step()
        norms.append((module.weight.norm().item(), module.bias.norm().item()))
    assert norms[1][0] < norms[0][0]
    assert norms[1][1] == pytest.approx(norms[0][1], rel=1e-6)


def test_configs_own_choice_of_implementation_stands() -> None:
    assert fastest_implementation(functools.partial(torch.optim.AdamW, foreach=False), CPU) == {}


def test_scaled_gradients_are_not_left_to_a_fused_optimizer() -> None:
    make_optimizer = functools.partial(torch.optim.AdamW, lr=1e-3)
    assert fastest_implementation(make_optimizer, CPU) == {"fused": True}
    assert fastest_implementation(make_optimizer, CPU, has_scaler=True) == {"foreach": True}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr": -1}, "optimizer.lr=-1"),
        ({"lr": 0}, "optimizer.lr=0"),
        ({"lr": float("nan")}, "optimizer.lr=nan"),
        ({"weight_decay": -0.1}, "optimizer.weight_decay=-0.1"),
        ({"momentum": 1.0}, "optimizer.momentum=1.0"),
        ({"betas": (0.9, 1.0)}, "optimizer.betas"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_hyperparameters(functools.partial(torch.optim.SGD, **settings))
