"""Config > **hardware** > trainer: what this machine is and which precision it is good at."""

import ctypes
import functools
import os
import platform
from pathlib import Path

import torch
from torch import Tensor, nn

FEW_PARAMETERS = 50_000  # of a network that autocast slows down: its casts cost more than its products
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h
PRECISIONS = ("32", "32-true", "bf16-mixed", "16-mixed")


def choose_precision(precision: str | int, accelerator: str, num_parameters: int) -> str:
    """What `trainer.precision` means here: as given, or for `auto` bf16-mixed where the hardware multiplies bfloat16.

    On a CPU, `auto` stays with float32 for small networks and where bfloat16 is only emulated, several times slower.
    """
    precision = str(precision)
    if precision != "auto":
        if precision not in PRECISIONS:
            raise ValueError(f"trainer.precision={precision}: expected auto, {', '.join(PRECISIONS)}")
        return precision
    if accelerator == "cpu":
        large = num_parameters >= FEW_PARAMETERS
        return "bf16-mixed" if large and cpu_multiplies_bfloat16() else "32-true"
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "32-true"


def choose_accelerator(accelerator: str, key: str = "trainer.accelerator") -> str:
    """`cpu`, `cuda` or `mps`: what Lightning's `accelerator` will be on this machine; `key` is the word that gave it.

    Raises:
        ValueError: the accelerator asked for is not here.
    """
    from pytorch_lightning.trainer.connectors.accelerator_connector import _AcceleratorConnector

    known = ("auto", "cpu", "gpu", "cuda", "mps")
    if accelerator not in known:
        raise ValueError(f"{key}={accelerator}: expected one of {', '.join(known)}")
    found = _AcceleratorConnector._choose_auto_accelerator()
    if accelerator == "auto":
        return found
    instead = f"give {'trainer' if key.startswith('trainer.') else key}=cpu"
    if accelerator == "gpu":
        accelerator = found
        if found == "cpu":
            raise ValueError(f"{key}=gpu, but this machine has none that PyTorch can use: {instead}")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{key}=cuda, but PyTorch finds no CUDA device here: {instead}")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"{key}=mps, but PyTorch finds no Apple GPU here: {instead}")
    return accelerator


def skip_needless_search_for_gpus() -> None:
    """Takes back what importing Lightning changes where there is no GPU to find.

    AdamW asks in every step whether a GPU is there; as Lightning has it, each answer loads the driver's library anew,
    which takes 40 µs.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def keep_freed_memory() -> None:
    """Lets the C library keep what a training step frees for the next step, which needs as much again.

    By itself glibc hands large pieces back to the system, and each step then waits for fresh, zeroed pages: up to a
    quarter of the time of a small convolutional network. Threads would each have pieces of their own, which glibc hands
    back all the same: a network answers half as fast in a thread. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)  # no piece, however large, is had from the system by itself and given back to it
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_ARENA_MAX, 1)  # for threads that begin from now on


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has bfloat16 dot products in hardware (AVX512-BF16 or AMX)."""
    return platform.machine() == "x86_64" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(_of_cpu("flags").split())


def train_depthwise_in_float32(network: nn.Module) -> None:
    """Lets depthwise convolutions train in float32 where the rest of a network does in bfloat16 on a CPU.

    Their gradients take oneDNN up to eleven times as long in bfloat16 as in float32: EfficientNet-Lite0 trained slower
    with autocast than without. Where nothing is learnt, by them or before them, they stay as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.__class__ = _trained_in_float32(type(module))  # type: ignore[arg-type]  # a class is Hashable


@functools.cache
def _trained_in_float32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A kind of convolution that goes by the same name and leaves autocast where it learns."""

    def forward(self: nn.Conv2d, images: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and (images.requires_grad or self.weight.requires_grad)
        if not (learns and images.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return kind.forward(self, images)
        with torch.autocast("cpu", enabled=False):
            return kind.forward(self, images.float()).to(torch.get_autocast_dtype("cpu"))

    return type(kind.__name__, (kind,), {"forward": forward})


def describe_device(accelerator: str) -> dict[str, str | int]:
    """The device's name and the threads that PyTorch uses, for the run's record."""
    if accelerator == "cuda":
        name = torch.cuda.get_device_name()
    else:
        name = _of_cpu("model name") or platform.processor() or platform.machine()
    return {"kind": accelerator, "name": name, "threads": torch.get_num_threads()}


def _of_cpu(field: str) -> str:
    """What Linux says of the CPU; nothing elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
