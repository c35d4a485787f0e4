"""Layers of networks: ours and timm's."""

import pytest
from torch import nn

from leyden.backbones import CNN, MLP, ResNet, TimmBackbone, ViT, WideResNet
from leyden.backbones.layers import layer_groups, layer_names

NETWORKS = {
    "mlp": (lambda: MLP(1, 8, batch_norm=True), 2),
    "cnn": (lambda: CNN(1, 8), 5),
    "resnet": (lambda: ResNet(3, 32), 9),
    "vit": (lambda: ViT(3, 32), 7),
    "wide_resnet": (lambda: WideResNet(3, 32), 7),
    "timm": (lambda: TimmBackbone(3, 224, "tf_efficientnet_lite0"), 17),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_in_one_layer(name: str) -> None:
    make, num_layers = NETWORKS[name]
    backbone: nn.Module = make()
    groups = layer_groups(backbone)
    assert sorted(name for group in groups for name in group) == sorted(key for key, _ in backbone.named_parameters())
    assert len(groups) == num_layers


def test_position_and_class_token_are_of_the_first_layer_and_the_last_norm_is_of_the_last() -> None:
    groups = layer_groups(ViT(3, 32))
    assert groups[0][:2] == ["class_token", "position_embedding"]
    assert groups[-1][-2:] == ["norm.weight", "norm.bias"]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("mlp", "layers_1", "layers_4"),
        ("cnn", "blocks_0", "blocks_4"),
        ("resnet", "conv1", "layer4_1"),
        ("vit", "patches", "blocks_5"),
        ("timm", "conv_stem", "blocks_6"),
    ],
)
def test_layers_are_called_as_their_modules(name: str, first: str, last: str) -> None:
    names = layer_names(layer_groups(NETWORKS[name][0]()))
    assert (names[0], names[-1]) == (first, last)
    assert len(set(names)) == NETWORKS[name][1]


def test_no_layer_of_a_backbone_is_called_as_the_head() -> None:
    assert layer_names([["network.stem.weight"], ["network.head.norm.weight"]]) == ["stem", "backbone_head"]
