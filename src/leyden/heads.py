"""Backbone > **head** > loss: from features to one logit per class."""

from torch import nn


class LinearHead(nn.Sequential):
    """Dropout and one linear layer: features [B, num_features] to logits [B, num_classes]."""

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.0) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"head.dropout={dropout} is out of range: give a number from 0 to below 1")
        linear = nn.Linear(num_features, num_classes)
        super().__init__(*([nn.Dropout(dropout), linear] if dropout else [linear]))
