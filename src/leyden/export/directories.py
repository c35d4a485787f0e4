"""Whole > **directories** > parity: weights and settings side by side, as safetensors or as timm has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from leyden.backbones import TimmBackbone
from leyden.heads import Number
from leyden.trained import Trained

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
OURS = "leyden"  # the key of config.json under which an export says what it is of


def write_safetensors(network: Trained, directory: Path, told: Mapping[str, Any], card: str) -> None:
    """Writes the backbone's and the head's tensors by their names in Leyden, config.json and the card."""
    parts = {"backbone": network.classifier.backbone, "head": network.classifier.head}
    tensors = {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}
    _write(directory, tensors, {"label_names": told["class_names"], OURS: dict(told)}, card)


def write_huggingface(network: Trained, directory: Path, told: Mapping[str, Any], card: str) -> None:
    """Writes a directory as those on Hugging Face's hub: `timm.create_model('local-dir:<directory>', pretrained=True)`
    loads it where the backbone is timm's, with our head as its classifier. Other backbones are written as safetensors.

    Raises:
        ValueError: timm's network has no linear classifier, or our head is none.
    """
    if not isinstance(network.classifier.backbone, TimmBackbone):
        write_safetensors(network, directory, told, card)
        return
    from timm.models import save_for_hf

    model = as_timm_model(network)
    facts = network.facts
    save_for_hf(
        model,
        str(directory),
        {"label_names": list(facts.class_names)},
        safe_serialization=True,
        data_config={
            "input_size": (facts.channels, facts.image_size, facts.image_size), "mean": facts.mean, "std": facts.std,
            "interpolation": "bicubic", "crop_pct": facts.image_size / facts.stored_size, "crop_mode": "center",
        },
    )  # fmt: skip
    config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    tensors = model.state_dict()
    _write(directory, tensors, config | {OURS: dict(told)}, card)


def as_timm_model(network: Trained) -> nn.Module:
    """timm's own network of the backbone's name, with the backbone's weights, and the head's as its classifier's."""
    import timm

    backbone = network.classifier.backbone
    assert isinstance(backbone, TimmBackbone)
    name, facts = backbone.name, network.facts
    linear = as_linear(network.classifier.head)
    model = timm.create_model(name, pretrained=False, num_classes=facts.num_outputs, **backbone.arguments)
    classifier: Any = model.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear) or classifier.weight.shape != linear.weight.shape:
        raise ValueError(
            f"format=huggingface needs a network with a linear classifier, which {name} of timm has not: give "
            "format=safetensors"
        )
    classifier.load_state_dict(linear.state_dict())
    of_classifier = {f"{path}.{part}" for path, module in model.named_modules() if module is classifier
                     for part in ("weight", "bias")}  # fmt: skip
    found = model.load_state_dict(backbone.network.state_dict(), strict=False)
    if set(found.missing_keys) != of_classifier or found.unexpected_keys:
        raise ValueError(
            f"format=huggingface: {name} of timm has other layers with a classifier than without: give "
            "format=safetensors"
        )
    return model.eval()


def as_linear(head: nn.Module) -> nn.Linear:
    """The one linear layer that a head is when it evaluates; its norm, and the unit of numbers, folded into it.

    Raises:
        ValueError: it is more than that.
    """
    number = head if isinstance(head, Number) else None
    inner: Any = number.head if number else head
    layers: list[Any] = (
        [layer for layer in inner if not isinstance(layer, nn.Dropout)] if isinstance(inner, nn.Sequential) else []
    )
    kinds = [type(layer) for layer in layers]
    if kinds not in ([nn.Linear], [nn.BatchNorm1d, nn.Linear]):
        raise ValueError(
            f"format=huggingface needs a head that is linear, as head=linear or normed, and this one is a "
            f"{type(inner).__name__}: give format=safetensors"
        )
    weight, bias = layers[-1].weight.double(), layers[-1].bias.double()
    if kinds[0] is nn.BatchNorm1d:
        weight, bias = _fold(layers[0], weight, bias)
    if number:
        weight, bias = number.deviation * weight, number.deviation * bias + number.mean
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return linear


def _fold(norm: nn.BatchNorm1d, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A linear layer after a batch norm as one: W (x − mean) / deviation + b."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
        bias = bias + weight @ norm.bias.double()
    scaled = weight * scale
    return scaled, bias - scaled @ norm.running_mean.double()


def _write(directory: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], card: str) -> None:
    """The three files; tensors that share memory are written each by itself, which safetensors wants."""
    directory.mkdir(parents=True, exist_ok=True)
    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"format": "pt", OURS: json.dumps(config[OURS], ensure_ascii=False)}
    save_file(own, directory / WEIGHTS, metadata)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (directory / CONFIG).write_text(text + "\n", encoding="utf-8")
    (directory / CARD).write_text(card, encoding="utf-8")
