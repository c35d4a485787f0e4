# %% [markdown]
r"""
# 2 · Training

A network's weights and biases begin as random numbers. This notebook shows how they become good ones: what "good"
means, in which direction to change each number, and how that direction is found for all of them at once. All of it is
written out in NumPy, which does arithmetic with whole tables of numbers, and held against PyTorch, the library that
`leyden` trains with; at its end `leyden train` and our own loop train the same network to the
same numbers.

Some images are put aside as **validation images**: no weight is changed by them, and they tell how training
goes.

You need what notebook 1 introduced, and from school: functions, powers, the logarithm, and what a slope is. Words in
bold are explained where they stand, and collected in the table at the end.
"""

# %%
import csv
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from leyden.backbones import MLP
from leyden.data import Digits, EpochOrder, ImageDataModule
from leyden.heads import LinearHead

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `leyden` below is this Python's
scratch = tempfile.TemporaryDirectory(prefix="leyden_")  # what is trained here is written there, and goes in the end
os.chdir(scratch.name)

data = ImageDataModule(Digits(), batch_size=64, seed=0, validation_fraction=0.15)
data.setup("fit")
pixels = (data.images.double() / 255 - data.mean[0]) / data.std[0]  # about zero, and of equal spread
pixels, labels = pixels.flatten(1).numpy(), data.labels.numpy()
training, validation = data.train_indices.numpy(), data.val_indices.numpy()
print(f"{len(training)} images to train with, {len(validation)} to validate with, {pixels.shape[1]} numbers each")

# %% [markdown]
r"""
## How wrong is a network? One number

For an image, a network puts out one number for each class, $z_1, …, z_K$: its **logits**. A larger logit means "rather
this class". Two formulas turn them into one number that says how wrong the answer is.

The **softmax** (Bridle 1990, *Probabilistic interpretation of feedforward classification network outputs*) makes
probabilities of them, positive and with the sum 1:

$$p_k = \frac{e^{z_k}}{e^{z_1} + … + e^{z_K}}$$

The **loss** is the number that training makes small. Ours, the **cross-entropy**, looks at the probability of the
right class $y$ alone:

$$L = -\ln p_y$$

It is 0 where the network is sure and right, and grows without bound where it is sure and wrong; with the natural
logarithm its unit is called nat. The loss of many images is the mean of theirs.
"""


# %%
def softmax(logits):
    """Probabilities [B, K] of logits [B, K]; taking off the largest changes nothing and keeps e^z from overflowing."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def cross_entropy(logits, labels):
    """The mean of -ln p of the right classes [B]."""
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


three = np.array([[2.0, 1.0, -1.0]])
for right in range(3):
    probability, loss = softmax(three)[0, right], cross_entropy(three, np.array([right]))
    print(f"logit {three[0, right]:4.1f}: probability {probability:.3f}, loss if this class is right {loss:.3f}")

probability = np.linspace(0.005, 1, 400)
figure, axes = plt.subplots(figsize=(5, 3))
axes.plot(probability, -np.log(probability))
axes.plot(0.1, -np.log(0.1), "o", color="black")
axes.annotate("ten classes, no idea: ln 10 ≈ 2.3", (0.1, -np.log(0.1)), (0.2, 3), arrowprops={"arrowstyle": "->"})
axes.set(xlabel="probability of the right class", ylabel="loss (nats)", title="What an answer costs")
plt.show()

# %% [markdown]
r"""
## Downhill

Change one weight $w$ by a little, and the loss changes. How much, per unit of change, is the slope of the loss at
that place, written $\frac{dL}{dw}$ and called the **derivative**. Where it is positive, a smaller $w$ lowers the loss;
where it is negative, a larger one does. So step against it:

$$w \leftarrow w - \eta \, \frac{dL}{dw}$$

