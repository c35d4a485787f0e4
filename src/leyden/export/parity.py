"""Export > **parity** > its place: whether what was written answers as the network that was trained."""

import math

import torch
from torch import Tensor

from leyden.export.opened import Opened
from leyden.heads import Number
from leyden.trained import Trained, probabilities_of

TOLERANCE = 1e-4
BATCH_SIZE = 32


def expected_answers(network: Trained, images: Tensor) -> Tensor:
    """Logits [N, K], or numbers [N], as the run's test computes them, in single precision."""
    classifier = network.classifier
    with torch.inference_mode():
        parts = [
            network.test_time.answer(classifier, classifier.augment.normalize(part)).float()
            for part in images.split(BATCH_SIZE)
        ]
    return torch.cat(parts)


def largest_difference(network: Trained, written: Opened, images: Tensor) -> float:
    """The largest difference of any answer to real images uint8 [N, C, S, S], asked one by one and in batches.

    Of probabilities as it is; of logits and numbers as a share of the answer where that is above 1, or above the
    deviation of the numbers that were learnt. A NaN is one of infinity.
    """
    expected = expected_answers(network, images)
    task = network.facts.task
    head = network.classifier.head
    unit = float(head.deviation) if isinstance(head, Number) else 1.0
    parts = [images[:1], *images[1:].split(BATCH_SIZE)]
    found = [written.outputs_of(part) for part in parts if len(part)]
    outputs = [torch.cat(answers) for answers in zip(*found, strict=True)]
    truths = [expected] if task == "regression" else [expected, probabilities_of(expected, task)]
    pairs = zip(outputs, truths, strict=True)
    worst = [
        ((output - truth).abs() / truth.abs().clamp(min=unit)).nan_to_num(math.inf).max() for output, truth in pairs
    ]
    return float(max(worst))


def check(network: Trained, written: Opened, images: Tensor) -> float:
    """The largest difference, where it is small enough.

    Raises:
        ValueError: it is not; says how large it is.
    """
    difference = largest_difference(network, written, images)
    if difference > TOLERANCE:
        raise ValueError(
            f"what was written answers otherwise than the network, by up to {difference:.2g}, and {TOLERANCE:g} is "
            "allowed: nothing is kept; give another format"
        )
    return difference
