"""Config > rehearsal > **profile**: where the time of a training step goes, as a table and a trace.

Lightning tells a profiler what it begins and ends; here each thing has the time that is its own, without that of what
it calls, so that the parts add up to the whole.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from pytorch_lightning.profilers import Profiler

from leyden.config import Origin
from leyden.rehearsal import KEPT_FEATURES, Rehearsal
from leyden.run import write_atomically

WARM_UP_STEPS, STEPS, TRACED_STEPS = 10, 50, 5
NO_WORDS = "99"  # above every level: without a GPU it tells of an error, of which nobody has asked
AUGMENT = "augment"

# What an action of Lightning's belongs to: the first part with a word that its name contains.
PARTS = {
    "data": ("train_dataloader_next", "batch_to_device", "_transfer_batch", "train_dataloader"),
    "augmentation": (AUGMENT,),
    "forward and loss": ("training_step",),
    "backward": ("backward",),
    "optimizer": ("optimizer", "zero_grad", "clip", "lr_scheduler", "gradient"),
    "logging and callbacks": ("on_train_batch", "[Callback]", "on_before", "on_after"),
}
REST = "Lightning's loop"

ADVICE = {
    "data": "keep decoded images with data.cache=auto, raise data.num_workers, or store files at the training size",
    "augmentation": "leave out the dearest operation of augment (leyden preview shows them), or move training to a GPU",
    "forward and loss": "a smaller backbone or data.source.image_size, trainer.precision=bf16-mixed, or compile=true",
    "backward": "a smaller backbone or data.source.image_size, trainer.precision=bf16-mixed, or finetune=linear_probe",
    "optimizer": "raise batch_size or trainer.accumulate_grad_batches: fewer steps for the same images",
    "logging and callbacks": "raise trainer.log_every_n_steps, or switch callbacks off that you do not need",
    REST: "raise batch_size: the network is so small that steps wait for Python",
}


class Part(NamedTuple):
    """What a part of a step takes."""

    name: str
    milliseconds: float  # of a step
    share: float


def profile(config: DictConfig, directory: Path, origin: Origin) -> list[Part]:
    """Trains for some steps under a stopwatch; writes `profile.json` and `trace.json` to `directory`.

    `trace.json`, of a few more steps, is for https://ui.perfetto.dev or chrome://tracing. On a GPU every part waits for
    the device, so that its work counts where it belongs; steps overlap less than they do in training.
    """
    rehearsal = Rehearsal(config, origin)
    watch = Stopwatch(torch.device(rehearsal.accelerator))
    augment = rehearsal.classifier.augment
    hooks = [
        augment.register_forward_pre_hook(lambda *_: watch.start(AUGMENT)),
        augment.register_forward_hook(lambda *_: watch.stop(AUGMENT)),
    ]
    window = _Window(WARM_UP_STEPS, watch.begin, watch.end)
    rehearsal.run(WARM_UP_STEPS + STEPS, [window], watch)
    parts = parts_of(watch.kept, STEPS)
    directory.mkdir(parents=True, exist_ok=True)
    for hook in hooks:  # the trace is of steps that nobody stops
        hook.remove()
    os.environ.setdefault("KINETO_LOG_LEVEL", NO_WORDS)  # which the tracer's library reads when it is first used
    tracer = torch.profiler.profile()
    rehearsal.run(2 + TRACED_STEPS, [_Window(2, tracer.start, tracer.stop)])
    tracer.export_chrome_trace(str(directory / "trace.json"))
    facts = {"device": str(watch.device), "precision": rehearsal.precision, "batch_size": config.batch_size}
    found = facts | {"steps": STEPS, "parts": [part._asdict() for part in parts]}
    write_atomically(directory / "profile.json", json.dumps(found, indent=2) + "\n")
    is_mixed = rehearsal.precision.endswith("-mixed")
    print(describe(parts, window.num_images / STEPS, directory, is_mixed))
    if rehearsal.classifier.finetune.keeps_features:
        print(KEPT_FEATURES)
    return parts


def parts_of(seconds: Mapping[str, float], num_steps: int) -> list[Part]:
    """What each part of a step takes, the largest first, from the seconds of Lightning's actions."""
    sums: defaultdict[str, float] = defaultdict(float)
    for action, value in seconds.items():
        sums[next((part for part, words in PARTS.items() if any(word in action for word in words)), REST)] += value
    whole = sum(sums.values())
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    return [Part(name, 1000 * value / num_steps, value / whole) for name, value in ordered]


def describe(parts: Sequence[Part], images_per_step: float, directory: Path, is_mixed: bool = False) -> str:
    """The table, and what to do about its first row, in words; of half precision only where it is not there yet."""
    whole = sum(part.milliseconds for part in parts)
    rows = [*((part.name, part.milliseconds, part.share) for part in parts), ("a step in all", whole, 1.0)]
    advice = ADVICE[parts[0].name]
    if is_mixed:
        advice = advice.replace(", trainer.precision=bf16-mixed", "")
    lines = [f"{'part':24} {'ms':>9} {'share':>7}"]
    lines += [f"{name:24} {milliseconds:9.3f} {share:7.1%}" for name, milliseconds, share in rows]
    lines += [
        f"speed           {1000 * images_per_step / whole:,.0f} images/s",
        f"largest         {parts[0].name}: {advice}",
        f"trace           {directory / 'trace.json'}  (open it at https://ui.perfetto.dev)",
    ]
    return "\n".join(lines)


class Stopwatch(Profiler):
    """Gives each action of Lightning's the seconds that are its own; what it calls has its own in turn."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.running: list[str] = []
        self.last = time.perf_counter()
        self.kept: dict[str, float] = {}

    def start(self, action_name: str) -> None:
        """Stops the clock of what calls this action, and starts its own."""
        self._pass_time()
        self.running.append(action_name)

    def stop(self, action_name: str) -> None:
        """Stops an action's clock; what has called it goes on."""
        self._pass_time()
        if action_name in self.running:
            while self.running.pop() != action_name:
                pass

    def begin(self) -> None:
        """Forgets what was before: first steps make what later ones find."""
        self._pass_time()
        self.seconds.clear()

    def end(self) -> None:
        """Keeps what was measured: what follows is no step."""
        self._pass_time()
        self.kept = dict(self.seconds)

    def summary(self) -> str:
        """Nothing: `describe` has the words."""
        return ""

    def _pass_time(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self.running[-1] if self.running else REST] += now - self.last
        self.last = now


class _Window(Callback):
    """Calls `begin` before optimizer step `first`, and `end` after the last; counts the images between."""

    def __init__(self, first: int, begin: Callable[[], Any], end: Callable[[], Any]) -> None:
        self.first, self.begin, self.end = first, begin, end
        self.is_begun, self.num_images = False, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.first and not self.is_begun:
            self.is_begun = True
            self.begin()
        self.num_images += len(batch.labels) * self.is_begun

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == trainer.max_steps:
            self.end()
