"""Checkpoint > **test time** > metrics: several views of an image asked instead of one, and how sure an answer is.

Shapes: B images of a batch, C channels, H x W pixels, K classes.
"""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from leyden.data.sources import Task
from leyden.gather import of_all_ranks
from leyden.metrics import check_numbers

log = logging.getLogger(__name__)

VIEWS = ("plain", "flips", "flips_turns")
LARGEST_TEMPERATURE = 20.0  # and 1/20 the smallest
CHI_SQUARE_95 = 3.841458820694124  # quantile of the chi-square distribution with one degree of freedom


class TestTime:
    """Answers with the mean over views of an image: itself (plain), mirrored too (flips), or all eight flips and turns.

    Of classes the mean is that of probabilities. With `temperature`, logits are divided by the one number that makes
    the validation images' labels likeliest (Guo et al. 2017), where these can tell it from 1: an answer stays, how sure
    it is changes.
    """

    __test__ = False  # pytest takes it for a test by its name

    def __init__(self, task: Task, views: str = "plain", temperature: bool = False) -> None:
        if views not in VIEWS:
            raise ValueError(f"test_time.views={views}: expected {', '.join(VIEWS[:-1])} or {VIEWS[-1]}")
        if temperature and task == "regression":
            raise ValueError("test_time.temperature=true is for classes, and the labels are numbers: give false")
        self.task, self.views, self.fits_temperature, self.temperature = task, views, temperature, 1.0

    @property
    def is_chosen(self) -> bool:
        """Whether validation has something to choose for it beside the weights."""
        return self.fits_temperature or (self.task == "multi_label" and self.views != "plain")

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
    loss = _negative_log_likelihood(logits, labels, task)
    bound = math.log(LARGEST_TEMPERATURE)
    return math.exp(minimize_scalar(lambda log: loss(math.exp(log)), bounds=(-bound, bound), method="bounded").x)


def is_told_apart_from_one(temperature: float, logits: Tensor, labels: Tensor, task: Task) -> bool:
    """Whether labels bear out a temperature that was fitted to them: 1 lies outside its 95 % interval, and it has one.

    The likelihood-ratio test (Wilks 1938) of one number: twice what it adds to the labels' log-likelihood must exceed
    the 95 % quantile of chi-square. A fit that ends where the search does has found no optimum: of answers that are all
    right, any number of them, it goes to zero.
    """
    if abs(math.log(temperature)) > math.log(LARGEST_TEMPERATURE) - 0.01:
        return False
    loss = _negative_log_likelihood(logits, labels, task)
    return 2 * (loss(1.0) - loss(temperature)) > CHI_SQUARE_95


def _negative_log_likelihood(logits: Tensor, labels: Tensor, task: Task) -> Callable[[float], float]:
    """Of labels [N] or [N, K], their sum, as a function of the temperature."""
    logits, labels = logits.double(), labels if task == "single_label" else labels.double()
    loss = F.cross_entropy if task == "single_label" else F.binary_cross_entropy_with_logits
    return lambda temperature: float(loss(logits / temperature, labels, reduction="sum"))


def choose_by_validation(classifier: Any) -> dict[str, float]:
    """Lets validation choose what the classifier's test goes by, by `calibrate`; what came of it."""
    classifier.to(classifier.trainer.strategy.root_device).eval()
    return calibrate(classifier, classifier, classifier.test_time, classifier.val_metrics)


@torch.no_grad()
def calibrate(
    classifier: Any, ask: Callable[[Tensor], Tensor], test_time: TestTime, val_metrics: Metric
) -> dict[str, float]:
    """Chooses on the validation images what the test goes by, from answers given as in the test.

    `ask` gives the logits of normalised images. The temperature is chosen where one is asked for, 1 where the
    validation images do not tell it from that; the thresholds of several labels always: those that validation chose
    were for one look and undivided logits. Each rank answers its share, and all choose the same. Returns loss and
    calibration error before and after, for the run's record.
    """
    trainer = classifier.trainer
    device = trainer.strategy.root_device
    answers, labels = [], []
    for batch in trainer.datamodule.val_dataloader():
        images = classifier.augment.normalize(batch.images.to(device))
        with trainer.precision_plugin.val_step_context():
            answers.append(test_time.average(ask, images).float())
        labels.append(batch.labels.to(device))
    ours = torch.cat(answers), torch.cat(labels)
    if test_time.fits_temperature:
        logits, targets = map(torch.cat, zip(*of_all_ranks((ours[0].cpu(), ours[1].cpu())), strict=True))
        test_time.temperature = _choose_temperature(logits, targets, test_time.task)
    found = {"temperature": test_time.temperature}
    for when, temperature in (("before", 1.0), ("after", test_time.temperature)):  # the thresholds stay as after
        val_metrics.to(device).update(ours[0] / temperature, ours[1])
        computed = val_metrics.compute()
        val_metrics.reset()
        found |= {f"val_{name}_{when}": computed[name] for name in ("loss", "ece") if name in computed}
    check_numbers(found)
    return found


def _choose_temperature(logits: Tensor, labels: Tensor, task: Task) -> float:
    """The fitted temperature, or 1 where so many validation images do not tell it from 1, which is warned of."""
    fitted = fit_temperature(logits, labels, task)
    if is_told_apart_from_one(fitted, logits, labels, task):
        return fitted
    log.warning(
        "test_time.temperature=true: %d validation images do not tell their likeliest temperature, %.3g, from 1, so it "
        "stays 1: hold out more of them (data.validation_fraction) to know it better",
        len(labels),
        fitted,
    )
    return 1.0
