# %% [markdown]
r"""
# 2 · Training

A network's parameters begin as random numbers. This notebook shows how they become good ones: what "good" means, in
which direction to change each number, and how that direction is found for all of them at once. All of it is written
out in NumPy, which does arithmetic with whole tables of numbers, and held against PyTorch, the library that `leyden`
trains with; at its end `leyden train` and our own loop train the same network to the same numbers. Beside the test
images, which are for the very end, others are put aside as **validation images**: no parameter is changed by them, and
they tell how training goes.

You need what notebook 1 introduced, and from school functions, powers, the logarithm, and what a slope is. Words in
bold are explained where they stand, and collected in the table at the end.
"""

# %%
import csv
import itertools
import os
import sys
import tempfile
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

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
pixels = (data.images.double() / 255 - data.mean[0]) / data.std[0]  # over all, mean 0 and spread 1
pixels, labels = pixels.flatten(1).numpy(), data.labels.numpy()
training, validation = data.train_indices.numpy(), data.val_indices.numpy()
print(f"{len(training)} images to train with, {len(validation)} to validate with, {pixels.shape[1]} numbers each")

# %% [markdown]
r"""
## How wrong is a network? One number

For an image, a network puts out one number for each of $K$ classes, $z_1, …, z_K$: its **logits**. A larger logit means
"rather this class". Two formulas turn them into one number that says how wrong the answer is.

The **softmax** (Bridle 1990, *Probabilistic interpretation of feedforward classification network outputs*) makes
them probabilities $p_1, …, p_K$, one for each class $k$, which are positive and add up to 1 ($e ≈ 2.718$):

$$p_k = \frac{e^{z_k}}{e^{z_1} + … + e^{z_K}}$$

The **loss** $L$ is the number that training makes small. Ours, the **cross-entropy**, looks at the probability of the
right class $y$ alone:

$$L = -\ln p_y$$

It is near 0 where the network is sure and right, and grows without bound where it is sure and wrong. With the natural
logarithm $\ln$, to base $e$, its unit is called nat. The loss of many images is the mean of theirs.
"""


# %%
def softmax(logits):
    """The p of a table of logits, a row for each image; to take off the largest changes no p and keeps e^z small."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def cross_entropy(logits, labels):
    """The mean of -ln p of the right classes, the labels."""
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


three = np.array([[2.0, 1.0, -1.0]])  # logits
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
that place, written $\frac{dL}{dw}$ and called the **derivative**. Where it is positive, a slightly smaller $w$ lowers
the loss; where it is negative, a slightly larger one does. So step against it ($\leftarrow$ means "becomes"):

$$w \leftarrow w - \eta \, \frac{dL}{dw}$$

This is **gradient descent** (Cauchy 1847, *Méthode générale pour la résolution des systèmes d'équations simultanées*).
The factor $\eta$ (eta), the **learning rate**, says how far a step goes for a given slope. The **gradient** is the list
of the derivatives for all parameters; each of them takes its step at the same time.

Take the bowl $L = \frac{a}{2} w^2$ with $a > 0$. From $w$ to $w + h$ it rises by $\frac{a}{2}(2 w h + h^2)$, that is by
$a w + \frac{a}{2} h$ per unit of change; for an ever smaller $h$ that is $a w$, the slope. So a step makes
$w - \eta a w = (1 - \eta a)\, w$ of $w$. It comes nearer to the bottom as long as $|1 - \eta a| < 1$, that is
$\eta < 2/a$, and leaps further and further away beyond: a learning rate can be too large, not only too small.
"""

# %%
a, num_steps = 2.0, 12
rates = {"too small, 0.03": 0.03, "good, 0.4": 0.4, "nearly too large, 0.95": 0.95, "too large, 1.05": 1.05}
figure, (left, right) = plt.subplots(1, 2)
w = np.linspace(-2.2, 2.2, 200)
left.plot(w, a / 2 * w**2, color="silver", linestyle="-")
for (name, rate), marker in zip(rates.items(), "osv^", strict=True):
    places = 1.2 * (1 - rate * a) ** np.arange(num_steps + 1)
    (drawn,) = right.semilogy(a / 2 * places**2, marker=marker, label=name)
    if name.startswith(("good", "too large")):
        left.plot(places[:6], a / 2 * places[:6] ** 2, marker=marker, label=name, color=drawn.get_color())
