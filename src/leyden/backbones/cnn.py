"""Augment > **backbone** > head: a small convolutional network, made for accuracy per second on a CPU."""

from collections.abc import Sequence

from torch import Tensor, nn

from leyden.backbones.parts import activation_class, he_initialise
from leyden.config import require


class CNN(nn.Module):
    """Stages of 3 x 3 convolutions with batch norm; every stage but the last halves the image.

    The first stage is one convolution, since at full resolution each costs most, and pooling comes before the
    normalisation, which then works on a quarter of the pixels. The features are each channel's largest response.
    Weights start from He et al. 2015.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        widths: Sequence[int] = (32, 64, 128),
        convolutions_per_stage: int = 2,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        for width in widths:
            require("backbone.widths", width, width >= 1, "1 or more channels for each stage")
        require("backbone.widths", len(widths), len(widths) >= 1, "at least one stage")
        require("backbone.convolutions_per_stage", convolutions_per_stage, convolutions_per_stage >= 1, "1 or more")
        smallest = 2 ** (len(widths) - 1)
        if image_size < smallest:
            raise ValueError(
                f"backbone.widths has {len(widths)} stages, which halve an image {len(widths) - 1} times: "
                f"{image_size} pixels are too few, give fewer stages"
            )
        make_activation = activation_class(activation)
        blocks: list[nn.Module] = []
        num_inputs = channels
        for stage, width in enumerate(widths):
            count = convolutions_per_stage if stage else 1
            for position in range(count):
                pools = position == count - 1 and stage < len(widths) - 1
                blocks.append(_block(num_inputs, width, pools, make_activation))
                num_inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.num_features = num_inputs
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, widths[-1]]."""
        return self.blocks(images).amax((2, 3))


def _block(num_inputs: int, width: int, pools: bool, make_activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(num_inputs, width, 3, padding=1, bias=False)]
    if pools:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.BatchNorm2d(width), make_activation())
