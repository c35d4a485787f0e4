"""Questions > **keys** > quiz: what is right, worked out by the code that the question is about."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from leyden.augment import PaddedCrop
from leyden.backbones import MLP
from leyden.data import Digits, ImageDataModule
from leyden.heads import LinearHead
from leyden.lesson.optimizer_measurements import values_kept
from leyden.report.statistics import estimate

NUM_CLASSES = 10


def mlp_parameters(width: int = 64) -> float:
    """Parameters of the MLP and its head on digits."""
    return float(sum(parameter.numel() for parameter in _mlp(width).parameters()))


def node_output() -> float:
    """A node with ReLU."""
    weights, inputs = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([2.0, 3.0, 1.0])
    return float(torch.relu(weights @ inputs + 0.5))


def field_of_three() -> float:
    """The side of what three convolutions see."""
    return _receptive_field(nn.Sequential(*(_convolution() for _ in range(3))))


def field_after_pooling() -> float:
    """The side of what a convolution sees after pooling."""
    return _receptive_field(nn.Sequential(_convolution(), nn.AvgPool2d(2), _convolution()))


def softmax_of_first() -> float:
    """The probability of the first class."""
    return float(torch.tensor([2.0, 1.0, 0.0]).softmax(0)[0])


def steps_of_training() -> float:
    """Batches of all epochs, as the loader of digits gives them."""
    return float(20 * len(_digits().train_dataloader()))


def loss_of_a_guess() -> float:
    """Cross-entropy of ten equal probabilities."""
    return float(nn.functional.cross_entropy(torch.zeros(1, NUM_CLASSES), torch.tensor([3])))


def place_after_ten_steps() -> float:
    """Gradient descent on a parabola."""
    place = torch.zeros((), requires_grad=True)
    optimizer = SGD([place], lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        ((place - 3) ** 2).backward()
        optimizer.step()
    return float(place.detach())


def slope_of_right_logit() -> float:
    """The derivative of the cross-entropy by the right class's logit."""
    logits = torch.tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    nn.functional.cross_entropy(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    return float(logits.grad[0, 0])


def smallest_unstable_rate() -> float:
    """The first of many rates at which a step from 1 comes no nearer to 0."""
    rates = np.arange(1, 1001) / 1000
    left = np.abs(1 - rates * 4)  # of w, whose slope is 4 w
    return float(rates[int(np.argmax(left >= 1 - 1e-9))])


def first_step_of_adam() -> float:
    """Of a gradient of 1,000."""
    return _step(lambda weights: Adam(weights, lr=0.001), [1000.0])


def hundredth_step_of_adagrad() -> float:
    """Of gradients that are all 1."""
    return _step(lambda weights: Adagrad(weights, lr=0.1), [1.0] * 100)


def first_step_of_rmsprop() -> float:
    """Of a gradient of 1."""
    return _step(lambda weights: RMSprop(weights, lr=0.01, alpha=0.99), [1.0])


def terminal_step_of_momentum() -> float:
    """Of gradients that are all 1, after long."""
    return _step(lambda weights: SGD(weights, lr=0.01, momentum=0.9), [1.0] * 200)


def numbers_that_adam_keeps() -> float:
    """Elements of its state for the network of `mlp_parameters`, counters of steps aside."""
    network = _mlp()
    optimizer = Adam(network.parameters())
    network(torch.zeros(1, 1, 8, 8)).sum().backward()
    optimizer.step()
    return float(values_kept(optimizer))


def hundredth_step_on_a_swing() -> float:
    """Of Adam, in multiples of its rate, where gradients change sign at each step."""
    return _step(lambda weights: Adam(weights, lr=1.0), [(-1.0) ** number for number in range(100)])


def parameters_for_each_label() -> float:
    """Of a wide MLP with ten labels of each digit."""
    return mlp_parameters(width=512) / len(_digits(labels_per_class=10).train_indices)


def kept_by_dropout() -> float:
    """What a node that says 1 says where it is left in."""
    torch.manual_seed(0)
    return float(nn.functional.dropout(torch.ones(100), 0.2).max())


def weight_after_sgd_decay() -> float:
    """One step with no gradient but the decay's."""
    return _weight(lambda weights: SGD(weights, lr=0.1, weight_decay=0.01), 1)


def weight_after_adamw() -> float:
    """A thousand steps with no gradient."""
    return _weight(lambda weights: AdamW(weights, lr=0.001, weight_decay=0.05), 1000)


def weight_after_adam_l2() -> float:
    """One step with no gradient but the decay's."""
    return _weight(lambda weights: Adam(weights, lr=0.001, weight_decay=0.05), 1)


def labelled_images() -> float:
    """Training digits with 25 labels of each."""
    return float(len(_digits(labels_per_class=25).train_indices))


def views_of_a_square() -> float:
    """Different pictures among all turns of an image and of its mirror images."""
    image = torch.arange(16).view(4, 4)
    flipped = [image, image.flip(0), image.flip(1), image.flip(0, 1)]
    return float(len({tuple(torch.rot90(one, turns).flatten().tolist()) for one in flipped for turns in range(4)}))


def places_of_a_crop() -> float:
    """Windows of 28 pixels in an image padded by `PaddedCrop(4)`."""
    side = 28 + 2 * PaddedCrop(padding=4).padding
    padded = torch.zeros(side, side)
    return float(padded.unfold(0, 28, 1).unfold(1, 28, 1).shape[:2].numel())


def parameters_of_a_probe() -> float:
    """The head on EfficientNet-Lite0's features, of which timm says how many there are."""
    import timm

    with torch.device("meta"):
        network: Any = timm.create_model("tf_efficientnet_lite0", num_classes=0)
        head = LinearHead(network.num_features, 2)
    return float(sum(parameter.numel() for parameter in head.parameters()))


def runs_of_a_grid() -> float:
    """As a study plans them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from leyden.study.plan import grid

    words = ["head.dropout=0,0.2,0.5", "optimizer.weight_decay=0,1e-4,1e-2,1e-1", "seed=0,1,2"]
    return float(len(grid(OverridesParser.create().parse_overrides(words))))


def half_of_an_interval() -> float:
    """In points, of three seeds."""
    found = estimate([0.90, 0.92, 0.94])
    assert found["low"] is not None
    return 100 * (found["mean"] - found["low"])


def error_of_an_accuracy() -> float:
    """In points, of 359 digits that are answered rightly nine times in ten."""
    return float(100 * stats.binom.std(359, 0.9) / 359)


def best_of_ten() -> float:
    """The mean of the largest of ten normal numbers, by its density."""
    return float(stats.norm.expect(lambda value: 10 * value * stats.norm.cdf(value) ** 9))


def chance_of_a_false_alarm() -> float:
    """In per cent, of twenty at 5 %."""
    return float(100 * stats.binom.sf(0, 20, 0.05))


def seeds_enough() -> float:
    """Pairs that show a difference of one standard deviation, by the power of the t-test."""
    from statsmodels.stats.power import TTestPower

    return float(np.ceil(TTestPower().solve_power(1.0, alpha=0.05, power=0.8)))


def _digits(labels_per_class: int | None = None) -> ImageDataModule:
    source: Any = Digits()
    data = ImageDataModule(
        source, root="data", batch_size=64, seed=0, validation_fraction=0.15, test_fraction=0.2, split_seed=0,
        labels_per_class=labels_per_class,
    )  # fmt: skip
    data.setup("fit")
    return data


def _mlp(width: int = 64) -> nn.Sequential:
    return nn.Sequential(MLP(1, 8, width=width), LinearHead(width, NUM_CLASSES))


def _convolution() -> nn.Conv2d:
    convolution = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(convolution.weight)
    return convolution


def _receptive_field(network: nn.Module) -> float:
    """The side of the square of pixels on which the output in the middle depends."""
    image = torch.zeros(1, 1, 32, 32, requires_grad=True)
    outputs = network(image)
    outputs[0, 0, outputs.shape[2] // 2, outputs.shape[3] // 2].backward()
    assert image.grad is not None
    return float((image.grad[0, 0].abs().sum(0) > 0).sum())


def _step(make: Callable[[Any], Optimizer], gradients: list[float]) -> float:
    """How long the last of the steps is that an optimizer takes on these gradients."""
    weight = torch.zeros((), dtype=torch.float64).requires_grad_()
    optimizer, before = make([weight]), 0.0
    for gradient in gradients:
        before = weight.item()
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return abs(weight.item() - before)


def _weight(make: Callable[[Any], Optimizer], num_steps: int) -> float:
    """What becomes of a weight of 1 whose loss does not depend on it."""
    weight = torch.ones((), dtype=torch.float64).requires_grad_()
    optimizer = make([weight])
    for _ in range(num_steps):
        weight.grad = torch.zeros((), dtype=torch.float64)
        optimizer.step()
    return weight.item()


KEYS: Mapping[str, Callable[[], float]] = {
    key.__name__: key
    for key in (
        mlp_parameters, node_output, field_of_three, field_after_pooling, softmax_of_first, steps_of_training,
        loss_of_a_guess, place_after_ten_steps, slope_of_right_logit, smallest_unstable_rate, first_step_of_adam,
        hundredth_step_of_adagrad, first_step_of_rmsprop, terminal_step_of_momentum, numbers_that_adam_keeps,
        hundredth_step_on_a_swing, parameters_for_each_label, kept_by_dropout, weight_after_sgd_decay,
        weight_after_adamw, weight_after_adam_l2, labelled_images, views_of_a_square, places_of_a_crop,
        parameters_of_a_probe, runs_of_a_grid, half_of_an_interval, error_of_an_accuracy, best_of_ten,
        chance_of_a_false_alarm, seeds_enough,
    )
}  # fmt: skip
