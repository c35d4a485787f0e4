"""A ConvMixer: patches of an image, mixed in space and across channels in turn (Trockman and Kolter 2022)."""

from torch import Tensor, nn


class ConvMixer(nn.Module):
    """Patches, then `depth` pairs of a depthwise convolution with a shortcut and one of single pixels, then their mean.

    Leyden gives `channels` and `image_size`; what follows is what conf/backbone/conv_mixer.yaml may set.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        width: int = 64,
        depth: int = 4,
        kernel_size: int = 3,
        patch_size: int = 1,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"backbone.kernel_size={kernel_size}: give an odd number, which has a middle")
        if image_size % patch_size:
            raise ValueError(f"backbone.patch_size={patch_size} does not divide images of {image_size} pixels")
        self.patches = nn.Sequential(nn.Conv2d(channels, width, patch_size, stride=patch_size), *_after(width))
        self.blocks = nn.Sequential(*(Block(width, kernel_size) for _ in range(depth)))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.num_features = width  # which Leyden's head asks for

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, width]."""
        return self.pool(self.blocks(self.patches(images)))


class Block(nn.Module):
    """Mixes in space, each channel by itself, and then across channels, each place by itself."""

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(width, width, kernel_size, groups=width, padding="same")
        self.in_space = nn.Sequential(depthwise, *_after(width))
        self.across_channels = nn.Sequential(nn.Conv2d(width, width, 1), *_after(width))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, width, H, W] to maps of the same shape."""
        return self.across_channels(self.in_space(maps) + maps)


def _after(width: int) -> tuple[nn.Module, nn.Module]:
    """What follows each convolution."""
    return nn.GELU(), nn.BatchNorm2d(width)
