"""The references: a bare PyTorch loop, equally tuned; the loop of tutorials; and the usual template.

Each trains for `num_steps` and returns images per second.
"""

import math
import time

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.networks import Case, RandomImages, built

MEAN, STD = RandomImages.mean[0], RandomImages.std[0]


def network_of(case: Case) -> nn.Module:
    """Backbone and head as one plain module, contiguous."""
    with built(case, "logger=csv") as (classifier, _, _):
        return nn.Sequential(classifier.backbone, classifier.head).to(memory_format=torch.contiguous_format)


def cosine(optimizer: torch.optim.Optimizer, num_steps: int) -> LambdaLR:
    """The schedule of the run it is compared with: warm-up and half a cosine."""
    warmup = round(0.1 * num_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return (1 + math.cos(math.pi * min(1.0, (step - warmup) / (num_steps - warmup)))) / 2

    return LambdaLR(optimizer, factor)


def images_and_labels(case: Case) -> tuple[Tensor, Tensor]:
    """As many uint8 images as the run has for training."""
    source = RandomImages(case.image_size, (case.num_steps + 1) * case.batch_size)
    images, labels, _ = source.load(None)  # type: ignore[arg-type]
    return images, labels


def bare_loop(case: Case, precision: str) -> float:
    """A hand-written loop as fast as we can make it: data in memory, channels last, fused AdamW, autocast."""
    images, labels = images_and_labels(case)
    network = network_of(case).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005, weight_decay=0.05, fused=True)
    schedule = cosine(optimizer, case.num_steps)
    order = torch.randperm(len(images))
    scale, shift, rows = 1 / (255 * STD), -MEAN / STD, images.flatten(1)
    begin = time.perf_counter()
    for step in range(case.num_steps):
        chosen = order[step * case.batch_size : (step + 1) * case.batch_size]
        batch = rows.index_select(0, chosen).view(-1, *images.shape[1:])
        inputs = batch.mul(scale).add_(shift).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(network(inputs), labels.index_select(0, chosen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return case.num_steps * case.batch_size / (time.perf_counter() - begin)


def tutorial_loop(case: Case) -> float:
    """What tutorials write, over the same data in memory: contiguous tensors, the optimizer as it comes, float32."""
    images, labels = images_and_labels(case)
    network = network_of(case)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005, weight_decay=0.05)
    schedule = cosine(optimizer, case.num_steps)
    order = torch.randperm(len(images))
    begin = time.perf_counter()
    for step in range(case.num_steps):
        chosen = order[step * case.batch_size : (step + 1) * case.batch_size]
        inputs = (images[chosen].float() / 255 - MEAN) / STD
        loss = F.cross_entropy(network(inputs), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return case.num_steps * case.batch_size / (time.perf_counter() - begin)


class Pictures(Dataset[tuple[Tensor, int]]):
    """A torchvision data set in miniature: an image of PIL, transformed by itself."""

    def __init__(self, case: Case) -> None:
        self.images, self.labels = images_and_labels(case)
        self.transform = v2.Compose(
            [
                v2.RandomCrop(case.image_size, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([MEAN], [STD]),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index, 0].numpy())), int(self.labels[index])


class UsualModule(pl.LightningModule):
    """The LightningModule of the usual template: `self.log` in every step."""

    def __init__(self, network: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.network, self.num_steps = network, num_steps
        self.begin = self.end = 0.0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", (logits.argmax(1) == labels).float().mean(), on_step=False, on_epoch=True)
        return loss

    def on_train_batch_start(self, batch: object, batch_index: int) -> None:
        if batch_index == 0:
            self.begin = time.perf_counter()

    def on_train_batch_end(self, outputs: object, batch: object, batch_index: int) -> None:
        self.end, self.num_done = time.perf_counter(), batch_index + 1

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.005, weight_decay=0.05)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": cosine(optimizer, self.num_steps), "interval": "step"},
        }


def usual_template(case: Case) -> float:
    """torchvision data, per-sample transforms, DataLoader with two workers, `self.log` in each step."""
    module = UsualModule(network_of(case), case.num_steps)
    loader = DataLoader(
        Pictures(case), case.batch_size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=case.num_steps, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader)
    return module.num_done * case.batch_size / (module.end - module.begin)
