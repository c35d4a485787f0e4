"""Backbone > **layers** > fine-tuning: a network's layers in the order in which an image meets them."""

from collections.abc import Iterator, Sequence

from torch import nn

from leyden.backbones.timm_backbone import TimmBackbone


def layer_groups(backbone: nn.Module) -> list[list[str]]:
    """The names of all parameters, layer by layer from the input up: a stem, then blocks.

    Those of a network of timm are its own; of any other, each item of a `Sequential` is a layer, a parameter that
    stands alone belongs to the first, and a norm after the last block to that block.
    """
    if isinstance(backbone, TimmBackbone):
        return backbone.layer_groups()
    names = [name for name, _ in backbone.named_parameters()]
    groups: list[list[str]] = [[name for name in names if "." not in name]]
    for prefix, layer in _layers(backbone, ""):
        own = [name for name in names if name.startswith(f"{prefix}.")]
        if own and (_is_norm(layer) or not groups[-1] or all("." not in name for name in groups[-1])):
            groups[-1].extend(own)
        elif own:
            groups.append(own)
    return [group for group in groups if group]


def layer_names(groups: Sequence[Sequence[str]]) -> list[str]:
    """A name for each layer: as much of its modules' path as no other layer has, `blocks_0` of `blocks.0.1.weight`.

    `head` is no such name: that is what is not of the backbone.
    """
    names = []
    for number, group in enumerate(groups):
        others = [name for other, other_names in enumerate(groups) if other != number for name in other_names]
        parts = next((name for name in group if "." in name), group[0]).split(".")
        paths = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        own = next(path for path in paths if not any(f"{name}.".startswith(f"{path}.") for name in others))
        names.append(own.removeprefix("network.").replace(".", "_"))
    return ["backbone_head" if name == "head" else name for name in names]


def _layers(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, nn.Sequential) and not prefix:
            yield from _layers(child, f"{path}.")
        else:
            yield path, child


def _is_norm(layer: nn.Module) -> bool:
    """Whether a layer is a norm, which belongs to the one before it."""
    return not list(layer.children()) and all(parameter.ndim < 2 for parameter in layer.parameters())