left.set(xlabel="weight w", ylabel="loss L", title="Five steps from w = 1.2")
right.set(xlabel="step", ylabel="loss L (logarithmic)", title=f"Falls if the rate is below 2/a = {2 / a:g}")
for axes in (left, right):
    axes.legend(fontsize=8, title="learning rate", title_fontsize=8)
plt.show()

# %% [markdown]
r"""
## Backpropagation

A network has thousands of parameters. To try each a little larger and a little smaller would cost two runs of the
network per parameter. **Backpropagation** (Rumelhart, Hinton & Williams 1986, *Learning representations by
back-propagating errors*; the method itself: Linnainmaa 1970) finds all derivatives in one pass back through the layers.
It needs a single rule of calculus, the **chain rule**: if $z$ moves twice as far as $w$, and $L$ three times as far as
$z$, then $L$ moves six times as far as $w$,

$$\frac{dL}{dw} = \frac{dL}{dz} \cdot \frac{dz}{dw},$$

and where $w$ acts by several ways, their effects add up.

Let there be $D$ layers. Raised numbers name a layer here, they are no powers. $a^{0}_j$ is pixel $j$; node $i$ of layer
$l$ has a weight $W^{l}_{ij}$ for each number $j$ of the layer before and a bias $b^{l}_i$, and puts out $a^{l}_i$
($\sum_j$ means: add up over all $j$):

$$z^{l}_i = \sum_j W^{l}_{ij}\, a^{l-1}_j + b^{l}_i, \qquad a^{l}_i = f(z^{l}_i), \qquad f(z) = \max(0, z).$$

The last layer has no $f$: its $z^{D}_k$ are the logits. Let $\delta^{l}_i = \frac{\partial L}{\partial z^{l}_i}$
(delta) be the slope of the loss when $z^{l}_i$ alone is moved ($\partial$ is the sign for a derivative when there are
other variables, which are held still).

1. *At the end.* With $S = \sum_m e^{z_m}$, $p_y = e^{z_y} / S$, and since $\ln$ of a fraction is a difference,
   $L = -\ln p_y = -z_y + \ln S$. If $z_k$ is moved, $-z_y$ has the slope $-1$ where $k$ is the right class $y$, else 0.
   The slope of $e^x$ is $e^x$ and that of $\ln x$ is $1/x$, so by the chain rule that of $\ln S$ is
   $\frac{1}{S} \cdot e^{z_k} = p_k$. Together $\delta^{D}_k$ is $p_k - 1$ for the right class, $p_k$ for another: the
   probability given minus the one wanted.
2. *One layer back.* $z^{l}_j$ moves $a^{l}_j$ with the slope of $f$ there, $f'(z^{l}_j)$: 1 above 0, else 0. $a^{l}_j$
   moves every $z^{l+1}_i$ with the slope $W^{l+1}_{ij}$, and each of these moves the loss with $\delta^{l+1}_i$. The
   ways add up: $\delta^{l}_j = f'(z^{l}_j) \sum_i W^{l+1}_{ij}\, \delta^{l+1}_i$.
3. *The parameters.* $W^{l}_{ij}$ moves $z^{l}_i$ alone, with the slope $a^{l-1}_j$, and $b^{l}_i$ does with 1. So
   $\frac{\partial L}{\partial W^{l}_{ij}} = \delta^{l}_i\, a^{l-1}_j$ and
   $\frac{\partial L}{\partial b^{l}_i} = \delta^{l}_i$.

In the code the same three stand for many images at once, each a row of a table: `@` multiplies and adds up as $\sum_j$
does, `.T` makes rows columns, and the mean over the images is a division by their number.
"""


# %%
def new_parameters(sizes, generator):
    """A table of weights, a row for each node, and biases for each layer, as large as He et al. 2015 advise."""
    pairs = itertools.pairwise(sizes)
    return [(generator.normal(0, np.sqrt(2 / inputs), (out, inputs)), np.zeros(out)) for inputs, out in pairs]


def forward(parameters, inputs):
    """What each layer puts out, a row for each image, with the inputs before all and the logits at the end."""
    outputs = [inputs]
    for number, (weight, bias) in enumerate(parameters, start=1):
        z = outputs[-1] @ weight.T + bias
        outputs.append(z if number == len(parameters) else np.maximum(0, z))
    return outputs


