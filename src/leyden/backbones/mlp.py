"""Augment > **backbone** > head: a multilayer perceptron."""

from torch import Tensor, nn

from leyden.backbones.parts import activation_class
from leyden.config import require


class MLP(nn.Module):
    """Hidden layers of equal width over the pixels in one row; weights start as PyTorch's linear layers do."""

    def __init__(
        self,
        channels: int,
        image_size: int,
        depth: int = 2,
        width: int = 512,
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        require("backbone.depth", depth, depth >= 1, "1 or more")
        require("backbone.width", width, width >= 1, "1 or more")
        require("backbone.dropout", dropout, 0 <= dropout < 1, "a number from 0 to below 1")
        make_activation = activation_class(activation)
        layers: list[nn.Module] = [nn.Flatten()]
        num_inputs = channels * image_size**2
        for _ in range(depth):
            layers.append(nn.Linear(num_inputs, width, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(make_activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
            num_inputs = width
        self.layers = nn.Sequential(*layers)
        self.num_features = width

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, width]."""
        return self.layers(images)
