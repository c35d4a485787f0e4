"""Faults > **settings**: the runs that are struck; small, yet with everything that a resume could forget."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leyden.config import CONFIG_DIRECTORY

EVERYTHING = ["logger=csv", "trainer.precision=32", "callbacks.checkpoints.every_n_steps=7"]


@dataclass(frozen=True)
class Setting:
    """The overrides of a run, and the files that it reads."""

    name: str
    overrides: list[str]
    make_files: Callable[[Path], list[str]] | None = None
    fresh: bool = False  # Lightning starts other ranks by repeating the command line: no fork could

    def prepare(self, directory: Path) -> list[str]:
        """The whole list of overrides; the data is written below `directory` where the run reads files."""
        files = self.make_files(directory) if self.make_files else []
        return [*self.overrides, *EVERYTHING, *files]


ADAMW = Setting(
    "adamw",
    [
        "trainer=cpu", "backbone=mlp", "backbone.width=16", "backbone.dropout=0.1", "augment=strong",
        "optimizer=adamw", "schedule=cosine", "callbacks.ema.decay=0.9", "epochs=8",
    ],
)  # fmt: skip
SGD = Setting(
    "sgd",
    [
        "trainer=cpu", "backbone=cnn", "backbone.widths=[4,8]", "head.dropout=0.1", "augment=flip_crop",
        "optimizer=sgd", "optimizer.lr=0.1", "schedule=plateau", "schedule.patience=0",
        "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0",
        "callbacks.early_stopping.patience=2", "epochs=9",
    ],
)  # fmt: skip
DDP = Setting(
    "ddp",
    [
        "trainer=ddp", "trainer.accelerator=cpu", "backbone=mlp", "backbone.width=16", "backbone.dropout=0.1",
        "augment=strong", "callbacks.ema.decay=0.9", "epochs=12",
    ],
    fresh=True,
)  # fmt: skip


def digits_as_files(directory: Path) -> list[str]:
    """Six hundred digits as PNG files, one folder per class."""
    import numpy
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:600], digits.target[:600], strict=True)):
        path = directory / "images" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(numpy.uint8)).save(path)
    return [f"data.root={directory / 'images'}"]


FILES = Setting(
    "files",
    [
        "trainer=cpu", "data=image_folder", "data.source.image_size=8", "data.source.channels=1",
        "data.source.mean=[0.3]", "data.source.std=[0.4]", "data.num_workers=2", "data.on_error=fail",
        "data.cache=none", "batch_size=32",
        "backbone=mlp", "backbone.width=16", "augment=strong",
        "callbacks.ema.decay=0.9", "epochs=7",
    ],
    digits_as_files,
)  # fmt: skip
# Every way of fine-tuning but `full`, the others' own; batch norm and dropout tell what is frozen from what is not.
WAYS = tuple(
    Setting(
        path.stem,
        [
            *("trainer=cpu", f"finetune={path.stem}", "backbone=mlp", "backbone.width=16", "backbone.batch_norm=true"),
            *("backbone.dropout=0.1", "augment=strong", "optimizer=adamw", "callbacks.ema.decay=0.9", "epochs=8"),
            *(["augment.mix=null"] if path.stem == "linear_probe" else []),  # kept features cannot be mixed
        ],
    )
    for path in sorted((CONFIG_DIRECTORY / "finetune").glob("*.yaml"))
    if path.stem != "full"
)