def backward(parameters, outputs, labels):
    """The gradient of the mean cross-entropy: for each layer by its weights and by its biases."""
    delta = softmax(outputs[-1])
    delta[np.arange(len(labels)), labels] -= 1  # 1. at the end: p minus the one wanted
    delta /= len(labels)
    gradients = []
    for (weight, _), below in zip(reversed(parameters), reversed(outputs[:-1]), strict=True):
        gradients.insert(0, (delta.T @ below, delta.sum(axis=0)))  # 3. the parameters
        delta = (delta @ weight) * (below > 0)  # 2. one layer back; f(z) > 0 where z > 0
    return gradients


# %% [markdown]
r"""
### Is it right?

Two checks. PyTorch finds gradients by its own backpropagation, for any program made of its operations (**automatic
differentiation**; Baydin et al. 2018, *Automatic differentiation in machine learning: a survey*): on networks, inputs
and labels drawn at random ours must be equal to it up to rounding. **Finite differences** need no theory at all: make
one weight $w$ larger and smaller by $h$ and look at what the loss does,
$\frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}$.
"""


# %%
def random_case(seed):
    """A network of one to four layers, up to 19 rows of inputs and their labels, drawn at random."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 12, size=generator.integers(2, 6)).tolist()
    batch = int(generator.integers(1, 20))
    inputs, labels = generator.normal(size=(batch, sizes[0])), generator.integers(0, sizes[-1], batch)
    return new_parameters(sizes, generator), inputs, labels


def torch_gradients(parameters, inputs, labels):
    """The same gradients by PyTorch."""
    tensors = [[torch.tensor(values, requires_grad=True) for values in layer] for layer in parameters]
    hidden = torch.tensor(inputs)
    for number, (weight, bias) in enumerate(tensors, start=1):
        hidden = torch.nn.functional.linear(hidden, weight, bias)
        hidden = hidden if number == len(tensors) else hidden.relu()
    torch.nn.functional.cross_entropy(hidden, torch.tensor(labels)).backward()
    return [tuple(values.grad.numpy() for values in layer) for layer in tensors]


worst = 0.0
for seed in range(100):
    parameters, inputs, answers = random_case(seed)
    ours = backward(parameters, forward(parameters, inputs), answers)
    for layer, layer_of_torch in zip(ours, torch_gradients(parameters, inputs, answers), strict=True):
        worst = max(worst, *(np.abs(mine - theirs).max() for mine, theirs in zip(layer, layer_of_torch, strict=True)))
assert worst <= 1e-6
Markdown(f"In 100 random cases, no derivative differs from PyTorch's by more than **{worst:.1e}**.")

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
axes.set(xlabel="h, the change of a weight", ylabel="error ÷ derivative (median)", title="Finite differences")
axes.text(1e-10, 3e-4, "rounding: as 1/h")
axes.text(2e-6, 2e-5, "no parabola: as h²")
plt.show()
Markdown(
    f"At best, with h = {widths[best]:.0e}, the two differ by {errors[best]:.0e} of the derivative (median of forty "
    "weights). A smaller h drowns in the rounding of the loss's last digits. With a larger one the loss is no parabola "
    "between the two places; if it were one, the formula would be exact."
)

# %% [markdown]
r"""
### Why it matters: the price

Finite differences run the network twice for every parameter; backpropagation runs it once forward and once back,
however many there are. On the network above:
"""

# %%
num_values = sum(weight.size + bias.size for weight, bias in parameters)
one_run = min(timeit.repeat(lambda: forward(parameters, some), number=1, repeat=50))  # the least disturbed of fifty
one_gradient = min(timeit.repeat(lambda: backward(parameters, forward(parameters, some), answers), number=1, repeat=50))
Markdown(
    f"{num_values:,} parameters: the gradient takes the time of {one_gradient / one_run:.1f} runs by backpropagation, "
    f"of {2 * num_values:,} by finite differences, **{2 * num_values * one_run / one_gradient:,.0f} times** as long."
)

# %% [markdown]
r"""
## Learning digits

The gradient of all images costs a pass over all of them. A few dozen, drawn at random for each step, give the same
direction on average for a fraction of the price: **stochastic gradient descent** (Robbins & Monro 1951, *A stochastic
approximation method*; for networks Bottou 1998). The images of one step are a **batch**, a pass over the training
images is an **epoch**. The share of images that are answered rightly is the **accuracy**.

