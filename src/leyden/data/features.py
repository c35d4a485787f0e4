"""Data > **features** > head: what a frozen backbone says of each image, computed once and kept for all epochs.

They are kept in a file too, which every run with the same backbone, images and preparation of them reads: those of a
study compute each image's features once.
"""

import contextlib
import functools
import hashlib
import inspect
import logging
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from leyden.data.loader import Batch, EpochLoader
from leyden.lock import one_at_a_time
from leyden.run import in_place_of, rank

log = logging.getLogger(__name__)

BATCH_SIZE = 64  # always: other kernels for another number of images would round otherwise
SETTING = (int, float, str, tuple, type(None))  # types of a module's settings
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Features(NamedTuple):
    """Of each image one row [N, F]: as it is evaluated, and as it is augmented in training, once for each view."""

    plain: Tensor
    views: list[Tensor]
    is_known: Tensor  # bool [N]: whether an image could be read


class FeatureLoader(EpochLoader):
    """Yields `Batch`es whose images are features [B, F]; each epoch takes the next of the views."""

    def __init__(self, views: list[Tensor], labels: Tensor, indices: Tensor, *order: Any) -> None:
        super().__init__(indices, *order)
        self.views, self.labels = views, labels

    def __iter__(self) -> Iterator[Batch]:
        rows = self.views[self.sampler.epoch % len(self.views)]
        for number, chosen in self.shares():
            self.next_batch = number + 1
            yield Batch(rows.index_select(0, chosen), self.labels.index_select(0, chosen), chosen)


class FeatureFile:
    """Features of a data set's images under one preparation; an image whose features are not there is not known."""

    def __init__(self, path: Path, num_images: int, num_features: int) -> None:
        self.path = path
        self.rows = torch.zeros(num_images, num_features)
        self.is_known = torch.zeros(num_images, dtype=torch.bool)
        if path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            with self.path.open("rb") as stream, np.load(stream) as file:
                rows, is_known = (torch.from_numpy(file[name]) for name in ("rows", "is_known"))
        except Exception as error:  # zip, numpy and the system have many words for damage
            log.warning("%s is damaged (%s): the features are computed anew", self.path, error)
            return
        if rows.shape == self.rows.shape and is_known.shape == self.is_known.shape:
            self.rows, self.is_known = rows, is_known

    def write(self) -> None:
        """Puts the file in its place at once."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with in_place_of(self.path) as beside, beside.open("wb") as file:
                np.savez(file, rows=self.rows.numpy(), is_known=self.is_known.numpy())
        except OSError as error:
            log.warning("%s could not be written (%s): the next run computes them anew", self.path, error)


def keep_features(classifier: Any, data: Any, num_views: int, device: torch.device, precision: str) -> Features:
    """Runs the backbone once over each image that a run looks at, and once for each view over those it trains with.

    View v is what the augmentation makes of an image in epoch v. Every rank of a run computes all of them.

    Raises:
        ValueError: images are mixed, whose features cannot be kept, or there is none to train with that can be read.
    """
    augment, backbone = classifier.augment, classifier.backbone.to(device)
    if augment.mix is not None:
        raise ValueError("augment.mix blends images, whose features cannot be kept: give augment.mix=null")
    if num_views > 1 and not augment.operations:
        log.warning("finetune.views=%s is not used: nothing is augmented, so there is one view", num_views)
    seen = (data.mean, data.std, data.image_size, code_of([augment]))
    preparation = (data.content, digest_of(backbone), *seen, precision)

    def features(indices: Tensor, prepare: Callable[[Batch], Tensor], *also: Any) -> FeatureFile:
        key = hashlib.sha256(repr((*preparation, *also)).encode()).hexdigest()[:32]
        path = data.cache_directory / f"{key}.features"
        file = FeatureFile(path, len(data.labels), backbone.num_features)
        if file.is_known[indices].all():
            return file
        with _alone(path):
            file = FeatureFile(path, len(data.labels), backbone.num_features)  # by another run, meanwhile
            missing = indices[~file.is_known[indices]]
            if len(missing):
                _compute(file, backbone, data.batches(missing, BATCH_SIZE, is_alone=True), prepare, device, precision)
                if rank() == 0:
                    file.write()
        return file

    augment.to(device)
    if not augment.operations:
        everything = torch.cat([data.train_indices, data.val_indices, data.test_indices])
        plain = features(everything, lambda batch: augment.normalize(batch.images))
        return _with_some_to_train(Features(plain.rows, [plain.rows], plain.is_known), data)
    plain = features(torch.cat([data.val_indices, data.test_indices]), lambda batch: augment.normalize(batch.images))
    settings: list[Any] = [
        (name, type(part).__name__, sorted(vars(part).items())) for name, part in augment.operations.items()
    ]
    settings += [code_of(augment.operations.values())]
    train = data.train_indices
    views = [
        features(train, functools.partial(augmented, augment, view), augment.seed, view, settings)
        for view in range(num_views)
    ]
    is_known = plain.is_known.clone()
    is_known[train] = torch.stack([view.is_known[train] for view in views]).all(0)  # a disk may fail in one view alone
    return _with_some_to_train(Features(plain.rows, [view.rows for view in views], is_known), data)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One run at a time computes the features of a file; the others wait, and read it."""
    busy = path.with_name(f".{path.name}.lock")
    with one_at_a_time(busy) if rank() == 0 else contextlib.nullcontext():
        yield
        shutil.rmtree(busy, ignore_errors=True)  # whoever waited for it finds the file


def _with_some_to_train(features: Features, data: Any) -> Features:
    if not features.is_known[data.train_indices].any():
        raise ValueError(f"{data.name}: none of the training images can be read: is the disk still there?")
    return features


def augmented(augment: Any, view: int, batch: Batch) -> Tensor:
    """Images as training sees them in epoch `view`, normalised."""
    images: Tensor = augment(batch, view, 0)[0]
    return images


@torch.no_grad()
def _compute(
    file: FeatureFile,
    backbone: nn.Module,
    batches: Any,
    prepare: Callable[[Batch], Tensor],
    device: torch.device,
    precision: str,
) -> None:
    backbone.eval()
    dtype = AUTOCAST.get(precision)
    half = torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()
    console = Console(stderr=True, quiet=rank() > 0)
    for batch in track(batches, "features of images", total=len(batches), console=console, transient=True):
        count = len(batch.indices)
        if not count:
            continue
        images = prepare(Batch(*(tensor.to(device) for tensor in batch)))
        filling = images[:1].expand(BATCH_SIZE - count, -1, -1, -1)
        with half:
            rows = backbone(torch.cat([images, filling]).to(memory_format=torch.channels_last))[:count]
        indices = batch.indices.cpu()
        file.rows[indices] = rows.float().cpu()
        file.is_known[indices] = True


def code_of(parts: Iterable[object]) -> list[str]:
    """SHA-256 of each file that classes of these parts are written in."""
    files = {getattr(sys.modules.get(type(part).__module__), "__file__", None) for part in parts}
    return sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files if file)


def digest_of(module: nn.Module) -> str:
    """SHA-256 of all that a network knows and does: its parts, their code and settings, and its tensors."""
    digest = hashlib.sha256(repr(module).encode())
    digest.update(repr(code_of(module.modules())).encode())
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if isinstance(value, SETTING) and key != "training"}
        settings |= {key: value.__qualname__ for key, value in vars(part).items() if inspect.isroutine(value)}
        digest.update(f"{name} {type(part)} {sorted(settings.items())}".encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
