# %% [markdown]
r"""
# 3 · Optimizers

Gradient descent takes its step straight against the gradient. Five rules that are used every day differ in what they
remember of earlier gradients. Here each is ten lines, equal to PyTorch's step for step; then come the pictures and
measurements that show what they are for, what they cost, and that the last of them is the others joined.

An **optimizer** is the rule that makes a step of a gradient. $g_t$ is the gradient at step $t = 1, 2, …$, $\theta_t$
the weights and biases after it, $\eta$ the learning rate. All operations are element by element: each weight has a
gradient of its own and, where there is one, a memory of its own.
"""

# %%
import csv
import os
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from leyden.backbones import CNN, MLP
from leyden.data import Digits, ImageDataModule
from leyden.heads import LinearHead

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `leyden` below is this Python's
scratch = tempfile.TemporaryDirectory(prefix="leyden_")  # what is trained here is written there, and goes in the end
os.chdir(scratch.name)

# %% [markdown]
r"""
## Five rules

**SGD** (Robbins & Monro 1951, *A stochastic approximation method*) remembers nothing:
$\theta_t = \theta_{t-1} - \eta\, g_t$.

**Momentum** (Polyak 1964, *Some methods of speeding up the convergence of iteration methods*) goes on in the
direction it has: $m_t = \mu\, m_{t-1} + g_t$, $\;\theta_t = \theta_{t-1} - \eta\, m_t$. With $\mu = 0.9$ a steady
gradient is added up to ten times its size, one that changes its sign at each step cancels.

**AdaGrad** (Duchi, Hazan & Singer 2011, *Adaptive subgradient methods for online learning and stochastic
optimization*) gives each weight a rate of its own, smaller where gradients have been large: $s_t = s_{t-1} + g_t^2$,
$\;\theta_t = \theta_{t-1} - \eta\, g_t / (\sqrt{s_t} + \epsilon)$.

**RMSprop** (Tieleman & Hinton 2012, *Lecture 6.5 of Neural networks for machine learning*) forgets: a **running
average** takes the sum's place, $v_t = \alpha\, v_{t-1} + (1 - \alpha)\, g_t^2$,
$\;\theta_t = \theta_{t-1} - \eta\, g_t / (\sqrt{v_t} + \epsilon)$.

**Adam** (Kingma & Ba 2015, *Adam: a method for stochastic optimization*) takes running averages of both, of the
gradient and of its square. Both begin at 0 and are therefore too small at first, by the factor $1 - \beta^t$, by
which they are divided (**bias correction**):

$$m_t = \beta_1 m_{t-1} + (1 - \beta_1)\, g_t, \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2, \quad
\theta_t = \theta_{t-1} - \eta\, \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}$$
"""


# %%
def sgd(parameter, gradient, state, lr):
    """One step against the gradient; `state` is what a rule remembers, empty before the first step."""
    return parameter - lr * gradient


def momentum(parameter, gradient, state, lr, mu=0.9):
    """A step along the decaying sum of gradients."""
    state["m"] = mu * state.get("m", 0) + gradient
    return parameter - lr * state["m"]


def adagrad(parameter, gradient, state, lr, eps=1e-10):
    """A step in units of the root of all squared gradients so far."""
    state["s"] = state.get("s", 0) + gradient**2
    return parameter - lr * gradient / (np.sqrt(state["s"]) + eps)


def rmsprop(parameter, gradient, state, lr, alpha=0.99, eps=1e-8):
    """A step in units of the root of the running average of squared gradients."""
    state["v"] = alpha * state.get("v", 0) + (1 - alpha) * gradient**2
    return parameter - lr * gradient / (np.sqrt(state["v"]) + eps)


def adam(parameter, gradient, state, lr, betas=(0.9, 0.999), eps=1e-8):
    """A step along the running average of gradients, in units of that of their squares."""
    state["t"] = state.get("t", 0) + 1
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * gradient
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * gradient**2
    mean = state["m"] / (1 - betas[0] ** state["t"])
    square = state["v"] / (1 - betas[1] ** state["t"])
    return parameter - lr * mean / (np.sqrt(square) + eps)


# %% [markdown]
r"""
### The same as PyTorch's

For each rule 100 random cases: a learning rate, the rule's other settings, a starting point of 1 to 50 numbers and
gradients for 20 steps, whose sizes differ by up to a factor of a million from one number to the next.
"""

