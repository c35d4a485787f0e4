"""Doctor > **speed**: what the loader gives against what the network takes on this machine, and the pixels' statistics.

Both are measured alone, as training would have them: the loader with its processes, the network on one batch that lies
on its device already.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.classifier import ImageClassifier
from leyden.data import Batch, ImageDataModule
from leyden.doctor.findings import Finding
from leyden.run import num_cores

SECONDS = 3.0  # of each measurement
SAMPLE = 1000  # training images that mean and standard deviation are taken from
LEVELS = 256  # that a pixel of a byte may have


class Speed(NamedTuple):
    """Images per second."""

    loader: float
    network: float
    device: str
    precision: str


def measure(data: ImageDataModule, classifier: ImageClassifier, accelerator: str, precision: str) -> Speed:
    """Loads and trains for some seconds each; the classifier's weights are not worth keeping afterwards."""
    device = torch.device(accelerator)
    data.move_to(device)
    loader = data.train_dataloader()
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    batch = next(batches)  # the processes are there
    loaded = images_per_second(lambda: len(next(batches).labels), device)
    step = training_step(classifier.to(device), Batch(*(tensor.to(device) for tensor in batch)), device, precision)
    for _ in range(2):
        step()  # what is made at the first step is made
    return Speed(loaded, images_per_second(step, device), accelerator, precision)


def training_step(classifier: ImageClassifier, batch: Batch, device: torch.device, precision: str) -> Callable[[], int]:
    """A whole step on one batch, again and again; it tells how many images it has taken."""
    optimizer = classifier.make_optimizer(classifier, device=device, has_scaler=False)
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

    def step() -> int:
        mixed = torch.autocast(device.type, kinds[precision]) if precision in kinds else contextlib.nullcontext()
        with mixed:
            loss = classifier.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        classifier.train_metrics.reset()
        return len(batch.labels)

    return step


def images_per_second(step: Callable[[], int], device: torch.device | None = None) -> float:
    """Repeats a step for some seconds."""
    num_images, begin = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begin) < SECONDS:
        num_images += step()
        if device and device.type != "cpu":
            torch.accelerator.synchronize(device)
    return num_images / seconds


def compare(speed: Speed, data: ImageDataModule, keeps_features: bool = False) -> Iterator[Finding]:
    """Which of the two limits, and what to set where it is the loader; `keeps_features` as the fine-tune has it."""
    where = "from memory" if data.files is None else f"with data.num_workers={data.num_workers}"
    sentence = (
        f"The loader gives {speed.loader:,.0f} images/s {where}, the network takes {speed.network:,.0f} "
        f"({speed.device}, {speed.precision}): the {'network' if speed.network <= speed.loader else 'loader'} limits."
    )
    shared = " On a CPU both share the cores." if data.files and speed.device == "cpu" else ""
    is_cached = data.files is not None and data.cache != "none"
    if is_cached:
        shared += f" That is the first epoch; with data.cache={data.cache} later ones decode nothing."
    if keeps_features:
        shared += " Both are asked once: training itself reads the features that are kept (finetune.cache_features)."
    if speed.network <= speed.loader or is_cached or keeps_features:
        yield Finding("speed", "note", sentence + shared)
        return
    advice = (
        "Raise batch_size: so small a network waits for single batches."
        if data.files is None
        else f"Keep decoded images with data.cache=auto, raise data.num_workers ({num_cores()} cores are here), or "
        "store the files at about the training size."
    )
    yield Finding("speed", "warning", sentence + shared, advice)


def statistics(data: ImageDataModule, unread: set[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the channels [C] over a sample of the training images, for pixels in [0, 1].

    Raises:
        ValueError: none of them can be read.
    """
    train = data.train_indices.cpu()
    chosen = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:SAMPLE]].sort().values
    if data.images is not None:
        images: Iterable[Tensor] = data.images[chosen.to(data.images.device)].cpu()
    else:
        assert data.files is not None
        files = data.files
        readable = [index for index in chosen.tolist() if index not in unread]
        images = (files.read(files.path(index)) for index in readable)
    counts = torch.zeros(data.channels, LEVELS, dtype=torch.float64)  # how often each level occurs: exact, and small
    for image in images:  # [C, H, W]
        counts += torch.stack([torch.bincount(channel.flatten(), minlength=LEVELS) for channel in image])
    if not counts.any():
        raise ValueError(f"none of the {len(chosen)} training images that were looked at can be read: mend them")
    shares, levels = counts / counts.sum(1, keepdim=True), torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    means = shares @ levels
    return means.numpy(), (shares @ levels**2 - means**2).clamp(min=0).sqrt().numpy()