This is **gradient descent** (Cauchy 1847, *Méthode générale pour la résolution des systèmes d'équations simultanées*).
The factor $\eta$, the **learning rate**, says how far a step goes for a given slope. The **gradient** is the list of
the derivatives for all weights and biases; each of them takes its step at the same time.

For the bowl $L = \frac{a}{2} w^2$ the slope is $a w$, so a step multiplies $w$ by $1 - \eta a$. It comes nearer to the
bottom as long as $|1 - \eta a| < 1$, that is $\eta < 2/a$, and leaps further and further away beyond: a learning rate
can be too large, not only too small.
"""

# %%
curvature, num_steps = 2.0, 12
rates = {"too small, 0.03": 0.03, "good, 0.4": 0.4, "nearly too large, 0.95": 0.95, "too large, 1.05": 1.05}
figure, (left, right) = plt.subplots(1, 2)
line = np.linspace(-2.2, 2.2, 200)
left.plot(line, curvature / 2 * line**2, color="silver", linestyle="-")
for (name, rate), marker in zip(rates.items(), "osv^", strict=True):
    places = 1.2 * (1 - rate * curvature) ** np.arange(num_steps + 1)
    if "good" in name or name.startswith("too large"):
        left.plot(places[:6], curvature / 2 * places[:6] ** 2, marker=marker, label=name)
    right.semilogy(curvature / 2 * places**2, marker=marker, label=name)
left.set(xlabel="weight w", ylabel="loss L", title="Five steps from w = 1.2")
left.legend(fontsize=8, title="learning rate", title_fontsize=8)
right.set(
    xlabel="step", ylabel="loss L (logarithmic)", title=f"It shrinks while the rate is below 2/a = {2 / curvature:g}"
)
right.legend(fontsize=8, title="learning rate", title_fontsize=8)
plt.show()

# %% [markdown]
r"""
## Backpropagation

A network has thousands of weights. Trying each of them a little larger would cost two runs of the whole network per
weight. **Backpropagation** (Rumelhart, Hinton & Williams 1986, *Learning representations by back-propagating errors*;
the method itself: Linnainmaa 1970) finds all derivatives in one pass back through the layers. It needs a single rule
of calculus, the **chain rule**: if $w$ moves $z$ and $z$ moves $L$, then

$$\frac{dL}{dw} = \frac{dL}{dz} \cdot \frac{dz}{dw},$$

and where $w$ acts by several ways, their effects add up.

Write $a^{0}$ for the pixels and, for layer $l$ of $D$, in components,

$$z^{l}_i = \sum_j W^{l}_{ij}\, a^{l-1}_j + b^{l}_i, \qquad a^{l}_i = f(z^{l}_i), \qquad f(z) = \max(0, z),$$

where the last layer's $z^{D}$ are the logits. Let $\delta^{l}_i = \frac{\partial L}{\partial z^{l}_i}$ be what the
loss does when $z^{l}_i$ alone is moved ($\partial$ is the sign for a derivative when there are other variables, which
are held still).

1. *At the end.* $L = -\ln p_y = -z_y + \ln \sum_k e^{z_k}$. The first part has the derivative $-1$ for $k = y$ and
   0 otherwise, the second $e^{z_k} / \sum_m e^{z_m} = p_k$. So $\delta^{D}_k = p_k - [k = y]$: the probability that
   was given, minus the one that should have been.
2. *One layer back.* $z^{l}_j$ acts on the loss by way of $a^{l}_j$ and then through every $z^{l+1}_i$, each of
   which it moves by $W^{l+1}_{ij} f'(z^{l}_j)$. The effects add up:
   $\delta^{l}_j = f'(z^{l}_j) \sum_i W^{l+1}_{ij}\, \delta^{l+1}_i$, where $f'(z)$ is 1 for $z > 0$ and 0 below.
3. *The weights.* $W^{l}_{ij}$ moves $z^{l}_i$ alone, by $a^{l-1}_j$; a bias by 1. So
   $\frac{\partial L}{\partial W^{l}_{ij}} = \delta^{l}_i\, a^{l-1}_j$ and
   $\frac{\partial L}{\partial b^{l}_i} = \delta^{l}_i$.

For $B$ images at once, rows of matrices, the same three lines stand in the code: `@` multiplies and sums, and the mean
over the images is a division by $B$.
"""


# %%
def new_parameters(sizes, generator):
    """A weight matrix [out, in] and biases [out] for each layer between `sizes`, as large as He et al. 2015 advise."""
    pairs = itertools.pairwise(sizes)
    return [(generator.normal(0, np.sqrt(2 / inputs), (out, inputs)), np.zeros(out)) for inputs, out in pairs]


def forward(parameters, inputs):
    """What each layer puts out, [B, nodes], with the inputs before all and the logits at the end."""
    outputs = [inputs]
    for number, (weight, bias) in enumerate(parameters, start=1):
        z = outputs[-1] @ weight.T + bias
        outputs.append(z if number == len(parameters) else np.maximum(0, z))
    return outputs


def backward(parameters, outputs, labels):
    """The gradient of the mean cross-entropy: for each layer that of its weights and that of its biases."""
    delta = softmax(outputs[-1])
    delta[np.arange(len(labels)), labels] -= 1  # 1. at the end: p minus what it should have been
    delta /= len(labels)
    gradients = []
    for (weight, _), below in zip(reversed(parameters), reversed(outputs[:-1]), strict=True):
        gradients.insert(0, (delta.T @ below, delta.sum(axis=0)))  # 3. the weights and the biases
        delta = (delta @ weight) * (below > 0)  # 2. one layer back
    return gradients


# %% [markdown]
r"""
### Is it right?

Two tests, on networks, images and labels that are drawn at random. PyTorch computes gradients by its own
backpropagation, for any program (**automatic differentiation**; Baydin et al. 2018, *Automatic differentiation in
machine learning: a survey*): ours must be equal to it up to rounding. **Finite differences** need no theory at all:
make one weight larger and smaller by $h$ and look at what the loss does,
$\frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}$.
"""


# %%
def random_case(seed):
    """A network of one to four layers, up to 20 images and their labels, drawn at random."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 12, size=generator.integers(2, 6)).tolist()
    batch = int(generator.integers(1, 20))
    return (
        new_parameters(sizes, generator),
        generator.normal(size=(batch, sizes[0])),
        generator.integers(0, sizes[-1], batch),
    )


