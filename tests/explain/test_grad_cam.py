"""Grad-CAM against captum's for convolutions, and against its own equations for a transformer's tokens."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn import functional as F

from leyden.backbones import CNN, MLP, ResNet, TimmBackbone, ViT
from leyden.explain.grad_cam import grad_cam, spatial_layer

IMAGES = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
ANSWERS = torch.tensor([2, 0, 1])


def with_head(backbone: nn.Module) -> nn.Module:
    """Backbone and head, evaluating, from a fixed seed."""
    torch.manual_seed(0)
    for module in backbone.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return nn.Sequential(backbone, nn.Linear(backbone.num_features, 3)).eval()  # type: ignore[arg-type]


def scaled(maps: Tensor) -> Tensor:
    """As `grad_cam` gives them: as large as the images, the largest value 1."""
    maps = F.interpolate(maps, (16, 16), mode="bilinear", align_corners=False)[:, 0]
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)


@pytest.mark.parametrize(("backbone", "side"), [(CNN(1, 16, widths=[4, 8]), 8), (ResNet(1, 16), 2)])
def test_of_convolutions_it_is_captums(backbone: nn.Module, side: int) -> None:
    network = with_head(backbone)
    layer = spatial_layer(network, IMAGES, ANSWERS)
    assert layer is not None
    assert (layer.height, layer.width) == (side, side)
    theirs = LayerGradCam(network, network.get_submodule(layer.name)).attribute(IMAGES, ANSWERS, relu_attributions=True)
    torch.testing.assert_close(grad_cam(network, IMAGES, ANSWERS, layer.name), scaled(theirs.detach()))


def test_of_a_transformer_the_tokens_of_patches_are_the_places() -> None:
    network = with_head(ViT(1, 16, patch_size=4, width=12, depth=2, num_heads=2))
    layer = spatial_layer(network, IMAGES, ANSWERS)
    assert layer is not None
    assert layer == ("0.blocks.1.norm1", 4, 4)  # what follows it goes into the answer by the class token alone
    kept = []
    hook = network.get_submodule(layer.name).register_forward_hook(lambda *call: kept.append(call[-1]))
    outputs = network(IMAGES.clone().requires_grad_())
    hook.remove()
    (slopes,) = torch.autograd.grad(outputs.gather(1, ANSWERS[:, None]).sum(), kept)
    patches, slopes = kept[0][:, -16:], slopes[:, -16:]
    maps = torch.einsum("bd,bpd->bp", slopes.mean(1), patches).relu().view(3, 1, 4, 4).detach()
    torch.testing.assert_close(grad_cam(network, IMAGES, ANSWERS, layer.name), scaled(maps))


def test_what_lies_within_the_attention_of_timms_transformers_is_no_place() -> None:
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    network = with_head(TimmBackbone(1, 32, "vit_tiny_patch16_224"))
    assert spatial_layer(network, images, ANSWERS[:2]) == ("0.network.blocks.11.norm1", 2, 2)


def test_a_network_without_places_has_none() -> None:
    assert spatial_layer(with_head(MLP(1, 16, width=8, depth=2)), IMAGES, ANSWERS) is None
