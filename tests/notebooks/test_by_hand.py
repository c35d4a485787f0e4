"""What the notebooks write out by hand is what PyTorch computes."""

import ast
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NUM_CASES = 100


def functions_of(name: str) -> SimpleNamespace:
    """The functions of a notebook's script, which is not run."""
    tree = ast.parse((NOTEBOOKS / name).read_text(encoding="utf-8"))
    needed = {"itertools", "numpy", "torch"}
    imports = [node for node in tree.body if isinstance(node, ast.Import) and node.names[0].name in needed]
    tree.body = [*imports, *(node for node in tree.body if isinstance(node, ast.FunctionDef))]
    found: dict[str, Any] = {}
    exec(compile(tree, name, "exec"), found)
    return SimpleNamespace(**found)


TRAINING, OPTIMIZERS = functions_of("02_training.py"), functions_of("03_optimizers.py")
RULES = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr, mu: torch.optim.SGD(parameters, lr, momentum=mu),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
}


def network(seed: int) -> tuple[list[tuple[Any, Any]], Any, Any]:
    """Weights and biases of one to four layers, images and labels."""
    generator = np.random.default_rng(seed)
    sizes = [int(size) for size in generator.integers(2, 30, size=generator.integers(2, 6))]
    layers = [
        (generator.normal(size=(outputs, inputs)) / np.sqrt(inputs), generator.normal(size=outputs))
        for inputs, outputs in itertools.pairwise(sizes)
    ]
    batch = int(generator.integers(1, 33))
    return layers, generator.normal(size=(batch, sizes[0])), generator.integers(0, sizes[-1], size=batch)


def loss_by_torch(layers: list[tuple[Any, Any]], inputs: Any, labels: Any) -> torch.Tensor:
    hidden = torch.as_tensor(inputs)
    for number, (weight, bias) in enumerate(layers):
        hidden = torch.as_tensor(weight) @ hidden.T if number == 0 else torch.as_tensor(weight) @ hidden.relu().T
        hidden = hidden.T + torch.as_tensor(bias)
    return torch.nn.functional.cross_entropy(hidden, torch.as_tensor(labels))


def test_loss_by_hand_is_torchs() -> None:
    for seed in range(NUM_CASES):
        layers, inputs, labels = network(seed)
        ours = TRAINING.cross_entropy(TRAINING.forward(layers, inputs)[-1], labels)
        assert ours == pytest.approx(float(loss_by_torch(layers, inputs, labels)), abs=1e-12)


def test_softmax_by_hand_survives_large_logits() -> None:
    logits = np.array([[1000.0, 999.0, -1000.0]])
    np.testing.assert_allclose(TRAINING.softmax(logits), torch.tensor(logits).softmax(1).numpy(), rtol=1e-12)


def test_backpropagation_by_hand_is_autograds() -> None:
    for seed in range(NUM_CASES):
        layers, inputs, labels = network(seed)
        tensors = [tuple(torch.tensor(values, requires_grad=True) for values in layer) for layer in layers]
        loss_by_torch(tensors, inputs, labels).backward()
        ours = TRAINING.backward(layers, TRAINING.forward(layers, inputs), labels)
        for mine, theirs in zip(ours, tensors, strict=True):
            for gradient, tensor in zip(mine, theirs, strict=True):
                assert gradient.shape == tuple(tensor.shape)
                np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=0, atol=1e-12)


def test_backpropagation_by_hand_is_what_finite_differences_say() -> None:
    width = 1e-6
    for seed in range(NUM_CASES):
        layers, inputs, labels = network(seed)
        gradients = TRAINING.backward(layers, TRAINING.forward(layers, inputs), labels)
        generator = np.random.default_rng(seed)
        for layer, gradient in zip(layers, gradients, strict=True):
            for values, derivatives in zip(layer, gradient, strict=True):
                place = tuple(int(generator.integers(size)) for size in values.shape)
                losses, kept = [], values[place]
                for moved in (kept + width, kept - width):
                    values[place] = moved
                    losses.append(TRAINING.cross_entropy(TRAINING.forward(layers, inputs)[-1], labels))
                values[place] = kept
                assert derivatives[place] == pytest.approx((losses[0] - losses[1]) / (2 * width), abs=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_optimizer_by_hand_is_torchs_step_for_step(name: str) -> None:
    rule = getattr(OPTIMIZERS, name)
    for seed in range(NUM_CASES):
        generator = np.random.default_rng([7, seed])
        size, first, second = int(generator.integers(1, 60)), *generator.uniform(0, 0.9999, 2).tolist()
        settings: dict[str, Any] = {"lr": 10 ** float(generator.uniform(-4, 0))}
        settings |= {"momentum": {"mu": first}, "rmsprop": {"alpha": first}, "adam": {"betas": (first, second)}}.get(
            name, {}
        )
        if name in ("adagrad", "rmsprop", "adam"):
            settings["eps"] = 10 ** float(generator.uniform(-10, -2))
        ours, state = generator.normal(size=size), {}
        theirs = torch.tensor(ours, requires_grad=True)
        optimizer = RULES[name]([theirs], **settings)  # type: ignore[operator]
        for _ in range(25):
            gradient = generator.normal(size=size) * 10 ** generator.uniform(-3, 3, size)
            ours = rule(ours, gradient, state, **settings)
            theirs.grad = torch.tensor(gradient)
            optimizer.step()
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_defaults_by_hand_are_torchs() -> None:
    for name, settings in {"adagrad": {}, "rmsprop": {}, "adam": {}}.items():
        ours, state = np.zeros(5), {}
        theirs = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        optimizer = RULES[name]([theirs], lr=0.1, **settings)  # type: ignore[operator]
        for step in range(10):
            gradient = np.array([1e-9, 1e-3, 1.0, -5.0, 100.0]) * (step + 1)
            ours = getattr(OPTIMIZERS, name)(ours, gradient, state, lr=0.1)
            theirs.grad = torch.tensor(gradient)
            optimizer.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


def test_each_optimizer_is_ten_lines_at_most() -> None:
    tree = ast.parse((NOTEBOOKS / "03_optimizers.py").read_text(encoding="utf-8"))
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in RULES
    }
    assert set(lengths) == set(RULES)
    assert max(lengths.values()) <= 10
