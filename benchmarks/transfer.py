"""Fine-tuning tf_efficientnet_lite0: steps, a probe whose features are kept, and the memory of each way."""

import re
import tempfile
import time

from benchmarks.networks import QUIET, Case
from benchmarks.processes import LEYDEN, said_by, said_by_program

LITE0 = Case(
    "fine-tuning lite0, 160 x 160, b32", ("backbone=lite0", "data.validation_fraction=0.03", QUIET), 160, 32,
    num_blocks=5, block=2,
)  # fmt: skip
NUM_EPOCHS = 20

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
