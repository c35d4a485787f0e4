"""Backbone, head > **fine-tuning** > optimizer: which parameters train, in which epochs, and how fast."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.backbones.layers import layer_groups
from leyden.config import require

LAST_EPOCH = 2**31


class Finetune:
    """All parameters train from the first step: full fine-tuning, and training from scratch; its kinds restrict that.

    What is frozen is a function of the epoch alone, so a resumed run finds it again. The head learns at `head_rate`
    times `optimizer.lr`; the first `frozen_layers` of the backbone never do. A frozen layer evaluates: it neither
    learns nor drops, and its batch norm's statistics do not drift; those of the layers that train are the batch's
    (`batch_norm=train`) or stay as they came (`eval`).
    """

    way = "full"  # as the config calls it
    uses_weights = True  # whether the network begins with those that the config names
    keeps_features, views = False, 1  # whether the backbone's are computed once, and for how many augmentations

    def __init__(self, head_rate: float = 1.0, batch_norm: str = "train", frozen_layers: int = 0) -> None:
        require("finetune.head_rate", head_rate, head_rate > 0, "a number above 0")
        require("finetune.frozen_layers", frozen_layers, frozen_layers >= 0, "0 or more")
        if batch_norm not in ("train", "eval"):
            raise ValueError(f"finetune.batch_norm={batch_norm}: expected train or eval")
        self.head_rate, self.batch_norm, self.frozen_layers = head_rate, batch_norm, frozen_layers

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        """Takes hold of a network whose weights are loaded; `num_epochs` is None where training counts steps.

        Raises:
            ValueError: the network has nothing that this way could train, or training ends before it has begun to.
        """
        self.backbone, self.head = backbone, head
        self.layers = layer_groups(backbone)  # from the input up
        if self.frozen_layers > len(self.layers):
            raise ValueError(
                f"finetune.frozen_layers={self.frozen_layers} is more than the {len(self.layers)} layers of the "
                "backbone: give as many or fewer"
            )
        self.freeze(self.num_frozen_layers(LAST_EPOCH))  # what trains later counts from the first step: for DDP, Adam

    def trains(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter of the backbone trains in any epoch."""
        return True

    def num_frozen_layers(self, epoch: int) -> int:
        """How many layers of the backbone, from the input up, do not train in an epoch."""
        return self.frozen_layers

    def rate(self, layer: int) -> float:
        """The learning rate of a layer of the backbone, in multiples of `optimizer.lr`."""
        return 1.0

    @property
    def builds_on_weights(self) -> bool:
        """Whether it keeps what the backbone begins with, or something near it, so that new weights make no sense."""
        return type(self) not in (Finetune, Scratch) or self.frozen_layers > 0

    @property
    def changes_with_time(self) -> bool:
        """Whether parameters that train in one epoch are frozen in another."""
        return self.num_frozen_layers(0) != self.num_frozen_layers(LAST_EPOCH)

    def rates(self) -> dict[nn.Parameter, float]:
        """The learning rate of each parameter that trains in any epoch, in multiples of `optimizer.lr`."""
        parameters = dict(self.backbone.named_parameters())
        rates = {parameters[name]: self.rate(layer) for layer, names in enumerate(self.layers) for name in names}
        rates |= dict.fromkeys(self.head.parameters(), self.head_rate)
        return {parameter: rate for parameter, rate in rates.items() if parameter.requires_grad}

    def undecayed(self) -> set[nn.Parameter]:
        """Parameters that the optimizer's weight decay leaves alone, beside those that it never touches."""
        return set()

    def at_epoch(self, epoch: int) -> None:
        """Freezes and unfreezes layers as this epoch wants them; called before each step."""
        if self.num_frozen != (num_frozen := self.num_frozen_layers(epoch)):
            self.freeze(num_frozen)

    def freeze(self, num_frozen: int) -> None:
        """Freezes so many layers of the backbone, from the input up, and lets the others train as their way wants."""
        self.num_frozen = num_frozen
        parameters = dict(self.backbone.named_parameters())
        for layer, names in enumerate(self.layers):
            for name in names:
                trains = layer >= num_frozen and self.trains(name, parameters[name])
                parameters[name].requires_grad_(trains)
                if not trains:
                    parameters[name].grad = None
        self.set_modes()

    def set_modes(self) -> None:
        """Lets frozen parts of the backbone evaluate, and others train."""
        self.backbone.train()
        trained = {name.rpartition(".")[0] for layer in self.layers[self.num_frozen :] for name in layer}
        is_below = self.num_frozen > 0  # what stands before the first layer that trains, dropout too
        for path, module in self.backbone.named_modules():
            is_below = is_below and path not in trained
            parameters = list(module.parameters())
            is_frozen = not any(parameter.requires_grad for parameter in parameters) if parameters else is_below
            if is_frozen or (self.batch_norm == "eval" and isinstance(module, nn.modules.batchnorm._BatchNorm)):
                module.eval()

    def adjust_gradients(self) -> None:
        """Adds to the gradients, after the loss has been propagated back and before they are clipped."""


