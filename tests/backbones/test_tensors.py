"""Tensors into a network: what fits, what is adapted, what is refused."""

from pathlib import Path

import pytest
import timm
import torch

from leyden.backbones import CNN, TimmBackbone, ViT
from leyden.backbones.tensors import put


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"only its digest is asked for")
    return path


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_prefix_of_the_names_is_found(prefix: str, file: Path) -> None:
    given, network = CNN(1, 8), CNN(1, 8)
    fit = put(network, {prefix + name: value for name, value in given.state_dict().items()}, "there", file)
    assert fit.num_tensors == len(given.state_dict())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in given.state_dict().items())


def test_classifier_is_left_out(file: Path) -> None:
    full = timm.create_model("resnet18", num_classes=7)
    fit = put(TimmBackbone(3, 32, "resnet18").network, full.state_dict(), "there", file)
    assert fit.left_out == ["fc.weight", "fc.bias"]


def test_two_channels_become_one_that_answers_as_both_did(file: Path) -> None:
    given, network = CNN(2, 8).eval(), CNN(1, 8).eval()
    fit = put(network, given.state_dict(), "there", file)
    grey = torch.rand(4, 1, 8, 8)
    assert torch.allclose(network(grey), given(grey.expand(-1, 2, -1, -1)), atol=1e-6)
    assert fit.adapted == "blocks.0.0.weight summed over its 2 channels"


@pytest.mark.parametrize(("channels", "wanted"), [(4, 1), (5, 1), (1, 3), (4, 3)])
def test_channels_that_cannot_be_adapted_are_refused(channels: int, wanted: int, file: Path) -> None:
    words = rf"first that does not: blocks\.0\.0\.weight, \(32, {channels}, 3, 3\) there, \(32, {wanted}, 3, 3\) here"
    with pytest.raises(ValueError, match=words):
        put(CNN(wanted, 8), CNN(channels, 8).state_dict(), "there", file)


def test_position_embeddings_are_resized_as_timm_does(file: Path) -> None:
    given, network = ViT(3, 32), ViT(3, 48)
    fit = put(network, given.state_dict(), "there", file)
    expected = timm.layers.resample_abs_pos_embed(given.position_embedding, [12, 12], num_prefix_tokens=1)
    assert torch.equal(network.position_embedding, expected)
    assert fit.resized == "position_embedding from 8 x 8 to 12 x 12"


@pytest.mark.parametrize(
    ("given", "wanted", "words"),
    [
        ("resnet18", "resnet34", r"120 of the backbone's 216 tensors fit, .* first that does not: layer1\.2"),
        ("resnet34", "resnet18", r"120 of the backbone's 120 tensors fit, 96 of its own have no place"),
        ("resnet18", "resnet50", r"97 of the backbone's 318 tensors fit"),
    ],
)
def test_weights_of_another_architecture_are_refused(given: str, wanted: str, words: str, file: Path) -> None:
    tensors = timm.create_model(given).state_dict()
    with pytest.raises(ValueError, match=f"weights.pth is of another architecture: {words}"):
        put(TimmBackbone(3, 32, wanted).network, tensors, "there", file)
