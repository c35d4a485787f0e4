"""ONNX and torch.export against the network itself, for every backbone there is."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exports import untrained
from leyden.config import CONFIG_DIRECTORY
from leyden.export.command import write
from leyden.export.images import photographs
from leyden.export.opened import Opened, open_export
from leyden.trained import Trained

pytestmark = pytest.mark.whole

SMALL = {
    "mlp": ["backbone.width=16", "backbone.batch_norm=true"],
    "cnn": ["backbone.widths=[4,8]"],
    "resnet": [],
    "wide_resnet": ["backbone.depth=10", "backbone.widen_factor=1"],
    "vit": ["backbone.width=24", "backbone.depth=2"],
    "timm": ["backbone.name=resnet10t"],
}
SLOW = ("lite0", "lite1", "lite2")
BACKBONES = [
    pytest.param(path.stem, marks=pytest.mark.slow if path.stem in SLOW else [])
    for path in sorted((CONFIG_DIRECTORY / "backbone").glob("*.yaml"))
]
NUM_IMAGES = 100


def expected(network: Trained, images: torch.Tensor) -> torch.Tensor:
    """Logits by the definition of each step."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (network.facts.mean, network.facts.std))
    with torch.inference_mode():
        return network.classifier((images / 255 - mean) / std)


def assert_answers(opened: Opened, images: torch.Tensor, logits: torch.Tensor) -> None:
    """The same logits and probabilities to 1e-4, for all images at once and for one."""
    for part in (slice(None), slice(1)):
        found, probabilities = opened.outputs_of(images[part])
        torch.testing.assert_close(found, logits[part], atol=1e-4, rtol=0)
        torch.testing.assert_close(probabilities, logits[part].softmax(1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_answers_alike_on_a_hundred_photographs(backbone: str, tmp_path: Path) -> None:
    size = 64 if backbone in SLOW else 16
    network = untrained(tmp_path, f"backbone={backbone}", *SMALL.get(backbone, []), image_size=size)
    images = photographs(network.facts, NUM_IMAGES)
    logits = expected(network, images)
    assert logits.std(0).min() > 1e-3  # of images that differ, answers do
    for format, name in {"onnx": "model.onnx", "torch_export": "model.pt2"}.items():
        write(network, format, tmp_path / name)
        assert_answers(open_export(tmp_path / name), images, logits)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_other_tasks_views_and_margins_are_in_the_graph(task: str, tmp_path: Path) -> None:
    words = ["backbone.width=16", "test_time=flips_turns", "++data.margin=1.25"]
    network = untrained(tmp_path, *words, task=task)  # type: ignore[arg-type]
    images = photographs(network.facts, 10)
    assert images.shape[2:] == (20, 20)
    for format, name in {"onnx": "model.onnx", "torch_export": "model.pt2"}.items():
        write(network, format, tmp_path / name)
        opened = open_export(tmp_path / name)
        torch.testing.assert_close(opened.logits(images), network.logits(images), atol=1e-4, rtol=0)
        assert opened.facts == network.facts


def test_onnx_needs_nothing_of_leyden(tmp_path: Path) -> None:
    network = untrained(tmp_path, "backbone.width=16")
    write(network, "onnx", tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == ["cat", "dog", "a jar: é"]
    assert json.loads(told["data"])["fingerprint"] == "f" * 64
    assert [json.loads(told[key]) for key in ("task", "image_size", "temperature")] == ["single_label", 16, 1.0]
    assert told["model_card"].startswith("---\nlibrary_name")
    (asked,) = session.get_inputs()
    assert asked.type == "tensor(uint8)"
    assert asked.shape == ["batch", 3, 16, 16]
    for count in (1, 7):
        probabilities = session.run(["probabilities"], {"images": np.zeros((count, 3, 16, 16), np.uint8)})[0]
        np.testing.assert_allclose(probabilities.sum(1), np.ones(count), atol=1e-6)


PARTS = """
import torch


class Flat(torch.nn.Flatten):
    def __init__(self, channels, image_size, **of_another):
        super().__init__()
        self.num_features = channels * image_size**2


class Singular(Flat):
    def forward(self, images):
        return super().forward(images) * torch.linalg.svdvals(images).sum((1, 2))[:, None]


class Choosy(Flat):
    def forward(self, images):
        return super().forward(images if images.mean() > 0 else -images)
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts_of_exports.py").write_text(PARTS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("backbone", "format", "sentence"),
    [
        ("Singular", "onnx", "format=onnx has no operator for aten.*linalg.*: give format=torch_export or safetensors"),
        ("Choosy", "torch_export", "this network cannot be written as a graph .*: give format=safetensors"),
    ],
)
def test_what_a_format_cannot_hold_is_one_sentence(backbone: str, format: str, sentence: str, tmp_path: Path) -> None:
    network = untrained(tmp_path, f"backbone={{_target_: parts_of_exports.{backbone}}}")
    with pytest.raises(ValueError, match=sentence) as caught:
        write(network, format, tmp_path / "model")
    assert "\n" not in str(caught.value)
