"""Exported files > **opened** > evaluate, predict, serve: what `leyden export` has written, ready to answer again."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from leyden.data.facts import DataFacts
from leyden.export.directories import CARD, CONFIG, OURS, WEIGHTS
from leyden.export.graphs import CARD_KEY, DESCRIPTION, require
from leyden.export.whole import FORMAT, WholeNetwork, facts_described, test_time_described
from leyden.finetune import merge_adapters
from leyden.trained import build_again

GRAPHS = (".onnx", ".pt2")  # endings of files that hold a whole network

Function = Callable[[Tensor], tuple[Tensor, ...]]


class Opened:
    """The network of an export, on the CPU, in single precision; a `Network` as `leyden.trained.Trained` is one.

    `told` is what the export says of itself, `run` and `config` what it says of the run that it was made from.
    """

    def __init__(self, path: Path, told: Mapping[str, Any], card: str, function: Function) -> None:
        self.path, self.told, self.card, self.outputs_of = path, told, card, function
        self.run: dict[str, Any] = told["run"]
        config = OmegaConf.create(self.run["config"])
        assert isinstance(config, DictConfig)
        self.config = config
        self.facts = facts_described(told)
        self.record: dict[str, Any] = {}  # an export has no run.json beside it
        self.thresholds: list[float] | None = told.get("thresholds")  # of several labels: the probability of each
        self.is_calibrated: bool = told["is_calibrated"]  # whether validation images have chosen its temperature

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, K], divided by the temperature, or numbers [B], of uint8 images [B, C, stored, stored]."""
        with torch.inference_mode():
            return self.outputs_of(images.cpu())[0]


def is_export(source: Path) -> bool:
    """Whether a path is that of something that `leyden export` writes, by its name or what lies in it."""
    if source.is_file():
        return source.suffix in GRAPHS
    return (source / CONFIG).is_file() and (source / WEIGHTS).is_file()


def open_export(source: Path) -> Opened:
    """Opens an .onnx file (by ONNX Runtime), a .pt2 file, or a directory of safetensors or Hugging Face's kind.

    Raises:
        ValueError: it is damaged, of another program or another version; names it.
    """
    if source.is_dir():
        return _open_directory(source)
    return _open_onnx(source) if source.suffix == ".onnx" else _open_program(source)


def _open_onnx(path: Path) -> Opened:
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; of what it makes of a graph it warns at length
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of ONNX Runtime, which has a kind for each status
        raise _unreadable(path, error) from error
    metadata = session.get_modelmeta().custom_metadata_map
    card = metadata.pop(CARD_KEY, "")
    told = {}
    for key, value in metadata.items():
        with contextlib.suppress(json.JSONDecodeError):  # others than we may have added to it
            told[key] = json.loads(value)
    _check(path, told)
    name = session.get_inputs()[0].name

    def answer(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.from_numpy, session.run(None, {name: images.contiguous().numpy()})))

    return Opened(path, told, card, answer)


def _open_program(path: Path) -> Opened:
    extra = {DESCRIPTION: "", CARD: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # zip, JSON and torch's own
        raise _unreadable(path, error) from error
    told = json.loads(extra[DESCRIPTION] or "{}")
    _check(path, told)
    return Opened(path, told, extra[CARD], program.module())


def _open_directory(directory: Path) -> Opened:
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        told = config[OURS]
    except (ValueError, KeyError, TypeError):
        config, told = {}, {}
    _check(directory, told)
    facts = facts_described(told)
    network = _network_of(directory, told, facts, is_timms="architecture" in config)
    module = WholeNetwork(network, facts, test_time_described(told)).eval().requires_grad_(False)
    card = directory / CARD
    return Opened(directory, told, card.read_text(encoding="utf-8") if card.is_file() else "", module)


def _network_of(directory: Path, told: Mapping[str, Any], facts: DataFacts, is_timms: bool) -> nn.Module:
    """The network of a directory with its weights: timm's own, or ours built again from the run's config."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if is_timms:
            import timm

            model = timm.create_model(f"local-dir:{directory}", pretrained=True)
            return nn.Sequential(model, nn.Flatten(0)) if told["task"] == "regression" else model
        config = OmegaConf.create(told["run"]["config"])
        assert isinstance(config, DictConfig)
        classifier = build_again(config, facts, directory, told["leyden"])
        merge_adapters(classifier.backbone)
        network = nn.ModuleDict({"backbone": classifier.backbone, "head": classifier.head})
        network.load_state_dict(load_file(directory / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise _unreadable(directory / WEIGHTS, error) from error
    return nn.Sequential(network["backbone"], network["head"])


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"{path} cannot be opened ({type(error).__name__}: {reason}): export it again")


def _check(path: Path, told: Mapping[str, Any]) -> None:
    if "run" not in told or "leyden" not in told:
        raise ValueError(
            f"{path} was not written by `leyden export`: its classes, and how images are made for it, are not known"
        )
    if told["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {told['format']}, this version of Leyden reads format {FORMAT}: use version "
            f"{told['leyden']}, which wrote it"
        )
