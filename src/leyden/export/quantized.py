"""ONNX > **8 bits** > its place: weights of a quarter of the size, and what that costs in answers."""

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.data.sources import Task
from leyden.export.images import RealImages
from leyden.export.opened import Opened
from leyden.intervals import wilson
from leyden.metric_names import HEADLINES, is_percentage
from leyden.metrics import metrics_for
from leyden.run import without_words_of
from leyden.trained import Answers, ask, probabilities_of


def write_quantized(source: Path, path: Path) -> None:
    """Writes an .onnx file again with weights of 8 bits, each layer's inputs brought to 8 bits as they come.

    ONNX Runtime's dynamic quantisation, of unsigned weights: its convolutions on CPUs take no others.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with without_words_of("root"):  # it recommends a preparation that the exporter has done
        quantize_dynamic(source, path, weight_type=QuantType.QUInt8)


def cost(whole: Opened, quantized: Opened, real: RealImages) -> dict[str, Any]:
    """The headline metric before and after on all test images, and how often the answers agree; the latter alone, on
    the images that there are, where the data is gone."""
    task = whole.facts.task
    told: dict[str, Any] = {}
    if real.data is None:
        before, after = (network.logits(real.images) for network in (whole, quantized))
    else:
        with contextlib.chdir(real.place):  # its paths may be relative
            answers = [ask(network, real.data.test_dataloader()) for network in (whole, quantized)]
        told = {"metric": HEADLINES[task], "images": len(answers[0].labels)}
        told |= {when: _headline(each, whole) for when, each in zip(("before", "after"), answers, strict=True)}
        before, after = (each.outputs for each in answers)
    thresholds = (
        None if whole.thresholds is None else torch.tensor(whole.thresholds, dtype=torch.float64).logit().float()
    )
    return told | agreement(before, after, task, thresholds)


def agreement(before: Tensor, after: Tensor, task: Task, thresholds: Tensor | None) -> dict[str, float]:
    """The share of images with the same answer, and the largest difference of a probability; of numbers of those.

    Of several labels an answer is which of them reach the run's thresholds, as logits [K].
    """
    difference = (probabilities_of(after, task) - probabilities_of(before, task)).abs().max()
    told = {"difference": float(difference)}
    if task == "single_label":
        told["same"] = float((before.argmax(1) == after.argmax(1)).double().mean())
    elif task == "multi_label":
        assert thresholds is not None
        told["same"] = float(((before >= thresholds) == (after >= thresholds)).all(1).double().mean())
    return told


def in_words(told: dict[str, Any], words: str, num_images: int) -> str:
    """One line: the metric before and after, with 95 % intervals where it is an accuracy, and the agreement."""
    parts = []
    if "metric" in told:
        name, count = told["metric"], told["images"]
        values = [_value_in_words(name, told[when], count) for when in ("before", "after")]
        parts.append(f"{name} {values[0]} before, {values[1]} after, on all {count:,} {words}")
    else:
        parts.append(f"on {num_images} {words}, for the run's data is not here")
    if "same" in told:
        parts.append(f"the same answer to {told['same']:.2%}")
    parts.append(f"{'numbers' if 'same' not in told else 'probabilities'} differ by up to {told['difference']:.2g}")
    return "; ".join(parts)


def _headline(answers: Answers, network: Opened) -> float:
    metric = metrics_for(network.facts.task, network.facts.class_names)[1]
    with torch.inference_mode():
        metric.update(answers.outputs, answers.labels)
        return float(metric.compute()[HEADLINES[network.facts.task]])


def _value_in_words(name: str, value: float, count: int) -> str:
    if not is_percentage(name):
        return f"{value:.4g}"
    if name != "accuracy":
        return f"{value:.2%}"
    low, high = wilson(round(value * count), count)
    return f"{value:.2%} ({low:.2%} to {high:.2%})"