# %%
TORCH = {
    sgd: lambda parameters, lr: torch.optim.SGD(parameters, lr),
    momentum: lambda parameters, lr, mu: torch.optim.SGD(parameters, lr, momentum=mu),
    adagrad: torch.optim.Adagrad,
    rmsprop: torch.optim.RMSprop,
    adam: torch.optim.Adam,
}


def random_settings(rule, generator):
    """A learning rate and whatever else a rule takes."""
    share = generator.uniform(0.5, 0.9999, size=2).tolist()
    own = {momentum: {"mu": share[0]}, rmsprop: {"alpha": share[0]}, adam: {"betas": tuple(share)}}
    return {"lr": float(10 ** generator.uniform(-4, 0))} | own.get(rule, {})


def largest_difference(rule, seed, num_steps=20):
    """Between our path and PyTorch's, relative to how far it goes."""
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 51))
    settings, ours, state = random_settings(rule, generator), generator.normal(size=size), {}
    scales = 10 ** generator.uniform(-3, 3, size)
    theirs = torch.tensor(ours, requires_grad=True)
    optimizer, start, worst = TORCH[rule]([theirs], **settings), ours, 0.0
    for gradient in generator.normal(size=(num_steps, size)) * scales:
        ours = rule(ours, gradient, state, **settings)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        worst = max(worst, float(np.max(np.abs(ours - theirs.detach().numpy()) / (1 + np.abs(ours - start)))))
    return worst


rows = ["| rule | largest difference in 100 cases of 20 steps |", "| --- | --: |"]
for rule in TORCH:
    worst = max(largest_difference(rule, seed) for seed in range(100))
    assert worst < 1e-6
    rows.append(f"| {rule.__name__} | {worst:.0e} |")
display(Markdown("\n".join(rows)))

# %% [markdown]
r"""
## Adam is the others, joined

Kingma & Ba present Adam as joining AdaGrad's and RMSprop's ideas. Made exact, it is four limits of its settings:

1. $\beta_1 = 0$: no average of the gradient. What is left is **RMSprop** with $\alpha = \beta_2$ and the bias
   correction, which fades with $t$.
2. $\beta_1 = 0$, $\beta_2 \to 1$: the corrected average becomes the plain mean of all squares, $s_t / t$. With a rate
   of $\eta / \sqrt t$ this is **AdaGrad**.
3. $\beta_1 = \beta_2 = 0$, $\epsilon \to 0$: only the sign of the gradient is left, a step of $\pm\eta$ for each
   weight (Bernstein et al. 2018, *signSGD*).
4. $\epsilon \to \infty$ with a rate of $\eta\,\epsilon$: the denominator becomes constant, and what is left is
   **momentum** with $\mu = \beta_1$ and the rate $(1 - \beta_1)\, \eta$, but for the bias correction (Choi et al.
   2020, *On empirical comparisons of optimizers for deep learning*).

All are measured on the same 1,000 random gradients: how far Adam's step is from the other rule's, as a share of it.
"""


# %%
def steps_of(rule, gradients, rates, **settings):
    """The step that a rule makes at each of T gradients, with a rate for each."""
    state = {}
    return np.array([-rule(0.0, g, state, lr=lr, **settings) for g, lr in zip(gradients, rates, strict=True)])


def apart(ours, theirs):
    """Root mean square of the difference, relative to that of `theirs`."""
    return np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2))


gradients = np.random.default_rng(0).normal(size=1000) + 0.5
number, ones = np.arange(1, 1001), np.ones(1000)
figure, (first, second, third, fourth) = plt.subplots(1, 4, figsize=(11, 3))
difference = np.abs(
    steps_of(adam, gradients, ones, betas=(0, 0.99)) / steps_of(rmsprop, gradients, ones, alpha=0.99) - 1
)
first.semilogy(number, difference)
first.set(xlabel="step t", ylabel="difference (relative)", title="1. from RMSprop")
forgetting = 10.0 ** np.arange(-1, -9, -1)
reference = steps_of(adagrad, gradients, ones)
differences = [
    apart(steps_of(adam, gradients, ones / np.sqrt(number), betas=(0, 1 - f)), reference) for f in forgetting
]
second.loglog(forgetting, differences, marker="o")
second.invert_xaxis()
second.set(xlabel="1 − β₂", title="2. from AdaGrad")
sizes = 10.0 ** np.arange(0, -9, -1)
differences = [apart(steps_of(adam, gradients, ones, betas=(0, 0), eps=eps), np.sign(gradients)) for eps in sizes]
third.loglog(sizes, differences, marker="o")
third.invert_xaxis()
third.set(xlabel="ε", title="3. from the sign")
late = slice(200, None)  # the bias correction of β₁ = 0.9 has faded by then
sizes, reference = 10.0 ** np.arange(0, 9), steps_of(momentum, gradients, 0.1 * ones, mu=0.9)
differences = [apart(steps_of(adam, gradients, eps * ones, eps=eps)[late], reference[late]) for eps in sizes]
fourth.loglog(sizes, differences, marker="o")
fourth.set(xlabel="ε", title="4. from momentum")
plt.show()
assert differences[-1] < 1e-6
assert difference[-1] < 1e-3

