"""Beside the steps: **norms of each layer**, now and then: its weights, its gradients, how far a step moves it."""

import logging
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from leyden.backbones.layers import layer_names
from leyden.histograms import Values, write_histograms
from leyden.metric_names import LAYERS

log = logging.getLogger(__name__)


class Layers(pl.Callback):
    """Logs of every `every_n_steps`-th optimizer step, null: of none, for each layer of the backbone and the head:

    `layers/<layer>/weight_norm`, ‖w‖ before the step; `layers/<layer>/gradient_norm`, ‖g‖ of the loss, before what
    clipping, weight decay and L2-SP make of it; `layers/<layer>/update_ratio`, ‖Δw‖ / ‖w‖ of the step as it was taken,
    about 10⁻³ where a network learns well. They are over the parameters that train in that step: a frozen layer has
    none, and a number that is not finite (a norm of zero to divide by, gradients that overflow in 16-mixed) is left
    out; a step that its scaler skips has a ratio of 0. Gradients are those of all accumulated batches and of all ranks.
    A logged step holds the weights twice. With `histograms`, those of weights and gradients too, in the run's
    `histograms`.
    """

    def __init__(self, every_n_steps: int | None = 100, histograms: bool = False) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(
                f"callbacks.layers.every_n_steps={every_n_steps} is out of range: give 1 or more, or null for never"
            )
        self.every_n_steps, self.histograms = every_n_steps, histograms
        self.is_on = every_n_steps is not None
        self.directory: Path | None = None  # of the run, given by the composition root
        self.layers: dict[str, list[nn.Parameter]] = {}
        self.step: LoggedStep | None = None  # between the moments before and after an optimizer step that is logged

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        is_in_pieces = isinstance(trainer.strategy, FSDPStrategy)
        if is_in_pieces:
            log.warning("callbacks.layers is left out: FSDP keeps only pieces of the weights in each process")
        if is_in_pieces or not trainer.is_global_zero:  # all ranks have the same weights and gradients
            self.on_before_optimizer_step = self.on_train_batch_end = None  # type: ignore[method-assign, assignment]
        self.layers = parameters_by_layer(pl_module)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        assert self.every_n_steps is not None
        if (trainer.global_step + 1) % self.every_n_steps:
            return
        trained = {
            layer: [parameter for parameter in parameters if parameter.grad is not None]
            for layer, parameters in self.layers.items()
        }
        self.step = LoggedStep({layer: parameters for layer, parameters in trained.items() if parameters})
        if self.histograms:
            assert self.directory is not None
            write_histograms(self.directory, trainer.global_step + 1, values_of(self.step.layers))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.step is None:
            return
        found = self.step.finish()
        self.step = None
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **found}, step=trainer.global_step)


class LoggedStep:
    """What is known of a step before it is taken: norms of weights and gradients on the device, and the weights.

    Mixed precision has unscaled the gradients by then, and nobody has clipped them.
    """

    @torch.no_grad()
    def __init__(self, layers: dict[str, list[nn.Parameter]]) -> None:
        self.layers = layers
        self.parameters: list[Tensor] = [parameter for parameters in layers.values() for parameter in parameters]
        self.weight_norms = norms(self.parameters)
        self.gradient_norms = norms([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        self.before = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def finish(self) -> dict[str, float]:
        """The figures of the step, now that it is taken; the device is asked for them once."""
        torch._foreach_sub_(self.before, self.parameters)
        table = torch.stack([self.weight_norms, self.gradient_norms, norms(self.before)])  # [3, parameters]
        parts = table.split([len(parameters) for parameters in self.layers.values()], dim=1)
        columns = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts]).tolist()  # [layers, 3]
        found: dict[str, float] = {}
        for layer, (weight, gradient, update) in zip(self.layers, columns, strict=True):
            figures = {"weight_norm": weight, "gradient_norm": gradient}
            figures["update_ratio"] = update / weight if weight else math.nan
            found |= {f"{LAYERS}/{layer}/{name}": value for name, value in figures.items() if math.isfinite(value)}
        return found


def norms(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm of each of some tensors, float32, on their device."""
    return torch.stack(torch._foreach_norm(tensors, 2, torch.float32))


def parameters_by_layer(classifier: Any) -> dict[str, list[nn.Parameter]]:
    """The parameters of each layer of the backbone, as fine-tuning counts them, and of the head."""
    parameters = dict(classifier.backbone.named_parameters())
    layers = classifier.finetune.layers
    found = {name: [parameters[one] for one in layer] for name, layer in zip(layer_names(layers), layers, strict=True)}
    return found | {"head": list(classifier.head.parameters())}


def values_of(layers: dict[str, list[nn.Parameter]]) -> dict[str, Values]:
    """The values of each layer's weights and of its gradients, by `<layer>/weights` and `<layer>/gradients`."""
    found: dict[str, Values] = {}
    for layer, parameters in layers.items():
        found[f"{layer}/weights"] = [parameter.detach() for parameter in parameters]
        found[f"{layer}/gradients"] = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return found
