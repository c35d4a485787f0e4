"""Networks written as ONNX: ONNX Runtime against PyTorch on one thread, both from bytes to logits."""

import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.processes import said_by
from leyden.augment import Augmentation
from leyden.backbones import CNN, TimmBackbone
from leyden.data.facts import DataFacts
from leyden.export.graphs import trace, write_onnx
from leyden.export.images import photographs
from leyden.export.whole import WholeNetwork
from leyden.heads import LinearHead
from leyden.test_time import TestTime

NUM_BLOCKS, SECONDS_OF_A_BLOCK, FEWEST_CALLS = 5, 0.5, 3
NETWORKS: dict[str, tuple[Callable[[int, int], nn.Module], int, int]] = {
    "lite0, 224 x 224": (partial(TimmBackbone, name="tf_efficientnet_lite0"), 3, 224),
    "CNN, 28 x 28": (CNN, 1, 28),
}
PROGRAM = "import sys; from benchmarks.exports import measure; measure(sys.argv[1], int(sys.argv[2]))"


def speeds(network: str, batch_size: int) -> tuple[float, float]:
    """Images per second of ONNX Runtime and of PyTorch, in a process of its own with one thread."""
    said = said_by(sys.executable, "-c", PROGRAM, network, str(batch_size), OMP_NUM_THREADS="1")
    ours, reference = map(float, said.split()[-2:])
    return ours, reference


def measure(name: str, batch_size: int) -> None:
    """Prints both speeds, of the median pair of blocks of half a second."""
    import onnxruntime

    torch.set_num_threads(1)
    make, channels, size = NETWORKS[name]
    half = (0.5,) * channels
    facts = DataFacts("photographs", "single_label", tuple("0123456789"), channels, size, 1.0, half, half)
    backbone = make(channels, size)
    network = nn.Sequential(backbone, LinearHead(int(backbone.num_features), facts.num_classes))  # type: ignore[arg-type]
    network = network.eval().requires_grad_(False)
    normalize = Augmentation(None, num_classes=10, mean=half, std=half, seed=0, image_size=size).normalize
    images = photographs(facts, batch_size)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        module = WholeNetwork(copy.deepcopy(network), facts, TestTime("single_label")).eval()
        write_onnx(trace(module, channels, size), path, {"task": facts.task}, card="")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    network.to(memory_format=torch.channels_last)  # as runs have it
    with torch.inference_mode():
        asked: list[Callable[[], object]] = [
            lambda: session.run(["logits"], {"images": images.numpy()}),
            lambda: network(normalize(images)),
        ]
        found, expected = (np.asarray(ask()).squeeze() for ask in asked)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        pairs = [tuple(calls_per_second(ask) for ask in asked) for _ in range(NUM_BLOCKS)]
    ours, reference = sorted(pairs, key=lambda pair: pair[0] / pair[1])[NUM_BLOCKS // 2]
    print(ours * batch_size, reference * batch_size)


def calls_per_second(ask: Callable[[], object]) -> float:
    """By the median call of half a second, or of three."""
    ask()
    times: list[float] = []
    end = time.perf_counter() + SECONDS_OF_A_BLOCK
    while time.perf_counter() < end or len(times) < FEWEST_CALLS:
        begin = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begin)
    return 1 / statistics.median(times)
