"""Run directory > **trained network** > the commands about a run: what it has learnt, ready to answer.

A checkpoint is enough to build it again: the data, which may be gone, is not asked.
"""

import contextlib
import csv
import importlib.util
import logging
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from leyden.build import build_classifier
from leyden.check import check_groups, modules_named
from leyden.checkpoint import (
    BEST,
    BEST_COPY,
    LAST,
    DamagedCheckpoint,
    is_of_the_average,
    read_checkpoint,
    weights_that_answer,
)
from leyden.classifier import ImageClassifier
from leyden.config import Origin
from leyden.data import Batch
from leyden.data.facts import DataFacts, facts_of
from leyden.data.image_file import read_image
from leyden.data.sources import Task
from leyden.draw import CLASSES_FILE
from leyden.errors import explain
from leyden.finetune import merge_adapters
from leyden.hardware import choose_accelerator
from leyden.metrics import MultiLabelMetrics
from leyden.report.collect import collect
from leyden.run import is_study, read_record

if TYPE_CHECKING:
    from leyden.export.opened import Opened

log = logging.getLogger(__name__)

NAMED = {"best": BEST, "last": LAST}
PARTS = ("augment", "backbone", "head", "loss", "finetune", "optimizer", "schedule", "test_time")  # of a classifier


class Network(Protocol):
    """What answers about images, be it a run's network or an export of one."""

    facts: DataFacts

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, K], divided by the temperature, or numbers [B], of uint8 images [B, C, stored, stored]."""
        ...


class Trained:
    """The network of a run, on a device, evaluating: with the weights, the views and the temperature of its test.

    Its answers are those that the run was tested with; `classifier` is the network itself, of which adapters are folded
    into the weights beside them. `checkpoint` is `best`, `last` or a file; where the run picks its best by averaged
    weights, these answer.

    Raises:
        ValueError: no checkpoint is there, it is damaged, or of another version; names the file.
    """

    def __init__(self, source: Path, checkpoint: str = "best", accelerator: str = "auto") -> None:
        self.directory = best_of_study(source) if is_study(source) else source
        self.path = find_checkpoint(self.directory, checkpoint)
        if source.is_file() and source.absolute().parent.name == "checkpoints":  # within its run
            self.directory = source.absolute().parent.parent
        state = read_whole(self.path)
        self.run: dict[str, Any] = state["run"]  # what the checkpoint says of its run
        self.record = _record_beside(self.directory, self.run)
        config = OmegaConf.create(self.run["config"])
        assert isinstance(config, DictConfig)
        self.config = config
        see_own_parts_of(self.record, config)
        self.facts = facts_of(self.run["data"], config.data.get("margin", 1.0))  # which images in memory have not
        self.device = torch.device(choose_accelerator(accelerator, "device"))
        self.is_averaged = is_of_the_average(self.run)
        self.classifier = build_again(config, self.facts, self.path, state["leyden"].get("version"))
        self._load(state)
        self.test_time = self.classifier.test_time
        self.test_time.temperature = self._temperature()
        self.classifier.eval().requires_grad_(False).to(self.device)

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, K], divided by the temperature, or numbers [B], of uint8 images [B, C, stored, stored]."""
        with torch.inference_mode(), self.precision():
            normalised = self.classifier.augment.normalize(images.to(self.device))
            return self.test_time.answer(self.classifier, normalised).float().cpu()

    def kept_thresholds(self) -> Tensor:
        """Of several labels: from which logits [K] on one is given, by what its test went by, or its checkpoint."""
        path = self.directory / CLASSES_FILE
        kept: list[float] | None = None
        if self.path.name == BEST and "metrics" in self.record:  # of the weights that were tested, no others
            if self.is_averaged:  # the table is of the raw weights
                kept = self.record.get("calibration", {}).get("ema_thresholds")
            elif path.is_file():
                with path.open(newline="", encoding="utf-8") as file:
                    kept = [float(row["threshold"]) for row in csv.DictReader(file)]
        if kept is not None:
            return torch.tensor(kept, dtype=torch.float64).logit().float()  # in single precision 1 is no logit above 17
        own = self.classifier.test_metrics
        assert isinstance(own, MultiLabelMetrics)
        return own.thresholds.logits.cpu() / self.test_time.temperature

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """The precision that the run was tested in, where the device has it."""
        kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        kind = kinds.get(str(self.run["precision"]))
        if kind is None or (kind == torch.float16 and self.device.type == "cpu"):
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=kind)

    def _load(self, state: dict[str, Any]) -> None:
        weights = weights_that_answer(state)
        try:
            self.classifier.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"{self.path} does not fit the network that its own config names: it was written by Leyden "
                f"{state['leyden'].get('version')}, use that version"
            ) from error
        if self.is_averaged and (chosen := state["callbacks"]["Ema"].get("metrics")):  # by validation, thresholds
            self.classifier.test_metrics.load_state_dict(chosen["test"])
        merge_adapters(self.classifier.backbone)

    def _temperature(self) -> float:
        """The one that the run has chosen for these weights; of others none is known."""
        chosen = self.record.get("calibration", {})
        found = chosen.get("ema_temperature" if self.is_averaged else "temperature")
        if found is None or self.path.name != BEST:
            if self.test_time.fits_temperature:
                log.warning("%s: no temperature was chosen for these weights: 1 is taken", self.path)
            return 1.0
        return float(found)