def torch_gradients(parameters, inputs, labels):
    """The same gradients by PyTorch."""
    tensors = [[torch.tensor(values, requires_grad=True) for values in layer] for layer in parameters]
    hidden = torch.tensor(inputs)
    for number, (weight, bias) in enumerate(tensors, start=1):
        hidden = torch.nn.functional.linear(hidden, weight, bias)
        hidden = hidden if number == len(tensors) else hidden.relu()
    torch.nn.functional.cross_entropy(hidden, torch.tensor(labels)).backward()
    return [tuple(values.grad.numpy() for values in layer) for layer in tensors]


def largest_difference(ours, theirs):
    """Between two lists of gradients."""
    return max(
        np.abs(a - b).max() for mine, other in zip(ours, theirs, strict=True) for a, b in zip(mine, other, strict=True)
    )


worst = 0.0
for seed in range(100):
    parameters, inputs, answers = random_case(seed)
    ours = backward(parameters, forward(parameters, inputs), answers)
    worst = max(worst, largest_difference(ours, torch_gradients(parameters, inputs, answers)))
assert worst <= 1e-6
display(Markdown(f"In 100 random cases, no derivative differs from PyTorch's by more than **{worst:.1e}**."))

# %%
parameters = new_parameters([64, 16, 10], np.random.default_rng(0))
some, answers = pixels[training[:32]], labels[training[:32]]
exact = backward(parameters, forward(parameters, some), answers)[0][0]
chosen = np.argwhere(np.abs(exact) > 1e-3)[::7][:40]  # forty weights of the hidden layer
widths, errors = 10.0 ** np.arange(-13, 0.1, 0.5), []
for width in widths:
    found = []
    for place in map(tuple, chosen):
        losses = []
        for sign in (1, -1):
            parameters[0][0][place] += sign * width
            losses.append(cross_entropy(forward(parameters, some)[-1], answers))
            parameters[0][0][place] -= sign * width
        found.append((losses[0] - losses[1]) / (2 * width))
    errors.append(np.median(np.abs(np.array(found) / exact[tuple(chosen.T)] - 1)))
