"""Augment > **backbone** > head: any network of timm, without its classifier."""

import inspect
from typing import Any

from torch import Tensor, nn

from leyden.config import suggest


class TimmBackbone(nn.Module):
    """The network that timm calls `name`, with its own pooling; timm is imported by the first of these."""

    def __init__(self, channels: int, image_size: int, name: str, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise ValueError(f"backbone.name={name}: timm has no such network: {suggest(name, timm.list_models())}")
        sized: dict[str, Any] = {"img_size": image_size} if _takes_image_size(name) else {}
        try:
            self.network = timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=0, **sized)
        except Exception as error:  # timm and its hub raise many kinds
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"backbone.name={name} cannot be made for {channels} x {image_size} x {image_size} images"
                f"{' with pretrained weights' if pretrained else ''} ({reason}): choose another name or image size"
            ) from error
        self.num_features = self._count_features(name, channels, image_size)

    def _count_features(self, name: str, channels: int, image_size: int) -> int:
        """The width of what the network returns, found by running it once: timm's attribute is not always right."""
        import torch

        self.network.eval()
        try:
            with torch.no_grad():
                features = self.network(torch.zeros(1, channels, image_size, image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"backbone.name={name} cannot take {image_size} x {image_size} images ({reason}): choose another"
            ) from error
        finally:
            self.network.train()
        return features.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, num_features]."""
        return self.network(images)

    def layer_groups(self) -> list[list[str]]:
        """The names of all parameters, layer by layer from the input up, as timm groups them."""
        from timm.models import group_parameters

        groups = group_parameters(self.network, self.network.group_matcher(coarse=False))  # type: ignore[operator]
        return [[f"network.{name}" for name in groups[layer]] for layer in sorted(groups)]


def _takes_image_size(name: str) -> bool:
    """Whether a network must be told its image size, as those with position embeddings must."""
    from timm.models import model_entrypoint

    source = inspect.getmodule(model_entrypoint(name))
    return any(
        "img_size" in inspect.signature(kind.__init__).parameters
        for kind in vars(source).values()
        if inspect.isclass(kind)
        and issubclass(kind, nn.Module)
        and kind.__module__ == source.__name__  # type: ignore[union-attr]
        and "num_classes" in inspect.signature(kind.__init__).parameters
    )
