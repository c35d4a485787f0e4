"""Trained network > **subject** > evaluate: which images are asked, of the run's own data or of others.

A network wants images of its own size and channels, and labels that are its own classes: other data are made so.
"""

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor
from torch.nn import functional as F

from leyden.build import instantiate
from leyden.check import check_groups
from leyden.config import Origin, compose, leaves, own_directories
from leyden.data import Batch, ImageDataModule
from leyden.data.facts import DataFacts
from leyden.data.sources import TEST, Files, Images
from leyden.errors import explain
from leyden.options import with_absolute_path
from leyden.resume import apply_change
from leyden.trained import Answers, Network, ask

log = logging.getLogger(__name__)

SPLITTING = ("validation_fraction", "test_fraction", "split_seed", "fold", "folds")
MOST_NAMED = 5
GREY = (0.299, 0.587, 0.114)  # what red, green and blue give to it (ITU-R BT.601, as Pillow has it)


class Subject(NamedTuple):
    """Images that are asked, and how their labels are to be read."""

    data: ImageDataModule
    indices: Tensor  # int64 [N], ascending
    split: str  # test, val, all
    is_own: bool  # the data that the run was trained with
    places: Tensor | None  # int64: of each of the data's classes its place among the network's, -1 for none

    @property
    def name(self) -> str:
        """What names the results: the split, of other data after their name."""
        return self.split if self.is_own else f"{self.data.name}_{self.split}"


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words for the data, and those for other data (`ood`) as words for data; paths that exist become absolute.

    Options of the user's own are those of where the command is typed, wherever it works afterwards.
    """
    found: tuple[list[str], list[str]] = [], []
    places = json.dumps([f"file://{place}" for place in own_directories()], ensure_ascii=False)
    for word in words:
        key, _, value = with_absolute_path(word).partition("=")
        is_outside = key.split(".")[0] == "ood"
        found[is_outside].append(f"{re.sub('^ood', 'data', key)}={value}")
        if key in ("data", "ood"):
            found[is_outside].append(f"hydra.searchpath={places}")
    return found


@contextlib.contextmanager
def called_ood() -> Iterator[None]:
    """Errors speak of the keys of other data as they are given."""
    try:
        yield
    except ValueError as error:
        raise ValueError(re.sub(r"(^|(?<=[ ']))data(?=[.=])", "ood", str(error))) from error


def compose_data(words: Sequence[str], run: DictConfig, facts: DataFacts) -> DictConfig:
    """A config whose `data` is what the words say: another option of the group, or the run's own with changes.

    Image size, channels, normalisation, margin and the manner of splitting are the run's, unless words say otherwise.

    Raises:
        ValueError: a key is not known, or one has no value.
    """
    if not any(word.startswith("data=") for word in words):
        config = run.copy()
        for word in words:
            apply_change(word, config)
    else:
        config = _composed(words)
        given = {word.partition("=")[0] for word in words}
        wanted = {f"data.source.{name}": getattr(facts, name) for name in ("image_size", "channels", "mean", "std")}
        wanted["data.margin"] = facts.margin
        wanted |= {f"data.{name}": run.data[name] for name in SPLITTING if name in run.data}
        wanted["data.batch_size"] = run.batch_size
        for key, value in wanted.items():
            place, _, name = key.rpartition(".")
            if key not in given and name in OmegaConf.select(config, place):
                OmegaConf.update(config, key, list(value) if isinstance(value, tuple) else value)
    with open_dict(config):
        if "cache" in config.data:
            config.data.cache = "none"  # only what is asked is decoded
    check_groups(config, ["data"], Origin(words))
    return config


def _composed(words: Sequence[str]) -> DictConfig:
    try:
        config = compose(words)
    except (HydraException, OmegaConfBaseException) as error:  # of these words, which are not all of the command line
        raise ValueError(explain(error, words)) from error
    plain = OmegaConf.to_container(config.data, resolve=False)
    missing = [f"data.{key}" for key, value in leaves(plain) if value == "???"]  # type: ignore[arg-type]
    if missing:
        raise ValueError(f"{missing[0]} has no value: give one, as in {missing[0]}=…")
    OmegaConf.resolve(config)
    return config


def open_subject(
    words: Sequence[str], run: DictConfig, recorded: dict[str, Any], facts: DataFacts, split: str
) -> Subject:
    """The images that words ask for, of `facts`' network; `recorded` is what its run says of its data.

    Raises:
        ValueError: they cannot be read, their task is another, or none of their classes is the network's.
    """
    config = compose_data(words, run, facts)
    data: ImageDataModule = instantiate(config.data)
    loaded = data.load()
    is_own = _is_own(data, recorded, bool(words))
    if is_own:
        split = "test" if split == "auto" else split
        if split != "all":
            _check_splitting(config, run)
        data.divide(loaded)
        if split == "all":
            log.warning("%s: %s of the images were learnt from", data.name, len(data.train_indices))
        return Subject(data, _of_split(data, split), split, True, None)
    if data.task != facts.task:
        raise ValueError(f"{data.name} is {data.task}, and the run has learnt {facts.task}: give data of that kind")
    places = match_classes(data, facts)
    own_test = _test_part(loaded)
    if split == "auto":
        split = "all" if own_test is None else "test"
    if split == "test" and own_test is not None:  # without splitting the rest, which may be too small for it
        chosen = own_test
    else:
        if split != "all":
            data.divide(loaded)
        chosen = _of_split(data, split)
    if places is not None and facts.task == "single_label":
        is_known = places[data.labels.cpu()[chosen]] >= 0
        if not is_known.all():
            log.warning("%s images are of classes that the run does not know: left out", int((~is_known).sum()))
        chosen = chosen[is_known]
    if not len(chosen):
        raise ValueError(f"{data.name}: no image is left to ask: give another split or other data")
    return Subject(data, chosen, split, False, places)


def open_outside(words: Sequence[str], run: DictConfig, facts: DataFacts) -> Subject:
    """The images of another data set, whatever their labels: its test part, or all where it has none."""
    with called_ood():
        data: ImageDataModule = instantiate(compose_data(words, run, facts).data)
        own_test = _test_part(data.load())
    if own_test is None:
        return Subject(data, torch.arange(len(data.labels)), "all", False, None)
    return Subject(data, own_test, "test", False, None)


def _test_part(loaded: Images | Files) -> Tensor | None:
    """The images of the data's own test part; None where it has none."""
    if loaded.parts is None or not (loaded.parts == TEST).any():
        return None
    return (loaded.parts == TEST).nonzero().flatten()


