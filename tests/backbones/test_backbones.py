"""Backbones: the published networks with the same weights, any channels and size, features as announced."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from leyden.backbones import CNN, MLP, ResNet, TimmBackbone, ViT, WideResNet

SMALL: dict[str, Callable[[int, int], nn.Module]] = {
    "mlp": lambda channels, size: MLP(channels, size, depth=2, width=32, dropout=0.1, batch_norm=True),
    "cnn": lambda channels, size: CNN(channels, size, widths=(8, 16)),
    "resnet18": lambda channels, size: ResNet(channels, size, depth=18),
    "resnet50": lambda channels, size: ResNet(channels, size, depth=50, small_images=False),
    "wide_resnet": lambda channels, size: WideResNet(channels, size, depth=10, widen_factor=1, dropout=0.1),
    "vit": lambda channels, size: ViT(
        channels, size, 4, width=32, depth=2, num_heads=2, dropout=0.1, stochastic_depth=0.1
    ),
    "timm resnet": lambda channels, size: TimmBackbone(channels, size, "resnet10t"),
    "timm vit": lambda channels, size: TimmBackbone(channels, size, "test_vit"),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (4, 48)])
def test_any_channels_and_size_forward_and_backward(name: str, channels: int, size: int) -> None:
    backbone = SMALL[name](channels, size)
    images = torch.randn(3, channels, size, size)
    features = backbone(images)
    assert features.shape == (3, backbone.num_features)
    features.square().sum().backward()
    for parameter in backbone.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded_weights_give_the_same_features(name: str, tmp_path: Path) -> None:
    first, second = SMALL[name](1, 16), SMALL[name](1, 16)
    first(torch.randn(8, 1, 16, 16))  # moves the running statistics
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    images = torch.randn(4, 1, 16, 16)
    assert torch.equal(first.eval()(images), second.eval()(images))


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_gives_the_same_features(name: str) -> None:
    backbone, images = SMALL[name](3, 16).eval(), torch.randn(4, 3, 16, 16)
    expected = backbone(images)
    last = backbone.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


def close(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_equals_torchvisions(depth: int) -> None:
    reference = getattr(torchvision.models, f"resnet{depth}")()
    reference.fc = nn.Identity()
    ours = ResNet(3, 64, depth, small_images=False)
    ours.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 64, 64)
    close(ours.eval()(images), reference.eval()(images))


def test_small_image_resnet_equals_torchvisions_with_its_stem_replaced() -> None:
    reference = torchvision.models.resnet18()
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool, reference.fc = nn.Identity(), nn.Identity()
    ours = ResNet(3, 32, 18)
    ours.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 32, 32)
    ours.train(), reference.train()
    close(ours(images), reference(images))


def timm_names(name: str) -> str:
    """Our ViT's parameter names in timm's words."""
    pairs = {
        "patches": "patch_embed.proj", "class_token": "cls_token", "position_embedding": "pos_embed",
        "attention": "attn", "projection": "proj", "mlp.0": "mlp.fc1", "mlp.3": "mlp.fc2",
    }  # fmt: skip
    for ours, theirs in pairs.items():
        name = name.replace(ours, theirs)
    return name


def test_vit_equals_timms() -> None:
    reference = timm.models.VisionTransformer(
        img_size=32, patch_size=4, in_chans=3, num_classes=0, embed_dim=48, depth=3, num_heads=4
    )
    ours = ViT(3, 32, patch_size=4, width=48, depth=3, num_heads=4)
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    weights = reference.state_dict()
    ours.load_state_dict({name: weights[timm_names(name)] for name in ours.state_dict()})
    images = torch.randn(4, 3, 32, 32)
    close(ours.eval()(images), reference.eval()(images))


def test_vit_skips_whole_branches_in_training_and_keeps_their_mean() -> None:
    torch.manual_seed(0)
    backbone = ViT(1, 8, 4, width=12, depth=2, num_heads=2, stochastic_depth=0.4)
    block = backbone.blocks[1]
    assert block.skip == 0.4
    kept = block._skip(torch.ones(20_000, 1, 1))
    assert sorted({round(value, 4) for value in kept.flatten().tolist()}) == [0.0, 1.6667]
    assert abs(kept.mean() - 1) < 0.03


@pytest.mark.parametrize(("depth", "widen_factor", "millions"), [(28, 10, 36.5), (16, 4, 2.7), (40, 4, 8.9)])
def test_wide_resnet_has_the_published_number_of_parameters(depth: int, widen_factor: int, millions: float) -> None:
    """Zagoruyko & Komodakis 2016, tables 4 and 5; their count includes the classifier of ten classes."""
    with torch.device("meta"):
        backbone = WideResNet(3, 32, depth, widen_factor)
    count = sum(parameter.numel() for parameter in backbone.parameters()) + 10 * (backbone.num_features + 1)
    assert abs(count / 1e6 - millions) <= 0.06


def test_mlp_is_what_its_settings_say() -> None:
    backbone = MLP(1, 8, depth=3, width=16, activation="tanh", dropout=0.5, batch_norm=True)
    kinds = [type(layer).__name__ for layer in backbone.layers]
    assert kinds == ["Flatten", *["Linear", "BatchNorm1d", "Tanh", "Dropout"] * 3]


def test_timm_backbone_has_timms_features() -> None:
    torch.manual_seed(0)
    ours = TimmBackbone(3, 64, "resnet18")
    torch.manual_seed(0)
    reference = timm.create_model("resnet18", num_classes=0)
    images = torch.randn(2, 3, 64, 64)
    close(ours.eval()(images), reference.eval()(images))
    assert ours.num_features == 512


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: TimmBackbone(3, 32, "resnet81"), "did you mean 'resnet"),
        (lambda: ResNet(3, 32, depth=20), "18, 34 or 50"),
        (lambda: WideResNet(3, 32, depth=17), "6 n [+] 4"),
        (lambda: WideResNet(3, 32, dropout=1.0), "backbone.dropout=1.0"),
        (lambda: ViT(3, 30, patch_size=4), "patch_size=4 does not divide the image size 30"),
        (lambda: ViT(3, 32, num_heads=5), "num_heads=5 does not divide"),
        (lambda: ViT(3, 32, width=0), "backbone.width=0 is out of range: give 1 or more"),
        (lambda: ViT(3, 32, mlp_ratio=-1), "backbone.mlp_ratio=-1 is out of range"),
        (lambda: MLP(1, 8, activation="relo"), "did you mean 'relu'"),
        (lambda: MLP(1, 8, depth=0), "backbone.depth=0"),
        (lambda: CNN(1, 4, widths=(8, 8, 8, 8)), "4 pixels are too few"),
        (lambda: CNN(1, 8, widths=()), "at least one stage"),
    ],
)
def test_settings_that_make_no_network_are_refused(make: Callable[[], nn.Module], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make()