class Scratch(Finetune):
    """All parameters train, from new weights, whatever the config has: what fine-tuning is compared with."""

    way = "scratch"
    uses_weights = False


class LinearProbe(Finetune):
    """The head alone trains, on features that stay as they came.

    They are computed once for each image, in training for each of `views` of its augmentation, of which every epoch
    takes the next; without `cache_features` the backbone runs in every step.
    """

    way = "linear_probe"

    def __init__(self, views: int = 1, cache_features: bool = True, head_rate: float = 1.0) -> None:
        super().__init__(head_rate)
        require("finetune.views", views, views >= 1, "1 or more")
        self.views, self.keeps_features = views, cache_features

    def num_frozen_layers(self, epoch: int) -> int:
        return len(self.layers)


class HeadThenFull(Finetune):
    """The head alone trains for `head_epochs`, then everything does: a new head's first gradients spoil no features.

    Linear probing, then fine-tuning (Kumar et al. 2022).
    """

    way = "head_then_full"

    def __init__(self, head_epochs: int = 1, head_rate: float = 1.0, batch_norm: str = "train") -> None:
        super().__init__(head_rate, batch_norm)
        require("finetune.head_epochs", head_epochs, head_epochs >= 1, "1 or more")
        self.head_epochs = head_epochs

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        fewer = f"finetune.head_epochs={num_epochs - 1}" if num_epochs and num_epochs > 1 else ""
        _check_last_stage(f"finetune.head_epochs={self.head_epochs}", self.head_epochs, num_epochs, fewer)
        super().begin(backbone, head, num_epochs)

    def num_frozen_layers(self, epoch: int) -> int:
        return len(self.layers) if epoch < self.head_epochs else 0


