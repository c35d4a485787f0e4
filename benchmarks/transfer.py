"""Fine-tuning tf_efficientnet_lite0: steps, a probe whose features are kept, and the memory of each way."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.image_files import PATHS
from benchmarks.networks import QUIET, Case

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
if __name__ == "__main__":
    imports = psutil.Process().memory_info().rss / 2**20
    with built(benchmarks.transfer.LITE0, *sys.argv[1:]) as (classifier, trainer, _):
        trainer.fit(classifier, datamodule=trainer.benchmark_data)
    high = int(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmHWM"))) / 1024
    print("measured", high - imports)
"""


def probe_seconds() -> tuple[float, float]:
    """Seconds of a whole run that keeps the features of ELPV's images, and of one that runs the backbone each time."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable, "-m", "leyden", "train", "data=elpv", "data.source.threshold=0.5", "backbone=lite0",
            "finetune=linear_probe", "head=normed", f"epochs={NUM_EPOCHS}", QUIET, "pictures=false",
            f"data.cache_directory={directory}/cache", f"runs_dir={directory}/runs",
        ]  # fmt: skip
        _seconds([*command, "epochs=1", "finetune.cache_features=false"])  # decodes the images, for both
        return _seconds([*command, "finetune.cache_features=false"]), _seconds(command)


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": PATHS}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - begin


def memory_of_steps(*overrides: str) -> float:
    """MiB above imports that a run's steps take at the highest."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "program.py")
        program.write_text(MEMORY_OF_STEPS)
        command = [sys.executable, str(program), *overrides]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": PATHS}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return float(re.findall(r"measured (\S+)", done.stdout)[0])
