"""Claims > **measurements of optimizers** > effects: what torch's own do with gradients that are known.

Shapes: P parameters, T steps, L learning rates, N images, D inputs, K classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from leyden.backbones import CNN, MLP, ResNet, ViT, WideResNet
from leyden.data import Digits
from leyden.heads import LinearHead
from leyden.lesson.model import Measured, line, line_of_repeats, picture_of_lines

NUM_REPEATS = 5
NUM_PARAMETERS = 200
NUM_STEPS = 1000
RATES = tuple(10 ** (place / 2) for place in range(-8, 3))  # 0.0001 to 10
NUM_FITS, FIT_STEPS, FIT_BATCH = 8, 200, 32
CONDITION = 100.0  # the steepest curvature of a ravine, in multiples of the flattest
BATCH_SIZE = 64

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, lr=0.01),
    "with momentum": lambda parameters: SGD(parameters, lr=0.01, momentum=0.9),
    "AdaGrad": lambda parameters: Adagrad(parameters, lr=0.01),
    "RMSprop": lambda parameters: RMSprop(parameters, lr=0.01),
    "Adam": lambda parameters: Adam(parameters, lr=0.001),
}


def ravine() -> Measured:
    """Steps from one height to a millionth of it in a quadratic valley, with the rates that theory calls best.

    For curvatures from m to M: rate 2 / (M + m) without momentum; with it (Polyak 1964) rate 4 / (√M + √m)² and
    momentum ((√M - √m) / (√M + √m))².
    """
    curvatures = torch.logspace(0, np.log10(CONDITION), 20, dtype=torch.float64)
    root, top = 1.0, CONDITION**0.5
    ways = {
        "without momentum": {"lr": 2 / (1 + CONDITION)},
        "with momentum": {"lr": 4 / (top + root) ** 2, "momentum": ((top - root) / (top + root)) ** 2},
    }
    steps: dict[str, list[float]] = {name: [] for name in ways}
    lines = []
    for name, settings in ways.items():
        for repeat in range(NUM_REPEATS):
            generator = torch.Generator().manual_seed(repeat)
            place = torch.randn(20, dtype=torch.float64, generator=generator).requires_grad_()
            optimizer, heights = SGD([place], **settings), [1.0]
            begin = float((curvatures * place.detach() ** 2).sum())
            while heights[-1] > 1e-6:
                place.grad = curvatures * place.detach()
                optimizer.step()
                heights.append(float((curvatures * place.detach() ** 2).sum()) / begin)
            steps[name].append(float(len(heights) - 1))
            if not repeat:
                lines.append(line(name, [float(step) for step in range(len(heights))], heights))
    title = "Height in a valley a hundred times as steep one way"
    picture = picture_of_lines(title, "step", "height", lines, is_log_y=True, is_curve=True)
    ratio = [plain / helped for plain, helped in zip(*steps.values(), strict=True)]
    return {"values": {"ratio": ratio}, "figures": {}, "pictures": [picture]}


def adagrad() -> Measured:
    """Softmax regression on digits in two disguises, by SGD and AdaGrad, each at its best of eleven rates.

    Sparse: each pixel's grey level is an input of its own, of which one in seventeen is on, and many hardly ever.
    Badly scaled: each pixel is multiplied by its own number from 0.01 to 100. The rate is chosen on validation digits.
    """
    images, labels = Digits().load(Path())[:2]
    levels = (images.flatten(1).float() / 255 * 16).round().long()  # [N, 64] from 0 to 16
    values: dict[str, list[float]] = {"sparse": [], "scaled": []}
    reached: dict[tuple[str, str], list[float]] = {}
    for repeat in range(NUM_FITS):
        generator = torch.Generator().manual_seed(repeat)
        scales = 10 ** (4 * torch.rand(64, generator=generator) - 2)
        inputs = {"sparse": nn.functional.one_hot(levels, 17).flatten(1).float(), "scaled": levels / 16 * scales}
        for name, rows in inputs.items():
            found = [_best_accuracy(way, rows, labels, repeat) for way in (SGD, Adagrad)]
            values[name].append(found[1] - found[0])
            for way, accuracy in zip(("SGD", "AdaGrad"), found, strict=True):
                reached.setdefault((way, name), []).append(accuracy)
    names = {"sparse": "sparse", "scaled": "badly scaled"}
    lines = [
        line_of_repeats(way, [*names.values()], [reached[way, name] for name in names]) for way in ("SGD", "AdaGrad")
    ]
    picture = picture_of_lines(f"Test accuracy after {FIT_STEPS} steps", "", "test accuracy", lines, is_share=True)
    return {"values": values, "figures": {}, "pictures": [picture]}


def steps_over_time() -> Measured:
    """The mean size of a step under gradients of one size, and under gradients that grow a thousandfold."""
    ways: dict[str, Callable[[Any], Optimizer]] = {
        "SGD": lambda parameters: SGD(parameters, lr=1.0),
        "AdaGrad": lambda parameters: Adagrad(parameters, lr=1.0),
        "RMSprop": lambda parameters: RMSprop(parameters, lr=1.0, alpha=0.99),
    }
    scales = {"steady": np.ones(NUM_STEPS), "growing": np.logspace(0, 3, NUM_STEPS)}
    values: dict[str, list[float]] = {}
    sums: dict[tuple[str, str], Any] = {}
    for repeat in range(NUM_REPEATS):
        for kind, scale in scales.items():
            gradients = _gradients(repeat) * torch.from_numpy(scale).unsqueeze(1)
            for name, make in ways.items():
                sizes = np.array([float(step.abs().mean()) for step in _steps(make, gradients)])
                sums[kind, name] = sums.get((kind, name), 0.0) + sizes / NUM_REPEATS
                late, early = sizes[-50:].mean(), sizes[300:350].mean()  # when RMSprop's memory of 100 steps is full
                values.setdefault(f"{name} {kind}", []).append(float(late / early))
    first = sums["steady", "RMSprop"][0] / sums["steady", "RMSprop"][-50:].mean()
    places = _few(NUM_STEPS)
    steps = [float(place + 1) for place in places]
    titles = {"steady": "Gradients of one size", "growing": "Gradients that grow a thousandfold"}
    pictures = [
        picture_of_lines(
            title, "step", "mean size of a step", is_log_x=True, is_log_y=True, is_curve=True,
            lines=[line(name, steps, [float(sums[kind, name][place]) for place in places]) for name in ways],
        )
        for kind, title in titles.items()
    ]  # fmt: skip
    return {"values": values, "figures": {"first": f"{first:.1f}"}, "pictures": pictures}


def adam_limits() -> Measured:
    """Adam's step beside RMSprop's and AdaGrad's on the same gradients, at the settings where they should be the same.

    Kingma & Ba 2015, section 5: without its memory of the gradient (β₁ = 0) Adam is RMSprop but for the correction of
    the start, which fades; with β₂ → 1 and a rate that falls as 1/√t it is AdaGrad.
    """
    values: dict[str, list[float]] = {"RMSprop": [], "AdaGrad": []}
    paths: dict[str, Any] = {"RMSprop": 0.0, "AdaGrad": 0.0}
    for repeat in range(NUM_REPEATS):
        gradients = _gradients(repeat)
        ours = _steps(lambda parameters: Adam(parameters, lr=1.0, betas=(0.0, 0.98), eps=1e-12), gradients)
        theirs = _steps(lambda parameters: RMSprop(parameters, lr=1.0, alpha=0.98, eps=1e-12), gradients)
        path = _apart(ours, theirs)
        values["RMSprop"].append(path[-1])
        paths["RMSprop"] = paths["RMSprop"] + np.array(path) / NUM_REPEATS
        ours = _steps(lambda parameters: Adam(parameters, lr=1.0, betas=(0.0, 1 - 1e-9), eps=1e-12), gradients)
        theirs = _steps(lambda parameters: Adagrad(parameters, lr=1.0, eps=1e-12), gradients)
        path = _apart([step / (1 + place) ** 0.5 for place, step in enumerate(ours)], theirs)
        values["AdaGrad"].append(max(path))
        paths["AdaGrad"] = paths["AdaGrad"] + np.array(path) / NUM_REPEATS
    places = _few(NUM_STEPS)
    steps = [float(place + 1) for place in places]
    lines = [
        line(f"from {name}", steps, [max(float(path[place]), 1e-17) for place in places])
        for name, path in paths.items()
    ]
    picture = picture_of_lines(
        "How far Adam's step lies", "step", "relative difference", lines, is_log_x=True, is_log_y=True, is_curve=True
    )
    return {"values": values, "figures": {}, "pictures": [picture]}


def memory() -> Measured:
    """What each optimizer keeps for a parameter in five networks, and Adam's share of what a training step keeps."""
    networks: dict[str, nn.Module] = {
        "MLP": MLP(1, 8), "CNN": CNN(1, 8), "ResNet": ResNet(1, 8), "wide ResNet": WideResNet(1, 8), "ViT": ViT(1, 8),
    }  # fmt: skip
    kept: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
    shares = []
    for backbone in networks.values():
        network = nn.Sequential(backbone, LinearHead(backbone.num_features, 10))  # type: ignore[arg-type]
        size = sum(parameter.numel() for parameter in network.parameters())
        activations = _training_step(network)
        for name, make in OPTIMIZERS.items():
            optimizer = make(network.parameters())
            optimizer.step()
            kept[name].append(values_kept(optimizer) / size)
        shares.append(kept["Adam"][-1] * size / (kept["Adam"][-1] * size + 2 * size + activations))
    means = line("", [*kept], [float(np.mean(values)) for values in kept.values()])
    title = f"Adam's share of all that is kept, {BATCH_SIZE} digits a step"
    pictures = [
        picture_of_lines("Values that an optimizer keeps", "", "values per parameter", [means]),
        picture_of_lines(title, "", "share", [line("", [*networks], shares)], is_share=True),
    ]
    more = [adam - rmsprop for adam, rmsprop in zip(kept["Adam"], kept["RMSprop"], strict=True)]
    told = {name: f"{np.mean(values):.3g}" for name, values in kept.items()}
    figures = {
        "kept": ", ".join(f"{name} {value}" for name, value in told.items()),
        "smallest": f"{100 * min(shares):.0f} %", "largest": f"{100 * max(shares):.0f} %",
        "smallest_of": min(zip(shares, networks, strict=True))[1],
        "largest_of": max(zip(shares, networks, strict=True))[1],
    }  # fmt: skip
    return {"values": {"Adam": kept["Adam"], "more": more, "share": shares}, "figures": figures, "pictures": pictures}


