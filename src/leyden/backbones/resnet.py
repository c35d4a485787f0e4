"""Augment > **backbone** > head: residual networks (He et al. 2016), with torchvision's parameter names."""

from torch import Tensor, nn

from leyden.backbones.parts import he_initialise
from leyden.config import require

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, num_inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(num_inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(num_inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, beside a shortcut; the stride is the 3 x 3's."""

    expansion = 4

    def __init__(self, num_inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(num_inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(num_inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """ResNet-18, -34 or -50; `small_images` keeps the resolution in the stem, for images of up to 64 pixels or so.

    Weights start from He et al. 2015; the last batch norm of each block starts at one, as in torchvision.
    """

    def __init__(self, channels: int, image_size: int, depth: int = 18, small_images: bool = True) -> None:
        super().__init__()
        require("backbone.depth", depth, depth in STAGES, "18, 34 or 50")
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if depth >= 50 else BasicBlock
        self.conv1 = _conv(channels, 64, 3) if small_images else _conv(channels, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        stages: list[nn.Sequential] = []
        num_inputs = 64
        for stage, num_blocks in enumerate(STAGES[depth]):
            width, blocks = 64 * 2**stage, list[nn.Module]()
            for position in range(num_blocks):
                blocks.append(block(num_inputs, width, stride=2 if stage and not position else 1))
                num_inputs = width * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.num_features = num_inputs
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, 512], or [B, 2048] for depth 50."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.mean((2, 3))


def _conv(num_inputs: int, width: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(num_inputs, width, size, stride, padding=size // 2, bias=False)


def _shortcut(num_inputs: int, width: int, stride: int) -> nn.Sequential | None:
    """A 1 x 1 convolution where the shape changes; the identity needs nothing."""
    if stride == 1 and num_inputs == width:
        return None
    return nn.Sequential(_conv(num_inputs, width, 1, stride), nn.BatchNorm2d(width))