def open_network(source: Path, checkpoint: str = "best", accelerator: str = "auto") -> "Trained | Opened":
    """What answers: the network of a run's directory, of a study's best run, of a checkpoint, or of an export of one
    (.onnx, .pt2, or a directory), also where W&B has it (`wandb:<entity>/<project>/<artefact>:<alias>`).

    Exports answer on the CPU, and hold one checkpoint.

    Raises:
        ValueError: nothing of these is there, or it is damaged; names it.
    """
    from leyden.export import opened, remote

    source = remote.fetch(source) if remote.is_remote(source) else source
    if opened.is_export(source):
        if checkpoint != "best":
            log.warning("checkpoint=%s is not used: %s is an export, which holds one", checkpoint, source)
        if accelerator not in ("auto", "cpu"):
            log.warning("device=%s is not used: %s is an export, which answers on the CPU", accelerator, source)
        return opened.open_export(source)
    return Trained(source, checkpoint, accelerator)


class Answers(NamedTuple):
    """What a network says of N images, in the order in which they came."""

    outputs: Tensor  # logits [N, K], or numbers [N]
    labels: Tensor
    indices: Tensor  # of the images in their data


def ask(network: Network, batches: Iterable[Batch]) -> Answers:
    """Answers of all batches, on the CPU."""
    parts = [(network.logits(batch.images), batch.labels.cpu(), batch.indices.cpu()) for batch in batches]
    return Answers(*(torch.cat(part) for part in zip(*parts, strict=True)))


def probabilities_of(outputs: Tensor, task: Task) -> Tensor:
    """Probabilities [N, K] of logits; numbers stay as they are."""
    if task == "regression":
        return outputs
    return outputs.softmax(1) if task == "single_label" else outputs.sigmoid()


def read_for(facts: DataFacts, path: str | Path) -> Tensor:
    """An image file as the network wants it, uint8 [C, stored, stored].

    Raises:
        Exception: as `read_image`, for a file that is no image.
    """
    return read_image(str(path), facts.stored_size, facts.channels)


def build_again(config: DictConfig, facts: DataFacts, source: Path, version: str) -> ImageClassifier:
    """The classifier of a run's config with new weights, whatever it once began with.

    Raises:
        ValueError: a part is not known here; names `source`, which holds the config, and the version that wrote it.
    """
    config = config.copy()
    try:
        config.weights, config.compile = None, False
        check_groups(config, PARTS, Origin())
        if config.backbone.get("pretrained"):
            config.backbone.pretrained = False
        return build_classifier(config, facts)
    except (ValueError, TypeError, KeyError, ImportError, HydraException, OmegaConfBaseException) as error:
        raise ValueError(
            f"{source}: its network cannot be built here ({explain(error)}): it was written by Leyden {version}, use "
            "that version; modules of your own are found where the command is typed, and where the run was"
        ) from error