def decays() -> Measured:
    """How much a weight loses in 500 steps under noise alone, of weights with small and with large gradients."""
    scales = torch.logspace(-2, 1, 4, dtype=torch.float64).repeat_interleave(100)
    ways: dict[str, Callable[[Any], Optimizer]] = {
        "L2 in the loss": lambda parameters: Adam(parameters, lr=1e-3, weight_decay=0.1),
        "decoupled": lambda parameters: AdamW(parameters, lr=1e-3, weight_decay=1.0),
    }
    left: dict[str, list[Any]] = {name: [] for name in ways}
    for repeat in range(NUM_REPEATS):
        noise = torch.randn(500, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(repeat)) * scales
        for name, make in ways.items():
            weights = torch.full((400,), 10.0, dtype=torch.float64).requires_grad_()
            optimizer = make([weights])
            for gradient in noise:
                weights.grad = gradient.clone()
                optimizer.step()
            lost = 1 - weights.detach() / 10
            left[name].append(lost.view(4, 100).mean(1).numpy())
    values = {name: [float(each[-1] / each[0]) for each in found] for name, found in left.items()}
    sizes = [0.01, 0.1, 1.0, 10.0]
    lines = [
        line_of_repeats(name, sizes, [[float(each[place]) for each in found] for place in range(4)])
        for name, found in left.items()
    ]
    title = "What a weight has lost after 500 steps"
    picture = picture_of_lines(title, "size of its gradients", "share lost", lines, is_share=True, is_log_x=True)
    return {"values": values, "figures": {}, "pictures": [picture]}


