"""What a whole process costs: time to the first step, time to print the config, memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

LEYDEN = [sys.executable, "-m", "leyden"]
# Another process finds what this one has found.
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
MEBIBYTE = 2**20


def quietly(*command: str, cwd: Path | None = None) -> None:
    """Runs a command without what it prints."""
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, check=True)


def said_by(*command: str, **environment: str) -> str:
    """What a command prints; where it fails, an AssertionError has its errors."""
    done = subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def said_by_program(code: str, *arguments: str) -> str:
    """The same of Python code in a file, where processes that it starts find it."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "program.py")
        program.write_text(code)
        return said_by(sys.executable, str(program), *arguments)


def highest() -> float:
    """MiB that this process has held at the most."""
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1024


def highest_from_now_on() -> float:
    """MiB that this process holds now; `highest` forgets what it has held before."""
    Path("/proc/self/clear_refs").write_text("5")
    return highest()


def held_by_all() -> float:
    """MiB of this process and those that it has started, what several share counted once, without pages of files."""
    held = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with open(f"/proc/{process.pid}/smaps_rollup") as rollup:
            held += sum(int(line.split()[1]) for line in rollup if line.startswith(("Pss_Anon", "Pss_Shmem")))
    return held / 1024


def seconds(*command: str) -> float:
    """Wall time of a command."""
    begin = time.perf_counter()
    quietly(*command)
    return time.perf_counter() - begin


def python_seconds(code: str) -> float:
    """Wall time of `python -c code`."""
    return seconds(sys.executable, "-c", code)


def seconds_to_first_step() -> float:
    """From the command to the end of the first training step: digits, mlp, as run.json has it."""
    with tempfile.TemporaryDirectory() as directory:
        begin = time.time()
        places = [f"hydra.run.dir={directory}/run", f"logger.directory={directory}"]
        seconds(*LEYDEN, "train", "backbone=mlp", "steps=5", *places)
        return _first_step(Path(directory, "run")) - begin


STOP_AT_STEP = """
import signal, sys
from leyden.__main__ import main
from leyden.callbacks import Heartbeat

step = int(sys.argv.pop())
original = Heartbeat.on_train_batch_end
def stopping(callback, trainer, *arguments):
    if trainer.global_step == step:
        signal.raise_signal(signal.SIGTERM)
    original(callback, trainer, *arguments)
Heartbeat.on_train_batch_end = stopping
sys.exit(main())
"""


def seconds_to_go_on_and_to_begin(num_steps: int = 3605) -> tuple[float, float]:
    """From the command to the end of the first step: of a run stopped in its 200th epoch, and of a new one."""
    with tempfile.TemporaryDirectory() as directory:
        places = [f"logger.directory={directory}", "backbone=mlp", f"steps={num_steps}"]
        stopped = [sys.executable, "-c", STOP_AT_STEP, "train", f"hydra.run.dir={directory}/old", *places]
        subprocess.run([*stopped, str(num_steps - 10)], capture_output=True, check=False)
        begin = time.time()
        seconds(*LEYDEN, "resume", f"{directory}/old")
        going_on = _first_step(Path(directory, "old")) - begin
        places[-1] = "steps=10"
        begin = time.time()
        seconds(*LEYDEN, "train", f"hydra.run.dir={directory}/new", *places)
        return going_on, _first_step(Path(directory, "new")) - begin


def _first_step(directory: Path) -> float:
    """When a run's first step of its last attempt ended, in seconds since 1970."""
    first_step: float = json.loads((directory / "run.json").read_text(encoding="utf-8"))["timings"]["first_step"]
    return first_step


def config_seconds() -> float:
    """`leyden train --cfg job`."""
    return seconds(*LEYDEN, "train", "--cfg", "job")


def memory_growth(first_epoch: int = 5, last_epoch: int = 50) -> float:
    """Resident MiB of a digits run after its last epoch minus after an early one."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = [f"epochs={last_epoch + 2}", f"hydra.run.dir={directory}/run", f"logger.directory={directory}"]
        process = subprocess.Popen(
            [*LEYDEN, "train", "backbone=mlp", *arguments], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        watched, sizes = psutil.Process(process.pid), {}
        for line in process.stdout:
            if (words := line.split()) and words[0].isdigit():  # the line of an epoch
                sizes[int(words[0])] = watched.memory_info().rss
        assert process.wait() == 0
        return (sizes[last_epoch] - sizes[first_epoch]) / MEBIBYTE


def peak_mebibytes(code: str, *arguments: str) -> float:
    """Largest resident size of `python -c code arguments`, as it says itself at its end.

    The kernel's account of a child would begin with the size of its parent, this process.
    """
    ending = "; import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    done = subprocess.run([sys.executable, "-c", code + ending, *arguments], stdout=subprocess.PIPE, check=True)
    return int(done.stdout.split()[-1]) / 1024  # from KiB


def peak_of_training() -> float:
    """An epoch of Fashion-MNIST through an MLP."""
    with tempfile.TemporaryDirectory() as directory:
        places = [f"hydra.run.dir={directory}/run", f"logger.directory={directory}"]
        settings = ["backbone=mlp", "epochs=1", "batch_size=256", "callbacks.progress=null"]
        code = "from leyden.__main__ import main; assert main() == 0"
        return peak_mebibytes(code, "train", "data=fashion_mnist", *settings, *places)


def peak_of_imports_and_data() -> float:
    """What no program can do without: the libraries, and the images once as uint8."""
    code = "import torch, pytorch_lightning; images = torch.ones(70_000, 1, 28, 28, dtype=torch.uint8)"
    return peak_mebibytes(code)
