"""Fine-tuning tf_efficientnet_lite0: steps, its depthwise layers, a probe whose features are kept, memory."""

import re
import tempfile
import time

import timm
import torch

from benchmarks.networks import QUIET, Case
from benchmarks.processes import LEYDEN, said_by, said_by_program
from leyden.hardware import keep_freed_memory, train_depthwise_in_float32

LITE0 = Case(
    "fine-tuning lite0, 160 x 160, b32", ("backbone=lite0", "data.validation_fraction=0.03", QUIET), 160, 32,
    num_blocks=5, block=2,
)  # fmt: skip
NUM_EPOCHS = 20
NUM_STEPS = 5  # of each side

MEMORY_OF_STEPS = """
import sys
import psutil
import torch, pytorch_lightning, timm, peft, leyden.train, benchmarks.transfer
from benchmarks.networks import built
from benchmarks.processes import highest
if __name__ == "__main__":
    imports = psutil.Process().memory_info().rss / 2**20
    with built(benchmarks.transfer.LITE0, *sys.argv[1:]) as (classifier, trainer, data):
        trainer.fit(classifier, datamodule=data)
    print("measured", highest() - imports)
"""


def speeds_of_depthwise_layers() -> tuple[float, float]:
    """Images per second that pass forward and back in bfloat16, with depthwise layers in float32 and with none.

    The steps of both take turns, so that neighbours on the machine slow both alike.
    """
    keep_freed_memory()
    images = torch.rand(32, 3, 160, 160).contiguous(memory_format=torch.channels_last)
    networks = [
        timm.create_model("tf_efficientnet_lite0", num_classes=2).to(memory_format=torch.channels_last)
        for _ in range(2)
    ]
    train_depthwise_in_float32(networks[0])
    seconds = [0.0, 0.0]
    for step in range(1 + NUM_STEPS):
        for side, network in enumerate(networks):
            begin = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(images)
            logits.float().logsumexp(1).mean().backward()
            if step > 0:
                seconds[side] += time.perf_counter() - begin
    return len(images) * NUM_STEPS / seconds[0], len(images) * NUM_STEPS / seconds[1]


def probe_seconds() -> tuple[float, float]:
    """Seconds of a whole run that keeps the features of ELPV's images, and of one that runs the backbone each time."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *LEYDEN, "train", "data=elpv", "data.source.threshold=0.5", "backbone=lite0",
            "finetune=linear_probe", "head=normed", f"epochs={NUM_EPOCHS}", QUIET, "pictures=false",
            f"data.cache_directory={directory}/cache", f"runs_dir={directory}/runs",
        ]  # fmt: skip
        _seconds([*command, "epochs=1", "finetune.cache_features=false"])  # decodes the images, for both
        return _seconds([*command, "finetune.cache_features=false"]), _seconds(command)


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    said_by(*command)
    return time.perf_counter() - begin


def memory_of_steps(*overrides: str) -> float:
    """MiB above imports that a run's steps take at the highest."""
    return float(re.findall(r"measured (\S+)", said_by_program(MEMORY_OF_STEPS, *overrides))[0])
