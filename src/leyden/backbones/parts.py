"""Backbones > **parts**: activations by the name that a config gives them, and first weights."""

from torch import nn

from leyden.config import suggest

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,  # none: however many layers, the network is linear
}


def activation_class(name: str) -> type[nn.Module]:
    """The class of an activation.

    Raises:
        ValueError: unknown; names the nearest.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"backbone.activation={name}: there is no such activation: {suggest(name, list(ACTIVATIONS))}")
    return ACTIVATIONS[name]


def he_initialise(network: nn.Module) -> None:
    """Draws the weights of all convolutions anew, as He et al. 2015."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