best = int(np.argmin(errors))
figure, axes = plt.subplots(figsize=(5.5, 3))
axes.loglog(widths, errors, marker="o")
axes.set(
    xlabel="h, the change of a weight",
    ylabel="relative error (median)",
    title="Finite differences against backpropagation",
)
axes.annotate("rounding: ~ 1/h", (1e-11, errors[4]), (3e-11, 1e-2))
axes.annotate("curvature: ~ h²", (1e-2, 1e-5), (1e-6, 1e-3))
plt.show()
display(
    Markdown(
        f"At best, with h = {widths[best]:.0e}, they agree to a relative error of {errors[best]:.0e}. A smaller h "
        "drowns in the rounding of the loss's last digits, a larger one in the curve of the loss between the two "
        "places."
    )
)

# %% [markdown]
r"""
### Why it matters: the price

Finite differences run the network twice for every weight and bias; backpropagation runs it once forward and once
back, whatever the size. Measured on the network above:
"""


# %%
def seconds(function, repeats=50):
    """The shortest time of some calls, in which nothing else got in the way."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


num_values = sum(weight.size + bias.size for weight, bias in parameters)
one_forward = seconds(lambda: forward(parameters, some))
one_gradient = seconds(lambda: backward(parameters, forward(parameters, some), answers))
ratio = 2 * num_values * one_forward / one_gradient
display(
    Markdown(
        f"{num_values:,} weights and biases: the gradient by backpropagation takes the time of "
        f"{one_gradient / one_forward:.1f} forward passes, by finite differences that of {2 * num_values:,}: "
        f"**{ratio:,.0f} times** as long."
    )
)

# %% [markdown]
r"""
## Learning digits

The gradient of all images costs a pass over all of them. A few dozen, drawn anew each time, give nearly the same
direction for a fraction of the price: **stochastic gradient descent** (Robbins & Monro 1951, *A stochastic
approximation method*; for networks Bottou 1998). The images of one step are a **batch**; once all have had their turn,
an **epoch** has passed.

So that the loop below can be compared with `leyden train`, it takes what the package would take with `seed=0`: the
same first weights, and in each epoch the same order of the images, in whole batches: the few that are left over have
better luck in the next epoch.
"""


# %%
def accuracy(parameters, indices):
    """The share of images whose largest logit is that of the right class."""
    return (forward(parameters, pixels[indices])[-1].argmax(axis=1) == labels[indices]).mean()


def first_parameters(seed, width):
    """The weights that `leyden train` begins with."""
    torch.manual_seed(seed)
    layers = [MLP(1, 8, depth=1, width=width).layers[1], LinearHead(width, 10)[0]]
    return [(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in layers]


rate, width, batch_size, num_epochs = 0.1, 32, 64, 20
parameters = first_parameters(seed=0, width=width)
order = EpochOrder(len(training), seed=0)
ours = {"train/loss": [], "val/loss": [], "val/accuracy": []}
for epoch in range(num_epochs):
    order.set_epoch(epoch)
    losses = []
    for begin in range(0, len(training) - batch_size + 1, batch_size):  # whole batches
        batch = training[order.positions()[begin : begin + batch_size].numpy()]
        outputs = forward(parameters, pixels[batch])
        losses.append(cross_entropy(outputs[-1], labels[batch]))
        gradients = backward(parameters, outputs, labels[batch])
        parameters = [(w - rate * dw, b - rate * db) for (w, b), (dw, db) in zip(parameters, gradients, strict=True)]
    ours["train/loss"].append(np.mean(losses))
    ours["val/loss"].append(cross_entropy(forward(parameters, pixels[validation])[-1], labels[validation]))
    ours["val/accuracy"].append(accuracy(parameters, validation))
display(
    Markdown(
        f"From a loss of {ours['train/loss'][0]:.2f} in the first epoch to {ours['train/loss'][-1]:.2f} in the last; "
        f"of images that it has not trained with, our network gets **{ours['val/accuracy'][-1]:.1%}** right."
    )
)

# %% [markdown]
r"""
## The same with `leyden train`

