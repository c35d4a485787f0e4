"""Whole > **graphs** > parity: ONNX and torch.export, which run without the code that trained the network."""

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from leyden.export.directories import CARD
from leyden.export.whole import WholeNetwork
from leyden.run import without_words_of

DESCRIPTION = "leyden.json"  # within a .pt2 file, beside the card
CARD_KEY = "model_card"  # of an ONNX file's metadata
MOST_BYTES = 2**31  # of one protocol buffer, which an ONNX file is

EXPORTERS = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")  # who remark on their own parts


def trace(module: WholeNetwork, channels: int, stored_size: int) -> ExportedProgram:
    """The graph of a network for any number of images.

    Raises:
        ValueError: the network does other things with other images, which no graph holds.
    """
    images = torch.zeros(2, channels, stored_size, stored_size, dtype=torch.uint8)
    try:
        with without_words_of(*EXPORTERS):
            return torch.export.export(module, (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # of torch's tracing, which raises many kinds
        raise ValueError(
            f"this network cannot be written as a graph ({_first_line(error)}): give format=safetensors, or change "
            "what its code makes depend on the images or on their number"
        ) from error


def write_torch_export(program: ExportedProgram, path: Path, told: Mapping[str, Any], card: str) -> None:
    """Writes a .pt2 file with what it is of as extra files."""
    with without_words_of(*EXPORTERS):
        torch.export.save(program, path, extra_files={DESCRIPTION: json.dumps(told), CARD: card})


def write_onnx(program: ExportedProgram, path: Path, told: Mapping[str, Any], card: str) -> None:
    """Writes an .onnx file with what it is of as metadata, each value as JSON.

    Raises:
        ValueError: ONNX has no operator for what the network does, or it is too large.
    """
    names = ["numbers"] if told["task"] == "regression" else ["logits", "probabilities"]
    size = sum(value.nbytes for value in program.state_dict.values())
    if size >= MOST_BYTES:
        raise ValueError(
            f"the network's weights are {size / 2**30:.1f} GiB and an ONNX file holds 2: give format=torch_export"
        )
    try:
        with without_words_of(*EXPORTERS):
            made = torch.onnx.export(
                program, (), dynamo=True, verbose=False, input_names=["images"], output_names=names,
                dynamic_shapes=({0: "batch"},),
            )  # fmt: skip
    except Exception as error:  # its exporter wraps what went wrong several times
        operator = _missing_operator(error)
        what = f"has no operator for {operator}" if operator else f"cannot hold this network ({_first_line(error)})"
        raise ValueError(f"format=onnx {what}: give format=torch_export or safetensors") from error
    assert made is not None
    model = made.model_proto
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in told.items()} | {CARD_KEY: card}
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def require(*packages: str) -> None:
    """Refuses to go on without packages of the extra `export`.

    Raises:
        ValueError: one is not installed; names it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"ONNX needs the package {package}: pip install 'leyden[export]'")


def _missing_operator(error: BaseException | None) -> str | None:
    """The operator that ONNX lacks, where that is what an error tells, as `aten.linalg_svd.default`."""
    while error is not None:
        found = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error))
        if found:
            return found[1]
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