# %% [markdown]
r"""
## The size of a step

Take one weight whose gradients are noise of a fixed size, and watch how far each rule moves per step. Then let the
gradients become a hundred times as large, and later ten thousand times smaller than that, as happens when a network's
loss surface changes under it.

- SGD's step is as large as the gradient: it explodes and vanishes with it.
- AdaGrad's sum only grows, so with steady gradients its step decays as $\eta / \sqrt t$; it never forgets a large
  gradient.
- RMSprop's average follows the gradients, so its step returns to about $\eta$: in the long run it neither grows nor
  vanishes. It learns of larger gradients at once; smaller ones it believes only as it forgets, a share of
  $1 - \alpha$ of the old squares in each step, which takes $2 \ln F / (1 - \alpha)$ steps after a fall by the
  factor $F$.
"""

# %%
num_steps, alpha = 3000, 0.95
scale = np.ones(num_steps)
scale[1000:2000], scale[2000:] = 100, 0.01
noise = np.random.default_rng(1).normal(size=(num_steps, 200)) * scale[:, None]  # 200 weights at once
figure, axes = plt.subplots(figsize=(8, 3.4))
sizes = {}
for rule, settings in {sgd: {}, adagrad: {}, rmsprop: {"alpha": alpha}, adam: {"betas": (0.9, alpha)}}.items():
    state = {}
    steps = np.array([rule(0.0, gradient, state, lr=1.0, **settings) for gradient in noise])
    sizes[rule.__name__] = np.sqrt((steps**2).mean(axis=1))
    axes.semilogy(sizes[rule.__name__], label=rule.__name__, linewidth=1.2)
axes.semilogy(
    np.arange(1, 1001), 1 / np.sqrt(np.arange(1, 1001)), color="black", linewidth=3, alpha=0.25, linestyle="-"
)
axes.annotate("1/√t", (600, 0.05), (640, 0.055))
axes.set(xlabel="step t", ylabel="size of a step (learning rates)", title="Gradients of size 1, then 100, then 0.01")
axes.legend(loc="lower left", fontsize=8)
plt.show()
ends = {name: [values[begin : begin + 100].mean() for begin in (900, 1900, 2900)] for name, values in sizes.items()}
display(
    Markdown(
        "\n".join(
            [
                "| mean step, in learning rates, at the end of | size 1 | size 100 | size 0.01 |",
                "| --- | --: | --: | --: |",
                *(f"| {name} | {a:.3g} | {b:.3g} | {c:.3g} |" for name, (a, b, c) in ends.items()),
            ]
        )
    )
)

# %% [markdown]
r"""
### The same in a network: gradients that shrink from layer to layer

On its way back through a layer of sigmoids, a gradient is multiplied by the sigmoid's slope, which is 1/4 at most: in
a deep network of them the lower layers hardly move (Hochreiter 1991; Bengio, Simard & Frasconi 1994, *Learning
long-term dependencies with gradient descent is difficult*). Dividing by its own size gives each weight a step of
about the same size wherever it lies. Measured on digits, layer by layer of six hidden layers, over the first 100
steps:
"""

# %%
data = ImageDataModule(Digits(), batch_size=64, seed=0)
data.setup("fit")
pixels = ((data.images.float() / 255 - data.mean[0]) / data.std[0])[data.train_indices]
labels = data.labels[data.train_indices]


