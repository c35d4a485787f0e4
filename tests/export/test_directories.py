"""Directories of weights: what safetensors and timm themselves read of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open

from exports import untrained
from leyden.export.command import write
from leyden.export.images import photographs
from leyden.export.opened import open_export
from leyden.heads import LinearHead

TIMM: dict[str, dict[str, Any]] = {
    "a convolutional network": {"name": "resnet10t", "words": []},
    "a transformer of this size": {"name": "test_vit", "words": ["head.dropout=0.5"]},
    "grey images": {"name": "resnet10t", "words": [], "channels": 1},
    "a normed head": {"name": "resnet10t", "words": ["head=normed", "data.margin=1.25", "data=image_folder"]},
    "a number": {"name": "resnet10t", "words": [], "task": "regression"},
}


@pytest.mark.parametrize("kind", TIMM)
def test_timm_loads_its_own_network_with_our_head(kind: str, tmp_path: Path) -> None:
    words = ["backbone=timm", f"backbone.name={TIMM[kind]['name']}", *TIMM[kind]["words"]]
    facts = {key: TIMM[kind][key] for key in ("channels", "task") if key in TIMM[kind]}
    network = untrained(tmp_path / "run", *words, image_size=32, **facts)
    directory = tmp_path / "with a space é"
    write(network, "huggingface", directory)
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).eval()
    images = photographs(network.facts, 10)
    with torch.inference_mode():
        expected = network.classifier(network.classifier.augment.normalize(images))
        found = model(network.classifier.augment.normalize(images))
    torch.testing.assert_close(found.view_as(expected), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(open_export(directory).logits(images), expected, atol=1e-4, rtol=1e-4)
    asked = timm.data.resolve_model_data_config(model)
    assert asked["input_size"] == (network.facts.channels, 32, 32)
    assert asked["mean"] == pytest.approx(network.facts.mean)
    assert round(32 / asked["crop_pct"]) == network.facts.stored_size
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert config.get("label_names", []) == list(network.facts.class_names)
    assert "timm.create_model" in (directory / "README.md").read_text(encoding="utf-8")


def test_safetensors_say_what_they_are_of(tmp_path: Path) -> None:
    network = untrained(tmp_path / "run", "backbone.width=8")
    write(network, "safetensors", tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        told = json.loads(file.metadata()["leyden"])
        assert set(file.keys()) == {
            f"{part}.{name}" for part in ("backbone", "head") for name in getattr(network.classifier, part).state_dict()
        }
    assert told["class_names"] == ["cat", "dog", "a jar: é"]
    assert told["data"] == {"name": "rooms", "fingerprint": "f" * 64}


def test_adapters_are_folded_in(tmp_path: Path) -> None:
    words = ["backbone=vit", "backbone.width=12", "backbone.depth=1", "finetune=lora"]
    network = untrained(tmp_path / "run", *words)
    write(network, "safetensors", tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "lora" in name or "base_layer" in name]  # noqa: SIM118
    images = photographs(network.facts, 5)
    torch.testing.assert_close(open_export(tmp_path / "out").logits(images), network.logits(images))


def test_a_head_that_is_no_linear_layer_is_not_timms(tmp_path: Path) -> None:
    network = untrained(tmp_path / "run", "backbone=timm", "backbone.name=resnet10t", image_size=32)
    network.classifier.head = torch.nn.Sequential(*LinearHead(512, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with pytest.raises(ValueError, match=r"needs a head that is linear, .* this one is a Sequential: give format=safe"):
        write(network, "huggingface", tmp_path / "out")
    assert not (tmp_path / "out").exists()