def _is_own(data: ImageDataModule, recorded: dict[str, Any], is_given: bool) -> bool:
    """Whether these are the images that the network was trained with: the same ones, in the same splits."""
    is_same = data.layout == recorded["layout"]
    if not is_same and (not is_given or data.name == recorded["name"]):
        log.warning("%s: its images or labels have changed since: some may have been learnt from", data.name)
    return is_same or not is_given


def _check_splitting(config: DictConfig, run: DictConfig) -> None:
    """Refuses to split the run's own images otherwise than it did, which would test on what it has learnt from."""
    for key in SPLITTING:
        if key in run.data and config.data.get(key) != run.data[key]:
            kept = "null" if run.data[key] is None else run.data[key]
            raise ValueError(
                f"data.{key}={config.data.get(key)}: the run has data.{key}={kept}, and another split would ask about "
                "images that it has learnt from: leave it out"
            )


def _of_split(data: ImageDataModule, split: str) -> Tensor:
    if split == "all":
        return torch.arange(len(data.labels))
    return (data.test_indices if split == "test" else data.val_indices).cpu()


def match_classes(data: ImageDataModule, facts: DataFacts) -> Tensor | None:
    """Of each of the data's classes the place among the network's, by name, -1 for none; None where all are alike.

    Raises:
        ValueError: none is known to the network.
    """
    if data.class_names == facts.class_names:
        return None
    known = {name: place for place, name in enumerate(facts.class_names)}
    places = torch.tensor([known.get(name, -1) for name in data.class_names])
    unknown = [name for name in data.class_names if name not in known]
    absent = [name for name in facts.class_names if name not in data.class_names]
    if len(unknown) == len(data.class_names):
        raise ValueError(
            f"{data.name}: none of its classes ({_some(unknown)}) is one of the run's ({_some(facts.class_names)}): "
            "name them alike"
        )
    if unknown:
        log.warning("%s: the run does not know the classes %s", data.name, _some(unknown))
    if absent:
        log.warning("%s: it has no class %s of the run", data.name, _some(absent))
    return places


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def batches(subject: Subject, facts: DataFacts, indices: Tensor | None = None) -> Iterator[Batch]:
    """The images of a subject (or some of its data) as the network wants them, with labels that are its classes."""
    data = subject.data
    for batch in data.batches(subject.indices if indices is None else indices, data.evaluation_batch_size):
        yield Batch(fitted(batch.images, facts), labels_of(batch.labels, subject.places, facts), batch.indices)


def answers_of(network: Network, subject: Subject, indices: Tensor | None = None) -> Answers:
    """What the network says of a subject (or some of its data), in the order of the images' numbers.

    Raises:
        ValueError: not one of these images can be read.
    """
    found = ask(network, batches(subject, network.facts, indices))
    if not len(found.labels):
        raise ValueError(f"{subject.data.name}: none of its images could be read")
    order = found.indices.argsort()
    return Answers(*(part[order] for part in found))


def labels_of(labels: Tensor, places: Tensor | None, facts: DataFacts) -> Tensor:
    """Labels [B] or [B, K'] of other data as labels among the network's classes."""
    if places is None:
        return labels
    if facts.task == "single_label":
        return places[labels.cpu()]
    found = torch.zeros(len(labels), facts.num_classes)
    found[:, places[places >= 0]] = labels.cpu()[:, places >= 0]
    return found


def fitted(images: Tensor, facts: DataFacts) -> Tensor:
    """uint8 [B, C, H, W] with the channels and the size that a network wants; what fits stays as it is."""
    channels, side = images.shape[1], facts.stored_size
    if channels == facts.channels and images.shape[2:] == (side, side):
        return images
    pixels = images.float()
    if channels == 3 and facts.channels == 1:
        pixels = (pixels * torch.tensor(GREY, device=pixels.device)[:, None, None]).sum(1, keepdim=True)
    if images.shape[2:] != (side, side):
        pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return pixels.round().clamp(0, 255).byte().expand(-1, facts.channels, -1, -1).contiguous()