def step_sizes(optimizer_of):
    """Root mean square of gradients and of steps for each weight matrix of a deep sigmoid network, over 100 steps."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(MLP(1, 8, depth=6, width=32, activation="sigmoid"), LinearHead(32, 10))
    optimizer = optimizer_of(network.parameters())
    weights = [parameter for parameter in network.parameters() if parameter.ndim == 2]
    squares = np.zeros((2, len(weights)))
    for _ in range(100):
        batch = torch.randint(len(labels), (64,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels[batch]), labels[batch]).backward()
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
        steps = [weight.detach() - old for weight, old in zip(weights, before, strict=True)]
        squares += [[float(w.grad.square().mean()) for w in weights], [float(s.square().mean()) for s in steps]]
    return np.sqrt(squares / 100)


_, by_sgd = step_sizes(lambda parameters: torch.optim.SGD(parameters, lr=0.1))
_, by_rmsprop = step_sizes(lambda parameters: torch.optim.RMSprop(parameters, lr=0.001))
layers = np.arange(1, len(by_sgd) + 1)
figure, axes = plt.subplots(figsize=(6, 3.2))
axes.semilogy(layers, by_sgd, marker="o", label="SGD, rate 0.1")
axes.semilogy(layers, by_rmsprop, marker="s", label="RMSprop, rate 0.001")
axes.set(xlabel="layer of weights, 1 next to the pixels", ylabel="size of a step (RMS)", xticks=layers)
axes.set_title("One rate for all layers")
axes.legend()
plt.show()
display(
    Markdown(
        f"The largest and the smallest of SGD's steps differ by a factor of **{by_sgd.max() / by_sgd.min():,.0f}**, "
        f"RMSprop's by a factor of **{by_rmsprop.max() / by_rmsprop.min():.1f}**."
    )
)

# %% [markdown]
r"""
## What a rule remembers costs memory

One often reads that Adam needs little memory. Here is what PyTorch's optimizers hold after a step, beside the weights
(4 bytes each) and gradients (4 more):
"""


# %%
def held(optimizer_of, network):
    """Bytes that an optimizer keeps per parameter after one step; its count of steps, a number per tensor, aside."""
    optimizer = optimizer_of(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [value for value in kept if isinstance(value, torch.Tensor) and value.ndim > 0]
    return sum(t.numel() * t.element_size() for t in tensors) / sum(p.numel() for p in network.parameters())


network = torch.nn.Sequential(CNN(1, 28), LinearHead(128, 10))
optimizers = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "AdaGrad": torch.optim.Adagrad, "RMSprop": torch.optim.RMSprop, "Adam": torch.optim.Adam,
}  # fmt: skip
kept = {name: held(optimizer_of, network) for name, optimizer_of in optimizers.items()}
figure, axes = plt.subplots(figsize=(6, 2.6))
bars = axes.barh(list(kept), list(kept.values()), color="0.6", edgecolor="black")
axes.bar_label(bars, fmt="%.1f", padding=3)
axes.invert_yaxis()
axes.set(xlabel="memory of the optimizer (bytes per parameter)", xlim=(0, 9.5))
plt.show()
display(
    Markdown(
        f"Measured on a network of {sum(p.numel() for p in network.parameters()):,} parameters: Adam keeps "
        f"**{kept['Adam'] / 4:.0f} values** for each of them, RMSprop, AdaGrad and momentum {kept['RMSprop'] / 4:.0f}, "
        f"plain SGD {kept['SGD'] / 4:.0f}. Of these five, Adam needs the most."
    )
)

# %% [markdown]
r"""
## Paths

A valley that is 50 times as steep across as along: $L = \frac{1}{2}(x^2 + 50\, y^2)$, from the same place, 60 steps of
each rule at a rate that suits it.
"""

# %%
rates = {sgd: 0.035, momentum: 0.015, adagrad: 0.7, rmsprop: 0.08, adam: 0.15}
start, steepness = np.array([-4.0, 1.0]), np.array([1.0, 50.0])
figure, grid = plt.subplots(1, 5, figsize=(12, 2.7), sharey=True)
x, y = np.meshgrid(np.linspace(-4.5, 1.5, 120), np.linspace(-1.3, 1.3, 100))
for axes, (rule, rate) in zip(grid, rates.items(), strict=True):
    place, state, path = start, {}, [start]
    for _ in range(60):
        place = rule(place, steepness * place, state, lr=rate)
        path.append(place)
    path = np.array(path)
    axes.contour(
        x, y, (x**2 + 50 * y**2) / 2, levels=np.geomspace(0.05, 40, 10), colors="0.8", linestyles="-", linewidths=0.7
    )
    axes.plot(*path.T, color="black", marker=".", markersize=4, linewidth=0.9)
    axes.plot(0, 0, "k+", markersize=11)
    left = (path[-1] ** 2 @ steepness) / 2
    axes.set(title=f"{rule.__name__}, {rate}\nloss left {left:.1e}", xlabel="x")
grid[0].set_ylabel("y")
plt.show()

# %% [markdown]
r"""
SGD must go slowly enough for the steep direction and creeps along the flat one; momentum gathers speed along it
and swings across; those that divide by the gradient's size take both directions at the same pace, because each weight
is measured by its own gradients. Adam, which has a running average of the gradient too, overshoots as momentum does.