def see_own_parts_of(record: dict[str, Any], config: DictConfig) -> None:
    """A run's modules that are not found here are taken from where it was called, and that is said."""
    there = str(record.get("working_directory", ""))
    lacking = [name for name in sorted(modules_named(config)) if not _is_found(name)]
    found = [name for name in lacking if there and PathFinder.find_spec(name, [there])]
    if found:
        sys.path.append(there)  # behind all that is known here
        log.warning("%s: not found here, taken from %s, where the run was called", ", ".join(found), there)


def _is_found(module: str) -> bool:
    """Whether it could be imported; a directory that is merely called so, as a project is beside it, does not count."""
    if module in sys.modules or not module:  # of no name the check tells
        return True
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def best_of_study(directory: Path) -> Path:
    """The directory of the run that validation likes best of a study's finished ones.

    Raises:
        ValueError: none has finished, or they saw different images, so that they cannot be compared.
    """
    try:
        return collect([directory]).best_first()[0].directory
    except ValueError as error:
        raise ValueError(
            f"run={directory}: the best run of this study is not known ({error}): give the directory of one of its runs"
        ) from error


def read_whole(path: Path) -> dict[str, Any]:
    """The state in a checkpoint; where the best one is damaged, that in its copy, which is warned of.

    Raises:
        ValueError: it is damaged, and so is its copy.
    """
    try:
        return read_checkpoint(path)
    except DamagedCheckpoint as error:
        copy = path.with_name(BEST_COPY)
        if path.name != BEST or not copy.is_file():
            raise
        state = read_checkpoint(copy)
        log.warning("%s; its copy %s is taken", error, copy.name)
        return state


def find_checkpoint(directory: Path, checkpoint: str) -> Path:
    """The file of a run's checkpoint: `best`, `last`, or one by its path; a file stands for itself.

    Raises:
        ValueError: there is none.
    """
    if directory.is_file():
        if directory.suffix != ".ckpt" and not zipfile.is_zipfile(directory):  # which torch's files are
            raise ValueError(f"run={directory} is no checkpoint: give a run's directory, a study's, or a checkpoint")
        if checkpoint != "best":
            log.warning("checkpoint=%s is not used: %s is one", checkpoint, directory)
        return directory
    if not directory.is_dir():
        raise ValueError(
            f"run={directory}: nothing is there; give a run's directory, a study's, a checkpoint, an export"
        )
    if checkpoint not in NAMED:
        path = Path(checkpoint)
        if not path.is_file():
            raise ValueError(f"checkpoint={checkpoint} is no file: give one, or {' or '.join(NAMED)}")
        return path
    path = directory / "checkpoints" / NAMED[checkpoint]
    if not path.is_file():
        if not (directory / "run.json").is_file():
            raise ValueError(f"run={directory} holds no run: give a run's directory, a study's, or a checkpoint")
        status = read_record(directory)["status"]
        raise ValueError(
            f"{directory} has no checkpoints/{path.name}, and its status is {status}: give a run whose training has "
            "come to a validation, or go on with it by `leyden resume`"
        )
    return path


def _record_beside(directory: Path, run: dict[str, Any]) -> dict[str, Any]:
    """run.json of a directory where it is that of the checkpoint's run; warns of one that has not finished."""
    if not (directory / "run.json").is_file():
        return {}
    record = read_record(directory)
    if record.get("run_id") != run["run_id"]:
        log.warning("%s is of another run than run.json there, which is not used", directory)
        return {}
    if record["status"] != "finished":
        log.warning(
            "%s has not finished (%s): its weights are those of its best epoch so far", directory, record["status"]
        )
    return record


def modules_of(network: Trained) -> nn.Sequential:
    """Backbone and head as one module: normalised images [B, C, H, W] to logits [B, K], one look, no temperature."""
    parts = {"backbone": network.classifier.backbone, "head": network.classifier.head}
    return nn.Sequential(OrderedDict(parts))
