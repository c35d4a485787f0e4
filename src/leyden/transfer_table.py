"""Weights > **what is made of them** > train: a table to look at before the first step, for the usual mistakes."""

from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from leyden.classifier import ImageClassifier
from leyden.data import ImageDataModule
from leyden.finetune import LAST_EPOCH, LinearProbe
from leyden.heads import NormedHead
from leyden.preprocessing import Preprocessing

DIGEST = "their SHA-256"


def rows(classifier: ImageClassifier, data: ImageDataModule, asked: Preprocessing | None) -> dict[str, str]:
    """What a fine-tune begins with and does, by its subject; empty where all begins anew and all trains."""
    loaded, finetune = classifier.loaded, classifier.finetune
    parameters = list(classifier.backbone.parameters()) + list(classifier.head.parameters())
    trainable = sum(parameter.numel() for parameter in finetune.rates())
    total = sum(parameter.numel() for parameter in parameters)
    if loaded is None and trainable == total and not finetune.changes_with_time:
        return {}
    told = {"weights": "new"} if loaded is None else _of_weights(loaded)
    told["images"] = _of_images(data, asked)
    if loaded:
        told["first convolution"] = loaded["adapted"] or "as it came"
        told["position embeddings"] = loaded["resized"]
        told["head"] = loaded["head"] + _of_scale(classifier)
    told["learns"] = f"{trainable:,} of {total:,} parameters"
    told["layers"] = _of_layers(classifier)
    told["batch norm"] = _of_batch_norm(classifier)
    return {subject: words for subject, words in told.items() if words}


def as_text(told: dict[str, str]) -> str:
    """The table, a line for each subject."""
    return "\n".join(f"{subject:20} {words}" for subject, words in told.items())


def _of_weights(loaded: dict[str, Any]) -> dict[str, str]:
    left_out = ", ".join(loaded["left_out"][:4]) + (", …" if len(loaded["left_out"]) > 4 else "")
    told = {"weights": f"{loaded['source']}: {loaded['num_tensors']} tensors, none missing"}
    told["left out of them"] = left_out
    told[DIGEST] = loaded["digest"]
    return told


def _of_images(data: ImageDataModule, asked: Preprocessing | None) -> str:
    def numbers(values: tuple[float, ...]) -> str:
        return ", ".join(f"{value:.4g}" for value in values)

    used = f"{data.image_size} of {data.stored_size} pixels, mean {numbers(data.mean)}, std {numbers(data.std)}"
    if asked is None:
        return used
    stored = round(asked.image_size * asked.margin)
    theirs = f"{asked.image_size} of {stored} pixels, mean {numbers(asked.mean)}, std {numbers(asked.std)}"
    return f"{used} (the weights saw {theirs}, {asked.interpolation})"


def _of_scale(classifier: ImageClassifier) -> str:
    """What a probe with a plain head could do better."""
    is_plain = isinstance(classifier.finetune, LinearProbe) and not isinstance(classifier.head, NormedHead)
    return "; head=normed gives the features of a probe equal scale, by which it learns faster" if is_plain else ""


def _of_layers(classifier: ImageClassifier) -> str:
    """How many are frozen at first and in the end, and the span of their rates."""
    finetune = classifier.finetune
    rates = sorted(set(finetune.rates().values()))
    span = f"{rates[0]:.3g}" if len(rates) == 1 else f"{rates[0]:.3g} to {rates[-1]:.3g}"
    first, last = finetune.num_frozen_layers(0), finetune.num_frozen_layers(LAST_EPOCH)
    frozen = f"{first} of {len(finetune.layers)} frozen" + (f" at first, {last} in the end" if first != last else "")
    return f"{frozen}; learning rates {span} times optimizer.lr"


def _of_batch_norm(classifier: ImageClassifier) -> str:
    norms = [module for module in classifier.backbone.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return ""
    fixed = sum(not norm.training for norm in norms)
    return f"{len(norms) - fixed} take the statistics of the batch, {fixed} keep theirs"
