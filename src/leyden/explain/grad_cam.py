"""Network > **Grad-CAM** > overlays: which regions of an image speak for an answer, by its last spatial layer.

Selvaraju et al. 2017: with A the activations of that layer [B, C, h, w] and S the score of the answer, the map is
relu(sum over c of a_c A_c), a_c being the mean of dS/dA_c over the image (equations 1 and 2).
Of a transformer the tokens of the patches stand for the regions.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_PREFIX_TOKENS = 5  # of classes and registers, before those of patches

ATTENTIONS = {"attn", "attention", "self_attn", "self_attention"}  # as networks call them


class Layer(NamedTuple):
    """A layer whose outputs have places in the image."""

    name: str
    height: int
    width: int


def grad_cam(network: nn.Module, images: Tensor, answers: Tensor, layer: str) -> Tensor:
    """Maps [B, H, W] from 0 to 1 of normalised images [B, C, H, W] and answers [B], by the layer of that name."""
    with _Kept(network, [layer]) as kept:
        gradients = _gradients(network, images, answers, kept)
    activations = _as_map(kept.outputs[layer])
    assert activations is not None
    slopes = _as_map(gradients[layer])
    assert slopes is not None
    weights = slopes.mean((2, 3), keepdim=True)
    maps = (weights * activations).sum(1, keepdim=True).relu().detach()
    maps = F.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)


def spatial_layer(network: nn.Module, images: Tensor, answers: Tensor) -> Layer | None:
    """The last layer with places by which the answer goes; None of a network without one, as of an MLP.

    A transformer's last block answers by its class token alone, so that the layer before counts there; what lies within
    its attention does not, for keys and queries of patches are no regions.
    """
    names = [name for name, _ in network.named_modules() if name and not ATTENTIONS & {*name.split(".")}]
    with _Kept(network, names) as kept:
        gradients = _gradients(network, images[:1], answers[:1], kept)
    for name in reversed(kept.outputs):
        found, slopes = _as_map(kept.outputs[name]), gradients.get(name)
        if found is None or slopes is None:
            continue
        slopes_of_places = _as_map(slopes)
        if slopes_of_places is not None and slopes_of_places.any():
            return Layer(name, found.shape[2], found.shape[3])
    return None


class _Kept:
    """Keeps what modules of some names return, in the order in which they end, for as long as this is entered."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        self.network, self.names = network, names
        self.outputs: dict[str, Tensor] = {}

    def __enter__(self) -> "_Kept":
        self.hooks = [
            self.network.get_submodule(name).register_forward_hook(lambda *call, name=name: self._keep(name, call[-1]))
            for name in self.names
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _keep(self, name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            self.outputs.pop(name, None)
            self.outputs[name] = output


def scores_of(outputs: Tensor, answers: Tensor) -> Tensor:
    """What speaks for each image's answer [B]: the logit of that class, of outputs [B, K]; numbers [B] themselves."""
    return outputs if outputs.ndim == 1 else outputs.gather(1, answers[:, None]).squeeze(1)


def _gradients(network: nn.Module, images: Tensor, answers: Tensor, kept: _Kept) -> dict[str, Tensor]:
    """Of the answers' scores, in what was kept."""
    with torch.enable_grad():
        scores = scores_of(network(images.detach().requires_grad_()), answers)
        names = list(kept.outputs)
        found = torch.autograd.grad(scores.sum(), [kept.outputs[name] for name in names], allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def _as_map(outputs: Tensor) -> Tensor | None:
    """A layer's outputs as [B, C, h, w]: images, images with channels last, or tokens [B, T, D]; None of others."""
    if outputs.ndim == 4:
        is_last = outputs.shape[2] != outputs.shape[3] and outputs.shape[1] == outputs.shape[2]
        found = outputs.permute(0, 3, 1, 2) if is_last else outputs
        return found if found.shape[2] == found.shape[3] > 1 else None  # as images are; heads of an attention are not
    if outputs.ndim != 3:
        return None
    side = math.isqrt(outputs.shape[1])
    num_prefix = outputs.shape[1] - side * side
    if side < 2 or num_prefix > MOST_PREFIX_TOKENS:
        return None
    return outputs[:, num_prefix:].transpose(1, 2).unflatten(2, (side, side))