class Gradual(Finetune):
    """The head alone trains first, then, stage by stage, more of the backbone, from the head down to the input.

    Gradual unfreezing (Howard & Ruder 2018). There are `num_stages`, the head's among them, but at most one more than
    the backbone has layers, which are shared out evenly; each lasts `epochs_per_stage`, by default an even part of all
    epochs, the last one to the end.
    """

    way = "gradual"

    def __init__(
        self,
        num_stages: int = 4,
        epochs_per_stage: int | None = None,
        head_rate: float = 1.0,
        batch_norm: str = "train",
    ) -> None:
        super().__init__(head_rate, batch_norm)
        require("finetune.num_stages", num_stages, num_stages >= 2, "2 or more, the head's among them")
        is_length = epochs_per_stage is None or epochs_per_stage >= 1
        require("finetune.epochs_per_stage", epochs_per_stage, is_length, "1 or more, or null for even parts")
        self.num_stages, self.epochs_per_stage = num_stages, epochs_per_stage
        self.stage_epochs = epochs_per_stage or 1  # until `begin` knows how many there are

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        super().begin(backbone, head, num_epochs)
        self.stage_epochs = self.epochs_per_stage or max(1, (num_epochs or 0) // (self._last_stage + 1))
        keys = f"finetune.num_stages={self.num_stages} with finetune.epochs_per_stage={self.stage_epochs}"
        most = ((num_epochs or 0) - 1) // self.stage_epochs + 1
        fewer = f"finetune.num_stages={most}" if most > 1 else ""
        _check_last_stage(keys, self._last_stage * self.stage_epochs, num_epochs, fewer)

    @property
    def _last_stage(self) -> int:
        return min(self.num_stages - 1, len(self.layers))

    def num_frozen_layers(self, epoch: int) -> int:
        stage = min(epoch // self.stage_epochs, self._last_stage)
        return len(self.layers) * (self._last_stage - stage) // max(1, self._last_stage)


class Discriminative(Finetune):
    """Everything trains, the slower the further from the head: each layer at `decay` times the rate of the one above.

    Layer-wise learning-rate decay (Howard & Ruder 2018; Clark et al. 2020).
    """

    way = "discriminative"

    def __init__(self, decay: float = 0.75, head_rate: float = 1.0, batch_norm: str = "train") -> None:
        super().__init__(head_rate, batch_norm)
        require("finetune.decay", decay, 0 < decay <= 1, "a number above 0, up to 1")
        self.decay = decay

    def rate(self, layer: int) -> float:
        return self.decay ** (len(self.layers) - layer)


class BitFit(Finetune):
    """The biases of the backbone train, those of its norms among them, and the head (Ben Zaken et al. 2022)."""

    way = "bitfit"

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        super().begin(backbone, head, num_epochs)
        if not any(parameter.requires_grad for parameter in backbone.parameters()):
            raise ValueError("finetune=bitfit trains biases, and this backbone has none: choose another way")

    def trains(self, name: str, parameter: nn.Parameter) -> bool:
        return name.endswith(("bias", "_bias"))


class L2SP(Finetune):
    """Everything trains, and each weight w of the backbone is drawn back to where it started, w₀ (Li et al. 2018).

    Adds `alpha` · (w - w₀) to the gradients of the backbone and `beta` · w to those of the head's weights, in place of
    the optimizer's weight decay, which acts on neither.
    """

    way = "l2sp"

    def __init__(
        self, alpha: float = 0.1, beta: float = 0.01, head_rate: float = 1.0, batch_norm: str = "train"
    ) -> None:
        super().__init__(head_rate, batch_norm)
        require("finetune.alpha", alpha, alpha >= 0, "0 or more")
        require("finetune.beta", beta, beta >= 0, "0 or more")
        self.alpha, self.beta = alpha, beta
        self.has_the_papers_values = (alpha, beta) == (0.1, 0.01)

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        super().begin(backbone, head, num_epochs)
        self.start: dict[nn.Parameter, Tensor] = {
            parameter: parameter.detach().clone() for parameter in backbone.parameters()
        }

    def undecayed(self) -> set[nn.Parameter]:
        return {*self.backbone.parameters(), *self.head.parameters()}

    @torch.no_grad()
    def adjust_gradients(self) -> None:
        for parameter, start in self.start.items():
            if parameter.grad is not None:
                if start.device != parameter.device or start.stride() != parameter.stride():
                    self.start[parameter] = start = torch.empty_like(parameter).copy_(start)
                parameter.grad.add_(parameter - start, alpha=self.alpha)
        for parameter in self.head.parameters():
            if parameter.grad is not None and parameter.ndim > 1:
                parameter.grad.add_(parameter, alpha=self.beta)


class Lora(Finetune):
    """Beside each target layer trains a product of two thin matrices, `alpha` / `rank` · B A, and the head (Hu et al.
    2022); the backbone's own weights, and its batch norm's statistics, stay as they came.

    Targets are linear layers and convolutions by their names or the ends of them, as `qkv`; null: all linear layers and
    1 x 1 convolutions. B starts at zero, so the network starts as it came.
    """

    way = "lora"

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Sequence[str] | None = None,
        head_rate: float = 1.0,
    ) -> None:
        super().__init__(head_rate)
        require("finetune.rank", rank, rank >= 1, "1 or more")
        require("finetune.alpha", alpha, alpha > 0, "a number above 0")
        require("finetune.dropout", dropout, 0 <= dropout < 1, "a number from 0 to below 1")
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise ValueError("finetune=lora needs the package peft: pip install 'leyden[lora]'") from error

        names = "|".join(map(re.escape, self._find_targets(backbone)))
        settings = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # it takes any number
            lora_dropout=self.dropout,
            target_modules=names,
        )
        inject_adapter_in_model(settings, backbone)
        super().begin(backbone, head, num_epochs)

    def _find_targets(self, backbone: nn.Module) -> list[str]:
        layers = {
            name: module
            for name, module in backbone.named_modules()
            if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
        }
        if self.targets is None:
            found = [name for name, layer in layers.items() if getattr(layer, "kernel_size", (1, 1)) == (1, 1)]
            wrong = "null: this backbone has no linear layer and no 1 × 1 convolution" if not found else ""
        else:
            meant = {target: {name for name in layers if f".{name}".endswith(f".{target}")} for target in self.targets}
            found = [name for name in layers if any(name in names for names in meant.values())]
            missing = [target for target, names in meant.items() if not names]
            wrong = f"{missing[0]}: this backbone has no linear layer or convolution of that name" if missing else ""
        if wrong or not found:
            raise ValueError(f"finetune.targets={wrong or '[] names no layer'}: give names of {_some(list(layers))}")
        return found

    def trains(self, name: str, parameter: nn.Parameter) -> bool:
        return ".lora_" in name


def merge_adapters(backbone: nn.Module) -> None:
    """Folds the adapters of `Lora` into the weights beside them: the same function, in the plain network's layers."""
    for path, module in list(backbone.named_modules()):
        if hasattr(module, "get_base_layer") and hasattr(module, "merge"):
            module.merge()
            backbone.set_submodule(path, module.get_base_layer())


def _some(names: list[str]) -> str:
    """Up to six names, from both ends."""
    return ", ".join(names if len(names) <= 6 else [*names[:3], "…", *names[-3:]]) or "another backbone"


def _check_last_stage(keys: str, begins: int, num_epochs: int | None, fewer: str) -> None:
    """Refuses a stage that would begin after the last epoch, `begins` epochs from the start; `fewer` would not."""
    if num_epochs is None:
        raise ValueError(f"{keys} counts epochs, and steps=… none: give steps=null and epochs={begins + 1} or more")
    if begins >= num_epochs:
        raise ValueError(
            f"{keys}: the last stage would begin after {begins} epochs, and there are {num_epochs}: "
            f"give epochs={begins + 1} or more, or {fewer or 'finetune=full'}"
        )
