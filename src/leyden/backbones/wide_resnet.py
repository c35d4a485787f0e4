"""Augment > **backbone** > head: wide residual networks for small images (Zagoruyko & Komodakis 2016)."""

from torch import Tensor, nn

from leyden.backbones.parts import he_initialise
from leyden.config import require


class WideBlock(nn.Module):
    """Norm, activation and 3 x 3 convolution, twice, with dropout between, beside a shortcut."""

    def __init__(self, num_inputs: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(num_inputs), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(num_inputs, width, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.relu = nn.ReLU()
        changes = stride > 1 or num_inputs != width
        self.shortcut = nn.Conv2d(num_inputs, width, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.norm1(x))
        # where the shape changes, the shortcut too starts from the activated input
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        x = self.conv1(activated)
        x = self.conv2(self.dropout(self.relu(self.norm2(x))))
        return x + shortcut


class WideResNet(nn.Module):
    """WRN-depth-widen_factor: three stages of 16, 32 and 64 times `widen_factor` channels; He et al. 2015 weights."""

    def __init__(
        self, channels: int, image_size: int, depth: int = 16, widen_factor: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        require("backbone.depth", depth, depth >= 10 and depth % 6 == 4, "6 n + 4, as 10, 16, 22, 28 or 40")
        require("backbone.widen_factor", widen_factor, widen_factor >= 1, "1 or more")
        require("backbone.dropout", dropout, 0 <= dropout < 1, "a number from 0 to below 1")
        blocks: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False)]
        num_inputs = 16
        for stage in range(3):
            width = 16 * 2**stage * widen_factor
            for position in range((depth - 4) // 6):
                blocks.append(WideBlock(num_inputs, width, 2 if stage and not position else 1, dropout))
                num_inputs = width
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(num_inputs), nn.ReLU())
        self.num_features = num_inputs
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, 64 · widen_factor]."""
        return self.blocks(images).mean((2, 3))
