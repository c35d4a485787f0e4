"""Network > **integrated gradients** > overlays: how much each pixel adds to the score of an answer.

Sundararajan et al. 2017, by captum: gradients are summed up on the way from a grey image, the mean of the training
images, to this one; the pixels' shares add up to the difference of the two scores.
"""

import functools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from leyden.explain.grad_cam import scores_of

NUM_STEPS = 48
BRIGHTEST = 0.99  # of the pixels; those above it are as bright, or single ones would leave the rest dark


class Shares(NamedTuple):
    """What pixels add."""

    pixels: Tensor  # [B, C, H, W], in units of the score
    error: float  # largest share of a score's difference that the sum misses


def integrated_gradients(network: nn.Module, images: Tensor, answers: Tensor) -> Shares:
    """Of normalised images [B, C, H, W] and answers [B], from the mean image, which is zero."""
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ValueError("leyden explain needs the package captum: pip install 'leyden[explain]'") from error
    found, missed = [], []
    for image, answer in zip(images.split(1), answers.split(1), strict=True):
        score = functools.partial(_score, network, answer)
        method, grey = IntegratedGradients(score), torch.zeros_like(image)
        with torch.enable_grad():
            pixels = method.attribute(image, grey, n_steps=NUM_STEPS, internal_batch_size=NUM_STEPS).detach()
        with torch.no_grad():
            change = score(image) - score(grey)
        found.append(pixels)
        missed.append(float((pixels.sum() - change).abs() / change.abs().clamp_min(1e-6)))
    return Shares(torch.cat(found), max(missed))


def _score(network: nn.Module, answer: Tensor, images: Tensor) -> Tensor:
    return scores_of(network(images), answer.expand(len(images)))


def brightness(pixels: Tensor) -> Tensor:
    """Maps [B, H, W] from 0 to 1: the size of each pixel's share, over its channels."""
    sizes = pixels.abs().sum(1)
    top = torch.quantile(sizes.flatten(1).float(), BRIGHTEST, dim=1)[:, None, None]
    return (sizes / top.clamp_min(1e-12)).clamp(0, 1)
