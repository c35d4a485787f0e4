"""Backbone > **head** > loss: from features to one logit per class, or to a number."""

import torch
from torch import Tensor, nn

from leyden.config import require


class LinearHead(nn.Sequential):
    """Dropout and one linear layer: features [B, num_features] to logits [B, num_classes]."""

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.0) -> None:
        require("head.dropout", dropout, 0 <= dropout < 1, "a number from 0 to below 1")
        linear = nn.Linear(num_features, num_classes)
        super().__init__(*([nn.Dropout(dropout), linear] if dropout else [linear]))


class NormedHead(nn.Sequential):
    """Each feature to mean 0 and deviation 1, then dropout and one linear layer, as in the probes of He et al. 2022.

    Features of a frozen backbone differ in scale by orders of magnitude, which one learning rate cannot serve. The
    layer begins at zero (as in Kolesnikov et al. 2020), so that nothing is in its answers but what labels have taught.
    """

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.0) -> None:
        norm = nn.BatchNorm1d(num_features, affine=False, momentum=None)  # the mean over all batches seen
        super().__init__(norm, *LinearHead(num_features, num_classes, dropout))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Number(nn.Module):
    """What any head's single output [B, 1] means where a number is learnt: mean + deviation · output, [B].

    Mean and standard deviation are those of the training labels, so the network learns numbers about zero and answers
    in the labels' own units, here and wherever it is used later.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def fit_labels(self, labels: Tensor) -> None:
        """Takes its unit from the training labels [N]."""
        self.mean.fill_(float(labels.double().mean()))
        self.deviation.fill_(deviation(labels))

    def forward(self, features: Tensor) -> Tensor:
        # Not in half precision, which has two or three digits.
        return self.mean + self.deviation * self.head(features).flatten().float()


def deviation(labels: Tensor) -> float:
    """The standard deviation of numbers [N]; 1 where they are all the same."""
    found = float(labels.double().std(correction=0))
    return found if found > 0 else 1.0