The **seed** is the number from which all that is random in a run is drawn: the same seed, the same run. So that the
loop below can be compared with `leyden train`, it takes what the package takes with `seed=0`: the same first
parameters, and in each epoch the same new order of the images, in whole batches without the few left over.
"""

# %%
rate, batch_size, num_epochs = 0.1, 64, 20
torch.manual_seed(0)
layers = [MLP(1, 8, depth=1, width=32).layers[1], LinearHead(32, 10)[0]]
parameters = [(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in layers]
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
    logits = forward(parameters, pixels[validation])[-1]
    ours["val/loss"].append(cross_entropy(logits, labels[validation]))
    ours["val/accuracy"].append((logits.argmax(axis=1) == labels[validation]).mean())
Markdown(
    f"From a training loss of {ours['train/loss'][0]:.2f} in the first epoch to {ours['train/loss'][-1]:.2f} in the "
    f"last; on validation images our network has an accuracy of **{ours['val/accuracy'][-1]:.1%}**."
)

# %% [markdown]
r"""
## The same with `leyden train`

The settings say what stood above: one hidden layer of 32 nodes, a learning rate of 0.1 that stays as it is, 20 epochs;
what is 0 or `false` is for later notebooks. Its numbers have some 7 digits, ours 16. In the end the network of its best
epoch, counted from 0, meets the test images; its record is a table, `metrics.csv`. In both, the training loss of an
epoch is the mean over its steps, in which the network still learns, the validation loss that after the last of them.
Beside the test accuracy stands its **95 % interval**, for other test images would have given another accuracy: it is
made by a rule whose intervals hold the true one in 95 of 100 cases.
"""

# %%
settings = "data=digits backbone=mlp backbone.depth=1 backbone.width=32 epochs=20 seed=0 schedule=constant"
settings += " optimizer=sgd optimizer.lr=0.1 optimizer.momentum=0 optimizer.nesterov=false optimizer.weight_decay=0"
settings += " trainer=cpu trainer.precision=32 logger=csv pictures=false"
# !leyden train {settings} hydra.run.dir=trained | tail -9 | head -4
with open("trained/metrics.csv", newline="") as file:
    rows = list(csv.DictReader(file))
theirs = {name: [float(row[name]) for row in rows if row.get(name)] for name in ours}
figure, (left, right) = plt.subplots(1, 2)
epochs = np.arange(num_epochs)
for name, words in {"train/loss": "training images", "val/loss": "validation images"}.items():
    (drawn,) = left.plot(epochs, ours[name], label=f"{words}, NumPy")
    same = {"color": drawn.get_color(), "fillstyle": "none", "label": f"{words}, leyden"}
    left.plot(epochs, theirs[name][-num_epochs:], "o", **same)
left.set(xlabel="epoch", ylabel="loss (nats)", title="The same loss", xticks=epochs[::4])
left.legend(fontsize=8)
right.plot(epochs, 100 * np.array(ours["val/accuracy"]), label="NumPy")
right.plot(epochs, 100 * np.array(theirs["val/accuracy"]), "o", color="black", fillstyle="none", label="leyden")
right.set(xlabel="epoch", ylabel="accuracy on validation images (%)", title="The same answers", xticks=epochs[::4])
right.legend(fontsize=8)
plt.show()
apart = max(np.abs(np.array(ours[name]) - theirs[name][-num_epochs:]).max() for name in ("train/loss", "val/loss"))
assert apart < 1e-3
Markdown(f"In no epoch do the losses of the two differ by more than **{apart:.0e}**.")

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
| gradient | the derivatives of the loss for all parameters |
| gradient descent | stepping against the gradient, again and again |
| learning rate | the factor between the gradient and the step |
| chain rule | where one number moves a second and that a third, the derivatives are multiplied |
| backpropagation | the way to all derivatives of a network at once, from the last layer back to the first |
| automatic differentiation | backpropagation of any program, done by a library |
| finite differences | a derivative measured by changing a number a little |
| stochastic gradient descent | gradient descent in which each step looks at some images only |
| batch | the images of one step |
| epoch | a pass over the training images |
| accuracy | the share of images that are answered rightly |
| validation images | images put aside to watch training with; no parameter is changed by them |
| seed | the number from which all that is random in a run is drawn |
| 95 % interval | made by a rule whose intervals hold the true number in 95 of 100 cases |
"""

# %% [markdown]
r"""
## Exercise

Give the hidden layer another activation function: tanh, whose derivative at $z$ is $1 - (\tanh z)^2$. Two places
change, one in `forward` and one in `backward`. Hold the result against PyTorch (`.tanh()` in `torch_gradients`) in 100
random cases again. Then: does it still match `leyden train` with `backbone.activation=tanh`?
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 2` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(2)