## On real images, each at its own rate

Which is best? The question has no answer at one shared learning rate: each rule's rate has a meaning of its own. So
`leyden train -m` trains every rule at five rates, with two seeds each: 40 small runs on digits of five epochs. Such a
**study** ends with a report. Its intervals are over the seeds; variance is a measure of how far the runs' results lie
apart, of which it says how much goes with one setting, how much with two together (×), and how much is chance.
"""

# %%
settings = "data=digits backbone=mlp backbone.width=64 epochs=5 optimizer.weight_decay=0 trainer=cpu logger=csv"
sweep = "optimizer=sgd,adagrad,rmsprop,adam optimizer.lr=0.002,0.008,0.032,0.128,0.512 seed=0,1"
# !leyden train -m {settings} {sweep} study=rates | grep -A 12 "finished$"

# %%
(table,) = Path("runs").glob("*/rates/results.csv")
with table.open(newline="") as file:
    runs = list(csv.DictReader(file))
figure, axes = plt.subplots(figsize=(7, 3.4))
best = {}
for rule, marker in zip(("sgd", "adagrad", "rmsprop", "adam"), "osv^", strict=True):
    found = {}
    for run in runs:
        if run["optimizer"] == rule:
            found.setdefault(float(run["optimizer.lr"]), []).append(100 * float(run["best/val/accuracy"]))
    rates, means = np.array(sorted(found)), np.array([np.mean(found[rate]) for rate in sorted(found)])
    label = "sgd with momentum" if rule == "sgd" else rule
    axes.semilogx(rates, means, marker=marker, label=label)
    best[label] = rates[means.argmax()], means.max()
axes.set(xlabel="learning rate", ylabel="validation images right (%)", title="Mean of two seeds")
axes.legend()
plt.show()
words = ", ".join(f"{name} at {rate:g} ({mean:.1f} %)" for name, (rate, mean) in best.items())
spread = max(mean for _, mean in best.values()) - min(mean for _, mean in best.values())
display(
    Markdown(
        f"Best are {words}: their best rates lie apart by a factor of "
        f"{max(r for r, _ in best.values()) / min(r for r, _ in best.values()):.0f}, their best accuracies by "
        f"{spread:.1f} points, where one validation image is {100 / 269:.1f}. (The package's own `make sweep` asks "
        "with three seeds, and its report says what can be told apart.)"
    )
)

# %% [markdown]
r"""
## Words of this notebook

| word | meaning |
| --- | --- |
| optimizer | the rule that makes a step of a gradient |
| SGD | stochastic gradient descent: the step is the gradient times the learning rate |
| momentum | a decaying sum of gradients, along which the step goes |
| AdaGrad | divides each weight's step by the root of the sum of its squared gradients |
| RMSprop | the same with a running average instead of the sum |
| running average | an average in which each new value counts for a fixed share and older ones fade |
| Adam | running averages of the gradient and of its square, one divided by the root of the other |
| bias correction | makes up for running averages that begin at zero |
| study | runs of several settings, compared |
"""

# %% [markdown]
r"""
## Exercise

Nesterov's momentum looks ahead: $\theta_t = \theta_{t-1} - \eta\,(g_t + \mu\, m_t)$ with the same $m_t$. Write it as
a sixth rule, add `lambda parameters, lr, mu: torch.optim.SGD(parameters, lr, momentum=mu, nesterov=True)` to `TORCH`,
and let `largest_difference` judge. Does it swing less across the valley?
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 3` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(3)
