"""Loss > **optimizer**: which parameters decay, which implementation is fastest, what settings are sane."""

import functools
import inspect
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from leyden.backbones.tensors import POSITIONS

log = logging.getLogger(__name__)

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
EMBEDDINGS = (*POSITIONS, "class_token", "cls_token", "dist_token", "reg_token")

# from the lowest value allowed to below the highest
RANGES: dict[str, tuple[float, float]] = {"momentum": (0, 1), "alpha": (0, 1), "rho": (0, 1), "dampening": (0, 1)}


def check_hyperparameters(make_optimizer: "functools.partial[Optimizer]") -> None:
    """Refuses learning rates, decays and momenta that no optimizer can use.

    Raises:
        ValueError: names the key and the range.
    """
    for name, value in make_optimizer.keywords.items():
        if name in ("lr", "weight_decay", "eps", "lr_decay", *RANGES) and not isinstance(value, int | float):
            raise ValueError(f"optimizer.{name}={value}: expected a number")
        if name == "lr" and not 0 < value < math.inf:
            raise ValueError(f"optimizer.lr={value} is out of range: give a number above 0")
        if name in ("weight_decay", "eps", "lr_decay") and not value >= 0:
            raise ValueError(f"optimizer.{name}={value} is out of range: give 0 or more")
        if name == "ns_steps" and value < 1:
            raise ValueError(f"optimizer.ns_steps={value} is out of range: give 1 or more")
        if name in RANGES and not RANGES[name][0] <= value < RANGES[name][1]:
            raise ValueError(f"optimizer.{name}={value} is out of range: give a number from 0 to below 1")
        if name == "betas" and not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"optimizer.betas={list(value)} is out of range: give numbers from 0 to below 1")


def build_optimizer(
    make_optimizer: "functools.partial[Optimizer]",
    module: nn.Module,
    device: torch.device,
    has_scaler: bool = False,
    rates: Mapping[nn.Parameter, float] | None = None,
    undecayed: Collection[nn.Parameter] = (),
    changes_with_time: bool = False,
) -> Optimizer:
    """Makes the optimizer with weight decay on weights alone, in the fastest implementation this device has.

    `rates` are the learning rates of parameters, in multiples of the optimizer's own; of one that has none it is 1.
    Of weights, those `undecayed` do not decay either. `changes_with_time` says that some train only later.
    `has_scaler` says that gradients come scaled (16-mixed), which fused implementations would unscale by themselves,
    too late for clipping.
    """
    lr, weight_decay = (_setting(make_optimizer, name) for name in ("lr", "weight_decay"))
    groups = parameter_groups(module, weight_decay, lr, rates, undecayed)
    log.info("\n%s", describe_groups(module, rates, undecayed))
    return make_optimizer(groups, **fastest_implementation(make_optimizer, device, has_scaler, changes_with_time))


def _setting(make_optimizer: "functools.partial[Optimizer]", name: str) -> float:
    """What the config gives, else the optimizer's own default."""
    parameter = inspect.signature(make_optimizer.func).parameters.get(name)
    default = parameter.default if parameter and isinstance(parameter.default, float | int) else 0.0
    return make_optimizer.keywords.get(name, default)


def fastest_implementation(
    make_optimizer: "functools.partial[Optimizer]",
    device: torch.device,
    has_scaler: bool = False,
    changes_with_time: bool = False,
) -> dict[str, bool]:
    """`fused`, else `foreach`, where the optimizer has them and the config does not choose; else nothing."""
    function: Callable[..., Any] = make_optimizer.func
    parameters = inspect.signature(function).parameters
    if {"fused", "foreach"} & set(make_optimizer.keywords):
        return {}
    fused_here = device.type == "cpu" or (device.type == "cuda" and function is not torch.optim.Adagrad)
    fused_here &= not (changes_with_time and function is torch.optim.SGD)  # it gives all their momentum at once
    if "fused" in parameters and fused_here and not has_scaler:
        return {"fused": True}
    return {"foreach": True} if "foreach" in parameters else {}


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    lr: float = 0.0,
    rates: Mapping[nn.Parameter, float] | None = None,
    undecayed: Collection[nn.Parameter] = (),
) -> list[dict[str, Any]]:
    """Splits trainable parameters by their learning rate, in multiples of `lr`, and by whether they decay."""
    rates = rates or {}
    split: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for _, parameter, decays in _trained(module, undecayed):
        split.setdefault((rates.get(parameter, 1.0), decays), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0}
        | ({"lr": lr * rate, "rate": rate} if rate != 1 else {})
        for (rate, decays), parameters in sorted(split.items(), key=lambda item: item[0], reverse=True)
    ]


def base_rate(optimizer: Optimizer) -> float:
    """The learning rate of the step at hand, of parameters that have no rate of their own."""
    group = optimizer.param_groups[0]
    return group["lr"] / group.get("rate", 1.0)


def _trained(module: nn.Module, undecayed: Collection[nn.Parameter]) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Kind, parameter and whether it decays: weights do; biases, norms, position embeddings and tokens do not.

    A network of timm names what else of it must not, by its method `no_weight_decay`.
    """
    exempt: set[str] = set()
    undecayed = set(undecayed)
    for prefix, owner in module.named_modules():
        if callable(names := getattr(owner, "no_weight_decay", None)):
            exempt |= {f"{prefix}.{name}".lstrip(".") for name in names()}
    seen: set[int] = set()
    for prefix, owner in module.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            kept = isinstance(owner, NORMS) or name.endswith(EMBEDDINGS) or f"{prefix}.{name}".lstrip(".") in exempt
            yield (
                f"{type(owner).__name__}.{name}",
                parameter,
                parameter.ndim > 1 and not kept and parameter not in undecayed,
            )


def describe_groups(
    module: nn.Module,
    rates: Mapping[nn.Parameter, float] | None = None,
    undecayed: Collection[nn.Parameter] = (),
) -> str:
    """Which parameters decay and which do not, by kind: two lines; a third where some are frozen or have own rates."""
    lines = []
    for wanted, title in ((True, "weight decay"), (False, "no weight decay")):
        members = [(kind, parameter) for kind, parameter, decays in _trained(module, undecayed) if decays is wanted]
        kinds = ", ".join(f"{kind} ×{count}" for kind, count in Counter(kind for kind, _ in members).items())
        lines.append(f"{title}: {sum(parameter.numel() for _, parameter in members):,} values ({kinds or 'none'})")
    sizes: Counter[float] = Counter()  # of frozen values the rate is 0
    for parameter in module.parameters():
        sizes[(rates or {}).get(parameter, 1.0) if parameter.requires_grad else 0.0] += parameter.numel()
    if set(sizes) - {1.0}:
        parts = [f"{size:,} × {rate:.3g}" if rate else f"{size:,} frozen" for rate, size in sorted(sizes.items())]
        lines.append(f"values and their learning rates: {', '.join(reversed(parts))}")
    return "\n".join(lines)
