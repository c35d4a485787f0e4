"""Backbone > **weights** > fine-tuning: what a network knows before it trains, from a file, a run or a directory."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from leyden.backbones import TimmBackbone
from leyden.backbones.tensors import Fit, put
from leyden.checkpoint import BEST, read_checkpoint, read_tensors, weights_that_answer
from leyden.run import is_study

IN_DIRECTORIES = ("*.safetensors", "*.pth", "*.pt", "*.bin", "*.ckpt")


class Weights(NamedTuple):
    """Tensors by name, and what is known of the network that had them."""

    path: Path
    tensors: dict[str, Tensor]
    head: dict[str, Tensor]  # of a Leyden run; empty for others
    run: dict[str, Any]  # its facts: config, data, …


def read_weights(source: str) -> Weights:
    """Reads a file of tensors (.safetensors, .pth), a Leyden checkpoint or run, or a directory that holds one file.

    Raises:
        ValueError: nothing is there, it is a study's, it is damaged, or it carries code, none of which is run.
    """
    return _read(_file_of(source), source)


def run_of(source: str) -> dict[str, Any]:
    """The facts of the run that weights are of, none of others; a file that stays is read for them once."""
    path = _file_of(source)
    if path.suffix == ".safetensors":
        return {}
    state = path.stat()
    return _run_of(path, source, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _run_of(path: Path, source: str, size: int, time: int) -> dict[str, Any]:
    return _read(path, source).run


def _file_of(source: str) -> Path:
    path = Path(source)
    if not path.exists():
        raise ValueError(f"weights={source}: nothing is there; give a file, a run's directory, or a directory of one")
    if is_study(path):
        raise ValueError(_many_runs(path))
    if (path / "checkpoints").is_dir():
        path = path / "checkpoints" / BEST
    elif path.is_dir():
        path = _only_file(path)
    return path


def _read(path: Path, source: str) -> Weights:
    if path.suffix == ".safetensors":
        return Weights(path, _read_safetensors(path), {}, {})
    content = read_tensors(path)
    if "leyden" in content:
        state = read_checkpoint(path)
        answering = weights_that_answer(state)
        backbone, head = (
            {name.removeprefix(part): tensor for name, tensor in answering.items() if name.startswith(part)}
            for part in ("backbone.", "head.")
        )
        return Weights(path, _merged(backbone, state["run"]), head, state["run"])
    for key in ("state_dict", "model", "model_state_dict", "state_dict_ema"):
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"weights={source}: {path} holds no tensors by their names")
    return Weights(path, tensors, {}, {})


def _many_runs(study: Path) -> str:
    soup = study.with_name(f"{study.name}_soup")
    runs = sorted(path.parents[1] for path in study.glob(f"*/checkpoints/{BEST}"))
    one = f"weights={runs[0]}" if runs else "the directory of one that has finished"
    made = "" if (soup / "checkpoints" / BEST).is_file() else f"`leyden soup {study}` and "
    mean = f"{made}weights={soup}"
    return f"weights={study} is a study: give one of its runs, as by {one}, or the mean of them, by {mean}"


def _merged(tensors: dict[str, Tensor], run: dict[str, Any]) -> dict[str, Tensor]:
    """The plain network's tensors, the adapters of a run with finetune=lora folded in: W + alpha / rank · B A."""
    if not any(".lora_" in name for name in tensors):
        return tensors
    merged, config = {}, OmegaConf.create(run["config"])
    for name, tensor in tensors.items():
        layer, is_adapted, rest = name.partition(".base_layer.")
        if is_adapted and rest == "weight":
            down, up = (tensors[f"{layer}.{part}.default.weight"].flatten(1) for part in ("lora_A", "lora_B"))
            tensor = tensor + config.finetune.alpha / len(down) * (up @ down).view(tensor.shape)
        if ".lora_" not in name:
            merged[f"{layer}.{rest}" if is_adapted else name] = tensor
    return merged


def _only_file(directory: Path) -> Path:
    found = sorted(path for pattern in IN_DIRECTORIES for path in directory.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise ValueError(f"weights={directory}: expected one file of weights there, found {names}: name the file")
    return found[0]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights: {path} is damaged or no safetensors file ({error}): fetch it again") from error


def load_weights(backbone: nn.Module, weights: Weights) -> Fit:
    """Puts weights into a backbone.

    Raises:
        ValueError: they are of another architecture; says how many fit, and the first that does not.
    """
    network = backbone.network if isinstance(backbone, TimmBackbone) else backbone
    tensors = weights.tensors
    if weights.run and isinstance(backbone, TimmBackbone):
        tensors = {name.removeprefix("network."): tensor for name, tensor in tensors.items()}
    return put(network, tensors, str(weights.path), weights.path)


def keep_head(head: nn.Module, weights: Weights, class_names: Sequence[str]) -> str:
    """Copies into a head what the weights know of classes of the same names; in words, what it is then.

    The head's last linear layer has a row for each class.
    """
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)][-1:]
    known = list(weights.run.get("data", {}).get("class_names", ()))
    rows = [tensor for name, tensor in weights.head.items() if name.endswith("weight") and tensor.ndim == 2][-1:]
    biases = [tensor for name, tensor in weights.head.items() if name.endswith("bias")][-1:]
    # By their last words alone: dropout moves a layer to another place.
    kinds = [{name.rpartition(".")[2] for name in part} for part in (weights.head, head.state_dict())]
    if known and weights.head and kinds[0] != kinds[1]:
        return "new: that of the weights is of another kind"
    if not known or not linear or not rows or rows[0].shape[1] != linear[0].in_features or len(rows[0]) != len(known):
        return "new"
    pairs = [(place, known.index(name)) for place, name in enumerate(class_names) if name in known]
    with torch.no_grad():
        for place, row in pairs:
            linear[0].weight[place] = rows[0][row]
            if linear[0].bias is not None and biases:
                linear[0].bias[place] = biases[0][row]
        if pairs:  # the rows go with the statistics that their features were normed by
            for name, buffer in head.named_buffers():
                buffer.copy_(weights.head[name])
    if not pairs:
        return f"new: none of the {len(known)} classes that the weights know is called as here"
    if len(pairs) == len(class_names):
        return "kept" if len(known) == len(class_names) else f"kept, of {len(known)} classes"
    return f"kept for {len(pairs)} of {len(class_names)} classes, by their names; new for the others"
