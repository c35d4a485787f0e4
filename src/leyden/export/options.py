"""Command line > **options** > export: the words that `leyden export` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leyden.options import option

ALSO: tuple[str, ...] = ()
ALSO_HELP = """onnx and torch_export take any number of uint8 images [B, C, S, S], answer with logits and probabilities:
the cut of the centre, normalisation, the network, its test-time views and its temperature are inside.
safetensors is a directory of weights and settings, huggingface one that timm loads, where the backbone is timm's.
Before anything has its name, it answers about a hundred real images as the network does, to 1e-4."""


@dataclass(frozen=True)
class Options:
    """Write a run's network as a file or a directory for elsewhere, once it answers as the network itself."""

    run: Path = option("a run's directory, a study's (its best run), a checkpoint, or wandb:<entity>/<project>/<name>")
    format: Literal["onnx", "torch_export", "safetensors", "huggingface"] = option(
        "onnx, torch_export, safetensors or huggingface", "onnx"
    )
    output: Path | None = option("where to write it; null: into <run>/export", None)
    checkpoint: str = option("best, last or a file", "best")
    quantize: bool = option("of ONNX: also with weights of 8 bits, and what that costs", False)
