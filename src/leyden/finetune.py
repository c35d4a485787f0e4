"""Backbone, head > **fine-tuning** > optimizer: which parameters train, in which epochs, and how fast."""

from torch import nn

from leyden.backbones.layers import layer_groups

LAST_EPOCH = 2**31


class Finetune:
    """All parameters train from the first step: full fine-tuning, and training from scratch; its kinds restrict that.

    What is frozen is a function of the epoch alone, so a resumed run finds it again. The head learns at `head_rate`
    times `optimizer.lr`. A frozen layer evaluates: it neither learns nor drops, and its batch norm's statistics do not
    drift; those of the layers that train are the batch's (`batch_norm=train`) or stay as they came (`eval`).
    """

    def __init__(self, head_rate: float = 1.0, batch_norm: str = "train") -> None:
        if not head_rate > 0:
            raise ValueError(f"finetune.head_rate={head_rate} is out of range: give a number above 0")
        if batch_norm not in ("train", "eval"):
            raise ValueError(f"finetune.batch_norm={batch_norm}: expected train or eval")
        self.head_rate, self.batch_norm = head_rate, batch_norm

    def begin(self, backbone: nn.Module, head: nn.Module, num_epochs: int | None) -> None:
        """Takes hold of a network whose weights are loaded; `num_epochs` is None where training counts steps.

        Raises:
            ValueError: the network has nothing that this way could train, or training ends before it has begun to.
        """
        self.backbone, self.head = backbone, head
        self.layers = layer_groups(backbone)  # from the input up
        self.freeze(self.num_frozen_layers(LAST_EPOCH))  # what trains later counts from the first step: for DDP, Adam

    def trains(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter of the backbone trains in any epoch."""
        return True

    def num_frozen_layers(self, epoch: int) -> int:
        """How many layers of the backbone, from the input up, do not train in an epoch."""
        return 0

    def rate(self, layer: int) -> float:
        """The learning rate of a layer of the backbone, in multiples of `optimizer.lr`."""
        return 1.0

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
        for module in self.backbone.modules():
            parameters = list(module.parameters())
            is_frozen = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
            if is_frozen or (self.batch_norm == "eval" and isinstance(module, nn.modules.batchnorm._BatchNorm)):
                module.eval()

    def adjust_gradients(self) -> None:
        """Adds to the gradients, after the loss has been propagated back and before they are clipped."""


class LinearProbe(Finetune):
    """The head alone trains, on features that stay as they came."""

    def num_frozen_layers(self, epoch: int) -> int:
        return len(self.layers)
