"""Checkpoint > **test time** > metrics: several views of an image asked instead of one, and how sure an answer is.

Shapes: B images of a batch, C channels, H x W pixels, K classes.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from leyden.data.sources import Task

VIEWS = ("plain", "flips", "flips_turns")


class TestTime:
    """Answers with the mean over views of an image: itself (plain), mirrored too (flips), or all eight flips and turns.

    Of classes the mean is that of probabilities. With `temperature`, logits are divided by the one number that makes
    the validation images' labels likeliest (Guo et al. 2017): an answer stays, how sure it is changes.
    """

    __test__ = False  # pytest takes it for a test by its name

    def __init__(self, task: Task, views: str = "plain", temperature: bool = False) -> None:
        if views not in VIEWS:
            raise ValueError(f"test_time.views={views}: expected {', '.join(VIEWS[:-1])} or {VIEWS[-1]}")
        if temperature and task == "regression":
            raise ValueError("test_time.temperature=true is for classes, and the labels are numbers: give false")
        self.task, self.views, self.fits_temperature, self.temperature = task, views, temperature, 1.0

    def answer(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Logits [B, K] of normalised images [B, C, H, W], or numbers [B]."""
        return self.average(network, images) / self.temperature  # which is 1 for numbers

    def average(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What the views say together, as logits [B, K] again, or numbers [B]."""
        answers = torch.stack([network(view).float() for view in self._views_of(images)])
        if len(answers) == 1:
            return answers[0]
        if self.task == "regression":
            return answers.mean(0)
        if self.task == "multi_label":
            return answers.sigmoid().mean(0).logit(eps=1e-7)
        return answers.log_softmax(2).logsumexp(0) - math.log(len(answers))

    def _views_of(self, images: Tensor) -> Iterator[Tensor]:
        yield images
        if self.views == "flips":
            yield images.flip(3)
        if self.views == "flips_turns":
            yield images.flip(3)
            for turns in (1, 2, 3):
                turned = images.rot90(turns, (2, 3)).contiguous(memory_format=torch.channels_last)
                yield turned
                yield turned.flip(3)


def fit_temperature(logits: Tensor, labels: Tensor, task: Task) -> float:
    """The temperature under which labels [N] (or [N, K] of zeros and ones) are likeliest, between 1/20 and 20."""
    logits, labels = logits.double(), labels if task == "single_label" else labels.double()
    loss = F.cross_entropy if task == "single_label" else F.binary_cross_entropy_with_logits

    def negative_log_likelihood(log_temperature: float) -> float:
        return float(loss(logits / math.exp(log_temperature), labels))

    bound = math.log(20)
    return math.exp(minimize_scalar(negative_log_likelihood, bounds=(-bound, bound), method="bounded").x)


@torch.no_grad()
def calibrate(trainer: Any, classifier: Any, data: Any) -> dict[str, float]:
    """Fits the temperature on the validation images, with the weights that are tested; what a run's record says of it.

    Each rank answers its share, and all fit the same number.
    """
    task, test_time = data.task, classifier.test_time
    device = trainer.strategy.root_device
    classifier.to(device).eval()
    answers, labels = [], []
    for batch in data.val_dataloader():
        images = classifier.augment.normalize(batch.images.to(device))
        with trainer.precision_plugin.val_step_context():
            answers.append(test_time.average(classifier, images).float().cpu())
        labels.append(batch.labels.cpu())
    gathered = [(torch.cat(answers), torch.cat(labels))]
    if torch.distributed.is_initialized():
        gathered = [None] * torch.distributed.get_world_size()  # type: ignore[list-item]
        torch.distributed.all_gather_object(gathered, (torch.cat(answers), torch.cat(labels)))
    all_answers, all_labels = (torch.cat(parts) for parts in zip(*gathered, strict=True))
    test_time.temperature = fit_temperature(all_answers, all_labels, task)
    loss = F.cross_entropy if task == "single_label" else F.binary_cross_entropy_with_logits
    of_loss = all_labels if task == "single_label" else all_labels.float()
    return {
        "temperature": test_time.temperature,
        "val_loss_before": float(loss(all_answers, of_loss)),
        "val_loss_after": float(loss(all_answers / test_time.temperature, of_loss)),
    }