The words say what stood above: one hidden layer of 32 nodes, plain gradient descent at a rate of 0.1 that stays as it
is, 20 epochs; 32-bit numbers where ours have 64. Its record is a table, `metrics.csv`.
"""

# %%
settings = "data=digits backbone=mlp backbone.depth=1 backbone.width=32 epochs=20 seed=0 schedule=constant"
settings += " optimizer=sgd optimizer.lr=0.1 optimizer.momentum=0 optimizer.nesterov=false optimizer.weight_decay=0"
settings += " trainer=cpu trainer.precision=32 logger=csv pictures=false"
# !leyden train {settings} hydra.run.dir=trained | tail -9 | head -4

# %%
with open("trained/metrics.csv", newline="") as file:
    rows = list(csv.DictReader(file))
theirs = {name: [float(row[name]) for row in rows if row.get(name)] for name in ours}
figure, (left, right) = plt.subplots(1, 2)
epochs = np.arange(num_epochs)
for name, words in {"train/loss": "training images", "val/loss": "validation images"}.items():
    (drawn,) = left.plot(epochs, ours[name], label=f"{words}, NumPy")
    left.plot(
        epochs, theirs[name][-num_epochs:], "o", color=drawn.get_color(), fillstyle="none", label=f"{words}, leyden"
    )
left.set(xlabel="epoch", ylabel="loss (nats)", title="The same loss", xticks=epochs[::4])
left.legend(fontsize=8)
right.plot(epochs, 100 * np.array(ours["val/accuracy"]), label="NumPy")
right.plot(epochs, 100 * np.array(theirs["val/accuracy"]), "o", color="black", fillstyle="none", label="leyden")
right.set(xlabel="epoch", ylabel="validation images right (%)", title="The same answers", xticks=epochs[::4])
right.legend(fontsize=8)
plt.show()
apart = max(np.abs(np.array(ours[name]) - theirs[name][-num_epochs:]).max() for name in ("train/loss", "val/loss"))
display(Markdown(f"In no epoch do the two losses differ by more than **{apart:.0e}**."))
assert apart < 1e-3

# %% [markdown]
r"""
## Words of this notebook

| word | meaning |
| --- | --- |
| logits | what a network puts out for an image, one number for each class; the largest is its answer |
| softmax | the formula that makes probabilities of logits |
| loss | a number that says how wrong a network's answers are, and that training makes small |
| cross-entropy | the loss −ln p, where p is the probability given to the right class |
| derivative | how much a function changes per unit of change of its variable: the slope |
| gradient | the derivatives of the loss for all weights and biases |
| gradient descent | stepping against the gradient, again and again |
| learning rate | the factor between the gradient and the step |
| chain rule | the derivative of one function inside another is the product of theirs |
| backpropagation | the way to all derivatives of a network at once, from the last layer back to the first |
| automatic differentiation | backpropagation for any program, done by a library |
| finite differences | a derivative measured by changing a number a little |
| stochastic gradient descent | gradient descent in which each step looks at some images only |
| batch | the images of one step |
| epoch | a pass in which each training image has its turn once |
| validation images | images put aside to watch training with; no weight is changed by them |
"""

# %% [markdown]
r"""
## Exercise

Give the hidden layer another activation: $\tanh$, whose derivative is $1 - \tanh^2$. Two places change, one in
`forward` and one in `backward`. Hold the result against PyTorch (`.tanh()` in `torch_gradients`) in 100 random cases
again. Then: does it still match `leyden train` with `backbone.activation=tanh`?
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 2` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(2)