def _few(number: int) -> list[int]:
    """Places from 0 to below `number`, evenly spread on a logarithmic axis."""
    return sorted({int(place) - 1 for place in np.logspace(0, np.log10(number), 60)})


def _gradients(seed: int) -> Tensor:
    """Noise [T, P] of one size."""
    return torch.randn(
        NUM_STEPS, NUM_PARAMETERS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )  # fmt: skip


def _steps(make: Callable[[Any], Optimizer], gradients: Tensor) -> list[Tensor]:
    """The steps [P] that an optimizer takes on gradients [T, P]."""
    place = torch.zeros(gradients.shape[1], dtype=torch.float64).requires_grad_()
    optimizer, steps = make([place]), []
    for gradient in gradients:
        before = place.detach().clone()
        place.grad = gradient.clone()
        optimizer.step()
        steps.append(before - place.detach())
    return steps


def _apart(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[float]:
    """How far two paths' steps lie apart, in shares of the second's length."""
    return [float((one - other).norm() / other.norm()) for one, other in zip(first, second, strict=True)]


def _best_accuracy(way: Any, rows: Tensor, labels: Tensor, seed: int) -> float:
    """Test accuracy at the rate with the lowest validation loss; all rates [L] learn side by side, each on its own."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    train, val, test = order[:1200], order[1200:1500], order[1500:]
    weights = [torch.zeros(rows.shape[1], 10).requires_grad_() for _ in RATES]
    optimizer = way([{"params": [weight], "lr": rate} for weight, rate in zip(weights, RATES, strict=True)], lr=1.0)
    batches = torch.randint(len(train), (FIT_STEPS, FIT_BATCH), generator=torch.Generator().manual_seed(seed))
    for batch in batches:
        chosen = train[batch]
        logits = torch.einsum("nd,ldk->lnk", rows[chosen], torch.stack(weights))
        targets = labels[chosen].expand(len(RATES), -1)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / FIT_BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        losses = [float(nn.functional.cross_entropy(rows[val] @ weight, labels[val])) for weight in weights]
        best = weights[int(np.nanargmin(losses))]
        return float(((rows[test] @ best).argmax(1) == labels[test]).float().mean())


def _training_step(network: nn.Module) -> int:
    """Gives a network gradients by one step on noise of the shape of digits.

    Returns how many values its layers kept for it, parameters aside.
    """
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(torch.rand(BATCH_SIZE, 1, 8, 8)).square().mean()
    loss.backward()
    return sum(kept.values())


def values_kept(optimizer: Optimizer) -> int:
    """Numbers in its state; counters of steps, one for a whole tensor, are left out."""
    return sum(
        value.numel()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim
    )
